// Data on a disk outlives what happens to the guest and to the host.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { guestWithMkfs } from './filesystem-tools.ts';
import { diskOf, type GuestFiles, GuestShell, TestHost } from './guest-shell.ts';

const LIMIT_MS = 900_000, PIECES = 25;
/** 200 MB of which every 8 MB are the same random bytes: unpredictable, yet made in a moment. */
const WRITE = `dd if=/dev/urandom of=/tmp/piece bs=64k count=128 2>/dev/null && for i in $(seq ${PIECES}); do cat /tmp/piece; done >/mnt/data && md5sum </mnt/data`;
let dir = '', files: GuestFiles | undefined, disk = '', host: TestHost;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-disk-'));
  disk = join(dir, 'disk.img');
  try { files = await guestWithMkfs(join(dir, 'initrd.img')); } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    process.stderr.write(`\n*** SKIPPED: tests of whole disks: ${(error as Error).message}\n`);
    return;
  }
  writeFileSync(disk, '');
  truncateSync(disk, 512 * 2 ** 20);
  host = await TestHost.start(join(dir, 'run'));
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

const boot = (): Promise<GuestShell> => GuestShell.boot(host.client, 'disk', files!, [], { disks: [diskOf(disk)] });
async function powerOff(guest: GuestShell): Promise<void> {
  await host.client.act(String(guest.domid), 'shutdown');
  for (const end = Date.now() + 60_000; (await host.client.domains()).some(d => d.domid === guest.domid);) {
    if (Date.now() > end) throw new Error('the guest does not power off');
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}
const fsck = (...options: string[]): { status: number | null; output: string } => {
  const r = spawnSync('e2fsck', [...options, disk], { encoding: 'utf8' });
  return { status: r.status, output: `${r.stdout}${r.stderr}` };
};

let sum = '';
test('a file system made in the guest and 200 MB on it are whole after a shutdown', async ctx => {
  if (!files) { ctx.skip(); return; }
  let guest = await boot();
  await guest.run('/sbin/mkfs.ext4 -q /dev/xvda && mount -t ext4 /dev/xvda /mnt');
  sum = await guest.run(WRITE);
  expect(sum).toMatch(/^[0-9a-f]{32} {2}-\n$/);
  await guest.run('sync; umount /mnt');
  await powerOff(guest);
  expect(fsck('-fn')).toMatchObject({ status: 0 });
  guest = await boot();
  await guest.run('mount -t ext4 -o ro /dev/xvda /mnt');
  expect(await guest.run('md5sum </mnt/data')).toBe(sum);
  await guest.run('umount /mnt');
  await powerOff(guest);
}, LIMIT_MS);

test('what was synced is whole when the host is killed right afterwards', async ctx => {
  if (!files) { ctx.skip(); return; }
  let guest = await boot();
  await guest.run('mount -t ext4 /dev/xvda /mnt && rm /mnt/data');
  const written = await guest.run(WRITE);
  expect(written).not.toBe(sum);
  await guest.run('sync');
  await host.kill();
  host = await TestHost.start(join(dir, 'run'));
  // The journal is replayed by the guest, as after a power failure.
  guest = await boot();
  await guest.run('mount -t ext4 /dev/xvda /mnt');
  expect(await guest.run('md5sum </mnt/data')).toBe(written);
  await guest.run('umount /mnt');
  await powerOff(guest);
  const check = fsck('-fn');
  expect(check.status, check.output).toBe(0);
}, LIMIT_MS);
