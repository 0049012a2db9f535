// How one domain's memory (one shared WebAssembly.Memory, up to 4 GiB) is divided.
//
//   0        guard and scratch
//   64 KiB   vCPU areas, VCPU_STRIDE bytes each: state, TLBs, decode cache (private to the processor)
//   ...      frame table (FRAME_ENTRY_BYTES per frame), M2P slice (8 bytes per frame), code map (1 byte per frame)
//   ...      frames of the hypervisor's own for this domain (M2P page tables, ...)
//   first    guest frames, up to `end`
//
// A physical address is an offset in this memory; a frame's index is the offset >> 12. A machine address is
// (slot << 32) | offset, so an mfn is (slot << 20) | index. Every array above covers indexes 0 .. end-1.

export const PAGE_BYTES = 4096;
export const VCPU_AREA = 0x10000;
export const VCPU_STRIDE = 0x600_0000;
/** Of the one vCPU of a program, which has neither TLBs nor decoded code: what lies in the memory counts for every thread's heap that names it. */
export const PROGRAM_AREA_BYTES = 0x1_0000;
/** Bytes of hypervisor state per frame, used by hypervisor/mm as it likes (zero at start). */
export const FRAME_ENTRY_BYTES = 16;

export interface MemoryLayout {
  readonly vcpus: number;
  /** Byte offsets. */
  readonly frameTable: number; readonly m2p: number; readonly codeMap: number; readonly reserved: number;
  readonly reservedFrames: number;
  /** Frame indexes: guest frames are first .. end-1. */
  readonly first: number; readonly end: number;
  readonly totalBytes: number;
}

const pageUp = (n: number): number => Math.ceil(n / PAGE_BYTES) * PAGE_BYTES;

/** Largest number of guest frames that fits 4 GiB beside the hypervisor's part. */
export function layoutMemory(vcpus: number, guestFrames: number, reservedFrames = 64, areaBytes = VCPU_STRIDE): MemoryLayout {
  const frameTable = VCPU_AREA + vcpus * areaBytes;
  const perFrame = FRAME_ENTRY_BYTES + 8 + 1;
  // The arrays cover the frames they themselves lie in, so the count is solved for, not added up.
  const end = Math.ceil((frameTable + (reservedFrames + guestFrames + 4) * PAGE_BYTES) / (PAGE_BYTES - perFrame));
  const m2p = frameTable + pageUp(end * FRAME_ENTRY_BYTES);
  const codeMap = m2p + pageUp(end * 8);
  const reserved = codeMap + pageUp(end);
  const first = reserved / PAGE_BYTES + reservedFrames;
  return { vcpus, frameTable, m2p, codeMap, reserved, reservedFrames, first, end: first + guestFrames, totalBytes: Math.ceil((first + guestFrames) * PAGE_BYTES / 65536) * 65536 };
}
/** Offset of a vCPU's attention word (i32): set non-zero, then the processor exits at the next block boundary. */
export const attentionOffset = (vcpu: number): number => VCPU_AREA + vcpu * VCPU_STRIDE + ATTENTION;
/** Offset of the attention word in a vCPU area; state.ts places it. */
export const ATTENTION = 0;

/** Code map byte of a frame: translations exist / a backend wrote to it since. */
export const CODE = { translated: 1, dirtied: 2 } as const;
