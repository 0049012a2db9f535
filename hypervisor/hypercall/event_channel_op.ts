// HYPERVISOR_event_channel_op(cmd, arg): public/event_channel.h.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { vcpuOf, type Vcpu } from '../domain/vcpu.ts';
import * as channels from '../event/channels.ts';
import { copyIn } from '../mm/guest-access.ts';
import { EFAULT, EINVAL, ENOSYS, EPERM } from '../public/errno.ts';
import * as op from '../public/event_channel.ts';
import { DOMID_SELF } from '../public/xen.ts';

interface Call { readonly bytes: number; readonly run: (v: Vcpu, a: DataView<ArrayBuffer>) => number; readonly out?: boolean }
/** Stores a new port at an offset of the argument, or passes the error on. */
const port = (a: DataView, at: number, p: number): number => { if (p < 0) return p; a.setUint32(at, p, true); return 0; };
const self = (v: Vcpu, dom: number): boolean => dom === DOMID_SELF || dom === v.domid;
const remote = (v: Vcpu, dom: number): number => dom === DOMID_SELF ? v.domid : dom;

const CALLS: Record<number, Call> = {
  [op.EVTCHNOP_alloc_unbound]: { bytes: 8, out: true, run: (v, a) => self(v, a.getUint16(0, true)) ? port(a, 4, channels.allocUnbound(v.hv, v.slot, remote(v, a.getUint16(2, true)))) : -EPERM },
  [op.EVTCHNOP_bind_interdomain]: { bytes: 12, out: true, run: (v, a) => port(a, 8, channels.bindInterdomain(v.hv, v.slot, remote(v, a.getUint16(0, true)), a.getUint32(4, true))) },
  [op.EVTCHNOP_bind_virq]: { bytes: 12, out: true, run: (v, a) => port(a, 8, channels.bindVirq(v.hv, v.slot, a.getUint32(0, true), a.getUint32(4, true))) },
  [op.EVTCHNOP_bind_ipi]: { bytes: 8, out: true, run: (v, a) => port(a, 4, channels.bindIpi(v.hv, v.slot, a.getUint32(0, true))) },
  [op.EVTCHNOP_bind_pirq]: { bytes: 12, run: () => -EINVAL },
  [op.EVTCHNOP_close]: { bytes: 4, run: (v, a) => channels.close(v.hv, v.slot, a.getUint32(0, true)) },
  [op.EVTCHNOP_send]: { bytes: 4, run: (v, a) => channels.send(v.hv, v.slot, a.getUint32(0, true)) },
  [op.EVTCHNOP_unmask]: { bytes: 4, run: (v, a) => channels.unmask(v.hv, v.slot, a.getUint32(0, true)) },
  [op.EVTCHNOP_bind_vcpu]: { bytes: 8, run: (v, a) => channels.bindVcpu(v.hv, v.slot, a.getUint32(0, true), a.getUint32(4, true)) },
  [op.EVTCHNOP_reset]: { bytes: 2, run: (v, a) => { if (!self(v, a.getUint16(0, true))) return -EPERM; channels.closeAll(v.hv, v.slot); return 0; } },
  // evtchn_status: u16 dom, u32 port, u32 status, u32 vcpu, union at 16.
  [op.EVTCHNOP_status]: { bytes: 24, out: true, run: (v, a) => {
    if (!self(v, a.getUint16(0, true))) return -EPERM;
    const s = channels.status(v.hv, v.slot, a.getUint32(4, true));
    if (typeof s === 'number') return s;
    a.setUint32(8, s.status, true);
    a.setUint32(12, s.vcpu, true);
    if (s.status === op.EVTCHNSTAT_virq) a.setUint32(16, s.virq, true); else { a.setUint16(16, s.dom, true); a.setUint32(20, s.port, true); }
    return 0;
  } },
};
/** Linux asks for the FIFO ABI first and uses the 2-level one when it is refused. */
export const event_channel_op: HypercallHandler = (ctx, cmd, arg) => {
  const call = CALLS[Number(cmd)], v = vcpuOf(ctx);
  if (!call) return -ENOSYS;
  const a = copyIn(ctx, arg, call.bytes);
  if (!a) return -EFAULT;
  const result = call.run(v, a);
  if (result < 0 || !call.out) return result;
  return ctx.processor.writeVirtual(arg, new Uint8Array(a.buffer)) ? result : -EFAULT;
};
