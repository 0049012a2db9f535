// What a hostile guest can send into the user-mode network, and a hostile program into the uplink's stream.
import { expect, it } from 'vitest';
import { parseAddress, parseMac } from '../../net/packet/address.ts';
import { arpFrame } from '../../net/packet/arp.ts';
import { parseDhcp } from '../../net/packet/dhcp.ts';
import { dhcpv6Message, parseDhcpv6, parseIdentityAssociation, type Option } from '../../net/packet/dhcpv6.ts';
import { answers, parseDnsQuery } from '../../net/packet/dns.ts';
import { parseEthernet } from '../../net/packet/ethernet.ts';
import { icmpFrame, parseIcmp } from '../../net/packet/icmp.ts';
import { parseIp } from '../../net/packet/ip.ts';
import { neighborSolicitation, parseNdp } from '../../net/packet/ndp.ts';
import { FIN, parseTcp, parseTcpOptions, synOptions } from '../../net/packet/tcp.ts';
import { ipFrame, parseUdp, udpFrame } from '../../net/packet/udp.ts';
import { LIMIT_BYTES, World } from '../../net/tcp/test-world.ts';
import { MAX_FRAME_BYTES, type Frame } from '../../dom0/switch/port.ts';
import { Switch } from '../../dom0/switch/switch.ts';
import { framed, FrameReader } from '../../dom0/uplink/socket/stream.ts';
import { UserUplink } from '../../dom0/uplink/user/index.ts';
import { MAX_BYTES, MAX_PACKETS, Reassembly } from '../../dom0/uplink/user/reassembly.ts';
import { parseUserSettings } from '../../dom0/uplink/user/settings.ts';
import { fuzz, FUZZ_RUNS, FUZZ_SEED, Random } from './random.ts';

const MAC = parseMac('00:16:3e:00:00:01')!, GATEWAY_MAC = parseMac('52:55:0a:00:02:02')!;
const V4 = ['10.0.2.15', '10.0.2.2', '10.0.2.3', '10.0.2.255', '127.0.0.1', '0.0.0.0', '255.255.255.255', '224.0.0.1'].map(a => parseAddress(a)!);
const V6 = ['fd00::15', 'fd00::2', 'fd00::3', 'fe80::2', 'fe80::15', '::1', '::', 'ff02::1', '::ffff:127.0.0.1'].map(a => parseAddress(a)!);

/** A packet that was sound once. */
function packet(r: Random): Uint8Array {
  const list = r.chance(2) ? V4 : V6, ends = { sourceMac: MAC, destinationMac: r.chance(4) ? new Uint8Array(6).fill(255) : GATEWAY_MAC, source: r.pick(list), destination: r.pick(list) };
  const ports = [67, 53, 546, 547, 1, 65_535];
  let b: Uint8Array;
  switch (r.below(7)) {
    case 0: b = arpFrame(GATEWAY_MAC, { operation: r.below(3), senderMac: MAC, senderIp: r.pick(V4), targetMac: GATEWAY_MAC, targetIp: r.pick(V4) }); break;
    case 1: b = udpFrame(ends, r.below(65_536), r.pick(ports), r.bytes(r.below(400))); break;
    case 2: { const options = r.chance(2) ? synOptions(r.below(65_536), r.below(256)) : r.bytes(4 * r.below(10)), tcp = new Uint8Array(20 + options.length + r.below(100)); tcp.set(r.bytes(20)); tcp[12] = (20 + options.length) / 4 << 4; tcp[13] = r.pick([2, 16, 4, 1, 17, 18, 255, 0]); tcp.set(options, 20); b = ipFrame(ends, 6, tcp, 16); break; }
    case 3: b = icmpFrame(ends, Uint8Array.of(r.pick([8, 0, 3, 128, 133, 134, 135, 136]), r.below(3), ...r.bytes(6 + 8 * r.below(8))), 255); break;
    case 4: b = icmpFrame({ ...ends, source: r.pick(V6), destination: r.pick(V6) }, neighborSolicitation(r.pick(V6), MAC), 255); break;
    case 5: b = udpFrame({ ...ends, source: r.pick(V6), destination: r.pick(V6) }, 546, 547, dhcpv6Message(r.below(14), r.bytes(3), Array.from({ length: r.below(6) }, (): Option => [r.pick([1, 2, 3, 5, 14, r.below(30)]), r.bytes(r.pick([0, 12, 40, r.below(60)]))]))); break;
    default: b = r.bytes(r.below(200)); b.set(GATEWAY_MAC.subarray(0, Math.min(6, b.length)));
  }
  if (b.length > 14 && r.chance(2)) b[14 + r.below(b.length - 14)] = r.u32() & 0xff;
  return r.chance(6) ? b.subarray(0, r.below(b.length + 1)) : b;
}

it('parsers: nothing throws, and what is found lies inside the frame', () => {
  fuzz(r => {
    for (let i = 0; i < 50; i++) {
      const b = packet(r), verify = r.chance(3), ethernet = parseEthernet(b), ip = ethernet && parseIp(b, ethernet.at, ethernet.type);
      const raw = r.bytes(r.below(600));
      if (r.chance(2) && raw.length > 240) { raw.set([1, 1, 6]); raw.set([0x63, 0x82, 0x53, 0x63], 236); }
      parseDhcp(raw);
      parseDhcpv6(raw);
      parseIdentityAssociation(raw);
      const query = parseDnsQuery(raw);
      if (query) { expect(query.questionEnd).toBeLessThanOrEqual(raw.length); answers(r.bytes(20), query.id, raw, query.questionEnd); }
      if (!ip) continue;
      expect(ip.at).toBeLessThanOrEqual(ip.end);
      expect(ip.end).toBeLessThanOrEqual(b.length);
      const udp = parseUdp(b, ip, verify), tcp = parseTcp(b, ip, verify), icmp = parseIcmp(b, ip);
      for (const part of [udp, tcp, icmp]) if (part) { expect(part.at).toBeLessThanOrEqual(part.end); expect(part.end).toBeLessThanOrEqual(ip.end); }
      if (tcp) parseTcpOptions(b, tcp.optionsAt, tcp.at);
      if (icmp) parseNdp(b, ip, icmp);
    }
  });
});

it('the user-mode network: answers are sound frames, state stays bounded, and a sane guest is served afterwards', async () => {
  for (let seed = FUZZ_SEED; seed < FUZZ_SEED + Math.ceil(FUZZ_RUNS / 10); seed++) {
    const r = new Random(seed), bridge = new Switch('x'), uplink = await UserUplink.open(bridge, parseUserSettings('host-loopback=off,restrict=on,dns=127.0.0.1:1'));
    const answered: Frame[] = [], guest = bridge.attach({ name: 'guest', deliver: frame => { answered.push({ ...frame, bytes: frame.bytes.slice() }); } });
    try {
      for (let i = 0; i < 300; i++) {
        guest.send({ bytes: packet(r), checksum: r.pick(['complete', 'valid', 'blank']), ...r.chance(8) ? { gso: { type: 'tcpv4', size: r.below(3000) } } : {} });
        if (r.chance(20)) await new Promise(resolve => { setImmediate(resolve); });
      }
      for (const { bytes, checksum } of answered) {
        const ethernet = parseEthernet(bytes)!, ip = parseIp(bytes, ethernet.at, ethernet.type);
        if (ethernet.type === 0x0806) continue;
        expect(ip, `FUZZ_SEED=${seed} FUZZ_RUNS=1 repeats it`).toBeDefined();
        if (ip!.protocol === 17) expect(parseUdp(bytes, ip!, checksum === 'complete')).toBeDefined();
      }
      expect(uplink.tcp.count + uplink.udp.count).toBe(0);
      answered.length = 0;
      guest.send({ bytes: arpFrame(new Uint8Array(6).fill(255), { operation: 1, senderMac: MAC, senderIp: V4[0]!, targetMac: new Uint8Array(6), targetIp: V4[1]! }), checksum: 'complete' });
      expect(answered.length, `FUZZ_SEED=${seed} FUZZ_RUNS=1 repeats it`).toBe(1);
    } finally { uplink.close(); }
  }
});

it('one TCP connection: any segments at any time; what it holds is bounded, what it sends is sound, and silence ends it', () => {
  fuzz(r => {
    const world = new World(), { connection, user } = world;
    let ended = false, longest = 0;
    for (let i = 0; i < 150 && !world.removed; i++) {
      const last = world.sent.at(-1)!, options = r.chance(8) ? r.bytes(4 * r.below(10)) : new Uint8Array(0), packet = new Uint8Array(20 + options.length + (r.chance(2) ? r.below(1460) : r.below(3)));
      packet.set(r.bytes(packet.length));
      const near = (value: number): number => r.chance(20) ? r.edge() : value + r.pick([0, 0, 0, 1, -1, 500, -500, r.below(70_000) - 35_000]), v = new DataView(packet.buffer);
      v.setUint32(4, near(last.acknowledgement));
      v.setUint32(8, near(last.sequence + last.end - last.at));
      packet[12] = (20 + options.length) / 4 << 4;
      packet[13] = r.pick([16, 16, 16, 16, 24, 17, 18, 2, r.chance(4) ? 4 : 16, r.chance(8) ? r.below(256) : 16]);
      v.setUint16(14, r.pick([0, 1, 100, 1000, 65_535]));
      world.any(packet);
      if (r.chance(3)) user.take();
      if (!ended && r.chance(3) && !connection.pauseUser()) { connection.fromUser(r.bytes(r.below(9000))); world.turn(); }
      if (!ended && r.chance(60)) { ended = true; connection.userEnded(); world.turn(); }
      if (r.chance(5)) { world.now += r.pick([10, 400, 70_000]); connection.tick(world.now); world.turn(); }
      longest = Math.max(longest, connection.heldBytes);
    }
    // The user may be given a whole window, and give one and a piece more; the memory for that is a power of two.
    expect(longest).toBeLessThanOrEqual(LIMIT_BYTES + 2 * (LIMIT_BYTES + 9000));
    for (const segment of world.sent) expect(segment).toBeDefined();
    expect(new Set(world.sent.filter(segment => segment.flags & FIN).map(segment => segment.sequence)).size).toBeLessThanOrEqual(1);
    connection.fromUser(new Uint8Array(10));
    world.turn();
    for (let n = 0; n < 40 && !world.removed; n++) { world.now += 61_000; connection.tick(world.now); world.turn(); }
    expect([connection.state, user.destroyed]).toEqual(['closed', true]);
    const count = world.sent.length;
    world.any(new Uint8Array(20).fill(16));
    expect(world.sent.length).toBe(count);
  });
});

it('fragments: bounded whatever comes; whole packets are as they were', () => {
  fuzz(r => {
    const reassembly = new Reassembly();
    for (let i = 0; i < 200; i++) {
      const b = new Uint8Array(60), bytes = 8 * r.below(4) + (r.chance(4) ? r.below(8) : 0), at = 40;
      b.set(r.bytes(2), 0);
      const whole = reassembly.add(r.chance(9) ? new Uint8Array(2000) : b, {
        version: 4, headerAt: 14, sourceAt: 26, destinationAt: 30, addressBytes: 4, protocol: r.below(3), at, end: Math.min(60, at + bytes), hopLimit: 1,
        fragment: { id: r.below(r.pick([2, 500])), offsetBytes: 8 * r.below(r.pick([4, 8192])), more: r.chance(2) },
      }, i * r.below(200));
      expect(reassembly.packetCount).toBeLessThanOrEqual(MAX_PACKETS);
      expect(reassembly.heldBytes).toBeLessThanOrEqual(MAX_BYTES);
      if (whole) expect(whole.ip.end).toBe(whole.bytes.length);
    }
  });
});

it('the stream: any bytes in any pieces give the same frames, none longer than frames are', () => {
  fuzz(r => {
    const frames = Array.from({ length: 1 + r.below(10) }, () => r.bytes(1 + r.below(300))), stream = Buffer.concat(frames.map(framed));
    if (r.chance(3)) stream[r.below(stream.length)] = r.u32() & 0xff;
    const whole: string[] = [], pieces: string[] = [];
    const see = (list: string[]) => (b: Uint8Array): void => { expect(b.length).toBeLessThanOrEqual(MAX_FRAME_BYTES); list.push(Buffer.from(b).toString('hex')); };
    const sound = new FrameReader(see(whole)).feed(stream), reader = new FrameReader(see(pieces));
    let alive = true;
    for (let at = 0; at < stream.length && alive;) { const n = 1 + r.below(50); alive = reader.feed(stream.subarray(at, at + n)); at += n; }
    expect(pieces).toEqual(whole);
    expect(alive).toBe(sound);
  });
});
