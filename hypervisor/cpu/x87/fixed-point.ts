// Elementary functions in BigInt fixed point with F fraction bits: far more digits than a 64-bit significand
// needs, so that rounding the result once is correct but for arguments nobody will meet.
//
// Functions that vanish with their argument are returned divided by it (sinRatio is sin(r) / r): the quotient
// needs only absolute precision, and multiplying the argument's exact significand back keeps tiny results exact.

import { isqrt } from '../softfloat/bits.ts';

export const F = 192;
const SHIFT = BigInt(F);
export const UNIT = 1n << SHIFT;

export const multiply = (a: bigint, b: bigint): bigint => (a * b) >> SHIFT;
export const divide = (a: bigint, b: bigint): bigint => (a << SHIFT) / b;
/** significand * 2^exponent in fixed point, truncated. */
export const toFixed = (significand: bigint, exponent: number): bigint =>
  (exponent + F >= 0 ? significand << BigInt(exponent + F) : significand >> BigInt(-exponent - F));

/** Sum of z^n / (2n + 1), the odd series of atanh(w) / w in z = w^2. */
function inverseTangentSeries(z: bigint): bigint {
  let sum = 0n, power = UNIT;
  for (let n = 1n; power !== 0n; n += 2n) {
    sum += power / n;
    power = multiply(power, z);
  }
  return sum;
}

/** atan(1 / n). */
function inverseTangentOfReciprocal(n: bigint): bigint {
  let sum = 0n, power = (UNIT << 32n) / n, sign = 1n;
  for (let k = 1n; power !== 0n; k += 2n) {
    sum += (sign * power) / k;
    power /= n * n;
    sign = -sign;
  }
  return sum >> 32n;
}

export const LN2 = (2n * inverseTangentSeries(UNIT / 9n)) / 3n;
export const PI = 16n * inverseTangentOfReciprocal(5n) - 4n * inverseTangentOfReciprocal(239n);
export const LOG2_E = divide(UNIT, LN2);

/** (e^t - 1) / t for |t| <= 1. */
export function exponentialRatio(t: bigint): bigint {
  let sum = 0n, term = UNIT;
  for (let n = 2n; term !== 0n && term !== -1n; n++) {
    sum += term;
    term = multiply(term, t) / n;
  }
  return sum;
}

/** ln(1 + x) / x for x within about [-0.3, 0.5]. */
export function logarithmRatio(x: bigint): bigint {
  const w = divide(x, 2n * UNIT + x);
  return divide(2n * inverseTangentSeries(multiply(w, w)), 2n * UNIT + x);
}

/** ln(m) for m in [0.7, 1.42]. */
export const logarithm = (m: bigint): bigint => multiply(m - UNIT, logarithmRatio(m - UNIT));

export const LOG2_10 = 3n * UNIT + multiply(logarithm((UNIT * 10n) / 8n), LOG2_E);

/** Alternating sum of z^n / (2n + first)! with the given first divisor: sin(r)/r (first 1) and cos(r) (first 0). */
function circular(z: bigint, first: bigint): bigint {
  // The value is below 1; a square too small to show must still keep it there, or directed rounding goes wrong.
  if (z === 0n) return UNIT - 1n;
  let sum = 0n, term = UNIT;
  for (let n = first; term !== 0n; n += 2n) {
    sum += term;
    term = -multiply(term, z) / ((n + 1n) * (n + 2n));
  }
  return sum;
}
export const sinRatio = (r: bigint): bigint => circular(multiply(r, r), 1n);
export const cosine = (r: bigint): bigint => circular(multiply(r, r), 0n);

/** atan(r) / r for small r (up to about 1/16). */
export function arcTangentRatio(r: bigint): bigint {
  const z = multiply(r, r);
  return z === 0n ? UNIT - 1n : inverseTangentSeries(-z);
}

const knots: bigint[] = [];
/** atan(k / 16), found by halving the angle until the series converges. */
function knot(k: number): bigint {
  let r = (UNIT * BigInt(k)) / 16n, doublings = 0n;
  for (; r > UNIT / 20n; doublings++) r = divide(r, UNIT + isqrt((UNIT + multiply(r, r)) << SHIFT));
  return multiply(r, arcTangentRatio(r)) << doublings;
}

/** atan(r) for r in [1/32, 1]. */
export function arcTangent(r: bigint): bigint {
  const k = Number((r * 16n + UNIT / 2n) >> SHIFT);
  const c = (UNIT * BigInt(k)) / 16n;
  const rest = divide(r - c, UNIT + multiply(r, c));
  return (knots[k] ??= knot(k)) + multiply(rest, arcTangentRatio(rest));
}
