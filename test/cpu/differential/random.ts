// A seeded generator and the operands that break processors.

/** Operand widths, whose signed ends carry and overflow. */
const WIDTHS = [8, 16, 32, 64];

export class Random {
  private a: number; private b = 0x9e3779b9 | 0; private c = 0x243f6a88; private d = 0xb7e15162 | 0;
  constructor(seed: number) {
    this.a = seed | 0;
    for (let i = 0; i < 20; i++) this.u32();
  }
  u32(): number {
    const t = this.d ^ this.d << 11;
    this.d = this.c; this.c = this.b; this.b = this.a;
    this.a = this.a ^ this.a >>> 19 ^ t ^ t >>> 8;
    return this.a >>> 0;
  }
  below(n: number): number { return Math.floor(this.u32() / 0x100000000 * n); }
  /** lo .. hi, both included. */
  range(lo: number, hi: number): number { return lo + this.below(hi - lo + 1); }
  chance(p: number): boolean { return this.u32() < p * 0x100000000; }
  pick<T>(list: readonly T[]): T { return list[this.below(list.length)]!; }

  /** A hard 64-bit value into words[at], words[at + 1]. */
  hard64(words: Uint32Array, at: number): void {
    let lo: number, hi: number;
    switch (this.below(12)) {
      case 0: lo = hi = 0; break;
      case 1: lo = hi = -1; break;
      case 2: lo = this.below(3); hi = 0; break;
      case 3: { const n = this.below(64); lo = n < 32 ? 1 << n : 0; hi = n < 32 ? 0 : 1 << n; break; }
      case 4: { const n = this.below(64); lo = n < 32 ? (1 << n) - 1 : -1; hi = n < 32 ? 0 : (1 << n) - 1; break; }
      case 5: { const n = this.below(64); lo = n < 32 ? -1 << n : 0; hi = n < 32 ? -1 : -1 << n; break; }
      case 6: lo = this.range(-130, 130); hi = lo >> 31; break;
      case 7: lo = this.u32(); hi = 0; break;
      case 8: lo = this.u32(); hi = lo >> 31; break;
      case 9: { const b = this.pick([0x7f, 0x80, 0x81, 0xff, 0x00, 0x55, 0x01]); lo = Math.imul(b, 0x01010101); hi = this.chance(0.5) ? lo : 0; break; }
      case 10: { const n = this.pick(WIDTHS), off = this.range(-1, 1), wide = this.chance(0.5) ? -1 : 0; lo = n > 32 ? off : (n === 32 ? 0x80000000 : 1 << n - 1) + off; hi = n > 32 ? 0x80000000 + (off < 0 ? -1 : 0) : wide; break; }
      default: lo = this.u32(); hi = this.u32();
    }
    words[at] = lo; words[at + 1] = hi;
  }
}

/** Floating-point bit patterns worth meeting: single and double. */
const SINGLES = [0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x3f800000, 0xbf800000, 0x40000000, 0x3f000000, 0x3fc00000, 0x40200000, 0x4b000000, 0x4b000001, 0x4effffff, 0x4f000000, 0xcf000000, 0xcf000001, 0x5f000000, 0xdf000000, 0x7f7fffff, 0xff7fffff,
  0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fbfffff, 0x7fffffff, 0x34000000, 0x33800000, 0x1f800000, 0x20000000];
const DOUBLES: [number, number][] = [[0, 0], [0, 0x80000000], [1, 0], [1, 0x80000000], [-1, 0x000fffff], [0, 0x00100000], [0, 0x3ff00000], [0, 0xbff00000], [0, 0x40000000], [0, 0x3fe00000], [0, 0x3ff80000], [0, 0x40040000], [0, 0x43300000], [1, 0x43300000],
  [0xffc00000, 0x41dfffff], [0, 0x41e00000], [0, 0xc1e00000], [0x200000, 0xc1e00000], [0, 0x43e00000], [0, 0xc3e00000], [1, 0xc3e00000], [-1, 0x7fefffff], [-1, 0xffefffff], [0, 0x7ff00000], [0, 0xfff00000], [0, 0x7ff80000], [0, 0xfff80000],
  [1, 0x7ff00000], [1, 0xfff00000], [-1, 0x7ff7ffff], [-1, 0x7fffffff], [0, 0x3cb00000], [0, 0x3ca00000], [0, 0x38100000], [0, 0x36a00000], [0, 0x47efffff], [0xe0000000, 0x47efffff], [0xf0000000, 0x47efffff], [0, 0x47f00000]];

/** Random bytes laced with hard integers and floating-point specials: windows and registers are cut out of it. */
export function hardPool(r: Random, words: Uint32Array): void {
  for (let i = 0; i + 4 <= words.length; i += 4) {
    switch (r.below(6)) {
      case 0: for (let k = 0; k < 4; k++) words[i + k] = r.u32(); break;
      case 1: case 2: for (let k = 0; k < 4; k++) words[i + k] = r.chance(0.7) ? r.pick(SINGLES) : r.chance(0.5) ? r.range(0x3f000000, 0x41000000) | r.u32() << 31 : r.u32(); break;
      case 3: case 4: for (let k = 0; k < 4; k += 2) {
        if (r.chance(0.7)) { const [lo, hi] = r.pick(DOUBLES); words[i + k] = lo; words[i + k + 1] = hi; } else if (r.chance(0.5)) { words[i + k] = r.u32(); words[i + k + 1] = r.range(0x3fd00000, 0x40200000) | r.u32() << 31; } else { words[i + k] = r.u32(); words[i + k + 1] = r.u32(); }
      } break;
      default: r.hard64(words, i); r.hard64(words, i + 2);
    }
  }
}
/** Hard 64-bit values. */
export function registerPool(r: Random, words: Uint32Array): void { for (let i = 0; i < words.length; i += 2) r.hard64(words, i); }
/** x87 registers as FXSAVE has them: zeros, infinities, NaNs, denormals, unnormals, and numbers near 1. */
export function x87Pool(r: Random, words: Uint32Array): void {
  for (let o = 0; o < words.length; o += 4) {
    r.hard64(words, o);
    words[o + 3] = 0;
    switch (r.below(8)) {
      case 0: words[o + 2] = r.u32() & 0xffff; break;
      case 1: words[o] = words[o + 1] = 0; words[o + 2] = r.below(2) << 15; break;
      case 2: words[o + 1]! |= 0x80000000; words[o + 2] = 0x7fff | r.below(2) << 15; break;
      case 3: words[o] = 0; words[o + 1] = r.pick([0x80000000, 0xc0000000]); words[o + 2] = 0x7fff | r.below(2) << 15; break;
      case 4: words[o + 1]! &= 0x7fffffff; words[o + 2] = r.below(2) << 15; break;
      default: words[o + 1]! |= 0x80000000; words[o + 2] = 0x3fff + r.range(-70, 70) | r.below(2) << 15;
    }
  }
}
