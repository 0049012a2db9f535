// HYPERVISOR_set_callbacks(event, failsafe, syscall): the older, three-argument form of callback_op.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { EINVAL } from '../public/errno.ts';
import { isCanonicalAddress } from '../mm/address.ts';

export const set_callbacks: HypercallHandler = (ctx, event, failsafe, syscall) => {
  if (![event, failsafe, syscall].every(isCanonicalAddress)) return -EINVAL;
  const { pv } = ctx;
  for (const [callback, address] of [[pv.event, event], [pv.failsafe, failsafe], [pv.syscall, syscall]] as const) {
    callback.address = address;
    callback.masksEvents = false;
  }
  return 0;
};
