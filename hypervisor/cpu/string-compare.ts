// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (Intel SDM volume 2, 4.1): both operands are 16 bytes, `control` is the
// immediate, lengths are in elements (-1: implicit, up to the first zero).

export interface StringCompare {
  /** One bit per element of the second operand, after polarity. */
  readonly mask: number;
  readonly elements: number;
  /** Lengths found, in elements. */
  readonly length1: number; readonly length2: number;
}

// Elements of both operands, widened: kept between calls, for there are many.
const first = new Int32Array(16), second = new Int32Array(16);

/** Widens an operand's elements; returns its length: given, or up to the first zero (`explicit` negative). */
function widen(into: Int32Array, from: Uint8Array, wide: boolean, signed: boolean, explicit: number): number {
  const elements = wide ? 8 : 16, shift = signed ? (wide ? 16 : 24) : 0;
  let length = elements;
  for (let i = elements - 1; i >= 0; i--) {
    const v = wide ? from[2 * i]! | from[2 * i + 1]! << 8 : from[i]!;
    into[i] = v << shift >> shift;
    if (v === 0) length = i;
  }
  return explicit < 0 ? length : explicit;
}

// One bit per element of the second operand.
function equalAny(length1: number, length2: number): number {
  let mask = 0;
  for (let j = 0; j < length2; j++) for (let i = 0; i < length1; i++) if (first[i] === second[j]) { mask |= 1 << j; break; }
  return mask;
}
function inRanges(length1: number, length2: number): number {
  let mask = 0;
  for (let j = 0; j < length2; j++) for (let i = 0; i + 1 < length1; i += 2) if (second[j]! >= first[i]! && second[j]! <= first[i + 1]!) { mask |= 1 << j; break; }
  return mask;
}
/** Where both have ended they are equal, where one has they are not. */
function equalEach(length1: number, length2: number, elements: number): number {
  const both = Math.min(length1, length2), neither = Math.max(length1, length2);
  let mask = (1 << elements) - (1 << neither);
  for (let j = 0; j < both; j++) if (first[j] === second[j]) mask |= 1 << j;
  return mask;
}
/** The first operand as a substring starting at the element; what lies behind the register may match. */
function equalOrdered(length1: number, length2: number, elements: number): number {
  let mask = 0;
  for (let j = 0; j < elements; j++) {
    const end = Math.min(length1, elements - j);
    let i = 0;
    while (i < end && j + i < length2 && first[i] === second[j + i]) i++;
    if (i === end) mask |= 1 << j;
  }
  return mask;
}
const AGGREGATIONS = [equalAny, inRanges, equalEach, equalOrdered] as const;

/** Explicit lengths are at most the number of elements; negative ones ask for the implicit length. */
export function compareStrings(a: Uint8Array, b: Uint8Array, explicit1: number, explicit2: number, control: number): StringCompare {
  const wide = (control & 1) !== 0, signed = (control & 2) !== 0, elements = wide ? 8 : 16, all = (1 << elements) - 1;
  const length1 = widen(first, a, wide, signed, explicit1), length2 = widen(second, b, wide, signed, explicit2);
  const found = AGGREGATIONS[(control >> 2 & 3) as 0 | 1 | 2 | 3](length1, length2, elements);
  const polarity = control >> 4 & 3, mask = polarity === 1 ? ~found & all : polarity === 3 ? found ^ (1 << length2) - 1 : found;
  return { mask, elements, length1, length2 };
}
