// Page types and the validation of page tables: the wall between a guest and everything its tables could name.
//
// Invariants (page lock held throughout)
//   - A frame has one type while anything uses it as such (type count > 0). A writable mapping is a use as
//     `writable`, so a frame that is a page table or a descriptor page has no writable mapping, and the other way.
//   - A validated table of level n holds, in its present entries, only: references to validated tables of level n-1
//     (each counted), or for n = 1 frames the domain owns (each counted; as `writable` when the entry says RW).
//   - No translation cached from before a frame became a page table survives (flushSince).
//   - Levels descend strictly: tables that map themselves are refused.
import { PAGE_BYTES } from '../cpu/layout.ts';
import { EBUSY, EINVAL, EPERM } from '../public/errno.ts';
import type { Space } from './space.ts';
import { flushClock, flushSince } from './space.ts';
import type { PageType } from './frame-table.ts';
import { PGT, PGT_SHIFT, PGT_count_mask, PGT_pinned, PGT_validated, STAMP, entryOf, isOwned, isShareable } from './frame-table.ts';
import { getPage, putPage } from './frames.ts';
import { FIRST_XEN_SLOT, LAST_XEN_SLOT, fillXenSlots } from './xen-tables.ts';
import { validateDescriptorPage } from './descriptors.ts';

// Page-table entry bits of the low half (Intel SDM volume 3, 4.5) and of the high half.
export const _PAGE_PRESENT = 0x001, _PAGE_RW = 0x002, _PAGE_USER = 0x004, _PAGE_ACCESSED = 0x020, _PAGE_DIRTY = 0x040;
/** Set by Xen (bit 52) in the L1 entries that a guest made without the user bit. */
export const _PAGE_GUEST_KERNEL_HI = 1 << 20;
const SLOT_MASK_HI = 0xf_ffff;
/** PWT, PCD, PAT: no cache attributes for a domain without hardware. PSE and GLOBAL too above level 1. */
const L1_DISALLOW = 0x098, UPPER_DISALLOW = 0x198;

const ENTRIES = 512;

/** Frame index named by an entry's halves, when it lies in this memory; else -1. */
function frameOf(space: Space, lo: number, hi: number): number {
  return (hi & SLOT_MASK_HI) === space.slot ? lo >>> 12 : -1;
}

// --- types

/** Uses a frame as `type`: 0, or -EINVAL on a conflict or when it does not validate. */
export function getType(space: Space, index: number, type: PageType): number {
  const at = entryOf(space, index);
  const info = space.words[at]!;
  const count = info & PGT_count_mask;
  if (count === PGT_count_mask) return -EINVAL;
  if (count !== 0) {
    if (info >>> PGT_SHIFT !== type || (info & PGT_validated) === 0) return -EINVAL;
    space.words[at] = info + 1;
    return 0;
  }
  if (type === PGT.writable_page) { space.words[at] = (type << PGT_SHIFT) | PGT_validated | 1; return 0; }
  if (info >>> PGT_SHIFT === PGT.writable_page) flushSince(space, space.words[at + STAMP]!);
  // In use, not validated: whoever meets it meanwhile (a table that names itself) is refused.
  space.words[at] = (type << PGT_SHIFT) | 1;
  const error = type === PGT.seg_desc_page ? validateDescriptorPage(space, index) : validateTable(space, index, type);
  space.words[at] = error === 0 ? (type << PGT_SHIFT) | PGT_validated | 1 : 0;
  return error;
}

/** Ends one use of a frame as its type; the last one takes its entries' references back. */
export function putType(space: Space, index: number): void {
  const at = entryOf(space, index);
  const info = space.words[at]!;
  const count = (info & PGT_count_mask) - 1;
  const type = info >>> PGT_SHIFT;
  if (count > 0) { space.words[at] = info - 1; return; }
  if (type >= PGT.l1_page_table && type <= PGT.l4_page_table) {
    space.words[at] = (type << PGT_SHIFT) | 1;
    devalidateTable(space, index, type as PageType, ENTRIES);
    space.words[at] = 0;
    return;
  }
  space.words[at] = type << PGT_SHIFT;
  if (type === PGT.writable_page) space.words[at + STAMP] = flushClock(space);
}

export function getPageAndType(space: Space, index: number, type: PageType): number {
  if (!getPage(space, index)) return -EINVAL;
  const error = getType(space, index, type);
  if (error !== 0) putPage(space, index);
  return error;
}

export function putPageAndType(space: Space, index: number): void {
  putType(space, index);
  putPage(space, index);
}

// --- entries

/** Takes the references of an L1 entry: 0, or -EINVAL (flags), -EPERM (no such frame), -EBUSY (not owned, or typed). */
export function getL1Entry(space: Space, lo: number, hi: number): number {
  if ((lo & _PAGE_PRESENT) === 0) return 0;
  if ((lo & L1_DISALLOW) !== 0) return -EINVAL;
  const index = frameOf(space, lo, hi);
  if (index < 0) return space.foreign?.get(lo, hi) ?? -EPERM;
  if (index >= space.layout.end) return -EPERM;
  if (!getPage(space, index)) return -EBUSY;
  if ((lo & _PAGE_RW) !== 0 && getType(space, index, PGT.writable_page) !== 0) { putPage(space, index); return -EBUSY; }
  return 0;
}

export function putL1Entry(space: Space, lo: number, hi: number): void {
  if ((lo & _PAGE_PRESENT) === 0) return;
  const index = frameOf(space, lo, hi);
  if (index < 0) { space.foreign?.put(lo, hi); return; }
  if ((lo & _PAGE_RW) !== 0) putType(space, index);
  putPage(space, index);
}

/** Takes the references of an entry in a table of level 2, 3 or 4. */
export function getUpperEntry(space: Space, lo: number, hi: number, level: PageType): number {
  if ((lo & _PAGE_PRESENT) === 0) return 0;
  if ((lo & UPPER_DISALLOW) !== 0) return -EINVAL;
  const index = frameOf(space, lo, hi);
  if (index < 0 || isShareable(space, index)) return -EINVAL;
  return getPageAndType(space, index, (level - 1) as PageType);
}

export function putUpperEntry(space: Space, lo: number, hi: number): void {
  if ((lo & _PAGE_PRESENT) !== 0) putPageAndType(space, frameOf(space, lo, hi));
}

/** High half of an L1 entry as it is stored: notes that the guest had not set the user bit. */
export const adjustL1Hi = (lo: number, hi: number): number => ((lo & (_PAGE_PRESENT | _PAGE_USER)) === _PAGE_PRESENT ? hi | _PAGE_GUEST_KERNEL_HI : hi);
/** Low half of an entry as it is stored: guest kernels run at CPL 3, so every present entry has the user bit. */
export const adjustLo = (lo: number): number => ((lo & _PAGE_PRESENT) !== 0 ? lo | _PAGE_USER : lo);

export const isXenSlot = (entry: number): boolean => entry >= FIRST_XEN_SLOT && entry <= LAST_XEN_SLOT;

// --- tables

function validateTable(space: Space, index: number, level: PageType): number {
  const words = space.words;
  const base = index * (PAGE_BYTES / 4);
  for (let i = 0; i < ENTRIES; i++) {
    const at = base + i * 2;
    const lo = words[at]!;
    if ((lo & _PAGE_PRESENT) === 0 || (level === PGT.l4_page_table && isXenSlot(i))) continue;
    const hi = words[at + 1]!;
    const error = level === PGT.l1_page_table ? getL1Entry(space, lo, hi) : getUpperEntry(space, lo, hi, level);
    if (error !== 0) { devalidateTable(space, index, level, i); return error; }
    if (level === PGT.l1_page_table) words[at + 1] = adjustL1Hi(lo, hi);
    words[at] = lo | _PAGE_USER;
  }
  if (level === PGT.l4_page_table) fillXenSlots(space, index);
  return 0;
}

/** Gives back the references of a table's first `entries` entries. */
function devalidateTable(space: Space, index: number, level: PageType, entries: number): void {
  const words = space.words;
  const base = index * (PAGE_BYTES / 4);
  for (let i = 0; i < entries; i++) {
    const lo = words[base + i * 2]!;
    if ((lo & _PAGE_PRESENT) === 0 || (level === PGT.l4_page_table && isXenSlot(i))) continue;
    const hi = words[base + i * 2 + 1]!;
    if (level === PGT.l1_page_table) putL1Entry(space, lo, hi); else putUpperEntry(space, lo, hi);
  }
}

// --- pinning (MMUEXT_PIN_Ln_TABLE, MMUEXT_UNPIN_TABLE)

/** Keeps a table of a level (1 to 4) valid while nothing refers to it: 0 or -EINVAL. */
export function pinTable(space: Space, index: number, level: number): number {
  if (isOwned(space, index) && isShareable(space, index)) return -EINVAL;
  const error = getPageAndType(space, index, level as PageType);
  if (error !== 0) return error;
  const at = entryOf(space, index);
  if ((space.words[at]! & PGT_pinned) !== 0) { putPageAndType(space, index); return -EINVAL; }
  space.words[at] = space.words[at]! | PGT_pinned;
  return 0;
}

export function unpinTable(space: Space, index: number): number {
  if (!isOwned(space, index)) return -EINVAL;
  const at = entryOf(space, index);
  if ((space.words[at]! & PGT_pinned) === 0) return -EINVAL;
  space.words[at] = space.words[at]! & ~PGT_pinned;
  putPageAndType(space, index);
  return 0;
}
