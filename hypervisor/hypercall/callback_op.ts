// HYPERVISOR_callback_op(cmd, arg): entry points for events, failsafe, NMI and the fast system calls.
// struct callback_register { u16 type; u16 flags; u64 address at 8 }. (public/callback.h)
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { EFAULT, EINVAL, ENOSYS } from '../public/errno.ts';
import {
  CALLBACKF_mask_events, CALLBACKOP_register, CALLBACKOP_unregister, CALLBACKTYPE_event, CALLBACKTYPE_failsafe, CALLBACKTYPE_nmi,
  CALLBACKTYPE_syscall, CALLBACKTYPE_syscall32, CALLBACKTYPE_sysenter,
} from '../public/callback.ts';
import { isCanonicalAddress } from '../mm/address.ts';
import { copyIn } from '../mm/guest-access.ts';
import type { Callback } from '../traps/pv-state.ts';

function callbackOf(ctx: VcpuContext, type: number): Callback | undefined {
  const { pv } = ctx;
  switch (type) {
    case CALLBACKTYPE_event: return pv.event;
    case CALLBACKTYPE_failsafe: return pv.failsafe;
    case CALLBACKTYPE_syscall: return pv.syscall;
    case CALLBACKTYPE_syscall32: return pv.syscall32;
    case CALLBACKTYPE_sysenter: return pv.sysenter;
    case CALLBACKTYPE_nmi: return pv.nmi;
    default: return undefined;
  }
}

function register(ctx: VcpuContext, arg: bigint): number {
  const data = copyIn(ctx, arg, 16);
  if (data === undefined) return -EFAULT;
  const callback = callbackOf(ctx, data.getUint16(0, true));
  const address = data.getBigUint64(8, true);
  if (!isCanonicalAddress(address)) return -EINVAL;
  if (callback === undefined) return -ENOSYS;
  callback.address = address;
  callback.masksEvents = (data.getUint16(2, true) & CALLBACKF_mask_events) !== 0;
  return 0;
}

function unregister(ctx: VcpuContext, arg: bigint): number {
  const data = copyIn(ctx, arg, 4);
  if (data === undefined) return -EFAULT;
  const callback = callbackOf(ctx, data.getUint16(0, true));
  if (callback === undefined) return -ENOSYS;
  // Only the NMI callback can be taken back.
  if (callback !== ctx.pv.nmi) return -EINVAL;
  callback.address = 0n;
  return 0;
}

export const callback_op: HypercallHandler = (ctx, cmd, arg) => {
  switch (Number(cmd & 0xffff_ffffn)) {
    case CALLBACKOP_register: return register(ctx, arg);
    case CALLBACKOP_unregister: return unregister(ctx, arg);
    default: return -ENOSYS;
  }
};
