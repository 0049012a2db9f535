import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { CLOUD_KERNEL, GENERIC_KERNEL, GRUB_XEN, guestFile } from '../../../test/guests/packages.ts';
import { BuilderError, type BuilderErrorCode } from './builder-error.ts';
import { type KernelImage, parseKernel } from './kernel-image.ts';
import { loadKernel } from './kernel-loader.ts';
import { makeBzImage, makeElf, type ElfSpec } from './make-elf.ts';

const BASE = 0xffff_ffff_8000_0000n;
const LOADS = [{ vaddr: BASE + 0x100_0000n, paddr: 0x100_0000n, data: Buffer.alloc(5000, 0x90) }];
const NOTES: NonNullable<ElfSpec['notes']> = [[5, 'xen-3.0'], [6, 'linux'], [8, 'generic'], [3, BASE], [1, BASE + 0x100_0010n]];
const KERNEL = makeElf({ loads: LOADS, notes: NOTES });

function refusal(bytes: Uint8Array): { code: BuilderErrorCode; message: string } {
  try {
    parseKernel(bytes, 'The kernel /boot/k');
  } catch (error) {
    if (error instanceof BuilderError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error('it was accepted');
}

describe('forms', () => {
  it('plain ELF', () => {
    const k = parseKernel(KERNEL);
    expect(k).toMatchObject({ format: 'ELF', compression: null, params: { virtBase: BASE, virtKstart: BASE + 0x100_0000n, virtKend: BASE + 0x100_1388n, virtEntry: BASE + 0x100_0010n } });
    expect(k.loads[0]!.data.length).toBe(5000);
  });
  it('gzipped ELF', () => expect(parseKernel(gzipSync(KERNEL))).toMatchObject({ format: 'ELF', compression: 'gzip' }));
  it('bzImage with gzip, whose trailer is its own', () => expect(parseKernel(makeBzImage(gzipSync(KERNEL), KERNEL.length, false))).toMatchObject({ format: 'bzImage', compression: 'gzip' }));
  it('bzImage with zstd and a size behind it', () => expect(parseKernel(makeBzImage(zstdCompressSync(KERNEL), KERNEL.length, true))).toMatchObject({ format: 'bzImage', compression: 'zstd' }));
  it('bzImage around a plain ELF', () => expect(parseKernel(makeBzImage(KERNEL, 0, false))).toMatchObject({ format: 'bzImage', compression: null }));
  it('legacy __xen_guest section, physical addresses that are virtual', () => {
    const elf = makeElf({ loads: [{ vaddr: 0x10000n, paddr: 0x10000n, data: Buffer.alloc(0x3000) }], entry: 0x10000n, xenGuest: 'GUEST_OS=Mini-OS,XEN_VER=xen-3.0,VIRT_BASE=0x10000,ELF_PADDR_OFFSET=0x10000,HYPERCALL_PAGE=0x2,LOADER=generic' });
    expect(parseKernel(elf).params).toMatchObject({ guestOs: 'Mini-OS', virtBase: 0x10000n, virtKstart: 0x10000n, hypercallPage: 0x12000n, initP2m: null, modStartPfn: false });
  });
  it('features: wanted and required ones', () => {
    const k = parseKernel(makeElf({ loads: LOADS, notes: [...NOTES, [10, '!writable_page_tables|pae_pgdir_above_4gb|something_new'], [17, 0x8801n]] }));
    expect(k.params).toMatchObject({ featuresRequired: 1, featuresSupported: 0x8811 });
  });
});

describe('refusals', () => {
  const cases: [string, Uint8Array, BuilderErrorCode, RegExp][] = [
    ['empty', Buffer.alloc(0), 'kernel-empty', /^The kernel \/boot\/k is empty/],
    ['text', Buffer.from('hello, this is not a kernel at all'), 'kernel-not-recognised', /neither a Linux bzImage nor an ELF file/],
    ['32-bit PAE', makeElf({ loads: LOADS, elfClass: 1, machine: 3 }), 'kernel-32bit', /32-bit \(PAE\) kernel.*amd64/],
    ['ARM64', makeElf({ loads: LOADS, machine: 183 }), 'kernel-machine', /built for ARM64/],
    ['no notes', makeElf({ loads: LOADS }), 'kernel-not-xen', /CONFIG_XEN_PV/],
    ['other loader', makeElf({ loads: LOADS, notes: [[5, 'xen-3.0'], [6, 'plan9'], [8, 'odd']] }), 'kernel-loader', /the loader "odd"/],
    ['other interface', makeElf({ loads: LOADS, notes: [[5, 'xen-2.0'], [6, 'linux']] }), 'kernel-loader', /"xen-2.0"/],
    ['auto-translated', makeElf({ loads: LOADS, notes: [...NOTES, [10, '!auto_translated_physmap']] }), 'kernel-features', /requires auto_translated_physmap/],
    ['unknown feature', makeElf({ loads: LOADS, notes: [...NOTES, [10, '!time_travel']] }), 'kernel-features', /"time_travel"/],
    ['entry outside', makeElf({ loads: LOADS, notes: [...NOTES, [1, 0x1234n]] }), 'kernel-addresses', /entry point 0x1234 outside/],
    ['below VIRT_BASE', makeElf({ loads: [{ ...LOADS[0]!, paddr: 0n }], notes: [...NOTES, [4, 0x1000n]] }), 'kernel-addresses', /impossible addresses/],
    ['truncated bzImage', makeBzImage(gzipSync(KERNEL), KERNEL.length, false).subarray(0, 1100), 'kernel-truncated', /truncated bzImage/],
    ['payload cut short', makeBzImage(gzipSync(KERNEL).subarray(0, 60), 5, false), 'kernel-corrupt', /cannot be unpacked: the gzip data/],
    ['unknown payload', makeBzImage(Buffer.from('what is this, please?'), 5, false), 'kernel-compression', /unknown compression/],
    ['wrong size', makeBzImage(zstdCompressSync(KERNEL), 77, true), 'kernel-corrupt', /should be 77 bytes/],
    ['segment outside the file', KERNEL.subarray(0, 900), 'kernel-corrupt', /lies outside the file/],
  ];
  it.each(cases)('%s', (_, bytes, code, sentence) => {
    const r = refusal(bytes);
    expect(r.code).toBe(code);
    expect(r.message).toMatch(sentence);
  });

  it('damaged ELF headers never give anything but a sentence', () => {
    const legacy = makeElf({ loads: LOADS, xenGuest: 'GUEST_OS=linux,XEN_VER=xen-3.0,LOADER=generic' });
    for (const original of [KERNEL, legacy]) {
      for (let at = 4; at < original.length; at += at < 400 || at > original.length - 700 ? 1 : 500) {
        for (const value of [0, 0x7f, 0xff]) {
          const broken = Buffer.from(original);
          broken[at] = value;
          try { parseKernel(broken); } catch (error) { expect(error, `byte ${at} = ${value}: ${String(error)}`).toBeInstanceOf(BuilderError); }
        }
      }
    }
  });

  it('from another thread too', async () => {
    await expect(loadKernel('/nonexistent/vmlinuz')).rejects.toMatchObject({ code: 'kernel-unreadable', message: expect.stringContaining('/nonexistent/vmlinuz') });
  });
  it('once for several domains, until its file changes', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'kernel-')), path = join(dir, 'vmlinux'), settled = (): Promise<void> => setTimeout(1100), byte = (image: KernelImage): number => image.loads[0]!.data[0]!;
    writeFileSync(path, KERNEL);
    // Too young to be told from what may be written next.
    expect(await loadKernel(path)).not.toBe(await loadKernel(path));
    await settled();
    const [first, second] = await Promise.all([loadKernel(path), loadKernel(path)]);
    expect([second, await loadKernel(path)].every(image => image === first)).toBe(true);
    // As many bytes as before.
    writeFileSync(path, makeElf({ loads: [{ ...LOADS[0]!, data: Buffer.alloc(5000, 0xcc) }], notes: NOTES }));
    expect(byte(await loadKernel(path))).toBe(0xcc);
    writeFileSync(path, 'no kernel at all');
    await settled();
    for (let n = 0; n < 2; n++) await expect(loadKernel(path)).rejects.toBeInstanceOf(BuilderError);
    writeFileSync(path, KERNEL);
    expect(byte(await loadKernel(path))).toBe(0x90);
    rmSync(dir, { recursive: true });
  });
});

describe('real kernels', async () => {
  const cloud = await guestFile(CLOUD_KERNEL), grub = await guestFile(GRUB_XEN), generic = await guestFile(GENERIC_KERNEL);

  it.skipIf(cloud === null)('Debian cloud (LZ4)', async () => {
    const k = await loadKernel(cloud!);
    expect(k).toMatchObject({ format: 'bzImage', compression: 'lz4', params: { guestOs: 'linux', virtBase: BASE, initP2m: 0x80_0000_0000n, modStartPfn: true, hypercallPage: null } });
    expect(k.loads.some((l) => l.vaddr === 0n && l.paddr > 0n)).toBe(true);
  });
  it.skipIf(generic === null)('Debian generic (XZ)', () => {
    expect(parseKernel(readFileSync(generic!))).toMatchObject({ format: 'bzImage', compression: 'xz', params: { guestOs: 'linux' } });
  });
  it.skipIf(grub === null)('GRUB', () => {
    expect(parseKernel(readFileSync(grub!))).toMatchObject({ format: 'ELF', params: { guestOs: 'GRUB', virtBase: 0n, virtEntry: 0n, initP2m: null } });
  });
});
