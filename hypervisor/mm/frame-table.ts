// The frame table: 16 bytes for every frame of a domain's memory. One type at a time, counted; and a general
// reference count that keeps the frame the domain's own (Xen's type_info and count_info).
//
//   word 0  type      31  30..28  27         26      25..0
//                     0   type    validated  pinned  type count
//   word 1  count     30         29         28..0
//                     allocated  shareable  reference count ("owned" means: not zero)
//   word 2  stamp     flush clock when the last writable mapping went
//   word 3  link      next free frame + 1 while free
import type { Space } from './space.ts';

export const PGT = { none: 0, l1_page_table: 1, l2_page_table: 2, l3_page_table: 3, l4_page_table: 4, seg_desc_page: 5, writable_page: 7 } as const;
export type PageType = (typeof PGT)[keyof typeof PGT];

export const PGT_SHIFT = 28;
export const PGT_validated = 1 << 27;
export const PGT_pinned = 1 << 26;
export const PGT_count_mask = PGT_pinned - 1;
export const PGC_allocated = 1 << 30;
/** A frame the hypervisor shares with its domain (shared_info, grant table): mappable, never anything but writable. */
export const PGC_shareable = 1 << 29;
export const PGC_count_mask = PGC_shareable - 1;

/** Index in `words` of a frame's entry. */
export const entryOf = (space: Space, index: number): number => (space.layout.frameTable >>> 2) + index * 4;
export const TYPE = 0, COUNT = 1, STAMP = 2, LINK = 3;

export const typeOf = (space: Space, index: number): PageType => (space.words[entryOf(space, index)]! >>> PGT_SHIFT) as PageType;
export const typeCount = (space: Space, index: number): number => space.words[entryOf(space, index)]! & PGT_count_mask;
export const isPinned = (space: Space, index: number): boolean => (space.words[entryOf(space, index)]! & PGT_pinned) !== 0;
export const isValidated = (space: Space, index: number): boolean => (space.words[entryOf(space, index)]! & PGT_validated) !== 0;
export const refCount = (space: Space, index: number): number => space.words[entryOf(space, index) + COUNT]! & PGC_count_mask;
export const isShareable = (space: Space, index: number): boolean => (space.words[entryOf(space, index) + COUNT]! & PGC_shareable) !== 0;
export const isAllocated = (space: Space, index: number): boolean => (space.words[entryOf(space, index) + COUNT]! & PGC_allocated) !== 0;

/** The frame exists and belongs to the domain (it is allocated, or something still refers to it). */
export function isOwned(space: Space, index: number): boolean {
  return index >= 0 && index < space.layout.end && refCount(space, index) !== 0;
}
