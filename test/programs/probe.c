/* What a program can see of its domain, and ways to misbehave. The first argument says which. */
#include <dirent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

extern char **environ;
__attribute__((import_module("wasi_snapshot_preview1"), import_name("poll_oneoff"))) int poll_oneoff(const void *, void *, int, void *);

static volatile int depth;
/* On the machine's stack alone: the one in memory is not used. */
static __attribute__((noinline)) int recurse(int n) { return n < 0 ? n : recurse(depth++ & 0x7fffffff) * 3 + n; }

/* Says how deep it is, or where it begins to leave and enter the hypervisor at every depth: up to the end of the stack. */
static int yields_from;
static __attribute__((noinline)) void say_depth(int n) { printf("%d deep\n", n); }
static __attribute__((noinline)) int deep(int n) {
  if (yields_from && n > yields_from) sched_yield();
  if (!yields_from && n % 256 == 0) say_depth(n);
  return n < 0 ? n : deep(n + 1) * 3 + depth;
}

/* As long as a timeout can be. */
static int sleep_forever(void) {
  unsigned long long subscription[6] = { 1, 0, 1, ~0ull, 0, 0 }, event[4], count;
  puts("asleep");
  return poll_oneoff(subscription, event, 1, &count);
}

static int show(int argc, char **argv) {
  for (int i = 1; i < argc; i++) printf("argument %s\n", argv[i]);
  for (char **e = environ; *e; e++) printf("environment %s\n", *e);
  DIR *d = opendir("/");
  for (struct dirent *e; d && (e = readdir(d));) printf("entry %s\n", e->d_name);
  FILE *f = fopen("/etc/motd", "r");
  char line[256];
  while (f && fgets(line, sizeof line, f)) printf("motd %s", line);
  struct timespec before, after, pause = { 0, 30000000 };
  clock_gettime(CLOCK_MONOTONIC, &before);
  nanosleep(&pause, 0);
  clock_gettime(CLOCK_MONOTONIC, &after);
  long long slept = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
  printf("slept %s\n", slept >= 30000000 ? "enough" : "too little");
  printf("year %s\n", time(0) > 1700000000 ? "plausible" : "wrong");
  return 7;
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "";
  setvbuf(stdout, 0, _IOLBF, 0);
  if (!strcmp(what, "show")) return show(argc, argv);
  if (!strcmp(what, "echo")) {
    char line[256];
    while (fgets(line, sizeof line, stdin)) printf("got %s", line);
    puts("end of input");
    return 0;
  }
  if (!strcmp(what, "tick")) {
    struct timespec now, pause = { 0, 50000000 };
    for (;; nanosleep(&pause, 0)) { clock_gettime(CLOCK_MONOTONIC, &now); printf("tick %lld %lld\n", now.tv_sec * 1000LL + now.tv_nsec / 1000000, (long long)time(0)); }
  }
  if (!strcmp(what, "spin")) { puts("spinning"); for (volatile long n = 0;; n++); }
  if (!strcmp(what, "flood")) for (;;) puts("0123456789012345678901234567890123456789012345678901234567890123456789");
  if (!strcmp(what, "recurse")) return recurse(0);
  if (!strcmp(what, "deep")) { yields_from = argc > 2 ? atoi(argv[2]) : 0; for (int n = 0; n < 200; n++) if (yields_from) sched_yield(); return deep(0); }
  if (!strcmp(what, "forever")) return sleep_forever();
  if (!strcmp(what, "trap")) __builtin_trap();
  if (!strcmp(what, "outside")) return *(volatile char *)0xfffffff0u;
  if (!strcmp(what, "grow")) { long n = 0; for (volatile char *p; (p = malloc(1 << 20)); n++) p[4096] = 1; printf("grown by %ld MiB\n", n); return n > 0 && n < 64 ? 0 : 1; }
  if (!strcmp(what, "wait")) { puts("waiting"); for (;;) sleep(1000); }
  return 99;
}
