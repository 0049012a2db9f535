// HYPERVISOR_vcpu_op(cmd, vcpuid, extra): public/vcpu.h.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { vcpuOf, type Vcpu } from '../domain/vcpu.ts';
import { D, V } from '../domain/state.ts';
import { kick } from '../domain/hypervisor.ts';
import { raiseAll } from '../event/channels.ts';
import { ownFrameIndex } from '../mm/address.ts';
import { spaceOf } from '../mm/flush.ts';
import { copyIn } from '../mm/guest-access.ts';
import { PGT } from '../mm/frame-table.ts';
import { getPageAndType } from '../mm/page-tables.ts';
import { withPageLock } from '../mm/space.ts';
import { EFAULT, EINVAL, ENOENT, ENOSYS, ETIME } from '../public/errno.ts';
import * as op from '../public/vcpu.ts';
import { ringTicker } from '../sched/pcpus.ts';
import { fillTimeInfo, VCPU_TIME_INFO, VCPU_TIME_INFO_BYTES } from '../time/pvclock.ts';

const VCPU_INFO_BYTES = 64;

/** Sets vCPU `v`'s singleshot timer; one that is due fires at once. */
export function setTimer(v: Vcpu, deadline: bigint): void {
  v.hv.state.setVlong(v.slot, v.vcpuId, V.deadline, deadline === 0n ? 0n : deadline);
  if (deadline !== 0n) ringTicker(v.hv);
  if (deadline !== 0n && deadline <= v.systemTimeNs()) kick(v.hv, v.slot, v.vcpuId);
}
/** VCPUOP_register_vcpu_info: the state moves into the guest's own memory, and everything is raised again there. */
function registerInfo(v: Vcpu, arg: bigint): number {
  const a = copyIn(v, arg, 16);
  if (!a) return -EFAULT;
  const offset = a.getUint32(8, true), index = ownFrameIndex(v, a.getBigUint64(0, true));
  if (index < 0 || offset > 4096 - VCPU_INFO_BYTES || offset & 7) return -EINVAL;
  if (v.vcpuInfo >= v.layout.first * 4096) return -EINVAL;
  const space = spaceOf(v);
  // The reference is kept for the domain's life: the hypervisor writes there without asking again.
  if (withPageLock(space, () => getPageAndType(space, index, PGT.writable_page))) return -EINVAL;
  const to = index * 4096 + offset, { bytes } = v.processor;
  bytes.copyWithin(to, v.vcpuInfo, v.vcpuInfo + VCPU_INFO_BYTES);
  v.vcpuInfo = to;
  fillTimeInfo(v.processor.view, to + VCPU_TIME_INFO);
  raiseAll(v.hv, v.slot, v.vcpuId);
  return 0;
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
    case op.VCPUOP_is_up: return state.vget(v.slot, n, V.up);
    case op.VCPUOP_down: state.vset(v.slot, n, V.up, 0); kick(v.hv, v.slot, n); return 0;
    case op.VCPUOP_up: if (!state.vget(v.slot, n, V.started)) return -EINVAL; state.vset(v.slot, n, V.up, 1); kick(v.hv, v.slot, n); return 0;
    case op.VCPUOP_get_runstate_info: return own ? (ctx.processor.writeVirtual(extra, v.runstateInfo()) ? 0 : -EFAULT) : -EINVAL;
    case op.VCPUOP_register_runstate_memory_area: {
      const a = copyIn(ctx, extra, 8);
      if (!a) return -EFAULT;
      if (!own) return -EINVAL;
      v.runstateArea = a.getBigUint64(0, true);
      v.publishRunstate();
      return 0;
    }
    case op.VCPUOP_register_vcpu_time_memory_area: {
      const a = copyIn(ctx, extra, 8), time = new Uint8Array(VCPU_TIME_INFO_BYTES);
      if (!a) return -EFAULT;
      fillTimeInfo(new DataView(time.buffer), 0);
      if (!own || !ctx.processor.writeVirtual(a.getBigUint64(0, true), time)) return -EFAULT;
      v.timeArea = a.getBigUint64(0, true);
      return 0;
    }
    case op.VCPUOP_set_periodic_timer: return -EINVAL;
    case op.VCPUOP_stop_periodic_timer: return 0;
    case op.VCPUOP_set_singleshot_timer: return own ? singleshot(v, extra) : -EINVAL;
    case op.VCPUOP_stop_singleshot_timer: if (!own) return -EINVAL; setTimer(v, 0n); return 0;
    case op.VCPUOP_register_vcpu_info: return own ? registerInfo(v, extra) : -EINVAL;
    case op.VCPUOP_send_nmi: state.vset(v.slot, n, V.nmi, 1); kick(v.hv, v.slot, n); return 0;
    default: return -ENOSYS;
  }
};
