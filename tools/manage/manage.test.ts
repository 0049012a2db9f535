// The commands for definitions, operations and the audit log, against the API itself over a hypervisor that only keeps records.
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { apiWorld, type ApiWorld } from '../../dom0/api/api-world.ts';
import { stateFolderAt } from '../../dom0/management/state-folder.ts';
import { ManageUsageError } from './arguments.ts';
import { AUDIT_USAGE, runAudit } from './audit.ts';
import { DEFINITION_USAGE, runDefinition } from './definition.ts';
import { OPERATION_USAGE, runOperation } from './operation.ts';

let dir: string, at: ApiWorld, said = '';
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'manage-'));
  at = await apiWorld({ folder: stateFolderAt(join(dir, 'state')) });
  symlinkSync(at.socketPath, join(dir, 'api.sock'));
  vi.stubEnv('XENOLITH_RUNDIR', dir);
  vi.spyOn(process.stdout, 'write').mockImplementation(text => { said += String(text); return true; });
  writeFileSync(join(dir, 'web.cfg'), 'name="web"\nkernel="/k"\nmemory=64\n');
});
afterEach(async () => { vi.restoreAllMocks(); vi.unstubAllEnvs(); await at.close(); rmSync(dir, { recursive: true }); });

/** @returns status and what was printed */
async function run(command: (argv: readonly string[]) => Promise<number>, ...argv: string[]): Promise<[number, string]> {
  said = '';
  return [await command(argv), said];
}

test('a definition: defined, listed, changed, started, forgotten', async () => {
  expect(await run(runDefinition, 'define', join(dir, 'web.cfg'), 'memory=32', '--autostart')).toEqual([0, expect.stringMatching(/^web [0-9a-f-]{36}\n$/)]);
  expect((await run(runDefinition, 'list'))[1]).toMatch(/^Name +State +ID +Autostart +Restart +UUID\nweb +stopped +- +yes +never +[0-9a-f-]{36}\n$/);
  expect(JSON.parse((await run(runDefinition, 'show', 'web'))[1])).toMatchObject({ name: 'web', autostart: true, config: { memoryKib: 32768, kernel: '/k' } });
  expect((await run(runDefinition, 'set', 'web', '--name', 'site', '--no-autostart', '--restart', 'on-failure'))[1]).toMatch(/^site /);
  expect(JSON.parse((await run(runDefinition, 'show', 'site'))[1])).toMatchObject({ autostart: false, restart: { policy: 'on-failure' } });
  expect(await run(runDefinition, 'start', 'site', '--paused')).toEqual([0, '1\n']);
  expect((await run(runDefinition, 'status', 'site'))[1]).toMatch(/state +running\nwanted +running\ndomain +1\n/);
  expect((await at.call('GET', '/v1/domains/site')).json.paused).toBe(true);
  expect(await run(runDefinition, 'undefine', 'site')).toEqual([0, '']);
  expect((await at.call('GET', '/v1/definitions')).json).toEqual([]);
  await expect(run(runDefinition, 'show', 'site')).rejects.toThrow('there is no definition site');
});

test('operations: listed, waited for, cancelled', async () => {
  await run(runDefinition, 'define', join(dir, 'web.cfg'));
  await run(runDefinition, 'start', 'web');
  const [status, text] = await run(runOperation, 'list', '--target', 'web', '--state', 'succeeded'), id = text.trimEnd().split(/\s+/).at(-1)!;
  expect([status, text]).toEqual([0, expect.stringMatching(/\n\S+ \S+ +succeeded +start +web +uid:\d+ +[0-9a-f-]{36}\n$/)]);
  expect(JSON.parse((await run(runOperation, 'show', id))[1])).toMatchObject({ id, kind: 'start' });
  expect(await run(runOperation, 'wait', id)).toEqual([0, 'succeeded\n']);
  const asked = (await at.call('POST', '/v1/domains/web/actions', { action: 'shutdown' }, { prefer: 'respond-async' })).json.id;
  expect(await run(runOperation, 'wait', asked, '--seconds', '0').then(([, said]) => said)).toMatch(/^(running|failed)/);
  await at.call('POST', `/v1/operations/${asked}/cancel`);
  expect((await run(runOperation, 'wait', asked))[0]).toBe(1);
  await expect(run(runOperation, 'cancel', id)).rejects.toThrow('has ended: succeeded');
});

test('the audit log: shown, verified, found out', async () => {
  await run(runDefinition, 'define', join(dir, 'web.cfg'));
  await run(runDefinition, 'undefine', 'web');
  await expect.poll(async () => (await run(runAudit, 'show'))[1].split('\n').length).toBe(5);
  expect(said).toMatch(/^1  \S+ \S+  uid:\d+  POST \/v1\/definitions\n2 .*\(1: 201\)\n3 .*DELETE \/v1\/definitions\/web\n4 .*\(3: 204\)\n$/);
  expect((await run(runAudit, 'show', '--after', '2', '--limit', '1', '--json'))[1]).toMatch(/^\{"seq":3,[^\n]*\}\n$/);
  expect(await run(runAudit, 'verify')).toEqual([0, '4 entries, 1 to 4, in 1 file\n']);
  const copy = join(dir, 'copy.jsonl');
  writeFileSync(copy, readFileSync(join(dir, 'state', 'audit.jsonl'), 'utf8').replace('DELETE', 'GET'));
  expect(await run(runAudit, 'verify', copy)).toEqual([1, expect.stringContaining('entry 3 does not follow')]);
});

test('help, and what is not understood', async () => {
  for (const [command, usage] of [[runDefinition, DEFINITION_USAGE], [runOperation, OPERATION_USAGE], [runAudit, AUDIT_USAGE]] as const) {
    expect(await run(command, '--help')).toEqual([0, usage]);
    for (const argv of [[], ['fly'], ['show', 'a', 'b'], ['show', '--wings'], ['list', '--limit', 'x']]) await expect(run(command, ...argv)).rejects.toThrow(ManageUsageError);
  }
  await expect(run(runDefinition, 'set', 'web')).rejects.toThrow(ManageUsageError);
  await expect(run(runDefinition, 'define', join(dir, 'web.cfg'), '--restart', 'often')).rejects.toThrow('not "often"');
});
