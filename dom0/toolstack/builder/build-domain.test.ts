import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { domid, evtchnPort } from '../../../hypervisor/public/types.ts';
import { CLOUD_KERNEL, guestFile } from '../../../test/guests/packages.ts';
import { buildDomain, planDomain, type BuildOptions, type BuildResult } from './build-domain.ts';
import { FakeHypervisor } from './fake-hypervisor.ts';
import { parseKernel, type KernelImage } from './kernel-image.ts';
import { loadKernel } from './kernel-loader.ts';
import { makeElf } from './make-elf.ts';
import { packModules } from './module-list.ts';

const BASE = 0xffff_ffff_8000_0000n;
const text = (n: number, seed: number): Buffer => Buffer.from(Array.from({ length: n }, (_, i) => i * 7 + seed & 0xff));

const CODE = text(9000, 1), PERCPU = text(4097, 2);
/** Like Linux: loaded by physical address, one segment at virtual address 0. */
const LINUX = parseKernel(makeElf({
  loads: [{ vaddr: BASE + 0x100_0000n, paddr: 0x100_0000n, data: CODE, memSize: 0x4000 }, { vaddr: 0n, paddr: 0x100_4000n, data: PERCPU, memSize: 0x5000 }],
  notes: [[5, 'xen-3.0'], [6, 'linux'], [3, BASE], [1, BASE + 0x100_0000n], [15, 0x80_0000_0000n], [16, 1n]],
}));
/** Like Mini-OS: everything in the initial mapping, and a hypercall page. */
const MINIOS = parseKernel(makeElf({
  loads: [{ vaddr: 0n, paddr: 0n, data: CODE, memSize: 0x8000 }],
  xenGuest: 'GUEST_OS=Mini-OS,XEN_VER=xen-3.0,VIRT_BASE=0x0,ELF_PADDR_OFFSET=0x0,HYPERCALL_PAGE=0x5,LOADER=generic',
}));

const OPTIONS: BuildOptions = { memoryMib: 64, cmdline: 'console=hvc0 root=/dev/xvda', storePort: evtchnPort(1), consolePort: evtchnPort(2) };

async function built(image: KernelImage, options: Partial<BuildOptions> = {}): Promise<{ hv: FakeHypervisor; result: BuildResult; info: StartInfoFields }> {
  const all = { ...OPTIONS, ...options };
  const hv = new FakeHypervisor(all.memoryMib * 256);
  const result = await buildDomain(hv.calls, domid(1), image, all);
  return { hv, result, info: startInfo(hv) };
}

type StartInfoFields = ReturnType<typeof startInfo>;
/** Reads start_info as the guest does: through its own page tables, at rsi. */
function startInfo(hv: FakeHypervisor) {
  const page = hv.read(hv.context!.rsi, 4096);
  const u64 = (at: number): bigint => page.readBigUInt64LE(at);
  return {
    magic: page.toString('latin1', 0, page.indexOf(0)), nrPages: u64(32), sharedInfo: u64(40), flags: page.readUInt32LE(48), storeMfn: Number(u64(56)), storePort: page.readUInt32LE(64),
    consoleMfn: Number(u64(72)), consolePort: page.readUInt32LE(80), ptBase: u64(88), nrPtFrames: Number(u64(96)), mfnList: u64(104), modStart: u64(112), modLen: Number(u64(120)),
    cmdline: page.toString('latin1', 128, page.indexOf(0, 128)), firstP2mPfn: Number(u64(1152)), nrP2mFrames: Number(u64(1160)),
  };
}

describe('a kernel with INIT_P2M and MOD_START_PFN', () => {
  const ramdisk = text(10_000, 3);

  it('start_info says what was done', async () => {
    const { hv, result, info } = await built(LINUX, { ramdisk });
    expect(info).toMatchObject({
      magic: 'xen-3.0-x86_64', nrPages: 16384n, flags: 8, storeMfn: result.storeMfn, storePort: 1, consoleMfn: result.consoleMfn, consolePort: 2,
      sharedInfo: BigInt(hv.sharedInfoMfn) << 12n, mfnList: 0x80_0000_0000n, modLen: 12288, cmdline: OPTIONS.cmdline,
    });
    // As recorded with a real one: start_info, xenstore, console, then the tables; the ramdisk at the 4 MiB boundary.
    const end = 0x1009;
    expect(hv.context).toMatchObject({ rip: BASE + 0x100_0000n, rsi: BASE + BigInt(end) * 4096n });
    expect(info.ptBase).toBe(BASE + BigInt(end + 3) * 4096n);
    expect(hv.context!.rsp).toBe(BASE + BigInt(end + 3 + info.nrPtFrames + 1) * 4096n);
    expect(info.modStart).toBe(0x1400n);
    expect(info.firstP2mPfn).toBe(0x1403);
    expect(info.nrP2mFrames).toBe(32 + 3);
    expect(info.nrPtFrames).toBe(3 + 10);
  });

  it('segments lie by physical address and can be read where the kernel looks', async () => {
    const { hv } = await built(LINUX);
    expect(hv.read(BASE + 0x100_0000n, CODE.length).equals(CODE)).toBe(true);
    expect(hv.read(BASE + 0x100_4000n, PERCPU.length).equals(PERCPU)).toBe(true);
    expect(hv.read(BASE + 0x100_0000n + BigInt(CODE.length), 1000).every((b) => b === 0)).toBe(true);
  });

  it('the ramdisk lies at its pfn', async () => {
    const { hv, info } = await built(LINUX, { ramdisk });
    const got = Buffer.concat([0, 1, 2].map((i) => Buffer.from(new Uint8Array(hv.frame(hv.populated[Number(info.modStart) + i]!).buffer, hv.populated[Number(info.modStart) + i]! % 0x100000 * 4096, 4096))));
    expect(got.subarray(0, ramdisk.length).equals(ramdisk)).toBe(true);
    expect(got.subarray(ramdisk.length).every((b) => b === 0)).toBe(true);
    expect(hv.walk(BASE + info.modStart * 4096n)).toBeNull();
  });

  it('the p2m list is every frame in order, at INIT_P2M; M2P is its inverse', async () => {
    const { hv } = await built(LINUX);
    const list = hv.read(0x80_0000_0000n, 16384 * 8);
    for (let pfn = 0; pfn < 16384; pfn++) {
      expect(Number(list.readBigUInt64LE(pfn * 8))).toBe(hv.populated[pfn]);
      expect(hv.m2p.get(hv.populated[pfn]!)).toBe(pfn);
    }
  });

  it('maps pfn 0 to the 4 MiB boundary and nothing more; tables are read-only, all else is writable', async () => {
    const { hv, info } = await built(LINUX);
    const firstTable = 0x100c, afterTables = firstTable + info.nrPtFrames;
    for (let pfn = 0; pfn < 0x1400; pfn++) {
      const page = hv.walk(BASE + BigInt(pfn) * 4096n);
      expect(page).toEqual({ mfn: hv.populated[pfn], writable: pfn < firstTable || pfn >= afterTables });
    }
    expect(hv.walk(BASE + 0x1400n * 4096n)).toBeNull();
    expect(hv.walk(0n)).toBeNull();
    expect(hv.context!.cr3Mfn).toBe(hv.populated[firstTable]);
  });

  it('rings are zero and granted, upcalls masked', async () => {
    const { hv, result } = await built(LINUX);
    expect(hv.grants.get(0)).toEqual({ mfn: result.consoleMfn, grantee: 0 });
    expect(hv.grants.get(1)).toEqual({ mfn: result.storeMfn, grantee: 0 });
    for (const m of [result.consoleMfn, result.storeMfn]) for (let at = 0; at < 4096; at += 8) expect(hv.frame(m).getBigUint64(at)).toBe(0n);
    for (let vcpu = 0; vcpu < 32; vcpu++) expect(hv.frame(hv.sharedInfoMfn).getUint8(vcpu * 64 + 1)).toBe(1);
  });
});

describe('a kernel without either', () => {
  it('has ramdisk and p2m list in the initial mapping', async () => {
    const ramdisk = text(5000, 4);
    const { hv, info } = await built(MINIOS, { ramdisk });
    expect(info).toMatchObject({ flags: 0, modStart: 0x8000n, modLen: 8192, mfnList: 0xa000n, firstP2mPfn: 0, nrP2mFrames: 0 });
    expect(hv.read(info.modStart, ramdisk.length).equals(ramdisk)).toBe(true);
    const list = hv.read(info.mfnList, 16384 * 8);
    expect(Number(list.readBigUInt64LE(1234 * 8))).toBe(hv.populated[1234]);
    expect(hv.context!.rsi).toBe(0xa000n + 32n * 4096n);
  });
  it('gets its hypercall page', async () => {
    const { hv } = await built(MINIOS);
    // mov eax, 2; syscall somewhere in stub 2.
    expect(hv.read(0x5000n + 2n * 32n, 32).includes(Buffer.from([0xb8, 2, 0, 0, 0, 0x0f, 0x05]))).toBe(true);
  });
  it('several modules come as a multiboot module package', async () => {
    const { info, hv } = await built(MINIOS, { modules: [{ data: text(5000, 5), cmdline: 'one' }, { data: text(10, 6), cmdline: '' }] });
    expect(info.flags).toBe(4);
    const list = hv.read(info.modStart, 48);
    const start = list.readUInt32LE(0), end = list.readUInt32LE(4);
    expect(hv.read(info.modStart + BigInt(start), end - start + 1).equals(text(5000, 5))).toBe(true);
    expect(hv.read(info.modStart + BigInt(list.readUInt32LE(8)), 4).toString()).toBe('one\0');
    expect(list.readUInt32LE(32)).toBe(0);
  });
});

describe('ramdisks', () => {
  const dir = mkdtempSync(join(tmpdir(), 'xenolith-builder-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const data = text(9000, 8);
  const loaded = async (ramdisk: Uint8Array | string, count: number): Promise<Buffer> => {
    const { hv, info } = await built(MINIOS, { ramdisk });
    return hv.read(info.modStart, count);
  };

  it('from a file', async () => {
    writeFileSync(join(dir, 'plain'), data);
    expect((await loaded(join(dir, 'plain'), 9000)).equals(data)).toBe(true);
  });
  it('one gzip member is unpacked', async () => {
    writeFileSync(join(dir, 'gz'), gzipSync(data));
    expect((await loaded(join(dir, 'gz'), 9000)).equals(data)).toBe(true);
    expect((await loaded(gzipSync(data), 9000)).equals(data)).toBe(true);
  });
  it('gzip with something behind it is left for the kernel', async () => {
    const both = Buffer.concat([gzipSync(data), gzipSync(data), text(9, 1)]);
    expect((await loaded(both, both.length)).equals(both)).toBe(true);
  });
  it('a missing one is named', async () => {
    await expect(planDomain(LINUX, { ...OPTIONS, ramdisk: join(dir, 'none') })).rejects.toMatchObject({ code: 'ramdisk-unreadable', message: expect.stringContaining(join(dir, 'none')) });
    await expect(planDomain(LINUX, { ...OPTIONS, ramdisk: dir })).rejects.toMatchObject({ code: 'ramdisk-unreadable' });
  });
});

describe('what does not fit is refused before anything is made', () => {
  const refused = (options: Partial<BuildOptions>, image = LINUX): Promise<unknown> => planDomain(image, { ...OPTIONS, ...options });
  it.each([[0], [-1], [5000], [NaN]])('memory %s', async (memoryMib) => {
    await expect(refused({ memoryMib })).rejects.toMatchObject({ code: 'memory-size' });
  });
  it('kernel', async () => {
    await expect(refused({ memoryMib: 8 })).rejects.toMatchObject({ code: 'memory-too-small', message: expect.stringMatching(/kernel does not fit into 8 MiB.*at least 21 MiB/) });
  });
  it('ramdisk', async () => {
    await expect(refused({ ramdisk: new Uint8Array(60 << 20) })).rejects.toMatchObject({ code: 'ramdisk-too-large', message: expect.stringMatching(/initrd does not fit into 64 MiB.*at least 81 MiB/) });
  });
  it('a gzip bomb is not unpacked', async () => {
    await expect(refused({ memoryMib: 32, ramdisk: gzipSync(new Uint8Array(64 << 20)) })).resolves.toMatchObject({ ramdisk: { bytes: expect.toSatisfy((n: number) => n < 1 << 20) } });
  });
  it('command line', async () => {
    await expect(refused({ cmdline: 'x'.repeat(1024) })).rejects.toMatchObject({ code: 'cmdline-too-long' });
    await expect(refused({ cmdline: 'x'.repeat(1023) })).resolves.toBeDefined();
  });
  it('a hypervisor that has no memory left', async () => {
    await expect(buildDomain(new FakeHypervisor(100).calls, domid(1), LINUX, OPTIONS)).rejects.toMatchObject({ code: 'hypervisor' });
  });
});

it('packModules puts modules on page boundaries', () => {
  const out = packModules([{ data: text(1, 1), cmdline: 'a' }, { data: text(4096, 2), cmdline: 'b' }]);
  const v = new DataView(out.buffer);
  expect([v.getUint32(0, true), v.getUint32(4, true), v.getUint32(16, true), v.getUint32(20, true)]).toEqual([4096, 4096, 8192, 12287]);
});

describe('Debian\'s kernel', async () => {
  const path = await guestFile(CLOUD_KERNEL);
  it.skipIf(path === null)('is laid out as libxl\'s builder does it', async () => {
    const { hv, info } = await built(await loadKernel(path!), { memoryMib: 256, ramdisk: new Uint8Array(0x47_0000) });
    const kernelEnd = Number(hv.context!.rsi - BASE);
    expect(kernelEnd % 4096).toBe(0);
    expect(info.ptBase - hv.context!.rsi).toBe(3n * 4096n);
    expect(Number(info.modStart) * 4096 % 0x40_0000).toBe(0);
    expect(info.firstP2mPfn).toBe(Number(info.modStart) + 0x470);
    expect(info.nrP2mFrames).toBe(128 + 3);
    expect(hv.read(hv.context!.rip, 16).some((b) => b !== 0)).toBe(true);
  });
});
