import { beforeEach, describe, expect, it } from 'vitest';
import { EXIT, SEG } from '../cpu/processor-api.ts';
import type { PrivilegedInstruction } from '../cpu/processor-api.ts';
import { mfnOf } from '../public/types.ts';
import { PAGE, makeGuest } from '../mm/test-guest.ts';
import type { TestGuest } from '../mm/test-guest.ts';
import { allocateSharedFrames } from '../mm/frames.ts';
import { newUserBasePointer } from '../mm/base-pointer.ts';
import { pinTable } from '../mm/page-tables.ts';
import { withPageLock } from '../mm/space.ts';
import { CR4 } from './pv-state.ts';
import { VCPU_GUEST_CONTEXT_BYTES, deliverPending, dumpRegisters, handleExit, initialContext, loadGuestContext } from './index.ts';
import { iret } from './iret.ts';
import { lookupDescriptor } from './segments.ts';
import { installGdt } from '../mm/gdt.ts';
import { writeHypercallPage } from '../public/hypercall-page.ts';

const HANDLER = 0xffff_ffff_8100_1000n;
const RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSP = 4, RDI = 7, R11 = 11;
const MASK = 1;
let g: TestGuest;

/** A guest with a user address space: its user L4 is frame 8, sharing the kernel's L3. */
beforeEach(() => {
  g = makeGuest();
  const { space, ctx } = g;
  g.poke(8, 511, g.entry(1, 0x67));
  g.ctx.processor.flushTlb();
  expect(withPageLock(space, () => pinTable(space, g.frames[9]!, 4))).toBeLessThan(0); // still mapped writable
  g.poke(3, 8, g.entry(8, 0x65));
  withPageLock(space, () => { // the linear map's writable entry was taken away by hand: drop its reference
    space.words[(space.layout.frameTable >>> 2) + g.frames[8]! * 4]! -= 1;
  });
  expect(newUserBasePointer(ctx, g.frames[8]!)).toBe(0);
  ctx.pv.kernelSp = g.va(41);
  ctx.pv.gsBaseUser = 0x7000n;
  ctx.processor.gsBase = 0xffff_8880_0000_0000n;
  ctx.processor.selectors[SEG.cs] = 0xe033;
  ctx.processor.selectors[SEG.ss] = 0xe02b;
  ctx.processor.gpr[RSP] = g.va(40) + 0x808n;
  ctx.processor.rip = 0xffff_ffff_8100_0000n;
  for (const vector of [0, 1, 3, 6, 7, 13, 14, 0x80]) Object.assign(ctx.pv.traps[vector]!, { address: HANDLER + BigInt(vector) });
});

const typeCountOf = (n: number): number => g.space.words[(g.space.layout.frameTable >>> 2) + g.frames[n]! * 4]! & 0x3ff_ffff;
const stack = (at: bigint, n: number): bigint => g.ctx.processor.read64(at + BigInt(n * 8))!;
const mask = (): number => g.ctx.processor.bytes[g.ctx.vcpuInfo + MASK]!;
const setMask = (value: number): void => { g.ctx.processor.bytes[g.ctx.vcpuInfo + MASK] = value; };
function enterUser(): void {
  setMask(0);
  const frame = [1n, 2n, 3n, 0n, 0x40_0000n, 0xe033n, 0x246n, 0x7fff_0000n, 0xe02bn];
  frame.forEach((value, i) => expect(g.ctx.processor.write64(g.va(42) + BigInt(i * 8), value)).toBe(true));
  g.ctx.processor.gpr[RSP] = g.va(42);
  expect(iret(g.ctx)).toBe(1n);
  expect(g.ctx.pv.kernelMode).toBe(false);
}
function exception(vector: number, errorCode = -1, cr2 = 0n): void {
  Object.assign(g.ctx.processor, { vector, errorCode, cr2 });
  handleExit(g.ctx, EXIT.exception);
}
function privileged(insn: Partial<PrivilegedInstruction> & { name: PrivilegedInstruction['name'] }): void {
  g.ctx.processor.privileged = { length: 2, bits: 8, reg: 0, system: 0, port: -1, rep: false, ...insn };
  handleExit(g.ctx, EXIT.privileged);
}

describe('the bounce frame', () => {
  it('is pushed on an aligned current stack from the kernel, CS with RPL 0', () => {
    const { processor } = g.ctx;
    processor.gpr[RCX] = 0x11n; processor.gpr[R11] = 0x22n;
    setMask(1);
    const sp = processor.gpr[RSP]!, rip = processor.rip;
    exception(13, 0x50);
    const at = processor.gpr[RSP]!;
    expect(at).toBe((sp & ~0xfn) - 64n);
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((i) => stack(at, i))).toEqual([0x11n, 0x22n, 0x50n, rip, 0xe030n | (1n << 32n), 0x002n, sp, 0xe02bn]);
    expect(processor.rip).toBe(HANDLER + 13n);
    expect(mask()).toBe(1);
  });

  it('has no error code where the exception has none, and shows IF from the event mask', () => {
    const { processor } = g.ctx;
    setMask(0);
    processor.rflags = 0x4_4346n; // AC, NT, TF among others
    exception(0);
    const at = processor.gpr[RSP]!;
    expect(stack(at, 3)).toBe(0xe030n);
    expect(stack(at, 4)).toBe(0x4_4346n);
    expect(processor.rflags & 0x4_4100n).toBe(0n);
    expect(mask()).toBe(0);
  });

  it('masks events for gates that ask for it', () => {
    g.ctx.pv.traps[0]!.masksEvents = true;
    exception(0);
    expect(mask()).toBe(1);
    expect(stack(g.ctx.processor.gpr[RSP]!, 3)).toBe(0xe030n); // the mask before
  });

  it('switches to the kernel stack, tables and GS from user mode', () => {
    enterUser();
    const { processor } = g.ctx;
    expect(processor.activeView).toBe(1);
    expect(processor.gsBase).toBe(0x7000n);
    processor.gsBase = 0x7008n;
    exception(14, 0x6, 0xdead_000n);
    expect(processor.activeView).toBe(0);
    expect(processor.gsBase).toBe(0xffff_8880_0000_0000n);
    expect(g.ctx.pv.gsBaseUser).toBe(0x7008n);
    const at = processor.gpr[RSP]!;
    expect(at).toBe(g.va(41) - 64n);
    expect([2, 3, 4, 5, 6, 7].map((i) => stack(at, i))).toEqual([0x6n, 0x40_0000n, 0xe033n, 0x246n, 0x7fff_0000n, 0xe02bn]);
  });

  it('puts cr2 into vcpu_info and says who faulted', () => {
    exception(14, 0x7, 0x1234_5000n);
    expect(g.ctx.processor.view.getBigUint64(g.ctx.vcpuInfo + 16, true)).toBe(0x1234_5000n);
    expect(stack(g.ctx.processor.gpr[RSP]!, 2)).toBe(3n); // kernel: no user bit
  });

  it('ends the domain on a bad stack, with the registers in the log', () => {
    g.ctx.processor.gpr[RSP] = 0x1000n;
    exception(13, 0);
    expect(g.ctx.crashes).toHaveLength(1);
    expect(g.ctx.lines.join('\n')).toContain('RIP:    e033:[<ffffffff81000000>]');
  });

  it('ends the domain when there is no handler, and when the stack is in the hypervisor hole', () => {
    exception(5);
    expect(g.ctx.crashes).toHaveLength(1);
    g.ctx.processor.gpr[RSP] = 0xffff_8000_0000_1000n;
    exception(13, 0);
    expect(g.ctx.crashes).toHaveLength(2);
  });

  it('clears TS before the guest gets #NM', () => {
    g.ctx.pv.cr0 |= 8n;
    g.ctx.processor.taskSwitched = true;
    exception(7);
    expect(g.ctx.processor.rip).toBe(HANDLER + 7n);
    expect(g.ctx.processor.taskSwitched).toBe(false);
    expect(g.ctx.pv.cr0 & 8n).toBe(0n);
  });
});

describe('iret', () => {
  function frame(...values: bigint[]): void {
    values.forEach((value, i) => g.ctx.processor.write64(g.va(42) + BigInt(i * 8), value));
    g.ctx.processor.gpr[RSP] = g.va(42);
  }

  it('returns within the kernel and takes the event mask from IF', () => {
    frame(7n, 8n, 9n, 0n, 0x1234n, 0xe030n, 0x3046n, 0x5678n, 0xe02bn);
    expect(iret(g.ctx)).toBe(7n);
    const { processor } = g.ctx;
    expect([processor.rip, processor.gpr[RSP], processor.gpr[RCX], processor.gpr[R11]]).toEqual([0x1234n, 0x5678n, 9n, 8n]);
    expect(processor.selectors[SEG.cs]).toBe(0xe033);
    expect(processor.rflags & 0x3000n).toBe(0n);
    expect(mask()).toBe(1);
    expect(g.ctx.pv.kernelMode).toBe(true);
  });

  it('enters user mode, in compatibility mode too', () => {
    frame(7n, 8n, 9n, 0n, 0x1234n, 0xe023n, 0x246n, 0x5678n, 0xe02bn);
    iret(g.ctx);
    expect(g.ctx.pv.kernelMode).toBe(false);
    expect(g.ctx.processor.longMode).toBe(false);
    expect(mask()).toBe(0);
    expect(g.ctx.crashes).toEqual([]);
  });

  it('keeps rcx and r11 as SYSRET leaves them when the frame says so', () => {
    frame(7n, 8n, 9n, 0x100n, 0x1234n, 0x33n, 0x246n, 0x5678n, 0x2bn);
    iret(g.ctx);
    expect(g.ctx.processor.gpr[RCX]).toBe(0x1234n);
    expect(g.ctx.processor.gpr[R11]! & 0xffn).toBe(0x46n);
    expect(g.ctx.processor.selectors[SEG.cs]).toBe(0xe033);
  });

  it('calls the failsafe callback on bad selectors', () => {
    g.ctx.pv.failsafe.address = 0xffff_ffff_8100_9000n;
    g.ctx.processor.selectors[SEG.ds] = 0x2b;
    frame(7n, 8n, 9n, 0n, 0x1234n, 0x4bn, 0x246n, 0x5678n, 0xe02bn);
    iret(g.ctx);
    const { processor } = g.ctx;
    expect(processor.rip).toBe(0xffff_ffff_8100_9000n);
    expect(g.ctx.pv.kernelMode).toBe(true);
    const at = processor.gpr[RSP]!;
    expect([0, 1, 2, 6, 7].map((i) => stack(at, i))).toEqual([9n, 8n, 0x2bn, 0x1234n, 0x4bn]);
    expect(g.ctx.crashes).toEqual([]);
  });

  it('calls the failsafe callback for a non-canonical address and for null stacks', () => {
    g.ctx.pv.failsafe.address = 0xffff_ffff_8100_9000n;
    frame(7n, 8n, 9n, 0n, 0x8000_0000_0000_0000n, 0xe033n, 0x246n, 0x5678n, 0xe02bn);
    iret(g.ctx);
    expect(g.ctx.processor.rip).toBe(0xffff_ffff_8100_9000n);
    frame(7n, 8n, 9n, 0n, 0x1234n, 0xe033n, 0x246n, 0x5678n, 0n);
    iret(g.ctx);
    expect(g.ctx.processor.rip).toBe(0xffff_ffff_8100_9000n);
  });

  it('ends the domain without a failsafe callback, without user tables, or with an unreadable frame', () => {
    frame(7n, 8n, 9n, 0n, 0x1234n, 0x4bn, 0x246n, 0x5678n, 0xe02bn);
    iret(g.ctx);
    expect(g.ctx.crashes).toHaveLength(1);
    g.ctx.processor.gpr[RSP] = 0x10n;
    iret(g.ctx);
    expect(g.ctx.crashes).toHaveLength(2);
    const fresh = makeGuest();
    [7n, 8n, 9n, 0n, 0x1234n, 0xe033n, 0x246n, 0x5678n, 0xe02bn].forEach((v, i) => fresh.ctx.processor.write64(fresh.va(42) + BigInt(i * 8), v));
    fresh.ctx.processor.gpr[RSP] = fresh.va(42);
    iret(fresh.ctx);
    expect(fresh.ctx.crashes[0]).toContain('no user page tables');
  });
});

describe('system calls', () => {
  it('enters the callback from user mode with rcx and r11 as the instruction leaves them', () => {
    enterUser();
    g.ctx.pv.syscall.address = HANDLER;
    g.ctx.pv.syscall.masksEvents = true;
    const { processor } = g.ctx;
    processor.rip = 0x40_0010n;
    handleExit(g.ctx, EXIT.syscall);
    const at = processor.gpr[RSP]!;
    expect(processor.rip).toBe(HANDLER);
    expect([0, 2, 3].map((i) => stack(at, i))).toEqual([0x40_0010n, 0x40_0010n, 0xe033n]);
    expect(mask()).toBe(1);
  });

  it('is #UD at the instruction when nothing is registered', () => {
    enterUser();
    g.ctx.processor.rip = 0x40_0012n;
    handleExit(g.ctx, EXIT.syscall);
    expect(g.ctx.processor.rip).toBe(HANDLER + 6n);
    expect(stack(g.ctx.processor.gpr[RSP]!, 2)).toBe(0x40_0010n);
  });

  it('lets user programs raise only gates of level 3', () => {
    enterUser();
    g.ctx.processor.rip = 0x40_0002n;
    g.ctx.processor.vector = 0x80;
    handleExit(g.ctx, EXIT.softwareInterrupt);
    expect(g.ctx.processor.rip).toBe(HANDLER + 13n);
    expect([2, 3].map((i) => stack(g.ctx.processor.gpr[RSP]!, i))).toEqual([0x402n, 0x40_0000n]);
    enterUser();
    g.ctx.pv.traps[0x80]!.dpl = 3;
    g.ctx.processor.rip = 0x40_0002n;
    g.ctx.processor.vector = 0x80;
    handleExit(g.ctx, EXIT.softwareInterrupt);
    expect(g.ctx.processor.rip).toBe(HANDLER + 0x80n);
    expect(stack(g.ctx.processor.gpr[RSP]!, 2)).toBe(0x40_0002n);
  });
});

describe('events', () => {
  it('are delivered once, with the mask set, when pending and not masked', () => {
    g.ctx.pv.event.address = 0xffff_ffff_8100_5000n;
    const { processor } = g.ctx;
    processor.bytes[g.ctx.vcpuInfo] = 1;
    setMask(1);
    deliverPending(g.ctx);
    expect(processor.rip).toBe(0xffff_ffff_8100_0000n);
    setMask(0);
    deliverPending(g.ctx);
    expect(processor.rip).toBe(0xffff_ffff_8100_5000n);
    expect(mask()).toBe(1);
    expect(stack(processor.gpr[RSP]!, 3) >> 32n).toBe(0n);
    const sp = processor.gpr[RSP];
    deliverPending(g.ctx);
    expect(processor.gpr[RSP]).toBe(sp);
  });
});

describe('privileged instructions', () => {
  it('answers CPUID, and its forced form', () => {
    const { processor } = g.ctx;
    processor.gpr[RAX] = 0x4000_0000n;
    privileged({ name: 'cpuid' });
    expect(processor.gpr[RAX]).toBe(0x4000_0005n);
    expect(processor.gpr[RBX]).toBe(0x566e_6558n);
    expect(processor.rip).toBe(0xffff_ffff_8100_0002n);
    processor.writeVirtual(g.va(43), new Uint8Array([0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2]));
    processor.rip = g.va(43);
    processor.gpr[RAX] = 1n;
    exception(6);
    expect(processor.rip).toBe(g.va(43) + 7n);
    expect(processor.gpr[RCX]! & (1n << 31n)).not.toBe(0n);
    expect(processor.gpr[RCX]! & (3n << 26n)).toBe(0n); // neither XSAVE nor OSXSAVE
    processor.rip = g.va(44);
    exception(6);
    expect(processor.rip).toBe(HANDLER + 6n);
  });

  it('emulates the GS base write that comes before any trap table', () => {
    const { processor } = g.ctx;
    processor.gpr[RCX] = 0xc000_0101n; processor.gpr[RAX] = 0x8304_4000n; processor.gpr[RDX] = 0xffff_ffffn;
    privileged({ name: 'wrmsr' });
    expect(processor.gsBase).toBe(0xffff_ffff_8304_4000n);
    privileged({ name: 'rdmsr' });
    expect([processor.gpr[RAX], processor.gpr[RDX]]).toEqual([0x8304_4000n, 0xffff_ffffn]);
  });

  it('raises #GP for unknown MSRs and for everything privileged in user mode', () => {
    const { processor } = g.ctx;
    processor.gpr[RCX] = 0x1234n;
    privileged({ name: 'rdmsr' });
    expect(processor.rip).toBe(HANDLER + 13n);
    for (const name of ['rdmsr', 'wrmsr', 'clts', 'mov_from_cr', 'mov_to_cr', 'hlt', 'swapgs', 'lgdt'] as const) {
      enterUser();
      processor.gpr[RCX] = 0xc000_0100n;
      privileged({ name });
      expect(processor.rip, name).toBe(HANDLER + 13n);
      expect(stack(processor.gpr[RSP]!, 3)).toBe(0x40_0000n);
    }
  });

  it('allows port access by virtual IOPL: all ones, and a timer that stands still', () => {
    const { processor } = g.ctx;
    processor.gpr[RAX] = 0x1122_3344_5566_7788n;
    privileged({ name: 'in', port: 0x64 });
    expect(processor.rip).toBe(HANDLER + 13n);
    g.ctx.pv.iopl = 1;
    processor.rip = 0xffff_ffff_8100_0000n;
    privileged({ name: 'in', port: 0x64 });
    expect(processor.gpr[RAX]).toBe(0x1122_3344_5566_77ffn);
    processor.gpr[RDX] = 0xcfcn;
    privileged({ name: 'in', bits: 32, length: 1 });
    expect(processor.gpr[RAX]).toBe(0xffff_ffffn);
    privileged({ name: 'in', port: 0x42 });
    expect(processor.gpr[RAX]! & 0xffn).toBe(0n);
    enterUser();
    privileged({ name: 'out', port: 0x80 });
    expect(processor.rip).toBe(HANDLER + 13n);
  });

  it('gives the L4 in cr3 and takes only a valid one', () => {
    const { processor } = g.ctx;
    privileged({ name: 'mov_from_cr', system: 3, reg: RBX, length: 3 });
    expect(processor.gpr[RBX]).toBe(g.maddr(0));
    processor.gpr[RBX] = g.maddr(20);
    privileged({ name: 'mov_to_cr', system: 3, reg: RBX, length: 3 });
    expect(processor.rip).toBe(HANDLER + 13n);
    expect(processor.roots[0]).toBe(g.frames[0]! * PAGE);
  });

  it('changes nothing in cr0 but TS', () => {
    const { processor, pv } = g.ctx;
    processor.gpr[RBX] = pv.cr0 | 8n;
    privileged({ name: 'mov_to_cr', system: 0, reg: RBX, length: 3 });
    expect(processor.taskSwitched).toBe(true);
    privileged({ name: 'clts' });
    expect(processor.taskSwitched).toBe(false);
    processor.gpr[RBX] = pv.cr0 & ~0x8000_0000n;
    privileged({ name: 'mov_to_cr', system: 0, reg: RBX, length: 3 });
    expect(processor.rip).toBe(HANDLER + 13n);
  });

  it('reads system time as the time-stamp counter, in user mode too', () => {
    enterUser();
    g.ctx.nowNs = 0x1_2345_6789n;
    privileged({ name: 'rdtsc' });
    expect([g.ctx.processor.gpr[RAX], g.ctx.processor.gpr[RDX]]).toEqual([0x2345_6789n, 1n]);
    expect(g.ctx.processor.rip).toBe(0x40_0002n);
  });

  it('has user programs exit at RDTSC, and refuses it, while CR4.TSD is set', () => {
    const { processor } = g.ctx;
    processor.gpr[RAX] = CR4.TSD;
    privileged({ name: 'mov_to_cr', system: 4, reg: RAX });
    expect(processor.tscExits).toBe(true);
    enterUser();
    privileged({ name: 'rdtsc' });
    expect(g.ctx.pv.kernelMode).toBe(true);
    processor.gpr[RAX] = 0n;
    privileged({ name: 'mov_to_cr', system: 4, reg: RAX });
    expect(processor.tscExits).toBe(false);
  });

  it('repeats string input one element at a time and reports its faults', () => {
    const { processor } = g.ctx;
    g.ctx.pv.iopl = 1;
    processor.gpr[RDI] = g.va(43) + 0xffen; processor.gpr[RCX] = 2n;
    privileged({ name: 'ins', bits: 16, rep: true });
    expect(processor.gpr[RCX]).toBe(1n);
    expect(processor.rip).toBe(0xffff_ffff_8100_0000n);
    processor.gpr[RDI] = 0x1000n;
    privileged({ name: 'ins', bits: 16, rep: true });
    expect(processor.rip).toBe(HANDLER + 14n);
  });
});

describe('descriptors and contexts', () => {
  it('reads the guest GDT by frame, then Xen\'s flat segments', () => {
    g.poke(10, 2, 0x00af_9b00_0000_ffffn); // DPL 0: forced to 3
    g.ctx.processor.flushTlb();
    g.poke(3, 10, g.entry(10, 0x65));
    withPageLock(g.space, () => { g.space.words[(g.space.layout.frameTable >>> 2) + g.frames[10]! * 4]! -= 1; });
    expect(installGdt(g.ctx, [BigInt(mfnOf(5, g.frames[10]!))], 16)).toBe(0);
    expect(lookupDescriptor(g.ctx, 0x13)).toBe(0x00af_fb00_0000_ffffn);
    expect(lookupDescriptor(g.ctx, 16 * 8)).toBeUndefined();
    expect(lookupDescriptor(g.ctx, 0xe033)! >> 53n & 1n).toBe(1n);
    expect(lookupDescriptor(g.ctx, 0xe03b)).toBeUndefined();
    expect(lookupDescriptor(g.ctx, 0x0f)).toBeUndefined();
  });

  it('checks LDT entries at the moment of use', () => {
    g.ctx.pv.ldtBase = g.va(43);
    g.ctx.pv.ldtEntries = 2;
    g.ctx.processor.write64(g.va(43), 0x00cf_9300_0000_ffffn);
    g.ctx.processor.write64(g.va(43) + 8n, 0x0000_e900_0000_0000n); // a TSS
    expect(lookupDescriptor(g.ctx, 0x04)).toBe(0x00cf_f300_0000_ffffn);
    expect(lookupDescriptor(g.ctx, 0x0c)).toBeUndefined();
    expect(lookupDescriptor(g.ctx, 0x14)).toBeUndefined();
  });

  it('starts a vCPU only on valid tables', () => {
    const fresh = makeGuest({ start: false });
    const [shared] = allocateSharedFrames(fresh.space, 1) as number[];
    fresh.ctx.vcpuInfo = shared! * PAGE;
    const boot = { rip: 0x1000n, rsp: 0x2000n, rsi: 0x3000n };
    expect(initialContext(fresh.ctx, { ...boot, cr3Mfn: mfnOf(6, fresh.frames[0]!) })).toBe(-22);
    fresh.poke(9, 0, fresh.entry(9, 0x67));
    expect(initialContext(fresh.ctx, { ...boot, cr3Mfn: mfnOf(5, fresh.frames[9]!) })).toBe(-22);
    expect(initialContext(fresh.ctx, { ...boot, cr3Mfn: mfnOf(5, fresh.frames[0]!) })).toBe(0);
    expect(fresh.ctx.processor.gpr[6]).toBe(0x3000n);
    expect(fresh.ctx.processor.bytes[fresh.ctx.vcpuInfo + 1]).toBe(1);
    expect(dumpRegisters(fresh.ctx).join('\n')).toContain('rsi: 0000000000003000');
  });

  it('brings a second vCPU up from the image a kernel gives', () => {
    const image = new DataView(new ArrayBuffer(VCPU_GUEST_CONTEXT_BYTES));
    const put = (at: number, value: bigint): void => image.setBigUint64(at, value, true);
    put(512, 4n); // VGCF_in_kernel
    put(648, 0x1111n); put(656, 0xe030n); put(664, 0x1000n); put(672, 0x2222n); put(680, 0xe028n);
    put(624, 0x77n); // rsi
    put(720 + 14 * 16, 14n | (4n << 8n)); put(720 + 14 * 16 + 8, HANDLER);
    put(4976, 0x3333n); put(5112, HANDLER); put(5152, 0xffff_8880_0000_1000n);
    put(4984 + 24, g.maddr(0));
    const users = typeCountOf(0);
    expect(loadGuestContext(g.ctx, image)).toBe(0);
    const { processor, pv } = g.ctx;
    expect([processor.rip, processor.gpr[RSP], processor.gpr[6], pv.kernelSp, processor.gsBase]).toEqual([0x1111n, 0x2222n, 0x77n, 0x3333n, 0xffff_8880_0000_1000n]);
    expect([pv.iopl, processor.selectors[SEG.cs], pv.traps[14]!.masksEvents, processor.longMode]).toEqual([1, 0xe033, true, true]);
    expect(typeCountOf(0)).toBe(users);
    put(4984 + 24, g.maddr(20)); // not a page table
    expect(loadGuestContext(g.ctx, image)).toBe(-22);
    put(4984 + 24, g.maddr(0)); put(512, 0n); // user mode without user tables
    expect(loadGuestContext(g.ctx, image)).toBe(-22);
    put(512, 4n); put(5112, 1n << 60n);
    expect(loadGuestContext(g.ctx, image)).toBe(-22);
  });

  it('writes a hypercall page with its iret stub', () => {
    const page = new Uint8Array(4096);
    writeHypercallPage(page);
    expect([...page.subarray(32, 45)]).toEqual([0x51, 0x41, 0x53, 0xb8, 1, 0, 0, 0, 0x0f, 0x05, 0x41, 0x5b, 0x59]);
    expect([...page.subarray(23 * 32, 23 * 32 + 12)]).toEqual([0x51, 0x41, 0x53, 0x50, 0xb8, 23, 0, 0, 0, 0x0f, 0x05, 0xcc]);
  });
});
