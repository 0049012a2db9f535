// The two page-table roots of a vCPU. Each installed root holds a type reference on its L4 table.
import { VIEW } from '../cpu/processor-api.ts';
import type { View } from '../cpu/processor-api.ts';
import { PAGE_BYTES } from '../cpu/layout.ts';
import { EINVAL } from '../public/errno.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { PGT } from './frame-table.ts';
import { getPageAndType, putPageAndType } from './page-tables.ts';
import { flushLocal, spaceOf } from './flush.ts';
import { withPageLock } from './space.ts';

const maddrOf = (ctx: VcpuContext, index: number): bigint => (BigInt(ctx.slot) << 32n) | BigInt(index * PAGE_BYTES);

function install(ctx: VcpuContext, view: View, old: number, index: number): number {
  const space = spaceOf(ctx);
  const error = withPageLock(space, () => getPageAndType(space, index, PGT.l4_page_table));
  if (error !== 0) return error;
  if (view === VIEW.kernel) ctx.pv.kernelRoot = index; else ctx.pv.userRoot = index;
  // The processor leaves the old tables before they can lose their type.
  ctx.processor.setRoot(view, maddrOf(ctx, index));
  if (old >= 0) withPageLock(space, () => putPageAndType(space, old));
  return 0;
}

/** MMUEXT_NEW_BASEPTR and writes to cr3: frame index of the new kernel L4. 0 or -EINVAL. */
export function newBasePointer(ctx: VcpuContext, index: number): number {
  if (index < 0) return -EINVAL;
  if (index === ctx.pv.kernelRoot) { flushLocal(ctx); return 0; }
  return install(ctx, VIEW.kernel, ctx.pv.kernelRoot, index);
}

/** MMUEXT_NEW_USER_BASEPTR; index 0 (frame 0 is never a guest's) takes the user root away. */
export function newUserBasePointer(ctx: VcpuContext, index: number): number {
  const old = ctx.pv.userRoot;
  if (index === old) return 0;
  if (index < 0) return -EINVAL;
  if (index !== 0) return install(ctx, VIEW.user, old, index);
  ctx.pv.userRoot = -1;
  if (old < 0) return 0;
  // The view must not go on with tables that may be freed: the kernel's are safe, and user mode cannot be entered.
  ctx.processor.setRoot(VIEW.user, maddrOf(ctx, ctx.pv.kernelRoot));
  const space = spaceOf(ctx);
  withPageLock(space, () => putPageAndType(space, old));
  return 0;
}
