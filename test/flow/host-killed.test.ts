// A host that is killed (-9) in the midst of what several clients ask of it, and started again: what was answered holds, what
// was not is either there or not, half-done operations say so, and the audit log has no gap.
import { createHash } from 'node:crypto';
import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CONFIG, send, type Answer } from '../../dom0/api/api-world.ts';
import { FUZZ_SEED, Random } from '../fuzz/random.ts';
import { BLOCK, SAY_OK, smallKernel } from './small-kernel.ts';

const root = join(import.meta.dirname, '../..'), ROUNDS = 6, CLIENTS = 3;
const random = new Random(FUZZ_SEED);
let dir: string, host: ChildProcess | undefined;

async function startHost(): Promise<void> {
  host = spawn(process.execPath, [join(root, 'tools/host/index.ts'), 'host', '--bridge', 'xenbr0=none'], { env: { ...process.env, XENOLITH_RUNDIR: join(dir, 'run') }, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  await new Promise<void>((resolve, reject) => {
    host!.stderr!.on('data', data => { said += String(data); if (said.includes('host ready')) resolve(); });
    host!.on('exit', code => reject(new Error(`the host ended (${code}): ${said}`)));
  });
}
async function killHost(): Promise<void> {
  const ended = new Promise(resolve => host!.once('exit', resolve));
  host!.kill('SIGKILL');
  await ended;
}
const call = (method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer> => send({ socketPath: join(dir, 'run', 'api.sock') }, method, path, body, headers);

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'killed-'));
  writeFileSync(join(dir, 'ok.elf'), smallKernel([...SAY_OK, ...BLOCK]));
  await startHost();
});
afterAll(async () => { if (host && host.exitCode === null && host.signalCode === null) await killHost(); rmSync(dir, { recursive: true, force: true }); });

/** What one client knows: of each thing the last answer; while a call is under way also what it would be. */
class Client {
  readonly number: number;
  /** Values that a definition or token may have, as text; more than one: a call was not answered. `none`: it is not there. */
  readonly definitions = new Map<string, Set<string>>();
  readonly tokens = new Map<string, Set<string>>();
  readonly operations = new Set<string>();
  answered = 0;
  #next = 0;
  constructor(number: number) { this.number = number; }

  /** One call after the other until the host is gone. */
  async work(): Promise<void> {
    for (;;) try { await this.#step(); } catch (error) {
      if (['ECONNRESET', 'ECONNREFUSED', 'EPIPE', 'ENOENT'].includes((error as NodeJS.ErrnoException).code ?? '')) return;
      throw error;
    }
  }

  async #step(): Promise<void> {
    const names = [...this.definitions].filter(([, values]) => !values.has('none')).map(([uuid]) => uuid), pick = names.length > 0 ? random.pick(names) : undefined;
    const what = random.below(7);
    if (pick === undefined || what === 0) {
      const n = ++this.#next, uuid = `00000000-0000-4000-8000-${String(this.number).padStart(4, '0')}${String(n).padStart(8, '0')}`, name = `c${this.number}-${n}`;
      await this.#change(this.definitions, uuid, `${name} false`, 'none', () => call('POST', '/v1/definitions', { config: { ...CONFIG, uuid, name, kernel: join(dir, 'ok.elf'), memoryKib: 32768, maxMemKib: 32768 } }));
    } else if (what === 1) await this.#change(this.definitions, pick, 'none', undefined, () => call('DELETE', `/v1/definitions/${pick}`));
    else if (what === 2) {
      const name = `c${this.number}-${++this.#next}`;
      await this.#change(this.definitions, pick, `${name} false`, undefined, () => call('PATCH', `/v1/definitions/${pick}`, { name }));
    } else if (what === 3) {
      const { json, status } = await call('POST', '/v1/tokens', { name: `c${this.number}`, scope: 'read' });
      expect(status).toBe(201);
      this.answered++;
      this.tokens.set(json.id, new Set(['holds']));
    } else if (what === 4 && this.tokens.size > 0) {
      const id = random.pick([...this.tokens.keys()]);
      await this.#change(this.tokens, id, 'revoked', undefined, () => call('DELETE', `/v1/tokens/${id}`));
    } else {
      const { status, json } = await call('POST', `/v1/definitions/${pick}/start`, {}, { prefer: 'respond-async' });
      expect([202, 409]).toContain(status);
      this.answered++;
      if (status === 202) this.operations.add(json.id);
      else await this.#counted(call('DELETE', `/v1/domains/${(await call('GET', `/v1/definitions/${pick}`)).json.name}`, undefined, { prefer: 'respond-async' }));
    }
  }
  async #counted(answer: Promise<Answer>): Promise<void> { await answer; this.answered++; }
  async #change(things: Map<string, Set<string>>, id: string, after: string, before: string | undefined, change: () => Promise<Answer>): Promise<void> {
    things.set(id, new Set([...things.get(id) ?? [before!], after]));
    const { status, text } = await change();
    expect(status, text).toBeLessThan(300);
    this.answered++;
    things.set(id, new Set([after]));
  }
}

async function all(path: string): Promise<any[]> {
  const found: any[] = [];
  for (let next: string | undefined = path; next;) {
    const { json, headers } = await call('GET', next);
    found.push(...json);
    next = /<([^>]+)>/.exec(String(headers.link ?? ''))?.[1];
  }
  return found;
}

/** The file by itself: every line follows from the one before. */
function auditLines(): { seq: number; what: string; of?: number }[] {
  let chain = '0'.repeat(32);
  return readFileSync(join(dir, 'run', 'state', 'audit.jsonl'), 'utf8').trimEnd().split('\n').map(line => {
    const { chain: told, ...entry } = JSON.parse(line) as { chain: string; seq: number; what: string; of?: number };
    chain = createHash('sha256').update(chain).update(JSON.stringify(entry)).digest('hex').slice(0, 32);
    expect(told).toBe(chain);
    return entry;
  });
}

test(`killed ${ROUNDS} times`, async () => {
  const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(i)), auto = { ...CONFIG, name: 'auto', kernel: join(dir, 'ok.elf'), memoryKib: 32768, maxMemKib: 32768 };
  expect((await call('POST', '/v1/definitions', { config: auto, autostart: true })).status).toBe(201);
  expect((await call('POST', '/v1/definitions/auto/start')).status).toBe(201);
  let interrupted = 0, answered = 2;
  for (let round = 0; round < ROUNDS; round++) {
    // The guest has no driver for it: this one is half-done for sure.
    const halfDone = (await call('POST', '/v1/domains/auto/actions', { action: 'shutdown' }, { prefer: 'respond-async' })).json.id as string;
    answered++;
    const working = clients.map(client => client.work());
    await new Promise(resolve => setTimeout(resolve, 100 + random.below(900)));
    await killHost();
    await Promise.all(working);
    await startHost();

    const definitions = new Map((await all('/v1/definitions')).map(d => [d.uuid, `${d.name} ${d.autostart}`])), tokens = new Map((await all('/v1/tokens')).map(t => [t.id, t.revokedMs === undefined ? 'holds' : 'revoked']));
    for (const client of clients) for (const [things, seen] of [[client.definitions, definitions], [client.tokens, tokens]] as const) for (const [id, values] of things) {
      const now = seen.get(id) ?? 'none';
      expect([...values]).toContain(now);
      things.set(id, new Set([now]));
    }
    const operations = new Map((await all('/v1/operations')).map(o => [o.id, o]));
    expect(operations.get(halfDone)).toMatchObject({ state: 'interrupted', kind: 'shutdown', target: 'auto', endedMs: expect.any(Number) });
    for (const client of clients) for (const id of client.operations) expect(['succeeded', 'failed', 'interrupted']).toContain(operations.get(id)?.state);
    for (const o of operations.values()) if (o.state === 'running') expect([o.who, o.target]).toEqual(['host', 'auto']);
    interrupted = [...operations.values()].filter(o => o.state === 'interrupted').length;
    const lines = auditLines();
    expect(lines.map(e => e.seq)).toEqual(lines.map((_, i) => i + 1));
    expect(lines.filter(e => /^(POST|PATCH|DELETE) /.test(e.what) && e.of === undefined).length).toBeGreaterThanOrEqual(answered + clients.reduce((sum, c) => sum + c.answered, 0));
    await expect.poll(async () => (await call('GET', '/v1/definitions/auto/status')).json.state, { timeout: 20_000 }).toBe('running');
  }
  const total = clients.reduce((sum, c) => sum + c.answered, 0);
  console.log(`${total} changes answered, ${interrupted} operations interrupted in ${ROUNDS} kills`);
  expect(total).toBeGreaterThan(ROUNDS * 5);
  expect(interrupted).toBeGreaterThanOrEqual(ROUNDS);
}, 180_000);
