// Runs single instructions or short sequences on the host's own processor and reports all that they changed.
// No libc: nothing here may depend on thread-local storage, for FS and GS hold the bases the cases use.
//
// usage: harness FILE. FILE is shared memory (differential/layout.ts has the same numbers): BATCHES times
//   0           code image, CODE_BYTES, copied to CODE (read and execute)
//   CODE_BYTES  MAX_CASES case slots, CASE_BYTES each: inputs, overwritten by results
// Each 4-byte word read from stdin runs so many cases (lower half) of a batch (upper half), and is then written to stdout.
//
// Two regions of memory stand at fixed addresses, each [hole][read-only][write][write][hole], all pages filled with
// a fixed pattern. A case lays its 256-byte window over each. What it changed outside of them is told by a hash.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <asm/prctl.h>
#include <ucontext.h>

typedef uint64_t u64; typedef uint32_t u32; typedef uint16_t u16; typedef uint8_t u8;

#define CODE 0x13570000ul
#define CODE_PAGES 40
#define CODE_BYTES (CODE_PAGES * 4096ul)
#define REGION_PAGES 3
#define REGION_BYTES (REGION_PAGES * 4096ul)
#define WINDOW 256
#define MAX_CASES 2048
#define BATCHES 2
#define BATCH_BYTES (CODE_BYTES + MAX_CASES * sizeof(struct slot))
#define FS_BASE 0x01234560ul
#define GS_BASE 0x02468ac8ul
static const u64 regions[2] = { 0x2468b000ul, 0x3579d000ul };

struct slot {
  u32 trap, error;              // results: trap number (ucontext), error code. Inputs: code segment; 1 when segments may change
  u64 cr2;
  u64 rip, rflags, gpr[16];     // both; gpr in x86 order
  u64 window[2];                // inputs: addresses of the windows. They come back as {hash or 0, cs | ss << 16} and selectors es ds fs gs
  u8 fx[512];                   // both: FXSAVE image
  u8 data[2][WINDOW];           // both
};

static struct slot *volatile current;
/** Cases so far, and at the last tick of the clock (of processor time): one that is still there at the next does not end. */
static volatile u64 cases, ticked;
#define ENDLESS 255
static u64 selectors[2];
static u64 saved_rsp __attribute__((used));
static u8 pristine[2 * 4096 * REGION_PAGES] __attribute__((aligned(4096)));
static u8 own_stack[1 << 16] __attribute__((aligned(4096), used));
static u8 altstack[1 << 17] __attribute__((aligned(4096)));

static long call(long n, long a, long b, long c, long d, long e, long f) {
  long r;
  register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  __asm__ volatile("syscall" : "=a"(r) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return r;
}
static void quit(int status) { for (;;) call(SYS_exit_group, status, 0, 0, 0, 0, 0); }
static void copy(void *to, const void *from, u64 n) { __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory"); }
void *memcpy(void *to, const void *from, unsigned long n) { copy(to, from, n); return to; }
void *memset(void *to, int v, unsigned long n) { void *p = to; __asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(v) : "memory"); return to; }

void enter_case(struct slot *s);
void leave_case(void);
void handler_entry(void);
void tick_entry(void);
void go_on(void);
__asm__(
  ".text\n"
  "enter_case:\n"
  "  push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
  "  mov %rsp, saved_rsp(%rip)\n"
  "  fxrstor64 176(%rdi)\n"
  "  mov %ss, %eax; push %rax\n"
  "  push 64(%rdi)\n"                     // rsp
  "  push 24(%rdi)\n"                     // rflags
  "  mov (%rdi), %eax; push %rax\n"        // code segment: 64-bit or 32-bit
  "  push 16(%rdi)\n"                     // rip
  "  mov 32(%rdi), %rax; mov 40(%rdi), %rcx; mov 48(%rdi), %rdx; mov 56(%rdi), %rbx\n"
  "  mov 72(%rdi), %rbp; mov 80(%rdi), %rsi\n"
  "  mov 96(%rdi), %r8; mov 104(%rdi), %r9; mov 112(%rdi), %r10; mov 120(%rdi), %r11\n"
  "  mov 128(%rdi), %r12; mov 136(%rdi), %r13; mov 144(%rdi), %r14; mov 152(%rdi), %r15\n"
  "  mov 88(%rdi), %rdi\n"
  "  iretq\n"
  "leave_case:\n"
  "  mov saved_rsp(%rip), %rsp\n"
  "  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
  "  ret\n"
  // The kernel leaves AC and NT as the case left them.
  "handler_entry:\n"
  "  pushq $0x202; popfq; cld; jmp handler\n"
  "tick_entry:\n"
  "  pushq $0x202; popfq; cld; sub $8, %rsp; call tick; add $8, %rsp; ret\n"
  "go_on:\n"
  "  mov $15, %eax; syscall\n"            // rt_sigreturn
);

__attribute__((used)) void handler(int sig, siginfo_t *info, void *context) {
  (void)sig; (void)info;
  static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };
  ucontext_t *uc = context;
  greg_t *g = uc->uc_mcontext.gregs;
  struct slot *s = current;
  if (!s) quit(3);
  s->trap = g[REG_TRAPNO];
  s->error = g[REG_ERR];
  s->cr2 = g[REG_TRAPNO] == 14 ? g[REG_CR2] : 0;
  s->rip = g[REG_RIP];
  s->rflags = g[REG_EFL];
  // Linux saves cs and ss alone and leaves the others as they were.
  u16 es, ds, fs, gs;
  __asm__ volatile("mov %%es, %0; mov %%ds, %1; mov %%fs, %2; mov %%gs, %3" : "=r"(es), "=r"(ds), "=r"(fs), "=r"(gs));
  u64 seg = g[REG_CSGSFS];
  selectors[0] = ((seg & 0xffff) | (seg >> 48) << 16) << 32;
  selectors[1] = es | (u64)ds << 16 | (u64)fs << 32 | (u64)gs << 48;
  for (int i = 0; i < 16; i++) s->gpr[i] = g[order[i]];
  copy(s->fx, uc->uc_mcontext.fpregs, 512);
  leave_case();
}

/** A case that goes on for ever is ended as it stands. What processors do under virtualisation can surprise. */
__attribute__((used)) void tick(void) {
  struct slot *s = current;
  if (s && ticked == cases) { s->trap = ENDLESS; leave_case(); }
  ticked = cases;
}

static int page_differs(const u64 *a, const u64 *b) {
  u64 d = 0;
  for (int i = 0; i < 512; i++) d |= a[i] ^ b[i];
  return d != 0;
}

static void place_segments(void) {
  __asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %1, %%fs; mov %1, %%gs" : : "r"(0x2b), "r"(0));
  call(SYS_arch_prctl, ARCH_SET_GS, GS_BASE, 0, 0, 0, 0);
  call(SYS_arch_prctl, ARCH_SET_FS, FS_BASE, 0, 0, 0, 0);
}

static void run_case(struct slot *s) {
  int segments = s->error;
  u64 window[2] = { s->window[0], s->window[1] };
  // A window in the read-only page: its content is the pattern.
  for (int r = 0; r < 2; r++) {
    if (window[r] >= regions[r] + 4096) copy((void *)window[r], s->data[r], WINDOW);
    else if (window[r] + WINDOW > regions[r] + 4096) {
      u64 skip = regions[r] + 4096 - window[r];
      copy((void *)(regions[r] + 4096), s->data[r] + skip, WINDOW - skip);
    }
  }
  cases++;
  current = s;
  enter_case(s);
  current = 0;
  if (segments) place_segments();
  u32 hash = 0;
  for (int r = 0; r < 2; r++) {
    u8 *image = pristine + r * REGION_BYTES;
    copy(s->data[r], (void *)window[r], WINDOW);
    u64 from = window[r] < regions[r] + 4096 ? regions[r] + 4096 : window[r];
    copy((void *)from, image + (from - regions[r]), window[r] + WINDOW > from ? window[r] + WINDOW - from : 0);
    for (u64 page = 4096; page < REGION_BYTES; page += 4096) {
      u8 *p = (u8 *)regions[r] + page;
      if (!page_differs((u64 *)p, (u64 *)(image + page))) continue;
      hash = (hash ^ (u32)(r * REGION_BYTES + page)) * 16777619u;
      for (int i = 0; i < 1024; i++) hash = (hash ^ ((u32 *)p)[i]) * 16777619u;
      copy(p, image + page, 4096);
    }
  }
  s->window[0] = hash | selectors[0];
  s->window[1] = selectors[1];
}

static void *map(u64 at, u64 bytes, int protection) {
  long p = call(SYS_mmap, at, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (p != (long)at) quit(4);
  return (void *)p;
}

__attribute__((used)) void start(long *stack) {
  if (stack[0] != 2) quit(2);
  long fd = call(SYS_open, stack[2], 2, 0, 0, 0, 0);
  if (fd < 0) quit(5);
  u8 *shared = (u8 *)call(SYS_mmap, 0, BATCHES * BATCH_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if ((long)shared < 0 && (long)shared > -4096) quit(6);
  map(CODE, CODE_BYTES, PROT_READ | PROT_WRITE);
  for (int r = 0; r < 2; r++) {
    u32 *p = map(regions[r], REGION_BYTES, PROT_READ | PROT_WRITE), v = 0x9e3779b9u * (r + 1);
    for (u64 i = 0; i < REGION_BYTES / 4; i++) { v = v * 1664525u + 1013904223u; p[i] = v ^ v >> 15; }
    copy(pristine + r * REGION_BYTES, p, REGION_BYTES);
    call(SYS_mprotect, regions[r], 4096, PROT_READ, 0, 0, 0);
  }
  stack_t alt = { altstack, 0, sizeof altstack };
  call(SYS_sigaltstack, (long)&alt, 0, 0, 0, 0, 0);
  struct { void (*handler)(void); u64 flags; void (*restorer)(void); u64 mask; } action = { handler_entry, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000, leave_case, 0 };
  static const int signals[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV };
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) call(SYS_rt_sigaction, signals[i], (long)&action, 0, 8, 0, 0);
  struct { void (*handler)(void); u64 flags; void (*restorer)(void); u64 mask; } clock = { tick_entry, SA_SIGINFO | SA_ONSTACK | SA_RESTART | SA_NODEFER | 0x04000000, go_on, 0 };
  call(SYS_rt_sigaction, SIGPROF, (long)&clock, 0, 8, 0, 0);
  struct { long every[2], first[2]; } period = { { 0, 10000 }, { 0, 10000 } };
  call(SYS_setitimer, 2 /* ITIMER_PROF */, (long)&period, 0, 0, 0, 0);
  place_segments();
  // Stray accesses of the cases must find nothing: the stack and what the kernel maps above it go.
  u64 low = ((u64)stack & -4096ul) - (64ul << 20);
  if ((u64)&current > low) quit(8);
  call(SYS_munmap, low, 0x7ffffffff000ul - low, 0, 0, 0, 0);
  for (;;) {
    u32 word;
    if (call(SYS_read, 0, (long)&word, 4, 0, 0, 0) != 4) quit(0);
    u32 count = word & 0xffff, batch = word >> 16;
    if (count > MAX_CASES || batch >= BATCHES) quit(7);
    u8 *code = shared + batch * BATCH_BYTES;
    call(SYS_mprotect, CODE, CODE_BYTES, PROT_READ | PROT_WRITE, 0, 0, 0);
    copy((void *)CODE, code, CODE_BYTES);
    call(SYS_mprotect, CODE, CODE_BYTES, PROT_READ | PROT_EXEC, 0, 0, 0);
    struct slot *slots = (struct slot *)(code + CODE_BYTES);
    for (u32 i = 0; i < count; i++) run_case(slots + i);
    call(SYS_write, 1, (long)&word, 4, 0, 0, 0);
  }
}
__asm__(".globl _start\n_start:\n  mov %rsp, %rdi\n  lea own_stack+65536(%rip), %rsp\n  call start\n  hlt\n");
_Static_assert(sizeof(struct slot) == 1200 && __builtin_offsetof(struct slot, fx) == 176, "layout");
