// Debian's GRUB for Xen as a domain's kernel: it reads a partitioned disk through its own blkfront, shows its menu, and
// starts a Linux from there, whose frontends connect to the same backends anew.
import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { DomainConfig } from '../../dom0/toolstack/config/schema.ts';
import { prepareDemo } from '../../tools/image/demo.ts';
import { defaultCacheDir } from '../../tools/image/packages.ts';
import { makeExt4, partitionDisk } from './disk-image.ts';
import { diskOf, TestHost } from './guest-shell.ts';
import { GENERIC_KERNEL, GRUB_XEN, guestFile } from './packages.ts';

const LIMIT_MS = 300_000, PARTITION_MIB = 96;
const MENU = `set timeout=60
menuentry "First" { linux /boot/vmlinuz console=hvc0 quiet chosen=first; initrd /boot/initrd.img }
menuentry "Second" { linux /boot/vmlinuz console=hvc0 quiet chosen=second; initrd /boot/initrd.img }
`;
let dir = '', grub: string | null = null, kernel: string | null = null, host: TestHost;

beforeAll(async () => {
  [grub, kernel] = [await guestFile(GRUB_XEN), await guestFile(GENERIC_KERNEL)];
  if (!grub || !kernel) { if (process.env['CI'] !== undefined) throw new Error('grub or the kernel could not be fetched'); return; }
  dir = mkdtempSync(join(tmpdir(), 'xenolith-grub-'));
  // GRUB unpacks gzip, xz and lzo, not the LZ4 of Debian's cloud kernel.
  const demo = await prepareDemo({ cacheDir: defaultCacheDir(), kernel });
  mkdirSync(join(dir, 'tree/boot/grub'), { recursive: true });
  writeFileSync(join(dir, 'tree/boot/grub/grub.cfg'), MENU);
  copyFileSync(kernel, join(dir, 'tree/boot/vmlinuz'));
  copyFileSync(demo.ramdiskPath, join(dir, 'tree/boot/initrd.img'));
  makeExt4(join(dir, 'part.img'), PARTITION_MIB, join(dir, 'tree'));
  for (const table of ['msdos', 'gpt'] as const) partitionDisk(join(dir, `${table}.img`), table, join(dir, 'part.img'));
  host = await TestHost.start(join(dir, 'run'));
}, LIMIT_MS);
afterAll(async () => { await host?.stop(); if (dir) rmSync(dir, { recursive: true, force: true }); }, LIMIT_MS);

/** Starts GRUB on a disk. */
async function boot(table: 'msdos' | 'gpt'): Promise<Screen> {
  const config: DomainConfig = {
    name: `grub-${table}`, uuid: randomUUID(), type: 'pv', kernel: grub!, vcpus: 1, maxVcpus: 1, memoryKib: 256 * 1024, maxMemKib: 256 * 1024,
    weight: 256, cap: 0, onPoweroff: 'destroy', onReboot: 'destroy', onCrash: 'destroy', onWatchdog: 'destroy', onSoftReset: 'destroy',
    disks: [diskOf(join(dir, `${table}.img`), 'xvda')], vifs: [], cmdline: '',
  };
  const { domid } = await host.client.create(config, true);
  const screen = new Screen(domid, await host.client.console(String(domid)));
  await host.client.act(String(domid), 'unpause');
  return screen;
}

class Screen {
  readonly domid: number;
  private text = '';
  private readonly stream: Duplex;
  private changed: () => void = () => {};
  constructor(domid: number, stream: Duplex) {
    this.domid = domid; this.stream = stream;
    stream.on('data', (d: Buffer) => { this.text += d.toString('latin1'); this.changed(); });
    stream.on('error', () => {});
  }
  type(keys: string): void { this.text = ''; this.stream.write(keys); }
  shows(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no ${pattern} in ${JSON.stringify(this.text.slice(-1500))}`)), LIMIT_MS - 20_000);
      this.changed = () => { if (pattern.test(this.text)) { clearTimeout(late); this.changed = () => {}; resolve(this.text); } };
      this.changed();
    });
  }
}

test('the menu appears; the arrow key chooses; Linux starts from that disk and mounts it', async ctx => {
  if (!grub || !kernel) { ctx.skip(); return; }
  const screen = await boot('msdos');
  await screen.shows(/GNU GRUB[\s\S]*\*First[\s\S]*Second[\s\S]*executed automatically in \d+s/);
  screen.type('\x1b[B');
  await screen.shows(/\*Second/);
  screen.type('\r');
  await screen.shows(/demo:\S*# /);
  screen.type('mount -o ro /dev/xvda1 /mnt; cat /proc/cmdline /mnt/boot/grub/grub.cfg; umount /mnt; echo don""e $?\n');
  const output = await screen.shows(/done \d+/);
  expect(output).toContain('chosen=second');
  expect(output.replaceAll('\r', '')).toContain(MENU.split('\n')[2]);
  expect(output).toMatch(/done 0/);
  await host.client.destroy(String(screen.domid));
}, LIMIT_MS);

test('a GUID partition table is read too', async ctx => {
  if (!grub || !kernel) { ctx.skip(); return; }
  const screen = await boot('gpt');
  await screen.shows(/\*First/);
  screen.type('c');
  await screen.shows(/grub> /);
  screen.type('ls\r');
  expect(await screen.shows(/\(xen\/xvda,gpt1\)[\s\S]*grub> /)).toBeTruthy();
  await host.client.destroy(String(screen.domid));
}, LIMIT_MS);
