// Two Debian guests on one bridge: what their own kernels, netfront and TCP make of netback and the switch.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseDomainConfig } from '../../dom0/toolstack/config/domain-config.ts';
import { appModule } from '../../domu-pv/apps/app-module.ts';
import { prepareDemo } from '../../tools/image/demo.ts';
import { GuestShell, TestHost, type GuestFiles } from './guest-shell.ts';

const required = process.env['CI'] !== undefined;
const MEGABYTES = 8;
const CYCLES = Number(process.env['XENOLITH_TEST_CYCLES'] ?? 15), LIMIT_MS = 600_000 + 3000 * CYCLES, RESTARTS = 20, DOM0_CRASHES = 4;
let dir = '', host: TestHost | undefined, a: GuestShell, b: GuestShell, why = '';

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-net-'));
  let files: GuestFiles;
  try {
    const demo = await prepareDemo({ cacheDir: join(process.env['XDG_CACHE_HOME'] ?? join(process.env['HOME'] ?? '', '.cache'), 'xenolith') });
    files = { kernel: demo.kernelPath, ramdisk: demo.ramdiskPath };
  } catch (error) {
    if (required) throw error;
    why = (error as Error).message;
    process.stderr.write(`\n*** SKIPPED: tests of the network with guests: ${why}\n`);
    return;
  }
  host = await TestHost.start(join(dir, 'run'), '--bridge', 'xenbr0=none', '--bridge', 'alone=none', '--bridge', 'world=user');
  // Linux's own netfront loses the pages of a receive ring (1 MiB) at each unplugging: its page pool is never unregistered.
  const memoryKib = (192 + 1.5 * CYCLES) * 1024;
  [a, b] = await Promise.all(['a', 'b'].map(name => GuestShell.boot(host!.client, name, files, [{ trusted: true }], name === 'a' ? { memoryKib, maxMemKib: memoryKib } : {}))) as [GuestShell, GuestShell];
  await Promise.all([a, b].map((guest, i) => guest.run(`ifconfig eth0 10.0.0.${i + 1} netmask 255.255.255.0 up && mkfifo /tmp/hold && exec 9<>/tmp/hold && dd if=/dev/urandom of=/tmp/data bs=64k count=${MEGABYTES * 16} 2>/dev/null`)));
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); rmSync(dir, { recursive: true, force: true }); });

/** Sends /tmp/data. @returns whether it arrived as it was */
async function transfer(from: GuestShell, to: GuestShell, address: string): Promise<boolean> {
  const received = to.run('nc -l -p 5001 <&9 | md5sum');
  const sent = await from.run(`usleep 500000; nc ${address} 5001 </tmp/data; md5sum </tmp/data`);
  return (await received) === sent;
}
const counters = async (name: string): Promise<Record<string, number>> => (await host!.client.domain(name)).vifs[0]!.counters;
describe('two guests on a bridge', () => {
  test('ping each other', async ctx => {
    if (why) ctx.skip();
    expect(await a.run('ping -c 3 -s 1400 10.0.0.2')).toContain('3 packets received');
    expect(await b.run('ping -c 2 -s 20000 10.0.0.1')).toContain('2 packets received');
    expect(await a.run('until ip -6 addr show dev eth0 scope link | grep inet6 | grep -qv tentative; do usleep 200000; done; ping6 -c 2 -I eth0 ff02::1 2>&1')).toContain('2 packets received');
  }, LIMIT_MS);

  test('TCP both ways, in segments larger than the wire\'s', async ctx => {
    if (why) ctx.skip();
    const before = await counters('a');
    expect(await transfer(a, b, '10.0.0.2')).toBe(true);
    const after = await counters('a'), packets = after['tx_packets']! - before['tx_packets']!, bytes = after['tx_bytes']! - before['tx_bytes']!;
    expect(bytes).toBeGreaterThan(MEGABYTES * 2 ** 20);
    expect(bytes / packets).toBeGreaterThan(1600);
    expect(await transfer(b, a, '10.0.0.1')).toBe(true);
    expect([after['tx_errors'], (await counters('b'))['tx_errors']]).toEqual([0, 0]);
  }, LIMIT_MS);

  test('jumbo frames', async ctx => {
    if (why) ctx.skip();
    await Promise.all([a, b].map(guest => guest.run('ip link set eth0 mtu 9000')));
    expect(await transfer(a, b, '10.0.0.2')).toBe(true);
    expect(await a.run('ping -c 2 -s 8972 10.0.0.2')).toContain('2 packets received');
    await Promise.all([a, b].map(guest => guest.run('ip link set eth0 mtu 1500')));
  }, LIMIT_MS);

  test('unplugged under load and plugged in again, many times: nothing is lost but packets, nothing stays behind', async ctx => {
    if (why) ctx.skip();
    const held = await host!.inUse(), before = await host!.privateMiB();
    await a.run('(while :; do ping -c 1 -s 30000 -W 1 10.0.0.2; done) >/dev/null 2>&1 & echo $! >/tmp/load');
    const mac = (await host!.client.domain('a')).vifs[0]!.mac;
    for (let i = 0; i < CYCLES; i++) {
      await host!.client.detachVif('a', '0');
      expect((await host!.client.domain('a')).vifs).toEqual([]);
      await a.run('while [ -e /sys/class/net/eth0 ]; do usleep 20000; done');
      await host!.client.attachVif('a', { trusted: true, mac });
      await a.run('until [ -e /sys/class/net/eth0 ]; do usleep 100000; done; ifconfig eth0 10.0.0.1 netmask 255.255.255.0 up');
    }
    await a.run('kill $(cat /tmp/load); ping -c 3 10.0.0.2');
    expect(await transfer(a, b, '10.0.0.2')).toBe(true);
    const now = await host!.inUse();
    expect([now.channels, now.used]).toEqual([held.channels, held.used]);
    // A guest may have other buffers out than before, but not more for each cycle.
    for (const [i, granted] of now.granted.entries()) expect(granted - held.granted[i]!).toBeLessThan(64);
    const grew = await host!.privateMiB() - before;
    process.stderr.write(`${CYCLES} cycles: the host grew by ${grew.toFixed(0)} MiB; granted ${held.granted.join(' ')} before, ${now.granted.join(' ')} after\n`);
    expect(grew).toBeLessThan(150);
  }, LIMIT_MS);

  test('backends that begin anew under load: the connection goes on, nothing stays behind', async ctx => {
    if (why) ctx.skip();
    const held = await host!.inUse();
    const moved = transfer(a, b, '10.0.0.2');
    // Not until it is done: a sender that waits ever longer after what was lost would wait for ever.
    for (let i = 0; i < RESTARTS; i++) {
      await host!.client.restartVif(i % 2 ? 'a' : 'b', '0');
      await new Promise(resolve => { setTimeout(resolve, 250); });
    }
    expect(await moved).toBe(true);
    expect(await b.run('ping -c 3 10.0.0.1')).toContain('3 packets received');
    const now = await host!.inUse();
    expect([now.channels, now.used]).toEqual([held.channels, held.used]);
  }, LIMIT_MS);

  test('Dom0 ends amid a connection, again and again: it goes on, nothing stays behind', async ctx => {
    if (why) ctx.skip();
    const held = await host!.inUse(), before = await host!.privateMiB(), consoles = async (): Promise<void> => { [a, b] = await Promise.all([a, b].map(async guest => guest.over(await host!.client.console(String(guest.domid))))) as [GuestShell, GuestShell]; };
    // For as long as it takes: what is sent is numbered lines, and the receiver looks that none is missing. Not a job of the shell's: busybox's ends when one does.
    await b.run(`(setsid sh -c 'nc -l -p 5002 <>/tmp/hold | awk "{ if (\\$1 != n++) bad++; print n, bad + 0 >\\"/tmp/seen\\"; close(\\"/tmp/seen\\") }"' >/dev/null 2>&1 &)`);
    await a.run(`usleep 500000; (setsid sh -c 'i=0; while :; do echo $i; i=$((i+1)); done | nc 10.0.0.2 5002' >/dev/null 2>&1 &)`);
    const seen = async (): Promise<number> => {
      // It is being written, too.
      for (;;) {
        const [, lines, bad] = /^(\d+) (\d+)\n/.exec(await b.run('cat /tmp/seen')) ?? [];
        if (bad === undefined) continue;
        expect(bad).toBe('0');
        return Number(lines);
      }
    };
    const goesOn = async (): Promise<void> => {
      const from = await seen();
      for (const end = Date.now() + 60_000; await seen() === from;) { expect(Date.now()).toBeLessThan(end); await new Promise(resolve => { setTimeout(resolve, 200); }); }
    };
    await b.run('until [ -s /tmp/seen ]; do usleep 100000; done');
    await goesOn();
    for (let i = 0; i < DOM0_CRASHES; i++) {
      await host!.crashDom0();
      await consoles();
      await goesOn();
    }
    await a.run("kill $(pidof nc); until ! pidof nc >/dev/null; do usleep 100000; done");
    await b.run("kill $(pidof nc) 2>/dev/null; true");
    expect(await transfer(a, b, '10.0.0.2')).toBe(true);
    const now = await host!.inUse();
    expect([now.channels, now.used]).toEqual([held.channels, held.used]);
    for (const [i, granted] of now.granted.entries()) expect(granted - held.granted[i]!).toBeLessThan(64);
    const grew = await host!.privateMiB() - before;
    process.stderr.write(`${DOM0_CRASHES} crashes of Dom0 under a connection: the host grew by ${grew.toFixed(0)} MiB\n`);
    expect(grew).toBeLessThan(150);
  }, LIMIT_MS);

  test('a link that is down lets nothing pass, and comes back', async ctx => {
    if (why) ctx.skip();
    await host!.client.setCarrier('b', '0', false);
    expect((await host!.client.domain('b')).vifs[0]).toMatchObject({ carrier: false, state: 4 });
    expect(await a.run('ping -c 2 -W 1 10.0.0.2', 1)).toContain('100% packet loss');
    await host!.client.setCarrier('b', '0', true);
    expect(await a.run('ping -c 3 10.0.0.2')).toMatch(/[1-3] packets received/);
  }, LIMIT_MS);

  test('a second interface on another bridge sees nothing of the first', async ctx => {
    if (why) ctx.skip();
    await host!.client.attachVif('b', { trusted: true, bridge: 'alone' });
    await b.run('until [ -e /sys/class/net/eth1 ]; do usleep 100000; done; ifconfig eth1 10.1.0.2 netmask 255.255.255.0 up');
    await a.run('ip addr add 10.1.0.1/24 dev eth0');
    expect(await a.run('ping -c 2 -W 2 10.1.0.2', 1)).toContain('100% packet loss');
    expect((await host!.client.domain('b')).vifs[1]!.counters['rx_packets']).toBe(0);
    await host!.client.detachVif('b', '1');
  }, LIMIT_MS);

  test('by DHCP into the world: the gateway answers, a server of this host\'s gives and takes, the address is in xenstore', async ctx => {
    if (why) ctx.skip();
    const data = randomBytes(3 * 2 ** 20), md5 = createHash('md5').update(data).digest('hex');
    const server: Server = createServer((_request, response) => { response.end(data); });
    // Answers with the sum of what it got, once the other side has closed its half.
    const taker = createTcpServer({ allowHalfOpen: true }, socket => {
      const hash = createHash('md5');
      socket.on('data', part => hash.update(part)).on('end', () => socket.end(`${hash.digest('hex')}\n`));
    });
    for (const s of [server, taker]) await new Promise<void>(resolve => { s.listen(0, '127.0.0.1', resolve); });
    try {
      const [port, takerPort] = [server, taker].map(s => (s.address() as AddressInfo).port);
      await host!.client.attachVif('a', { trusted: true, bridge: 'world' });
      await a.run('until [ -e /sys/class/net/eth1 ]; do usleep 100000; done; ip link set eth1 up; udhcpc -i eth1 -s /etc/xenolith/udhcpc -q -n -t 10 -T 1 2>&1');
      expect(await a.run('ip -4 -o addr show eth1; ip route; cat /etc/resolv.conf; ping -c 2 10.0.2.2')).toMatch(/10\.0\.2\.15\/24[\s\S]*default via 10\.0\.2\.2 dev eth1[\s\S]*nameserver 10\.0\.2\.3[\s\S]*2 packets received/);
      expect((await host!.client.domain('a')).vifs[1]!.addresses).toEqual(['10.0.2.15']);
      expect(await a.run(`wget -q -O - http://10.0.2.2:${port}/ | md5sum`)).toBe(`${md5}  -\n`);
      const [sum, sent] = (await a.run(`nc 10.0.2.2 ${takerPort} </tmp/data; md5sum </tmp/data`)).split('\n');
      expect(sent).toBe(`${sum}  -`);
      await host!.client.detachVif('a', '1');
    } finally { server.closeAllConnections(); server.close(); taker.close(); }
  }, LIMIT_MS);

  test('a guest and a program, whose kernel is this project\'s own, meet on a bridge: echoes and bytes both ways', async ctx => {
    if (why) ctx.skip();
    const kernel = join(dir, 'shell.wasm'), { client } = host!;
    writeFileSync(kernel, appModule('shell'));
    await a.run('while [ -e /sys/class/net/eth1 ]; do usleep 20000; done');
    await client.attachVif('a', { trusted: true, bridge: 'world' });
    await a.run('until [ -e /sys/class/net/eth1 ]; do usleep 100000; done; ip link set eth1 up; udhcpc -i eth1 -s /etc/xenolith/udhcpc -q -n -t 10 -T 1 2>&1');
    const { domid } = await client.create(parseDomainConfig(`name="program"\nkernel="${kernel}"\nmemory=16\nvif=["bridge=world"]\n`, 'program', { pcpus: 1 }).config, false);
    let said = '';
    const stream = await client.console(String(domid)), says = (wanted: RegExp): Promise<void> => expect.poll(() => said, { timeout: 60_000 }).toMatch(wanted);
    stream.on('data', data => { said += String(data); });
    const type = (line: string): void => { said = ''; stream.write(`${line}\r`); };
    await says(/# $/);
    type('ifconfig');
    await says(/address 10\.0\.2\.\d+ [^]*# $/);
    const [, own] = /address (\S+)/.exec(said)!, [, guest] = /inet (\S+)\//.exec(await a.run('ip -4 -o addr show eth1'))!;
    expect(await a.run(`ping -c 3 -s 1400 ${own}`)).toContain('3 packets received');
    type(`ping ${guest} 2`);
    await says(new RegExp(`64 bytes from ${guest}: seq=2[^]*# $`));
    type('serve 80');
    await says(/waiting at port 80/);
    expect(await a.run(`wget -q -O - http://${own}/`)).toBe(`domain ${domid} was here\n`);
    await says(new RegExp(`GET / HTTP/1.1 from ${guest}[^]*# $`));
    await a.run(`(printf 'HTTP/1.0 200 OK\\r\\n\\r\\n'; seq 20000; echo end of it) >/tmp/page; (nc -l -p 8081 </tmp/page >/dev/null &); until netstat -ltn | grep -q :8081; do usleep 50000; done`);
    type(`get http://${guest}:8081/`);
    await says(/\n1\r\n2\r\n[^]*\n19999\r\n20000\r\nend of it\r\n# $/);
    await client.destroy(String(domid));
    await client.detachVif('a', '1');
  }, LIMIT_MS);

  test('the kernels have nothing to complain of', async ctx => {
    if (why) ctx.skip();
    for (const guest of [a, b]) expect(await guest.run('dmesg | grep -E "WARNING|BUG:|Oops|Call Trace|bad slot|rx->offset" || true')).toBe('');
  }, LIMIT_MS);
});
