// Definitions, operations and who changed what, as a client of the Unix socket sees them.
import { request as httpRequest } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SHUTDOWN_crash, SHUTDOWN_poweroff, SHUTDOWN_reboot } from '../../hypervisor/public/sched.ts';
import { stateFolderAt } from '../management/state-folder.ts';
import { ToolstackError } from '../toolstack/errors.ts';
import { fakeWorld } from '../toolstack/fakes.ts';
import { apiWorld, CONFIG, named, type Answer, type ApiWorld } from './api-world.ts';

let at: ApiWorld;
// Guests have longer to answer than a busy machine takes for a call.
beforeEach(async () => { at = await apiWorld({}, fakeWorld(), 10_000); });
afterEach(() => at.close());
const define = (config = CONFIG, more: object = {}): Promise<Answer> => at.call('POST', '/v1/definitions', { config, ...more });
const status = async (): Promise<any> => (await at.call('GET', '/v1/definitions/web/status')).json;
const ids = (): number[] => [...at.world.hypervisor.domains.keys()];

describe('definitions', () => {
  test('made of JSON or of the text of an xl.cfg, listed, read, forgotten', async () => {
    const made = await define();
    expect([made.status, made.headers.etag, made.json]).toEqual([201, `"${CONFIG.uuid}-1"`, expect.objectContaining({ name: 'web', autostart: false, revision: 1, confined: false, restart: expect.objectContaining({ policy: 'never' }) })]);
    expect((await define()).json).toMatchObject({ status: 409, code: 'definition-exists' });
    const text = await at.call('POST', '/v1/definitions', { xlcfg: 'name="db"\nkernel="/k"\nmemory=64\ndisk=["/d,raw,xvda,rw"]\n', autostart: true, restart: { policy: 'always' } });
    expect([text.status, text.json.config.disks[0].target, text.json.autostart, text.json.restart.policy]).toEqual([201, '/d', true, 'always']);
    expect((await at.call('GET', '/v1/definitions')).json.map((d: any) => d.name)).toEqual(['db', 'web']);
    expect((await at.call('GET', `/v1/definitions/${CONFIG.uuid}`)).json.name).toBe('web');
    expect((await at.call('DELETE', '/v1/definitions/web')).status).toBe(204);
    expect((await at.call('GET', '/v1/definitions/web')).json).toMatchObject({ status: 404, code: 'definition-not-found' });
    expect(ids()).toEqual([]);
  });
  test('what cannot be one', async () => {
    const refused = async (body: unknown): Promise<unknown[]> => { const { status, json } = await at.call('POST', '/v1/definitions', body); return [status, json.code]; };
    expect(await refused({})).toEqual([400, 'invalid-body']);
    expect(await refused({ config: CONFIG, xlcfg: 'name="x"' })).toEqual([400, 'invalid-body']);
    expect(await refused({ config: CONFIG, more: 1 })).toEqual([400, 'invalid-body']);
    expect(await refused({ xlcfg: 'name="x' })).toEqual([422, 'bad-config']);
    expect(await refused({ xlcfg: 'name="x"\nkernel="k"' })).toEqual([422, 'bad-config']);
    expect(await refused({ config: { ...CONFIG, name: 'a/b' } })).toEqual([422, 'bad-name']);
    expect(await refused({ config: CONFIG, restart: { policy: 'sometimes' } })).toEqual([400, 'invalid-body']);
  });
  test('entity tags: what was not changed is not sent again, what was is not overwritten', async () => {
    const { etag } = (await define()).headers as { etag: string };
    const again = await at.call('GET', '/v1/definitions/web', undefined, { 'if-none-match': etag });
    expect([again.status, again.text, again.headers.etag]).toEqual([304, '', etag]);
    const body = { config: { ...CONFIG, memoryKib: 32768 } };
    const answers = await Promise.all([1, 2, 3].map(() => at.call('PUT', '/v1/definitions/web', body, { 'if-match': etag })));
    expect(answers.map(a => a.status).sort()).toEqual([200, 412, 412]);
    expect((await at.call('GET', '/v1/definitions/web', undefined, { 'if-none-match': etag })).json).toMatchObject({ revision: 2, config: { memoryKib: 32768 } });
    expect((await at.call('DELETE', '/v1/definitions/web', undefined, { 'if-match': etag })).json).toMatchObject({ status: 412, code: 'precondition-failed' });
    expect((await at.call('PUT', '/v1/definitions/web', body, { 'if-none-match': '*' })).status).toBe(412);
    expect((await at.call('PUT', '/v1/definitions/new', { config: named('new', 2) }, { 'if-none-match': '*' })).status).toBe(201);
    expect((await at.call('PUT', '/v1/definitions/none', { config: named('none', 3) })).status).toBe(404);
    expect((await at.call('PATCH', '/v1/definitions/web', { autostart: true }, { 'if-match': '*' })).json).toMatchObject({ revision: 3, autostart: true });
  });
  test('a change leaves alone what it does not name', async () => {
    await define(CONFIG, { autostart: true, restart: { policy: 'always', maxRestarts: 3 } });
    expect((await at.call('PATCH', '/v1/definitions/web', { restart: { maxSeconds: 5 } })).json).toMatchObject({ autostart: true, restart: { policy: 'always', minSeconds: 1, maxSeconds: 5, maxRestarts: 3 } });
  });
  test('changes at once that name no revision all hold', async () => {
    await define();
    await at.call('POST', '/v1/definitions/web/start');
    const answers = await Promise.all([{ name: 'site' }, { autostart: true }, { restart: { policy: 'always' } }].map(body => at.call('PATCH', `/v1/definitions/${CONFIG.uuid}`, body)));
    expect(answers.map(a => a.status)).toEqual([200, 200, 200]);
    expect((await at.call('GET', '/v1/definitions/site')).json).toMatchObject({ autostart: true, restart: { policy: 'always' } });
  });
  test('a new name is the running domain\'s too, whoever gives it', async () => {
    await define();
    expect((await at.call('POST', '/v1/definitions/web/start')).status).toBe(201);
    expect((await at.call('PATCH', '/v1/definitions/web', { name: 'site' })).json).toMatchObject({ name: 'site', config: { name: 'site' } });
    expect((await at.call('GET', '/v1/domains/site')).json).toMatchObject({ uuid: CONFIG.uuid });
    expect((await at.call('POST', '/v1/domains/site/actions', { action: 'rename', name: 'web' })).status).toBe(200);
    expect((await at.call('GET', '/v1/definitions/web')).json).toMatchObject({ name: 'web', revision: 3 });
    await define(named('other', 1));
    expect((await at.call('PATCH', '/v1/definitions/web', { name: 'other' })).json).toMatchObject({ code: 'definition-exists' });
    expect((await at.call('POST', '/v1/domains/web/actions', { action: 'rename', name: 'other' })).json).toMatchObject({ code: 'definition-exists' });
    expect((await at.call('GET', '/v1/domains/web')).json).toMatchObject({ name: 'web' });
  });
  test('an idempotency key makes repeating safe', async () => {
    const key = { 'idempotency-key': 'd1' }, answers = await Promise.all([1, 2].map(() => at.call('POST', '/v1/definitions', { config: CONFIG }, key)));
    expect(answers.map(a => [a.status, a.json.uuid])).toEqual([[201, CONFIG.uuid], [201, CONFIG.uuid]]);
  });
  test('two clients that start the same one: one of them does', async () => {
    await define();
    const answers = await Promise.all(Array.from({ length: 6 }, () => at.call('POST', '/v1/definitions/web/start')));
    expect(answers.map(a => a.status).sort()).toEqual([201, 409, 409, 409, 409, 409]);
    expect(ids()).toHaveLength(1);
    expect(await status()).toMatchObject({ state: 'running', wanted: 'running', domid: ids()[0] });
  });
});

describe('restart policies', () => {
  const end = (reason: number): void => at.world.hypervisor.shutdown(ids()[0]!, reason);
  const started = async (restart: object): Promise<void> => { await define(CONFIG, { restart }); await at.call('POST', '/v1/definitions/web/start'); };
  test('always: after a power-off too, but not after a caller ended it', async () => {
    await started({ policy: 'always' });
    const [first] = ids();
    end(SHUTDOWN_poweroff);
    await expect.poll(status).toMatchObject({ state: 'running', lastEnd: { reason: SHUTDOWN_poweroff } });
    expect(ids()).not.toContain(first);
    expect((await at.call('DELETE', '/v1/domains/web')).status).toBe(204);
    await new Promise(resolve => setTimeout(resolve, 50));
    expect([await status(), ids()]).toEqual([expect.objectContaining({ state: 'stopped', wanted: 'stopped' }), []]);
  });
  test('on-failure: after a crash, not after a power-off; on_reboot comes first', async () => {
    await started({ policy: 'on-failure', resetSeconds: 0 });
    end(SHUTDOWN_crash);
    await expect.poll(status).toMatchObject({ state: 'running', lastEnd: { reason: SHUTDOWN_crash } });
    const [second] = ids();
    end(SHUTDOWN_reboot);
    await expect.poll(async () => ids().length === 1 && ids()[0] !== second).toBe(true);
    expect(at.management.operations.list().map(o => [o.kind, o.who.split(':')[0]])).toEqual([['start', 'host'], ['start', 'uid']]);
    end(SHUTDOWN_poweroff);
    await expect.poll(status).toMatchObject({ state: 'stopped', wanted: 'stopped' });
  });
  test('gives up after so many in a row, with longer and longer pauses', async () => {
    await started({ policy: 'always', maxRestarts: 3, minSeconds: 1, resetSeconds: 86_400 });
    at.world.badKernels.set('/k', new ToolstackError('bad-kernel', 'gone'));
    end(SHUTDOWN_crash);
    await expect.poll(status).toMatchObject({ state: 'failed', restarts: 3, lastError: 'gone' });
    expect(at.management.operations.list().filter(o => o.state === 'failed')).toHaveLength(3);
    at.world.badKernels.clear();
    expect((await at.call('POST', '/v1/definitions/web/start')).status).toBe(201);
    expect(await status()).toMatchObject({ state: 'running', restarts: 0 });
  });
  test('a pause ends when the definition goes, or a caller starts it', async () => {
    await started({ policy: 'always', minSeconds: 10_000, maxSeconds: 10_000 });
    end(SHUTDOWN_poweroff);
    await expect.poll(status).toMatchObject({ state: 'waiting', restarts: 1 });
    expect((await at.call('POST', '/v1/definitions/web/start')).status).toBe(201);
    end(SHUTDOWN_poweroff);
    await expect.poll(status).toMatchObject({ state: 'waiting' });
    expect((await at.call('DELETE', '/v1/definitions/web')).status).toBe(204);
    expect(ids()).toEqual([]);
  });
  test('what the policy has become in a pause holds at its end', async () => {
    await started({ policy: 'always', minSeconds: 100 });
    end(SHUTDOWN_poweroff);
    await expect.poll(status).toMatchObject({ state: 'waiting' });
    expect((await at.call('PATCH', '/v1/definitions/web', { restart: { policy: 'on-failure' } })).status).toBe(200);
    await expect.poll(status).toMatchObject({ state: 'stopped', wanted: 'stopped' });
    expect(ids()).toEqual([]);
  });
  test('a start that is refused, as too much is under way, may be asked for again; a policy does so by itself', async () => {
    await started({ policy: 'always', minSeconds: 10, maxSeconds: 10 });
    const ends: (() => void)[] = [], { operations } = at.management;
    const fill = (): void => { for (;;) try { void operations.run({ kind: 'wait', target: 'x', who: 'uid:0' }, () => new Promise<void>(resolve => { ends.push(resolve); })); } catch { return; } };
    fill();
    end(SHUTDOWN_poweroff);
    await expect.poll(async () => (await status()).restarts).toBeGreaterThan(2);
    expect((await at.call('POST', '/v1/definitions/web/start')).json).toMatchObject({ code: 'limit-reached' });
    expect(await status()).toMatchObject({ state: 'waiting', wanted: 'running' });
    for (const done of ends) done();
    await expect.poll(status).toMatchObject({ state: 'running' });
  });
  test('a caller is quicker than on_reboot: that is no failure', async () => {
    // In real time, in which the domain ends so soon that there is a pause before it is made again.
    const world = fakeWorld();
    await at.close();
    at = await apiWorld({}, { ...world, near: { ...world.near, nowMs: Date.now } }, 10_000);
    await started({ policy: 'never' });
    end(SHUTDOWN_reboot);
    await expect.poll(status).toMatchObject({ state: 'waiting', wanted: 'running' });
    expect((await at.call('POST', '/v1/definitions/web/start')).status).toBe(201);
    await expect.poll(() => at.world.messages.filter(m => m.startsWith('handling the end')), { timeout: 5000 }).toHaveLength(1);
    expect(await status()).toMatchObject({ state: 'running', wanted: 'running', lastEnd: { reason: SHUTDOWN_reboot } });
  });
});

describe('operations', () => {
  const ASYNC = { prefer: 'respond-async' };
  test('a call that prefers not to wait is answered by its operation, whose result is kept', async () => {
    const begun = await at.call('POST', '/v1/domains', { config: CONFIG }, ASYNC);
    expect([begun.status, begun.headers['preference-applied'], begun.json]).toEqual([202, 'respond-async', expect.objectContaining({ kind: 'create', target: 'web', state: 'running' })]);
    const ended = (await at.call('GET', `${begun.headers.location}?wait=5`)).json;
    expect(ended).toMatchObject({ state: 'succeeded', result: { name: 'web' }, progress: { step: 'devices', done: 3, of: 4 } });
    expect((await at.call('POST', `${begun.headers.location}/cancel`)).json).toMatchObject({ status: 409, code: 'operation-ended' });
    const failing = await at.call('POST', '/v1/domains', { config: CONFIG }, ASYNC);
    expect((await at.call('GET', `${failing.headers.location}?wait=5`)).json).toMatchObject({ state: 'failed', problem: { code: 'domain-exists', status: 409 } });
    expect((await at.call('GET', '/v1/operations?state=failed&target=web')).json).toHaveLength(1);
    expect((await at.call('GET', '/v1/operations?limit=1')).headers.link).toMatch(/^<\/v1\/operations\?limit=1&before=2>; rel="next"$/);
    expect((await at.call('GET', '/v1/operations/nothing')).json).toMatchObject({ status: 404, code: 'operation-not-found' });
  });
  test('what has happened is in the answer, though it is not yet on the disk', async () => {
    for (let i = 0; i < 20; i++) {
      void at.management.audit.add({ who: 'host', what: `change ${i}` });
      expect((await at.call('GET', '/v1/audit')).json.map((e: { what: string }) => e.what)).toContain(`change ${i}`);
    }
  });
  test('a client that vanishes in the midst of it changes nothing; readers of events hear how it goes', async () => {
    let heard = '', go = (): void => {};
    const reader = httpRequest({ socketPath: at.socketPath, path: '/v1/events', agent: false }, response => { response.setEncoding('utf8').on('data', part => { heard += part; }).on('error', () => {}); }).on('error', () => {});
    reader.end();
    await expect.poll(() => heard).toContain(': hello');
    const { prepare } = at.world.near.builder, held = new Promise<void>(resolve => { go = resolve; });
    (at.world.near.builder as { prepare: typeof prepare }).prepare = async config => { await held; return prepare(config); };
    const vanishing = httpRequest({ socketPath: at.socketPath, method: 'POST', path: '/v1/domains', agent: false, headers: { 'content-type': 'application/json' } }).on('error', () => {});
    vanishing.end(JSON.stringify({ config: CONFIG }));
    await expect.poll(() => at.management.operations.list()[0]?.progress?.step).toBe('kernel');
    vanishing.destroy();
    go();
    await expect.poll(async () => (await at.call('GET', '/v1/operations')).json[0]).toMatchObject({ kind: 'create', state: 'succeeded', result: { name: 'web' } });
    expect(ids()).toHaveLength(1);
    await expect.poll(async () => (await at.call('GET', '/v1/audit')).json.map((e: any) => [e.what, e.of, e.status])).toEqual([['POST /v1/domains', undefined, undefined], ['POST /v1/domains', 1, 201]]);
    for (const said of ['"state":"running"', '"step":"devices"', '"state":"succeeded"']) await expect.poll(() => heard).toMatch(new RegExp(`event: operation-changed\\ndata: .*${said}`));
    reader.destroy();
  });
  test('one that waits is an operation as well', async () => {
    const made = await at.call('POST', '/v1/domains', { config: CONFIG });
    expect((await at.call('GET', String(made.headers['operation-location']))).json).toMatchObject({ state: 'succeeded', result: { name: 'web' } });
  });
  test('cancelling a shutdown takes it back; the policy holds as before', async () => {
    await define(CONFIG, { restart: { policy: 'always' } });
    const domid = (await at.call('POST', '/v1/definitions/web/start')).json.domid as number;
    const slow = await at.call('POST', '/v1/domains/web/actions', { action: 'shutdown' }, ASYNC);
    expect(at.world.store.read(`/local/domain/${domid}/control/shutdown`)).toBe('poweroff');
    expect((await at.call('POST', `${slow.headers.location}/cancel`)).json).toMatchObject({ state: 'cancelled', problem: { code: 'cancelled' } });
    expect(at.world.store.read(`/local/domain/${domid}/control/shutdown`)).toBe('');
    expect(await status()).toMatchObject({ state: 'running', wanted: 'running' });
  });
  test('cancelling a create leaves nothing', async () => {
    let go = (): void => {};
    const { prepare } = at.world.near.builder;
    (at.world.near.builder as { prepare: typeof prepare }).prepare = async config => { await new Promise<void>(resolve => { go = resolve; }); return prepare(config); };
    const begun = await at.call('POST', '/v1/domains', { config: { ...CONFIG, disks: [{ target: '/d', format: 'raw', vdev: 'xvda', readOnly: false, cdrom: false, discard: false, trusted: false }] } }, ASYNC);
    await expect.poll(() => at.world.openDisks.size).toBe(1);
    const cancelling = at.call('POST', `${begun.headers.location}/cancel`);
    await expect.poll(() => go).toBeTruthy();
    setTimeout(() => go(), 20);
    expect((await cancelling).json).toMatchObject({ state: 'cancelled' });
    expect([ids(), at.world.openDisks.size]).toEqual([[], 0]);
  });
  test('a shutdown until the end', async () => {
    const { domid } = (await at.call('POST', '/v1/domains', { config: CONFIG })).json as { domid: number };
    const begun = await at.call('POST', '/v1/domains/web/actions?until=ended', { action: 'shutdown' }, ASYNC);
    at.world.store.write(`/local/domain/${domid}/control/shutdown`, '');
    await expect.poll(async () => (await at.call('GET', String(begun.headers.location))).json.progress?.step).toBe('ending');
    at.world.hypervisor.shutdown(domid, SHUTDOWN_poweroff);
    expect((await at.call('GET', `${begun.headers.location}?wait=5`)).json).toMatchObject({ state: 'succeeded' });
  });
});

describe('another life of the host', () => {
  test('a key that made something is answered as before; one whose call failed or was cut off may be used again', async () => {
    const folder = stateFolderAt(`${at.dir}/keys`), first = await apiWorld({ folder, hostLife: 'one' }), key = (k: string): Record<string, string> => ({ 'idempotency-key': k });
    const made = await first.call('POST', '/v1/definitions', { config: CONFIG }, key('a')), domain = await first.call('POST', '/v1/domains', { config: named('db', 1) }, key('b'));
    first.world.badKernels.set('/k', new ToolstackError('bad-kernel', 'no'));
    expect([made.status, domain.status, (await first.call('POST', '/v1/domains', { config: named('bad', 2) }, key('c'))).status]).toEqual([201, 201, 422]);
    await first.close();
    const second = await apiWorld({ folder, hostLife: 'two' });
    const again = await second.call('POST', '/v1/definitions', { config: CONFIG }, key('a'));
    expect([again.status, again.json, again.headers.etag]).toEqual([201, made.json, made.headers.etag]);
    const repeated = await second.call('POST', '/v1/domains', { config: named('db', 1) }, { ...key('b'), prefer: 'respond-async' });
    expect([repeated.status, repeated.json]).toEqual([201, domain.json]);
    expect(second.world.hypervisor.domains.size).toBe(0);
    expect((await second.call('POST', '/v1/domains', { config: named('bad', 2) }, key('c'))).status).toBe(201);
    expect((await second.call('POST', '/v1/definitions', { config: named('x', 3) }, key('a'))).json).toMatchObject({ status: 422, code: 'key-reused' });
    // The same key for another route is another request.
    expect((await second.call('POST', '/v1/domains', { config: CONFIG }, key('a'))).json.code).toBe('key-reused');
    await second.close();
  });
  test('definitions stay, what was to start with it starts, half-done operations are interrupted', async () => {
    const folder = stateFolderAt(`${at.dir}/state`), first = await apiWorld({ folder, hostLife: 'one' });
    await first.call('POST', '/v1/definitions', { config: CONFIG, autostart: true });
    await first.call('POST', '/v1/definitions', { config: named('db', 1) });
    await first.call('POST', '/v1/definitions/db/start');
    void first.management.operations.run({ kind: 'create', target: 'half', who: 'uid:0' }, () => new Promise(() => {}));
    await first.close();
    const second = await apiWorld({ folder, hostLife: 'two' });
    await second.management.resume();
    expect((await second.call('GET', '/v1/definitions')).json.map((d: any) => d.name)).toEqual(['db', 'web']);
    expect((await second.call('GET', '/v1/domains')).json.map((d: any) => d.name)).toEqual(['Domain-0', 'web']);
    expect((await second.call('GET', '/v1/operations?state=interrupted')).json).toEqual([expect.objectContaining({ kind: 'create', target: 'half', endedMs: expect.any(Number) })]);
    const log = (await second.call('GET', '/v1/audit')).json as { what: string; who: string; seq: number; detail?: string }[];
    expect(log.map(e => e.seq)).toEqual(log.map((_, i) => i + 1));
    expect(log.filter(e => e.what === 'start web').map(e => [e.who, String(e.detail).split(': ')[1]])).toEqual([['host', 'running'], ['host', 'succeeded']]);
    await second.call('DELETE', '/v1/domains/web');
    await second.close();
    // Dom0 alone began anew: what a caller ended stays so.
    const third = await apiWorld({ folder, hostLife: 'two' });
    await third.management.resume();
    expect((await third.call('GET', '/v1/domains')).json).toHaveLength(1);
    await third.close();
  });
});

test('every change is in the audit log, with its outcome', async () => {
  await define();
  await at.call('DELETE', '/v1/domains/nobody');
  await at.call('GET', '/v1/domains');
  await expect.poll(async () => (await at.call('GET', '/v1/audit')).json.map((e: any) => [e.what, e.who.split(':')[0], e.of, e.status])).toEqual([
    ['POST /v1/definitions', 'uid', undefined, undefined], ['POST /v1/definitions', 'uid', 1, 201], ['DELETE /v1/domains/nobody', 'uid', undefined, undefined], ['DELETE /v1/domains/nobody', 'uid', 3, 404],
  ]);
  const page = await at.call('GET', '/v1/audit?after=1&limit=2');
  expect([page.json.map((e: any) => e.seq), page.headers.link]).toEqual([[2, 3], '</v1/audit?after=3&limit=2>; rel="next"']);
});
