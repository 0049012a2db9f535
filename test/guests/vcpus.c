// Run in a guest with two vCPUs: what threads on them may rely on. Prints one line per test, and returns 1 if any failed.
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, CPUS = 2, ROUNDS = 200000, REWRITES = 3000 };
static int failures;
static void report(const char *what, int good) { printf("%s %s\n", good ? "good" : "BAD", what); failures += !good; }

static uint8_t *area; // two pages
static void pin(long cpu) { cpu_set_t set; CPU_ZERO(&set); CPU_SET(cpu, &set); sched_setaffinity(0, sizeof set, &set); }

static uint64_t *counter;
static void *add(void *cpu) { pin((long)cpu % CPUS); for (int i = 0; i < ROUNDS; i++) __asm__ volatile("lock incq %0" : "+m"(*counter)); return 0; }
static void *sixteen(void *cpu) {
  pin((long)cpu % CPUS);
  uint64_t *p = counter;
  for (int i = 0; i < ROUNDS; i++)
    for (;;) {
      uint64_t low = p[0], high = p[1], newLow = low + 1, newHigh = high + 3;
      uint8_t done;
      __asm__ volatile("lock cmpxchg16b %1; sete %0" : "=q"(done), "+m"(*(__int128 *)p), "+a"(low), "+d"(high) : "b"(newLow), "c"(newHigh) : "cc");
      if (done) break;
    }
  return 0;
}
static void run(void *(*work)(void *)) {
  pthread_t t[THREADS];
  for (long i = 0; i < THREADS; i++) pthread_create(&t[i], 0, work, (void *)i);
  for (int i = 0; i < THREADS; i++) pthread_join(t[i], 0);
}
static void locked(void) {
  static const struct { const char *name; int at; } places[] = {{"lock inc, aligned", 64}, {"lock inc, not aligned", 67}, {"lock inc, across pages", 4093}};
  for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
    counter = (uint64_t *)(area + places[i].at);
    *counter = 0;
    run(add);
    report(places[i].name, *counter == (uint64_t)THREADS * ROUNDS);
  }
  counter = (uint64_t *)(area + 128);
  counter[0] = counter[1] = 0;
  run(sixteen);
  report("lock cmpxchg16b", counter[0] == (uint64_t)THREADS * ROUNDS && counter[1] == 3ull * THREADS * ROUNDS);
}

// One thread writes `mov eax, N; ret` and says so, the other serialises and must run just that.
static volatile int written, ran, wrong;
static void *runner(void *code) {
  pin(1);
  for (int n = 1; n <= REWRITES; n++) {
    while (__atomic_load_n(&written, __ATOMIC_ACQUIRE) != n) ;
    unsigned a = 0, b, c, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d) : : "memory");
    if (((int (*)(void))code)() != n) wrong++;
    __atomic_store_n(&ran, n, __ATOMIC_RELEASE);
  }
  return 0;
}
static void rewritten(void) {
  uint8_t *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pthread_t t;
  pin(0);
  pthread_create(&t, 0, runner, code);
  for (int n = 1; n <= REWRITES; n++) {
    code[0] = 0xb8;
    memcpy(code + 1, &n, 4);
    code[5] = 0xc3;
    __atomic_store_n(&written, n, __ATOMIC_RELEASE);
    while (__atomic_load_n(&ran, __ATOMIC_ACQUIRE) != n) ;
  }
  pthread_join(t, 0);
  report("code that another vCPU rewrites", wrong == 0);
}

// The debug registers as a debugger uses them: through ptrace, of another process.
static volatile uint64_t watched[4];
static void __attribute__((noinline)) landmark(void) { __asm__ volatile("nop" : : : "memory"); }
static void debugRegister(pid_t pid, int n, uint64_t value) { ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[n]), value); }
static int stoppedBy(pid_t pid, uint64_t bits) {
  int status;
  ptrace(PTRACE_CONT, pid, 0, 0);
  if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status) || WSTOPSIG(status) != 5) return 0;
  uint64_t dr6 = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg[6]), 0);
  debugRegister(pid, 6, 0);
  return (dr6 & 15) == bits;
}
static void breakpoints(void) {
  pid_t pid = fork();
  if (pid == 0) {
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(5);
    for (int i = 0; i < 4; i++) watched[i] = watched[i] + 1;
    landmark();
    watched[2] = 9;
    _exit(watched[2] == 9 ? 0 : 1);
  }
  int status;
  waitpid(pid, &status, 0);
  debugRegister(pid, 0, (uint64_t)&watched[2]);
  debugRegister(pid, 1, (uint64_t)&watched[0]);
  debugRegister(pid, 2, (uint64_t)landmark);
  // DR0: writes of 8 bytes; DR1: reads and writes of 8; DR2: execution.
  debugRegister(pid, 7, 1 << 0 | 0x9 << 16 | 1 << 2 | 0xb << 20 | 1 << 4);
  report("a read is trapped", stoppedBy(pid, 2));
  report("a write is trapped", stoppedBy(pid, 2));
  report("a write of another word is trapped", stoppedBy(pid, 1));
  report("execution is trapped", stoppedBy(pid, 4));
  report("a later write is trapped", stoppedBy(pid, 1));
  ptrace(PTRACE_CONT, pid, 0, 0);
  waitpid(pid, &status, 0);
  report("the program ends as it would have", WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void) {
  setvbuf(stdout, 0, _IONBF, 0);
  area = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  locked();
  rewritten();
  breakpoints();
  return failures != 0;
}
