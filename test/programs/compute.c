/* Compute-bound work of several kinds; each prints its name, a checksum and its time in microseconds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1e6 + t.tv_nsec / 1e3; }

static uint32_t table_walk(void) {
  static uint32_t table[4096];
  uint32_t x = 1, sum = 0;
  for (int n = 0; n < 60000000; n++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; sum += table[x & 4095]++ ^ x; }
  return sum;
}
static uint32_t sieve(void) {
  enum { SIZE = 4000000 };
  static char composite[SIZE];
  uint32_t count = 0;
  for (int round = 0; round < 4; round++) {
    memset(composite, 0, SIZE);
    for (int i = 2; i < SIZE; i++) if (!composite[i]) { count++; for (long j = (long)i * i; j < SIZE; j += i) composite[j] = 1; }
  }
  return count;
}
static uint32_t matrix(void) {
  enum { N = 256 };
  static double a[N][N], b[N][N], c[N][N];
  for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) { a[i][j] = i + j; b[i][j] = i - j; c[i][j] = 0; }
  for (int round = 0; round < 8; round++) for (int i = 0; i < N; i++) for (int j = 0; j < N; j++) { double s = 0; for (int k = 0; k < N; k++) s += a[i][k] * b[k][j]; c[i][j] += s; }
  return (uint32_t)(int64_t)c[17][33];
}
static __attribute__((noinline)) uint32_t fib(uint32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
static uint32_t recursion(void) { return fib(37); }
static int compare(const void *a, const void *b) { uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b; return x < y ? -1 : x > y; }
static uint32_t sorting(void) {
  enum { SIZE = 1000000 };
  uint32_t *list = malloc(SIZE * sizeof *list), x = 7;
  for (int i = 0; i < SIZE; i++) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; list[i] = x; }
  qsort(list, SIZE, sizeof *list, compare);
  uint32_t sum = list[0] ^ list[SIZE / 2] ^ list[SIZE - 1];
  free(list);
  return sum;
}
static uint32_t text(void) {
  static char data[1 << 20];
  for (int i = 0; i < (int)sizeof data; i++) data[i] = "the quick brown fox jumps over the lazy dog "[i % 44];
  uint32_t words = 0, hash = 5381;
  for (int round = 0; round < 30; round++) for (int i = 0; i < (int)sizeof data; i++) { if (data[i] == ' ') words++; hash = hash * 33 ^ (uint8_t)data[i]; }
  return words + hash;
}

int main(void) {
  static const struct { const char *name; uint32_t (*run)(void); } work[] = { { "table", table_walk }, { "sieve", sieve }, { "matrix", matrix }, { "recursion", recursion }, { "sorting", sorting }, { "text", text } };
  for (int round = 0; round < 2; round++) for (unsigned n = 0; n < sizeof work / sizeof *work; n++) {
    double start = now();
    uint32_t sum = work[n].run();
    printf("%s %u %.0f\n", work[n].name, sum, now() - start);
  }
  return 0;
}
