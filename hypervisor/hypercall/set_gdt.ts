// HYPERVISOR_set_gdt(frame_list, entries): the pages of the guest's descriptor table.
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { EFAULT, EINVAL } from '../public/errno.ts';
import { ownFrameIndex } from '../mm/address.ts';
import { spaceOf } from '../mm/flush.ts';
import { PGT } from '../mm/frame-table.ts';
import { copyIn } from '../mm/guest-access.ts';
import { getPageAndType, putPageAndType } from '../mm/page-tables.ts';
import type { Space } from '../mm/space.ts';
import { withPageLock } from '../mm/space.ts';
import { FIRST_RESERVED_GDT_ENTRY } from '../traps/segments.ts';

const ENTRIES_PER_FRAME = 512;

/** Types every frame as a descriptor page, or none: false when one does not validate. */
function takeFrames(space: Space, frames: readonly number[]): boolean {
  for (const [i, index] of frames.entries()) {
    if (index >= 0 && getPageAndType(space, index, PGT.seg_desc_page) === 0) continue;
    for (const taken of frames.slice(0, i)) putPageAndType(space, taken);
    return false;
  }
  return true;
}

/** Replaces a vCPU's GDT (also VCPUOP_initialise's): 0 or -EINVAL. `mfns` are machine frame numbers. */
export function installGdt(ctx: VcpuContext, mfns: readonly bigint[], entries: number): number {
  if (entries > FIRST_RESERVED_GDT_ENTRY || mfns.length !== Math.ceil(entries / ENTRIES_PER_FRAME)) return -EINVAL;
  const space = spaceOf(ctx);
  const frames = mfns.map((mfn) => ownFrameIndex(ctx, mfn));
  return withPageLock(space, () => {
    if (!takeFrames(space, frames)) return -EINVAL;
    for (const old of ctx.pv.gdtFrames) putPageAndType(space, old);
    ctx.pv.gdtFrames = frames;
    ctx.pv.gdtEntries = entries;
    return 0;
  });
}

export const set_gdt: HypercallHandler = (ctx, frameList, count) => {
  const entries = Number(count & 0xffff_ffffn);
  if (entries > FIRST_RESERVED_GDT_ENTRY) return -EINVAL;
  const frameCount = Math.ceil(entries / ENTRIES_PER_FRAME);
  const data = copyIn(ctx, frameList, frameCount * 8);
  if (data === undefined) return -EFAULT;
  return installGdt(ctx, Array.from({ length: frameCount }, (_, i) => data.getBigUint64(i * 8, true)), entries);
};
