// Event channels, 2-level ABI. Buckets are in the hypervisor's shared state under the event lock; pending and mask
// bits are in the guest's own shared_info and vcpu_info. Dom0, which has no guest memory, has its pending bits in
// shared state and a bell.
//
// No event is lost: the port's pending bit is set first, then the vCPU's selector bit, then its pending byte, then its
// attention word and bell. Each later step is left out only when it had been done and not yet been taken back.
import { D, DOMAIN_STATE, E, H, MAX_PORTS, NR_VIRQS, V } from '../domain/state.ts';
import { type Hypervisor, kick } from '../domain/hypervisor.ts';
import { type DomainMemory, raiseAttention } from '../domain/memories.ts';
import { locked } from '../lib/lock.ts';
import { EEXIST, EINVAL, ENOENT, ENOSPC, ESRCH } from '../public/errno.ts';
import { EVTCHNSTAT_closed, EVTCHNSTAT_interdomain, EVTCHNSTAT_ipi, EVTCHNSTAT_unbound, EVTCHNSTAT_virq } from '../public/event_channel.ts';
import { shared_info, vcpu_info } from '../public/layouts.ts';
import { VIRQ_DEBUG, VIRQ_TIMER, VIRQ_XENOPROF, VIRQ_XENPMU } from '../public/xen.ts';
import { TRACE, trace, traced } from '../trace/trace.ts';

const EVTCHN_PENDING = shared_info.fields.evtchn_pending, EVTCHN_MASK = shared_info.fields.evtchn_mask, PENDING_SEL = vcpu_info.fields.evtchn_pending_sel;
/** VIRQs that each vCPU has its own of; the others are the domain's, bound through vCPU 0. */
const PER_VCPU_VIRQS: readonly number[] = [VIRQ_TIMER, VIRQ_DEBUG, VIRQ_XENOPROF, VIRQ_XENPMU];
const isGlobal = (virq: number): boolean => !PER_VCPU_VIRQS.includes(virq);

const underLock = <T>(hv: Hypervisor, work: () => T): T => locked(hv.state.words, H.eventLock, work);
const get = (hv: Hypervisor, slot: number, port: number, field: number): number => hv.state.words[hv.state.port(slot, port) + field]!;
const set = (hv: Hypervisor, slot: number, port: number, field: number, v: number): void => { hv.state.words[hv.state.port(slot, port) + field] = v; };
const valid = (port: number): boolean => Number.isInteger(port) && port > 0 && port < MAX_PORTS;

function freePort(hv: Hypervisor, slot: number): number {
  for (let p = 1; p < MAX_PORTS; p++) if (get(hv, slot, p, E.state) === EVTCHNSTAT_closed) return p;
  return -ENOSPC;
}
const memoryOf = (hv: Hypervisor, slot: number): DomainMemory | undefined => hv.memories.get(slot, hv.state.dget(slot, D.domid));

// ---- pending bits. Ports below 2048 of 64-bit words, taken here as 32-bit ones.
function setPending(hv: Hypervisor, slot: number, port: number): void {
  const { state } = hv, bit = 1 << (port & 31);
  if (slot === 0) {
    Atomics.or(state.words, state.dom0Pending(port), bit);
    if (Atomics.load(state.longs, H.dom0Rang / 2) === 0n) Atomics.compareExchange(state.longs, H.dom0Rang / 2, 0n, state.now());
    Atomics.add(state.words, H.dom0Bell, 1);
    Atomics.notify(state.words, H.dom0Bell);
    return;
  }
  const m = memoryOf(hv, slot), shared = state.dget(slot, D.sharedInfo);
  if (!m || !shared) return;
  if (Atomics.or(m.words, (shared + EVTCHN_PENDING) / 4 + (port >> 5), bit) & bit) return;
  if (traced(state, slot)) trace(hv, TRACE.event, slot, get(hv, slot, port, E.vcpu), port);
  if (!(Atomics.load(m.words, (shared + EVTCHN_MASK) / 4 + (port >> 5)) & bit)) markVcpu(hv, m, slot, get(hv, slot, port, E.vcpu), port);
  pollers(hv, slot);
}
/** vcpu_info: selector bit, then the pending byte; then the vCPU is told. */
export function markVcpu(hv: Hypervisor, m: DomainMemory, slot: number, vcpu: number, port: number): void {
  const info = hv.state.vget(slot, vcpu, V.info), word = port >> 6;
  if (!info) return;
  const selector = Atomics.or(m.words, (info + PENDING_SEL) / 4 + (word >> 5), 1 << (word & 31));
  if (selector & 1 << (word & 31)) { if (m.bytes[info]) return; }
  Atomics.or(m.words, info / 4, 1);
  kick(hv, slot, vcpu);
}
/** Every vCPU of the domain in SCHEDOP_poll looks again. */
function pollers(hv: Hypervisor, slot: number): void {
  for (let v = 0; v < hv.state.dget(slot, D.vcpus); v++) if (hv.state.vget(slot, v, V.blocked) === 2) kick(hv, slot, v);
}
export function isPending(hv: Hypervisor, slot: number, port: number): boolean {
  const m = memoryOf(hv, slot), shared = hv.state.dget(slot, D.sharedInfo);
  return m !== undefined && valid(port) && (Atomics.load(m.words, (shared + EVTCHN_PENDING) / 4 + (port >> 5)) & 1 << (port & 31)) !== 0;
}

// ---- operations. `slot` is the caller's domain; results are ports or -errno.
/** EVTCHNOP_alloc_unbound for the domain in `slot`, to be bound by `remoteDomid`. */
export function allocUnbound(hv: Hypervisor, slot: number, remoteDomid: number): number {
  return underLock(hv, () => {
    const port = freePort(hv, slot);
    if (port < 0) return port;
    set(hv, slot, port, E.state, EVTCHNSTAT_unbound);
    set(hv, slot, port, E.remoteDomid, remoteDomid);
    set(hv, slot, port, E.vcpu, 0);
    return port;
  });
}
export function bindInterdomain(hv: Hypervisor, slot: number, remoteDomid: number, remotePort: number): number {
  const remote = hv.state.slotOf(remoteDomid);
  if (remote < 0) return -ESRCH;
  if (!valid(remotePort)) return -EINVAL;
  const port = underLock(hv, () => {
    if (get(hv, remote, remotePort, E.state) !== EVTCHNSTAT_unbound || get(hv, remote, remotePort, E.remoteDomid) !== hv.state.dget(slot, D.domid)) return -EINVAL;
    const mine = freePort(hv, slot);
    if (mine < 0) return mine;
    for (const [s, p, rs, rp] of [[slot, mine, remote, remotePort], [remote, remotePort, slot, mine]] as const) {
      set(hv, s, p, E.state, EVTCHNSTAT_interdomain);
      set(hv, s, p, E.remoteSlot, rs);
      set(hv, s, p, E.remotePort, rp);
      set(hv, s, p, E.remoteDomid, hv.state.dget(rs, D.domid));
    }
    set(hv, slot, mine, E.vcpu, 0);
    return mine;
  });
  // Xen raises it once: the other side may have sent before anybody was bound.
  if (port > 0) setPending(hv, slot, port);
  return port;
}
export function bindVirq(hv: Hypervisor, slot: number, virq: number, vcpu: number): number {
  if (virq < 0 || virq >= NR_VIRQS || isGlobal(virq) && vcpu !== 0) return -EINVAL;
  if (vcpu >= hv.state.dget(slot, D.vcpus)) return -ENOENT;
  return underLock(hv, () => {
    if (hv.state.vget(slot, vcpu, V.virq + virq)) return -EEXIST;
    const port = freePort(hv, slot);
    if (port < 0) return port;
    set(hv, slot, port, E.state, EVTCHNSTAT_virq);
    set(hv, slot, port, E.virq, virq);
    set(hv, slot, port, E.vcpu, vcpu);
    hv.state.vset(slot, vcpu, V.virq + virq, port);
    return port;
  });
}
export function bindIpi(hv: Hypervisor, slot: number, vcpu: number): number {
  if (vcpu >= hv.state.dget(slot, D.vcpus)) return -ENOENT;
  return underLock(hv, () => {
    const port = freePort(hv, slot);
    if (port < 0) return port;
    set(hv, slot, port, E.state, EVTCHNSTAT_ipi);
    set(hv, slot, port, E.vcpu, vcpu);
    return port;
  });
}
/** Raises a VIRQ of one vCPU, or of the domain when it is a global one; nothing happens where it is not bound. */
export function sendVirq(hv: Hypervisor, slot: number, vcpu: number, virq: number): void {
  const port = hv.state.vget(slot, isGlobal(virq) ? 0 : vcpu, V.virq + virq);
  if (!port) return;
  if (traced(hv.state, slot)) trace(hv, TRACE.virq, slot, vcpu, virq, port);
  setPending(hv, slot, port);
}
export function send(hv: Hypervisor, slot: number, port: number): number {
  if (!valid(port)) return -EINVAL;
  // Read without the lock, as a close meanwhile only makes the event spurious.
  switch (get(hv, slot, port, E.state)) {
    case EVTCHNSTAT_interdomain: {
      const remote = get(hv, slot, port, E.remoteSlot), domid = get(hv, slot, port, E.remoteDomid);
      if (hv.state.dget(remote, D.state) === DOMAIN_STATE.live && hv.state.dget(remote, D.domid) === domid) setPending(hv, remote, get(hv, slot, port, E.remotePort));
      return 0;
    }
    case EVTCHNSTAT_ipi: setPending(hv, slot, port); return 0;
    case EVTCHNSTAT_unbound: return 0;
    default: return -EINVAL;
  }
}
export function close(hv: Hypervisor, slot: number, port: number): number {
  if (!valid(port)) return -EINVAL;
  return underLock(hv, () => closeLocked(hv, slot, port));
}
function closeLocked(hv: Hypervisor, slot: number, port: number): number {
  const state = get(hv, slot, port, E.state);
  if (state === EVTCHNSTAT_closed) return -EINVAL;
  if (state === EVTCHNSTAT_virq) {
    // A global one may have been moved to another vCPU since.
    const virq = get(hv, slot, port, E.virq);
    hv.state.vset(slot, isGlobal(virq) ? 0 : get(hv, slot, port, E.vcpu), V.virq + virq, 0);
  }
  if (state === EVTCHNSTAT_interdomain) {
    const rs = get(hv, slot, port, E.remoteSlot), rp = get(hv, slot, port, E.remotePort);
    if (get(hv, rs, rp, E.state) === EVTCHNSTAT_interdomain && get(hv, rs, rp, E.remoteSlot) === slot && get(hv, rs, rp, E.remotePort) === port) {
      set(hv, rs, rp, E.state, EVTCHNSTAT_unbound);
      set(hv, rs, rp, E.remoteDomid, hv.state.dget(slot, D.domid));
    }
  }
  for (let f = 0; f < 8; f++) set(hv, slot, port, f, 0);
  // A stale pending bit must not greet the port's next user.
  const m = slot === 0 ? undefined : memoryOf(hv, slot), shared = hv.state.dget(slot, D.sharedInfo);
  if (slot === 0) Atomics.and(hv.state.words, hv.state.dom0Pending(port), ~(1 << (port & 31)));
  else if (m && shared) Atomics.and(m.words, (shared + EVTCHN_PENDING) / 4 + (port >> 5), ~(1 << (port & 31)));
  return 0;
}
/** EVTCHNOP_reset, and a domain's end. */
export function closeAll(hv: Hypervisor, slot: number): void {
  underLock(hv, () => { for (let p = 1; p < MAX_PORTS; p++) if (get(hv, slot, p, E.state) !== EVTCHNSTAT_closed) closeLocked(hv, slot, p); });
}
export interface PortStatus { status: number; vcpu: number; dom: number; port: number; virq: number }
export function status(hv: Hypervisor, slot: number, port: number): PortStatus | number {
  if (!valid(port)) return -EINVAL;
  const s = get(hv, slot, port, E.state);
  return { status: s, vcpu: get(hv, slot, port, E.vcpu), dom: get(hv, slot, port, E.remoteDomid), port: get(hv, slot, port, E.remotePort), virq: get(hv, slot, port, E.virq) };
}
export function bindVcpu(hv: Hypervisor, slot: number, port: number, vcpu: number): number {
  if (!valid(port)) return -EINVAL;
  if (vcpu >= hv.state.dget(slot, D.vcpus)) return -ENOENT;
  return underLock(hv, () => {
    const s = get(hv, slot, port, E.state);
    // Per-vCPU channels stay where they were bound.
    if (s === EVTCHNSTAT_closed || s === EVTCHNSTAT_ipi || s === EVTCHNSTAT_virq && !isGlobal(get(hv, slot, port, E.virq))) return -EINVAL;
    set(hv, slot, port, E.vcpu, vcpu);
    return 0;
  });
}
/** EVTCHNOP_unmask: clears the mask; an event that waited is raised. */
export function unmask(hv: Hypervisor, slot: number, port: number): number {
  if (!valid(port)) return -EINVAL;
  const m = memoryOf(hv, slot), shared = hv.state.dget(slot, D.sharedInfo);
  if (!m || !shared) return -EINVAL;
  const bit = 1 << (port & 31), at = port >> 5;
  Atomics.and(m.words, (shared + EVTCHN_MASK) / 4 + at, ~bit);
  if (Atomics.load(m.words, (shared + EVTCHN_PENDING) / 4 + at) & bit) markVcpu(hv, m, slot, get(hv, slot, port, E.vcpu), port);
  return 0;
}
/** After vcpu_info moved: everything may be pending there. */
export function raiseAll(hv: Hypervisor, slot: number, vcpu: number): void {
  const m = memoryOf(hv, slot), info = hv.state.vget(slot, vcpu, V.info);
  if (!m || !info) return;
  m.words[(info + PENDING_SEL) / 4] = -1;
  m.words[(info + PENDING_SEL) / 4 + 1] = -1;
  Atomics.or(m.words, info / 4, 1);
  raiseAttention(m, vcpu);
}
