// Log lines say whose work they are about, down to the backends, also after the call that began it has ended.
import { afterEach, expect, test } from 'vitest';
import { apiWorld, CONFIG, type ApiWorld } from './api/api-world.ts';
import { boundLog, logContext, within, type LogFields } from './log-context.ts';
import { fakeWorld } from './toolstack/fakes.ts';

let at: ApiWorld | undefined;
afterEach(async () => { await at?.close(); at = undefined; });

test('requests and operations are in the lines of what they cause', async () => {
  const lines: (LogFields & { message: string })[] = [], note = (_: object, message: string): void => { lines.push({ message, ...logContext() }); };
  const world = fakeWorld(), disks = { open: async (): Promise<never> => { throw new Error('never'); } };
  at = await apiWorld({}, { ...world, near: { ...world.near, disks, log: { info: note, warn: note, error: note } } });
  const created = await at.call('POST', '/v1/domains', { config: CONFIG }), { json: [operation] } = await at.call('GET', '/v1/operations');
  const line = lines.find(l => l.message === 'domain created');
  expect(line).toEqual({ message: 'domain created', request: created.headers['x-request-id'], operation: operation.id });
  expect(logContext()).toEqual({});
});

test('what a backend says later still carries the request that began it, and its domain', async () => {
  const seen: LogFields[] = [], log = within({ request: 'r1' }, () => boundLog(() => { seen.push(logContext()); }, { domid: 5 }));
  await within({ request: 'other' }, async () => log('connected'));
  expect(seen).toEqual([{ request: 'r1', domid: 5 }]);
});
