import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Random } from '../../../test/fuzz/random.ts';
import { formatAddress, parseAddress, parseMac } from '../../../net/packet/address.ts';
import {
  DHCPV6_ADVERTISE, DHCPV6_CONFIRM, DHCPV6_INFORMATION_REQUEST, DHCPV6_RELEASE, DHCPV6_REPLY, DHCPV6_REQUEST, DHCPV6_SOLICIT, dhcpv6Message, duidOf, identityAssociation,
  OPTION_CLIENTID, OPTION_DNS_SERVERS, OPTION_IA_NA, OPTION_RAPID_COMMIT, OPTION_SERVERID, OPTION_STATUS_CODE, parseDhcpv6, parseIdentityAssociation, STATUS_NOT_ON_LINK,
  type Dhcpv6, type Option,
} from '../../../net/packet/dhcpv6.ts';
import { writeEthernet } from '../../../net/packet/ethernet.ts';
import { writeIp } from '../../../net/packet/ip.ts';
import { FIN, parseTcp } from '../../../net/packet/tcp.ts';
import { udpFrame } from '../../../net/packet/udp.ts';
import { Switch } from '../../switch/switch.ts';
import { UserUplink } from './index.ts';
import { MAX_OPENING } from './tcp.ts';
import { parseUserSettings } from './settings.ts';
import { TestGuest, type TestTcp, type GuestOptions } from './test-guest.ts';

const ip = (text: string): Uint8Array => parseAddress(text)!, mac = (text: string): Uint8Array => parseMac(text)!;
const GUEST = ip('10.0.2.15'), GATEWAY = ip('10.0.2.2');
const closers: (() => void)[] = [];
afterEach(() => { for (const close of closers.splice(0).reverse()) close(); });

async function network(options: string = '', guestOptions: Partial<GuestOptions> = {}): Promise<{ uplink: UserUplink; guest: TestGuest; bridge: Switch }> {
  const bridge = new Switch('xenbr0'), uplink = await UserUplink.open(bridge, parseUserSettings(options));
  const guest = new TestGuest({ mac: mac('00:16:3e:00:00:01'), address: GUEST, gatewayMac: uplink.mac, ...guestOptions });
  guest.attachment = bridge.attach(guest);
  closers.push(() => uplink.close());
  return { uplink, guest, bridge };
}
async function serve(onSocket: (socket: Socket) => void, host = '127.0.0.1'): Promise<{ port: number; server: Server }> {
  const server = createServer({ allowHalfOpen: true }, socket => { socket.on('error', () => {}); closers.push(() => socket.destroy()); onSocket(socket); });
  server.listen(0, host);
  await once(server, 'listening');
  closers.push(() => server.close());
  return { port: (server.address() as AddressInfo).port, server };
}
const sha = (...parts: Uint8Array[]): string => { const hash = createHash('sha256'); for (const part of parts) hash.update(part); return hash.digest('hex'); };
const pause = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms); });
const until = async (what: () => boolean): Promise<void> => { while (!what()) await pause(2); };

describe('TCP out of a guest', () => {
  const cases: [string, Partial<GuestOptions>, number][] = [
    ['large packets', {}, 4_000_000],
    ['plain frames', { abilities: { blankChecksum: false, gsoV4: false, gsoV6: false } }, 4_000_000],
    ['frames lost and late', { abilities: { blankChecksum: false, gsoV4: false, gsoV6: false }, fate: (r => () => r.chance(40) ? 'lose' : r.chance(20) ? 'delay' : 'pass')(new Random(7)) }, 150_000],
  ];
  it.each(cases)('carries bytes both ways unchanged: %s', async (_name, options, byteCount) => {
    const { guest, uplink } = await network('', options), down = randomBytes(byteCount), up = randomBytes(byteCount), got: Buffer[] = [];
    let ended = false;
    const { port } = await serve(socket => {
      socket.on('data', (data: Buffer) => got.push(data));
      socket.on('end', () => { ended = true; });
      socket.end(down);
    });
    const tcp = guest.connect(GATEWAY, port);
    await tcp.opened;
    tcp.write(up);
    tcp.end();
    await tcp.got(byteCount);
    await until(() => ended);
    expect(sha(...tcp.received)).toBe(sha(down));
    expect(sha(...got)).toBe(sha(up));
    await tcp.closed;
    expect(tcp.remoteEnded && tcp.endTaken).toBe(true);
    // Only the late acknowledgements' keeper is left, and goes.
    await until(() => uplink.tcp.count === 0);
  });

  it('each end may close its half while the other goes on', async () => {
    const { guest } = await network();
    let got = '', server: Socket | undefined;
    const { port } = await serve(socket => { server = socket; socket.on('data', data => { got += data.toString(); }); socket.on('end', () => socket.end(`after the end: ${got}`)); });
    const tcp = guest.connect(GATEWAY, port);
    await tcp.opened;
    tcp.write(Buffer.from('question'));
    tcp.end();
    await tcp.closed;
    expect(tcp.text()).toBe('after the end: question');
    server!.destroy();

    const second = await serve(socket => { socket.on('data', data => { got = data.toString(); }); socket.end('bye'); });
    const other = guest.connect(GATEWAY, second.port);
    await until(() => other.remoteEnded);
    other.write(Buffer.from('still here'));
    await until(() => got === 'still here');
    other.end();
    await other.closed;
    expect(other.text()).toBe('bye');
  });

  it('an end is sent once, however long the other half goes on', async () => {
    const { guest } = await network(), ends: number[] = [];
    guest.onFrame = (b, at) => { const segment = at?.protocol === 6 ? parseTcp(b, at, false) : undefined; if (segment && segment.flags & FIN) ends.push(segment.sequence); };
    let bytes = 0;
    const { port } = await serve(socket => { socket.on('data', data => { bytes += data.length; }); socket.end('bye'); }), tcp = guest.connect(GATEWAY, port);
    await until(() => tcp.remoteEnded);
    // Longer than what would be repeated is repeated after.
    for (let i = 0; i < 10; i++) { tcp.write(Buffer.from('x')); await pause(100); }
    await until(() => bytes === 10);
    expect(ends).toHaveLength(1);
    tcp.end();
    await tcp.closed;
  });

  it('resets go through, and nobody listening is a reset', async () => {
    const { guest, uplink } = await network();
    const sockets: Socket[] = [], errors: string[] = [];
    const { port, server } = await serve(socket => { sockets.push(socket); socket.on('error', error => errors.push((error as NodeJS.ErrnoException).code!)); });
    const first = guest.connect(GATEWAY, port);
    await first.opened;
    await until(() => sockets.length === 1);
    first.reset();
    await until(() => errors.length === 1);
    expect(errors).toEqual(['ECONNRESET']);
    const second = guest.connect(GATEWAY, port);
    await second.opened;
    await until(() => sockets.length === 2);
    sockets[1]!.resetAndDestroy();
    await until(() => second.state === 'reset');
    server.close();
    await once(server, 'close');
    const third = guest.connect(GATEWAY, port);
    await third.opened;
    expect(third.state).toBe('reset');
    expect(uplink.tcp.count).toBe(0);
  });

  it('a guest that takes nothing holds the host\'s sender, and gets everything once it takes again', async () => {
    const { guest, uplink } = await network(), data = randomBytes(24_000_000);
    let server: Socket | undefined;
    const { port } = await serve(socket => { server = socket; socket.end(data); });
    const tcp = guest.connect(GATEWAY, port);
    tcp.window = 8192;
    await tcp.opened;
    await until(() => tcp.receivedBytes > 8192);
    tcp.window = 0;
    tcp.update();
    await pause(1500);
    expect(server!.writableLength).toBeGreaterThan(0);
    expect(uplink.tcp.heldBytes).toBeLessThan(4 * 1024 * 1024);
    tcp.window = 256 * 1024;
    tcp.update();
    await tcp.got(data.length);
    expect(sha(...tcp.received)).toBe(sha(data));
  });

  it('a host that reads nothing closes the guest\'s window, and gets everything once it reads', async () => {
    const { guest, uplink } = await network(), data = randomBytes(8_000_000), got: Buffer[] = [];
    let server: Socket | undefined;
    const { port } = await serve(socket => { server = socket; socket.pause(); socket.on('data', (chunk: Buffer) => got.push(chunk)); socket.pause(); });
    const tcp = guest.connect(GATEWAY, port);
    await tcp.opened;
    tcp.write(data);
    await pause(500);
    expect(uplink.tcp.heldBytes).toBeLessThan(4 * 1024 * 1024);
    server!.resume();
    await tcp.drained();
    await until(() => got.reduce((n, b) => n + b.length, 0) === data.length);
    expect(sha(...got)).toBe(sha(data));
  });

  it('ten thousand connections are held in bounded memory; refused beyond a guest\'s share', async () => {
    const { guest, uplink } = await network();
    // In a process of its own: each end takes a descriptor.
    const child = spawn(process.execPath, ['-e', `require('net').createServer(s => { s.on('error', () => {}); s.write('hello'); }).listen({ port: 0, host: '127.0.0.1', backlog: 1000 }, function () { console.log(this.address().port); })`], { stdio: ['ignore', 'pipe', 'inherit'] });
    closers.push(() => child.kill());
    const port = Number(String((await once(child.stdout, 'data'))[0]));
    const open: TestTcp[] = [];
    for (let i = 0; i < 10_000; i++) {
      const tcp = guest.connect(GATEWAY, port);
      open.push(tcp);
      if (i % 200 === 199) await Promise.all(open.slice(-200).map(t => t.opened));
    }
    expect(uplink.tcp.count).toBe(10_000);
    await until(() => open.every(t => t.receivedBytes === 5));
    expect(uplink.tcp.heldBytes).toBeLessThan(10_000 * 5000);
    uplink.forgetGuest('00:16:3e:00:00:01');
    expect(uplink.tcp.count).toBe(0);
  });
});

describe('the rest of TCP', () => {
  it('over IPv6, to the host\'s own ::1', async () => {
    const { guest } = await network('', { address: ip('fd00::15') }), down = randomBytes(1_000_000), got: Buffer[] = [], gso: unknown[] = [];
    guest.onFrame = (_b, _at, frame) => { if (frame.gso) gso.push(frame.gso.type); };
    const { port } = await serve(socket => { socket.on('data', (data: Buffer) => got.push(data)); socket.end(down); }, '::1');
    const tcp = guest.connect(ip('fd00::2'), port);
    await tcp.opened;
    tcp.write(down);
    tcp.end();
    await tcp.closed;
    await until(() => got.reduce((n, b) => n + b.length, 0) === down.length);
    expect([sha(...tcp.received), sha(...got)]).toEqual([sha(down), sha(down)]);
    expect(new Set(gso)).toEqual(new Set(['tcpv6']));
  });

  it('a flood of calls to closed ports leaves nothing, and the next guest is served', async () => {
    const { guest, uplink, bridge } = await network(), { port: closed, server } = await serve(() => {});
    server.close();
    await once(server, 'close');
    for (let i = 0; i < 5000; i++) guest.connect(GATEWAY, closed);
    await pause(0);
    expect(uplink.tcp.count).toBeLessThanOrEqual(MAX_OPENING);
    const { port } = await serve(socket => socket.end('served')), other = new TestGuest({ mac: mac('00:16:3e:00:00:02'), address: ip('10.0.2.16'), gatewayMac: uplink.mac });
    other.attachment = bridge.attach(other);
    const tcp = other.connect(GATEWAY, port);
    await until(() => tcp.remoteEnded);
    for (const flood of guest.connections.values()) flood.abandon();
    tcp.end();
    await until(() => uplink.tcp.count === 0);
  });
});

describe('forwards', () => {
  it('lead from a port of the host\'s to the guest, which has to be found first', async () => {
    const { guest, uplink } = await network('hostfwd=tcp:127.0.0.1:0-:22');
    guest.onCall = tcp => { void tcp.opened.then(() => { tcp.write(Buffer.from('SSH-2.0-guest\r\n')); tcp.end(); }); };
    const socket = connect({ host: '127.0.0.1', port: uplink.forwardedPorts[0]!, allowHalfOpen: true });
    let got = '';
    socket.on('data', data => { got += data.toString(); });
    socket.write('client hello');
    await once(socket, 'end');
    expect(got).toBe('SSH-2.0-guest\r\n');
    const tcp = [...guest.connections.values()][0]!;
    await until(() => tcp.text() === 'client hello');
    expect(tcp.remote).toEqual(GATEWAY);
    socket.end();
    await tcp.closed;
    await until(() => uplink.tcp.count === 0);
  });

  it('guestfwd: an address of the network leads to one of the host\'s', async () => {
    const { port } = await serve(socket => socket.end('from the host'));
    const { guest } = await network(`restrict=on,guestfwd=tcp:10.0.2.100:80-127.0.0.1:${port}`);
    const tcp = guest.connect(ip('10.0.2.100'), 80);
    await until(() => tcp.remoteEnded);
    expect(tcp.text()).toBe('from the host');
    const refused = guest.connect(GATEWAY, port);
    await refused.opened;
    expect(refused.state).toBe('reset');
  });
});

describe('datagrams', () => {
  const lookUp = Buffer.from('123401000001000000000000036465620361706900'.concat('00010001'), 'hex');

  it('DHCP: an address per guest that stays its own; somebody else\'s is refused', async () => {
    const { guest, uplink } = await network('domain=example.test'), answers: Uint8Array[] = [], seen: string[] = [];
    guest.onUdp = (_b, _ip, payload) => answers.push(payload.slice());
    uplink.onLease((m, lease) => seen.push(`${m} ${lease?.addresses[0]} ${lease?.hostname}`));
    const ask = async (type: number, more: number[] = [], client = [0, 0, 0, 0]): Promise<Uint8Array> => {
      const b = new Uint8Array(300);
      b.set([1, 1, 6, 0, 1, 2, 3, 4]);
      b.set(client, 12);
      b.set(guest.options.mac, 28);
      b.set([0x63, 0x82, 0x53, 0x63, 53, 1, type, 12, 5, ...Buffer.from('debby'), ...more, 255], 236);
      answers.length = 0;
      const { mac: own, gatewayMac } = guest.options;
      guest.send(udpFrame({ sourceMac: own, destinationMac: gatewayMac, source: ip('0.0.0.0'), destination: ip('255.255.255.255') }, 68, 67, b));
      await until(() => answers.length > 0);
      return answers[0]!;
    };
    const offer = await ask(1);
    expect([offer[242], ...offer.subarray(16, 20)]).toEqual([2, 10, 0, 2, 15]);
    expect((await ask(3, [50, 4, 10, 0, 2, 99]))[242]).toBe(6);
    expect(uplink.leases().size).toBe(0);
    const ack = await ask(3, [50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2]);
    expect([ack[242], ...ack.subarray(16, 20)]).toEqual([5, 10, 0, 2, 15]);
    expect(Buffer.from(ack).toString('latin1')).toContain('example.test');
    expect((await ask(3, [], [10, 0, 2, 15]))[242]).toBe(5);
    expect(seen).toEqual(['00:16:3e:00:00:01 10.0.2.15 debby', '00:16:3e:00:00:01 10.0.2.15 debby']);
    expect(uplink.leases().get('00:16:3e:00:00:01')).toMatchObject({ addresses: ['10.0.2.15'], hostname: 'debby' });
  });

  it('DHCPv6: an address that follows from the Ethernet address, with one round trip or two; parameters alone; release', async () => {
    const { guest, uplink } = await network('', { address: ip('fe80::15') }), answers: Dhcpv6[] = [], seen: string[] = [];
    guest.onUdp = (_b, at, payload) => { if (at.version === 6) answers.push(parseDhcpv6(payload.slice())!); };
    uplink.onLease((m, lease) => seen.push(`${m} ${lease?.addresses.join(' ')}`));
    const { mac: own } = guest.options, client: Option = [OPTION_CLIENTID, duidOf(own)], association = identityAssociation(7, ip('fd00::1:16:3e00:1'), 100);
    const ask = async (type: number, ...options: Option[]): Promise<Dhcpv6> => {
      answers.length = 0;
      guest.send(udpFrame({ sourceMac: own, destinationMac: mac('33:33:00:01:00:02'), source: ip('fe80::15'), destination: ip('ff02::1:2') }, 546, 547, dhcpv6Message(type, Uint8Array.of(1, 2, 3), options)));
      await until(() => answers.length > 0);
      return answers[0]!;
    };
    const given = (message: Dhcpv6): string => formatAddress(parseIdentityAssociation(message.options.get(OPTION_IA_NA)!)!.address!, 0, 16);
    const advertised = await ask(DHCPV6_SOLICIT, client, association), server: Option = [OPTION_SERVERID, advertised.options.get(OPTION_SERVERID)!];
    expect([advertised.type, given(advertised), uplink.leases().size]).toEqual([DHCPV6_ADVERTISE, 'fd00::1:16:3e00:1', 0]);
    const reply = await ask(DHCPV6_REQUEST, client, server, association);
    expect([reply.type, given(reply), uplink.leases().get('00:16:3e:00:00:01')?.addresses]).toEqual([DHCPV6_REPLY, 'fd00::1:16:3e00:1', ['fd00::1:16:3e00:1']]);
    expect((await ask(DHCPV6_SOLICIT, client, association, [OPTION_RAPID_COMMIT, new Uint8Array(0)])).type).toBe(DHCPV6_REPLY);
    expect([...(await ask(DHCPV6_CONFIRM, client, identityAssociation(7, ip('fd00::99'), 100))).options.get(OPTION_STATUS_CODE)!]).toEqual([0, STATUS_NOT_ON_LINK]);
    expect((await ask(DHCPV6_INFORMATION_REQUEST)).options.get(OPTION_DNS_SERVERS)).toHaveLength(16);
    await ask(DHCPV6_RELEASE, client, server, association);
    expect([uplink.leases().size, seen]).toEqual([0, ['00:16:3e:00:00:01 fd00::1:16:3e00:1', '00:16:3e:00:00:01 fd00::1:16:3e00:1', '00:16:3e:00:00:01 undefined']]);
  });

  it('addresses of guests that were there before stay theirs', async () => {
    const { uplink } = await network();
    uplink.remember('00:16:3e:00:00:01', ['10.0.2.16', 'fd00::1:16:3e00:1']);
    uplink.remember('00:16:3e:00:00:02', ['10.0.2.16', '10.0.2.2', '192.168.0.1', 'nonsense', 'fd00::77']);
    expect([...uplink.leases()].map(([m, { addresses }]) => [m, addresses])).toEqual([['00:16:3e:00:00:01', ['10.0.2.16', 'fd00::1:16:3e00:1']]]);
    expect(uplink.neighbours.macOf(ip('10.0.2.16'))).toEqual(mac('00:16:3e:00:00:01'));
  });

  it('UDP goes out and comes back from whom was asked; nobody there is a port unreachable', async () => {
    const { guest, uplink } = await network(), server = createSocket('udp4'), got: string[] = [], errors: number[] = [];
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address();
    server.on('message', (data, from) => server.send(`echo ${data.toString()}`, from.port, from.address));
    guest.onUdp = (_b, _ip, payload) => got.push(Buffer.from(payload).toString());
    guest.onFrame = (b, at) => { if (at?.protocol === 1) errors.push(b[at.at]! << 8 | b[at.at + 1]!); };
    guest.sendUdp(GATEWAY, 4000, port, Buffer.from('one'));
    guest.sendUdp(GATEWAY, 4000, port, Buffer.from('two'));
    await until(() => got.length === 2);
    expect(got.sort()).toEqual(['echo one', 'echo two']);
    expect(uplink.udp.count).toBe(1);
    server.close();
    await once(server, 'close');
    guest.sendUdp(GATEWAY, 4001, port, Buffer.from('gone'));
    await until(() => errors.length > 0);
    expect(errors[0]).toBe(0x303);
    for (const nowhere of ['127.0.0.1', '10.0.2.77', '0.0.0.0']) guest.sendUdp(ip(nowhere), 4002, port, Buffer.from('x'));
    await until(() => errors.length > 3);
    expect(uplink.udp.count).toBeLessThanOrEqual(2);
  });

  it('large datagrams are put together and cut', async () => {
    const { guest, bridge } = await network(), server = createSocket('udp4'), parts: { offset: number; more: boolean; bytes: number }[] = [];
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(() => server.close());
    server.on('message', (data, from) => server.send(data, from.port, from.address));
    guest.onFrame = (_b, at) => { if (at?.fragment) parts.push({ offset: at.fragment.offsetBytes, more: at.fragment.more, bytes: at.end - at.at }); };
    const payload = randomBytes(4000), { mac: own, gatewayMac } = guest.options;
    const whole = udpFrame({ sourceMac: own, destinationMac: gatewayMac, source: GUEST, destination: GATEWAY }, 4000, server.address().port, payload).subarray(34);
    for (const offsetBytes of [2960, 0, 1480]) {
      const part = whole.subarray(offsetBytes, offsetBytes + 1480), b = new Uint8Array(34 + part.length);
      writeEthernet(b, gatewayMac, own, 0x0800);
      writeIp(b, 14, { source: GUEST, destination: GATEWAY, protocol: 17, payloadBytes: part.length, id: 9, fragment: { offsetBytes, more: offsetBytes < 2960 } });
      b.set(part, 34);
      guest.send(b);
    }
    await until(() => parts.length === 3);
    expect(parts).toEqual([{ offset: 0, more: true, bytes: 1480 }, { offset: 1480, more: true, bytes: 1480 }, { offset: 2960, more: false, bytes: 1048 }]);
    expect(bridge.counters.dropped).toBe(0);
  });

  it('names are asked of the resolvers one after the other', async () => {
    const server = createSocket('udp4'), got: Uint8Array[] = [];
    server.bind(0, '127.0.0.1');
    await once(server, 'listening');
    closers.push(() => server.close());
    server.on('message', (data, from) => {
      const forged = Buffer.from(data);
      forged[2]! |= 0x80;
      forged[0]! ^= 1;
      server.send(forged, from.port, from.address);
      forged[0]! ^= 1;
      forged[3] = 0x83;
      server.send(forged, from.port, from.address);
    });
    const { guest, uplink } = await network(`dns=127.0.0.1:1+127.0.0.1:${server.address().port}`);
    guest.onUdp = (_b, _ip, payload) => got.push(payload.slice());
    guest.sendUdp(ip('10.0.2.3'), 5000, 53, lookUp);
    await until(() => got.length > 0);
    expect([...got[0]!.subarray(0, 4)]).toEqual([0x12, 0x34, 0x81, 0x83]);
    expect(uplink.dns.pendingCount).toBe(0);
  });

  it('a forwarded UDP port, and its answer', async () => {
    const { guest, uplink } = await network('hostfwd=udp:127.0.0.1:0-:7'), client = createSocket('udp4'), got: string[] = [];
    closers.push(() => client.close());
    guest.onUdp = (b, at, payload) => guest.sendUdp(b.slice(at.sourceAt, at.sourceAt + 4), 7, b[at.at]! << 8 | b[at.at + 1]!, Buffer.from(`guest heard ${Buffer.from(payload).toString()}`));
    client.on('message', data => got.push(data.toString()));
    // The first ones only find out where the guest is.
    const timer = setInterval(() => client.send('hello', uplink.forwardedPorts[0]!, '127.0.0.1'), 20);
    await until(() => got.length > 0);
    clearInterval(timer);
    expect(got[0]).toBe('guest heard hello');
  });
});

it('settings: what is wrong is named', () => {
  for (const [text, part] of [['nett=1', 'nett'], ['net=10.0.2.0/30', '10.0.2.0/30'], ['hostfwd=tcp:22', 'hostfwd=tcp:22'], ['hostfwd=tcp::70000-:22', '70000'], ['mtu=100', '100'], ['guestfwd=tcp:1.2.3.4:1-127.0.0.1:1', '1.2.3.4'], ['restrict=maybe', 'maybe'], ['ipv6-net=fd00::/48', 'fd00::/48']] as const) expect(() => parseUserSettings(text), text).toThrow(part);
  const s = parseUserSettings('net=192.168.7.0/24,hostfwd=tcp:[::1]:2222-[fd00::15]:22');
  expect([...s.gateway, ...s.dhcpStart]).toEqual([192, 168, 7, 2, 192, 168, 7, 15]);
  expect(s.hostForwards).toEqual([{ protocol: 'tcp', address: '::1', port: 2222, toAddress: 'fd00::15', toPort: 22 }]);
});
