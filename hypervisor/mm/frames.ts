// The frame allocator of one domain's memory, usable from every thread that holds its page lock. Fresh frames are
// handed out in ascending order (they are zero); freed ones are kept in a list threaded through the frame table and
// cleared when they are handed out again.
import { CODE, PAGE_BYTES } from '../cpu/layout.ts';
import { ENOMEM } from '../public/errno.ts';
import type { Space } from './space.ts';
import { getState, reservedFrameIndex, setState, withPageLock } from './space.ts';
import { COUNT, LINK, PGC_allocated, PGC_count_mask, PGC_shareable, PGT, PGT_SHIFT, PGT_validated, TYPE, entryOf, isAllocated, isOwned, isShareable } from './frame-table.ts';

/** Frames of the reserved area that the memory manager keeps: state page, M2P tables (xen-tables.ts). */
export const MM_RESERVED_FRAMES = 7;
/** M2P entry of a frame that backs no guest frame. */
const INVALID = 0xffff_ffff;

/** Called once, when the domain's memory is made (initSpace). */
export function initFrames(space: Space): void {
  setState(space, 'freeHead', 0);
  setState(space, 'bump', space.layout.first);
  setState(space, 'allocated', 0);
  setState(space, 'maxFrames', space.layout.end - space.layout.first);
  setState(space, 'reservedNext', MM_RESERVED_FRAMES);
}

/** Frames the domain holds, of its own (not what the hypervisor shares with it). */
export const allocatedFrames = (space: Space): number => getState(space, 'allocated');
export const maxFrames = (space: Space): number => getState(space, 'maxFrames');
/** XEN_DOMCTL_max_mem: never above what the memory was made for. */
export function setMaxFrames(space: Space, count: number): void {
  setState(space, 'maxFrames', Math.min(count, space.layout.end - space.layout.first));
}

/** The hypervisor has written to a frame (or its contents are another's now): translations of code in it are void. */
export function noteWritten(space: Space, index: number): void {
  const at = space.layout.codeMap + index;
  if (space.bytes[at] === 0) return;
  if (space.codeWritten !== undefined) space.codeWritten(index);
  else space.bytes[at] = space.bytes[at]! | CODE.dirtied;
}

function takeFrame(space: Space): number {
  const head = getState(space, 'freeHead');
  if (head !== 0) {
    const index = head - 1;
    setState(space, 'freeHead', space.words[entryOf(space, index) + LINK]!);
    space.bytes.fill(0, index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
    noteWritten(space, index);
    return index;
  }
  const next = getState(space, 'bump');
  if (next >= space.layout.end) return -1;
  setState(space, 'bump', next + 1);
  return next;
}

/** As allocateFrames, for callers that hold the page lock. */
export function allocateFramesLocked(space: Space, count: number): number[] | number {
  if (getState(space, 'allocated') + count > getState(space, 'maxFrames')) return -ENOMEM;
  const taken: number[] = [];
  for (let i = 0; i < count; i++) {
    const index = takeFrame(space);
    if (index < 0) { for (const t of taken) releaseFrame(space, t); return -ENOMEM; }
    // The stamp and an old type without references stay: stale translations are still to be flushed for them.
    space.words[entryOf(space, index) + COUNT] = PGC_allocated | 1;
    setState(space, 'allocated', getState(space, 'allocated') + 1);
    taken.push(index);
  }
  return taken;
}

/** Allocates frames, zeroed: their indexes, or -ENOMEM (then none was taken). */
export function allocateFrames(space: Space, count: number): number[] | number {
  return withPageLock(space, () => allocateFramesLocked(space, count));
}

/** The last reference has gone: the frame returns to the allocator. Page lock held. */
export function releaseFrame(space: Space, index: number): void {
  space.words[entryOf(space, index) + COUNT] = 0;
  setM2pEntry(space, index, INVALID, INVALID);
  if (index < space.layout.first) return;
  space.words[entryOf(space, index) + LINK] = getState(space, 'freeHead');
  setState(space, 'freeHead', index + 1);
  setState(space, 'allocated', getState(space, 'allocated') - 1);
}

/** Takes a general reference: false when the frame is not the domain's. Page lock held. */
export function getPage(space: Space, index: number): boolean {
  if (!isOwned(space, index)) return false;
  const at = entryOf(space, index) + COUNT;
  if ((space.words[at]! & PGC_count_mask) === PGC_count_mask) return false;
  space.words[at] = space.words[at]! + 1;
  return true;
}

export function putPage(space: Space, index: number): void {
  const at = entryOf(space, index) + COUNT;
  const count = space.words[at]! - 1;
  space.words[at] = count;
  if ((count & PGC_count_mask) === 0) releaseFrame(space, index);
}

/**
 * Gives a frame up: it leaves the domain as soon as nothing maps it any more. False when the domain does not hold
 * it, or when it is the hypervisor's. Page lock held.
 */
export function freeFrameLocked(space: Space, index: number): boolean {
  if (!isOwned(space, index) || isShareable(space, index) || !isAllocated(space, index)) return false;
  const at = entryOf(space, index) + COUNT;
  space.words[at] = space.words[at]! & ~PGC_allocated;
  putPage(space, index);
  return true;
}

/** Frees frames; stops at the first that is not the domain's and returns how many went. */
export function freeFrames(space: Space, indexes: readonly number[]): number {
  return withPageLock(space, () => {
    const bad = indexes.findIndex((index) => !freeFrameLocked(space, index));
    return bad < 0 ? indexes.length : bad;
  });
}

/**
 * Shares a hypervisor frame with the domain (shared_info, grant table): it may be mapped read-write by its owner and
 * can never become a page table, because one writable reference stays for ever.
 */
export function shareFrame(space: Space, index: number): void {
  const at = entryOf(space, index);
  space.words[at + TYPE] = (PGT.writable_page << PGT_SHIFT) | PGT_validated | 1;
  space.words[at + COUNT] = PGC_allocated | PGC_shareable | 1;
}

/** Takes zeroed frames from the reserved area and shares them with the domain: indexes, or -ENOMEM. */
export function allocateSharedFrames(space: Space, count: number): number[] | number {
  return withPageLock(space, () => {
    const next = getState(space, 'reservedNext');
    if (next + count > space.layout.reservedFrames) return -ENOMEM;
    setState(space, 'reservedNext', next + count);
    const indexes = Array.from({ length: count }, (_, i) => reservedFrameIndex(space, next + i));
    for (const index of indexes) shareFrame(space, index);
    return indexes;
  });
}

/** Sets the M2P entry of a frame; pfn as two halves. */
export function setM2pEntry(space: Space, index: number, lo: number, hi: number): void {
  const at = (space.layout.m2p >>> 2) + index * 2;
  space.words[at] = lo | 0;
  space.words[at + 1] = hi | 0;
}

/** Sets the M2P entries of frames that back consecutive guest frames. */
export function setM2p(space: Space, indexes: readonly number[], firstPfn: number): void {
  indexes.forEach((index, i) => setM2pEntry(space, index, (firstPfn + i) >>> 0, Math.floor((firstPfn + i) / 0x1_0000_0000)));
}

/** M2P entry of a frame, or -1 when it is invalid. */
export function getM2pEntry(space: Space, index: number): number {
  const at = (space.layout.m2p >>> 2) + index * 2;
  const hi = space.words[at + 1]! >>> 0;
  return hi === INVALID ? -1 : hi * 0x1_0000_0000 + (space.words[at]! >>> 0);
}

/** Marks every M2P entry invalid (start of a domain's life). */
export function clearM2p(space: Space): void {
  // To the end of its last page: the guest sees whole pages.
  space.bytes.fill(0xff, space.layout.m2p, Math.ceil((space.layout.m2p + space.layout.end * 8) / PAGE_BYTES) * PAGE_BYTES);
}
