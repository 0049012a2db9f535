// One guest that takes all it can get, beside one that has work to do.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { diskOf, type GuestFiles, GuestShell, TestHost } from './guest-shell.ts';
import { startOf, STOP, STORMS, work, WORK_DONE } from './storms.ts';

const LIMIT_MS = 900_000, PART = 0.25;
let dir = '', files: GuestFiles | undefined, host: TestHost;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-neighbours-'));
  try {
    const demo = await prepareDemo({ cacheDir: defaultCacheDir() });
    files = { kernel: demo.kernelPath, ramdisk: demo.ramdiskPath };
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    process.stderr.write(`\n*** SKIPPED: neighbours: ${(error as Error).message}\n`);
    return;
  }
  for (const name of ['quiet', 'hostile']) { writeFileSync(join(dir, `${name}.img`), `${name}\n`); truncateSync(join(dir, `${name}.img`), 16 * 2 ** 20); }
  host = await TestHost.start(join(dir, 'run'));
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

const boot = (name: string): Promise<GuestShell> => GuestShell.boot(host.client, name, files!, [], { disks: [diskOf(join(dir, `${name}.img`))] });

test('a guest does its work whatever its neighbour does, and so does the host', async ctx => {
  if (!files) { ctx.skip(); return; }
  const quiet = await boot('quiet'), hostile = await boot('hostile'), figures: string[] = [];
  const timed = async (): Promise<number> => {
    const begin = performance.now(), output = await quiet.run(work(PART));
    expect(output).toMatch(WORK_DONE);
    return (performance.now() - begin) / 1000;
  };
  await timed();
  let alone = await timed();
  for (const [name, storm] of Object.entries(STORMS)) {
    await hostile.run(startOf(storm));
    const beside = await timed();
    // The host answers too.
    const xl = spawnSync(process.execPath, [join(import.meta.dirname, '../../tools/xl/index.ts'), 'list'], { encoding: 'utf8', env: { ...process.env, XENOLITH_RUNDIR: join(dir, 'run') } });
    expect(xl.stdout).toMatch(/^quiet /m);
    await hostile.run(STOP);
    const again = await timed();
    figures.push(`${name}: ${(beside / Math.min(alone, again)).toFixed(2)} times (${beside.toFixed(2)} s)`);
    alone = Math.min(alone, again);
  }
  // Figures are for the reader: a machine with other work on its processors gives others.
  process.stderr.write(`\nwork of ${alone.toFixed(2)} s alone, beside a neighbour that spins: ${figures.join(', ')}\n`);
  await host.client.destroy(String(hostile.domid));
  await timed();
}, LIMIT_MS);
