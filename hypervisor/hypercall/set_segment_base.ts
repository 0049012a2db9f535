// HYPERVISOR_set_segment_base(which, base).
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { SEG } from '../cpu/processor-api.ts';
import { EINVAL } from '../public/errno.ts';
import { SEGBASE_FS, SEGBASE_GS_KERNEL, SEGBASE_GS_USER, SEGBASE_GS_USER_SEL } from '../public/xen.ts';
import { isCanonicalAddress } from '../mm/address.ts';

/** The guest user's gs selector: its descriptor's base becomes the user GS base, the kernel's own stays. */
function loadUserGs(ctx: VcpuContext, selector: number): void {
  const { processor, pv } = ctx;
  const kernelBase = processor.gsBase;
  // A bad selector leaves a null one, as Xen's fix-up does.
  if (processor.loadSegment(SEG.gs, selector) !== 0) processor.loadSegment(SEG.gs, 0);
  pv.gsBaseUser = (processor.selectors[SEG.gs]! & ~3) === 0 ? 0n : processor.gsBase;
  processor.gsBase = kernelBase;
}

export const set_segment_base: HypercallHandler = (ctx, which, base) => {
  const { processor, pv } = ctx;
  const target = Number(which & 0xffff_ffffn);
  if (target === SEGBASE_GS_USER_SEL) { loadUserGs(ctx, Number(base & 0xffffn)); return 0; }
  if (!isCanonicalAddress(base)) return -EINVAL;
  switch (target) {
    case SEGBASE_FS: processor.fsBase = base; return 0;
    case SEGBASE_GS_USER: pv.gsBaseUser = base; return 0;
    case SEGBASE_GS_KERNEL: pv.gsBaseKernel = base; processor.gsBase = base; return 0;
    default: return -EINVAL;
  }
};
