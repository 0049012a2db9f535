// HYPERVISOR_mmu_update(reqs, count, success_count, foreigndom): validated changes of page-table entries and of M2P.
// struct mmu_update { u64 ptr (machine address, command in the low 3 bits); u64 val }. (public/xen.h)
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { EFAULT, EINVAL, ENOSYS, EPERM, ESRCH } from '../public/errno.ts';
import { DOMID_SELF, MMU_MACHPHYS_UPDATE, MMU_NORMAL_PT_UPDATE, MMU_PT_UPDATE_NO_TRANSLATE, MMU_PT_UPDATE_PRESERVE_AD, __HYPERVISOR_mmu_update } from '../public/xen.ts';
import { setM2pEntry } from '../mm/frames.ts';
import { isOwned } from '../mm/frame-table.ts';
import { spaceOf } from '../mm/flush.ts';
import { copyIn, copyInWords, copyOut32 } from '../mm/guest-access.ts';
import type { Space } from '../mm/space.ts';
import { withPageLock } from '../mm/space.ts';
import { updateEntry } from '../mm/update.ts';

const REQUEST_BYTES = 16, REQUEST_WORDS = 2;
const MMU_UPDATE_PREEMPTED = 0x8000_0000;
/** Requests copied at once, and the most done before the guest may be interrupted. */
const CHUNK = 64, BEFORE_PREEMPTION = 4096;
/** The chunk at hand. A request does not run others, so one place serves them all. */
const requests = new BigUint64Array(CHUNK * REQUEST_WORDS), halves = new Int32Array(requests.buffer);

/** 0 when `foreigndom` names the caller for both tables and pages, else the errno Xen would give. */
export function checkForeignDomain(ctx: VcpuContext, foreigndom: bigint): number {
  const pageOwner = Number(foreigndom & 0xffffn), tableOwner = Number((foreigndom >> 16n) & 0xffffn);
  if (tableOwner !== 0 && tableOwner - 1 !== ctx.domid) return -EPERM;
  if (pageOwner === DOMID_SELF) return 0;
  // Naming oneself as foreign is refused as if there were no such domain.
  return pageOwner === ctx.domid ? -ESRCH : -EPERM;
}

function applyRequest(space: Space, ptrLo: number, ptrHi: number, lo: number, hi: number): number {
  const command = ptrLo & 7;
  const index = ptrHi === space.slot ? ptrLo >>> 12 : -1;
  switch (command) {
    case MMU_NORMAL_PT_UPDATE: case MMU_PT_UPDATE_PRESERVE_AD: case MMU_PT_UPDATE_NO_TRANSLATE:
      return index < 0 ? -EINVAL : updateEntry(space, index, ptrLo & 0xff8, lo, hi, command === MMU_PT_UPDATE_PRESERVE_AD);
    case MMU_MACHPHYS_UPDATE:
      if (!isOwned(space, index)) return -EINVAL;
      setM2pEntry(space, index, lo, hi);
      return 0;
    default: return -ENOSYS;
  }
}

/** Applies requests until one fails: how many were done, and the error. */
function applyChunk(space: Space, count: number): { done: number; error: number } {
  return withPageLock(space, () => {
    for (let i = 0; i < count; i++) {
      const at = i * REQUEST_BYTES / 4;
      const error = applyRequest(space, halves[at]! >>> 0, halves[at + 1]! >>> 0, halves[at + 2]!, halves[at + 3]!);
      if (error !== 0) return { done: i, error };
    }
    return { done: count, error: 0 };
  });
}

/** Copies a chunk in; near an unmapped page, as many requests as there are one by one: how many. */
function copyRequests(ctx: VcpuContext, from: bigint, wanted: number): number {
  if (copyInWords(ctx, from, requests, wanted * REQUEST_WORDS)) return wanted;
  return copyInWords(ctx, from, requests, REQUEST_WORDS) ? 1 : 0;
}

export const mmu_update: HypercallHandler = (ctx, reqs, count, pdone, foreigndom) => {
  let remaining = Number(count & 0xffff_ffffn);
  let done = 0;
  if (remaining >= MMU_UPDATE_PREEMPTED) {
    remaining -= MMU_UPDATE_PREEMPTED;
    done = pdone === 0n ? 0 : copyIn(ctx, pdone, 4)?.getUint32(0, true) ?? 0;
  }
  const refused = checkForeignDomain(ctx, foreigndom);
  if (refused !== 0) return refused;
  const space = spaceOf(ctx);
  let error = 0, applied = 0;
  while (remaining > 0 && error === 0 && applied < BEFORE_PREEMPTION) {
    const chunk = copyRequests(ctx, reqs + BigInt(applied * REQUEST_BYTES), Math.min(remaining, CHUNK));
    if (chunk === 0) { error = -EFAULT; break; }
    const result = applyChunk(space, chunk);
    applied += result.done;
    remaining -= result.done;
    error = result.error;
  }
  if (pdone !== 0n) copyOut32(ctx, pdone, done + applied);
  if (error === 0 && remaining > 0) {
    const args = [reqs + BigInt(applied * REQUEST_BYTES), BigInt(remaining + MMU_UPDATE_PREEMPTED), pdone, foreigndom];
    ctx.pv.continuation = { call: __HYPERVISOR_mmu_update, args };
  }
  return error;
};
