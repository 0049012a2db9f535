// A pre-decoded instruction: 32 bytes, little-endian, 8-byte aligned. Handlers of the interpreter get its address.
//
//   0 u16 handler   2 u8 a   3 u8 b   4 u8 base   5 u8 index   6 u8 scale   7 u8 segment slot
//   8 i32 displacement       12 i32 immediate     16 u16 offset in page   18 u8 length   19 u8 c
//  20 u32 link: record of the branch target in the same page, or 0
//  24 i32 target: of a direct branch, relative to the page's base
//  20 u64 seen: where an indirect branch or return last went, or 0
//  20 u32 number: of the record a block starts with, where translations are in the table, or 0 (jit/translator.ts)
//  28 u32 native: number of the native code of the block that starts here (native/tier.ts)
//
// a, b, c, base, index and the segment are register slots (state.ts SLOT). A 64-bit immediate takes 8..15.
export const RECORD_BYTES = 32;
export const R = { handler: 0, a: 2, b: 3, base: 4, index: 5, scale: 6, segment: 7, disp: 8, imm: 12, offset: 16, length: 18, c: 19, link: 20, target: 24, seen: 20, number: 20, native: 28 } as const;

export interface RecordFields {
  handler: number; a: number; b: number; base: number; index: number; scale: number; segment: number;
  disp: number; imm: number; imm64?: bigint | undefined; offset: number; length: number; c: number; link: number; target: number;
}

/** By whole words: decoding begins cold, and then each call of a DataView costs as much as all of this. @param words all memory */
export function writeRecord(words: Int32Array, at: number, r: RecordFields): void {
  const n = at >> 2, imm64 = r.imm64;
  words[n] = r.handler | r.a << 16 | r.b << 24;
  words[n + 1] = r.base | r.index << 8 | r.scale << 16 | r.segment << 24;
  words[n + 2] = imm64 === undefined ? r.disp : Number(BigInt.asIntN(32, imm64));
  words[n + 3] = imm64 === undefined ? r.imm : Number(BigInt.asIntN(32, imm64 >> 32n));
  words[n + 4] = r.offset | r.length << 16 | r.c << 24;
  words[n + 5] = r.link;
  words[n + 6] = r.target;
}
