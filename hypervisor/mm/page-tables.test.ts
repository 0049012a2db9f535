import { describe, expect, it } from 'vitest';
import { EAGAIN, EBUSY, EINVAL, EPERM } from '../public/errno.ts';
import { PGT, isOwned, isPinned, isValidated, refCount, typeCount, typeOf } from './frame-table.ts';
import { allocateFrames, allocateSharedFrames, allocatedFrames, freeFrames } from './frames.ts';
import { getPageAndType, getType, pinTable, putPageAndType, putType, unpinTable } from './page-tables.ts';
import { createSpace, noteFlush, withPageLock } from './space.ts';
import type { TestGuest } from './test-guest.ts';
import { PAGE, makeGuest } from './test-guest.ts';
import { findL1 } from './walk.ts';
import { modEntry, updateEntry } from './update.ts';

const RW = 0x67, RO = 0x65;
const lo = (v: bigint): number => Number(v & 0xffff_ffffn) | 0;
const hi = (v: bigint): number => Number(v >> 32n) | 0;

function update(g: TestGuest, table: number, entry: number, value: bigint, preserveAd = false): number {
  return withPageLock(g.space, () => updateEntry(g.space, g.frames[table]!, entry * 8, lo(value), hi(value), preserveAd));
}
const pin = (g: TestGuest, n: number, level: number): number => withPageLock(g.space, () => pinTable(g.space, g.frames[n]!, level));
const unpin = (g: TestGuest, n: number): number => withPageLock(g.space, () => unpinTable(g.space, g.frames[n]!));
/** Takes away the linear map's writable entry of a frame, as a guest does before it makes a table of it. */
const protect = (g: TestGuest, n: number): void => { expect(update(g, 3, n, g.entry(n, RO))).toBe(0); };

/** Every frame's counts, recomputed from the tables that are in use, against the frame table. */
function checkCounts(g: TestGuest): void {
  const writable = new Map<number, number>(), refs = new Map<number, number>();
  for (let index = g.space.layout.first; index < g.space.layout.end; index++) {
    const type = typeOf(g.space, index);
    if (type < 1 || type > 4 || typeCount(g.space, index) === 0) continue;
    for (let i = 0; i < 512; i++) {
      const value = g.space.view.getBigUint64(index * PAGE + i * 8, true);
      if ((value & 1n) === 0n || (type === 4 && i >= 256 && i < 272)) continue;
      const target = Number((value & 0xffff_ffffn) >> 12n);
      refs.set(target, (refs.get(target) ?? 0) + 1);
      if (type === 1 && (value & 2n) !== 0n) writable.set(target, (writable.get(target) ?? 0) + 1);
    }
  }
  for (const index of g.frames) {
    if (typeOf(g.space, index) === PGT.writable_page || typeCount(g.space, index) === 0) expect(typeCount(g.space, index), `writable uses of ${index}`).toBe(writable.get(index) ?? 0);
    else expect(writable.get(index) ?? 0, `table ${index} is mapped writable`).toBe(0);
    expect(refCount(g.space, index), `references of ${index}`).toBeGreaterThanOrEqual(refs.get(index) ?? 0);
  }
}

describe('validation', () => {
  it('types every table of a tree and counts what it maps', () => {
    const g = makeGuest();
    expect(g.frames.slice(0, 5).map((f) => typeOf(g.space, f))).toEqual([PGT.l4_page_table, PGT.l3_page_table, PGT.l2_page_table, PGT.l1_page_table, PGT.writable_page]);
    expect(isPinned(g.space, g.frames[0]!)).toBe(true);
    // Pinned once and loaded once.
    expect(typeCount(g.space, g.frames[0]!)).toBe(2);
    checkCounts(g);
  });

  it('sets the user bit, and marks entries that lacked it', () => {
    const g = makeGuest();
    expect(update(g, 3, 9, g.entry(9, 0x63))).toBe(0);
    expect(g.peek(3, 9)).toBe(g.entry(9, 0x67) | (1n << 52n));
    expect(g.peek(2, 0) & 4n).toBe(4n);
  });

  it('fills the hypervisor slots of an L4 whatever the guest put there', () => {
    const g = makeGuest({ start: false });
    for (let i = 256; i < 272; i++) g.poke(0, i, g.entry(1, RW));
    expect(pin(g, 0, 4)).toBe(0);
    expect(g.peek(0, 257)).toBe(0n);
    expect(Number((g.peek(0, 256) & 0xffff_ffffn) >> 12n)).toBeLessThan(g.space.layout.first);
    expect(g.peek(0, 256) & 2n).toBe(0n);
  });

  it('shows the M2P read-only at its address', () => {
    const g = makeGuest({ slot: 5 });
    const index = g.frames[7]!;
    g.space.view.setBigUint64(g.space.layout.m2p + index * 8, 1234n, true);
    const va = 0xffff_8000_0000_0000n + ((5n << 20n) + BigInt(index)) * 8n;
    expect(g.ctx.processor.read64(va)).toBe(1234n);
    expect(g.ctx.processor.write64(va, 1n)).toBe(false);
    expect(g.ctx.processor.read64(0xffff_8000_0000_0000n + ((5n << 20n) + BigInt(g.space.layout.first - 1)) * 8n)).toBe(0xffff_ffff_ffff_ffffn);
  });

  it('maps the M2P of a high slot where that slot belongs', () => {
    const g = makeGuest({ slot: 1000 });
    const va = 0xffff_8000_0000_0000n + ((1000n << 20n) + BigInt(g.frames[0]!)) * 8n;
    expect(g.ctx.processor.read64(va)).toBe(0xffff_ffff_ffff_ffffn);
  });

  it('takes everything back when the tree goes', () => {
    const g = makeGuest({ start: false });
    expect(pin(g, 0, 4)).toBe(0);
    expect(unpin(g, 0)).toBe(0);
    for (const f of g.frames) { expect(typeCount(g.space, f)).toBe(0); expect(refCount(g.space, f)).toBe(1); }
  });

  it('leaves no reference behind when validation fails halfway', () => {
    const g = makeGuest({ start: false });
    g.poke(3, 60, 0x9999_9999_9067n); // a frame of another memory, late in the table
    expect(pin(g, 0, 4)).toBe(-EPERM);
    for (const f of g.frames) { expect(typeCount(g.space, f)).toBe(0); expect(refCount(g.space, f)).toBe(1); expect(isPinned(g.space, f)).toBe(false); }
  });

  it('validates ever more levels only through their own kind', () => {
    const g = makeGuest();
    for (const [n, level] of [[10, 2], [11, 3], [12, 1]] as const) { protect(g, n); expect(pin(g, n, level)).toBe(0); }
    expect(update(g, 10, 0, g.entry(12, RW))).toBe(0);
    expect(update(g, 11, 0, g.entry(10, RW))).toBe(0);
    expect(update(g, 0, 3, g.entry(11, RW))).toBe(0);
    checkCounts(g);
    expect(update(g, 11, 1, g.entry(12, RW))).toBe(-EINVAL); // L1 as L2
    expect(update(g, 0, 4, g.entry(10, RW))).toBe(-EINVAL); // L2 as L3
    expect(update(g, 10, 1, g.entry(10, RW))).toBe(-EINVAL); // itself
    checkCounts(g);
  });
});

describe('attacks', () => {
  it('maps no page table writable, at any level, by any way', () => {
    const g = makeGuest();
    for (const table of [0, 1, 2, 3]) {
      expect(update(g, 3, table, g.entry(table, RW))).toBe(-EBUSY);
      expect(update(g, 3, 20, g.entry(table, RW))).toBe(-EBUSY);
      expect(g.peek(3, table) & 2n).toBe(0n);
    }
    // Not even a flags-only change.
    expect(withPageLock(g.space, () => modEntry(g.space, g.frames[3]!, PGT.l1_page_table, 0, lo(g.entry(0, RW)), hi(g.entry(0, RW)), false))).toBe(-EBUSY);
    checkCounts(g);
  });

  it('makes no page table of a frame that is mapped writable', () => {
    const g = makeGuest();
    for (const level of [1, 2, 3, 4]) expect(pin(g, 10, level)).toBe(-EINVAL);
    expect(update(g, 2, 5, g.entry(10, RW))).toBe(-EINVAL);
    expect(typeOf(g.space, g.frames[10]!)).toBe(PGT.writable_page);
    protect(g, 10);
    expect(pin(g, 10, 1)).toBe(0);
  });

  it('refuses a table that maps itself writable, and one that names itself as a table', () => {
    const g = makeGuest();
    g.poke(10, 0, g.entry(10, RW));
    protect(g, 10);
    expect(pin(g, 10, 1)).toBe(-EBUSY);
    for (const level of [2, 3, 4]) expect(pin(g, 10, level)).toBe(-EINVAL);
    expect(update(g, 0, 5, g.entry(0, RW))).toBe(-EINVAL); // the linear page-table trick
    expect(update(g, 0, 5, g.entry(0, RO))).toBe(-EINVAL);
    expect(typeCount(g.space, g.frames[10]!)).toBe(0);
  });

  it('refuses frames of other domains, of the hypervisor, and outside memory', () => {
    const g = makeGuest();
    const foreign = (6n << 32n) | BigInt(g.frames[4]! * PAGE) | 0x67n;
    expect(update(g, 3, 20, foreign)).toBe(-EPERM);
    const own = (index: number): bigint => (5n << 32n) | BigInt(index * PAGE) | 0x67n;
    expect(update(g, 3, 20, own(0))).toBe(-EBUSY);
    expect(update(g, 3, 20, own(16))).toBe(-EBUSY); // a vCPU's area
    expect(update(g, 3, 20, own(g.space.layout.frameTable / PAGE))).toBe(-EBUSY);
    expect(update(g, 3, 20, own(g.space.layout.m2p / PAGE))).toBe(-EBUSY);
    expect(update(g, 3, 20, own(g.space.layout.reserved / PAGE + 1))).toBe(-EBUSY);
    expect(update(g, 3, 20, own(g.space.layout.end))).toBe(-EPERM);
    expect(update(g, 3, 20, own(0xf_ffff))).toBe(-EPERM);
    expect(update(g, 3, 20, own(g.space.layout.end - 1))).toBe(-EBUSY); // exists, not allocated
    for (const v of [foreign, own(1), own(g.space.layout.end)]) expect(update(g, 2, 20, v)).toBe(-EINVAL);
    expect(withPageLock(g.space, () => pinTable(g.space, g.space.layout.reserved / PAGE + 1, 3))).toBe(-EINVAL);
    checkCounts(g);
  });

  it('refuses large pages, cache attributes and global upper entries', () => {
    const g = makeGuest();
    for (const bit of [0x80, 0x10, 0x08]) expect(update(g, 3, 20, g.entry(20, RW | bit))).toBe(-EINVAL);
    for (const bit of [0x80, 0x100, 0x10]) expect(update(g, 2, 20, g.entry(3, RW | bit))).toBe(-EINVAL);
    expect(update(g, 1, 20, g.entry(20, 0xe7))).toBe(-EINVAL);
  });

  it('keeps the hypervisor slots of an L4 from the guest', () => {
    const g = makeGuest();
    const before = g.peek(0, 256);
    for (const slot of [256, 260, 271]) {
      expect(update(g, 0, slot, g.entry(1, RW))).toBe(-EINVAL);
      expect(update(g, 0, slot, 0n)).toBe(-EINVAL);
    }
    expect(g.peek(0, 256)).toBe(before);
    expect(update(g, 0, 272, 0n)).toBe(0);
  });

  it('keeps the M2P tables from being changed through a walk', () => {
    const g = makeGuest();
    expect(findL1(g.space, g.frames[0]!, 0xffff_8000_0000_0000n + (5n << 23n))).toBeUndefined();
  });

  it('pins once, and unpins only what is pinned', () => {
    const g = makeGuest();
    expect(pin(g, 0, 4)).toBe(-EINVAL);
    protect(g, 10);
    expect(pin(g, 10, 1)).toBe(0);
    expect(pin(g, 10, 1)).toBe(-EINVAL);
    expect(pin(g, 10, 2)).toBe(-EINVAL);
    expect(typeCount(g.space, g.frames[10]!)).toBe(1);
    expect(unpin(g, 10)).toBe(0);
    expect(unpin(g, 10)).toBe(-EINVAL);
    expect(unpin(g, 3)).toBe(-EINVAL); // in use, not pinned
    expect(typeCount(g.space, g.frames[10]!)).toBe(0);
  });

  it('does not let an unpinned table in use lose its type', () => {
    const g = makeGuest();
    expect(unpin(g, 0)).toBe(0);
    // Still loaded as the base pointer.
    expect(typeOf(g.space, g.frames[0]!)).toBe(PGT.l4_page_table);
    expect(isValidated(g.space, g.frames[0]!)).toBe(true);
    expect(update(g, 3, 0, g.entry(0, RW))).toBe(-EBUSY);
  });

  it('does not give a freed frame away while it is mapped or is a table', () => {
    const g = makeGuest();
    const before = allocatedFrames(g.space);
    expect(freeFrames(g.space, [g.frames[3]!])).toBe(1);
    expect(isOwned(g.space, g.frames[3]!)).toBe(true);
    expect(typeOf(g.space, g.frames[3]!)).toBe(PGT.l1_page_table);
    expect(freeFrames(g.space, [g.frames[20]!])).toBe(1);
    expect(allocatedFrames(g.space)).toBe(before);
    const fresh = allocateFrames(g.space, 1) as number[];
    expect([g.frames[3], g.frames[20]]).not.toContain(fresh[0]);
    expect(update(g, 3, 20, 0n)).toBe(0);
    expect(isOwned(g.space, g.frames[20]!)).toBe(false);
    // Gone: it cannot be mapped or freed again.
    expect(update(g, 3, 21, g.entry(20, RW))).toBe(-EBUSY);
    expect(freeFrames(g.space, [g.frames[20]!])).toBe(0);
    expect(freeFrames(g.space, [g.frames[3]!])).toBe(0);
  });

  it('shares hypervisor frames read-write, never as tables, never to be freed', () => {
    const g = makeGuest();
    const shared = (5n << 32n) | BigInt(g.sharedInfoFrame * PAGE) | 0x67n;
    expect(update(g, 3, 20, shared)).toBe(0);
    expect(update(g, 2, 20, shared)).toBe(-EINVAL);
    for (const level of [1, 2, 3, 4]) expect(withPageLock(g.space, () => pinTable(g.space, g.sharedInfoFrame, level))).toBe(-EINVAL);
    expect(freeFrames(g.space, [g.sharedInfoFrame])).toBe(0);
    expect(update(g, 3, 20, 0n)).toBe(0);
    expect(isOwned(g.space, g.sharedInfoFrame)).toBe(true);
    expect(allocateSharedFrames(g.space, 1000)).toBeLessThan(0);
  });

  it('refuses type confusion between descriptors and tables', () => {
    const g = makeGuest();
    protect(g, 10);
    expect(withPageLock(g.space, () => getPageAndType(g.space, g.frames[10]!, PGT.seg_desc_page))).toBe(0);
    expect(pin(g, 10, 1)).toBe(-EINVAL);
    expect(update(g, 3, 10, g.entry(10, RW))).toBe(-EBUSY);
    expect(update(g, 10, 0, g.entry(0, RW))).toBe(-EINVAL); // mmu_update into a descriptor page
    withPageLock(g.space, () => putPageAndType(g.space, g.frames[10]!));
    expect(update(g, 3, 10, g.entry(10, RW))).toBe(0);
  });

  it('survives a storm of random requests with all counts right', () => {
    const g = makeGuest({ frames: 48 });
    let seed = 12345;
    const random = (n: number): number => { seed = (Math.imul(seed, 1103515245) + 12345) >>> 0; return Math.floor((seed / 2 ** 32) * n); };
    const outcomes = new Map<number, number>();
    for (let i = 0; i < 20_000; i++) {
      const n = random(48);
      const action = random(8);
      let error: number;
      if (action === 0) error = pin(g, n, 1 + random(4));
      else if (action === 1) error = n === 0 ? 0 : unpin(g, n);
      else {
        const value = random(4) === 0 ? 0n : g.entry(random(48), [RW, RO, 0x63, 0xe7][random(4)]!);
        // Slots 0..3 of the linear L1 table are protected below, to keep the guest alive; others are free game.
        error = update(g, n, 8 + random(500), value, random(2) === 0);
      }
      outcomes.set(error, (outcomes.get(error) ?? 0) + 1);
    }
    checkCounts(g);
    expect(outcomes.get(0)).toBeGreaterThan(1000);
    expect(outcomes.get(-EINVAL)).toBeGreaterThan(1000);
    expect(outcomes.get(-EBUSY)).toBeGreaterThan(10);
  });
});

describe('stale translations', () => {
  it('flushes before a frame that was writable becomes a table', () => {
    const g = makeGuest();
    const { processor } = g.ctx;
    expect(processor.write64(g.va(10), 0n)).toBe(true); // now cached as writable
    protect(g, 10);
    expect(processor.write64(g.va(10), 0n)).toBe(true); // stale, and allowed: it is not a table yet
    const before = processor.writableFlushes, full = processor.fullFlushes;
    expect(pin(g, 10, 1)).toBe(0);
    expect(processor.writableFlushes).toBe(before + 1);
    expect(processor.fullFlushes).toBe(full);
    expect(processor.write64(g.va(10), 0x67n)).toBe(false);
  });

  it('does not flush again when the guest has flushed since', () => {
    const g = makeGuest();
    protect(g, 10);
    protect(g, 11);
    expect(pin(g, 10, 1)).toBe(0);
    const before = g.ctx.processor.writableFlushes;
    expect(pin(g, 11, 1)).toBe(0);
    expect(g.ctx.processor.writableFlushes).toBe(before);
  });

  it('asks for a flush while any vCPU of the domain has not flushed', () => {
    const g = makeGuest({ vcpus: 2 });
    const other = createSpace(g.ctx.processor.bytes.buffer, g.space.layout, 5);
    noteFlush(other, 1); // vCPU 1 starts to run
    protect(g, 10);
    noteFlush(g.space, 0);
    let flushed = 0;
    g.space.flushWritable = () => { flushed++; noteFlush(g.space, 0); noteFlush(other, 1); };
    expect(pin(g, 10, 1)).toBe(0);
    expect(flushed).toBe(1);
  });

  it('preserves accessed and dirty bits when asked to', () => {
    const g = makeGuest();
    expect(update(g, 3, 20, g.entry(20, 0x07), true)).toBe(0);
    expect(g.peek(3, 20) & 0x60n).toBe(0x60n);
    expect(update(g, 3, 20, g.entry(20, 0x07))).toBe(0);
    expect(g.peek(3, 20) & 0x60n).toBe(0n);
  });
});

describe('conditional changes', () => {
  it('leave everything as it was when the entry is another by then', () => {
    const g = makeGuest();
    const change = (expected: bigint): number => withPageLock(g.space, () => modEntry(g.space, g.frames[3]!, PGT.l1_page_table, 160, lo(g.entry(21, RW)), hi(g.entry(21, RW)), false, expected));
    const before = g.peek(3, 20);
    expect(change(before ^ 0x40n)).toBe(-EAGAIN);
    expect(g.peek(3, 20)).toBe(before);
    expect([typeCount(g.space, g.frames[20]!), typeCount(g.space, g.frames[21]!)]).toEqual([1, 1]);
    expect(change(before)).toBe(0);
    expect([typeCount(g.space, g.frames[20]!), typeCount(g.space, g.frames[21]!)]).toEqual([0, 2]);
    checkCounts(g);
  });
});

describe('types', () => {
  it('counts uses and refuses an overflowing mix', () => {
    const g = makeGuest();
    const f = g.frames[30]!;
    withPageLock(g.space, () => {
      expect(getType(g.space, f, PGT.writable_page)).toBe(0);
      expect(typeCount(g.space, f)).toBe(2);
      expect(getType(g.space, f, PGT.l1_page_table)).toBe(-EINVAL);
      putType(g.space, f);
      expect(typeCount(g.space, f)).toBe(1);
    });
  });
});
