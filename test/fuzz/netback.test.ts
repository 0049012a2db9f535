// What a guest can write into the transmit ring, the receive ring and the control ring of a virtual interface.
import { expect, it } from 'vitest';
import { netif_tx_request as tx, NETTXF_csum_blank, NETTXF_extra_info, NETTXF_more_data, xen_netif_ctrl_request as ctrl } from '../../hypervisor/public/io/netif.ts';
import { domid } from '../../hypervisor/public/types.ts';
import { FakeHypervisor } from '../../dom0/bus/fakes.ts';
import { BackRing, FrontRing } from '../../dom0/bus/ring.ts';
import { ControlRing } from '../../dom0/netback/control.ts';
import { Steering } from '../../dom0/netback/hash.ts';
import { newMetrics } from '../../dom0/netback/metrics.ts';
import { RxQueue } from '../../dom0/netback/rx.ts';
import { tcpFrame } from '../../dom0/netback/fake-netfront.ts';
import { TxQueue } from '../../dom0/netback/tx.ts';
import { MAX_FRAME_BYTES, type Frame } from '../../dom0/switch/port.ts';
import { Switch } from '../../dom0/switch/switch.ts';
import { fuzz, type Random } from './random.ts';

const DOM = domid(7);
const notify = (): void => {};

/** A request that is right in most of its fields, so that what is wrong in one gets far. */
function request(r: Random, refs: number): Uint8Array {
  if (r.chance(6)) return r.bytes(tx.bytes);
  const v = new DataView(new ArrayBuffer(tx.bytes));
  v.setUint32(tx.gref, r.chance(12) ? r.edge() : 100 + r.below(refs), true);
  v.setUint16(tx.offset, r.chance(4) ? r.edge() : r.below(64), true);
  v.setUint16(tx.flags, (r.chance(3) ? NETTXF_more_data : 0) | (r.chance(5) ? NETTXF_extra_info : 0) | (r.chance(3) ? NETTXF_csum_blank : 0) | (r.chance(20) ? r.u32() : 0), true);
  v.setUint16(tx.id, r.u32(), true);
  v.setUint16(tx.size, r.chance(4) ? r.edge() : 14 + r.below(4000), true);
  return new Uint8Array(v.buffer);
}
function extraInfo(r: Random): Uint8Array {
  const slot = r.bytes(tx.bytes);
  slot[0] = r.chance(8) ? r.below(256) : 1 + r.below(4);
  slot[1] = r.chance(4) ? 1 : 0;
  if (r.chance(2)) slot[4] = r.below(4);
  return slot;
}

it('the transmit ring: frames are whole and bounded, every slot is answered once, grants go back', () => {
  fuzz(r => {
    const hypervisor = new FakeHypervisor(), page = hypervisor.grant(DOM, 1), front = new FrontRing([page], tx.bytes);
    for (let i = 0; i < 8; i++) hypervisor.grant(DOM, 100 + i).set(r.chance(2) ? tcpFrame(1, 2, r.bytes(r.below(1400)), r.pick([4, 6])) : r.bytes(64));
    const bridge = new Switch('t'), out: Frame[] = [];
    const plain = bridge.attach({ name: 'plain', abilities: () => ({ blankChecksum: false, gsoV4: false, gsoV6: false }), deliver: frame => { expect([frame.gso, frame.checksum === 'blank']).toEqual([undefined, false]); } });
    bridge.attach({ name: 'whole', deliver: frame => { out.push({ ...frame, bytes: frame.bytes.slice() }); } });
    const guest = bridge.attach({ name: 'guest', deliver: () => {} });
    let broken = 0, complaints = 0;
    const queue = new TxQueue({
      ring: new BackRing([page], tx.bytes), dom: DOM, hypercalls: hypervisor.hypercalls, metrics: newMetrics(), credit: undefined, notify, send: frame => guest.send(frame),
      multicast: () => r.chance(2), complain: () => { complaints++; }, broken: () => { broken++; },
    });
    let asked = 0, answered = 0, own = true;
    for (let round = 0; round < 8; round++) {
      for (let n = r.below(40); n > 0 && front.free > 0; n--) { front.request(r.chance(5) ? extraInfo(r) : request(r, 8)); asked++; }
      front.push();
      if (r.chance(20)) { new Uint32Array(page.buffer)[0] = r.edge(); own = false; }
      queue.kick();
      while (own && broken === 0 && front.take()) answered++;
    }
    queue.stop();
    plain.detach();
    expect(hypervisor.mappedCount).toBe(0);
    expect(broken).toBeLessThanOrEqual(1);
    expect(complaints).toBeLessThanOrEqual(asked);
    expect(answered).toBeLessThanOrEqual(asked);
    if (own && broken === 0) expect(answered).toBe(asked);
    for (const { bytes } of out) { expect(bytes.length).toBeGreaterThanOrEqual(14); expect(bytes.length).toBeLessThanOrEqual(MAX_FRAME_BYTES); }
  });
});

it('the receive ring: nothing but complaints, a bounded queue, grants go back', () => {
  fuzz(r => {
    const hypervisor = new FakeHypervisor(), page = hypervisor.grant(DOM, 1), words = new Uint32Array(page.buffer), front = new FrontRing([page], 8);
    for (let i = 0; i < 8; i++) hypervisor.grant(DOM, 100 + i);
    const metrics = newMetrics();
    let broken = 0;
    const queue = new RxQueue({
      ring: new BackRing([page], 8), dom: DOM, hypercalls: hypervisor.hypercalls, metrics, scatterGather: r.chance(2),
      notify, roomGrew: () => {}, complain: () => {}, broken: () => { broken++; },
    });
    for (let round = 0; round < 20; round++) {
      for (let n = r.below(30); n > 0 && front.free > 0; n--) front.request(r.chance(5) ? r.bytes(8) : Uint8Array.from([n, 0, 0, 0, 100 + r.below(8), 0, 0, 0]));
      front.push();
      if (r.chance(10)) words[0] = r.edge();
      const frame: Frame = { bytes: new Uint8Array(14 + r.below(65_000)), checksum: r.pick(['blank', 'valid', 'complete']), ...(r.chance(3) ? { gso: { type: r.pick(['tcpv4', 'tcpv6']), size: 1 + r.below(9000) } } : {}) };
      queue.deliver(frame, r.chance(4) ? { type: r.below(4), algorithm: 1, value: r.u32() } : undefined);
      queue.kick();
      expect(metrics.rx_queued).toBeLessThanOrEqual(2 * 1024 * 1024);
      if (broken === 0) try { while (front.take()); } catch { broken++; }
    }
    queue.stop();
    expect([hypervisor.mappedCount, metrics.rx_queued]).toEqual([0, 0]);
  });
});

it('the control ring: every request is answered, tables stay within their queues', () => {
  fuzz(r => {
    const hypervisor = new FakeHypervisor(), page = hypervisor.grant(DOM, 1), front = new FrontRing([page], ctrl.bytes), steering = new Steering(1 + r.below(4));
    for (let i = 0; i < 4; i++) { const p = hypervisor.grant(DOM, 100 + i); if (r.chance(2)) p.set(r.bytes(64)); else new Uint32Array(p.buffer).fill(r.below(5)); }
    const control = new ControlRing({ ring: new BackRing([page], ctrl.bytes), dom: DOM, hypercalls: hypervisor.hypercalls, steering, notify, broken: () => {} });
    for (let round = 0; round < 60; round++) {
      const v = new DataView(new ArrayBuffer(ctrl.bytes));
      v.setUint16(ctrl.type, r.chance(8) ? r.u32() : r.below(12), true);
      for (const at of [0, 4, 8]) v.setUint32(ctrl.data + at, r.pick([r.below(5), 100 + r.below(4), r.below(130), r.edge()]), true);
      front.request(new Uint8Array(v.buffer));
      front.push();
      control.kick();
      expect(front.take()).toBeDefined();
      const frame = r.chance(2) ? tcpFrame(r.below(255), 2, r.bytes(20), r.pick([4, 6])) : r.bytes(14 + r.below(80)), hash = steering.hash(frame);
      expect(steering.queueOf(frame, hash)).toBeLessThan(steering.queueCount);
    }
    expect(hypervisor.mappedCount).toBe(0);
  });
});
