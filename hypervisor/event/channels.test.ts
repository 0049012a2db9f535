import { beforeEach, describe, expect, test } from 'vitest';
import { attentionOffset } from '../cpu/layout.ts';
import { D, H, MAX_PORTS, V } from '../domain/state.ts';
import { makeHost, type TestDomain, type TestHost } from '../domain/test-host.ts';
import { EEXIST, EINVAL, ENOENT, ENOSPC, ESRCH } from '../public/errno.ts';
import { EVTCHNSTAT_closed, EVTCHNSTAT_interdomain, EVTCHNSTAT_ipi, EVTCHNSTAT_unbound, EVTCHNSTAT_virq } from '../public/event_channel.ts';
import { shared_info, vcpu_info } from '../public/layouts.ts';
import { VIRQ_ARGO, VIRQ_DEBUG, VIRQ_TIMER } from '../public/xen.ts';
import * as ch from './channels.ts';

let host: TestHost, a: TestDomain, b: TestDomain;
beforeEach(() => { host = makeHost(); a = host.addDomain({ vcpus: 2 }); b = host.addDomain(); });

const shared = (d: TestDomain): number => host.hv.state.dget(d.slot, D.sharedInfo);
const bit = (d: TestDomain, field: 'evtchn_pending' | 'evtchn_mask', port: number): number => d.memory.bytes[shared(d) + shared_info.fields[field] + (port >> 3)]! >> (port & 7) & 1;
const mask = (d: TestDomain, port: number): void => { d.memory.bytes[shared(d) + shared_info.fields.evtchn_mask + (port >> 3)]! |= 1 << (port & 7); };
const info = (d: TestDomain, vcpu: number): number => host.hv.state.vget(d.slot, vcpu, V.info);
const upcall = (d: TestDomain, vcpu = 0): number => d.memory.bytes[info(d, vcpu) + vcpu_info.fields.evtchn_upcall_pending]!;
const selector = (d: TestDomain, vcpu = 0): bigint => d.memory.view.getBigUint64(info(d, vcpu) + vcpu_info.fields.evtchn_pending_sel, true);
const attention = (d: TestDomain, vcpu = 0): number => d.memory.words[attentionOffset(vcpu) / 4]!;
const bell = (d: TestDomain, vcpu = 0): number => host.hv.state.vget(d.slot, vcpu, V.bell);
/** What a guest does before it looks at its ports. */
function consume(d: TestDomain, port: number, vcpu = 0): void {
  d.memory.bytes[info(d, vcpu) + vcpu_info.fields.evtchn_upcall_pending] = 0;
  d.memory.view.setBigUint64(info(d, vcpu) + vcpu_info.fields.evtchn_pending_sel, 0n, true);
  d.memory.bytes[shared(d) + shared_info.fields.evtchn_pending + (port >> 3)]! &= ~(1 << (port & 7));
  d.memory.words[attentionOffset(vcpu) / 4] = 0;
}
const statusOf = (d: TestDomain, port: number): ch.PortStatus => ch.status(host.hv, d.slot, port) as ch.PortStatus;
/** Two ports bound to each other, events of binding taken. */
function pair(): [number, number] {
  const pa = ch.allocUnbound(host.hv, a.slot, b.domid), pb = ch.bindInterdomain(host.hv, b.slot, a.domid, pa);
  consume(b, pb);
  return [pa, pb];
}

describe('binding', () => {
  test('an unbound port is bound by the domain it was made for, and by no other', () => {
    const port = ch.allocUnbound(host.hv, a.slot, b.domid), stranger = host.addDomain();
    expect(statusOf(a, port)).toMatchObject({ status: EVTCHNSTAT_unbound, dom: b.domid });
    expect(ch.bindInterdomain(host.hv, stranger.slot, a.domid, port)).toBe(-EINVAL);
    const mine = ch.bindInterdomain(host.hv, b.slot, a.domid, port);
    expect(statusOf(b, mine)).toMatchObject({ status: EVTCHNSTAT_interdomain, dom: a.domid, port });
    expect(statusOf(a, port)).toMatchObject({ status: EVTCHNSTAT_interdomain, dom: b.domid, port: mine });
    expect(ch.bindInterdomain(host.hv, b.slot, a.domid, port)).toBe(-EINVAL);
  });
  test('binding raises the new port once: the other side may have sent before', () => {
    const port = ch.allocUnbound(host.hv, a.slot, b.domid);
    expect(ch.send(host.hv, a.slot, port)).toBe(0);
    const mine = ch.bindInterdomain(host.hv, b.slot, a.domid, port);
    expect([bit(b, 'evtchn_pending', mine), upcall(b), bit(a, 'evtchn_pending', port)]).toEqual([1, 1, 0]);
  });
  test('domains and ports that are not there', () => {
    expect(ch.bindInterdomain(host.hv, b.slot, 77, 1)).toBe(-ESRCH);
    for (const port of [0, -1, MAX_PORTS, 1.5, NaN, 0xffff_ffff]) {
      expect(ch.bindInterdomain(host.hv, b.slot, a.domid, port)).toBe(-EINVAL);
      expect([ch.send, ch.close, ch.unmask, ch.status].map(op => op(host.hv, a.slot, port))).toEqual(Array(4).fill(-EINVAL));
    }
    expect(ch.send(host.hv, a.slot, 5)).toBe(-EINVAL);
    expect(statusOf(a, 5)).toMatchObject({ status: EVTCHNSTAT_closed });
  });
  test('ports run out, and come back', () => {
    const ports = Array.from({ length: MAX_PORTS - 1 }, () => ch.allocUnbound(host.hv, a.slot, 0));
    expect(new Set(ports).size).toBe(MAX_PORTS - 1);
    expect(ch.allocUnbound(host.hv, a.slot, 0)).toBe(-ENOSPC);
    expect(ch.bindIpi(host.hv, a.slot, 0)).toBe(-ENOSPC);
    expect(ch.close(host.hv, a.slot, 17)).toBe(0);
    expect(ch.allocUnbound(host.hv, a.slot, 0)).toBe(17);
  });
});

describe('delivery', () => {
  test('sets the pending bit, the selector, the pending byte, and wakes the vCPU', () => {
    const [pa, pb] = pair(), before = bell(b);
    expect(ch.send(host.hv, a.slot, pa)).toBe(0);
    expect([bit(b, 'evtchn_pending', pb), selector(b), upcall(b), attention(b)]).toEqual([1, 1n << BigInt(pb >> 6), 1, 1]);
    expect(bell(b)).toBe(before + 1);
    expect(bit(a, 'evtchn_pending', pa)).toBe(0);
  });
  test('ports above 63 use the selector of their word', () => {
    for (let i = 0; i < 70; i++) ch.allocUnbound(host.hv, b.slot, 0);
    const [pa, pb] = pair();
    expect(pb).toBeGreaterThan(63);
    ch.send(host.hv, a.slot, pa);
    expect([bit(b, 'evtchn_pending', pb), selector(b)]).toEqual([1, 2n]);
  });
  test('a masked port waits, and is raised by unmasking', () => {
    const [pa, pb] = pair();
    mask(b, pb);
    ch.send(host.hv, a.slot, pa);
    expect([bit(b, 'evtchn_pending', pb), selector(b), upcall(b), attention(b)]).toEqual([1, 0n, 0, 0]);
    expect(ch.unmask(host.hv, b.slot, pb)).toBe(0);
    expect([bit(b, 'evtchn_mask', pb), selector(b), upcall(b), attention(b)]).toEqual([0, 1n, 1, 1]);
  });
  test('unmasking a port without an event raises nothing', () => {
    const [, pb] = pair();
    mask(b, pb);
    ch.unmask(host.hv, b.slot, pb);
    expect([upcall(b), attention(b)]).toEqual([0, 0]);
  });
  test('an event that comes while another of its word is looked at is not lost', () => {
    const [pa, pb] = pair();
    ch.send(host.hv, a.slot, pa);
    // The guest has taken the pending byte but not yet the selector.
    b.memory.bytes[info(b, 0)] = 0;
    b.memory.bytes[shared(b) + shared_info.fields.evtchn_pending + (pb >> 3)]! &= ~(1 << (pb & 7));
    b.memory.words[attentionOffset(0) / 4] = 0;
    ch.send(host.hv, a.slot, pa);
    expect([upcall(b), attention(b)]).toEqual([1, 1]);
  });
  test('an event goes to the vCPU its port is bound to', () => {
    const [pa, pb] = pair();
    expect(ch.bindVcpu(host.hv, a.slot, pa, 1)).toBe(0);
    ch.send(host.hv, b.slot, pb);
    expect([upcall(a, 0), upcall(a, 1), attention(a, 0), attention(a, 1)]).toEqual([0, 1, 0, 1]);
    expect(ch.bindVcpu(host.hv, a.slot, pa, 2)).toBe(-ENOENT);
    expect(ch.bindVcpu(host.hv, a.slot, 9, 0)).toBe(-EINVAL);
  });
  test('after vcpu_info has moved everything is raised there', () => {
    const [pa, pb] = pair(), to = a.frames[3]! * 4096 + 64;
    host.hv.state.vset(a.slot, 0, V.info, to);
    ch.raiseAll(host.hv, a.slot, 0);
    expect([upcall(a), selector(a), attention(a)]).toEqual([1, 0xffff_ffff_ffff_ffffn, 1]);
    consume(a, pa);
    ch.send(host.hv, b.slot, pb);
    expect(a.memory.bytes[to]).toBe(1);
  });
  test('a poller is woken even where the port is masked', () => {
    const [pa, pb] = pair();
    mask(a, pa);
    host.hv.state.vset(a.slot, 1, V.blocked, 2);
    const before = bell(a, 1);
    ch.send(host.hv, b.slot, pb);
    expect(bell(a, 1)).toBe(before + 1);
    expect(ch.isPending(host.hv, a.slot, pa)).toBe(true);
  });
});

describe('closing', () => {
  test('the other end becomes unbound and can be bound again', () => {
    const [pa, pb] = pair();
    expect(ch.close(host.hv, b.slot, pb)).toBe(0);
    expect(statusOf(a, pa)).toMatchObject({ status: EVTCHNSTAT_unbound, dom: b.domid });
    expect(ch.send(host.hv, a.slot, pa)).toBe(0);
    expect(bit(b, 'evtchn_pending', pb)).toBe(0);
    expect(ch.bindInterdomain(host.hv, b.slot, a.domid, pa)).toBe(pb);
  });
  test('a pending event does not greet the port\'s next user', () => {
    const [pa, pb] = pair();
    ch.send(host.hv, a.slot, pa);
    ch.close(host.hv, b.slot, pb);
    expect(ch.allocUnbound(host.hv, b.slot, 0)).toBe(pb);
    expect(bit(b, 'evtchn_pending', pb)).toBe(0);
  });
  test('closing twice is an error; reset closes everything', () => {
    const [pa, pb] = pair();
    const virq = ch.bindVirq(host.hv, a.slot, VIRQ_TIMER, 0);
    ch.closeAll(host.hv, a.slot);
    expect([pa, virq].map(p => ch.close(host.hv, a.slot, p))).toEqual([-EINVAL, -EINVAL]);
    expect(statusOf(b, pb)).toMatchObject({ status: EVTCHNSTAT_unbound });
    expect(ch.bindVirq(host.hv, a.slot, VIRQ_TIMER, 0)).toBeGreaterThan(0);
  });
});

describe('VIRQs and IPIs', () => {
  test('each vCPU has its own timer; a VIRQ is bound once', () => {
    const [t0, t1] = [0, 1].map(v => ch.bindVirq(host.hv, a.slot, VIRQ_TIMER, v)) as [number, number];
    expect(ch.bindVirq(host.hv, a.slot, VIRQ_TIMER, 1)).toBe(-EEXIST);
    ch.sendVirq(host.hv, a.slot, 1, VIRQ_TIMER);
    expect([bit(a, 'evtchn_pending', t0), bit(a, 'evtchn_pending', t1), upcall(a, 0), upcall(a, 1)]).toEqual([0, 1, 0, 1]);
    expect(statusOf(a, t1)).toMatchObject({ status: EVTCHNSTAT_virq, virq: VIRQ_TIMER, vcpu: 1 });
    expect(ch.bindVcpu(host.hv, a.slot, t1, 0)).toBe(-EINVAL);
  });
  test('a global VIRQ is bound through vCPU 0, may move, and is freed wherever it is', () => {
    expect(ch.bindVirq(host.hv, a.slot, VIRQ_ARGO, 1)).toBe(-EINVAL);
    const port = ch.bindVirq(host.hv, a.slot, VIRQ_ARGO, 0);
    expect(ch.bindVcpu(host.hv, a.slot, port, 1)).toBe(0);
    ch.sendVirq(host.hv, a.slot, 0, VIRQ_ARGO);
    expect([upcall(a, 0), upcall(a, 1)]).toEqual([0, 1]);
    ch.close(host.hv, a.slot, port);
    expect(ch.bindVirq(host.hv, a.slot, VIRQ_ARGO, 0)).toBe(port);
  });
  test('numbers out of range', () => {
    expect([24, 0xffff_ffff].map(v => ch.bindVirq(host.hv, a.slot, v, 0))).toEqual([-EINVAL, -EINVAL]);
    expect(ch.bindVirq(host.hv, a.slot, VIRQ_DEBUG, 2)).toBe(-ENOENT);
    expect(ch.bindIpi(host.hv, a.slot, 2)).toBe(-ENOENT);
    ch.sendVirq(host.hv, a.slot, 0, VIRQ_DEBUG);
    expect(upcall(a)).toBe(0);
  });
  test('an IPI goes to the vCPU it was bound for, whoever sends', () => {
    const port = ch.bindIpi(host.hv, a.slot, 1);
    expect(statusOf(a, port)).toMatchObject({ status: EVTCHNSTAT_ipi, vcpu: 1 });
    expect(ch.send(host.hv, a.slot, port)).toBe(0);
    expect([upcall(a, 0), upcall(a, 1)]).toEqual([0, 1]);
  });
});

test('Dom0 has its pending bits in shared state, and a bell', () => {
  const { words } = host.hv.state, guest = ch.allocUnbound(host.hv, a.slot, 0), mine = ch.bindInterdomain(host.hv, 0, a.domid, guest);
  const before = words[H.dom0Bell]!;
  words[host.hv.state.dom0Pending(mine)] = 0;
  ch.send(host.hv, a.slot, guest);
  expect([words[host.hv.state.dom0Pending(mine)]! >>> (mine & 31) & 1, words[H.dom0Bell]]).toEqual([1, before + 1]);
  ch.close(host.hv, 0, mine);
  expect(words[host.hv.state.dom0Pending(mine)]).toBe(0);
});
