// HYPERVISOR_stack_switch(ss, sp): the stack on which the guest kernel is entered from user mode.
import type { HypercallHandler } from '../domain/vcpu-context.ts';

export const stack_switch: HypercallHandler = (ctx, ss, sp) => {
  ctx.pv.kernelSs = Number(ss & 0xffffn) | 3;
  ctx.pv.kernelSp = sp;
  return 0;
};
