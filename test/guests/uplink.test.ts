// A Debian guest behind the user-mode network: what its own kernel and programs make of it, beside a capture.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { prepareDemo } from '../../tools/image/demo.ts';
import { GuestShell, TestHost } from './guest-shell.ts';

const LIMIT_MS = 600_000, FORWARD_PORT = 20_000 + process.pid % 20_000;
const required = process.env['CI'] !== undefined;
const root = join(import.meta.dirname, '../..');
const file = randomBytes(8 * 1024 * 1024), md5 = createHash('md5').update(file).digest('hex');
let dir = '', passt: ChildProcess | undefined, passtSocket = '', host: TestHost | undefined, guest: GuestShell, web: Server, why = '';

const ADDRESS_SCRIPT = ['#!/bin/sh', '[ "$1" = bound ] || exit 0', 'ip addr add $ip/$mask dev $interface', 'ip route add default via $router', 'echo nameserver $dns >/etc/resolv.conf'].map(line => `'${line}'`).join(' ');

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-uplink-'));
  try {
    const demo = await prepareDemo({ cacheDir: join(process.env['XDG_CACHE_HOME'] ?? join(process.env['HOME'] ?? '', '.cache'), 'xenolith') });
    await startPasst();
    host = await TestHost.start(join(dir, 'run'), '--bridge', `xenbr0=user:hostfwd=tcp:127.0.0.1:${FORWARD_PORT}-:22`, '--bridge', passt ? `out=socket:${passtSocket}` : 'out=none');
    guest = await GuestShell.boot(host.client, 'guest', { kernel: demo.kernelPath, ramdisk: demo.ramdiskPath }, [{ trusted: true }, { trusted: true, bridge: 'out' }]);
  } catch (error) {
    if (required || host) throw error;
    why = (error as Error).message;
    process.stderr.write(`\n*** SKIPPED: the user-mode network with a guest: ${why}\n`);
    return;
  }
  web = createServer((_request, response) => response.end(file)).listen(0, '127.0.0.1');
  await once(web, 'listening');
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); web?.close(); passt?.kill(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

describe('a guest behind the user-mode network', () => {
  test('gets its addresses by DHCP and router advertisement, which the toolstack shows; the gateway answers', async ctx => {
    if (why) ctx.skip();
    await guest.run(`printf '%s\\n' ${ADDRESS_SCRIPT} >/tmp/bound; chmod +x /tmp/bound; ip link set eth0 up; ip addr flush dev eth0 scope global; udhcpc -i eth0 -s /tmp/bound -n -q -f`);
    expect(await guest.run('ip -4 addr show dev eth0')).toContain('inet 10.0.2.15/24');
    expect((await host!.client.domain('guest')).vifs[0]!.addresses).toEqual(['10.0.2.15']);
    expect(await guest.run('ping -c 2 10.0.2.2')).toContain('2 packets received');
    expect(await guest.run('n=0; until ip -6 addr show dev eth0 scope global | grep inet6 | grep -qv tentative || [ $n = 50 ]; do n=$((n+1)); usleep 200000; done; ping6 -c 2 fd00::2')).toContain('2 packets received');
  }, LIMIT_MS);

  test('reaches a server of the host\'s, and hears at once where there is none', async ctx => {
    if (why) ctx.skip();
    const { port } = web.address() as AddressInfo;
    expect(await guest.run(`wget -q -O - http://10.0.2.2:${port}/ | md5sum`)).toContain(md5);
    expect(await guest.run('wget -q -O - http://10.0.2.2:1/ 2>&1', 1)).toContain('onnection refused');
    expect(await guest.run('wget -q -O - http://127.0.0.2:1/ 2>&1; wget -q -O - http://10.0.2.99/ 2>&1', 1)).toMatch(/refused|unreachable|timed out|No route/);
  }, LIMIT_MS);

  test('is reached through a forwarded port, and sends as much as it is asked to', async ctx => {
    if (why) ctx.skip();
    const served = guest.run('dd if=/dev/urandom of=/tmp/f bs=64k count=32 2>/dev/null; md5sum </tmp/f; nc -l -p 22 </tmp/f | md5sum');
    const hash = createHash('md5'), socket = await reach(), question = file.subarray(0, 100_000);
    let bytes = 0;
    socket.on('data', (data: Buffer) => { bytes += data.length; hash.update(data); });
    socket.write(question);
    // BusyBox's nc ends with its peer's half: the guest's comes first.
    await once(socket, 'end');
    socket.end();
    const [sent, received] = (await served).trim().split('\n');
    expect(bytes).toBe(32 * 65_536);
    expect(sent).toContain(hash.digest('hex'));
    expect(received).toContain(createHash('md5').update(question).digest('hex'));
  }, LIMIT_MS);

  test('another interface has passt as its way out', async ctx => {
    if (why || !passt) ctx.skip();
    const { port } = web.address() as AddressInfo;
    const lease = await guest.run(`printf '%s\\n' '#!/bin/sh' '[ "$1" = bound ] && echo "$ip $mask $router" >/tmp/lease' 'exit 0' >/tmp/bound2; chmod +x /tmp/bound2; ip link set eth1 up; udhcpc -i eth1 -s /tmp/bound2 -n -q -f >/dev/null 2>&1; cat /tmp/lease`);
    const [address, mask, router] = lease.trim().split(' ');
    expect(await guest.run(`ip addr add ${address}/${mask} dev eth1; ip route add ${router} dev eth1; wget -q -O - http://${router}:${port}/ | md5sum`, undefined)).toContain(md5);
    expect((await host!.client.domain('guest')).vifs[1]!.counters['rx_bytes']).toBeGreaterThan(file.length);
  }, LIMIT_MS);

  test('a capture of its interface opens without a malformed packet', async ctx => {
    if (why) ctx.skip();
    const path = join(dir, 'guest.pcap');
    const child = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'capture', '--vif', 'guest', path], { env: { ...process.env, XENOLITH_RUNDIR: join(dir, 'run') }, stdio: 'ignore' });
    while (!exists(path)) await new Promise(resolve => { setTimeout(resolve, 50); });
    const sink = createTcpServer(socket => socket.resume()).listen(0, '127.0.0.1');
    await once(sink, 'listening');
    await guest.run(`ping -c 1 10.0.2.2; nslookup localhost.test; head -c 300000 /tmp/f | nc 10.0.2.2 ${(sink.address() as AddressInfo).port}; ping6 -c 1 fd00::2`, undefined);
    sink.close();
    child.kill('SIGINT');
    await once(child, 'exit');
    expect(readFileSync(path).length).toBeGreaterThan(300_000);
    if (spawnSync('tshark', ['--version']).status !== 0) { process.stderr.write('SKIPPED: a capture read by tshark: it is not installed\n'); return; }
    const options = ['-o', 'tcp.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE', '-o', 'ip.check_checksum:TRUE'];
    const { stdout, status } = spawnSync('tshark', ['-r', path, ...options, '-Y', '_ws.malformed || tcp.checksum.status == "Bad" || udp.checksum.status == "Bad" || ip.checksum.status == "Bad"'], { encoding: 'utf8' });
    expect([status, stdout]).toEqual([0, '']);
  }, LIMIT_MS);
});

/** passt drops its rights, so its socket has a folder of its own. It needs an interface with an address. */
async function startPasst(): Promise<void> {
  const folder = join(dir, 'passt');
  mkdirSync(folder);
  chmodSync(dir, 0o711);
  chmodSync(folder, 0o777);
  passtSocket = join(folder, 's');
  const child = spawn('passt', ['-f', '-s', passtSocket], { stdio: 'ignore' });
  let over = false;
  child.on('error', () => { over = true; });
  child.on('exit', () => { over = true; });
  while (!over && !existsSync(passtSocket)) await new Promise(resolve => { setTimeout(resolve, 50); });
  if (over) process.stderr.write('SKIPPED: passt as an uplink: it is not installed, or finds no interface\n'); else passt = child;
}

const exists = (path: string): boolean => { try { return readFileSync(path).length >= 24; } catch { return false; } };

/** Connects until the guest's server is there: before, connections are reset. */
async function reach(): Promise<ReturnType<typeof connect>> {
  for (;;) {
    const socket = connect({ host: '127.0.0.1', port: FORWARD_PORT, allowHalfOpen: true });
    const alive = await new Promise<boolean>(resolve => { socket.once('error', () => resolve(false)); socket.once('close', () => resolve(false)); socket.once('readable', () => resolve(true)); });
    if (alive) return socket;
    await new Promise(resolve => { setTimeout(resolve, 200); });
  }
}
