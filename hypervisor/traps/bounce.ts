// Entering the guest kernel: the frame Xen pushes for exceptions, system calls and event upcalls.
//
//   rsp ->  rcx, r11, [ds, es, fs, gs]  [error code], rip, cs | saved mask << 32, rflags, rsp, ss   (ascending)
//
// The segment registers are there for the failsafe callback only, the error code for exceptions that have one.
import { ACCESS, SEG } from '../cpu/processor-api.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { PAGE_BYTES } from '../cpu/layout.ts';
import { addressOk } from '../mm/address.ts';
import { spaceOf } from '../mm/flush.ts';
import { domainCrash } from './dump.ts';
import { EFLAGS, IOPL_SHIFT, REG, loadKernelSegments, setArchCr2, setUpcallMask, toggleGuestMode, upcallMasked } from './mode.ts';
import type { Callback } from './pv-state.ts';

export const VMASST_TYPE_architectural_iopl = 4;
export const TRAP = {
  divide_error: 0, debug: 1, nmi: 2, int3: 3, overflow: 4, bounds: 5, invalid_op: 6, no_device: 7, double_fault: 8, invalid_tss: 10,
  no_segment: 11, stack_error: 12, gp_fault: 13, page_fault: 14, copro_error: 16, alignment_check: 17, machine_check: 18, simd_error: 19,
} as const;

const CLEARED_ON_ENTRY = EFLAGS.AC | EFLAGS.VM | EFLAGS.RF | EFLAGS.NT | EFLAGS.TF;
const MASK_64 = 0xffff_ffff_ffff_ffffn;
/** rcx r11 rip cs rflags rsp ss; ds es fs gs. */
const FRAME_WORDS = 7, SEGMENT_WORDS = 4, FRAME_WORDS_MAX = 12;
const SAVED_MASK = 1n << 32n;
const scratch = new BigUint64Array(FRAME_WORDS_MAX), scratchBytes = new Uint8Array(scratch.buffer);

/** RFLAGS as the guest sees them: IF is its event mask, IOPL hidden unless it asked for it. */
export function guestRflags(ctx: VcpuContext): bigint {
  let flags = ctx.processor.rflags & ~(EFLAGS.IF | EFLAGS.IOPL);
  if (!upcallMasked(ctx)) flags |= EFLAGS.IF;
  if ((ctx.pv.vmAssist & (1 << VMASST_TYPE_architectural_iopl)) !== 0) flags |= BigInt(ctx.pv.iopl) << IOPL_SHIFT;
  return flags;
}

/**
 * create_bounce_frame: pushes the frame for the processor's present state and enters the guest kernel at `target`.
 * errorCode -1: none. A missing handler or a stack that cannot be written ends the domain.
 */
export function bounce(ctx: VcpuContext, target: Callback, errorCode: number, failsafe = false): void {
  const { processor, pv } = ctx;
  const { gpr, selectors } = processor;
  if (target.address === 0n) { domainCrash(ctx, 'no handler is registered for the trap'); return; }
  if (!addressOk(target.address)) { domainCrash(ctx, `trap handler at bad address ${target.address.toString(16)}`); return; }
  const flags = guestRflags(ctx), fromKernel = pv.kernelMode, rip = processor.rip, oldSp = gpr[REG.rsp]!, oldSs = BigInt(selectors[SEG.ss]!);
  const cs = BigInt(fromKernel ? selectors[SEG.cs]! & ~3 : selectors[SEG.cs]!) | (upcallMasked(ctx) ? SAVED_MASK : 0n);
  const count = FRAME_WORDS + (failsafe ? SEGMENT_WORDS : 0) + (errorCode >= 0 ? 1 : 0);
  let sp = fromKernel ? oldSp : pv.kernelSp;
  if (!fromKernel) toggleGuestMode(ctx);
  sp = ((sp & ~0xfn) - BigInt(count * 8)) & MASK_64;
  // Within one page the words go straight to the stack; else all of them or none, through a copy.
  const within = (Number(sp & 0xfffn)) + count * 8 <= PAGE_BYTES, physical = within && addressOk(sp) ? processor.translate(sp, ACCESS.write) : -1;
  const frame = within ? spaceOf(ctx).quads : scratch;
  if (physical >= 0 || !within) {
    let at = within ? physical / 8 : 0;
    frame[at++] = gpr[REG.rcx]!;
    frame[at++] = gpr[REG.r11]!;
    if (failsafe) for (const segment of [SEG.ds, SEG.es, SEG.fs, SEG.gs]) frame[at++] = BigInt(selectors[segment]!);
    if (errorCode >= 0) frame[at++] = BigInt(errorCode);
    frame[at++] = rip;
    frame[at++] = cs;
    frame[at++] = flags;
    frame[at++] = oldSp;
    frame[at++] = oldSs;
  }
  if (within ? physical < 0 : !addressOk(sp) || !processor.writeVirtual(sp, scratchBytes.subarray(0, count * 8))) {
    domainCrash(ctx, `bad guest kernel stack ${sp.toString(16)}: the trap frame cannot be written`);
    return;
  }
  if (target.masksEvents) setUpcallMask(ctx, true);
  gpr[REG.rsp] = sp;
  processor.rip = target.address;
  processor.rflags = (processor.rflags & ~CLEARED_ON_ENTRY) | EFLAGS.IF;
  loadKernelSegments(ctx);
}

/** Delivers an exception to the guest's handler. */
export function injectTrap(ctx: VcpuContext, vector: number, errorCode: number): void {
  const gate = ctx.pv.traps[vector]!;
  if (gate.address === 0n) ctx.log(`Unhandled trap ${vector} [ec=${errorCode < 0 ? 0 : errorCode.toString(16)}]`);
  bounce(ctx, gate, errorCode);
}

/** Error code bit that says who made the access: the processor's user bit means nothing here, both run at CPL 3. */
const PFEC_USER = 4;

export function injectPageFault(ctx: VcpuContext, cr2: bigint, errorCode: number): void {
  setArchCr2(ctx, cr2);
  injectTrap(ctx, TRAP.page_fault, ctx.pv.kernelMode ? errorCode & ~PFEC_USER : errorCode | PFEC_USER);
}

export const injectGp = (ctx: VcpuContext, errorCode = 0): void => injectTrap(ctx, TRAP.gp_fault, errorCode);
export const injectUd = (ctx: VcpuContext): void => injectTrap(ctx, TRAP.invalid_op, -1);

/** The failsafe callback: a selector was bad when the guest was to be resumed. */
export function injectFailsafe(ctx: VcpuContext): void {
  if (ctx.pv.failsafe.address === 0n) { domainCrash(ctx, 'bad selector on return to the guest and no failsafe callback'); return; }
  bounce(ctx, ctx.pv.failsafe, -1, true);
}
