// Fields of ring entries: little-endian, at byte offsets that lie inside. A DataView costs more to make than an entry to read.
export const get16 = (b: Uint8Array, at: number): number => b[at]! | b[at + 1]! << 8;
/** Unsigned. */
export const get32 = (b: Uint8Array, at: number): number => (b[at]! | b[at + 1]! << 8 | b[at + 2]! << 16 | b[at + 3]! << 24) >>> 0;
/** A u64 as a number; beyond 2^53 it is past the end of anything, so Infinity serves. */
export const get64 = (b: Uint8Array, at: number): number => { const high = get32(b, at + 4); return high >= 0x20_0000 ? Infinity : high * 0x1_0000_0000 + get32(b, at); };
export const put16 = (b: Uint8Array, at: number, value: number): void => { b[at] = value; b[at + 1] = value >>> 8; };
export const put32 = (b: Uint8Array, at: number, value: number): void => { b[at] = value; b[at + 1] = value >>> 8; b[at + 2] = value >>> 16; b[at + 3] = value >>> 24; };
export const put64 = (b: Uint8Array, at: number, value: number): void => { put32(b, at, value); put32(b, at + 4, Math.floor(value / 0x1_0000_0000)); };
