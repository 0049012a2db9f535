// Rounding an exact value to a precision and exponent range.

import { bitLength, mask, pow2 } from './bits.ts';
import { DOWN, NEAREST, UP } from './flags.ts';
import type { RoundingMode } from './flags.ts';

/** precision: bits of the significand with its leading one; normal values are 1.x * 2^minimum .. 1.x * 2^maximum. */
export interface Target { readonly precision: number; readonly minimum: number; readonly maximum: number }

export const TARGET_32: Target = { precision: 24, minimum: -126, maximum: 127 };
export const TARGET_64: Target = { precision: 53, minimum: -1022, maximum: 1023 };
export const TARGET_80: Target = { precision: 64, minimum: -16382, maximum: 16383 };
/** x87 registers under precision control: fewer bits, the full exponent range. */
export const TARGET_80_24: Target = { precision: 24, minimum: -16382, maximum: 16383 };
export const TARGET_80_53: Target = { precision: 53, minimum: -16382, maximum: 16383 };

export interface Rounded {
  /** Value is significand * 2^(exponent - precision + 1); below 2^(precision-1) only for denormals (exponent = minimum). */
  significand: bigint;
  exponent: number;
  inexact: boolean;
  /** The magnitude was rounded up. */
  up: boolean;
  /** Tiny after rounding as if the exponent range were unbounded. */
  tiny: boolean;
}

/** Whether significand / 2^shift rounds away from zero. Jammed bits below count. */
function roundsUp(quotient: bigint, rest: bigint, shift: number, sign: number, mode: RoundingMode): boolean {
  if (mode === NEAREST) {
    const half = pow2(shift - 1);
    return rest > half || (rest === half && (quotient & 1n) === 1n);
  }
  return mode === (sign ? DOWN : UP);
}

/** Rounds significand / 2^shift (shift > 0) to an integer. */
export function roundShift(significand: bigint, shift: number, sign: number, mode: RoundingMode): { quotient: bigint; inexact: boolean; up: boolean } {
  const quotient = significand >> BigInt(shift);
  const rest = significand & mask(shift);
  if (rest === 0n) return { quotient, inexact: false, up: false };
  const up = roundsUp(quotient, rest, shift, sign, mode);
  return { quotient: up ? quotient + 1n : quotient, inexact: true, up };
}

/**
 * Rounds significand * 2^exponent (significand > 0; a jammed last bit needs two more bits below the precision).
 * The exponent of the result may exceed target.maximum: overflow is the caller's to handle.
 */
export function round(sign: number, exponent: number, significand: bigint, target: Target, mode: RoundingMode, unbounded = false): Rounded {
  const p = target.precision;
  const top = bitLength(significand) + exponent - 1;
  const denormal = top < target.minimum && !unbounded;
  const place = denormal ? target.minimum : top;
  const shift = place - (p - 1) - exponent;
  if (shift <= 0) return { significand: significand << BigInt(-shift), exponent: place, inexact: false, up: false, tiny: top < target.minimum };
  const { quotient, inexact, up } = roundShift(significand, shift, sign, mode);
  let tiny = top < target.minimum;
  if (denormal) {
    if (inexact && top === target.minimum - 1) tiny = roundShift(significand, shift - 1, sign, mode).quotient !== pow2(p);
    return { significand: quotient, exponent: place, inexact, up, tiny };
  }
  if (up && quotient === pow2(p)) return { significand: pow2(p - 1), exponent: place + 1, inexact, up, tiny };
  return { significand: quotient, exponent: place, inexact, up, tiny };
}

/** Whether overflow under this mode gives infinity (else the largest finite value). */
export const overflowsToInfinity = (sign: number, mode: RoundingMode): boolean => mode === NEAREST || mode === (sign ? DOWN : UP);
