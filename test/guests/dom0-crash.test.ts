// Dom0's thread ends in the middle of the guest's work, again and again: the guest notices a pause, nothing else.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { guestWithMkfs } from './filesystem-tools.ts';
import { diskOf, type GuestFiles, GuestShell, TestHost } from './guest-shell.ts';

const LIMIT_MS = 300_000, CRASHES = 3, FILES = 12;
let dir = '', files: GuestFiles | undefined, host: TestHost;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-crash-'));
  try { files = await guestWithMkfs(join(dir, 'initrd.img')); } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    process.stderr.write(`\n*** SKIPPED: Dom0 crashes under a guest: ${(error as Error).message}\n`);
    return;
  }
  host = await TestHost.start(join(dir, 'run'));
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

const sleep = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms); });
test('a guest that writes and reads its disk goes on while Dom0 crashes', async ctx => {
  if (!files) { ctx.skip(); return; }
  const disk = join(dir, 'disk.img'), vifs = [{ bridge: 'xenbr0', trusted: true }];
  writeFileSync(disk, '');
  truncateSync(disk, 256 * 2 ** 20);
  let guest = await GuestShell.boot(host.client, 'crash', files, vifs, { disks: [diskOf(disk)] });
  await guest.run('/sbin/mkfs.ext4 -q /dev/xvda && mount -t ext4 /dev/xvda /mnt && dd if=/dev/urandom of=/tmp/piece bs=64k count=32 2>/dev/null');
  const sum = (await guest.run('md5sum </tmp/piece')).slice(0, 32);
  // Each file is written, synced, and read back from the disk. Not a job of the shell's: busybox's ends when one does.
  await guest.run(`(setsid sh -c 'for i in $(seq ${FILES}); do cat /tmp/piece >/mnt/f$i; sync; echo 3 >/proc/sys/vm/drop_caches; md5sum </mnt/f$i; done >/tmp/sums 2>&1; echo over >/tmp/over' &)`);
  for (let i = 0; i < CRASHES; i++) { await sleep(300 + 200 * i); await host.crashDom0(); }
  // The first one made another domain's thread no part of it: a new domain can be made, and this one is in the list.
  expect((await host.client.domains()).map(d => [d.domid, d.name])).toEqual([[0, 'Domain-0'], [guest.domid, 'crash']]);
  guest = guest.over(await host.client.console(String(guest.domid)));
  await guest.run('until [ -e /tmp/over ]; do sleep 1; done');
  const sums = (await guest.run('cat /tmp/sums')).trim().split('\n');
  expect(sums).toHaveLength(FILES);
  expect(new Set(sums.map(line => line.slice(0, 32)))).toEqual(new Set([sum]));
  // xenstore is the same: the interface has its address from a DHCP server that is new, devices are unplugged in order.
  await guest.run('ip link set eth0 up && udhcpc -n -q -i eth0 -s /etc/xenolith/udhcpc >/dev/null && ping -c 1 10.0.2.2 >/dev/null');
  expect(await guest.run('dmesg | grep -iE "I/O error|blk_update|EXT4-fs (error|warning)|oops|BUG|hung" || true')).toBe('');
  await guest.run('umount /mnt');
  await host.client.act(String(guest.domid), 'shutdown');
  for (const end = Date.now() + 60_000; (await host.client.domains()).length > 1;) { expect(Date.now()).toBeLessThan(end); await sleep(100); }
}, LIMIT_MS);
