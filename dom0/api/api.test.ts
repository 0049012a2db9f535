// The API as a client sees it, on a hypervisor that only keeps records: its document, bad input on every route, events,
// pages, repeated calls, metrics.
import { spawnSync } from 'node:child_process';
import { request as httpRequest, type ClientRequest } from 'node:http';
import { connect } from 'node:net';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Management } from '../management/index.ts';
import { fakeWorld, type World } from '../toolstack/fakes.ts';
import { Toolstack } from '../toolstack/toolstack.ts';
import { domainView } from '../toolstack/views.ts';
import { CONTRACT } from './contract.ts';
import { openApi } from './openapi.ts';
import { problemOf, problemSchema } from './problem.ts';
import { statusOf, type Route } from './route.ts';
import { createApi } from './server.ts';

interface PublicValidator { validate(document: object): Promise<{ readonly valid: boolean; readonly errors?: unknown }> }
type Operations = Readonly<Record<string, (...args: unknown[]) => Promise<{ readonly status: number; readonly data: unknown }>>>;
type Generator = new (options: object) => { init(): Promise<Operations> };
/** A package of the tests' alone: what is used of it is declared here, so that type checks do without it. */
const foreign = async <T>(name: string, what: string): Promise<T> => (await import(name) as Record<string, T>)[what]!;

let dir: string, socketPath: string, world: World, api: ReturnType<typeof createApi>;
const CONFIG = {
  name: 'web', uuid: '5d72d3de-a654-4297-829e-9d59efb62889', type: 'pv', vcpus: 1, maxVcpus: 1, memoryKib: 65536, maxMemKib: 65536, kernel: '/k', cmdline: '', weight: 256, cap: 0,
  onPoweroff: 'destroy', onReboot: 'restart', onCrash: 'destroy', onWatchdog: 'destroy', onSoftReset: 'destroy', disks: [], vifs: [],
};
const named = (name: string, n: number): typeof CONFIG => ({ ...CONFIG, name, uuid: CONFIG.uuid.replace(/.$/, String(n)) });

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'api-')); socketPath = join(dir, 's'); world = fakeWorld();
  const toolstack = new Toolstack({ ...world.near, acknowledgeMs: 20 });
  api = createApi({
    toolstack, management: new Management({ toolstack, log: world.near.log, nowMs: Date.now, problemOf }), consoles: world.near.consoles, host: {
      view: () => ({
        host: 'h', release: '6', version: '#1', machine: 'x86_64', cpus: 2, cpuMhz: 1000, totalMemKib: 4193280, freeMemKib: 2314240, hwCaps: '0', compiler: 'c', buildId: '1',
        xenMajor: 4, xenMinor: 17, xenExtra: '', scheduler: 'credit2', capabilities: '', commandLine: '', changeset: '', pid: 1, uptimeSec: 1,
      }),
      dmesg: () => 'ring', debugKeys: () => {}, shutdown: () => true,
    },
  });
  await api.listen({ path: socketPath });
});
afterEach(async () => { await api.close(); await rm(dir, { recursive: true }); });

interface Answer { readonly status: number; readonly type: string; readonly link: string; readonly text: string }
function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const request = httpRequest({ socketPath, method, path, agent: false, headers: { ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }), ...headers } }, response => {
      let text = '';
      response.setEncoding('utf8').on('data', (d: string) => { text += d; }).on('end', () => resolve({ status: response.statusCode!, type: response.headers['content-type'] ?? '', link: String(response.headers['link'] ?? ''), text }));
    }).on('error', reject);
    request.end(payload);
  });
}

test('the document passes a public validator and is what is served', async () => {
  const { text } = await call('GET', '/v1/openapi.json'), document = JSON.parse(text) as Record<string, unknown>;
  const Validator = await foreign<new () => PublicValidator>('@seriousme/openapi-schema-validator', 'Validator');
  const result = await new Validator().validate(structuredClone(document));
  expect(result.errors).toBeUndefined();
  expect(result.valid).toBe(true);
  expect(document).toEqual(JSON.parse(JSON.stringify(openApi('1'))));
  expect((await new Validator().validate({ ...document, paths: { '/x': { get: { responses: 7 } } } })).valid).toBe(false);
  const page = (await call('GET', '/v1/reference')).text;
  for (const id of Object.keys(CONTRACT)) expect(page).toContain(`id="${id}"`);
});

test('a client that a public generator makes of it creates, starts, watches and destroys a domain', async () => {
  const definition = JSON.parse((await call('GET', '/v1/openapi.json')).text) as object, OpenAPIClientAxios = await foreign<Generator>('openapi-client-axios', 'OpenAPIClientAxios');
  const client = await new OpenAPIClientAxios({ definition, axiosConfigDefaults: { socketPath } }).init();
  const created = await client['createDomain']!(null, { config: CONFIG, paused: true });
  expect(created.status).toBe(201);
  const { domid, paused } = domainView.parse(created.data);
  expect(paused).toBe(true);
  const watching = client['waitEnd']!({ domain: String(domid) });
  expect((await client['act']!({ domain: 'web' }, { action: 'unpause' })).data).toMatchObject({ domid, paused: false });
  expect((await client['destroy']!({ domain: 'web' })).status).toBe(204);
  expect((await watching).data).toEqual({ kind: 'destroyed' });
  await expect(client['domain']!({ domain: 'web' })).rejects.toMatchObject({ response: { status: 404, data: { code: 'domain-not-found' } } });
});

const JUNK: readonly unknown[] = [null, 0, -1, 1e300, true, '', 'x', '../../etc/passwd', 'a'.repeat(70_000), [], [[]], {}, { unknown: 1 }, { action: 'rename' }, { config: {} }, { __proto__: null, constructor: 1 }, '\u0000', '{"a":'];
const SEGMENTS = ['nobody', '99999999999999999999', '-1', '%00', '..%2f..%2fetc%2fpasswd', 'a'.repeat(300), '%ff', '0'];
test('whatever every route is sent, the answer is a success or a problem with a code, and the host goes on', async () => {
  let calls = 0;
  for (const route of Object.values(CONTRACT) as Route[]) for (const segment of SEGMENTS) {
    if (!route.path.includes('{') && segment !== SEGMENTS[0]) continue;
    for (const [i, junk] of JUNK.entries()) {
      if (route === CONTRACT.events && i > 0) continue;
      const path = route.path.replace(/\{\w+\}/g, segment), query = i % 3 === 0 ? '' : `?last=${encodeURIComponent(String(junk).slice(0, 40))}&unknown=1`;
      if (route === CONTRACT.events && query === '') continue;
      const answer = await call(route.method, path + query, route.method === 'GET' ? undefined : junk);
      calls++;
      if (answer.status >= 400) {
        expect(answer.type, `${route.method} ${path}`).toContain('application/problem+json');
        const problem = problemSchema.parse(JSON.parse(answer.text));
        expect(problem.status, `${route.method} ${path}${query}: ${answer.text}`).toBe(answer.status);
        expect(answer.status, `${route.method} ${path}${query}: ${answer.text}`).not.toBe(500);
      } else expect(answer.status).toBe(statusOf(route));
    }
  }
  expect(calls).toBeGreaterThan(1000);
  expect(world.hypervisor.domains.size).toBe(0);
  expect(JSON.parse((await call('GET', '/healthz')).text)).toEqual({ status: 'ok', domains: 1 });
}, 60_000);

test('a body that is too large, of another type, or never ends', async () => {
  expect(JSON.parse((await call('POST', '/v1/domains', `"${'x'.repeat(2 * 1024 * 1024)}"`)).text)).toMatchObject({ status: 413, code: 'body-too-large' });
  expect(JSON.parse((await call('POST', '/v1/domains', 'a=b', { 'content-type': 'text/x' })).text)).toMatchObject({ status: 415, code: 'unsupported-media-type' });
  const half = httpRequest({ socketPath, method: 'POST', path: '/v1/domains', agent: false, headers: { 'content-type': 'application/json', 'content-length': 1000 } }).on('error', () => {});
  half.write('{"config":');
  await new Promise(resolve => setTimeout(resolve, 50));
  half.destroy();
  expect((await call('GET', '/healthz')).status).toBe(200);
  expect(world.hypervisor.domains.size).toBe(0);
});

test('what is not HTTP, or no address, is a problem too', async () => {
  const socket = connect(socketPath);
  socket.write('no HTTP at all\r\n\r\n');
  let text = '';
  for await (const part of socket) text += String(part);
  expect(text).toMatch(/^HTTP\/1.1 400 /);
  expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n')))).toMatchObject({ status: 400, code: 'bad-request' });
  expect(JSON.parse((await call('GET', '/v1/domains/%ff')).text)).toMatchObject({ status: 400, code: 'bad-request' });
});

/** What comes back for bytes, until the end of the connection. */
async function raw(request: string): Promise<string> {
  const socket = connect(socketPath);
  socket.write(request);
  let text = '';
  for await (const part of socket) text += String(part);
  return text;
}
const problemIn = (answer: string): unknown => JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
test('an offer of another protocol is left alone; a request without Host, or that expects something, is a problem', async () => {
  expect(await raw('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQA\r\n\r\n')).toMatch(/^HTTP\/1.1 200 /);
  const noHost = await raw('GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n');
  expect(noHost).toMatch(/^HTTP\/1.1 400 /);
  expect(problemIn(noHost)).toMatchObject({ code: 'bad-request', detail: 'the request has no Host header' });
  expect(await raw('GET /healthz HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1.1 200 /);
  const expecting = await raw('GET /healthz HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n');
  expect(expecting).toMatch(/^HTTP\/1.1 417 /);
  expect(problemIn(expecting)).toMatchObject({ code: 'expectation-failed' });
});
test('another method than a path has says which it has', async () => {
  const methods = async (method: string, path: string): Promise<[number, string, string]> => {
    const answer = await raw(`${method} ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    return [Number(answer.split(' ')[1]), /^allow: (.*)\r$/im.exec(answer)?.[1] ?? '', (problemIn(answer) as { code: string }).code];
  };
  expect(await methods('PUT', '/v1/domains?x=1')).toEqual([405, 'GET, HEAD, POST', 'method-not-allowed']);
  expect(await methods('OPTIONS', '/v1/definitions/a')).toEqual([405, 'GET, HEAD, PUT, PATCH, DELETE', 'method-not-allowed']);
  expect(await methods('DELETE', '/v1/events')).toEqual([405, 'GET', 'method-not-allowed']);
  expect(await methods('PUT', '/v1/openapi-json')).toEqual([404, '', 'no-such-resource']);
});
test('bytes that follow the request for a stream end it, and nothing else comes in it', async () => {
  const socket = connect(socketPath);
  let text = '';
  socket.on('data', data => { text += String(data); });
  socket.write('GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n');
  await expect.poll(() => text).toContain(': hello');
  socket.write('no HTTP at all\r\n\r\n');
  await new Promise(resolve => { socket.once('close', resolve); });
  expect(text).not.toMatch(/HTTP\/1.1 400/);
});

test('a name as long as names may be leads to its domain; a longer one is a problem', async () => {
  const name = '\u4e2d'.repeat(255), path = `/v1/domains/${encodeURIComponent(name)}`;
  expect((await call('POST', '/v1/domains', { config: { ...CONFIG, name } })).status).toBe(201);
  expect(JSON.parse((await call('GET', path)).text)).toMatchObject({ name });
  expect(JSON.parse((await call('GET', `${path}x`)).text)).toMatchObject({ status: 400, code: 'invalid-body' });
  expect((await call('DELETE', path)).status).toBe(204);
});

test('two clients that create the same domain: one of them gets it', async () => {
  const answers = await Promise.all(Array.from({ length: 8 }, () => call('POST', '/v1/domains', { config: CONFIG })));
  expect(answers.map(a => a.status).sort()).toEqual([201, ...Array<number>(7).fill(409)]);
  expect(world.hypervisor.domains.size).toBe(1);
});

test('an idempotency key makes repeating safe', async () => {
  const key = { 'idempotency-key': 'k1' }, answers = await Promise.all([1, 2, 3].map(() => call('POST', '/v1/domains', { config: CONFIG }, key)));
  expect(answers.map(a => a.status)).toEqual([201, 201, 201]);
  expect(new Set(answers.map(a => a.text)).size).toBe(1);
  expect(world.hypervisor.domains.size).toBe(1);
  expect(JSON.parse((await call('POST', '/v1/domains', { config: named('other', 1) }, key)).text)).toMatchObject({ status: 422, code: 'key-reused' });
  world.badKernels.set('/k', new (await import('../toolstack/errors.ts')).ToolstackError('bad-kernel', 'no'));
  expect((await call('POST', '/v1/domains', { config: named('two', 2) }, { 'idempotency-key': 'k2' })).status).toBe(422);
  world.badKernels.clear();
  expect((await call('POST', '/v1/domains', { config: named('two', 2) }, { 'idempotency-key': 'k2' })).status).toBe(201);
});

test('the list in pages, by name and by state', async () => {
  for (let i = 0; i < 5; i++) expect((await call('POST', '/v1/domains', { config: named(`d${i}`, i), paused: i === 4 })).status).toBe(201);
  const seen: string[] = [];
  for (let path = '/v1/domains?limit=2'; path;) {
    const { text, link } = await call('GET', path);
    seen.push(...(JSON.parse(text) as { name: string }[]).map(d => d.name));
    path = /<([^>]+)>/.exec(link)?.[1] ?? '';
  }
  expect(seen).toEqual(['Domain-0', 'd0', 'd1', 'd2', 'd3', 'd4']);
  const names = async (query: string): Promise<string[]> => (JSON.parse((await call('GET', `/v1/domains?${query}`)).text) as { name: string }[]).map(d => d.name);
  expect(await names('name=d3')).toEqual(['d3']);
  expect(await names('state=paused')).toEqual(['d4']);
  expect((await call('GET', '/v1/domains?limit=0')).status).toBe(400);
});

interface Reader { readonly events: { id: string; type: string; data: { name?: string; paused?: boolean } }[]; readonly request: ClientRequest }
function follow(since?: string): Promise<Reader> {
  return new Promise((resolve, reject) => {
    const events: Reader['events'] = [];
    const request = httpRequest({ socketPath, path: '/v1/events', agent: false, headers: since === undefined ? {} : { 'last-event-id': since } }, response => {
      let rest = '';
      response.setEncoding('utf8').on('error', () => {}).on('data', (text: string) => {
        const frames = (rest + text).split('\n\n');
        rest = frames.pop()!;
        for (const frame of frames) {
          const match = /^id: (.*)\nevent: (.*)\ndata: (.*)$/.exec(frame);
          if (match) events.push({ id: match[1]!, type: match[2]!, data: JSON.parse(match[3]!) as Reader['events'][number]['data'] });
        }
      });
      resolve({ events, request });
    }).on('error', reject);
    request.end();
  });
}
const told = (reader: Reader): string[] => reader.events.filter(e => !e.type.startsWith('operation')).map(e => `${e.type} ${e.data.name ?? ''}`);

test('events: what is changed back at once, memory targets, scheduler parameters, states of devices', async () => {
  const reader = await follow(), disks = [{ target: '/d', format: 'raw', vdev: 'xvda', readOnly: false, cdrom: false, discard: false, trusted: true }];
  await call('POST', '/v1/domains', { config: { ...CONFIG, memoryKib: 65536, maxMemKib: 131072, disks, vifs: [{ trusted: true }] } });
  const domain = (): any[] => reader.events.filter(e => e.type === 'domain-changed').map(e => e.data);
  await Promise.all([call('POST', '/v1/domains/web/actions', { action: 'pause' }), call('POST', '/v1/domains/web/actions', { action: 'unpause' })]);
  await expect.poll(() => domain().map(d => d.paused)).toEqual([true, false]);
  await call('PUT', '/v1/domains/web/memory', { targetKib: 98304 });
  await call('PATCH', '/v1/domains/web/scheduler', { weight: 512, cap: 50 });
  await call('PATCH', '/v1/domains/web/vifs/0', { carrier: false });
  await expect.poll(() => domain().slice(2).map(d => [d.memoryTargetKib, d.weight, d.cap, d.vifs[0].carrier])).toEqual([[98304, 256, 0, true], [98304, 512, 50, true], [98304, 512, 50, false]]);
  reader.request.destroy();
});

test('events: every change of state, and after a cut what came meanwhile', async () => {
  const first = await follow();
  await call('POST', '/v1/domains', { config: CONFIG });
  await call('POST', '/v1/domains/web/actions', { action: 'pause' });
  await expect.poll(() => told(first)).toEqual(['domain-created web', 'domain-changed web']);
  expect(first.events.findLast(e => e.type === 'domain-changed')!.data.paused).toBe(true);
  first.request.destroy();
  await call('POST', '/v1/domains/web/actions', { action: 'rename', name: 'site' });
  await call('DELETE', '/v1/domains/site');
  const second = await follow(first.events.at(-1)!.id);
  await expect.poll(() => told(second)).toEqual(['domain-changed site', 'domain-destroyed site']);
  const stranger = await follow('00000000-7');
  await expect.poll(() => told(stranger)).toEqual(['events-lost ']);
  world.hypervisor.nextDomid = 9;
  await call('POST', '/v1/domains', { config: CONFIG });
  world.hypervisor.shutdown(9, 0);
  await expect.poll(() => told(second).slice(2)).toContain('domain-destroyed web');
  second.request.destroy(); stranger.request.destroy();
});

test('events behind another answer on the same connection are told once it is given; a HEAD of them is none', async () => {
  await call('POST', '/v1/domains', { config: CONFIG });
  const socket = connect(socketPath), waiting = 'GET /v1/domains/web/end HTTP/1.1\r\nHost: x\r\n\r\n';
  let text = '';
  socket.setEncoding('utf8').on('data', part => { text += part; });
  socket.write(`${waiting}GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n`);
  await new Promise(resolve => setTimeout(resolve, 50));
  await call('POST', '/v1/domains/web/actions', { action: 'pause' });
  await call('DELETE', '/v1/domains/web');
  await expect.poll(() => text).toMatch(/"destroyed".*: hello.*event: domain-changed\ndata: [^\n]*"paused":true.*event: domain-destroyed/s);
  socket.destroy();
  expect((await call('HEAD', '/v1/events')).status).toBe(405);
  expect((await call('HEAD', '/v1/domains')).status).toBe(200);
});

const promtool = spawnSync('promtool', ['--version']).status === 0;
if (!promtool) console.warn('SKIPPED: promtool (package prometheus) is not installed');
test.skipIf(!promtool && !process.env['CI'])("Prometheus's own parser accepts /metrics", async () => {
  const disks = [{ target: '/d', format: 'raw', vdev: 'xvda', readOnly: false, cdrom: false, discard: false, trusted: true }];
  await call('POST', '/v1/domains', { config: { ...CONFIG, disks, vifs: [{ trusted: true }] } });
  await call('POST', '/v1/domains', { config: named('odd "name" \\', 1) });
  const { text, type } = await call('GET', '/metrics');
  expect(text).toContain('# TYPE xenolith_disk_requests_total counter\nxenolith_disk_requests_total{domid="1",name="web",vdev="xvda",operation="read"} 3\n');
  expect(text).toContain('# TYPE xenolith_disk_queue_depth gauge\nxenolith_disk_queue_depth{domid="1",name="web",vdev="xvda"} 1\n');
  expect(text).toContain('xenolith_net_bytes_total{domid="1",name="web",vif="0",direction="receive"} 0\n');
  expect(type).toContain('text/plain; version=0.0.4');
  expect(text).toContain('xenolith_domain_memory_bytes{domid="1",name="web"} ');
  const check = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  expect(check.stdout + check.stderr).toBe('');
  expect(check.status).toBe(0);
});
