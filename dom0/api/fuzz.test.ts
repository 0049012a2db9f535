// Every route of the table, fuzzed from its own schema, over a hypervisor that only keeps records.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { FUZZ_RUNS } from '../../test/fuzz/random.ts';
import { apiWorld, CONFIG, type ApiWorld } from './api-world.ts';
import { CONTRACT } from './contract.ts';
import { paramNames } from './route.ts';
import { fuzzedText, fuzzRoutes } from '../../test/fuzz/route-fuzz.ts';

let at: ApiWorld;
beforeAll(async () => { at = await apiWorld(); });
afterAll(() => at.close());

test('every route, from its schema', async () => {
  expect((await at.call('POST', '/v1/definitions', { config: CONFIG })).status).toBe(201);
  expect((await at.call('POST', '/v1/definitions/web/start')).status).toBe(201);
  const fuzzed = await fuzzRoutes(at.socketPath, Math.ceil(FUZZ_RUNS * 6 / Object.keys(CONTRACT).length), '/etc/passwd');
  console.log(fuzzedText(fuzzed));
  expect(paramNames('/{a}/{b}')).toEqual(['a', 'b']);
  expect([...fuzzed.statuses.keys()].filter(s => s < 300).length).toBeGreaterThan(1);
  expect((await at.call('GET', '/healthz')).json.status).toBe('ok');
  expect((await at.call('GET', '/v1/operations?state=running')).json).toEqual([]);
}, 120_000);
