import { describe, expect, test, vi } from 'vitest';
import {
  NETIF_RSP_ERROR, NETIF_RSP_NULL, NETIF_RSP_OKAY, NETTXF_csum_blank, NETTXF_extra_info, NETTXF_more_data, XEN_NETIF_EXTRA_TYPE_MCAST_ADD,
  XEN_NETIF_EXTRA_TYPE_MCAST_DEL, XEN_NETIF_GSO_TYPE_TCPV4, xen_netif_ctrl_request as ctrlRequest, xen_netif_ctrl_response as ctrlResponse,
} from '../../hypervisor/public/io/netif.ts';
import { settle } from '../bus/fakes.ts';
import { findL4 } from '../switch/offload.ts';
import { Credit } from './credit.ts';
import { CTRL_PORT, gsoSlot, NetWorld, tcpFrame, type FakeNetfront } from './fake-netfront.ts';
import { toeplitz } from './hash.ts';
import { vifName } from './index.ts';
import { MAX_QUEUED_BYTES } from './rx.ts';

const pattern = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8));
const broadcast = (from: number): Uint8Array => Uint8Array.from([255, 255, 255, 255, 255, 255, 0, 0x16, 0x3e, 0, 0, from, 0x08, 0x06, ...pattern(46)]);

/** Two guests that know where the other is. */
async function pair(features: Readonly<Record<string, string>> = {}) {
  const world = new NetWorld(), a = await world.guest(1), b = await world.guest(2, {}, features);
  a.post(200); b.post(200);
  a.send(broadcast(1)); b.send(broadcast(2));
  await a.receive(); await b.receive();
  a.reap(); b.reap();
  return { world, a, b };
}

describe('a virtual interface', () => {
  test('publishes what it can do, connects, and starts over after the frontend closed', async () => {
    const world = new NetWorld(), guest = await world.guest(1, {}, { state: '' });
    expect(guest.backKey('state')).toBe('2');
    expect(Object.fromEntries(['feature-sg', 'feature-gso-tcpv4', 'feature-gso-tcpv6', 'feature-rx-copy', 'feature-split-event-channels', 'feature-ctrl-ring', 'multi-queue-max-queues', 'hotplug-status'].map(k => [k, guest.backKey(k)])))
      .toEqual({ 'feature-sg': '1', 'feature-gso-tcpv4': '1', 'feature-gso-tcpv6': '1', 'feature-rx-copy': '1', 'feature-split-event-channels': '1', 'feature-ctrl-ring': '1', 'multi-queue-max-queues': '4', 'hotplug-status': 'connected' });
    for (let life = 0; life < 1000; life++) {
      await guest.setKeys({ state: '1' });
      await guest.connect();
      expect([guest.backKey('state'), world.hypervisor.mappedCount, world.hypervisor.boundCount, world.bridges.find('xenbr0')!.ports.length]).toEqual(['4', 2, 2, 1]);
      if (life % 3 === 0) await guest.setKeys({ state: '5' });
      await guest.setKeys({ state: '6' });
      expect([guest.backKey('state'), world.hypervisor.mappedCount, world.hypervisor.boundCount, world.bridges.find('xenbr0')!.ports.length]).toEqual(['6', 0, 0, 0]);
    }
  }, 60_000);

  test('details that make no sense leave nothing mapped or bound', async () => {
    const wrong: Record<string, string>[] = [
      { 'tx-ring-ref': '77' }, { 'rx-ring-ref': 'x' }, { 'event-channel-tx': '-1' }, { 'multi-queue-num-queues': '0' }, { 'multi-queue-num-queues': '5' },
      { 'multi-queue-num-queues': '2' }, { 'request-rx-copy': '0' }, { 'ctrl-ring-ref': '3' }, { 'event-channel-rx': '66' },
    ];
    for (const keys of wrong) {
      const world = new NetWorld();
      world.hypervisor.unbindable.add(66);
      const guest = await world.guest(1, {}, keys);
      expect([JSON.stringify(keys), guest.backKey('state'), world.hypervisor.mappedCount, world.hypervisor.boundCount, world.bridges.find('xenbr0')!.ports.length]).toEqual([JSON.stringify(keys), '5', 0, 0, 0]);
      expect(world.lines.join()).not.toBe('');
    }
  });

  test('unplugged: the guest lets go, the promise says so', async () => {
    const { world, a } = await pair();
    world.store.write(`${a.back}/online`, '0');
    world.store.write(`${a.back}/state`, '5');
    await settle();
    expect(a.backKey('state')).toBe('5');
    await a.setKeys({ state: '6' });
    await a.open.removed;
    expect([a.backKey('state'), world.hypervisor.mappedCount, world.hypervisor.boundCount]).toEqual(['6', 2, 2]);
  });

  test('closing takes everything back, whatever the guest does', async () => {
    const { world, a, b } = await pair();
    await a.open.close();
    b.send(tcpFrame(2, 1, pattern(100)), { blank: true });
    await b.open.close();
    expect([world.hypervisor.mappedCount, world.hypervisor.boundCount]).toEqual([0, 0]);
  });

  test('its port is named after domain and device, so that a capture finds it, whatever vifname says', async () => {
    const world = new NetWorld();
    for (const dom of [1, 2]) await world.guest(dom, { vifname: 'web' });
    expect(world.bridges.find('xenbr0')!.ports.map(port => port.name)).toEqual([vifName(1, 0), vifName(2, 0)]);
  });

  test('a bridge that is not there is refused by name', () => {
    expect(() => new NetWorld().netback.check({ trusted: true, bridge: 'nobridge0' })).toThrow('Could not find bridge device nobridge0');
  });
});

describe('frames', () => {
  test('of every size arrive as they were sent; grants are given back', async () => {
    const { world, a, b } = await pair();
    for (const size of [60, 1514, 4096, 4097, 9014, 65535]) {
      const frame = tcpFrame(1, 2, pattern(size - 54));
      a.send(frame, { blank: true });
      const [got, ...more] = await b.receive();
      expect(more).toEqual([]);
      expect([got!.checksum, Buffer.compare(got!.bytes, frame)]).toEqual(['blank', 0]);
      b.post(20);
      expect(a.reap().every(r => r.status === NETIF_RSP_OKAY)).toBe(true);
    }
    expect(world.hypervisor.mappedCount).toBe(4);
    expect(await a.receive()).toEqual([]);
  });

  test.each([4, 6] as const)('a large IPv%s segment goes whole to a guest that can, in pieces to one that cannot', async version => {
    const payload = pattern(20_000), frame = tcpFrame(1, 2, payload, version), gso = { type: version === 4 ? 'tcpv4' : 'tcpv6', size: 1448 } as const;
    const whole = await pair();
    whole.a.send(frame, { gso });
    const [got] = await whole.b.receive();
    expect([got!.gso, got!.checksum, Buffer.compare(got!.bytes, frame)]).toEqual([gso, 'blank', 0]);
    expect(whole.a.reap().map(r => r.status)).toEqual([0, NETIF_RSP_NULL, 0, 0, 0, 0]);

    const cut = await pair({ 'feature-gso-tcpv4': '0', 'feature-gso-tcpv6': '0', 'feature-no-csum-offload': '1', 'feature-ipv6-csum-offload': '0' });
    cut.a.send(frame, { gso });
    const pieces = await cut.b.receive();
    expect(pieces.length).toBe(Math.ceil(payload.length / 1448));
    let sequence = 0xffff_f000, all = Buffer.alloc(0);
    for (const [i, { bytes, gso: none, checksum }] of pieces.entries()) {
      const l4 = findL4(bytes)!, v = new DataView(bytes.buffer);
      expect([none, checksum, v.getUint32(l4.at + 4), bytes[l4.at + 13]]).toEqual([undefined, 'valid', sequence, i === pieces.length - 1 ? 0x18 : 0x10]);
      if (version === 4) expect([v.getUint16(18), onesSum(bytes, 14, 34)]).toEqual([0x1234 + i, 0xffff]);
      expect(tcpSum(bytes, version)).toBe(0xffff);
      sequence = (sequence + bytes.length - l4.at - 20) >>> 0;
      all = Buffer.concat([all, bytes.subarray(l4.at + 20)]);
    }
    expect(Buffer.compare(all, payload)).toBe(0);
  });

  test('a guest without buffers: frames wait up to a bound, then are dropped; room tells it, and comes back', async () => {
    const { world, a, b } = await pair();
    b.post(56);
    for (let i = 0; i < 80; i++) { a.send(tcpFrame(1, 2, pattern(60_000)), { blank: true }); await settle(); a.reap(); }
    const counters = b.open.info();
    expect(counters['rx_dropped']).toBeGreaterThan(0);
    expect(counters['rx_queued']).toBeLessThanOrEqual(MAX_QUEUED_BYTES);
    const sender = world.bridges.find('xenbr0')!.attach({ name: 'uplink', deliver: () => {} });
    const mac = Uint8Array.from([0, 0x16, 0x3e, 0, 0, 2]), woken = vi.fn();
    expect(sender.room(mac)).toBeLessThan(60_054);
    sender.whenRoom(woken);
    for (let i = 0; i < 10; i++) { await b.receive(); b.post(200); }
    await settle();
    expect([woken.mock.calls.length, sender.room(mac), b.open.info()['rx_queued']]).toEqual([1, MAX_QUEUED_BYTES, 0]);
  });

  test('one slow reader does not hold up another', async () => {
    const { world, a, b } = await pair();
    const c = await world.guest(3);
    c.post(200);
    c.send(broadcast(3));
    for (const g of [a, b]) await g.receive();
    await b.open.close();
    for (let i = 0; i < 50; i++) { a.send(tcpFrame(1, 2, pattern(4000)), { blank: true }); a.send(tcpFrame(1, 3, pattern(1000)), { blank: true }); await settle(); a.reap(); }
    expect((await c.receive()).length).toBeGreaterThanOrEqual(50);
  });

  test('the link goes down and up as the toolstack says, before and after the frontend connects; the frontend stays', async () => {
    const { world, a, b } = await pair(), port = (): number => world.bridges.find('xenbr0')!.ports.length;
    world.store.write(`${b.back}/carrier`, '0');
    await settle();
    expect(port()).toBe(1);
    a.send(broadcast(1));
    b.send(broadcast(2));
    await settle();
    expect([(await b.receive()).length, (await a.receive()).length, b.reap().map(r => r.status), b.backKey('state')]).toEqual([0, 0, [0], '4']);
    await b.setKeys({ state: '6' });
    await b.setKeys({ state: '1' });
    await b.connect();
    b.post(10);
    expect(port()).toBe(1);
    world.store.write(`${b.back}/carrier`, '1');
    await settle();
    a.send(broadcast(1));
    expect([port(), (await b.receive()).length]).toEqual([2, 1]);
  });

  test('a backend that begins anew serves the frontend it finds: packets that wait are sent, nothing stays behind', async () => {
    const { world, a, b } = await pair(), { hypervisor } = world, held = [hypervisor.mappedCount, hypervisor.boundCount];
    for (let life = 0; life < 20; life++) {
      a.send(tcpFrame(1, 2, pattern(3000)), { blank: true });
      await a.open.restart();
      a.send(tcpFrame(1, 2, pattern(2000)), { blank: true });
      await settle();
      expect((await b.receive()).map(f => f.bytes.length)).toEqual([3054, 2054]);
      expect([a.reap().every(r => r.status === NETIF_RSP_OKAY), a.backKey('state'), hypervisor.mappedCount, hypervisor.boundCount]).toEqual([true, '4', ...held]);
      await b.open.restart();
      await settle();
      b.post(4);
    }
    expect(a.open.info()).toMatchObject({ tx_errors: 0 });
  });

  test('antispoof: only the interface\'s own address may be a source', async () => {
    const world = new NetWorld(), a = await world.guest(1, { mac: '00:16:3e:00:00:01', antispoof: true }), b = await world.guest(2);
    b.post(10);
    a.send(broadcast(9));
    a.send(broadcast(1));
    expect((await b.receive()).map(f => f.bytes[11])).toEqual([1]);
  });

  test('multicast control: only groups that were named, while it is on', async () => {
    const { a, b } = await pair();
    const group = (last: number): Uint8Array => Uint8Array.from([1, 0, 0x5e, 0, 0, last, 0, 0x16, 0x3e, 0, 0, 1, 8, 0, ...pattern(46)]);
    const change = (type: number, last: number): void => b.slots([{ flags: NETTXF_extra_info, size: 14 }, Uint8Array.from([type, 0, 1, 0, 0x5e, 0, 0, last, 0, 0, 0, 0])]);
    change(XEN_NETIF_EXTRA_TYPE_MCAST_ADD, 7);
    await b.setKeys({ 'request-multicast-control': '1' });
    for (const last of [7, 8]) a.send(group(last));
    a.send(broadcast(1));
    expect((await b.receive()).map(f => f.bytes[5])).toEqual([7, 255]);
    change(XEN_NETIF_EXTRA_TYPE_MCAST_DEL, 7);
    a.send(group(7));
    expect(await b.receive()).toEqual([]);
    await b.setKeys({ 'request-multicast-control': '0' });
    a.send(group(7));
    expect((await b.receive()).length).toBe(1);
    expect(b.reap().map(r => r.status)).toEqual([0, NETIF_RSP_NULL, 0, NETIF_RSP_NULL]);
  });
});

describe('multicast control over lives', () => {
  const group = Uint8Array.from([1, 0, 0x5e, 0, 0, 7, 0, 0x16, 0x3e, 0, 0, 1, 8, 0, ...pattern(46)]), on = { 'request-multicast-control': '1' };
  const add = (b: FakeNetfront, life: number, last: number): number[] => {
    b.slots([{ flags: NETTXF_extra_info, size: 14 }, Uint8Array.from([XEN_NETIF_EXTRA_TYPE_MCAST_ADD, 0, 1, 0, 0x5e, 0, life, last, 0, 0, 0, 0])]);
    return b.reap().map(r => r.status);
  };

  test('a frontend that connects anew has none of the groups of the one before', async () => {
    const { a, b } = await pair(on);
    for (let life = 0; life < 3; life++) {
      for (let last = 0; last < 64; last++) expect(add(b, life, last)).toEqual([NETIF_RSP_OKAY, NETIF_RSP_NULL]);
      expect(add(b, life, 64)).toEqual([NETIF_RSP_ERROR, NETIF_RSP_NULL]);
      await b.setKeys({ state: '6' });
      await b.setKeys({ state: '1' });
      await b.connect(on);
      b.post(10);
      a.send(group);
      expect(await b.receive()).toEqual([]);
    }
  });

  test('a backend that begins anew does not know the groups, and keeps none from the guest', async () => {
    const { a, b } = await pair(on);
    await b.open.restart();
    await settle();
    a.send(group);
    expect((await b.receive()).length).toBe(1);
  });
});

describe('what a guest may not do', () => {
  const frame = tcpFrame(1, 2, pattern(100));
  const refused: [string, (a: Awaited<ReturnType<typeof pair>>['a']) => void, number][] = [
    ['an offset past the page', a => a.slots([{ gref: a.page(frame), offset: 4000, size: frame.length }]), 1],
    ['a grant that is not there', a => a.slots([{ gref: 4242, size: 100 }]), 1],
    ['less than an Ethernet header', a => a.slots([{ gref: a.page(frame), size: 13 }]), 1],
    ['more in later slots than the packet has', a => a.slots([{ gref: a.page(frame), size: 100, flags: NETTXF_more_data }, { gref: a.page(frame), size: 200 }]), 2],
    ['GSO of an unknown type', a => a.slots([{ gref: a.page(frame), size: frame.length, flags: NETTXF_extra_info | NETTXF_csum_blank }, gsoSlot(3, 1448)]), 2],
    ['GSO with segments of nothing', a => a.slots([{ gref: a.page(frame), size: frame.length, flags: NETTXF_extra_info | NETTXF_csum_blank }, gsoSlot(XEN_NETIF_GSO_TYPE_TCPV4, 0)]), 2],
    ['GSO with segments of a few bytes', a => a.slots([{ gref: a.page(frame), size: frame.length, flags: NETTXF_extra_info | NETTXF_csum_blank }, gsoSlot(XEN_NETIF_GSO_TYPE_TCPV4, 47)]), 2],
    ['GSO on what is not TCP', a => a.slots([{ gref: a.page(broadcast(1)), size: 60, flags: NETTXF_extra_info | NETTXF_csum_blank }, gsoSlot(XEN_NETIF_GSO_TYPE_TCPV4, 1448)]), 2],
    ['19 slots', a => a.slots(Array.from({ length: 19 }, (_, i) => ({ gref: a.page(frame), size: i === 0 ? 190 : 10, flags: i < 18 ? NETTXF_more_data : 0 }))), 19],
  ];
  test.each(refused)('%s: answered with an error, and the next frame arrives', async (_, act, slots) => {
    const { a, b } = await pair();
    act(a);
    a.send(frame, { blank: true });
    expect((await b.receive()).length).toBe(1);
    const answers = a.reap().map(r => r.status);
    expect(answers).toEqual([NETIF_RSP_ERROR, ...answers.slice(1, slots), NETIF_RSP_OKAY]);
    expect(answers.slice(1, slots).every(s => s === NETIF_RSP_ERROR || s === NETIF_RSP_NULL)).toBe(true);
  });

  const fatal: [string, (a: Awaited<ReturnType<typeof pair>>['a']) => void][] = [
    ['a packet that does not end', a => a.slots([{ gref: a.page(frame), size: 100, flags: NETTXF_more_data }])],
    ['extra info that does not end', a => a.slots([{ gref: a.page(frame), size: 100, flags: NETTXF_extra_info }, gsoSlot(1, 1448, 1)])],
    ['extra info of no known type', a => a.slots([{ gref: a.page(frame), size: 100, flags: NETTXF_extra_info }, new Uint8Array(12).fill(9)])],
    ['a chain through the whole ring', a => a.slots(Array.from({ length: 100 }, () => ({ gref: a.page(frame), size: 100, flags: NETTXF_more_data })))],
  ];
  test.each(fatal)('%s: the interface is shut down until the guest connects anew', async (_, act) => {
    const { world, a, b } = await pair();
    act(a);
    await settle();
    expect(world.lines.at(-1)).toContain('shut down until');
    expect([world.hypervisor.mappedCount, world.hypervisor.boundCount]).toEqual([2, 2]);
    await a.setKeys({ state: '6' });
    await a.setKeys({ state: '1' });
    await a.connect();
    a.send(frame, { blank: true });
    expect((await b.receive()).length).toBe(1);
  });
});

test('a packet that would be cut into many ends its sender\'s turn', async () => {
  const { a, b } = await pair({ 'feature-gso-tcpv4': '0' }), sent = (): number => a.open.info()['tx_packets']!, before = sent();
  b.post(200);
  for (let i = 0; i < 5; i++) a.send(tcpFrame(1, 2, pattern(60_000)), { gso: { type: 'tcpv4', size: 48 } });
  expect(sent() - before).toBe(1);
  await expect.poll(() => sent() - before).toBe(5);
});

describe('rate', () => {
  test('credit comes back in steps, is not saved up, and a large packet is made up for', () => {
    let nowMs = 0;
    const credit = new Credit({ bytesPerInterval: 20_000, intervalUsec: 20_000 }, () => nowMs);
    let sent = 0;
    for (nowMs = 0; nowMs < 1000; nowMs++) while (credit.waitMs() === 0) { credit.spend(60_000); sent += 60_000; }
    expect(sent).toBeGreaterThanOrEqual(960_000);
    expect(sent).toBeLessThanOrEqual(1_080_000);
    nowMs += 60_000;
    let burst = 0;
    while (credit.waitMs() === 0) { credit.spend(1000); burst += 1000; }
    expect(burst).toBeLessThanOrEqual(41_000);
  });

  test('a guest over its rate goes on later, with nothing lost', async () => {
    const world = new NetWorld(), a = await world.guest(1, { rate: { bytesPerInterval: 1000, intervalUsec: 1000 } }), b = await world.guest(2);
    b.post(100);
    for (let i = 0; i < 20; i++) a.send(tcpFrame(1, 2, pattern(1000)), { blank: true });
    let got = 0;
    await expect.poll(async () => got += (await b.receive()).length, { timeout: 10_000 }).toBe(20);
    expect(a.open.info()['throttled']).toBeGreaterThan(0);
  });
});

describe('hashing', () => {
  test('Toeplitz gives the published values', () => {
    const key = Uint8Array.from(Buffer.from('6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa', 'hex'));
    // 66.9.149.187:2794 -> 161.142.100.80:1766
    const addresses = [66, 9, 149, 187, 161, 142, 100, 80], ports = [2794 >> 8, 2794 & 255, 1766 >> 8, 1766 & 255];
    expect(toeplitz(key, Uint8Array.from(addresses))).toBe(0x323e8fc2);
    expect(toeplitz(key, Uint8Array.from([...addresses, ...ports]))).toBe(0x51ccc178);
  });

  test('set up over the control ring, it comes with each frame', async () => {
    const { world, a, b } = await pair();
    const ring = b.control(ctrlRequest.bytes);
    await b.setKeys({ state: '6' });
    await b.setKeys({ state: '1' });
    await b.connect(b.controlKeys);
    b.post(100);
    b.send(broadcast(2));
    const keyRef = b.page(Uint8Array.from({ length: 40 }, (_, i) => i + 1));
    const ask = (type: number, ...data: number[]): number[] => {
      const entry = new DataView(new ArrayBuffer(ctrlRequest.bytes));
      entry.setUint16(ctrlRequest.id, 5, true);
      entry.setUint16(ctrlRequest.type, type, true);
      data.forEach((d, i) => entry.setUint32(ctrlRequest.data + 4 * i, d, true));
      ring.request(new Uint8Array(entry.buffer));
      ring.push();
      world.hypervisor.fire(2, CTRL_PORT);
      const v = new DataView(ring.take()!.buffer);
      expect([v.getUint16(ctrlResponse.id, true), v.getUint16(ctrlResponse.type, true)]).toEqual([5, type]);
      return [v.getUint32(ctrlResponse.status, true), v.getUint32(ctrlResponse.data, true)];
    };
    expect(ask(1)).toEqual([1, 0]);
    expect([ask(7, 9), ask(7, 1), ask(1), ask(2, 0x10), ask(2, 2)].map(r => r[0])).toEqual([2, 0, 0, 2, 0]);
    expect([ask(3, keyRef, 41), ask(3, 999, 40), ask(3, keyRef, 40)].map(r => r[0])).toEqual([3, 2, 0]);
    expect(ask(4)[1]).toBeGreaterThan(0);
    expect([ask(5, 1000), ask(5, 4), ask(6, b.page(new Uint8Array(16).fill(1)), 4, 0), ask(6, b.page(new Uint8Array(16)), 5, 0), ask(6, b.page(new Uint8Array(16)), 0xffff_ffff, 0xffff_ffff), ask(6, b.page(new Uint8Array(16)), 4, 0), ask(77)].map(r => r[0])).toEqual([2, 0, 2, 3, 3, 0, 1]);
    const frame = tcpFrame(1, 2, pattern(10));
    a.send(frame, { blank: true });
    const [got] = await b.receive();
    const input = Uint8Array.from([...frame.subarray(26, 34), ...frame.subarray(34, 38)]);
    expect(got!.hash).toEqual({ type: 1, value: toeplitz(Uint8Array.from({ length: 40 }, (_, i) => i + 1), input) });
    expect(Buffer.compare(got!.bytes, frame)).toBe(0);
  });
});

/** The folded sum of 16-bit words. */
function onesSum(b: Uint8Array, from: number, to: number, start = 0): number {
  let sum = start;
  for (let i = from; i < to; i += 2) sum += b[i]! << 8 | (i + 1 < to ? b[i + 1]! : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}
/** With pseudo-header: 0xffff if the checksum is right. */
function tcpSum(b: Uint8Array, version: 4 | 6): number {
  const at = version === 4 ? 34 : 54, addresses = version === 4 ? onesSum(b, 26, 34) : onesSum(b, 22, 54);
  return onesSum(b, at, b.length, addresses + 6 + b.length - at);
}

