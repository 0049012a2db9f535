// RCPPS and RSQRTPS: approximations whose last bits differ between processors. The architecture promises a
// relative error of at most 1.5 * 2^-12. Here: the operand's significand cut to 12 fraction bits, the exact
// function of the middle of that interval rounded to 12 bits after the leading one. No flags, MXCSR unused.

const INFINITE = 0x7f800000;
const DEFAULT_NAN = 0xffc00000;

/** Rounds a fraction in [1, 2) to 12 bits after the point: a 23-bit fraction field, or 2^23 on carry. */
const field = (x: number): number => Math.round((x - 1) * 4096) << 11;
const middle = (bits: number): number => 1 + (((bits & 0x7fffff) >> 11) + 0.5) / 4096;

/** 1/x on f32 patterns (unsigned numbers). */
export function reciprocal(bits: number): number {
  const sign = (bits & 0x80000000) >>> 0, e = (bits >>> 23) & 0xff, f = bits & 0x7fffff;
  if (e === 0xff) return f ? (bits | 0x400000) >>> 0 : sign;
  if (e === 0) return (sign | INFINITE) >>> 0;
  // Powers of two are exact; others are 2/m in (1, 2) with one exponent less.
  const magnitude = f >>> 11 === 0 && f === 0 ? (254 - e) << 23 : ((253 - e) << 23) + field(2 / middle(bits));
  // Results below the smallest normal are flushed to zero, also where rounding would lift them there.
  return magnitude < 0x800000 || e === 253 && f ? sign : (sign | magnitude) >>> 0;
}

/** 1/sqrt(x) on f32 patterns. */
export function reciprocalRoot(bits: number): number {
  const e = (bits >>> 23) & 0xff, f = bits & 0x7fffff;
  if (e === 0xff && f) return (bits | 0x400000) >>> 0;
  if (e === 0) return ((bits & 0x80000000) | INFINITE) >>> 0;
  if (bits >>> 31) return DEFAULT_NAN;
  if (e === 0xff) return 0;
  const odd = (e - 127) & 1;
  const half = (e - 127 - odd) / 2;
  if (f === 0 && !odd) return (127 - half) << 23;
  const m = middle(bits) * (odd ? 2 : 1);
  return ((126 - half) << 23) + field(2 / Math.sqrt(m));
}
