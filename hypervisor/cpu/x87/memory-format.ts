// Values on their way between registers and memory: f32, f64, integers and packed decimal.

import { DE, IE, OE, PE, UE } from '../softfloat/flags.ts';
import { mask, pow2 } from '../softfloat/bits.ts';
import type { RoundingMode } from '../softfloat/flags.ts';
import { overflowsToInfinity, round, TARGET_32, TARGET_64 } from '../softfloat/round.ts';
import { toIntegral } from '../softfloat/sse-convert.ts';
import { isFiniteNonZero, isNaNKind, KIND, QUIET_BIT } from '../softfloat/unpacked.ts';
import type { Unpacked } from '../softfloat/unpacked.ts';
import { bitLength } from '../softfloat/bits.ts';
import { f80, infinity80, zero } from './state.ts';
import type { F80 } from './state.ts';
import type { Environment } from './numeric.ts';

/** value: what goes to memory. blocked: an unmasked exception keeps it from being stored. */
export interface Stored { value: bigint; flags: number; up: boolean }

/** Any f32 or f64 operand as a register; exact. NaNs are quieted (the caller raises IE). */
export function widen(v: Unpacked): F80 {
  const sign = v.sign << 15;
  if (v.kind === KIND.zero) return zero(v.sign);
  if (v.kind === KIND.infinity) return infinity80(v.sign);
  if (isNaNKind(v)) return f80(sign | 0x7fff, v.significand | QUIET_BIT);
  const length = bitLength(v.significand);
  return f80(sign | (v.exponent + length - 1 + 16383), v.significand << BigInt(64 - length));
}

/** FST m32/m64: rounds to the format; overflow and underflow as arithmetic has them. */
export function narrow(v: Unpacked, bits: 32 | 64, env: Environment): Stored {
  const target = bits === 32 ? TARGET_32 : TARGET_64;
  const fraction = target.precision - 1;
  const sign = v.sign ? pow2(bits - 1) : 0n;
  const infinite = mask(bits - 1 - fraction) << BigInt(fraction);
  if (v.kind === KIND.unsupported) return { value: pow2(bits - 1) | infinite | pow2(fraction - 1), flags: IE, up: false };
  if (isNaNKind(v)) return { value: sign | infinite | (((v.significand | QUIET_BIT) >> BigInt(63 - fraction)) & mask(fraction)), flags: v.kind === KIND.signalling ? IE : 0, up: false };
  if (v.kind === KIND.zero) return { value: sign, flags: 0, up: false };
  if (v.kind === KIND.infinity) return { value: sign | infinite, flags: 0, up: false };
  const r = round(v.sign, v.exponent, v.significand, target, env.mode);
  if (r.exponent > target.maximum) {
    // Unmasked, nothing is stored, so nothing is inexact.
    if (!(env.masks & OE)) return { value: 0n, flags: OE, up: false };
    const toInfinity = overflowsToInfinity(v.sign, env.mode);
    return { value: sign | (toInfinity ? infinite : infinite - 1n), flags: OE | PE, up: toInfinity };
  }
  const value = sign | ((BigInt(r.exponent - target.minimum) << BigInt(fraction)) + r.significand);
  if (r.tiny && !(env.masks & UE)) return { value, flags: UE, up: false };
  return { value, flags: (r.inexact ? PE : 0) | (r.tiny && r.inexact ? UE : 0), up: r.up };
}

/** FIST(P), FISTTP: a signed integer of `bits`; out of range and NaN give the indefinite integer. */
export function toInteger(v: Unpacked, bits: number, mode: RoundingMode): Stored {
  if (v.kind === KIND.zero) return { value: 0n, flags: 0, up: false };
  const indefinite: Stored = { value: pow2(bits - 1), flags: IE, up: false };
  if (!isFiniteNonZero(v) || v.exponent > 0) return indefinite;
  const r = toIntegral(v, mode);
  if (r.value >= pow2(bits - 1) || r.value < -pow2(bits - 1)) return indefinite;
  return { value: BigInt.asUintN(bits, r.value), flags: r.inexact ? PE : 0, up: r.up };
}

/** The 80-bit pattern of a packed decimal stored for invalid operands. */
export const DECIMAL_INDEFINITE = 0xffffc000000000000000n;
const DECIMAL_LIMIT = 10n ** 18n;

/** FBSTP: 18 decimal digits, two a byte, sign in the top byte. */
export function toDecimal(v: Unpacked, mode: RoundingMode): Stored {
  const sign = v.sign ? pow2(79) : 0n;
  if (v.kind === KIND.zero) return { value: sign, flags: 0, up: false };
  const indefinite: Stored = { value: DECIMAL_INDEFINITE, flags: IE, up: false };
  if (!isFiniteNonZero(v) || v.exponent > 0) return indefinite;
  const r = toIntegral(v, mode);
  const magnitude = r.value < 0n ? -r.value : r.value;
  if (magnitude >= DECIMAL_LIMIT) return indefinite;
  return { value: sign | BigInt('0x' + magnitude.toString()), flags: r.inexact ? PE : 0, up: r.up };
}

/** FBLD: digits above 9 are undefined; each counts its weight all the same. */
export function fromDecimal(pattern: bigint): F80 {
  let magnitude = 0n;
  for (let i = 17; i >= 0; i--) magnitude = magnitude * 10n + ((pattern >> BigInt(4 * i)) & 15n);
  return integer80(pattern >> 79n ? 1 : 0, magnitude);
}

/** An integer below 2^64 in magnitude as a register. */
export function integer80(sign: number, magnitude: bigint): F80 {
  if (magnitude === 0n) return zero(sign);
  const length = bitLength(magnitude);
  return f80((sign << 15) | (16382 + length), magnitude << BigInt(64 - length));
}

/** Flags that loading an operand from memory raises. */
export const loadFlags = (v: Unpacked): number => (v.kind === KIND.signalling ? IE : v.kind === KIND.denormal ? DE : 0);
