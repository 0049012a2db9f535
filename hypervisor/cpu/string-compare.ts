// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (Intel SDM volume 2, 4.1): both operands are 16 bytes, `control` is the
// immediate, lengths are in elements (-1: implicit, up to the first zero).

export interface StringCompare {
  /** One bit per element of the second operand, after polarity. */
  readonly mask: number;
  readonly elements: number;
  /** Lengths found, in elements. */
  readonly length1: number; readonly length2: number;
}

export function compareStrings(a: Uint8Array, b: Uint8Array, explicit1: number, explicit2: number, control: number): StringCompare {
  const wide = (control & 1) !== 0, signed = (control & 2) !== 0, elements = wide ? 8 : 16;
  const element = (s: Uint8Array, i: number): number => {
    const v = wide ? s[2 * i]! | s[2 * i + 1]! << 8 : s[i]!;
    return !signed ? v : wide ? v << 16 >> 16 : v << 24 >> 24;
  };
  const implicit = (s: Uint8Array): number => { for (let i = 0; i < elements; i++) if (element(s, i) === 0) return i; return elements; };
  const length1 = explicit1 < 0 ? implicit(a) : explicit1, length2 = explicit2 < 0 ? implicit(b) : explicit2;
  let mask = 0;
  for (let j = 0; j < elements; j++) {
    let hit = false;
    switch (control >> 2 & 3) {
      case 0: // equal any
        for (let i = 0; i < length1 && j < length2; i++) if (element(a, i) === element(b, j)) hit = true;
        break;
      case 1: // ranges
        for (let i = 0; i + 1 < length1 && j < length2; i += 2) if (element(b, j) >= element(a, i) && element(b, j) <= element(a, i + 1)) hit = true;
        break;
      case 2: // equal each: two ended strings are equal there, one ended is not
        hit = j < length1 && j < length2 ? element(a, j) === element(b, j) : j >= length1 && j >= length2;
        break;
      default: // equal ordered: the first operand found at j
        hit = true;
        for (let i = 0; i < length1 && j + i < elements; i++) if (j + i >= length2 || element(a, i) !== element(b, j + i)) { hit = false; break; }
    }
    if (hit) mask |= 1 << j;
  }
  const polarity = control >> 4 & 3;
  if (polarity === 1) mask = ~mask & (1 << elements) - 1;
  else if (polarity === 3) mask ^= (1 << Math.min(length2, elements)) - 1;
  return { mask: mask & (1 << elements) - 1, elements, length1, length2 };
}
