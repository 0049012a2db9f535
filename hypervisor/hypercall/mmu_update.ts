// HYPERVISOR_mmu_update(reqs, count, success_count, foreigndom): validated changes of page-table entries and of M2P.
// struct mmu_update { u64 ptr (machine address, command in the low 3 bits); u64 val }. (public/xen.h)
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { EFAULT, EINVAL, ENOSYS } from '../public/errno.ts';
import { MMU_MACHPHYS_UPDATE, MMU_NORMAL_PT_UPDATE, MMU_PT_UPDATE_NO_TRANSLATE, MMU_PT_UPDATE_PRESERVE_AD, __HYPERVISOR_mmu_update } from '../public/xen.ts';
import { setM2pEntry } from '../mm/frames.ts';
import { isOwned } from '../mm/frame-table.ts';
import { spaceOf } from '../mm/flush.ts';
import { copyInWords } from '../mm/guest-access.ts';
import type { Space } from '../mm/space.ts';
import { withPageLock } from '../mm/space.ts';
import { updateEntry } from '../mm/update.ts';
import { runBatch } from './mmu-batch.ts';

const REQUEST_BYTES = 16, REQUEST_WORDS = 2;
/** Requests copied at once, and the most done before the guest may be interrupted. */
const CHUNK = 64, BEFORE_PREEMPTION = 4096;
/** The chunk at hand. A request does not run others, so one place serves them all. */
const requests = new BigUint64Array(CHUNK * REQUEST_WORDS), halves = new Int32Array(requests.buffer);

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
  const space = spaceOf(ctx);
  return runBatch(ctx, {
    call: __HYPERVISOR_mmu_update, requestBytes: REQUEST_BYTES, most: BEFORE_PREEMPTION,
    apply: (from, remaining) => {
      const chunk = copyRequests(ctx, from, Math.min(remaining, CHUNK));
      return chunk === 0 ? { done: 0, error: -EFAULT } : applyChunk(space, chunk);
    },
  }, reqs, count, pdone, foreigndom);
};
