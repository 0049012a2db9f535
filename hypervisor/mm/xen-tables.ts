// What the hypervisor itself maps into every guest address space: the domain's slice of the machine-to-physical
// table, read-only, at MACH2PHYS_VIRT_START + (slot << 20) * 8. A slice is at most 8 MiB, aligned to it, so it takes
// one L3 table, one L2 table and up to four L1 tables, kept in the reserved frames.
import { PAGE_BYTES } from '../cpu/layout.ts';
import type { Space } from './space.ts';
import { getState, reservedFrameIndex, resetFlushClock, setState } from './space.ts';
import { clearM2p, initFrames } from './frames.ts';

/** L4 slots that belong to the hypervisor (ROOT_PAGETABLE_FIRST_XEN_SLOT .. LAST). */
export const FIRST_XEN_SLOT = 256;
export const LAST_XEN_SLOT = 271;

const L3_FRAME = 1, L2_FRAME = 2, FIRST_L1_FRAME = 3;
const M2P_BYTES_LOG2 = 23;
const PRESENT_USER_ACCESSED = 0x25;
const NX_HI = 0x8000_0000;

function writeEntry(space: Space, tableIndex: number, entry: number, frame: number, hiFlags: number): void {
  const at = tableIndex * PAGE_BYTES + entry * 8;
  space.view.setUint32(at, frame * PAGE_BYTES + PRESENT_USER_ACCESSED, true);
  space.view.setUint32(at + 4, (space.slot | hiFlags) >>> 0, true);
}

/** Prepares a new domain's memory (all zero): allocator, flush clock, M2P slice and the tables that show it. */
export function initSpace(space: Space): void {
  if (getState(space, 'ready') !== 0) return;
  initFrames(space);
  resetFlushClock(space);
  clearM2p(space);
  const l3 = reservedFrameIndex(space, L3_FRAME), l2 = reservedFrameIndex(space, L2_FRAME);
  // (slot << 23) >> 30 and >> 21: which L3 and L2 entries lead to the slice.
  writeEntry(space, l3, Math.floor(space.slot / 2 ** (30 - M2P_BYTES_LOG2)) % 512, l2, 0);
  const firstL2 = (space.slot * 2 ** (M2P_BYTES_LOG2 - 21)) % 512;
  const m2pFrame = space.layout.m2p / PAGE_BYTES;
  const m2pFrames = Math.ceil((space.layout.end * 8) / PAGE_BYTES);
  for (let i = 0; i < m2pFrames; i++) {
    const l1 = reservedFrameIndex(space, FIRST_L1_FRAME + Math.floor(i / 512));
    if (i % 512 === 0) writeEntry(space, l2, firstL2 + i / 512, l1, 0);
    writeEntry(space, l1, i % 512, m2pFrame + i, NX_HI);
  }
  setState(space, 'ready', 1);
}

/** Fills the hypervisor's slots of an L4 table that has just been validated. */
export function fillXenSlots(space: Space, l4: number): void {
  const at = l4 * PAGE_BYTES;
  space.bytes.fill(0, at + FIRST_XEN_SLOT * 8, at + (LAST_XEN_SLOT + 1) * 8);
  writeEntry(space, l4, FIRST_XEN_SLOT, reservedFrameIndex(space, L3_FRAME), 0);
}
