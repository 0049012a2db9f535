// Big-endian fields at byte offsets. Callers have checked that the offsets are inside.
export const u16 = (b: Uint8Array, at: number): number => b[at]! << 8 | b[at + 1]!;
/** Unsigned. */
export const u32 = (b: Uint8Array, at: number): number => (b[at]! << 24 | b[at + 1]! << 16 | b[at + 2]! << 8 | b[at + 3]!) >>> 0;
export const put16 = (b: Uint8Array, at: number, value: number): void => { b[at] = value >>> 8; b[at + 1] = value; };
export const put32 = (b: Uint8Array, at: number, value: number): void => { b[at] = value >>> 24; b[at + 1] = value >>> 16; b[at + 2] = value >>> 8; b[at + 3] = value; };

/** @returns whether `byteCount` bytes are the same */
export function sameBytes(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, byteCount: number): boolean {
  for (let i = 0; i < byteCount; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
