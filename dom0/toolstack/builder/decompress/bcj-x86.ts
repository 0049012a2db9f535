// The x86 branch filter of XZ: the compressor turned the relative targets of CALL and JMP (E8, E9) into absolute
// ones so that equal targets look equal; this turns them back.

/** By the opcode-like bytes among the last three: may this one still be a converted branch, and where to look. */
const ALLOWED = [true, true, true, false, true, false, false, false];
const BIT_NUMBER = [0, 1, 2, 2, 3, 3, 3, 3];

const isSignByte = (b: number): boolean => b === 0 || b === 0xff;

/** Undoes the filter in place on bytes[start..end), whose first byte has stream offset `offset`. */
export function unfilterX86(bytes: Uint8Array, start: number, end: number, offset = 0): void {
  let last = start - 1, mask = 0;
  const stop = end - 4;
  for (let i = start; i < stop; i++) {
    if ((bytes[i]! & 0xfe) !== 0xe8) continue;
    const gap = i - last;
    last = i;
    if (gap > 3) mask = 0;
    else {
      mask = mask << gap - 1 & 7;
      if (mask !== 0 && (!ALLOWED[mask] || isSignByte(bytes[i + 4 - BIT_NUMBER[mask]!]!))) { mask = mask << 1 | 1; continue; }
    }
    if (!isSignByte(bytes[i + 4]!)) { mask = mask << 1 | 1; continue; }
    const target = unconvert(bytes, i, offset + (i - start) + 5, mask);
    bytes[i + 1] = target;
    bytes[i + 2] = target >>> 8;
    bytes[i + 3] = target >>> 16;
    bytes[i + 4] = target & 0x1000000 ? 0xff : 0;
    i += 4;
  }
}

function unconvert(bytes: Uint8Array, i: number, next: number, mask: number): number {
  let source = bytes[i + 1]! | bytes[i + 2]! << 8 | bytes[i + 3]! << 16 | bytes[i + 4]! << 24;
  for (;;) {
    const target = source - next | 0;
    if (mask === 0) return target;
    const shift = BIT_NUMBER[mask]! * 8;
    if (!isSignByte(target >>> 24 - shift & 0xff)) return target;
    source = target ^ (shift === 0 ? -1 : (1 << 32 - shift) - 1);
  }
}
