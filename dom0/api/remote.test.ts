// The API over TCP: certificate, tokens and scopes, what remote callers may name, and limits.
import { spawnSync } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as tlsConnect, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { stateFolderAt, type StateFolder } from '../management/state-folder.ts';
import { ToolstackError } from '../toolstack/errors.ts';
import { networkOf } from './access.ts';
import { apiWorld, CONFIG, named, send, type Answer, type ApiWorld } from './api-world.ts';
import { keptCertificate, selfSigned } from './certificate.ts';
import { Limiter } from './limiter.ts';
import { listenTcp, type TcpListener } from './listen.ts';

let at: ApiWorld, tcp: TcpListener, folder: StateFolder, roots: string, outside: string, ca: string;
beforeEach(async () => {
  const dir = mkdtempSync(join(tmpdir(), 'remote-'));
  folder = stateFolderAt(join(dir, 'state')); roots = join(dir, 'images'); outside = join(dir, 'outside');
  mkdirSync(roots); mkdirSync(outside);
  for (const file of [join(roots, 'k'), join(roots, 'd'), join(outside, 'k')]) writeFileSync(file, 'x');
  symlinkSync(join(outside, 'k'), join(roots, 'link'));
  symlinkSync(outside, join(roots, 'folder'));
  symlinkSync(join(roots, 'k'), join(roots, 'fine'));
  at = await apiWorld({ folder, roots: [roots], hostLife: 'one' });
  tcp = await listenTcp(at.api, at, { host: '127.0.0.1', port: 0 }, folder, { headersTimeout: 400, requestTimeout: 800, connectionsCheckingInterval: 100 });
  ca = readFileSync(folder.certificate, 'utf8');
});
afterEach(async () => { tcp.close(); await at.close(); rmSync(join(roots, '..'), { recursive: true }); });

const token = (scope: 'read' | 'operate' | 'admin', expiresMs?: number): { token: string; id: string } => { const made = at.management.tokens.create(scope, scope, expiresMs); return { token: made.token, id: made.view.id }; };
const remote = (method: string, path: string, bearer?: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  send({ host: '127.0.0.1', port: tcp.port, ca } as never, method, path, body, { ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }), ...headers }, httpsRequest as never);
const raw = (): Promise<TLSSocket> => new Promise((resolve, reject) => { const socket = tlsConnect({ host: '127.0.0.1', port: tcp.port, ca }, () => resolve(socket)).on('error', reject); });

describe('the certificate', () => {
  test('is one that Node, OpenSSL and curl take, and is kept with its key', async () => {
    const cert = new X509Certificate(ca);
    expect([cert.checkIP('127.0.0.1'), cert.checkHost('localhost'), cert.verify(cert.publicKey), cert.checkPrivateKey(createPrivateKey(readFileSync(folder.key)))]).toEqual(['127.0.0.1', 'localhost', true, true]);
    expect(statSync(folder.key).mode & 0o777).toBe(0o600);
    expect(keptCertificate(folder.certificate, folder.key, '127.0.0.1', Date.now()).fresh).toBe(false);
    expect(spawnSync('openssl', ['verify', '-x509_strict', '-CAfile', folder.certificate, folder.certificate], { encoding: 'utf8' }).stdout).toContain(': OK');
    expect(keptCertificate(folder.certificate, folder.key, 'other.example', Date.now()).fresh).toBe(true);
    expect(keptCertificate(folder.certificate, folder.key, '::', Date.now() + 10 * 365 * 86_400_000).fresh).toBe(true);
    const odd = new X509Certificate(selfSigned(['2001:db8::1:2', 'a.example'], Date.UTC(2049, 5)).cert);
    expect([odd.checkIP('2001:db8::1:2'), odd.checkHost('a.example'), new Date(odd.validTo).getUTCFullYear()]).toEqual(['2001:db8::1:2', 'a.example', 2059]);
  });
  test('is well formed every time', () => {
    for (let i = 0; i < 600; i++) expect(new X509Certificate(selfSigned(['x'.repeat(1 + i % 48)], Date.now()).cert).serialNumber).toHaveLength(32);
  });
  test('and key of one\'s own', async () => {
    const pair = selfSigned(['127.0.0.1'], Date.now()), certFile = join(outside, 'c'), keyFile = join(outside, 'p');
    writeFileSync(certFile, pair.cert); writeFileSync(keyFile, pair.key);
    const second = await listenTcp(at.api, at, { host: '127.0.0.1', port: 0, certFile, keyFile }, folder);
    expect(second.fingerprint).toBe(new X509Certificate(pair.cert).fingerprint256);
    second.close();
    writeFileSync(certFile, 'no');
    await expect(listenTcp(at.api, at, { host: '127.0.0.1', port: 0, certFile, keyFile }, folder)).rejects.toThrow('holds no certificate');
    await expect(listenTcp(at.api, at, { host: '127.0.0.1', port: tcp.port }, folder)).rejects.toThrow('EADDRINUSE');
  });
});

describe('tokens', () => {
  test('made, listed without secret, revoked, run out; only a hash of them is on the disk', async () => {
    const admin = token('admin').token, made = await remote('POST', '/v1/tokens', admin, { name: 'ci', scope: 'read', days: 1 });
    expect(made.json).toMatchObject({ name: 'ci', scope: 'read', expiresMs: expect.any(Number), token: expect.stringMatching(/^xen_[a-z2-7]{10}_[\w-]{43}$/) });
    const { id, token: secret } = made.json as { id: string; token: string };
    expect((await remote('GET', '/v1/domains', secret)).status).toBe(200);
    expect((await remote('GET', '/v1/tokens', admin)).text).not.toContain(secret.slice(15));
    expect(readFileSync(folder.database).includes(secret.slice(15)) || readFileSync(`${folder.database}-wal`).includes(secret.slice(15)) || readFileSync(folder.audit, 'utf8').includes(secret.slice(15))).toBe(false);
    expect((await remote('DELETE', `/v1/tokens/${id}`, admin)).status).toBe(204);
    expect((await remote('GET', '/v1/domains', secret)).json).toMatchObject({ status: 401, code: 'unauthorized' });
    expect((await remote('GET', '/v1/domains', token('read', Date.now() - 1).token)).status).toBe(401);
    expect((await remote('DELETE', '/v1/tokens/none', admin)).json).toMatchObject({ status: 404, code: 'token-not-found' });
    expect((await at.call('GET', '/v1/tokens')).json).toHaveLength(3);
  });
  test('revoking cuts what is open', async () => {
    const { token: bearer, id } = token('read'), socket = await raw();
    socket.write(`GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${bearer}\r\n\r\n`);
    await new Promise(resolve => socket.once('data', resolve));
    const closed = new Promise(resolve => socket.once('close', resolve));
    socket.on('error', () => {});
    at.management.tokens.revoke(id);
    await closed;
  });
  test('each scope does what it may', async () => {
    const [read, operate, admin] = [token('read').token, token('operate').token, token('admin').token];
    const statuses = (method: string, path: string, body?: unknown): Promise<number[]> => Promise.all([read, operate, admin].map(async t => (await remote(method, path, t, body)).status));
    expect(await statuses('GET', '/v1/domains')).toEqual([200, 200, 200]);
    expect(await statuses('DELETE', '/v1/domains/none')).toEqual([403, 404, 404]);
    expect(await statuses('GET', '/v1/tokens')).toEqual([403, 403, 200]);
    expect(await statuses('GET', '/v1/audit')).toEqual([403, 403, 200]);
    expect(await statuses('POST', '/v1/host/debug-keys', { keys: 'h' })).toEqual([403, 403, 204]);
    expect(await statuses('GET', '/v1/nothing')).toEqual([404, 404, 404]);
  });
  test('what one may not do is in the audit log, so often at most', async () => {
    const { token: bearer, id } = token('read');
    for (let n = 0; n < 12; n++) expect((await remote('DELETE', `/v1/domains/d${n}`, bearer)).status).toBe(403);
    const noted = async (): Promise<any[]> => (await at.call('GET', '/v1/audit')).json.filter((e: any) => e.status === 403);
    await expect.poll(async () => (await noted()).length).toBeGreaterThanOrEqual(10);
    expect((await noted())[0]).toMatchObject({ who: expect.stringContaining(id), from: '127.0.0.1', what: 'DELETE /v1/domains/d0' });
    expect((await noted()).length).toBeLessThan(12);
  });
  test('without one, or with a wrong one: unauthorized, and after ten wrong ones a pause', async () => {
    expect((await remote('GET', '/healthz')).status).toBe(200);
    const none = await remote('GET', '/v1/domains');
    expect([none.status, none.headers['www-authenticate'], none.json.code]).toEqual([401, 'Bearer', 'unauthorized']);
    expect((await remote('GET', '/v1/nothing')).status).toBe(401);
    const good = token('read').token;
    for (const wrong of ['x', good.slice(0, -1), `${good.slice(0, -1)}${good.endsWith('A') ? 'B' : 'A'}`, 'xen_aaaaaaaaaa_', ...Array<string>(6).fill('y')]) expect((await remote('GET', '/v1/domains', wrong)).status).toBe(401);
    const paused = await remote('GET', '/v1/domains', good);
    expect([paused.status, paused.json.code, Number(paused.headers['retry-after']) > 0]).toEqual([429, 'too-many-requests', true]);
    expect((await at.call('GET', '/v1/domains')).status).toBe(200);
    await expect.poll(async () => (await at.call('GET', '/v1/audit')).json.filter((e: any) => e.what === 'a wrong token').length).toBe(10);
  });
  test('too many requests with one: a pause for that one, and for no other', async () => {
    const [busy, other] = [token('read').token, token('read').token], socket = await raw(), statuses: string[] = [], wave = 50;
    let text = '', refusal = '';
    socket.setEncoding('latin1').on('data', (part: string) => { text += part; });
    // What a token may ask comes back at 200 a second: a client that is faster runs out of it.
    for (const end = Date.now() + 40_000; !statuses.includes('429') && Date.now() < end;) {
      text = '';
      socket.write(`GET /v1/operations?limit=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${busy}\r\n\r\n`.repeat(wave));
      let answers: RegExpMatchArray[] = [];
      while ((answers = [...text.matchAll(/HTTP\/1\.1 (\d+) /g)]).length < wave) await new Promise(resolve => setImmediate(resolve));
      statuses.push(...answers.map(m => m[1]!));
      refusal = text;
    }
    expect(statuses.indexOf('429')).toBeGreaterThanOrEqual(2000);
    expect(refusal).toMatch(/ 429 [^]*retry-after: \d+\r\n[^]*"code":"too-many-requests"/);
    expect((await remote('GET', '/v1/operations', other)).status).toBe(200);
    socket.destroy();
  }, 60_000);
  test('an upgrade needs one too', async () => {
    const ask = async (headers: string): Promise<string> => {
      const socket = await raw();
      socket.write(`GET /v1/domains/none/console HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: xenolith-console\r\n${headers}\r\n`);
      return String(await new Promise(resolve => socket.once('data', resolve))).split('\r\n')[0]!;
    };
    expect(await ask('')).toMatch(/ 401 /);
    expect(await ask(`Authorization: Bearer ${token('read').token}\r\n`)).toMatch(/ 403 /);
    expect(await ask(`Authorization: Bearer ${token('operate').token}\r\n`)).toMatch(/ 404 /);
    expect(await ask(`Sec-WebSocket-Protocol: x, xenolith.bearer.${token('operate').token}\r\n`)).toMatch(/ 404 /);
  });
});

describe('files that remote callers name', () => {
  const disk = (target: string): object => ({ target, format: 'raw', vdev: 'xvda', readOnly: false, cdrom: false, discard: false, trusted: false });
  test('lie below a root, links and all', async () => {
    const { token: bearer } = token('operate');
    const create = async (config: object): Promise<unknown[]> => { const { status, json } = await remote('POST', '/v1/domains', bearer, { config: { ...CONFIG, ...config }, paused: true }); return [status, json.code ?? json.name]; };
    const k = join(roots, 'k'), refused = [403, 'path-refused'];
    for (const kernel of ['/etc/passwd', '/none', roots, `${roots}/`, join(roots, 'none'), join(roots, 'link'), join(roots, 'folder', 'k'), `${roots}/../images/k`, `${roots}/../outside/k`, `${outside}/k`, `${roots}-2/k`, `${k}\0`, '/proc/self/mem', '/dev/null']) expect([kernel, ...await create({ kernel })]).toEqual([kernel, ...refused]);
    expect(await create({ kernel: 'k' })).toEqual([422, 'bad-config']);
    expect(await create({ kernel: k, ramdisk: join(outside, 'k') })).toEqual(refused);
    expect(await create({ kernel: k, disks: [disk(join(roots, 'link'))] })).toEqual(refused);
    expect(await create({ kernel: k, disks: [disk('/dev/sda')] })).toEqual(refused);
    expect(at.world.hypervisor.domains.size).toBe(0);
    expect(await create({ kernel: join(roots, 'fine'), disks: [disk(join(roots, 'd'))] })).toEqual([201, 'web']);
    expect((await at.call('GET', '/v1/domains/web/config')).json.kernel).toBe(k);
    expect((await at.call('POST', '/v1/domains', { config: named('local', 1) })).status).toBe(201);
    expect((await remote('POST', '/v1/domains/web/gdb', token('admin').token, { socket: '/tmp/x' })).status).toBeGreaterThanOrEqual(403);
  });
  test('also when what they defined is started, by whomever', async () => {
    const { token: bearer } = token('operate'), kernel = join(roots, 'later');
    writeFileSync(kernel, 'x');
    expect((await remote('POST', '/v1/definitions', bearer, { config: { ...CONFIG, kernel: '/k' } })).json).toMatchObject({ code: 'path-refused' });
    expect((await remote('POST', '/v1/definitions', bearer, { config: { ...CONFIG, kernel } })).json).toMatchObject({ confined: true });
    rmSync(kernel);
    symlinkSync(join(outside, 'k'), kernel);
    expect((await at.call('POST', '/v1/definitions/web/start')).json).toMatchObject({ code: 'path-refused' });
    expect((await at.call('GET', '/v1/definitions/web/status')).json).toMatchObject({ state: 'failed', wanted: 'stopped' });
  });
});

describe('limits', () => {
  test('a head or a body that does not come is not waited for', async () => {
    const answers = await Promise.all(['POST /v1/domains HTTP/1.1\r\nHost: x\r\n', `POST /v1/domains HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token('operate').token}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"conf`].map(async text => {
      const socket = await raw(), startMs = performance.now();
      socket.write(text);
      let answer = '';
      for await (const part of socket) answer += String(part);
      return [answer.split('\r\n')[0], performance.now() - startMs < 5000, answer.includes('"code":"too-slow"')];
    }));
    expect(answers).toEqual([[expect.stringMatching(/^HTTP\/1.1 408 /), true, true], [expect.stringMatching(/^HTTP\/1.1 408 /), true, true]]);
  });
  test('a body of more than a mebibyte, and plain HTTP', async () => {
    expect((await remote('POST', '/v1/domains', token('operate').token, 'x'.repeat(1024 * 1024 + 1))).json).toMatchObject({ status: 413, code: 'body-too-large' });
    await expect(send({ host: '127.0.0.1', port: tcp.port } as never, 'GET', '/healthz')).rejects.toThrow();
  });
  test('no other origin is let in', async () => {
    const answer = await remote('GET', '/v1/domains', token('read').token, undefined, { origin: 'https://evil.example' });
    expect(Object.keys(answer.headers).filter(name => name.startsWith('access-control'))).toEqual([]);
    expect((await remote('OPTIONS', '/v1/domains', token('read').token, undefined, { origin: 'https://evil.example', 'access-control-request-method': 'POST' })).status).toBe(405);
  });
  test('counting refills steadily, per address or network', () => {
    let now = 0;
    const limiter = new Limiter(2, 1000, () => now);
    limiter.take('a'); limiter.take('a');
    expect([limiter.waitSec('a'), limiter.waitSec('b')]).toEqual([1, 0]);
    now = 600;
    expect(limiter.waitSec('a')).toBe(0);
    expect(['10.0.0.1', '::ffff:10.0.0.1', '2001:db8:1:2:3:4:5:6', '2001:db8:1:2::9', '::1'].map(networkOf)).toEqual(['10.0.0.1', '10.0.0.1', '2001:db8:1:2', '2001:db8:1:2', '0:0:0:0']);
  });
});

test('two callers, one domain: each is told what came of it, and the log says who it was', async () => {
  const one = token('operate'), two = token('operate');
  await at.call('POST', '/v1/domains', { config: CONFIG });
  at.world.badKernels.set('/k', new ToolstackError('bad-kernel', 'no'));
  const answers = await Promise.all([one, two, one, two].map(t => remote('DELETE', '/v1/domains/web', t.token)));
  for (const { status } of answers) expect([204, 404]).toContain(status);
  expect(answers.filter(a => a.status === 204).length).toBeGreaterThan(0);
  expect(at.world.hypervisor.domains.size).toBe(0);
  await expect.poll(async () => (await at.call('GET', '/v1/audit')).json.filter((e: any) => e.what === 'DELETE /v1/domains/web').length).toBe(8);
  const who = new Set((await at.call('GET', '/v1/audit')).json.filter((e: any) => e.what === 'DELETE /v1/domains/web').map((e: any) => `${e.who} ${e.from}`));
  expect(who).toEqual(new Set([one, two].map(t => `token:${t.id} (operate) 127.0.0.1`)));
});
