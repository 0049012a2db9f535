// Arithmetic on finite non-zero operands, exact but for a jammed last bit that stands for all lower ones.
// Quotients and roots have at least 67 bits, so no target precision sees the jammed bit as its own.

import { isqrt } from './bits.ts';
import type { Unpacked } from './unpacked.ts';

/** (-1)^sign * significand * 2^exponent; significand 0 only as an exact difference. */
export interface Exact { sign: number; exponent: number; significand: bigint }

/** Beyond this distance the smaller addend is only a sticky bit. */
const FAR = 140;

/** a + b, or a - b with `negate` 1. An exact zero has sign 0: the caller knows its rounding mode. */
export function addExact(a: Unpacked, b: Unpacked, negate: number): Exact {
  const bSign = b.sign ^ negate;
  const distance = a.exponent - b.exponent;
  let x = a.significand, y = b.significand, exponent: number;
  if (distance === 0) exponent = a.exponent;
  else if (distance > 0) {
    if (distance > FAR) { x <<= BigInt(FAR); y = 1n; exponent = a.exponent - FAR; } else { x <<= BigInt(distance); exponent = b.exponent; }
  } else if (distance < -FAR) { y <<= BigInt(FAR); x = 1n; exponent = b.exponent - FAR; } else { y <<= BigInt(-distance); exponent = a.exponent; }
  if (a.sign === bSign) return { sign: a.sign, exponent, significand: x + y };
  const difference = x - y;
  if (difference === 0n) return { sign: 0, exponent, significand: 0n };
  return difference > 0n ? { sign: a.sign, exponent, significand: difference } : { sign: bSign, exponent, significand: -difference };
}

export const multiplyExact = (a: Unpacked, b: Unpacked): Exact =>
  ({ sign: a.sign ^ b.sign, exponent: a.exponent + b.exponent, significand: a.significand * b.significand });

export function divideExact(a: Unpacked, b: Unpacked): Exact {
  const numerator = a.significand << 131n;
  const quotient = numerator / b.significand;
  const significand = quotient * b.significand === numerator ? quotient : quotient | 1n;
  return { sign: a.sign ^ b.sign, exponent: a.exponent - b.exponent - 131, significand };
}

/** Square root of a positive value. */
export function rootExact(a: Unpacked): Exact {
  const shift = a.exponent & 1 ? 135 : 134;
  const n = a.significand << BigInt(shift);
  const root = isqrt(n);
  return { sign: 0, exponent: (a.exponent - shift) / 2, significand: root * root === n ? root : root | 1n };
}

/** Order of two finite operands (zeros included): -1, 0 or 1. */
export function compareFinite(a: Unpacked, b: Unpacked): number {
  const x = a.sign ? -a.significand : a.significand, y = b.sign ? -b.significand : b.significand;
  if (x === 0n || y === 0n || a.sign !== b.sign) return x === y ? 0 : x < y ? -1 : 1;
  const difference = addExact(a, b, 1);
  return difference.significand === 0n ? 0 : difference.sign ? -1 : 1;
}
