// A Debian guest and a neighbour on one bridge with the user-mode network: what Debian's own programs make of it
// (ifupdown, dhclient, curl, OpenSSH, apt, nmap), and what the neighbour keeps when they do too much.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { diskOf, GuestShell, TestHost } from './guest-shell.ts';
import { debianNetworkImage, NETWORK_INIT } from './network-image.ts';

const LIMIT_MS = 600_000, SSH_PORT = 20_000 + process.pid % 20_000;
const required = process.env['CI'] !== undefined;
/** With XENOLITH_TEST_SCANS=all every kind of scan that nmap has, of more ports. */
const SCANS = process.env['XENOLITH_TEST_SCANS'] === 'all'
  ? ['-sS -f', '-sX --badsum', '-sN', '-sF --mtu 16', '-sS --scanflags SYNFINRSTURG', '-sU', '-sY', '-sA --ip-options R', '-sS --data-length 1400 -D 10.0.2.77,ME', '-sW', '-sM', '-6 -sX', '-6 -sU']
  : ['-sX -f --badsum', '-6 -sN'];
/** 10000 is the long run. */
const CONNECTIONS = Number(process.env['XENOLITH_TEST_CONNECTIONS'] ?? 1000);
const SCANNED_PORTS = process.env['XENOLITH_TEST_SCANS'] === 'all' ? '1-1000' : '20-60';
const LARGE_BYTES = 5_000_000, LARGE = Buffer.alloc(LARGE_BYTES);
let dir = '', host: TestHost | undefined, debian: GuestShell, neighbour: GuestShell, six = '', why = '';
const servers: Server[] = [];
const port = (version: 4 | 6): number => (servers[version === 4 ? 0 : 1]!.address() as AddressInfo).port;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-debian-'));
  try {
    const { kernelPath: kernel, ramdiskPath: ramdisk } = await prepareDemo({ cacheDir: defaultCacheDir() }), image = debianNetworkImage(), disk = join(dir, 'disk.img');
    spawnSync('cp', ['--sparse=always', image, disk]);
    host = await TestHost.start(join(dir, 'run'), '--bridge', `xenbr0=user:hostfwd=tcp:127.0.0.1:${SSH_PORT}-:22`);
    const memory = { memoryKib: 320 * 1024, maxMemKib: 320 * 1024 };
    [debian, neighbour] = await Promise.all([
      GuestShell.boot(host.client, 'debian', { kernel, ramdisk }, [{ trusted: true }], { ...memory, disks: [diskOf(disk)], cmdline: `console=hvc0 root=/dev/xvda init=${NETWORK_INIT} quiet` }),
      GuestShell.boot(host.client, 'neighbour', { kernel, ramdisk }, [{ trusted: true }]),
    ]);
  } catch (error) {
    if (required || host) throw error;
    why = (error as Error).message;
    process.stderr.write(`\n*** SKIPPED: a Debian guest on the network: ${why}\n`);
    return;
  }
  for (const address of ['127.0.0.1', '::1']) {
    const server = createServer((request, response) => { let n = 0; request.on('data', (d: Buffer) => { n += d.length; }).on('end', () => response.end(request.url === '/large' ? LARGE : `${request.method} ${n} bytes`)); }).listen(0, address);
    await once(server, 'listening');
    servers.push(server);
  }
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); for (const server of servers) server.close(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

/** As soon as the address is no longer tentative. */
const AWAIT_IPV6 = 'n=0; until ip -6 addr show dev eth0 scope global | grep inet6 | grep -qv tentative || [ $n = 300 ]; do n=$((n+1)); sleep 0.2; done; ip -6 addr show dev eth0 scope global';

describe('Debian on the user-mode network', () => {
  test('has addresses from DHCP and router advertisements; the gateway and the neighbour answer', async ctx => {
    if (why) ctx.skip();
    // The first of the pool's addresses is where forwarded ports lead.
    await debian.run(`ifup -a 2>&1; ${AWAIT_IPV6}`);
    expect(await debian.run('ip a show eth0')).toMatch(/inet 10\.0\.2\.15\/24[\s\S]*inet6 fd00:/);
    [six] = /fd00:[0-9a-f:]+/.exec(await neighbour.run(`ip link set eth0 up; udhcpc -i eth0 -s /etc/xenolith/udhcpc -n -q >/dev/null; ${AWAIT_IPV6.replace('sleep 0.2', 'usleep 200000')}`)) as unknown as [string];
    expect((await host!.client.domain('neighbour')).vifs[0]!.addresses).toContain('10.0.2.16');
    expect(await debian.run('ping -c 2 10.0.2.2 && ping -c 2 10.0.2.16')).toMatch(/ 0% packet loss[\s\S]* 0% packet loss/);
    expect(await debian.run('dhclient -6 -1 eth0 2>&1; ip -6 addr show eth0')).toContain('inet6 fd00::1:');
    expect((await host!.client.domain('debian')).vifs[0]!.addresses).toEqual(['10.0.2.15', expect.stringMatching(/^fd00::1:/)]);
  }, LIMIT_MS);

  test('IPv6 between the two: echoes and TCP', async ctx => {
    if (why) ctx.skip();
    expect(await debian.run(`ping -6 -c 2 ${six}`)).toContain(' 0% packet loss');
    const sum = await neighbour.run('mkdir /tmp/www; head -c 5000000 /dev/urandom >/tmp/www/f; httpd -p 80 -h /tmp/www; md5sum </tmp/www/f');
    expect(await debian.run(`curl -sS -g 'http://[${six}]/f' | md5sum`)).toBe(sum);
  }, LIMIT_MS);

  test('curl fetches from a server of the host\'s and sends to it, over IPv4 and IPv6', async ctx => {
    if (why) ctx.skip();
    for (const url of [`http://10.0.2.2:${port(4)}/`, `http://[fd00::2]:${port(6)}/`]) {
      expect(await debian.run(`curl -sS -g '${url}'`)).toBe('GET 0 bytes');
      expect(await debian.run(`head -c 3000000 /dev/urandom | curl -sS -g --data-binary @- '${url}'`)).toBe('POST 3000000 bytes');
    }
  }, LIMIT_MS);

  test('ssh into it through a forwarded port', async ctx => {
    if (why) ctx.skip();
    const key = join(dir, 'key');
    spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    await debian.run(`mkdir -p -m 700 /root/.ssh; echo '${readFileSync(`${key}.pub`, 'utf8').trim()}' >/root/.ssh/authorized_keys; /usr/sbin/sshd; until ss -ltn | grep -q :22; do sleep 0.1; done`);
    const child = spawn('ssh', ['-i', key, '-p', String(SSH_PORT), '-o', 'StrictHostKeyChecking=no', '-o', 'UserKnownHostsFile=/dev/null', '-o', 'BatchMode=yes', 'root@127.0.0.1', 'uname -s; md5sum'], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.end('x'.repeat(1_000_000));
    expect(await text(child.stdout)).toBe('Linux\nec78dbd963d2fc01e51176ed4dec299e  -\n');
  }, LIMIT_MS);

  test('odd packets of nmap\'s do no harm', async ctx => {
    if (why) ctx.skip();
    for (const scan of SCANS) for (const target of scan.startsWith('-6') ? ['fd00::2', six] : ['10.0.2.2', '10.0.2.16']) {
      // Without a terminal, or it would take what is typed for the shell.
      expect(await debian.run(`setsid -w nmap -n -Pn ${scan} -T5 --max-retries 0 --host-timeout 60s -p ${SCANNED_PORTS} ${target} </dev/null 2>&1`), `${scan} ${target}`).toMatch(/1 host up|Skipping host/);
    }
    expect(await debian.run('ping -c 2 10.0.2.2 && ping -c 2 10.0.2.16')).toMatch(/ 0% packet loss[\s\S]* 0% packet loss/);
    expect(await debian.run(`curl -sS http://10.0.2.2:${port(4)}/`)).toBe('GET 0 bytes');
    for (const name of ['debian', 'neighbour']) expect((await host!.client.domain(name)).vifs[0]!.counters).toMatchObject({ tx_errors: 0, rx_dropped: 0 });
  }, LIMIT_MS);

  test('apt-get update, from where the image was made of', async ctx => {
    if (why) ctx.skip();
    // Without the large suite, where that is one of several.
    await debian.run('for f in /etc/apt/sources.list.d/*.sources; do [ -e $f ] && sed -i -E "s/^Suites: [a-z]+ (.+)/Suites: \\1/" $f; done; true');
    expect(await debian.run('apt-get update -q -o Acquire::Retries=3 2>&1')).toMatch(/Get:1 [\s\S]*Fetched [1-9][\s\S]*Reading package lists/);
  }, LIMIT_MS);
});

describe('a guest that does too much', () => {
  const open: TcpServer[] = [];
  let usualMs = 0, beforeMiB = 0;
  afterAll(() => { for (const server of open) server.close(); });
  const listening = async (server: TcpServer): Promise<number> => {
    open.push(server.listen({ port: 0, host: '127.0.0.1', backlog: 1000 }));
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  /** Milliseconds in which the neighbour fetches as much from the host. */
  const neighbourMs = async (): Promise<number> => {
    const begin = performance.now();
    expect(await neighbour.run(`wget -q -O - http://10.0.2.2:${port(4)}/large | wc -c`)).toBe(`${LARGE_BYTES}\n`);
    return performance.now() - begin;
  };
  /** Memory stays bounded, and the neighbour has its share. */
  const bearable = async (what: string, limitMs = 5 * usualMs + 1000): Promise<void> => {
    const ms = await neighbourMs(), grewMiB = await host!.privateMiB() - beforeMiB;
    process.stderr.write(`${what}: the neighbour needs ${ms.toFixed(0)} ms instead of ${usualMs.toFixed(0)}; the host grew by ${grewMiB.toFixed(0)} MiB\n`);
    expect(grewMiB, what).toBeLessThan(400);
    // Half of everything is its share; the rest is for a busy machine.
    expect(ms, what).toBeLessThan(limitMs);
  };

  test('its neighbour is served meanwhile, in bounded memory: many connections, calls to closed ports, a reader that does not read, datagrams', async ctx => {
    if (why) ctx.skip();
    await neighbourMs();
    usualMs = await neighbourMs();
    beforeMiB = await host!.privateMiB();
    let connections = 0;
    const many = await listening(createTcpServer(socket => { connections++; socket.on('close', () => { connections--; }).on('error', () => {}); }));
    await debian.run(`ulimit -n 20000; perl -MSocket -e '$| = 1; for (1 .. ${CONNECTIONS}) { my $s; socket($s, PF_INET, SOCK_STREAM, 0) && connect($s, sockaddr_in(${many}, inet_aton("10.0.2.2"))) or die "$_: $!"; push @all, $s } print "open\\n"; sleep 600' >/tmp/many 2>&1 & echo $! >/tmp/pid; until grep -q . /tmp/many; do sleep 0.2; done; cat /tmp/many`).then(output => expect(output).toBe('open\n'));
    expect(connections).toBe(CONNECTIONS);
    await bearable(`${CONNECTIONS} open connections`);
    await debian.run('kill $(cat /tmp/pid)');
    await expect.poll(() => connections, { timeout: 120_000 }).toBe(0);

    const flood = async (what: string, command: string, limitMs?: number): Promise<void> => {
      await debian.run(`cat >/tmp/flood <<'END'\necho $$ >/tmp/pid\n${command}\nEND\nsetsid sh /tmp/flood </dev/null >/dev/null 2>&1 & sleep 2`);
      await bearable(what, limitMs);
      await debian.run('kill -KILL -$(cat /tmp/pid)');
    };
    await flood('calls to closed ports', 'nmap -n -Pn -sS -T5 --min-rate 5000 --max-retries 0 -p 1-65535 10.0.2.2');
    let unread = 0;
    const stuck = await listening(createTcpServer(socket => { unread++; socket.pause().on('error', () => {}); }));
    await flood('to a reader that does not read', `cat /dev/zero | curl -sS -T - http://10.0.2.2:${stuck}/`);
    expect(unread).toBe(1);
    const datagrams = (to: string): string => `perl -MSocket -e 'socket($s, PF_INET, SOCK_DGRAM, 0); $to = sockaddr_in(9, inet_aton("${to}")); send($s, "x" x 1400, 0, $to) while 1'`;
    await flood('datagrams to the host', datagrams('10.0.2.2'));
    // What it does with datagrams for itself takes the neighbour's own time: only memory counts, and that it recovers.
    await flood('datagrams to the neighbour', datagrams('10.0.2.16'), Infinity);
    await bearable('afterwards');
    expect(await debian.run('ping -c 2 10.0.2.2 && ping -c 2 10.0.2.16')).toMatch(/ 0% packet loss[\s\S]* 0% packet loss/);
  }, LIMIT_MS);
});
