// HYPERVISOR_set_gdt(frame_list, entries): the pages of the guest's descriptor table.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { EFAULT, EINVAL } from '../public/errno.ts';
import { ENTRIES_PER_FRAME, FIRST_RESERVED_GDT_ENTRY, installGdt } from '../mm/gdt.ts';
import { copyIn } from '../mm/guest-access.ts';

export const set_gdt: HypercallHandler = (ctx, frameList, count) => {
  const entries = Number(count & 0xffff_ffffn);
  if (entries > FIRST_RESERVED_GDT_ENTRY) return -EINVAL;
  const frameCount = Math.ceil(entries / ENTRIES_PER_FRAME);
  const data = copyIn(ctx, frameList, frameCount * 8);
  if (data === undefined) return -EFAULT;
  return installGdt(ctx, Array.from({ length: frameCount }, (_, i) => data.getBigUint64(i * 8, true)), entries);
};
