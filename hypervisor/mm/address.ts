// What a guest may name: virtual addresses and machine frame numbers.
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { MFN_INDEX_BITS } from '../public/types.ts';

/** Canonical 48-bit address. */
export const isCanonicalAddress = (va: bigint): boolean => BigInt.asUintN(64, BigInt.asIntN(48, va)) === va;

const HOLE_START = 0xffff_8000_0000_0000n, HOLE_END = 0xffff_8800_0000_0000n;
/** A guest may name it at all: canonical and outside the hypervisor's hole. */
export const addressOk = (va: bigint): boolean => isCanonicalAddress(va) && (va < HOLE_START || va >= HOLE_END);

/** Frame index of an mfn of the caller's own domain, or -1. Whether the frame is owned is for the frame table to say. */
export function ownFrameIndex(ctx: VcpuContext, mfn: bigint): number {
  return mfn >> BigInt(MFN_INDEX_BITS) === BigInt(ctx.slot) ? Number(mfn & 0xf_ffffn) : -1;
}
