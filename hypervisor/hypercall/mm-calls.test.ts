// The memory hypercalls as a guest makes them: arguments in guest memory, results and error numbers as Xen's.
import { beforeEach, describe, expect, it } from 'vitest';
import { EBUSY, EFAULT, EINVAL, ENODEV, ENOSYS, EOPNOTSUPP, EPERM, ESRCH } from '../public/errno.ts';
import { EXIT } from '../cpu/processor-api.ts';
import { PAGE, makeGuest } from '../mm/test-guest.ts';
import type { TestGuest } from '../mm/test-guest.ts';
import { PGT, isOwned, isPinned, typeCount, typeOf } from '../mm/frame-table.ts';
import { allocatedFrames, getM2pEntry, setMaxFrames } from '../mm/frames.ts';
import { handleExit } from '../traps/index.ts';
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { memory_op } from './memory_op.ts';
import { mmu_update } from './mmu_update.ts';
import { mmuext_op } from './mmuext_op.ts';
import { set_gdt } from './set_gdt.ts';
import { set_trap_table } from './set_trap_table.ts';
import { callback_op } from './callback_op.ts';
import { set_debugreg } from './set_debugreg.ts';
import { get_debugreg } from './get_debugreg.ts';
import { set_segment_base } from './set_segment_base.ts';
import { update_descriptor } from './update_descriptor.ts';
import { update_va_mapping } from './update_va_mapping.ts';

const RW = 0x67, RO = 0x65;
const DOMID_SELF = 0x7ff0n;
let g: TestGuest;
let arg: bigint;
beforeEach(() => { g = makeGuest(); arg = g.va(50); });

const put = (offset: number, value: bigint): void => { expect(g.ctx.processor.write64(arg + BigInt(offset), BigInt.asUintN(64, value))).toBe(true); };
const get = (offset: number): bigint => g.ctx.processor.read64(arg + BigInt(offset))!;
const call = (handler: HypercallHandler, ...args: bigint[]): number => Number(handler(g.ctx, args[0] ?? 0n, args[1] ?? 0n, args[2] ?? 0n, args[3] ?? 0n, args[4] ?? 0n));
const mfn = (n: number): bigint => g.maddr(n) >> 12n;

/** Runs mmu_update on pairs of (ptr, val); the success count goes to arg + 0xff0. */
function mmuUpdate(requests: readonly (readonly [bigint, bigint])[], foreigndom = DOMID_SELF): number {
  requests.forEach(([ptr, val], i) => { put(i * 16, ptr); put(i * 16 + 8, val); });
  put(0xff0, 0n);
  return call(mmu_update, arg, BigInt(requests.length), arg + 0xff0n, foreigndom);
}
function mmuext(cmd: number, arg1 = 0n, arg2 = 0n): number {
  put(0, BigInt(cmd)); put(8, arg1); put(16, arg2);
  return call(mmuext_op, arg, 1n, 0n, DOMID_SELF);
}
/** The guest makes a page read-only in its linear map, as before pinning it. */
const protect = (n: number): void => expect(call(update_va_mapping, g.va(n), g.entry(n, RO), 2n)).toBe(0);

describe('mmu_update', () => {
  it('applies requests in order and counts those done when one fails', () => {
    const l1 = (slot: number): bigint => g.maddr(3) + BigInt(slot * 8);
    const error = mmuUpdate([[l1(20), 0n], [l1(21), g.entry(22, RO)], [l1(0), g.entry(0, RW)], [l1(23), 0n]]);
    expect(error).toBe(-EBUSY);
    expect(get(0xff0)).toBe(2n);
    expect(g.peek(3, 21)).toBe(g.entry(22, RO));
    expect(g.peek(3, 23)).not.toBe(0n);
  });

  it('sets M2P entries of own frames alone', () => {
    expect(mmuUpdate([[g.maddr(12) | 1n, 777n]])).toBe(0);
    expect(getM2pEntry(g.space, g.frames[12]!)).toBe(777);
    expect(mmuUpdate([[(6n << 32n) | BigInt(g.frames[12]! * PAGE) | 1n, 778n]])).toBe(-EINVAL);
    expect(mmuUpdate([[(5n << 32n) | 1n, 778n]])).toBe(-EINVAL);
    expect(getM2pEntry(g.space, g.frames[12]!)).toBe(777);
  });

  it('refuses unknown commands, foreign domains and unreadable requests', () => {
    expect(mmuUpdate([[g.maddr(3) | 4n, 0n]])).toBe(-ENOSYS);
    expect(mmuUpdate([[g.maddr(3), 0n]], 1n)).toBe(-ESRCH);
    expect(mmuUpdate([[g.maddr(3), 0n]], 0n)).toBe(-EPERM);
    expect(mmuUpdate([[g.maddr(3), 0n]], DOMID_SELF | (8n << 16n))).toBe(-EPERM);
    expect(call(mmu_update, 0x1000n, 1n, 0n, DOMID_SELF)).toBe(-EFAULT);
    expect(call(mmu_update, 0x8000_0000_0000_0000n, 1n, 0n, DOMID_SELF)).toBe(-EFAULT);
    expect(call(mmu_update, 0x1000n, 0n, 0n, DOMID_SELF)).toBe(0);
  });

  it('does what it can when the list runs into an unmapped page', () => {
    expect(call(update_va_mapping, g.va(51), 0n, 2n)).toBe(0);
    arg = g.va(50) + 0xff0n;
    g.ctx.processor.write64(arg, g.maddr(3) + 160n);
    g.ctx.processor.write64(arg + 8n, 0n);
    expect(call(mmu_update, arg, 2n, g.va(52), DOMID_SELF)).toBe(-EFAULT);
    expect(g.ctx.processor.read64(g.va(52))).toBe(1n);
    expect(g.peek(3, 20)).toBe(0n);
  });

  it('asks to be continued for very long lists, and counts through', () => {
    // The same request again and again: 5,000 of them need 80,000 bytes of one page mapped 20 times.
    for (let i = 0; i < 20; i++) put(0, 0n);
    g.ctx.processor.writeVirtual(g.va(40), new Uint8Array(PAGE));
    for (let i = 0; i < PAGE; i += 16) g.ctx.processor.write64(g.va(40) + BigInt(i), g.maddr(3) + 8n * 30n);
    for (let i = 0; i < 21; i++) expect(mmuUpdate([[g.maddr(3) + BigInt((100 + i) * 8), g.entry(40, RO)]])).toBe(0);
    expect(call(mmu_update, g.va(100), 5000n, g.va(52), DOMID_SELF)).toBe(0);
    const { continuation } = g.ctx.pv;
    expect(continuation!.call).toBe(1);
    g.ctx.pv.continuation = undefined;
    expect(call(mmu_update, ...continuation!.args)).toBe(0);
    expect(g.ctx.processor.read64(g.va(52))! & 0xffff_ffffn).toBe(5000n);
    expect(g.ctx.pv.continuation).toBeUndefined();
  });

  it('writes plainly to frames that are no tables, never to descriptor pages', () => {
    expect(mmuUpdate([[g.maddr(20) + 8n, 0xabcdn]])).toBe(0);
    expect(g.peek(20, 1)).toBe(0xabcdn);
    protect(21);
    put(0, mfn(21));
    expect(call(set_gdt, arg, 8n)).toBe(0);
    expect(mmuUpdate([[g.maddr(21), 0xabcdn]])).toBe(-EINVAL);
  });
});

describe('update_va_mapping', () => {
  it('changes the entry of an address and flushes as asked', () => {
    const { processor } = g.ctx;
    expect(processor.read64(g.va(20))).toBe(0n);
    processor.write64(g.va(21), 99n);
    expect(call(update_va_mapping, g.va(20), g.entry(21, RW), 2n)).toBe(0);
    expect(processor.read64(g.va(20))).toBe(99n);
    const before = processor.fullFlushes;
    expect(call(update_va_mapping, g.va(20), g.entry(20, RW), 1n | 4n)).toBe(0);
    expect(processor.fullFlushes).toBe(before + 1);
    put(0, 1n);
    expect(call(update_va_mapping, g.va(20), g.entry(20, RW), arg | 1n)).toBe(0);
    expect(processor.fullFlushes).toBe(before + 2);
    expect(call(update_va_mapping, g.va(20), g.entry(20, RW), 0x1001n)).toBe(-EFAULT);
  });

  it('refuses addresses without a table, in the hypervisor area, and tables mapped writable', () => {
    expect(call(update_va_mapping, 0x1000n, g.entry(20, RW), 0n)).toBe(-EINVAL);
    expect(call(update_va_mapping, 0xffff_8000_0000_0000n + (5n << 23n), g.entry(20, RW), 0n)).toBe(-EINVAL);
    expect(call(update_va_mapping, g.va(0), g.entry(0, RW), 0n)).toBe(-EBUSY);
  });
});

describe('mmuext_op', () => {
  it('pins, unpins and loads base pointers', () => {
    protect(10);
    expect(mmuext(0, mfn(10))).toBe(0);
    expect(isPinned(g.space, g.frames[10]!)).toBe(true);
    expect(mmuext(4, mfn(10))).toBe(0);
    expect(mmuext(4, mfn(10))).toBe(-EINVAL);
    expect(mmuext(0, 0xffff_ffffn)).toBe(-EINVAL);
    expect(mmuext(5, mfn(20))).toBe(-EINVAL);
    expect(mmuext(5, mfn(0))).toBe(0);
    protect(11);
    expect(mmuext(15, mfn(11))).toBe(0);
    expect(g.ctx.processor.roots[1]).toBe(g.frames[11]! * PAGE);
    expect(typeOf(g.space, g.frames[11]!)).toBe(PGT.l4_page_table);
    expect(mmuext(15, 0n)).toBe(0);
    expect(typeCount(g.space, g.frames[11]!)).toBe(0);
    expect(g.ctx.processor.roots[1]).toBe(g.frames[0]! * PAGE);
  });

  it('moves to another L4 and lets the old one go', () => {
    protect(10);
    g.space.bytes.copyWithin(g.frames[10]! * PAGE, g.frames[0]! * PAGE, g.frames[0]! * PAGE + PAGE);
    expect(mmuext(3, mfn(10))).toBe(0);
    expect(mmuext(5, mfn(10))).toBe(0);
    expect(g.ctx.pv.kernelRoot).toBe(g.frames[10]!);
    expect(mmuext(4, mfn(0))).toBe(0);
    expect(typeCount(g.space, g.frames[0]!)).toBe(0);
    expect(call(update_va_mapping, g.va(0), g.entry(0, RW), 2n)).toBe(0);
  });

  it('clears and copies pages, never tables', () => {
    g.poke(20, 3, 7n);
    for (const n of [20, 21]) g.space.bytes[g.space.layout.codeMap + g.frames[n]!] = 1; // code was translated there
    expect(mmuext(17, mfn(21), mfn(20))).toBe(0);
    expect(g.peek(21, 3)).toBe(7n);
    expect(mmuext(16, mfn(20))).toBe(0);
    expect(g.peek(20, 3)).toBe(0n);
    expect(g.ctx.processor.invalidated).toEqual([g.frames[21], g.frames[20]]);
    expect(mmuext(16, mfn(3))).toBe(-EINVAL);
    expect(mmuext(17, mfn(0), mfn(20))).toBe(-EINVAL);
    expect(mmuext(17, mfn(20), 6n << 20n)).toBe(-EINVAL);
    expect(g.peek(3, 20)).not.toBe(0n);
  });

  it('checks LDT and unknown operations', () => {
    expect(mmuext(13, g.va(43), 4n)).toBe(0);
    expect(g.ctx.pv.ldtEntries).toBe(4);
    expect(mmuext(13, g.va(43) + 8n, 4n)).toBe(-EINVAL);
    expect(mmuext(13, 0xffff_8000_0000_0000n, 4n)).toBe(-EINVAL);
    expect(mmuext(13, g.va(43), 8193n)).toBe(-EINVAL);
    expect(mmuext(19)).toBe(-EOPNOTSUPP);
    expect(mmuext(99)).toBe(-ENOSYS);
  });

  it('flushes what it is told to', () => {
    const { processor } = g.ctx;
    const before = processor.fullFlushes;
    expect([mmuext(6), mmuext(10), mmuext(7, g.va(1)), mmuext(11, g.va(1))]).toEqual([0, 0, 0, 0]);
    expect(processor.fullFlushes).toBe(before + 2);
    expect(mmuext(8, 0n, 0x1000n)).toBe(-EINVAL);
  });
});

describe('descriptors', () => {
  it('types GDT pages and gives the old ones back', () => {
    protect(20); protect(21);
    put(0, mfn(20));
    expect(call(set_gdt, arg, 16n)).toBe(0);
    expect(typeOf(g.space, g.frames[20]!)).toBe(PGT.seg_desc_page);
    expect(call(update_va_mapping, g.va(20), g.entry(20, RW), 2n)).toBe(-EBUSY);
    put(0, mfn(21));
    expect(call(set_gdt, arg, 16n)).toBe(0);
    expect(typeCount(g.space, g.frames[20]!)).toBe(0);
    expect(call(update_va_mapping, g.va(20), g.entry(20, RW), 2n)).toBe(0);
  });

  it('refuses writable pages, tables, system descriptors, too many entries', () => {
    put(0, mfn(22));
    expect(call(set_gdt, arg, 16n)).toBe(-EINVAL);
    put(0, mfn(3));
    expect(call(set_gdt, arg, 16n)).toBe(-EINVAL);
    g.poke(23, 9, 0x0000_8900_0000_0000n); // a TSS
    protect(23);
    put(0, mfn(23));
    expect(call(set_gdt, arg, 16n)).toBe(-EINVAL);
    expect(call(set_gdt, arg, 7169n)).toBe(-EINVAL);
    expect(call(set_gdt, 0x1000n, 16n)).toBe(-EFAULT);
    expect(typeCount(g.space, g.frames[23]!)).toBe(0);
  });

  it('updates one descriptor, with privilege 3 forced', () => {
    protect(20);
    put(0, mfn(20));
    expect(call(set_gdt, arg, 512n)).toBe(0);
    expect(call(update_descriptor, g.maddr(20) + 16n, 0x00af_9b00_0000_ffffn)).toBe(0);
    expect(g.peek(20, 2)).toBe(0x00af_fb00_0000_ffffn);
    expect(call(update_descriptor, g.maddr(20) + 24n, 0x0000_8900_0000_0000n)).toBe(-EINVAL); // TSS
    expect(call(update_descriptor, g.maddr(20) + 24n, 0x0000_ec00_0000_0000n)).toBe(-EINVAL); // call gate
    expect(call(update_descriptor, g.maddr(20) + 20n, 0n)).toBe(-EINVAL);
    expect(call(update_descriptor, g.maddr(3) + 24n, 0n)).toBe(-EINVAL); // a page table
    expect(call(update_descriptor, (6n << 32n) | 0x1000n, 0n)).toBe(-EINVAL);
  });
});

describe('memory_op', () => {
  function reservation(at: number, list: bigint, count: bigint, order = 0, domid = DOMID_SELF): void {
    put(at, list); put(at + 8, count); put(at + 16, BigInt(order)); put(at + 24, domid);
  }

  it('gives frames up and gets others', () => {
    const before = allocatedFrames(g.space);
    expect(call(update_va_mapping, g.va(20), 0n, 2n)).toBe(0);
    reservation(0, arg + 0x100n, 2n);
    put(0x100, mfn(20)); put(0x108, mfn(20));
    expect(call(memory_op, 1n, arg)).toBe(1); // the second is gone already
    expect(isOwned(g.space, g.frames[20]!)).toBe(false);
    expect(getM2pEntry(g.space, g.frames[20]!)).toBe(-1);
    put(0x100, 4321n);
    reservation(0, arg + 0x100n, 1n);
    expect(call(memory_op, 6n, arg)).toBe(1);
    const index = Number(get(0x100) & 0xf_ffffn);
    expect(get(0x100) >> 20n).toBe(5n);
    expect(getM2pEntry(g.space, index)).toBe(4321);
    expect(allocatedFrames(g.space)).toBe(before);
    expect([...g.space.bytes.subarray(index * PAGE, index * PAGE + PAGE)].every((b) => b === 0)).toBe(true);
  });

  it('stops at the limit, and answers partial success', () => {
    setMaxFrames(g.space, allocatedFrames(g.space) + 2);
    reservation(0, arg + 0x100n, 4n);
    for (let i = 0; i < 4; i++) put(0x100 + i * 8, BigInt(900 + i));
    expect(call(memory_op, 6n, arg)).toBe(2);
    expect(call(memory_op, 0n, arg)).toBe(0);
    expect(call(memory_op, 6n, 0x1000n)).toBe(0);
    reservation(0, arg + 0x100n, 4n, 0, 3n);
    expect(call(memory_op, 6n, arg)).toBe(0);
    reservation(0, arg + 0x100n, 4n, 40);
    expect(call(memory_op, 6n, arg)).toBe(0);
  });

  it('keeps frames of others and of the hypervisor', () => {
    reservation(0, arg + 0x100n, 1n);
    for (const bad of [6n << 20n, 5n << 20n, BigInt(g.sharedInfoFrame) | (5n << 20n), 0xffff_ffff_ffff_ffffn]) {
      put(0x100, bad);
      expect(call(memory_op, 1n, arg)).toBe(0);
    }
  });

  it('exchanges scattered frames for adjacent ones', () => {
    g = makeGuest({ frames: 48 });
    arg = g.va(40);
    for (const n of [20, 22, 24, 26]) expect(call(update_va_mapping, g.va(n), 0n, 2n)).toBe(0);
    reservation(0, arg + 0x100n, 4n, 0); reservation(32, arg + 0x200n, 1n, 2); put(64, 0n);
    [20, 22, 24, 26].forEach((n, i) => put(0x100 + i * 8, mfn(n)));
    put(0x200, 600n);
    const before = allocatedFrames(g.space);
    expect(call(memory_op, 11n, arg)).toBe(0);
    expect(get(64)).toBe(4n);
    const start = Number(get(0x200) & 0xf_ffffn);
    expect(start % 4).toBe(0);
    expect([0, 1, 2, 3].map((i) => getM2pEntry(g.space, start + i))).toEqual([600, 601, 602, 603]);
    expect(isOwned(g.space, g.frames[20]!)).toBe(false);
    expect(allocatedFrames(g.space)).toBe(before);
  });

  it('exchanges nothing that is still mapped, listed twice, or not its own', () => {
    for (const list of [[21], [20, 20]]) {
      call(update_va_mapping, g.va(20), 0n, 2n);
      reservation(0, arg + 0x100n, BigInt(list.length), 0); reservation(32, arg + 0x200n, 1n, list.length - 1); put(64, 0n);
      list.forEach((n, i) => put(0x100 + i * 8, mfn(n)));
      expect(call(memory_op, 11n, arg)).toBe(-EINVAL);
    }
    expect(isOwned(g.space, g.frames[20]!)).toBe(true);
    reservation(32, arg + 0x200n, 3n, 0);
    expect(call(memory_op, 11n, arg)).toBe(-EINVAL);
  });

  it('answers questions as Xen does', () => {
    expect(call(memory_op, 12n, arg)).toBe(0);
    expect([get(0), get(8), get(16)]).toEqual([0xffff_8000_0000_0000n, 0xffff_8040_0000_0000n, 2n ** 35n - 1n]);
    put(0, DOMID_SELF);
    expect(call(memory_op, 3n, arg)).toBe(64);
    put(0, 9n);
    expect(call(memory_op, 3n, arg)).toBe(-ESRCH);
    expect(call(memory_op, 63n, arg)).toBe(-ENOSYS);
    expect(call(memory_op, 2n)).toBe(5 * 2 ** 20 + g.space.layout.end - 1);
  });
});

describe('traps and callbacks', () => {
  it('reads trap tables to their end', () => {
    put(0, 0x0010_0000n | (6n << 8n) | 3n | (0x10n << 16n)); put(8, 0xffff_ffff_8100_0000n); put(16, 0n); put(24, 0n);
    expect(call(set_trap_table, arg)).toBe(0);
    expect(g.ctx.pv.traps[3]).toMatchObject({ address: 0xffff_ffff_8100_0000n, masksEvents: true, dpl: 2 });
    put(8, 0x8000_0000_0000_0000n);
    expect(call(set_trap_table, arg)).toBe(-EINVAL);
    expect(call(set_trap_table, 0x1000n)).toBe(-EFAULT);
    expect(call(set_trap_table, 0n)).toBe(0);
    expect(g.ctx.pv.traps[3]!.address).toBe(0n);
  });

  it('registers callbacks and refuses what it does not know', () => {
    put(0, 2n | (1n << 16n)); put(8, 0x1234n);
    expect(call(callback_op, 0n, arg)).toBe(0);
    expect(g.ctx.pv.syscall).toEqual({ address: 0x1234n, masksEvents: true });
    put(0, 3n);
    expect(call(callback_op, 0n, arg)).toBe(-ENOSYS);
    put(0, 2n);
    expect(call(callback_op, 1n, arg)).toBe(-EINVAL);
    expect(call(callback_op, 7n, arg)).toBe(-ENOSYS);
  });

  it('guards debug registers', () => {
    expect(call(set_debugreg, 0n, 0xffff_8000_0000_0000n)).toBe(-EPERM);
    expect(call(set_debugreg, 0n, 0x1000n)).toBe(0);
    expect(call(set_debugreg, 7n, 0x2000n)).toBe(-EPERM);
    expect(call(set_debugreg, 7n, 0x0002_0003n)).toBe(-EPERM); // an I/O breakpoint without CR4.DE
    expect(call(set_debugreg, 7n, 0x3n)).toBe(0);
    expect(call(get_debugreg, 7n)).toBe(0x403);
    expect(call(set_debugreg, 9n, 0n)).toBeLessThan(0);
    expect(call(get_debugreg, 9n)).toBe(-ENODEV);
  });

  it('sets segment bases', () => {
    const { processor, pv } = g.ctx;
    processor.segmentBases.set(0x63, 0x5000n);
    expect(call(set_segment_base, 0n, 0x1000n)).toBe(0);
    expect(call(set_segment_base, 2n, 0xffff_8880_0000_0000n)).toBe(0);
    expect(call(set_segment_base, 3n, 0x63n)).toBe(0);
    expect([processor.fsBase, processor.gsBase, pv.gsBaseUser]).toEqual([0x1000n, 0xffff_8880_0000_0000n, 0x5000n]);
    expect(call(set_segment_base, 3n, 0x6bn)).toBe(0);
    expect([pv.gsBaseUser, processor.selectors[5]]).toEqual([0n, 0]);
    expect(call(set_segment_base, 1n, 1n << 60n)).toBe(-EINVAL);
    expect(call(set_segment_base, 4n, 0n)).toBe(-EINVAL);
  });
});

describe('emulated page-table writes', () => {
  const HANDLER = 0xffff_ffff_8100_1000n;
  const RAX = 0, RCX = 1, RBX = 3, RDI = 7;

  /** Puts code at guest frame 45 and faults as a write to the L1 table's entry `slot` (+ byte) would. */
  function writeFault(code: number[], slot: number, byte = 0, table = 3): void {
    const { processor } = g.ctx;
    Object.assign(g.ctx.pv.traps[14]!, { address: HANDLER });
    processor.writeVirtual(g.va(45), new Uint8Array(code));
    processor.rip = g.va(45);
    processor.gpr[4] = g.va(46) + 0x800n;
    const cr2 = g.va(table) + BigInt(slot * 8 + byte);
    Object.assign(processor, { vector: 14, errorCode: 7, cr2 });
    handleExit(g.ctx, EXIT.exception);
  }
  const faulted = (): boolean => g.ctx.processor.rip === HANDLER;

  it('does a move to an L1 entry, checked', () => {
    g.ctx.processor.gpr[RAX] = g.entry(21, 0x63);
    writeFault([0x48, 0x89, 0x07], 20); // mov [rdi], rax
    expect(g.ctx.processor.rip).toBe(g.va(45) + 3n);
    expect(g.peek(3, 20)).toBe(g.entry(21, 0x67) | (1n << 52n));
    expect(typeCount(g.space, g.frames[20]!)).toBe(0);
    expect(typeCount(g.space, g.frames[21]!)).toBe(2);
  });

  it('gives the guest its fault when the new entry is refused, and changes nothing', () => {
    const before = g.peek(3, 20);
    for (const value of [g.entry(3, RW), (6n << 32n) | 0x1067n, g.entry(20, 0xe7)]) {
      g.ctx.processor.gpr[RAX] = value;
      writeFault([0x48, 0x89, 0x07], 20);
      expect(faulted()).toBe(true);
      expect(g.peek(3, 20)).toBe(before);
    }
  });

  it('does atomic forms with their results', () => {
    const { processor } = g.ctx;
    const old = g.peek(3, 20);
    processor.gpr[RAX] = old; processor.gpr[RCX] = g.entry(20, 0x65);
    writeFault([0xf0, 0x48, 0x0f, 0xb1, 0x0f], 20); // lock cmpxchg [rdi], rcx
    expect(g.peek(3, 20)).toBe(g.entry(20, 0x65));
    expect(processor.rflags & 0x40n).toBe(0x40n);
    processor.gpr[RAX] = 1n;
    writeFault([0xf0, 0x48, 0x0f, 0xb1, 0x0f], 20);
    expect([processor.gpr[RAX], processor.rflags & 0x40n]).toEqual([g.entry(20, 0x65), 0n]);
    processor.gpr[RBX] = 0n;
    writeFault([0x48, 0x87, 0x5f, 0x08], 20); // xchg [rdi+8], rbx
    expect([processor.gpr[RBX], g.peek(3, 20)]).toEqual([g.entry(20, 0x65), 0n]);
  });

  it('changes parts of an entry: bit operations and bytes', () => {
    const { processor } = g.ctx;
    writeFault([0xf0, 0x80, 0x67, 0x00, 0xfd], 20); // lock and byte [rdi], ~2
    expect(g.peek(3, 20)).toBe(g.entry(20, 0x65));
    expect(typeCount(g.space, g.frames[20]!)).toBe(0);
    writeFault([0xf0, 0x48, 0x0f, 0xba, 0x37, 0x05], 20); // lock btr qword [rdi], 5
    expect(g.peek(3, 20)).toBe(g.entry(20, 0x45));
    expect(processor.rflags & 1n).toBe(1n);
    // mov byte [rdi+1]: a software bit, the frame's bits as they were.
    const byte1 = Number((g.entry(20, 0) >> 8n) & 0xf0n) | 2;
    writeFault([0xc6, 0x47, 0x01, byte1], 20, 1);
    expect(g.peek(3, 20)).toBe(g.entry(20, 0x245));
  });

  it('clears entries with string stores, one by one', () => {
    const { processor } = g.ctx;
    processor.gpr[RAX] = 0n; processor.gpr[RCX] = 2n; processor.gpr[RDI] = g.va(3) + 160n;
    writeFault([0xf3, 0x48, 0xab], 20);
    expect([g.peek(3, 20), processor.gpr[RCX], processor.rip]).toEqual([0n, 1n, g.va(45)]);
    writeFault([0xf3, 0x48, 0xab], 21);
    expect([g.peek(3, 21), processor.gpr[RCX], processor.rip]).toEqual([0n, 0n, g.va(45) + 3n]);
  });

  it('is for L1 tables, kernel mode and aligned writes alone', () => {
    g.ctx.processor.gpr[RAX] = 0n;
    for (const [table, slot, byte] of [[2, 5, 0], [0, 256, 0], [1, 3, 0], [3, 20, 4]] as const) {
      writeFault([0x48, 0x89, 0x07], slot, byte, table);
      expect(faulted(), `table ${table}`).toBe(true);
    }
    writeFault([0x0f, 0x11, 0x07], 20); // movups: no page-table write
    expect(faulted()).toBe(true);
    expect(g.peek(0, 256)).not.toBe(0n);
  });
});

describe('XENMEM_memory_map', () => {
  it('is one range of RAM, as large as the domain may become', () => {
    setMaxFrames(g.space, 48);
    put(0, 0xffff_ffff_0000_0005n); put(8, arg + 64n);
    expect(call(memory_op, 9n, arg)).toBe(0);
    expect([get(0), get(64), get(72), get(80) & 0xffff_ffffn]).toEqual([0xffff_ffff_0000_0001n, 0n, 48n * 4096n, 1n]);
  });

  it('refuses a list without room and one that cannot be written', () => {
    put(0, 0n); put(8, arg + 64n);
    expect(call(memory_op, 9n, arg)).toBe(-EINVAL);
    put(0, 1n); put(8, 0x1000n);
    expect(call(memory_op, 9n, arg)).toBe(-EFAULT);
    expect(call(memory_op, 9n, 0x1000n)).toBe(-EFAULT);
  });
});
