// Guest kernel and guest user: two views of one address space, two GS bases, one processor privilege level.
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { SEG, VIEW } from '../cpu/processor-api.ts';
import { FLAT_RING3_CS64, FLAT_RING3_SS64 } from './segments.ts';

/** General register numbers as the processor orders them. */
export const REG = { rax: 0, rcx: 1, rdx: 2, rbx: 3, rsp: 4, rbp: 5, rsi: 6, rdi: 7, r8: 8, r9: 9, r10: 10, r11: 11 } as const;

export const EFLAGS = {
  CF: 1n, TF: 0x100n, IF: 0x200n, DF: 0x400n, IOPL: 0x3000n, NT: 0x4000n, RF: 0x1_0000n, VM: 0x2_0000n, AC: 0x4_0000n,
} as const;
export const IOPL_SHIFT = 12n;

/** Offsets in vcpu_info (public/xen.h): pending and mask are bytes, arch.cr2 a quadword. */
const EVTCHN_UPCALL_PENDING = 0, EVTCHN_UPCALL_MASK = 1, ARCH_CR2 = 16;

/** toggle_guest_mode: from guest kernel to guest user or back. The roots were given to the processor when they were set. */
export function toggleGuestMode(ctx: VcpuContext): void {
  const { pv, processor } = ctx;
  if (pv.kernelMode) {
    pv.gsBaseKernel = processor.gsBase;
    processor.gsBase = pv.gsBaseUser;
  } else {
    pv.gsBaseUser = processor.gsBase;
    processor.gsBase = pv.gsBaseKernel;
  }
  pv.kernelMode = !pv.kernelMode;
  processor.activeView = pv.kernelMode ? VIEW.kernel : VIEW.user;
}

/** Code and stack segment of a guest kernel entered by the hypervisor. */
export function loadKernelSegments(ctx: VcpuContext): void {
  const { processor } = ctx;
  processor.selectors[SEG.cs] = FLAT_RING3_CS64;
  processor.selectors[SEG.ss] = FLAT_RING3_SS64;
  processor.longMode = true;
}

export const upcallPending = (ctx: VcpuContext): boolean => ctx.processor.bytes[ctx.vcpuInfo + EVTCHN_UPCALL_PENDING] !== 0;
export const upcallMasked = (ctx: VcpuContext): boolean => ctx.processor.bytes[ctx.vcpuInfo + EVTCHN_UPCALL_MASK] !== 0;
export function setUpcallMask(ctx: VcpuContext, masked: boolean): void {
  ctx.processor.bytes[ctx.vcpuInfo + EVTCHN_UPCALL_MASK] = masked ? 1 : 0;
}
export function setArchCr2(ctx: VcpuContext, cr2: bigint): void {
  ctx.pv.cr2 = cr2;
  ctx.processor.view.setBigUint64(ctx.vcpuInfo + ARCH_CR2, cr2, true);
}
