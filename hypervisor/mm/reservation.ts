// Changing how many frames a domain has, and which: extents of 2^order frames. Page lock held by the callers of the
// *Locked functions; frames are named by index.
import { ENOMEM } from '../public/errno.ts';
import type { Space } from './space.ts';
import { getState, setState } from './space.ts';
import { COUNT, LINK, PGC_allocated, PGC_count_mask, PGT_count_mask, PGT_pinned, entryOf, isAllocated, isOwned, isShareable } from './frame-table.ts';
import { allocateFramesLocked, freeFrameLocked, setM2pEntry } from './frames.ts';

/** Largest extent a domain without hardware may ask for (Xen's CONFIG_DOMU_MAX_ORDER). */
export const DOMU_MAX_ORDER = 9;

/** Adjacent frames, aligned to their number: the first index, or -ENOMEM. */
export function allocateExtentLocked(space: Space, order: number): number {
  const count = 2 ** order;
  if (order === 0) {
    const one = allocateFramesLocked(space, 1);
    return typeof one === 'number' ? one : one[0]!;
  }
  if (getState(space, 'allocated') + count > getState(space, 'maxFrames')) return -ENOMEM;
  const bump = getState(space, 'bump');
  const start = Math.ceil(bump / count) * count;
  if (start + count > space.layout.end) return -ENOMEM;
  // Fresh frames skipped for alignment go to the free list, in the order that keeps it ascending.
  for (let index = start - 1; index >= bump; index--) setFree(space, index);
  setState(space, 'bump', start + count);
  for (let i = 0; i < count; i++) space.words[entryOf(space, start + i) + COUNT] = PGC_allocated | 1;
  setState(space, 'allocated', getState(space, 'allocated') + count);
  return start;
}

function setFree(space: Space, index: number): void {
  space.words[entryOf(space, index) + LINK] = getState(space, 'freeHead');
  setState(space, 'freeHead', index + 1);
}

/** XENMEM_populate_physmap for one extent: frames at pfn, pfn + 1, ...; the first index, or -ENOMEM. */
export function populateExtentLocked(space: Space, order: number, pfn: bigint): number {
  const start = allocateExtentLocked(space, order);
  if (start >= 0) mapExtent(space, start, order, pfn);
  return start;
}

export function mapExtent(space: Space, start: number, order: number, pfn: bigint): void {
  for (let i = 0n; i < 1n << BigInt(order); i++) {
    const value = BigInt.asUintN(64, pfn + i);
    setM2pEntry(space, start + Number(i), Number(value & 0xffff_ffffn), Number(value >> 32n));
  }
}

/** Gives an extent up; false at the first frame that is not the domain's to give. */
export function removeExtentLocked(space: Space, start: number, order: number): boolean {
  for (let i = 0; i < 2 ** order; i++) if (!freeFrameLocked(space, start + i)) return false;
  return true;
}

/** A frame nobody refers to but the domain's holding of it: it can change hands. */
export function isStealable(space: Space, index: number): boolean {
  if (!isOwned(space, index) || isShareable(space, index) || !isAllocated(space, index)) return false;
  const at = entryOf(space, index);
  return (space.words[at + COUNT]! & PGC_count_mask) === 1 && (space.words[at]! & (PGT_count_mask | PGT_pinned)) === 0;
}

/**
 * XENMEM_exchange of one piece: frees `given` (all stealable) and populates one extent per entry of `pfns`. The new
 * frames are taken first: first index of each, or -ENOMEM with nothing changed.
 */
export function exchangeLocked(space: Space, given: readonly number[], order: number, pfns: readonly bigint[]): number[] | number {
  const max = getState(space, 'maxFrames');
  // For a moment the domain has both.
  setState(space, 'maxFrames', max + given.length);
  const taken: number[] = [];
  for (const pfn of pfns) {
    const start = populateExtentLocked(space, order, pfn);
    if (start < 0) break;
    taken.push(start);
  }
  setState(space, 'maxFrames', max);
  const failed = taken.length !== pfns.length;
  if (failed) for (const start of taken) removeExtentLocked(space, start, order);
  else for (const index of given) freeFrameLocked(space, index);
  return failed ? -ENOMEM : taken;
}
