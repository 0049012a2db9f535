// Two network stacks on one wire that loses, repeats and reorders frames, in a time of its own; and one against nonsense.
import { expect, test } from 'vitest';
import { put16, put32, u32 } from '../../net/packet/bytes.ts';
import { dnsAddresses, dnsQuestion, answers } from '../../net/packet/dns.ts';
import { parseDhcpReply } from '../../net/packet/dhcp.ts';
import { IPPROTO_TCP } from '../../net/packet/ip.ts';
import type { Frame } from '../../net/packet/frame.ts';
import { ACK, FIN, RST, SYN } from '../../net/packet/tcp.ts';
import { ipFrame } from '../../net/packet/udp.ts';
import { fuzz, Random } from '../../test/fuzz/random.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Device } from './interface.ts';
import { addressOf, bytesOf, maskOf } from './ipv4.ts';
import { Stack } from './stack.ts';
import type { TcpSocket } from './tcp-socket.ts';

const MS = 1_000_000n, A = addressOf('10.0.0.1')!, B = addressOf('10.0.0.2')!, QUEUE_FRAMES = 64;

/** A world in steps of a millisecond. */
class World {
  nowNs = 1n;
  readonly random: Random;
  readonly #work: (() => void)[] = [];
  readonly #alarms: { atNs: bigint; work: () => void }[] = [];
  readonly stacks = new Map<number, Stack>();
  readonly devices: WireEnd[] = [];
  constructor(seed: number) { this.random = new Random(seed); }

  add(address: number): Stack {
    const later = (work: () => void): void => { this.#work.push(work); };
    const kernel = {
      vcpu: { randomBytes: (b: Uint8Array) => { b.set(this.random.bytes(b.length)); } }, clock: { systemNs: () => this.nowNs },
      events: { later, isBusy: false, waitFor: (done: () => boolean, untilNs: bigint) => { while (!done() && this.nowNs < untilNs) this.step(); return done(); } },
      alarms: { after: (ms: number, work: () => void) => { this.#alarms.push({ atNs: this.nowNs + BigInt(Math.ceil(ms)) * MS, work }); return () => {}; } },
    } as unknown as Kernel;
    const device = new WireEnd(Uint8Array.of(2, 0, 0, 0, 0, address & 255));
    this.devices.push(device);
    const stack = new Stack(kernel, device);
    stack.configure({ address, mask: maskOf(24), router: 0, resolvers: [], mtu: 1500 });
    this.stacks.set(address, stack);
    return stack;
  }
  /** @returns whether something happened */
  step(): void {
    this.nowNs += MS;
    for (const alarm of this.#alarms.filter(a => a.atNs <= this.nowNs)) { this.#alarms.splice(this.#alarms.indexOf(alarm), 1); alarm.work(); }
    for (const from of this.devices) {
      const frames = from.sent.splice(0);
      for (const frame of frames) for (const to of this.devices) if (to !== from) this.pass(frame, to);
      if (frames.length > 0) from.onRoom();
    }
    for (let work = this.#work.shift(); work; work = this.#work.shift()) work();
  }
  pass(frame: Frame, to: WireEnd): void { to.give(frame); }
  run(isDone: () => boolean, ms: number): void { for (let n = 0; n < ms && !isDone(); n++) this.step(); expect(isDone()).toBe(true); }
}
class WireEnd implements Device {
  readonly mac: Uint8Array;
  readonly sent: Frame[] = [];
  readonly #received: Frame[] = [];
  onReceive = (): void => {};
  onRoom = (): void => {};
  onLink: (isUp: boolean) => void = () => {};
  constructor(mac: Uint8Array) { this.mac = mac; }
  get room(): number { return QUEUE_FRAMES - this.sent.length; }
  send(frame: Frame): void { if (this.room > 0) this.sent.push({ ...frame, bytes: frame.bytes.slice() }); }
  /** A frame is gone when the call returns, as its buffer is used again. */
  take(handle: (frame: Frame) => void): void { for (const frame of this.#received.splice(0)) { handle(frame); frame.bytes.fill(0xee); } }
  give(frame: Frame): void { this.#received.push({ ...frame, bytes: frame.bytes.slice() }); this.onReceive(); }
}
class LossyWorld extends World {
  readonly #late: { frame: Frame; to: WireEnd }[] = [];
  override pass(frame: Frame, to: WireEnd): void {
    const { random } = this;
    if (random.chance(20)) return;
    if (random.chance(20)) super.pass(frame, to);
    if (random.chance(10)) this.#late.push({ frame, to }); else super.pass(frame, to);
    if (random.chance(3)) for (const late of this.#late.splice(0)) super.pass(late.frame, late.to);
  }
}
function pair(world: World): { caller: TcpSocket; called: TcpSocket } {
  const a = world.add(A), b = world.add(B), listener = b.tcp.listen(80, 4), caller = a.tcp.connect(B, 80, 0);
  world.run(() => listener.hasConnection, 20_000);
  const called = listener.accept()!;
  listener.close();
  return { caller, called };
}
const content = (count: number): Uint8Array => Uint8Array.from({ length: count }, (_, i) => i * 7 + (i >> 9));

test.each([['a good wire', World, 4_000_000], ['one that loses, repeats and reorders', LossyWorld, 400_000]] as const)('both ways at once over %s, each end by itself', (_, Kind, bytes) => {
  const world = new Kind(7), { caller, called } = pair(world), data = content(bytes), got = [new Uint8Array(bytes), new Uint8Array(bytes)], at = [0, 0], sent = [0, 0];
  const ends = [caller, called];
  world.run(() => {
    ends.forEach((socket, i) => {
      if (sent[i]! < bytes) { if (socket.canWrite) sent[i]! += socket.send(data.subarray(sent[i], sent[i]! + 100_000)); } else socket.endWriting();
      // One of them reads slowly: its window closes.
      at[i]! += socket.read(got[i]!.subarray(at[i], at[i]! + (i === 0 ? 1_000_000 : 20_000)));
    });
    return ends.every((socket, i) => at[i] === bytes && socket.atEnd);
  }, 600_000);
  for (const all of got) expect(Buffer.compare(all, data)).toBe(0);
  world.run(() => [...world.stacks.values()].every(s => s.tcp.count === 0), 10_000);
});
test('a wire that goes and comes back: connections wait, calls are not answered, and neighbours are asked for anew', () => {
  const world = new World(3), { caller, called } = pair(world), [device] = world.devices, a = world.stacks.get(A)!;
  let isUp = false;
  const pass = world.pass.bind(world);
  world.pass = (frame, to) => { if (isUp) pass(frame, to); };
  device!.onLink(false);
  caller.send(content(1000));
  const nowhere = a.tcp.connect(B, 81, 0);
  world.run(() => nowhere.destroyed, 10_000);
  expect([nowhere.failure, caller.destroyed, called.unreadBytes]).toEqual(['unreachable', false, 0]);
  isUp = true;
  device!.onLink(true);
  world.run(() => called.unreadBytes === 1000, 60_000);
  const refused = a.tcp.connect(B, 81, 0);
  world.run(() => refused.destroyed, 10_000);
  expect([refused.failure, a.lease?.address]).toEqual(['refused', A]);
});
test('a port where nobody listens refuses, a host that is not there is not reached', () => {
  const world = new World(1), a = world.add(A);
  world.add(B);
  const refused = a.tcp.connect(B, 81, 0), nowhere = a.tcp.connect(addressOf('10.0.0.9')!, 80, 0), outside = a.tcp.connect(addressOf('11.0.0.9')!, 80, 0);
  world.run(() => refused.destroyed && nowhere.destroyed && outside.destroyed, 10_000);
  expect([refused, nowhere, outside].map(s => s.failure)).toEqual(['refused', 'unreachable', 'unreachable']);
});
test('what was not read is answered by a reset; a closed end does not wait for ever', () => {
  const world = new World(2), { caller, called } = pair(world);
  caller.send(content(1000));
  world.run(() => called.unreadBytes === 1000, 1000);
  called.close();
  world.run(() => caller.destroyed, 1000);
  expect(caller.failure).toBe('reset');
  const again = pair(new World(3)), other = again.caller;
  expect(other.connected).toBe(true);
  const quiet = new World(4), ends = pair(quiet), stack = quiet.stacks.get(A)!;
  stack.tcp.orphan(ends.caller);
  quiet.run(() => stack.tcp.count === 0, 70_000);
});
test('a backlog and a table have an end', () => {
  const world = new World(5), a = world.add(A), b = world.add(B), listener = b.tcp.listen(80, 3), sockets = Array.from({ length: 8 }, () => a.tcp.connect(B, 80, 0));
  for (let n = 0; n < 100; n++) world.step();
  expect(sockets.filter(s => s.connected).length).toBe(3);
  for (let n = 0; n < 3; n++) expect(listener.accept()?.connected).toBe(true);
  world.run(() => sockets.filter(s => s.connected).length >= 6, 5000);
  expect(() => { for (let n = 0; n < 2000; n++) a.tcp.connect(B, 81, 0); }).toThrow('too many');
});
test('to itself', () => {
  const world = new World(6), a = world.add(A), listener = a.tcp.listen(80, 1), caller = a.tcp.connect(A, 80, 0);
  world.run(() => listener.hasConnection && caller.connected, 100);
  caller.send(content(50_000));
  const called = listener.accept()!, got = new Uint8Array(50_000);
  let at = 0;
  world.run(() => { at += called.read(got.subarray(at)); return at === got.length; }, 1000);
  expect(Buffer.compare(got, content(50_000))).toBe(0);
});

test('fuzz: segments of any kind at a connection and a listener neither throw nor leave anything', () => {
  fuzz(random => {
    const world = new World(random.u32()), { caller, called } = pair(world), { own, ownPort, peer, peerPort } = called.connection.ends, wire = world.devices[1]!, ends = { sourceMac: world.devices[0]!.mac, destinationMac: wire.mac, source: peer, destination: own };
    const listener = world.stacks.get(B)!.tcp.listen(90, 2);
    called.send(content(3000));
    for (let n = 0; n < 60; n++) {
      const segment = new Uint8Array(20 + 4 * random.below(11) + (random.chance(3) ? random.below(1400) : 0));
      segment.set(random.bytes(segment.length));
      put16(segment, 0, random.chance(4) ? random.u32() & 0xffff : peerPort);
      put16(segment, 2, random.chance(4) ? 90 : ownPort);
      if (!random.chance(3)) put32(segment, 4, (called.connection.heldBytes + random.edge()) >>> 0);
      segment[12] = random.chance(5) ? random.u32() & 255 : 0x50 + 16 * random.below(6);
      segment[13] = random.chance(3) ? random.u32() & 0x3f : random.pick([SYN, ACK, FIN | ACK, SYN | ACK, ACK, RST]);
      wire.give({ bytes: ipFrame(ends, IPPROTO_TCP, segment, 16), checksum: random.chance(9) ? 'complete' : 'valid' });
      const junk = random.bytes(random.below(90));
      if (random.chance(5)) wire.give({ bytes: junk, checksum: 'complete' });
      for (let k = random.below(5); k > 0; k--) world.step();
      called.canRead && !called.failure && called.read(new Uint8Array(random.below(3000)));
      listener.accept()?.close();
    }
    called.close(); caller.close(); listener.close();
    world.run(() => [...world.stacks.values()].every(s => s.tcp.count === 0), 400_000);
  }, 40);
});
test('fuzz: names and leases', () => {
  const question = dnsQuestion(7, 'a.example')!;
  const reply = Uint8Array.from([...question.subarray(0, 2), 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0, ...question.subarray(12), 0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 3, 1, 98, 0, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 1, 2, 3]);
  expect(answers(reply, 7, question, question.length)).toBe(true);
  expect(dnsAddresses(reply).map(b => u32(b, 0))).toEqual([addressOf('10.1.2.3')]);
  expect(bytesOf(addressOf('10.1.2.3')!)).toEqual(Uint8Array.of(10, 1, 2, 3));
  for (const name of ['', '.', 'a..b', 'x'.repeat(64), `${'abcdefgh.'.repeat(40)}x`]) expect(dnsQuestion(1, name)).toBeUndefined();
  fuzz(random => {
    const b = random.chance(2) ? reply.slice() : random.bytes(12 + random.below(80));
    for (let n = random.below(6); n > 0; n--) b[random.below(b.length)] = random.u32();
    for (const a of dnsAddresses(b.subarray(0, 12 + random.below(b.length - 11)))) expect(a.length).toBe(4);
    const d = random.bytes(240 + random.below(100));
    d[0] = 2; put32(d, 4, 5); put32(d, 236, 0x6382_5363);
    parseDhcpReply(d, 5);
  });
});
