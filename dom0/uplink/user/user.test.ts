import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Random } from '../../../test/fuzz/random.ts';
import { parseAddress, parseMac } from '../../packet/address.ts';
import { Switch } from '../../switch/switch.ts';
import { UserUplink } from './index.ts';
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
