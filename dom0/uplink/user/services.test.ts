// Services of the user-mode network beside its TCP and DHCP: echoes, IPv6 neighbours, forwards of both kinds and both
// versions, names over TCP, and how guests share what there is.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { formatAddress, parseAddress, parseMac } from '../../../net/packet/address.ts';
import { icmpFrame, parseIcmp } from '../../../net/packet/icmp.ts';
import { IPPROTO_ICMPV6, parseIp, type Ip } from '../../../net/packet/ip.ts';
import { multicastMac, ND_NEIGHBOR_SOLICIT, ND_ROUTER_SOLICIT, neighborAdvertisement, neighborSolicitation, parseNdp, solicitedNode } from '../../../net/packet/ndp.ts';
import { parseEthernet } from '../../../net/packet/ethernet.ts';
import { Switch } from '../../switch/switch.ts';
import { sharesOf } from './descriptors.ts';
import { MAX_PER_GUEST } from './echo.ts';
import { UserUplink } from './index.ts';
import { MAX_PACKETS, Reassembly } from './reassembly.ts';
import { parseUserSettings } from './settings.ts';
import { TcpTable } from './tcp.ts';
import { TestGuest } from './test-guest.ts';

const ip = (text: string): Uint8Array => parseAddress(text)!, mac = (text: string): Uint8Array => parseMac(text)!;
const GUEST6 = ip('fd00::15'), GATEWAY = ip('10.0.2.2'), GATEWAY6 = ip('fd00::2'), ROUTER = ip('fe80::2'), NEIGHBOR_ADVERT = 136, ROUTER_ADVERT = 134;
const closers: (() => void)[] = [];
afterEach(() => { for (const close of closers.splice(0).reverse()) close(); });
const pause = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms); });
const until = async (what: () => boolean): Promise<void> => { while (!what()) await pause(2); };

async function network(options: string, ...addresses: string[]): Promise<{ uplink: UserUplink; guest: TestGuest; other: TestGuest }> {
  const bridge = new Switch('x'), uplink = await UserUplink.open(bridge, parseUserSettings(options));
  closers.push(() => uplink.close());
  const guests = addresses.map((address, i) => {
    const guest = new TestGuest({ mac: mac(`00:16:3e:00:00:0${i + 1}`), address: ip(address), gatewayMac: uplink.mac });
    guest.attachment = bridge.attach(guest);
    return guest;
  });
  return { uplink, guest: guests[0]!, other: guests[1]! };
}

/** A `ping` that answers for what ends in .1. */
function fakePing(): void {
  const dir = mkdtempSync(join(tmpdir(), 'xenolith-ping-')), before = process.env['PATH'];
  writeFileSync(join(dir, 'ping'), `#!/bin/sh\nfor last; do :; done\ncase $last in *.1) exit 0;; *) sleep 1; exit 1;; esac\n`);
  chmodSync(join(dir, 'ping'), 0o755);
  process.env['PATH'] = `${dir}${delimiter}${before ?? ''}`;
  closers.push(() => { process.env['PATH'] = before; rmSync(dir, { recursive: true }); });
}
const echoed = (guest: TestGuest): number[] => {
  const sequences: number[] = [];
  guest.onFrame = (b, at) => { const icmp = at?.protocol === 1 ? parseIcmp(b, at) : undefined; if (icmp?.type === 0) sequences.push(b[at!.at + 7]!); };
  return sequences;
};
function echo(guest: TestGuest, to: string, sequence: number): void {
  const { mac: own, address, gatewayMac } = guest.options;
  guest.send(icmpFrame({ sourceMac: own, destinationMac: gatewayMac, source: address, destination: ip(to) }, Uint8Array.of(8, 0, 0, 0, 1, 1, 0, sequence, 5, 5), 64));
}

it('echoes: the gateway answers by itself, the world as the host\'s ping says; one guest does not take all of it', async () => {
  fakePing();
  const { guest: greedy, other } = await network('', '10.0.2.15', '10.0.2.16'), mine = echoed(greedy), theirs = echoed(other);
  echo(greedy, '10.0.2.2', 1);
  await until(() => mine.length === 1);
  for (let n = 0; n < 3 * MAX_PER_GUEST; n++) echo(greedy, '192.0.2.77', 100 + n);
  echo(greedy, '192.0.2.1', 2);
  echo(other, '192.0.2.1', 3);
  await until(() => theirs.length === 1);
  expect([mine, theirs]).toEqual([[1], [3]]);
  await pause(1500);
  echo(greedy, '192.0.2.1', 4);
  await until(() => mine.length === 2);
  expect(mine).toEqual([1, 4]);
});

/** Answers neighbour solicitations for itself; hands on what else of ICMPv6 comes. */
function speaksNdp(guest: TestGuest, more: (b: Uint8Array, at: Ip) => void = () => {}): void {
  const { mac: own, address, gatewayMac } = guest.options;
  guest.onFrame = (b, at) => {
    if (at?.protocol !== IPPROTO_ICMPV6) return;
    const icmp = parseIcmp(b, at), ndp = icmp && parseNdp(b, at, icmp);
    if (ndp?.type === ND_NEIGHBOR_SOLICIT && Buffer.compare(ndp.target!, address) === 0) guest.send(icmpFrame({ sourceMac: own, destinationMac: gatewayMac, source: address, destination: ROUTER }, neighborAdvertisement(address, own, true), 255));
    else more(b, at);
  };
}

it('IPv6: a solicited router advertises prefix, MTU and name server; its addresses, a guestfwd\'s too, have its Ethernet address', async () => {
  const { guest, uplink } = await network('mtu=1400,guestfwd=tcp:[fd00:0::0:99]:80-127.0.0.1:1', 'fd00::15'), { mac: own } = guest.options;
  const got: { type: number; bytes: Uint8Array; from: string }[] = [];
  speaksNdp(guest, (b, at) => got.push({ type: b[at.at]!, bytes: b.slice(at.at, at.end), from: formatAddress(b, at.sourceAt, 16) }));
  const routers = ip('ff02::2'), solicit = Uint8Array.of(ND_ROUTER_SOLICIT, 0, 0, 0, 0, 0, 0, 0, 1, 1, ...own);
  guest.send(icmpFrame({ sourceMac: own, destinationMac: multicastMac(routers), source: ip('fe80::15'), destination: routers }, solicit, 255));
  await until(() => got.length === 1);
  const [advert] = got as [typeof got[0]], v = new DataView(advert.bytes.buffer);
  expect([advert.type, advert.from, v.getUint32(28), advert.bytes[34], formatAddress(advert.bytes, 48, 16), formatAddress(advert.bytes, 72, 16)]).toEqual([ROUTER_ADVERT, 'fe80::2', 1400, 64, 'fd00::', 'fd00::3']);
  const found: string[] = [];
  for (const [text, hops] of [['fd00::2', 255], ['fd00::3', 255], ['fe80::2', 255], ['fd00::99', 255], ['fd00::77', 255], ['fd00::2', 64]] as const) {
    got.length = 0;
    const group = solicitedNode(ip(text));
    guest.send(icmpFrame({ sourceMac: own, destinationMac: multicastMac(group), source: GUEST6, destination: group }, neighborSolicitation(ip(text), own), hops));
    await pause(5);
    for (const { type, bytes } of got) if (type === NEIGHBOR_ADVERT) found.push(`${formatAddress(bytes, 8, 16)} ${Buffer.compare(bytes.subarray(26, 32), uplink.mac)}`);
  }
  // Not of strangers, and not of what came through a router (RFC 4861, 6.1).
  expect(found).toEqual(['fd00::2 0', 'fd00::3 0', 'fe80::2 0', 'fd00::99 0']);
});

it('forwards lead to IPv6 guests, too; a first datagram waits until the guest is found', async () => {
  const { guest, uplink } = await network('hostfwd=tcp:127.0.0.1:0-[fd00::15]:22,hostfwd=udp:[::1]:0-[fd00::15]:7', 'fd00::15');
  speaksNdp(guest);
  guest.onUdp = (b, at, payload) => guest.sendUdp(b.slice(at.sourceAt, at.sourceAt + 16), 7, b[at.at]! << 8 | b[at.at + 1]!, Buffer.from(`heard ${Buffer.from(payload).toString()}`));
  const client = createSocket('udp6'), got: string[] = [];
  closers.push(() => client.close());
  client.on('message', data => got.push(data.toString()));
  client.send('once', uplink.forwardedPorts[1]!, '::1');
  await until(() => got.length > 0);
  expect(got).toEqual(['heard once']);
  guest.onCall = tcp => { void tcp.opened.then(() => { tcp.write(Buffer.from('hello')); tcp.end(); }); };
  const socket = connect({ host: '127.0.0.1', port: uplink.forwardedPorts[0]! });
  const [data] = await once(socket, 'data') as [Buffer];
  expect([data.toString(), formatAddress([...guest.connections.values()][0]!.remote, 0, 16)]).toEqual(['hello', 'fd00::2']);
  socket.destroy();
});

it('a forwarded UDP port without an address is there for callers of both kinds', async () => {
  const { guest, uplink } = await network('hostfwd=udp::0-10.0.2.15:7', '10.0.2.15');
  guest.onUdp = (b, at, payload) => guest.sendUdp(GATEWAY, 7, b[at.at]! << 8 | b[at.at + 1]!, payload.slice());
  for (const [type, address] of [['udp4', '127.0.0.1'], ['udp6', '::1']] as const) {
    const client = createSocket(type);
    closers.push(() => client.close());
    client.send(`by ${type}`, uplink.forwardedPorts[0]!, address);
    expect(String((await once(client, 'message'))[0])).toBe(`by ${type}`);
  }
});

it('UDP over IPv6 goes to ::1 by the gateway\'s address, and comes back', async () => {
  const { guest } = await network('', 'fd00::15'), server = createSocket('udp6'), got: string[] = [];
  server.bind(0, '::1');
  await once(server, 'listening');
  closers.push(() => server.close());
  server.on('message', (data, from) => server.send(`echo ${data.toString()}`, from.port, from.address));
  guest.onUdp = (_b, _at, payload) => got.push(Buffer.from(payload).toString());
  guest.sendUdp(GATEWAY6, 4000, server.address().port, Buffer.from('six'));
  await until(() => got.length > 0);
  expect(got).toEqual(['echo six']);
});

it('names over TCP go to the resolver', async () => {
  const server = createServer({ allowHalfOpen: true }, socket => socket.on('data', (data: Buffer) => socket.end(Buffer.concat([data, Buffer.from('answered')]))).on('error', () => {})).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  for (const [address, to] of [['10.0.2.15', '10.0.2.3'], ['fd00::15', 'fd00::3']] as const) {
    const { guest } = await network(`dns=127.0.0.1:${(server.address() as AddressInfo).port}`, address);
    const tcp = guest.connect(ip(to), 53);
    await tcp.opened;
    tcp.write(Buffer.from('query '));
    await until(() => tcp.remoteEnded);
    expect(tcp.text()).toBe('query answered');
    tcp.end();
    await tcp.closed;
    const other = guest.connect(ip(to), 54);
    await other.opened;
    expect(other.state).toBe('reset');
  }
});

it('a guest\'s fragments that never become whole push out its own', () => {
  const reassembly = new Reassembly(), ALL = 3 * MAX_PACKETS;
  const part = (sender: number, id: number, offsetBytes: number, more: boolean): boolean => {
    const b = new Uint8Array(42);
    b[11] = sender;
    b[29] = sender;
    return reassembly.add(b, { version: 4, headerAt: 14, sourceAt: 26, destinationAt: 30, addressBytes: 4, protocol: 17, at: 34, end: 42, hopLimit: 64, fragment: { id, offsetBytes, more } }, 0) !== undefined;
  };
  expect(part(2, 7, 0, true)).toBe(false);
  for (let id = 0; id < ALL; id++) part(1, id, 0, true);
  expect(reassembly.packetCount).toBe(MAX_PACKETS);
  expect(part(2, 7, 8, false)).toBe(true);
  // Nor does another's fragment finish a packet.
  expect(part(1, ALL - 1, 8, false)).toBe(true);
  expect([part(1, 999, 0, true), part(3, 999, 8, false)]).toEqual([false, false]);
});

it('addresses that lead to the host are not given to guests', async () => {
  const { uplink } = await network('guestfwd=tcp:10.0.2.15:80-127.0.0.1:1');
  const b = new Uint8Array(300);
  b.set([1, 1, 6, 0, 1, 2, 3, 4]);
  b.set(mac('00:16:3e:00:00:01'), 28);
  b.set([0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255], 236);
  expect([...uplink.dhcp.answer(b, mac('00:16:3e:00:00:01'))!.payload.subarray(16, 20)]).toEqual([10, 0, 2, 16]);
});

it('guests leave the host descriptors, of few and of many', () => {
  const limits = (open: string): string => `Limit                     Soft Limit           Hard Limit           Units\nMax open files            ${open.padEnd(20)} ${open.padEnd(20)} files\n`;
  expect([sharesOf(limits('1024')), sharesOf(limits('1048576')), sharesOf(limits('unlimited')).connections, sharesOf('').connections]).toEqual([{ connections: 512, flows: 128, queries: 64 }, { connections: 1_044_480, flows: 131_072, queries: 65_536 }, Infinity, 512]);
});

it('with few descriptors, a guest that opens many connections leaves another its share', async () => {
  const server = createServer(socket => { closers.push(() => socket.destroy()); socket.on('error', () => {}); }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => server.close());
  const { guest: greedy, other, uplink } = await network('', '10.0.2.15', '10.0.2.16'), table = new TcpTable(uplink, { connections: 40, flows: 0, queries: 0 }), { port } = server.address() as AddressInfo;
  closers.push(() => table.close());
  for (const guest of [greedy, other]) {
    const attachment = guest.attachment;
    guest.attachment = { ...attachment, send: frame => { const ethernet = parseEthernet(frame.bytes)!; table.deliver(frame, parseIp(frame.bytes, ethernet.at, ethernet.type)!); attachment.send({ bytes: Uint8Array.of(...new Uint8Array(6).fill(255), ...guest.options.mac, 0x88, 0xb5), checksum: 'complete' }); } };
  }
  const many = Array.from({ length: 100 }, () => greedy.connect(GATEWAY, port));
  await Promise.all(many.map(tcp => tcp.opened));
  expect(many.filter(tcp => tcp.state === 'open').length).toBe(30);
  const few = Array.from({ length: 20 }, () => other.connect(GATEWAY, port));
  await Promise.all(few.map(tcp => tcp.opened));
  expect([few.filter(tcp => tcp.state === 'open').length, table.count]).toEqual([20, 40]);
});
