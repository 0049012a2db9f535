// HYPERVISOR_fpu_taskswitch(set): CR0.TS.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { setTaskSwitched } from '../traps/task-switched.ts';

export const fpu_taskswitch: HypercallHandler = (ctx, set) => {
  setTaskSwitched(ctx, (set & 0xffff_ffffn) !== 0n);
  return 0;
};
