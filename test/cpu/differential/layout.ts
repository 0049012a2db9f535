// What the native harness (../native/harness.c) and this side agree on: addresses, and the shape of a case.

export const CODE = 0x13570000;
export const CODE_PAGES = 40;
export const CODE_BYTES = CODE_PAGES * 4096;
export const REGION_PAGES = 3;
export const REGION_BYTES = REGION_PAGES * 4096;
/** First (read-only) page of each region; a hole before it, two writable pages and a hole behind it. */
export const REGIONS = [0x2468b000, 0x3579d000] as const;
export const WINDOW = 256;
/** Cases of a batch at most, and batches that the shared file holds. */
export const MAX_CASES = 2048, BATCHES = 2;
export const FS_BASE = 0x01234560;
export const GS_BASE = 0x02468ac8;
/** Selectors of 64-bit and 32-bit user code and of user data under Linux. */
export const CS64 = 0x33, CS32 = 0x23, DS = 0x2b;

/** Byte offsets in a case slot. */
export const CASE = { trap: 0, error: 4, cr2: 8, rip: 16, rflags: 24, gpr: 32, window: 160, fx: 176, data: 688 } as const;
export const CASE_BYTES = 1200;
export const CASE_WORDS = CASE_BYTES / 4;
/** A batch in the shared file: code image and cases. */
export const BATCH_BYTES = CODE_BYTES + MAX_CASES * CASE_BYTES;
/** The same as 32-bit word indexes. */
export const WORD = { trap: 0, error: 1, cr2: 2, rip: 4, rflags: 6, gpr: 8, window: 40, fx: 44, data: 172 } as const;

/** The pattern a region is filled with. */
export function regionPattern(region: number): Uint8Array {
  const words = new Uint32Array(REGION_BYTES / 4);
  let v = Math.imul(0x9e3779b9, region + 1);
  for (let i = 0; i < words.length; i++) { v = Math.imul(v, 1664525) + 1013904223 | 0; words[i] = v ^ v >>> 15; }
  return new Uint8Array(words.buffer);
}
/** Folds a changed page into the hash of changes outside the windows. */
export function foldPage(hash: number, where: number, page: Uint32Array): number {
  hash = Math.imul(hash ^ where, 16777619);
  for (let i = 0; i < 1024; i++) hash = Math.imul(hash ^ page[i]!, 16777619);
  return hash;
}
