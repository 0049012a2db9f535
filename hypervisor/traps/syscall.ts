// SYSCALL and SYSENTER. From the guest kernel SYSCALL is a hypercall; from guest user mode it is the guest's own
// system call and enters the callback it registered.
import { SEG } from '../cpu/processor-api.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { dispatchHypercall } from '../hypercall/table.ts';
import { bounce, injectGp, injectUd } from './bounce.ts';
import { EFLAGS, REG } from './mode.ts';
import { FLAT_RING3_CS32, FLAT_RING3_CS64, FLAT_RING3_SS64 } from './segments.ts';

const SYSCALL_BYTES = 2n;
const ARGUMENTS = [REG.rdi, REG.rsi, REG.rdx, REG.r10, REG.r8] as const;

function hypercall(ctx: VcpuContext): void {
  const { processor, pv } = ctx;
  const { gpr } = processor;
  // As the instruction leaves them; a handler that loads a whole context (iret) overwrites them.
  gpr[REG.rcx] = processor.rip;
  gpr[REG.r11] = processor.rflags;
  dispatchHypercall(ctx, Number(gpr[REG.rax]! & 0xffff_ffffn), gpr[REG.rdi]!, gpr[REG.rsi]!, gpr[REG.rdx]!, gpr[REG.r10]!, gpr[REG.r8]!);
  if (pv.continuation === undefined) return;
  const { call, args } = pv.continuation;
  pv.continuation = undefined;
  processor.rip -= SYSCALL_BYTES;
  gpr[REG.rax] = BigInt(call);
  args.forEach((value, i) => { gpr[ARGUMENTS[i]!] = BigInt.asUintN(64, value); });
}

/** EXIT.syscall; rip is after the instruction. */
export function handleSyscall(ctx: VcpuContext): void {
  const { processor, pv } = ctx;
  if (pv.kernelMode) { hypercall(ctx); return; }
  const callback = processor.longMode ? pv.syscall : pv.syscall32;
  if (callback.address === 0n) {
    processor.rip -= SYSCALL_BYTES;
    injectUd(ctx);
    return;
  }
  processor.gpr[REG.rcx] = processor.rip;
  processor.gpr[REG.r11] = processor.rflags;
  processor.selectors[SEG.cs] = processor.longMode ? FLAT_RING3_CS64 : FLAT_RING3_CS32;
  processor.selectors[SEG.ss] = FLAT_RING3_SS64;
  bounce(ctx, callback, -1);
  // The direction flag is in SYSCALL's flag mask.
  processor.rflags &= ~EFLAGS.DF;
}

/** EXIT.sysenter: the instruction saves nothing, so the frame has no return address; never a hypercall. */
export function handleSysenter(ctx: VcpuContext): void {
  const { processor, pv } = ctx;
  if (pv.kernelMode || pv.sysenter.address === 0n) {
    processor.rip -= SYSCALL_BYTES;
    injectGp(ctx);
    return;
  }
  processor.selectors[SEG.cs] = 3;
  processor.selectors[SEG.ss] = FLAT_RING3_SS64;
  processor.rip = 0n;
  processor.gpr[REG.rsp] = 0n;
  bounce(ctx, pv.sysenter, -1);
  processor.rflags &= ~EFLAGS.DF;
}
