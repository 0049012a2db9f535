// HYPERVISOR_sched_op(cmd, arg): public/sched.h.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { vcpuOf, type Vcpu } from '../domain/vcpu.ts';
import { H, V } from '../domain/state.ts';
import { shutdownDomain } from '../domain/hypervisor.ts';
import { isPending } from '../event/channels.ts';
import { copyIn } from '../mm/guest-access.ts';
import { EFAULT, EINVAL, ENOSYS, EPERM } from '../public/errno.ts';
import * as op from '../public/sched.ts';
import { SHUTDOWN_crash, SHUTDOWN_MAX, SHUTDOWN_suspend, SUSPEND_CANCELLED } from '../public/sched.ts';
import { setUpcallMask, upcallMasked, upcallPending } from '../traps/mode.ts';

const POLL_PORTS_MAX = 128;
/** How long a yield with nobody waiting for the pCPU sleeps: Dom0 gets on with what the guest waits for. */
const YIELD_MS = 0.05;

function block(v: Vcpu): number {
  // Unmasking and looking are one step for the guest: what is pending now ends the block at once.
  setUpcallMask(v, false);
  if (!upcallPending(v)) v.hv.state.vset(v.slot, v.vcpuId, V.blocked, 1);
  return 0;
}
function yieldCpu(v: Vcpu): number {
  if (v.hv.state.words[H.waiting]! > 0) v.yielded = true;
  else Atomics.wait(v.hv.state.words, v.hv.state.vcpu(v.slot, v.vcpuId) + V.bell, Atomics.load(v.hv.state.words, v.hv.state.vcpu(v.slot, v.vcpuId) + V.bell), YIELD_MS);
  return 0;
}
function poll(v: Vcpu, arg: bigint): number {
  const a = copyIn(v, arg, 24);
  if (!a) return -EFAULT;
  const at = a.getBigUint64(0, true), count = a.getUint32(8, true), timeout = a.getBigUint64(16, true);
  if (count > POLL_PORTS_MAX) return -EINVAL;
  const list = copyIn(v, at, count * 4);
  if (count && !list) return -EFAULT;
  const ports = Array.from({ length: count }, (_, i) => list!.getUint32(4 * i, true));
  const upcallBefore = upcallPending(v);
  if (upcallBefore && !upcallMasked(v) || ports.some(p => isPending(v.hv, v.slot, p))) return 0;
  v.poll = { ports, deadline: timeout, upcallBefore };
  v.hv.state.vset(v.slot, v.vcpuId, V.blocked, 2);
  return 0;
}
function shutdown(v: Vcpu, arg: bigint): number {
  const a = copyIn(v, arg, 4);
  if (!a) return -EFAULT;
  const reason = a.getUint32(0, true);
  if (reason > SHUTDOWN_MAX) return -EINVAL;
  if (reason === SHUTDOWN_crash) v.log('domain reports a crash');
  shutdownDomain(v.hv, v.slot, reason);
  // Seen only by who is resumed: it is the same domain still, so its suspend has been cancelled.
  return reason === SHUTDOWN_suspend ? SUSPEND_CANCELLED : 0;
}
export const sched_op: HypercallHandler = (ctx, cmd, arg) => {
  const v = vcpuOf(ctx);
  switch (Number(cmd)) {
    case op.SCHEDOP_yield: return yieldCpu(v);
    case op.SCHEDOP_block: return block(v);
    case op.SCHEDOP_shutdown: return shutdown(v, arg);
    case op.SCHEDOP_poll: return poll(v, arg);
    case op.SCHEDOP_shutdown_code: return 0;
    case op.SCHEDOP_pin_override: case op.SCHEDOP_remote_shutdown: return -EPERM;
    default: return -ENOSYS;
  }
};
