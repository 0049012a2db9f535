// HYPERVISOR_vcpu_op(cmd, vcpuid, extra): public/vcpu.h.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { vcpuOf, type Vcpu } from '../domain/vcpu.ts';
import { D, DOMAIN_STATE, INITIALISED, V } from '../domain/state.ts';
import { kick, shutdownDomain } from '../domain/hypervisor.ts';
import { runstateInfo } from '../domain/runstate.ts';
import { raiseAll } from '../event/channels.ts';
import { ownFrameIndex } from '../mm/address.ts';
import { spaceOf } from '../mm/flush.ts';
import { copyIn } from '../mm/guest-access.ts';
import { PGT } from '../mm/frame-table.ts';
import { getPageAndType } from '../mm/page-tables.ts';
import { withPageLock } from '../mm/space.ts';
import { vcpu_info } from '../public/layouts.ts';
import { SHUTDOWN_poweroff } from '../public/sched.ts';
import { EEXIST, EFAULT, EINVAL, ENOENT, ENOSYS, ETIME } from '../public/errno.ts';
import * as op from '../public/vcpu.ts';
import { newDeadline } from '../sched/pcpus.ts';
import { fillTimeInfo, VCPU_TIME_INFO, VCPU_TIME_INFO_BYTES } from '../time/pvclock.ts';
import { VCPU_GUEST_CONTEXT_BYTES } from '../traps/guest-context.ts';

const VCPU_INFO_BYTES = vcpu_info.size;
/** How long a vCPU that waits for a sibling's context sleeps between two looks at what is asked of itself. */
const LOADING_MS = 1;

/** Sets vCPU `v`'s singleshot timer; one that is due fires at once. */
export function setTimer(v: Vcpu, deadline: bigint): void {
  v.hv.state.setVlong(v.slot, v.vcpuId, V.deadline, deadline === 0n ? 0n : deadline);
  if (deadline !== 0n) newDeadline(v.hv, deadline);
  if (deadline !== 0n && deadline <= v.systemTimeNs()) kick(v.hv, v.slot, v.vcpuId);
}
/**
 * VCPUOP_register_vcpu_info of this vCPU or of one that is down: the state moves into the guest's own memory, and
 * everything is raised again there.
 */
function registerInfo(v: Vcpu, n: number, arg: bigint): number {
  const { state } = v.hv, a = copyIn(v, arg, 16), from = state.vget(v.slot, n, V.info);
  if (!a) return -EFAULT;
  const offset = a.getUint32(8, true), index = ownFrameIndex(v, a.getBigUint64(0, true));
  if (index < 0 || offset > 4096 - VCPU_INFO_BYTES || offset & 7) return -EINVAL;
  // Once only; and not under the feet of a sibling that runs.
  if (from >= v.layout.first * 4096 || n !== v.vcpuId && state.vget(v.slot, n, V.up)) return -EINVAL;
  const space = spaceOf(v);
  // The reference is kept for the domain's life: the hypervisor writes there without asking again.
  if (withPageLock(space, () => getPageAndType(space, index, PGT.writable_page))) return -EINVAL;
  const to = index * 4096 + offset;
  v.memory.bytes.copyWithin(to, from, from + VCPU_INFO_BYTES);
  state.vset(v.slot, n, V.info, to);
  fillTimeInfo(v.memory.view, to + VCPU_TIME_INFO);
  raiseAll(v.hv, v.slot, n);
  return 0;
}
/** VCPUOP_initialise: a sibling's thread loads the context; this vCPU waits for its word. */
function initialise(v: Vcpu, n: number, arg: bigint): number {
  const { state } = v.hv, { words } = state, at = state.vcpu(v.slot, n) + V.initialised;
  const image = new Uint8Array(VCPU_GUEST_CONTEXT_BYTES);
  if (!v.processor.readVirtual(arg, image)) return -EFAULT;
  if (Atomics.compareExchange(words, at, INITIALISED.no, INITIALISED.loading) !== INITIALISED.no) return -EEXIST;
  v.thread.startSibling(n, image);
  for (;;) {
    const result = Atomics.load(words, at);
    if (result === INITIALISED.yes) return 0;
    if (result < 0) { Atomics.store(words, at, INITIALISED.no); return result; }
    if (state.dget(v.slot, D.state) !== DOMAIN_STATE.live) return -EINVAL;
    // The sibling may be waiting for this vCPU to flush.
    v.thread.answer();
    Atomics.wait(words, at, INITIALISED.loading, LOADING_MS);
  }
}
/** VCPUOP_down: the last one to go takes the domain with it. */
function down(v: Vcpu, n: number): number {
  const { state } = v.hv, others = Array.from({ length: state.dget(v.slot, D.vcpus) }, (_, i) => i).filter(i => i !== n);
  if (!others.some(i => state.vget(v.slot, i, V.up))) { shutdownDomain(v.hv, v.slot, SHUTDOWN_poweroff); return 0; }
  state.vset(v.slot, n, V.up, 0);
  kick(v.hv, v.slot, n);
  return 0;
}
/** VCPUOP_register_runstate_memory_area, of any vCPU of the domain. */
function registerRunstate(v: Vcpu, n: number, arg: bigint): number {
  const a = copyIn(v, arg, 8);
  if (!a) return -EFAULT;
  v.hv.state.setVlong(v.slot, n, V.runstateArea, a.getBigInt64(0, true));
  if (n === v.vcpuId) v.publishRunstate(); else v.processor.writeVirtual(a.getBigUint64(0, true), runstateInfo(v.hv.state, v.slot, n));
  return 0;
}
/** VCPUOP_register_vcpu_time_memory_area: what is there never changes again. Address 0 ends it: a guest that is about to be suspended. */
function registerTime(v: Vcpu, arg: bigint): number {
  const a = copyIn(v, arg, 8), time = new Uint8Array(VCPU_TIME_INFO_BYTES);
  if (!a) return -EFAULT;
  if (a.getBigUint64(0, true) === 0n) return 0;
  fillTimeInfo(new DataView(time.buffer), 0);
  return v.processor.writeVirtual(a.getBigUint64(0, true), time) ? 0 : -EFAULT;
}
function singleshot(v: Vcpu, arg: bigint): number {
  const a = copyIn(v, arg, 16);
  if (!a) return -EFAULT;
  const deadline = a.getBigUint64(0, true);
  if (a.getUint32(8, true) & op.VCPU_SSHOTTMR_future && deadline < v.systemTimeNs()) return -ETIME;
  setTimer(v, BigInt.asIntN(64, deadline) <= 0n ? 1n : deadline);
  return 0;
}
export const vcpu_op: HypercallHandler = (ctx, cmd, vcpuid, extra) => {
  const v = vcpuOf(ctx), { state } = v.hv;
  if (vcpuid >= BigInt(state.dget(v.slot, D.vcpus))) return -ENOENT;
  const n = Number(vcpuid), own = n === v.vcpuId;
  switch (Number(cmd)) {
    case op.VCPUOP_initialise: return initialise(v, n, extra);
    case op.VCPUOP_is_up: return state.vget(v.slot, n, V.up);
    case op.VCPUOP_down: return down(v, n);
    case op.VCPUOP_up: if (state.vget(v.slot, n, V.initialised) !== INITIALISED.yes) return -EINVAL; state.vset(v.slot, n, V.up, 1); kick(v.hv, v.slot, n); return 0;
    case op.VCPUOP_get_runstate_info: return ctx.processor.writeVirtual(extra, runstateInfo(state, v.slot, n)) ? 0 : -EFAULT;
    case op.VCPUOP_register_runstate_memory_area: return registerRunstate(v, n, extra);
    case op.VCPUOP_register_vcpu_time_memory_area: return registerTime(v, extra);
    case op.VCPUOP_set_periodic_timer: return -EINVAL;
    case op.VCPUOP_stop_periodic_timer: return 0;
    case op.VCPUOP_set_singleshot_timer: return own ? singleshot(v, extra) : -EINVAL;
    case op.VCPUOP_stop_singleshot_timer: if (!own) return -EINVAL; setTimer(v, 0n); return 0;
    case op.VCPUOP_register_vcpu_info: return registerInfo(v, n, extra);
    case op.VCPUOP_send_nmi: state.vset(v.slot, n, V.nmi, 1); kick(v.hv, v.slot, n); return 0;
    default: return -ENOSYS;
  }
};
