import { spawnSync } from 'node:child_process';
import { Writable } from 'node:stream';
import { expect, it } from 'vitest';
import { parseAddress, parseMac } from '../../net/packet/address.ts';
import { arpFrame } from '../../net/packet/arp.ts';
import { udpFrame } from '../../net/packet/udp.ts';
import { Switch } from '../switch/switch.ts';
import { capture } from './index.ts';
import { pcapPacket } from './pcap.ts';

const A = parseMac('00:16:3e:00:00:01')!, B = parseMac('00:16:3e:00:00:02')!, C = parseMac('00:16:3e:00:00:03')!;
const IP = parseAddress('10.0.2.15')!;
const datagram = (from: Uint8Array, to: Uint8Array): Uint8Array => udpFrame({ sourceMac: from, destinationMac: to, source: IP, destination: IP }, 1000, 2000, Buffer.from('hello'));
const arp = arpFrame(new Uint8Array(6).fill(255), { operation: 1, senderMac: C, senderIp: IP, targetMac: new Uint8Array(6), targetIp: IP });

function frames(b: Buffer): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 24; at < b.length; at += 16 + b.readUInt32LE(at + 8)) out.push(b.subarray(at + 16, at + 16 + b.readUInt32LE(at + 8)));
  return out;
}

function captured(of?: string): Buffer {
  const bridge = new Switch('x'), chunks: Buffer[] = [], out = new Writable({ write: (chunk: Buffer, _encoding, done) => { chunks.push(chunk); done(); } }), { stop, counters } = capture(bridge, out, of);
  const a = bridge.attach({ name: 'vif1.0', deliver: () => {} }), b = bridge.attach({ name: 'vif2.0', deliver: () => {} }), c = bridge.attach({ name: 'user', deliver: () => {} });
  const blank = datagram(A, B);
  blank.fill(0, 40, 42);
  a.send({ bytes: blank, checksum: 'blank' });
  b.send({ bytes: datagram(B, A), checksum: 'complete' });
  b.send({ bytes: datagram(B, C), checksum: 'complete' });
  c.send({ bytes: arp, checksum: 'complete' });
  stop();
  a.send({ bytes: blank, checksum: 'blank' });
  expect(counters.dropped).toBe(0);
  while (out.writableCorked > 0) out.uncork();
  return Buffer.concat(chunks);
}

it('a bridge: every frame once, with the checksum a wire would show', () => {
  const all = frames(captured());
  expect(all.map(f => f.length)).toEqual([47, 47, 47, 42]);
  expect(all[0]!.equals(datagram(A, B))).toBe(true);
});
it('an interface: what it sends, and what the switch gives it', () => {
  const own = frames(captured('vif1.0'));
  expect(own.map(f => f.toString('hex'))).toEqual([datagram(A, B), datagram(B, A), datagram(B, C), arp].map(f => Buffer.from(f).toString('hex')));
});
it('an interface: nothing of other VLANs, and tags as its guest sees them', () => {
  const bridge = new Switch('x'), chunks: Buffer[] = [], out = new Writable({ write: (chunk: Buffer, _encoding, done) => { chunks.push(chunk); done(); } });
  const ten = bridge.attach({ name: 'vif1.0', deliver: () => {} }, { vlan: { untagged: 10 } }), twenty = bridge.attach({ name: 'vif2.0', deliver: () => {} }, { vlan: { untagged: 20 } });
  const trunk = bridge.attach({ name: 'vif3.0', deliver: () => {} }, { vlan: { tagged: [10, 20] } }), { stop } = capture(bridge, out, 'vif1.0');
  const tagged = (vlan: number): Uint8Array => Uint8Array.of(...arp.subarray(0, 12), 0x81, 0, 0, vlan, ...arp.subarray(12));
  ten.send({ bytes: datagram(A, B), checksum: 'complete' });
  twenty.send({ bytes: arp, checksum: 'complete' });
  for (const vlan of [20, 10]) trunk.send({ bytes: tagged(vlan), checksum: 'complete' });
  stop();
  ten.send({ bytes: datagram(A, B), checksum: 'complete' });
  while (out.writableCorked > 0) out.uncork();
  expect(frames(Buffer.concat(chunks)).map(f => f.toString('hex'))).toEqual([datagram(A, B), arp].map(f => Buffer.from(f).toString('hex')));
});
it('stamps are nanoseconds', () => {
  const b = pcapPacket(1_700_000_000_123.456, new Uint8Array(3));
  expect([b.readUInt32LE(0), b.readUInt32LE(4) - 123_456_000 < 1000, b.length]).toEqual([1_700_000_000, true, 19]);
});
const tcpdump = spawnSync('tcpdump', ['--version']).status === 0;
if (!tcpdump) process.stderr.write('SKIPPED: captures read by tcpdump itself: it is not installed\n');
it.skipIf(!tcpdump)('tcpdump reads it', () => {
  const { stdout, status } = spawnSync('tcpdump', ['-n', '-e', '-vv', '-r', '-'], { input: captured(), encoding: 'utf8' });
  expect(status).toBe(0);
  expect(stdout).toContain('[udp sum ok]');
  expect(stdout).toContain('who-has 10.0.2.15');
  expect(stdout).not.toMatch(/bad|truncated|malformed/i);
});
