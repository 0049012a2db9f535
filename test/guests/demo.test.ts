// The main job as a person sees it: Debian's own kernels boot as paravirtual domains, with a disk that Dom0 serves.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lockHolder } from '../../tools/host/host-lock.ts';
import { isRecordedKernel, unexplained } from './recorded-dmesg.ts';
import { BUSYBOX, CLOUD_KERNEL, GENERIC_KERNEL, guestFile, type GuestSource } from './packages.ts';

const root = join(import.meta.dirname, '../..');
const BOOT_LIMIT_MS = 240_000;
const required = process.env['CI'] !== undefined;
let dir = '';
const env = (): NodeJS.ProcessEnv => ({ ...process.env, XENOLITH_RUNDIR: join(dir, 'run') });
const have = new Map<GuestSource, string | null>();

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-demo-'));
  for (const g of [CLOUD_KERNEL, BUSYBOX]) have.set(g, await guestFile(g));
  have.set(GENERIC_KERNEL, await guestFile(GENERIC_KERNEL));
}, 300_000);
// The host that the first start began in the background is for those to come; here none do.
afterAll(async () => {
  const lock = join(dir, 'run/host.pid'), holder = await lockHolder(lock);
  if (holder) process.kill(holder);
  for (const until = Date.now() + 20_000; existsSync(lock) && Date.now() < until;) await setTimeout(50);
  rmSync(dir, { recursive: true, force: true });
}, 30_000);

/** Runs a command in a fresh guest, which ends with it. */
function inGuest(command: string, ...options: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'tools/host/index.ts'), 'start', '--disk', join(dir, 'demo.img'), ...options, '--exec', command], { env: env(), encoding: 'utf8', cwd: dir, timeout: BOOT_LIMIT_MS });
  return { status, stdout, stderr };
}
/** True when the test has what it needs; in CI that is not a question. */
function ready(...needs: GuestSource[]): boolean {
  const missing = needs.some(n => !have.get(n));
  if (missing && required) throw new Error('a kernel or busybox could not be fetched');
  return !missing;
}

describe('Debian guests', () => {
  test('the cloud kernel (LZ4) runs a command: its output alone, its exit status, nothing alarming in dmesg', ctx => {
    if (!ready(CLOUD_KERNEL, BUSYBOX)) ctx.skip();
    const r = inGuest('uname -s; cat /sys/hypervisor/type; echo to-stderr >&2; dmesg | grep -cE "WARNING|BUG:|Oops|Call Trace|segfault"; exit 42');
    expect(r.stdout).toBe('Linux\nxen\n0\n');
    expect(r.stderr).toContain('to-stderr');
    expect(r.status).toBe(42);
  }, BOOT_LIMIT_MS);

  test('what is written to the disk and synced is there at the next boot', ctx => {
    if (!ready(CLOUD_KERNEL, BUSYBOX)) ctx.skip();
    const written = inGuest('mke2fs /dev/xvda >/dev/null 2>&1 && mount -t ext4 /dev/xvda /mnt && dd if=/dev/urandom of=/mnt/data bs=64k count=128 2>/dev/null && sync && md5sum </mnt/data && umount /mnt');
    expect(written.status, written.stderr).toBe(0);
    expect(written.stdout).toMatch(/^[0-9a-f]{32} {2}-\n$/);
    const read = inGuest('mount -t ext4 -o ro /dev/xvda /mnt && md5sum </mnt/data');
    expect(read).toMatchObject({ status: 0, stdout: written.stdout });
  }, 2 * BOOT_LIMIT_MS);

  test('the generic kernel (XZ) boots too; its messages are those of real Xen but for what is explained', ctx => {
    if (!have.get(GENERIC_KERNEL)) { if (process.env['XENOLITH_TEST_GUESTS'] && required) throw new Error('the generic kernel could not be fetched'); ctx.skip(); }
    const r = inGuest('dmesg', '--kernel', have.get(GENERIC_KERNEL)!);
    expect(r.status, r.stderr).toBe(0);
    expect(r.stdout).toMatch(/Linux version .*Debian/);
    expect(r.stdout).not.toMatch(/WARNING|BUG:|Oops|Call Trace|segfault/);
    if (isRecordedKernel(r.stdout)) expect(unexplained(r.stdout)).toEqual([]);
    else process.stderr.write('\n*** the generic kernel is not the one whose messages are recorded: they are not compared\n');
  }, BOOT_LIMIT_MS);
});
