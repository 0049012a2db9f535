import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeRunFolder, runFolder } from '../../dom0/api/run-folder.ts';
import { answers } from './ensure-host.ts';
import { HostRunsError, lockHolder, takeHostLock } from './host-lock.ts';
import { parseStartOptions } from './start-options.ts';

let dir: string;
beforeEach(async () => { dir = await mkdtemp(join(tmpdir(), 'host-')); });
afterEach(() => rm(dir, { recursive: true }));

describe('the lock of a run folder', () => {
  test('one holder, given up at the end', async () => {
    const path = join(dir, 'pid'), unlock = await takeHostLock(path);
    expect(await lockHolder(path)).toBe(process.pid);
    await expect(takeHostLock(path)).rejects.toThrow(`a host runs already (process ${process.pid}`);
    await unlock();
    await (await takeHostLock(path))();
  });
  test('a killed host leaves no lock that counts', async () => {
    const path = join(dir, 'pid'), child = spawn('sleep', ['60']);
    const ticks = (await readFile(`/proc/${child.pid}/stat`, 'utf8')).split(') ')[1]!.split(' ')[19]!;
    await writeFile(path, `${child.pid} ${ticks}\n`);
    expect(await lockHolder(path)).toBe(child.pid);
    await writeFile(path, `${child.pid} 1\n`);
    expect(await lockHolder(path)).toBe(undefined);
    child.kill('SIGKILL');
    await new Promise(resolve => child.on('exit', resolve));
    await writeFile(path, `${child.pid} ${ticks}\n`);
    await (await takeHostLock(path))();
  });
});

test('where the run folder is', async () => {
  expect(runFolder({ XENOLITH_RUNDIR: '/x', XDG_RUNTIME_DIR: '/y' }).socket).toBe('/x/api.sock');
  expect(runFolder({ XDG_RUNTIME_DIR: '/y' }).dir).toBe('/y/xenolith');
  expect(runFolder({}).dir).toMatch(/\.xenolith\/run$/);
  const folder = runFolder({ XENOLITH_RUNDIR: join(dir, 'a', 'b') });
  await makeRunFolder(folder);
  expect((await stat(folder.dir)).mode & 0o777).toBe(0o700);
  await expect(makeRunFolder(runFolder({ XENOLITH_RUNDIR: join(dir, 'x'.repeat(110)) }))).rejects.toThrow('too long for a Unix socket');
});

test('a socket file alone is no host', async () => {
  const path = join(dir, 's'), server = createServer();
  expect(await answers(path)).toBe(false);
  await new Promise<void>(resolve => server.listen(path, resolve));
  expect(await answers(path)).toBe(true);
  server.close();
  await writeFile(path, '');
  expect(await answers(path)).toBe(false);
});

test('options of start', () => {
  expect(parseStartOptions([])).toEqual({ disk: 'demo.img', memoryMib: 256, vcpus: 1, help: false, embedded: false });
  expect(parseStartOptions(['--embedded'])).toMatchObject({ embedded: true });
  expect(() => parseStartOptions(['--embedded', '--exec', 'ls'])).toThrow(/sh/);
  expect(parseStartOptions(['--exec', 'a b', '--memory=512', '--disk', 'x'])).toMatchObject({ exec: 'a b', memoryMib: 512, disk: 'x' });
  for (const bad of [['--exec'], ['--frob'], ['--memory', 'abc'], ['--memory', '0'], ['--vcpus', '33'], ['x']]) expect(() => parseStartOptions(bad)).toThrow();
});

test('of many that take it at once one has it', async () => {
  const path = join(dir, 'many'), taken = await Promise.allSettled(Array.from({ length: 50 }, () => takeHostLock(path)));
  expect(taken.filter(t => t.status === 'fulfilled').length).toBe(1);
  expect(taken.filter(t => t.status === 'rejected' && !(t.reason instanceof HostRunsError))).toEqual([]);
  expect((await readdir(dir)).filter(name => name.startsWith('many'))).toEqual(['many']);
});
