// SSE conversions between integers and floating point, between the two formats, and rounding to integral values.

import { BEFORE, DE, IE, PE, TRUNCATE } from './flags.ts';
import type { RoundingMode } from './flags.ts';
import { pow2 } from './bits.ts';
import { roundShift } from './round.ts';
import { fromInteger, isFiniteNonZero, isNaNKind, KIND } from './unpacked.ts';
import type { Unpacked } from './unpacked.ts';
import { infinity, packNaN, packSse, unpackSse } from './sse.ts';
import type { SseFormat, SseResult } from './sse.ts';
import { roundingMode, unmasked } from './mxcsr.ts';

/** CVTSI2SS/SD, CVTDQ2PS, CVTPI2PS: `n` is the signed integer. */
export function sseFromInteger(fmt: SseFormat, n: bigint, mxcsr: number): SseResult {
  const v = fromInteger(n);
  return v.kind === KIND.zero ? { value: 0n, flags: 0 } : packSse(fmt, v, mxcsr, 0);
}

/** The integer nearest to a finite value in a rounding mode. */
export function toIntegral(v: Unpacked, mode: RoundingMode): { value: bigint; inexact: boolean; up: boolean } {
  if (v.exponent >= 0) return { value: v.sign ? -(v.significand << BigInt(v.exponent)) : v.significand << BigInt(v.exponent), inexact: false, up: false };
  // Below 2^-70 every bit is a sticky one.
  const shift = Math.min(-v.exponent, 140);
  const r = roundShift(-v.exponent > 140 ? 1n : v.significand, shift, v.sign, mode);
  return { value: v.sign ? -r.quotient : r.quotient, inexact: r.inexact, up: r.up };
}

/**
 * CVT(T)SS/SD2SI, CVT(T)PS2DQ, CVT(T)PD2DQ, CVT(T)PS2PI: to a signed integer of `bits`, as an unsigned pattern.
 * Out of range and NaN give the "integer indefinite" (only the sign bit set) and IE.
 */
export function sseToInteger(fmt: SseFormat, a: bigint, bits: 32 | 64, truncate: boolean, mxcsr: number): SseResult {
  const v = unpackSse(fmt, a, mxcsr);
  if (v.kind === KIND.zero) return { value: 0n, flags: 0 };
  const indefinite = { value: pow2(bits - 1), flags: IE };
  if (!isFiniteNonZero(v) || v.exponent > 64) return indefinite;
  const r = toIntegral(v, truncate ? TRUNCATE : roundingMode(mxcsr));
  if (r.value >= pow2(bits - 1) || r.value < -pow2(bits - 1)) return indefinite;
  return { value: BigInt.asUintN(bits, r.value), flags: r.inexact ? PE : 0 };
}

/** CVTSS2SD, CVTSD2SS, CVTPS2PD, CVTPD2PS. */
export function sseConvert(from: SseFormat, to: SseFormat, a: bigint, mxcsr: number): SseResult {
  const v = unpackSse(from, a, mxcsr);
  if (isNaNKind(v)) return { value: packNaN(to, v), flags: v.kind === KIND.signalling ? IE : 0 };
  if (v.kind === KIND.infinity) return { value: infinity(to, v.sign), flags: 0 };
  if (v.kind === KIND.zero) return { value: v.sign ? pow2(to - 1) : 0n, flags: 0 };
  const flags = v.kind === KIND.denormal ? DE : 0;
  const result = packSse(to, v, mxcsr, flags);
  if (flags && unmasked(mxcsr, DE)) result.flags &= BEFORE;
  return result;
}

/** ROUNDSS/SD/PS/PD: imm bits 0-1 rounding mode, bit 2 use MXCSR's instead, bit 3 suppress PE. */
export function sseRound(fmt: SseFormat, a: bigint, imm: number, mxcsr: number): SseResult {
  const v = unpackSse(fmt, a, mxcsr);
  if (isNaNKind(v)) return { value: packNaN(fmt, v), flags: v.kind === KIND.signalling ? IE : 0 };
  const signBit = v.sign ? pow2(fmt - 1) : 0n;
  if (v.kind === KIND.zero) return { value: signBit, flags: 0 };
  if (v.kind === KIND.infinity || v.exponent >= 0) return { value: a, flags: 0 };
  const r = toIntegral(v, imm & 4 ? roundingMode(mxcsr) : ((imm & 3) as RoundingMode));
  const flags = r.inexact && !(imm & 8) ? PE : 0;
  if (r.value === 0n) return { value: signBit, flags };
  return { value: packSse(fmt, fromInteger(r.value), 0x1f80, 0).value, flags };
}
