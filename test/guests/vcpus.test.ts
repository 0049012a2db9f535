// A Linux guest with two vCPUs: threads that count, rewrite code and debug each other, work in parallel without a
// lock-up; then gdb itself on its kernel.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { hasGdb, runGdb, serveGdb } from '../flow/gdb.ts';
import { diskOf, GuestShell, TestHost } from './guest-shell.ts';

const LIMIT_MS = 300_000, BLOCK = 512;
/** Processes that fork, page tables that come and go, pipes, checksums, the disk: on both vCPUs at once. */
const LOAD = `work() { i=0; while [ $i -lt 6 ]; do (dd if=/dev/urandom bs=64k count=2 2>/dev/null | gzip | gunzip | md5sum >/dev/null) || echo lost; dd if=/dev/xvda of=/dev/null bs=64k count=4 iflag=direct 2>/dev/null || echo lost; i=$((i+1)); done; echo done; }
  for n in 1 2 3 4; do work & done; wait`;
let dir = '', host: TestHost | undefined, guest: GuestShell, why = '';

function compile(): string {
  const program = join(dir, 'vcpus'), { status, error, stderr } = spawnSync('gcc', ['-O1', '-static', '-pthread', '-o', program, join(import.meta.dirname, 'vcpus.c')], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`vcpus.c cannot be compiled: ${error?.message ?? stderr}`);
  return program;
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-vcpus-'));
  try {
    const demo = await prepareDemo({ cacheDir: defaultCacheDir() }), program = compile(), image = join(dir, 'program.img');
    // The program is the disk.
    writeFileSync(image, readFileSync(program));
    truncateSync(image, Math.ceil(statSync(program).size / BLOCK) * BLOCK);
    host = await TestHost.start(join(dir, 'run'));
    guest = await GuestShell.boot(host.client, 'two', { kernel: demo.kernelPath, ramdisk: demo.ramdiskPath }, [], { vcpus: 2, maxVcpus: 2, disks: [diskOf(image)] });
  } catch (error) {
    if (process.env['CI'] !== undefined || host) throw error;
    why = (error as Error).message;
    process.stderr.write(`\n*** SKIPPED: a guest with two vCPUs: ${why}\n`);
  }
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

test('what threads on two vCPUs rely on: locked instructions of every kind, rewritten code, debug registers', async ctx => {
  if (why) ctx.skip();
  expect(await guest.run('grep -c ^processor /proc/cpuinfo')).toBe('2\n');
  await guest.run('cat /dev/xvda >/tmp/vcpus; chmod +x /tmp/vcpus');
  const said = await guest.run('/tmp/vcpus', undefined);
  expect(said.trim().split('\n').map(line => line.split(' ')[0])).toEqual(Array.from({ length: 11 }, () => 'good'));
}, LIMIT_MS);

test('work on both at once ends, without a warning of the kernel', async ctx => {
  if (why) ctx.skip();
  const time = async (): Promise<number> => Number((await guest.run("awk '/^cpu[01]/ { print $2 + $4 }' /proc/stat | sort -n | head -1")).trim());
  const before = await time();
  expect((await guest.run(LOAD)).match(/done|lost/g)).toEqual(['done', 'done', 'done', 'done']);
  // Both have worked.
  expect(await time() - before).toBeGreaterThan(10);
  expect(await guest.run('dmesg | grep -E "soft lockup|rcu.*stall|hung task|WARNING|BUG:|Oops|Call Trace"', 1)).toBe('');
}, LIMIT_MS);

test('gdb watches a word of its kernel', async ctx => {
  if (why) ctx.skip();
  if (!hasGdb && process.env['CI'] === undefined) { process.stderr.write('\n*** SKIPPED: gdb on a Linux guest: there is no gdb (apt-get install gdb)\n'); ctx.skip(); }
  const address = `0x${(await guest.run("awk '$3 == \"jiffies_64\" { print $1 }' /proc/kallsyms")).trim()}`;
  const stub = await serveGdb({ ...process.env, XENOLITH_RUNDIR: join(dir, 'run') }, 'two');
  const out = runGdb(stub.address, [`watch *(unsigned long *) ${address}`, 'continue', 'continue', 'p/x $rip', 'p $guest_kernel', 'delete', 'detach']);
  const values = [...out.matchAll(/^(?:Old|New) value = (\d+)$/gm)].map(m => Number(m[1]));
  expect(values, out).toHaveLength(4);
  expect(values[1]! > values[0]! && values[3]! > values[2]!).toBe(true);
  expect(out).toMatch(/= 0xffffffff8[0-9a-f]{7}\n\$2 = 1\n/);
  expect(await stub.end()).toBe(0);
  expect(await guest.run('echo goes on')).toBe('goes on\n');
}, LIMIT_MS);
