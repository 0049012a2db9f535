// A guest is suspended in the middle of its work and resumed, again and again: it goes on with its disk, its network, its
// console and the right time, and with another Dom0 beneath it. Kernel and modules are Debian's, unmodified.
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SHUTDOWN_suspend } from '../../hypervisor/public/sched.ts';
import { guestWithMkfs } from './filesystem-tools.ts';
import { diskOf, type GuestFiles, GuestShell, TestHost } from './guest-shell.ts';

const LIMIT_MS = 300_000, ROUNDS = 3, FILES = 12, AWAY_MS = 1500;
let dir = '', files: GuestFiles | undefined, host: TestHost;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xenolith-suspend-'));
  try { files = await guestWithMkfs(join(dir, 'initrd.img')); } catch (error) {
    if (process.env['CI'] !== undefined) throw error;
    process.stderr.write(`\n*** SKIPPED: a suspended guest: ${(error as Error).message}\n`);
    return;
  }
  host = await TestHost.start(join(dir, 'run'));
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

const sleep = (ms: number): Promise<void> => new Promise(resolve => { setTimeout(resolve, ms); });
test.each([1, 2])('a guest of %d vCPUs rests while it is suspended, and goes on', async vcpus => {
  if (!files) return;
  const disk = join(dir, `disk${vcpus}.img`), vifs = [{ bridge: 'xenbr0', trusted: true }];
  writeFileSync(disk, '');
  truncateSync(disk, 256 * 2 ** 20);
  let guest = await GuestShell.boot(host.client, `rests${vcpus}`, files, vifs, { disks: [diskOf(disk)], vcpus, maxVcpus: vcpus }), ref = String(guest.domid);
  await guest.run('ip link set eth0 up && udhcpc -n -q -i eth0 -s /etc/xenolith/udhcpc >/dev/null');
  await guest.run('/sbin/mkfs.ext4 -q /dev/xvda && mount -t ext4 /dev/xvda /mnt && dd if=/dev/urandom of=/tmp/piece bs=64k count=32 2>/dev/null');
  const sum = (await guest.run('md5sum </tmp/piece')).slice(0, 32);
  await guest.run(`(setsid sh -c 'for i in $(seq ${FILES}); do cat /tmp/piece >/mnt/f$i; sync; echo 3 >/proc/sys/vm/drop_caches; md5sum </mnt/f$i; done >/tmp/sums 2>&1; echo over >/tmp/over' &)`);
  for (let i = 0; i < ROUNDS; i++) {
    await sleep(300);
    expect(await host.client.act(ref, 'suspend')).toMatchObject({ shutdown: true, crashed: false, shutdownReason: SHUTDOWN_suspend });
    const { cpuTimeSec } = await host.client.domain(ref);
    await sleep(AWAY_MS);
    const away = await host.client.domain(ref);
    expect(away.shutdown).toBe(true);
    expect(away.cpuTimeSec - cpuTimeSec).toBeLessThan(0.1);
    // Dom0 takes over what it finds suspended, too.
    if (i === ROUNDS - 1) { await host.crashDom0(); guest = guest.over(await host.client.console(ref)); }
    expect(await host.client.act(ref, 'resume')).toMatchObject({ shutdown: false });
    await guest.run('sleep 0.1; ping -c 1 10.0.2.2 >/dev/null');
    expect(Math.abs(Number(await guest.run('date +%s')) - Date.now() / 1000)).toBeLessThan(3);
  }
  await guest.run('until [ -e /tmp/over ]; do sleep 1; done');
  const sums = (await guest.run('cat /tmp/sums')).trim().split('\n');
  expect(sums).toHaveLength(FILES);
  expect(new Set(sums.map(line => line.slice(0, 32)))).toEqual(new Set([sum]));
  expect(await guest.run('dmesg | grep -E "Cannot|I/O error|blk_update|EXT4-fs (error|warning)|Oops|BUG:|hung|WARNING" || true')).toBe('');
  await guest.run('umount /mnt');
  await host.client.act(ref, 'shutdown');
  for (const end = Date.now() + 60_000; (await host.client.domains()).length > 1;) { expect(Date.now()).toBeLessThan(end); await sleep(100); }
}, LIMIT_MS);
