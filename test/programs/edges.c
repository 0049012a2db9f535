/* Calls at the edges of what they allow, on the disk at /data. What is not as it should be is said, and counted. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) int32_t wasi_##name
IMPORT(fd_pread)(int32_t, const void *, int32_t, int64_t, void *);
IMPORT(fd_pwrite)(int32_t, const void *, int32_t, int64_t, void *);
IMPORT(fd_filestat_set_size)(int32_t, int64_t);
IMPORT(fd_allocate)(int32_t, int64_t, int64_t);
IMPORT(fd_renumber)(int32_t, int32_t);
IMPORT(random_get)(uint32_t, uint32_t);

enum { WASI_BADF = 8, WASI_FAULT = 21, WASI_FBIG = 22, WASI_INVAL = 28 };
static int failures;
#define CHECK(x) do { if (!(x)) { printf("FAIL line %d: %s (%s)\n", __LINE__, #x, strerror(errno)); failures++; } } while (0)
static char page[16384];

static void offsets(void) {
  struct { void *at; int32_t length; } vector = { page, 4096 };
  uint32_t done;
  int fd = open("/data/offsets", O_CREAT | O_RDWR, 0644);
  CHECK(write(fd, page, 4096) == 4096);
  CHECK(wasi_fd_pwrite(fd, &vector, 1, -4096, &done) == WASI_INVAL);
  CHECK(wasi_fd_pread(fd, &vector, 1, -4096, &done) == WASI_INVAL);
  CHECK(wasi_fd_filestat_set_size(fd, -1) == WASI_FBIG);
  CHECK(wasi_fd_allocate(fd, 0, -1) == WASI_FBIG);
  CHECK(wasi_fd_allocate(fd, 4096, 4096) == 0);
  CHECK(wasi_fd_renumber(fd, 900) == WASI_BADF);
  CHECK(wasi_random_get(1024, 0xfffffff0u) == WASI_FAULT);
  CHECK(close(fd) == 0);
}
static void removed(void) {
  CHECK(mkdir("/data/gone", 0755) == 0);
  int fd = open("/data/gone", O_RDONLY | O_DIRECTORY);
  CHECK(rmdir("/data/gone") == 0);
  CHECK(openat(fd, "x", O_CREAT | O_RDWR, 0644) < 0 && errno == ENOENT);
  CHECK(mkdirat(fd, "y", 0755) < 0 && errno == ENOENT);
  CHECK(linkat(AT_FDCWD, "/data/offsets", fd, "z", 0) < 0 && errno == ENOENT);
  CHECK(renameat(AT_FDCWD, "/data/offsets", fd, "z") < 0 && errno == ENOENT);
  CHECK(close(fd) == 0);
}
/* A file is read and written by whoever opened it for that. */
static void modes(void) {
  int in = open("/data/offsets", O_RDONLY), out = open("/data/offsets", O_WRONLY);
  CHECK(write(in, page, 1) < 0 && errno == EBADF);
  CHECK(read(out, page, 1) < 0 && errno == EBADF);
  CHECK(read(in, page, 1) == 1 && write(out, page, 1) == 1);
  CHECK((fcntl(in, F_GETFL) & (O_RDONLY | O_WRONLY)) == O_RDONLY && (fcntl(out, F_GETFL) & (O_RDONLY | O_WRONLY)) == O_WRONLY);
  CHECK(open("/data", O_WRONLY) < 0 && errno == EISDIR);
  CHECK(open("/data/new/", O_CREAT | O_RDWR, 0644) < 0 && errno == EISDIR);
  CHECK(open("/data/new", O_RDONLY) < 0 && errno == ENOENT);
  CHECK(close(in) == 0 && close(out) == 0);
}
/* A disk that is given to be read. */
static void readOnly(void) {
  int in = open("/data/offsets", O_RDONLY);
  CHECK(read(in, page, 1) == 1 && close(in) == 0);
  CHECK(open("/data/offsets", O_WRONLY) < 0 && errno == EROFS);
  CHECK(open("/data/offsets", O_RDWR) < 0 && errno == EROFS);
  CHECK(open("/data/new", O_CREAT | O_RDWR, 0644) < 0 && errno == EROFS);
}
/* What fits is written; what does not is refused, and the file is as long as what was written. */
static void full(void) {
  int fd = open("/data/full", O_CREAT | O_RDWR, 0644), n;
  off_t total = 0;
  struct stat st;
  memset(page, 'x', sizeof page);
  while ((n = write(fd, page, sizeof page)) > 0) total += n;
  CHECK(n < 0 && errno == ENOSPC);
  CHECK(fstat(fd, &st) == 0 && st.st_size == total);
  CHECK(total > 1 << 20);
  CHECK(mkdir("/data/no-room", 0755) < 0 && errno == ENOSPC);
  CHECK(ftruncate(fd, 4096) == 0 && close(fd) == 0);
}

int main(int argc, char **argv) {
  (void)argv;
  setvbuf(stdout, 0, _IOLBF, 0);
  if (argc > 1) {
    readOnly();
    printf("read only, %d failures\n", failures);
    return failures;
  }
  offsets();
  removed();
  modes();
  full();
  /* Still open at the end: its room is free again. */
  int fd = open("/data/left", O_CREAT | O_RDWR, 0644);
  CHECK(write(fd, page, sizeof page) == sizeof page && unlink("/data/left") == 0);
  printf("edges done, %d failures\n", failures);
  return failures;
}
