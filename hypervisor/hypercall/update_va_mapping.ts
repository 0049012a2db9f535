// HYPERVISOR_update_va_mapping(va, new entry, flags): changes the L1 entry that maps va in the current tables.
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { EFAULT, EINVAL } from '../public/errno.ts';
import { UVMF_ALL, UVMF_FLUSHTYPE_MASK, UVMF_INVLPG, UVMF_LOCAL, UVMF_TLB_FLUSH } from '../public/xen.ts';
import { ALL_VCPUS, flushMask, flushPageMask, spaceOf } from '../mm/flush.ts';
import { PGT } from '../mm/frame-table.ts';
import { copyVcpuMask } from '../mm/guest-access.ts';
import { withPageLock } from '../mm/space.ts';
import { modEntry } from '../mm/update.ts';
import { findL1 } from '../mm/walk.ts';

/** Which vCPUs the flags' upper part names: this one, all, or those of a bitmap in guest memory. */
function flushTargets(ctx: VcpuContext, flags: bigint): bigint | undefined {
  const where = flags & ~BigInt(UVMF_FLUSHTYPE_MASK);
  if (where === BigInt(UVMF_LOCAL)) return 1n << BigInt(ctx.vcpuId);
  if (where === BigInt(UVMF_ALL)) return ALL_VCPUS;
  return copyVcpuMask(ctx, where);
}

function flush(ctx: VcpuContext, va: bigint, flags: bigint): number {
  const type = Number(flags & BigInt(UVMF_FLUSHTYPE_MASK));
  if (type !== UVMF_TLB_FLUSH && type !== UVMF_INVLPG) return 0;
  const targets = flushTargets(ctx, flags);
  if (targets === undefined) return -EFAULT;
  if (type === UVMF_TLB_FLUSH) flushMask(ctx, targets); else flushPageMask(ctx, targets, va);
  return 0;
}

export const update_va_mapping: HypercallHandler = (ctx, va, value, flags) => {
  const space = spaceOf(ctx);
  const error = withPageLock(space, () => {
    const entry = findL1(space, ctx.pv.kernelRoot, va);
    if (entry === undefined) return -EINVAL;
    const lo = Number(value & 0xffff_ffffn) | 0, hi = Number(value >> 32n) | 0;
    return modEntry(space, entry.index, PGT.l1_page_table, entry.offset, lo, hi, false);
  });
  return error !== 0 ? error : flush(ctx, va, flags);
};
