// Segment descriptors a guest may have in its GDT and LDT: code and data segments at privilege level 3, whatever
// level it asked for; nothing that the hardware would run through (gates, TSS, LDT).
import { PAGE_BYTES } from '../cpu/layout.ts';
import { EINVAL } from '../public/errno.ts';
import type { Space } from './space.ts';

// High half of a descriptor (Intel SDM volume 3, 3.4.5).
export const _SEGMENT_TYPE = 0xf << 8;
/** 1 for code and data, 0 for system descriptors. */
export const _SEGMENT_S = 1 << 12;
export const _SEGMENT_DPL = 3 << 13;
export const _SEGMENT_P = 1 << 15;
/** Executable (for code and data). */
export const _SEGMENT_CODE = 1 << 11;
export const _SEGMENT_L = 1 << 21;

/**
 * High half as it may be stored, or -1 when the descriptor is refused. A descriptor that is not present always
 * faults, and the all-zero type is the harmless second half of a 16-byte one.
 */
export function checkDescriptor(high: number): number {
  if ((high & _SEGMENT_P) === 0) return high >>> 0;
  const fixed = (high | _SEGMENT_DPL) >>> 0;
  if ((high & _SEGMENT_S) !== 0 || (high & _SEGMENT_TYPE) === 0) return fixed;
  return -1;
}

/** All 512 descriptors of a frame that is to become a descriptor page: 0 or -EINVAL (then nothing was changed). */
export function validateDescriptorPage(space: Space, index: number): number {
  const base = index * (PAGE_BYTES / 4);
  for (let i = 1; i < 1024; i += 2) if (checkDescriptor(space.words[base + i]!) === -1) return -EINVAL;
  for (let i = 1; i < 1024; i += 2) {
    const high = space.words[base + i]!;
    if ((high & _SEGMENT_P) !== 0) space.words[base + i] = checkDescriptor(high) | 0;
  }
  return 0;
}
