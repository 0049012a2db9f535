// Runs x87 and SSE instructions on the host's processor. Reads cases from stdin and writes results to stdout,
// both as packed arrays of the structs below. One instruction a case; memory operands are [rsi].
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

struct in { uint8_t length, code[15]; uint64_t rax; uint64_t eflags; uint8_t image[512]; uint8_t memory[128]; };
struct out { uint32_t status; uint32_t mxcsr; uint64_t rax; uint64_t eflags; uint8_t image[512]; uint8_t memory[128]; };
enum { DONE, UNDEFINED, FAULT };

static uint8_t *page;
static sigjmp_buf back;
static volatile uint32_t fault_mxcsr;
static uint8_t work_in[512] __attribute__((aligned(64))), work_out[512] __attribute__((aligned(64))), clean[512] __attribute__((aligned(64)));
static uint8_t memory[128] __attribute__((aligned(64)));
static uint64_t reg_rax, reg_flags;

static void on_signal(int sig, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  (void)info;
  fault_mxcsr = uc->uc_mcontext.fpregs ? uc->uc_mcontext.fpregs->mxcsr : 0;
  siglongjmp(back, sig == SIGILL ? UNDEFINED : FAULT);
}

static void execute(void) {
  __asm__ volatile(
      "sub $256, %%rsp\n fxrstor64 (%[i])\n push %[f]\n popfq\n call *%[c]\n pushfq\n pop %[f]\n fxsave64 (%[o])\n add $256, %%rsp\n"
      : [f] "+r"(reg_flags), "+a"(reg_rax)
      : [i] "r"(work_in), [o] "r"(work_out), [c] "r"(page), "S"(memory)
      : "memory", "cc", "rcx", "rdx", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

int main(void) {
  static struct in in;
  static struct out out;
  page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return 3;
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGILL, &action, 0);
  sigaction(SIGFPE, &action, 0);
  sigaction(SIGSEGV, &action, 0);
  __asm__ volatile("fxsave64 (%0)" ::"r"(clean) : "memory");
  static uint8_t last[16];
  while (fread(&in, sizeof in, 1, stdin) == 1) {
    if (memcmp(last, &in.length, 16)) {
      memcpy(last, &in.length, 16);
      memcpy(page, in.code, in.length);
      page[in.length] = 0xc3;
    }
    memcpy(work_in, in.image, 512);
    memcpy(work_out, in.image, 512);
    memcpy(memory, in.memory, 128);
    reg_rax = in.rax;
    reg_flags = in.eflags | 2;
    int status = sigsetjmp(back, 0);
    if (!status) execute();
    __asm__ volatile("fnclex\n fxrstor64 (%0)" ::"r"(clean) : "memory");
    out.status = status;
    out.mxcsr = fault_mxcsr;
    out.rax = reg_rax;
    out.eflags = reg_flags;
    memcpy(out.image, work_out, 512);
    memcpy(out.memory, memory, 128);
    fwrite(&out, sizeof out, 1, stdout);
  }
  return 0;
}
