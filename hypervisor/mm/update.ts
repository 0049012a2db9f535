// One validated change of one page-table entry: what mmu_update, update_va_mapping and an emulated write come to.
import { PAGE_BYTES } from '../cpu/layout.ts';
import { EAGAIN, EINVAL } from '../public/errno.ts';
import type { Space } from './space.ts';
import type { PageType } from './frame-table.ts';
import { PGT, isOwned, isValidated, typeCount, typeOf } from './frame-table.ts';
import { getPage, noteWritten, putPage } from './frames.ts';
import {
  _PAGE_ACCESSED, _PAGE_DIRTY, _PAGE_PRESENT, _PAGE_RW, adjustL1Hi, adjustLo, getL1Entry, getType, getUpperEntry, isXenSlot, putL1Entry,
  putType, putUpperEntry,
} from './page-tables.ts';

/** Changes of these bits alone need no new references: accessed, dirty, global, user, available, NX. */
const SIMILAR_LO = 0xffff_f000 | 0x80 | 0x18 | _PAGE_RW | _PAGE_PRESENT;
const FRAME_HI = 0xf_ffff;

/** Stores an entry so that no other vCPU's walk ever sees halves of two different entries, nor its A and D bits get lost. */
function storeEntry(space: Space, at: number, lo: number, hi: number, preserveAd: boolean): void {
  const words = space.words;
  const old = words[at]!;
  if ((old & _PAGE_PRESENT) === 0) {
    words[at + 1] = hi | 0;
    Atomics.store(words, at, lo | 0);
  } else if (preserveAd) storePreserving(space, at, lo, hi);
  else if (words[at + 1] === (hi | 0)) Atomics.store(words, at, lo | 0);
  else Atomics.store(space.quads, at >>> 1, quad(lo, hi));
}

const quad = (lo: number, hi: number): bigint => (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
const AD = _PAGE_ACCESSED | _PAGE_DIRTY;

/** Keeps the accessed and dirty bits that other vCPUs may be setting at this moment. */
function storePreserving(space: Space, at: number, lo: number, hi: number): void {
  for (;;) {
    const old = Atomics.load(space.quads, at >>> 1);
    const value = quad(lo | (Number(old & 0xffff_ffffn) & AD), hi);
    if (Atomics.compareExchange(space.quads, at >>> 1, old, value) === old) return;
  }
}

/**
 * Changes the entry at byte `offset` of the table in frame `index` (validated, of type `level`): 0 or -errno, and
 * then nothing was changed. With `expected`, the entry must still be that (-EAGAIN). Page lock held.
 */
export function modEntry(
  space: Space, index: number, level: PageType, offset: number, lo: number, hi: number, preserveAd: boolean, expected?: bigint,
): number {
  if (level === PGT.l4_page_table && isXenSlot(offset >>> 3)) return -EINVAL;
  const at = (index * PAGE_BYTES + offset) >>> 2;
  const oldLo = space.words[at]!, oldHi = space.words[at + 1]!;
  const isL1 = level === PGT.l1_page_table;
  if ((lo & _PAGE_PRESENT) !== 0) {
    if ((lo & (isL1 ? 0x098 : 0x198)) !== 0) return -EINVAL;
    if (isL1) hi = adjustL1Hi(lo, hi);
    lo = adjustLo(lo);
    if (((oldLo ^ lo) & SIMILAR_LO) === 0 && ((oldHi ^ hi) & FRAME_HI) === 0) {
      return exchangeEntry(space, at, lo, hi, preserveAd, expected) ? 0 : -EAGAIN;
    }
    const error = isL1 ? getL1Entry(space, lo, hi) : getUpperEntry(space, lo, hi, level);
    if (error !== 0) return error;
  }
  const stored = exchangeEntry(space, at, lo, hi, preserveAd, expected);
  // Of the two entries, the one that is not in the table now loses its references.
  const [goneLo, goneHi] = stored ? [oldLo, oldHi] : [lo, hi];
  if (isL1) putL1Entry(space, goneLo, goneHi); else putUpperEntry(space, goneLo, goneHi);
  return stored ? 0 : -EAGAIN;
}

/** Stores an entry, unconditionally or in place of `expected` alone: false when another vCPU's walk changed it meanwhile. */
function exchangeEntry(space: Space, at: number, lo: number, hi: number, preserveAd: boolean, expected: bigint | undefined): boolean {
  if (expected !== undefined) return Atomics.compareExchange(space.quads, at >>> 1, expected, quad(lo, hi)) === expected;
  storeEntry(space, at, lo, hi, preserveAd);
  return true;
}

/** The type of a frame that is in use as a page table, or none. */
export function tableLevel(space: Space, index: number): PageType {
  if (index >= space.layout.end || typeCount(space, index) === 0 || !isValidated(space, index)) return PGT.none;
  const type = typeOf(space, index);
  return type >= PGT.l1_page_table && type <= PGT.l4_page_table ? type : PGT.none;
}

/** One mmu_update request (MMU_NORMAL_PT_UPDATE and kin) on a byte offset in a frame of the domain. */
export function updateEntry(space: Space, index: number, offset: number, lo: number, hi: number, preserveAd: boolean): number {
  if (!isOwned(space, index)) return -EINVAL;
  const level = tableLevel(space, index);
  if (level !== PGT.none) return modEntry(space, index, level, offset, lo, hi, preserveAd);
  // Not a page table (yet): a plain write, if the frame may be written at all.
  if (!getPage(space, index)) return -EINVAL;
  const error = getType(space, index, PGT.writable_page);
  if (error === 0) {
    storeEntry(space, (index * PAGE_BYTES + offset) >>> 2, lo, hi, false);
    noteWritten(space, index);
    putType(space, index);
  }
  putPage(space, index);
  return error === 0 ? 0 : -EINVAL;
}
