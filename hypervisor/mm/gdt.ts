// A vCPU's descriptor table: up to 14 frames, each typed as a descriptor page while it is one.
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { EINVAL } from '../public/errno.ts';
import { ownFrameIndex } from './address.ts';
import { spaceOf } from './flush.ts';
import { PGT } from './frame-table.ts';
import { getPageAndType, putPageAndType } from './page-tables.ts';
import type { Space } from './space.ts';
import { withPageLock } from './space.ts';

/** Guest entries end where Xen's own part of the table starts. */
export const FIRST_RESERVED_GDT_ENTRY = 7168;
export const ENTRIES_PER_FRAME = 512;

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
