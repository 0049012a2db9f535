// The hypercall page: 128 stubs of 32 bytes; a guest calls stub number * 32 with arguments in rdi rsi rdx r10 r8.
// The iret stub is jumped to instead: it completes the frame of struct iret_context and does not return.

const STUB_BYTES = 32;
const STUBS = 128;
const __HYPERVISOR_iret = 23;
const INT3 = 0xcc;

const PUSH_RCX = [0x51], PUSH_R11 = [0x41, 0x53], PUSH_RAX = [0x50], POP_R11 = [0x41, 0x5b], POP_RCX = [0x59], SYSCALL = [0x0f, 0x05], RET = [0xc3];
const movEax = (n: number): number[] => [0xb8, n & 0xff, n >> 8, 0, 0];

const stub = (n: number): number[] => (n === __HYPERVISOR_iret
  ? [...PUSH_RCX, ...PUSH_R11, ...PUSH_RAX, ...movEax(n), ...SYSCALL]
  : [...PUSH_RCX, ...PUSH_R11, ...movEax(n), ...SYSCALL, ...POP_R11, ...POP_RCX, ...RET]);

/** Fills a 4096-byte hypercall page. */
export function writeHypercallPage(page: Uint8Array): void {
  page.fill(INT3);
  for (let n = 0; n < STUBS; n++) page.set(stub(n), n * STUB_BYTES);
}
