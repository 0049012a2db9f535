// A seeded source of hard floating-point operands: the values at which implementations go wrong.

export class Random {
  private state: number;
  constructor(seed: number) { this.state = seed >>> 0 || 1; }
  /** 32 random bits (mulberry32). */
  u32(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
  below(n: number): number { return this.u32() % n; }
  u64(): bigint { return (BigInt(this.u32()) << 32n) | BigInt(this.u32()); }
  pick<T>(list: readonly T[]): T { return list[this.below(list.length)]!; }
}

/** A significand of `bits` bits: random, sparse, long runs, or near a halfway case of a narrower format. */
function hardBits(r: Random, bits: number): bigint {
  const all = (1n << BigInt(bits)) - 1n;
  switch (r.below(8)) {
    case 0: return 0n;
    case 1: return all;
    case 2: return 1n << BigInt(r.below(bits));
    case 3: return all ^ ((1n << BigInt(r.below(bits))) - 1n);
    case 4: return (1n << BigInt(r.below(bits))) - 1n;
    case 5: {
      const cut = BigInt(r.pick([1, 8, 11, 12, 29, 40].filter((n) => n < bits)));
      const high = (r.u64() & all) >> cut << cut;
      return (high | (1n << (cut - 1n))) + BigInt(r.below(3) - 1) & all;
    }
    case 6: return r.u64() & all & r.u64() & r.u64();
    default: return r.u64() & all;
  }
}

/** Biased exponent: special, near the middle, or anywhere. */
function hardExponent(r: Random, bits: number): number {
  const max = (1 << bits) - 1, bias = max >> 1;
  switch (r.below(8)) {
    case 0: return 0;
    case 1: return max;
    case 2: return r.below(3);
    case 3: return max - r.below(4);
    case 4: return bias + r.below(70) - 3;
    case 5: return bias + r.below(9) - 4;
    case 6: return Math.max(0, Math.min(max, r.below(140)));
    default: return r.below(max + 1);
  }
}

export function hard32(r: Random): bigint {
  return (BigInt(r.below(2)) << 31n) | (BigInt(hardExponent(r, 8)) << 23n) | hardBits(r, 23);
}
export function hard64(r: Random): bigint {
  return (BigInt(r.below(2)) << 63n) | (BigInt(hardExponent(r, 11)) << 52n) | hardBits(r, 52);
}
/** Sign-exponent word and significand; now and then an unsupported format. */
export function hard80(r: Random): { se: number; significand: bigint } {
  const kind = r.below(32);
  const exponent = kind === 0 ? 16383 - 1100 + r.below(140) : kind === 1 ? 16383 - 200 + r.below(400) : hardExponent(r, 15);
  const integer = exponent === 0 ? (r.below(8) === 0 ? 1n : 0n) : r.below(24) === 0 ? 0n : 1n;
  return { se: (r.below(2) << 15) | exponent, significand: (integer << 63n) | hardBits(r, 63) };
}
