import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { BUSYBOX, CLOUD_KERNEL, guestFile } from '../../test/guests/packages.ts';
import { kernelRelease, prepareDemo } from './demo.ts';
import { DEMO_DISK_BYTES, ensureDisk } from './disk.ts';
import { ExecOutput } from './exec-output.ts';
import { closeModules, moduleName } from './modules.ts';
import { defaultCacheDir } from './packages.ts';

const dir = mkdtempSync(join(tmpdir(), 'xenolith-image-'));
afterAll(() => rmSync(dir, { recursive: true }));

/** An ELF object with nothing but a .modinfo section. */
function module(info: string): Buffer {
  const names = Buffer.from('\0.shstrtab\0.modinfo\0'), text = Buffer.from(info);
  const b = Buffer.alloc(64 + 3 * 64 + names.length + text.length);
  b.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  b.writeBigUInt64LE(64n, 40); b.writeUInt16LE(64, 58); b.writeUInt16LE(3, 60); b.writeUInt16LE(1, 62);
  const section = (i: number, name: number, at: number, size: number): void => {
    b.writeUInt32LE(name, 64 + i * 64); b.writeBigUInt64LE(BigInt(at), 64 + i * 64 + 24); b.writeBigUInt64LE(BigInt(size), 64 + i * 64 + 32);
  };
  section(1, 1, 256, names.length);
  section(2, 11, 256 + names.length, text.length);
  b.set(names, 256);
  b.set(text, 256 + names.length);
  return b;
}

describe('modules', () => {
  const available = new Map([
    ['ext4', module('softdep=pre: crypto-crc32c post: later\0license=GPL\0depends=jbd2,mbcache,crc16\0')], ['jbd2', module('depends=crc16\0')],
    ['mbcache', module('depends=\0')], ['crc16', module('')], ['crypto_crc32c', module('')], ['later', module('')], ['loop_a', module('depends=loop_b\0')], ['loop_b', module('depends=loop-a\0')],
  ]);
  it('dependencies come first, soft ones too; what is built in is left out', () => {
    expect(closeModules(available, ['xen-blkfront', 'ext4']).map((m) => m.name)).toEqual(['crypto_crc32c', 'crc16', 'jbd2', 'mbcache', 'ext4']);
  });
  it('a circle ends', () => expect(closeModules(available, ['loop-a']).map((m) => m.name)).toEqual(['loop_b', 'loop_a']));
  it('names', () => expect(moduleName('lib/modules/6.1/kernel/drivers/block/xen-blkfront.ko.xz')).toBe('xen_blkfront'));
});

describe('disk', () => {
  it('is made once, sparse, and kept', () => {
    const path = join(dir, 'demo.img');
    expect(ensureDisk(path)).toBe(true);
    expect(statSync(path)).toMatchObject({ size: DEMO_DISK_BYTES, blocks: expect.toSatisfy((n: number) => n * 512 < DEMO_DISK_BYTES / 2) });
    writeFileSync(path, 'mine');
    expect(ensureDisk(path)).toBe(false);
    expect(readFileSync(path, 'utf8')).toBe('mine');
  });
  it('names what cannot be made', () => expect(() => ensureDisk(join(dir, 'no', 'where.img'))).toThrow(/where\.img cannot be made.*--disk/));
});

describe('prepareDemo', () => {
  it('takes a kernel and ramdisk of the person\'s own as they are', async () => {
    const kernel = join(dir, 'k'), ramdisk = join(dir, 'r');
    writeFileSync(kernel, 'k');
    writeFileSync(ramdisk, 'r');
    expect(await prepareDemo({ cacheDir: dir, kernel, ramdisk })).toMatchObject({ kernelPath: kernel, ramdiskPath: ramdisk });
    await expect(prepareDemo({ cacheDir: dir, kernel, ramdisk, execCommand: 'true' })).rejects.toThrow(/leave out --ramdisk or --exec/);
  });
  it('names a missing file', async () => {
    await expect(prepareDemo({ cacheDir: dir, kernel: join(dir, 'none') })).rejects.toThrow(`The kernel ${join(dir, 'none')} does not exist.`);
  });
  it('without apt it says how to give a kernel', async () => {
    const path = process.env['PATH'];
    process.env['PATH'] = dir;
    try {
      await expect(prepareDemo({ cacheDir: join(dir, 'empty') })).rejects.toThrow(/^No kernel for the demo\. .*--kernel FILE.*--ramdisk FILE/);
    } finally {
      process.env['PATH'] = path;
    }
    expect(existsSync(join(dir, 'empty', 'demo-1'))).toBe(false);
  });
  it('reads a kernel\'s release', () => {
    const b = Buffer.alloc(0x400);
    b.write('HdrS', 0x202);
    b.writeUInt16LE(0x100, 0x20e);
    b.write('6.1.0-56-amd64 (x@y) #1 SMP\0', 0x300);
    expect(kernelRelease(b)).toBe('6.1.0-56-amd64');
    expect(kernelRelease(Buffer.from('no'))).toBeNull();
  });
});

const QEMU = 'qemu-system-x86_64';

describe('the initrd boots (QEMU, serial console)', async () => {
  const ready = await guestFile(CLOUD_KERNEL) !== null && await guestFile(BUSYBOX) !== null;
  const qemu = spawnSync(QEMU, ['--version'], { stdio: 'ignore' }).error === undefined;
  if (!qemu) process.stderr.write(`\n*** SKIPPED: booting the initrd: ${QEMU} is not installed\n`);

  function boot(kernel: string, initrd: string, feed: (chunk: Buffer, type: (text: string) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = spawn(QEMU, ['-m', '256', '-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet', '-nographic', '-accel', 'tcg', '-no-reboot', '-net', 'none']);
      const timer = setTimeout(() => { child.kill('SIGKILL'); reject(new Error('it did not power off')); }, 50_000);
      child.stdout.on('data', (chunk: Buffer) => feed(chunk, (text) => child.stdin.write(text)));
      child.on('error', reject).on('close', () => { clearTimeout(timer); resolve(); });
    });
  }

  it.skipIf(!qemu || !ready)('runs a command: output apart from errors, byte for byte, and its status', async () => {
    const demo = await prepareDemo({ cacheDir: defaultCacheDir(), execCommand: 'printf "a\\r\\nb\\0c"; echo wrong >&2; exit 7' });
    let out = '', err = '';
    const output = new ExecOutput(demo.mark!, { stdout: (b) => { out += Buffer.from(b).toString('latin1'); }, stderr: (b) => { err += Buffer.from(b).toString('latin1'); } });
    try {
      await boot(demo.kernelPath, demo.ramdiskPath, (chunk) => output.feed(chunk));
    } finally {
      demo.cleanup();
    }
    expect({ out, err, status: output.status }).toEqual({ out: 'a\r\nb\0c', err: 'wrong\n', status: 7 });
    expect(existsSync(demo.ramdiskPath)).toBe(false);
  });

  it.skipIf(!qemu || !ready)('gives a shell with job control, and powers off when it ends', async () => {
    const demo = await prepareDemo({ cacheDir: defaultCacheDir() });
    let seen = '', step = 0;
    await boot(demo.kernelPath, demo.ramdiskPath, (chunk, type) => {
      seen += chunk.toString('latin1');
      if (step === 0 && seen.includes('demo:/#')) { step = 1; type('echo up; sleep 100\n'); }
      if (step === 1 && /\nup\r/.test(seen)) { step = 2; setTimeout(() => type('\x03'), 300); setTimeout(() => type('echo answer-$((6 * 7)); exit\n'), 900); }
    });
    expect(seen).toContain('Xenolith demo: Linux ');
    expect(seen).toContain('answer-42');
    expect(seen).not.toContain('panic');
  });
});
