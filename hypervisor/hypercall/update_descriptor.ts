// HYPERVISOR_update_descriptor(maddr, descriptor): one checked descriptor into a descriptor page (or a page that is
// not yet one).
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { PAGE_BYTES } from '../cpu/layout.ts';
import { EINVAL } from '../public/errno.ts';
import { ownFrameIndex } from '../mm/address.ts';
import { checkDescriptor } from '../mm/descriptors.ts';
import { spaceOf } from '../mm/flush.ts';
import { PGT, isOwned, typeCount, typeOf } from '../mm/frame-table.ts';
import { getPageAndType, putPageAndType } from '../mm/page-tables.ts';
import { withPageLock } from '../mm/space.ts';

export const update_descriptor: HypercallHandler = (ctx, maddr, descriptor) => {
  const index = ownFrameIndex(ctx, maddr >> 12n);
  const high = checkDescriptor(Number(descriptor >> 32n) | 0);
  if ((maddr & 7n) !== 0n || high < 0 || index < 0) return -EINVAL;
  const space = spaceOf(ctx);
  return withPageLock(space, () => {
    if (!isOwned(space, index)) return -EINVAL;
    const isDescriptorPage = typeOf(space, index) === PGT.seg_desc_page && typeCount(space, index) !== 0;
    if (getPageAndType(space, index, isDescriptorPage ? PGT.seg_desc_page : PGT.writable_page) !== 0) return -EINVAL;
    const value = (BigInt(high) << 32n) | (descriptor & 0xffff_ffffn);
    Atomics.store(space.quads, (index * PAGE_BYTES + Number(maddr & 0xfffn)) / 8, value);
    putPageAndType(space, index);
    return 0;
  });
};
