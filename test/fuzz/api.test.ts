// The routes of a whole host, fuzzed from their schemas: gdb, traces, captures and consoles too, of a guest that runs.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CONFIG, send } from '../../dom0/api/api-world.ts';
import { CONTRACT } from '../../dom0/api/contract.ts';
import { fuzzedText, fuzzRoutes } from './route-fuzz.ts';
import { BLOCK, smallKernel } from '../flow/small-kernel.ts';
import { TestHost } from '../guests/guest-shell.ts';
import { FUZZ_RUNS } from './random.ts';

/** What ends Dom0 (the debug key C), ends or renames the guest, or asks one without drivers, for ten seconds and more: those are fuzzed beside the API's source. */
const LEFT = ['shutdownHost', 'debugKeys', 'act', 'destroy', 'undefine', 'changeDefinition', 'replaceDefinition', 'detachDisk', 'detachVif', 'restartVif'], TEXT = 'not to be touched';
const DEBUGGING = ['gdb', 'stacks', 'setTrace', 'calls', 'instructions', 'captureVif', 'captureBridge', 'perf'];
let dir: string, host: TestHost;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-fuzz-'));
  writeFileSync(join(dir, 'k'), smallKernel(BLOCK));
  writeFileSync(join(dir, 'file'), TEXT);
  host = await TestHost.start(join(dir, 'run'), '--bridge', 'xenbr0=none');
});
afterAll(async () => { await host.stop(); rmSync(dir, { recursive: true }); });

test('every route of a whole host', async () => {
  const { socketPath } = host.client, call = (method: string, path: string, body?: unknown) => send({ socketPath }, method, path, body);
  const config = { ...CONFIG, kernel: join(dir, 'k'), memoryKib: 32768, maxMemKib: 32768, vifs: [{ trusted: true }] };
  expect((await call('POST', '/v1/definitions', { config, restart: { policy: 'always', minSeconds: 1 } })).status).toBe(201);
  expect((await call('POST', '/v1/definitions/web/start')).status).toBe(201);
  const { pid } = (await call('GET', '/v1/host')).json;
  const fuzzed = await fuzzRoutes(socketPath, Math.ceil(FUZZ_RUNS * 3 / Object.keys(CONTRACT).length), join(dir, 'file'), LEFT);
  console.log(fuzzedText(fuzzed), DEBUGGING.map(id => `${id} ${fuzzed.successes.get(id) ?? 0}`).join(', '));
  expect(DEBUGGING.filter(id => fuzzed.successes.has(id)).length).toBeGreaterThan(4);
  expect((await call('GET', '/v1/host')).json.pid).toBe(pid);
  expect((await call('GET', '/v1/host/dmesg')).text).not.toMatch(/Dom0 .*(crash|restart)/i);
  expect(readFileSync(join(dir, 'file'), 'utf8')).toBe(TEXT);
}, 180_000);
