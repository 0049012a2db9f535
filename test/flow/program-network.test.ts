// Programs on the network: sockets as preview 1 and WasmEdge have them, towards this host, from it, and among domains.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, get, type Server } from 'node:http';
import { connect, createServer as createTcpServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Client } from '../../tools/xl/client.ts';
import { appModule } from '../../domu-pv/apps/app-module.ts';
import { compile, hasToolchain } from '../programs/toolchain.ts';

const root = join(import.meta.dirname, '../..'), dir = mkdtempSync(join(tmpdir(), 'program-network-')), can = hasToolchain(dir);
const env = (): NodeJS.ProcessEnv => ({ ...process.env, XENOLITH_RUNDIR: join(dir, 'run') });
const VIF = "memory = 24\nvif = [ '' ]", LARGE = 3_000_017;
let host: ChildProcess, web: Server, program = '', forwarded = 0;
const xl = (...args: string[]): string => {
  const { stdout, stderr } = spawnSync(process.execPath, [join(root, 'tools/xl/index.ts'), ...args], { env: env(), encoding: 'utf8', cwd: dir, timeout: 60_000 });
  return stdout + stderr;
};
function config(name: string, kernel: string, extra: string, more = VIF): string {
  const path = join(dir, `${name}.cfg`);
  writeFileSync(path, `name = "${name}"\nkernel = "${kernel}"\nextra = "${extra}"\n${more}\n`);
  return path;
}
/** A domain that is running: what it says, and what is typed. */
async function start(...args: Parameters<typeof config>): Promise<{ said(): string; type(text: string): void; has(wanted: RegExp): Promise<void> }> {
  let said = '';
  const cfg = config(...args);
  await new Promise<void>(resolve => { spawn(process.execPath, [join(root, 'tools/xl/index.ts'), 'create', cfg], { env: env(), cwd: dir, stdio: 'ignore' }).on('exit', () => resolve()); });
  const stream = await new Client(join(dir, 'run/api.sock')).console(args[0]);
  stream.on('data', data => { said += String(data); });
  return { said: () => said, type: text => { stream.write(text); }, has: async wanted => { await expect.poll(() => said, { timeout: 30_000 }).toMatch(wanted); } };
}
/** Runs a program to its end beside this process, which may be what it talks to. */
async function run(...args: Parameters<typeof config>): Promise<string> {
  const child = spawn(process.execPath, [join(root, 'tools/xl/index.ts'), 'create', '-c', config(...args)], { env: env(), cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', data => { said += String(data); });
  await new Promise(resolve => { child.on('exit', resolve); });
  return said.replaceAll('\r', '');
}
const sumOf = (data: Uint8Array): number => data.reduce((sum, b) => Math.imul(sum, 31) + b >>> 0, 0);
const pattern = (count: number): Uint8Array => Uint8Array.from({ length: count }, (_, i) => i * 7 + Math.floor(i / 1000));
const fetchBytes = (port: number): Promise<Buffer> => new Promise((resolve, reject) => {
  get({ host: '127.0.0.1', port, path: '/x', agent: false }, response => {
    const parts: Buffer[] = [];
    response.on('data', part => parts.push(part as Buffer)).on('end', () => resolve(Buffer.concat(parts)));
  }).on('error', reject);
});
/** What the server says before the body. */
const fetchHeader = (port: number): Promise<Buffer> => new Promise(resolve => {
  const parts: Buffer[] = [], socket = connect(port, '127.0.0.1', () => { socket.write('GET /large HTTP/1.0\r\n\r\n'); });
  socket.on('data', (part: Buffer) => { parts.push(part); }).on('close', () => { const all = Buffer.concat(parts); resolve(all.subarray(0, all.length - LARGE)); });
});
const freePort = (): Promise<number> => new Promise(resolve => { const s = createTcpServer().listen(0, '127.0.0.1', () => { const { port } = s.address() as AddressInfo; s.close(() => resolve(port)); }); });

beforeAll(async () => {
  if (!can) return;
  program = compile(dir, 'sockets');
  web = createServer((request, response) => { response.sendDate = false; response.end(request.url === '/large' ? pattern(LARGE) : `asked for ${request.url}\n`); });
  await new Promise<void>(resolve => { web.listen(0, '127.0.0.1', resolve); });
  forwarded = await freePort();
  const bridges = ['--bridge', `xenbr0=user:hostfwd=tcp:127.0.0.1:${forwarded}-10.0.2.99:8080`, '--bridge', 'inner=none'];
  host = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'host', ...bridges], { env: env(), stdio: ['ignore', 'ignore', 'pipe'] });
  await new Promise<void>(resolve => { host.stderr!.on('data', data => { if (String(data).includes('host ready')) resolve(); }); });
}, 120_000);
afterAll(async () => {
  if (host?.exitCode === null) { host.kill('SIGKILL'); await new Promise(resolve => { host.once('exit', resolve); }); }
  web?.close();
  rmSync(dir, { recursive: true, force: true });
});

describe.skipIf(!can)('a program with sockets', { timeout: 120_000 }, () => {
  const webPort = (): number => (web.address() as AddressInfo).port;
  test('follows its interface: one that is unplugged, plugged in again, at another bridge, with another backend', async () => {
    const shell = join(dir, 'plug.wasm'), client = new Client(join(dir, 'run/api.sock'));
    writeFileSync(shell, appModule('shell'));
    const { said, type, has } = await start('plug', shell, '', "memory = 16\nvif = [ '' ]"), url = `http://10.0.2.2:${webPort()}/a`;
    let from = 0;
    /** Types a line, and waits for what is wanted and the prompt. */
    const line = async (text: string, wanted: string): Promise<string> => {
      from = said().length;
      type(`${text}\r`);
      await expect.poll(() => said().slice(from), { timeout: 30_000 }).toMatch(new RegExp(`${wanted}[^]*# $`));
      return said().slice(from);
    };
    /** Not by xl: this process is the server, too. */
    const detach = async (): Promise<void> => { const before = Date.now(); await client.detachVif('plug', '0'); expect(Date.now() - before).toBeLessThan(5000); };
    await has(/# $/);
    const address = /address (\S+)/.exec(await line('ifconfig', 'address'))![1]!;
    await line(`get ${url}`, 'asked for /a');
    for (let n = 0; n < 8; n++) {
      await detach();
      expect((await client.domain('plug')).vifs).toEqual([]);
      if (n === 0) await line(`get ${url}`, 'get: ');
      await client.attachVif('plug', { trusted: true });
      await line(`get ${url}`, n === 0 ? 'asked for /a|get: ' : 'asked for /a');
    }
    expect(await line('ifconfig', 'address')).toContain(address);
    // A server that waits for its first caller meanwhile: it has an address again, without having asked.
    type('serve 80\r');
    await has(/waiting at port 80/);
    await detach();
    await client.attachVif('plug', { trusted: true });
    const asker = await start('asker', shell, '', VIF);
    await asker.has(/# $/);
    asker.type(`get http://${address}/\r`);
    await asker.has(/domain \d+ was here/);
    await has(/GET \/ HTTP\/1\.0 from \S+\r\n# $/);
    await client.restartVif('plug', '0');
    await line(`get ${url}`, 'asked for /a');
    // Nobody lends addresses there.
    await detach();
    await client.attachVif('plug', { trusted: true, bridge: 'inner' });
    await line(`get ${url}`, 'get: ');
    await detach();
    await client.attachVif('plug', { trusted: true, mac: '00:16:3e:77:00:01' });
    await expect.poll(async () => { await line(`get ${url}`, 'asked for /a|: '); return said().slice(from); }, { timeout: 30_000 }).toMatch(/asked for/);
    expect(await line('ifconfig', 'address')).not.toContain(`${address} `);
    xl('destroy', 'asker');
    xl('shutdown', '-w', 'plug');
    expect(xl('list')).not.toContain('plug');
  });
  test('fetches from a web server of this host, three megabytes unchanged', async () => {
    const said = await run('fetch', program, `fetch 10.0.2.2 ${webPort()} /large`);
    expect(said).toContain(`peer 10.0.2.2:${webPort()}\n`);
    const [, bytes, sum] = /fetched (\d+) sum (\d+)/.exec(said)!.map(Number);
    const header = bytes! - LARGE, plain = await fetchHeader(webPort());
    expect(header).toBe(plain.length);
    expect(sum).toBe(sumOf(Buffer.concat([plain, pattern(LARGE)])));
  });
  test('serves this host through a forwarded port, on a socket that its configuration opened', async () => {
    const server = await start('serve', program, `tcplisten=0.0.0.0:8080 ip=10.0.2.99/24,10.0.2.2 -- serve 3 ${LARGE}`);
    await server.has(/ready/);
    const body = await fetchBytes(forwarded);
    expect(Buffer.compare(body, pattern(LARGE))).toBe(0);
    await server.has(new RegExp(`request GET /x HTTP/1.1\\r\\nserved sum ${sumOf(pattern(LARGE))}`));
  });
  test('talks to another program over a bridge without a way out', async () => {
    const inner = "memory = 24\nvif = [ 'bridge=inner' ]", listener = await start('listen', program, 'ip=10.9.0.1/24 -- listen 5000', inner);
    await listener.has(/listening/);
    const said = await run('push', program, `ip=10.9.0.2/24 -- push 10.9.0.1 5000 ${LARGE}`, inner), sum = sumOf(pattern(LARGE));
    expect(said).toContain(`sent sum ${sum}, it says ${LARGE} ${sum}\n`);
  });
  test('sends and gets datagrams', async () => {
    const socket = createSocket('udp4'), port = await new Promise<number>(resolve => { socket.bind(0, '127.0.0.1', () => resolve(socket.address().port)); });
    socket.on('message', (data, from) => { socket.send(`re:${data}`, from.port, from.address); });
    expect(await run('udp', program, `udp 10.0.2.2 ${port} hello`)).toContain(`datagram re:hello from 10.0.2.2:${port} family 1\n`);
    socket.close();
  });
  test('meets refusals, sockets that do not block, timeouts and wrong arguments', async () => {
    const silent = createTcpServer(), port = await new Promise<number>(resolve => { silent.listen(0, '127.0.0.1', () => resolve((silent.address() as AddressInfo).port)); });
    const said = await run('edges', program, `edges 10.0.2.2 ${port}`);
    expect(said.trim().split('\n').slice(-10)).toEqual(['refused 14', 'in progress 26', 'poll 1 1', 'error 0', 'again 1', 'timeout 1', 'bad pointer 21', 'no socket 57', 'inet6 5', 'bounded 1']);
    silent.close();
  });
  test('asks for names by the resolver of its lease', async () => {
    expect(await run('name', program, 'name 10.1.2.3')).toContain('name 0, 1 found 10.1.2.3:80\n');
    expect(await run('noname', program, 'name nothing.invalid')).toMatch(/name (44|73), 0 found\n/);
  });
  test('has none without an interface, and says so', async () => { expect(await run('none', program, 'udp 10.0.2.2 1 x', 'memory = 16')).toContain('sock_open failed: 38\n'); });
});
describe('the shell on the network', { timeout: 60_000 }, () => {
  test.skipIf(!can)('gets, serves and connects', async () => {
    const shell = join(dir, 'shell.wasm');
    writeFileSync(shell, appModule('shell'));
    const a = await start('a', shell, '', "memory = 16\nvif = [ '' ]"), b = await start('b', shell, '', "memory = 16\nvif = [ '' ]");
    await a.has(/# $/);
    a.type(`get http://10.0.2.2:${(web.address() as AddressInfo).port}/path; ifconfig\r`);
    await a.has(/asked for \/path\r\naddress (10\.0\.2\.\d+)/);
    const [, address] = /address (10\.0\.2\.\d+)/.exec(a.said())!;
    a.type('serve 80\r');
    await a.has(/waiting at port 80/);
    await b.has(/# $/);
    b.type(`get ${address}\r`);
    await b.has(/domain \d+ was here/);
    await a.has(/GET \/ HTTP\/1.0 from 10\.0\.2\.\d+/);
    a.type('nc -l 7 and back\r');
    await a.has(/waiting at port 7\r/);
    b.type(`nc ${address} 7 there\r`);
    await b.has(/and back\r\n/);
    await a.has(/there\r\n/);
    expect(xl('list')).toMatch(/a .*\n.*b /);
  });
});
