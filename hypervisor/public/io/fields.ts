// Fields of ring entries: little-endian, at byte offsets that lie inside. A DataView costs more to make than an entry to read.
export const get16 = (b: Uint8Array, at: number): number => b[at]! | b[at + 1]! << 8;
/** Unsigned. */
export const get32 = (b: Uint8Array, at: number): number => (b[at]! | b[at + 1]! << 8 | b[at + 2]! << 16 | b[at + 3]! << 24) >>> 0;
export const put16 = (b: Uint8Array, at: number, value: number): void => { b[at] = value; b[at + 1] = value >>> 8; };
export const put32 = (b: Uint8Array, at: number, value: number): void => { b[at] = value; b[at + 1] = value >>> 8; b[at + 2] = value >>> 16; b[at + 3] = value >>> 24; };
