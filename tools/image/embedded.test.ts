// `xenolith start` where there is no apt to fetch a kernel with: the embedded guest, its disk and its shell.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { lockHolder } from '../host/host-lock.ts';

test('with nothing to fetch from, a shell comes up that keeps files on its disk', { timeout: 120_000 }, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'embedded-'));
  const boot = (input: string): string => {
    const env = { XENOLITH_RUNDIR: join(dir, 'run'), XENOLITH_CACHE: join(dir, 'cache'), PATH: join(dir, 'no-programs'), HOME: dir };
    const { stdout, stderr, status } = spawnSync(process.execPath, [join(import.meta.dirname, '../../bin/xenolith.mjs'), 'start', '--disk', join(dir, 'disk.img')], { input, env, encoding: 'utf8', timeout: 60_000 });
    expect(status).toBe(0);
    return (stdout + stderr).replaceAll('\r', '');
  };
  try {
    const first = boot('mkfs; echo one two > kept; cat kept; disk-test 4\nxenstore-read name\nexit\n');
    expect(first).toContain('booting the small guest that comes with Xenolith instead');
    for (const line of ['one two', 'all as written', 'demo']) expect(first).toContain(`${line}\n`);
    const second = boot('cat kept; nonsense; cat missing\nexit\n');
    for (const line of ['one two', 'nonsense: no such command; "help" lists them', 'cat: no such file or directory']) expect(second).toContain(`${line}\n`);
  } finally {
    // The host that the first start began in the background would wait for more.
    const lock = join(dir, 'run/host.pid'), holder = await lockHolder(lock);
    if (holder) process.kill(holder);
    for (const until = Date.now() + 20_000; existsSync(lock) && Date.now() < until;) await setTimeout(50);
    rmSync(dir, { recursive: true, force: true });
  }
});
