// The state a vCPU starts with (VCPUOP_initialise, and the domain builder's boot context).
import { SEG } from '../cpu/processor-api.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import type { BootContext } from '../public/dom0-hypercalls.ts';
import { mfnIndex, mfnSlot } from '../public/types.ts';
import { EINVAL } from '../public/errno.ts';
import { newBasePointer } from '../mm/base-pointer.ts';
import { noteFlush } from '../mm/space.ts';
import { flushLocal, spaceOf } from '../mm/flush.ts';
import { EFLAGS, REG, loadKernelSegments, setUpcallMask } from './mode.ts';

/** Starts a vCPU in guest-kernel mode: 0, or -EINVAL when cr3's tables do not validate. */
export function initialContext(ctx: VcpuContext, boot: BootContext): number {
  if (mfnSlot(boot.cr3Mfn) !== ctx.slot) return -EINVAL;
  // From here on this processor may hold translations.
  noteFlush(spaceOf(ctx), ctx.vcpuId);
  const error = newBasePointer(ctx, mfnIndex(boot.cr3Mfn));
  if (error !== 0) return error;
  const { processor } = ctx;
  processor.gpr.fill(0n);
  processor.gpr[REG.rsp] = boot.rsp;
  processor.gpr[REG.rsi] = boot.rsi;
  processor.rip = boot.rip;
  processor.rflags = EFLAGS.IF | 2n;
  for (const segment of [SEG.ds, SEG.es, SEG.fs, SEG.gs]) processor.selectors[segment] = 0;
  processor.fsBase = 0n;
  processor.gsBase = 0n;
  processor.activeView = 0;
  loadKernelSegments(ctx);
  setUpcallMask(ctx, true);
  flushLocal(ctx);
  return 0;
}
