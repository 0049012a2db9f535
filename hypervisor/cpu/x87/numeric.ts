// x87 arithmetic on unpacked operands: special cases, NaN rules, rounding. Touches no state; the caller commits.

import { DE, DOWN, IE, OE, PE, UE, ZE, BEFORE } from '../softfloat/flags.ts';
import type { RoundingMode } from '../softfloat/flags.ts';
import { addExact, compareFinite, divideExact, multiplyExact, rootExact } from '../softfloat/exact.ts';
import type { Exact } from '../softfloat/exact.ts';
import { overflowsToInfinity, round } from '../softfloat/round.ts';
import type { Rounded, Target } from '../softfloat/round.ts';
import { isNaNKind, KIND, QUIET_BIT, INTEGER_BIT } from '../softfloat/unpacked.ts';
import type { Unpacked } from '../softfloat/unpacked.ts';
import { mask } from '../softfloat/bits.ts';
import { f80, INDEFINITE, infinity80, zero } from './state.ts';
import type { F80 } from './state.ts';

/** What of the control word an operation depends on. `masks` are the six mask bits. */
export interface Environment { readonly mode: RoundingMode; readonly target: Target; readonly masks: number }

/** up: C1. Where an unmasked IE, DE or ZE is among the flags the value is not to be used. */
export interface Outcome { value: F80; flags: number; up: boolean }

export const exactly = (value: F80, flags = 0): Outcome => ({ value, flags, up: false });
const invalid = (): Outcome => exactly(INDEFINITE, IE);

/** Unmasked overflow and underflow deliver the result with its exponent moved by this much. */
const WRAP = 24576;

function pack(sign: number, r: Rounded, p: number): F80 {
  const significand = r.significand << BigInt(64 - p);
  const e = significand < INTEGER_BIT ? 0 : r.exponent + 16383;
  return f80((sign << 15) | e, significand);
}

/** Rounds a finite non-zero result into a register. */
export function finish(v: Exact, env: Environment, flags: number): Outcome {
  const { target, mode } = env;
  const r = round(v.sign, v.exponent, v.significand, target, mode);
  const inexact = r.inexact ? PE : 0;
  if (r.exponent > target.maximum) {
    if (!(env.masks & OE)) return wrapped(v, env, -WRAP, flags | OE);
    const toInfinity = overflowsToInfinity(v.sign, mode);
    const value = toInfinity ? infinity80(v.sign) : f80((v.sign << 15) | 0x7ffe, mask(target.precision) << BigInt(64 - target.precision));
    return { value, flags: flags | OE | PE, up: toInfinity };
  }
  if (r.tiny && !(env.masks & UE)) return wrapped(v, env, WRAP, flags | UE);
  return { value: pack(v.sign, r, target.precision), flags: flags | inexact | (r.tiny && r.inexact ? UE : 0), up: r.up };
}

/** The bias-adjusted result of an unmasked overflow or underflow; out of range even so (FSCALE), infinity or zero. */
function wrapped(v: Exact, env: Environment, by: number, flags: number): Outcome {
  const r = round(v.sign, v.exponent + by, v.significand, env.target, env.mode);
  if (r.exponent > env.target.maximum) return { value: infinity80(v.sign), flags: flags | PE, up: true };
  if (r.tiny) return { value: zero(v.sign), flags: flags | PE, up: false };
  return { value: pack(v.sign, r, env.target.precision), flags: r.inexact ? flags | PE : flags, up: r.up };
}

export const quieted = (v: Unpacked): F80 => f80((v.sign << 15) | 0x7fff, v.significand | QUIET_BIT);

/** Of two NaNs the one with the larger significand, and of equal ones the positive; a quiet one before a signalling one. */
export function propagate(a: Unpacked, b: Unpacked): Outcome {
  const flags = a.kind === KIND.signalling || b.kind === KIND.signalling ? IE : 0;
  return exactly(quieted(chooseNaN(a, b)), flags);
}

function chooseNaN(a: Unpacked, b: Unpacked): Unpacked {
  if (!isNaNKind(b)) return a;
  if (!isNaNKind(a)) return b;
  if (a.kind !== b.kind) return a.kind === KIND.quiet ? a : b;
  if (a.significand !== b.significand) return a.significand > b.significand ? a : b;
  return a.sign <= b.sign ? a : b;
}

const isUnsupported = (v: Unpacked): boolean => v.kind === KIND.unsupported;
export const denormalFlag = (a: Unpacked, b: Unpacked): number => (a.kind === KIND.denormal || b.kind === KIND.denormal ? DE : 0);

/** Outcome of unsupported formats and NaNs, or undefined for numbers. */
export function notNumbers(a: Unpacked, b: Unpacked): Outcome | undefined {
  if (isUnsupported(a) || isUnsupported(b)) return invalid();
  return isNaNKind(a) || isNaNKind(b) ? propagate(a, b) : undefined;
}

export type BinaryOperation = (a: Unpacked, b: Unpacked, env: Environment) => Outcome;

function sum(a: Unpacked, b: Unpacked, negate: number, env: Environment): Outcome {
  const special = notNumbers(a, b);
  if (special) return special;
  const flags = denormalFlag(a, b), bSign = b.sign ^ negate;
  if (a.kind === KIND.infinity) return b.kind === KIND.infinity && a.sign !== bSign ? invalid() : exactly(infinity80(a.sign), flags);
  if (b.kind === KIND.infinity) return exactly(infinity80(bSign), flags);
  const zeroSign = env.mode === DOWN ? 1 : 0;
  if (a.kind === KIND.zero && b.kind === KIND.zero) return exactly(zero(a.sign === bSign ? a.sign : zeroSign));
  const exact = a.kind === KIND.zero ? { sign: bSign, exponent: b.exponent, significand: b.significand } : b.kind === KIND.zero ? a : addExact(a, b, negate);
  return exact.significand === 0n ? exactly(zero(zeroSign), flags) : finish(exact, env, flags);
}

export const add80: BinaryOperation = (a, b, env) => sum(a, b, 0, env);
export const subtract80: BinaryOperation = (a, b, env) => sum(a, b, 1, env);
export const subtractReverse80: BinaryOperation = (a, b, env) => sum(b, a, 1, env);

export const multiply80: BinaryOperation = (a, b, env) => {
  const special = notNumbers(a, b);
  if (special) return special;
  const flags = denormalFlag(a, b), sign = a.sign ^ b.sign;
  if (a.kind === KIND.infinity || b.kind === KIND.infinity) return a.kind === KIND.zero || b.kind === KIND.zero ? invalid() : exactly(infinity80(sign), flags);
  if (a.kind === KIND.zero || b.kind === KIND.zero) return exactly(zero(sign), flags);
  return finish(multiplyExact(a, b), env, flags);
};

export const divide80: BinaryOperation = (a, b, env) => {
  const special = notNumbers(a, b);
  if (special) return special;
  const flags = denormalFlag(a, b), sign = a.sign ^ b.sign;
  if (a.kind === KIND.infinity) return b.kind === KIND.infinity ? invalid() : exactly(infinity80(sign), flags);
  if (b.kind === KIND.infinity) return exactly(zero(sign), flags);
  if (b.kind === KIND.zero) return a.kind === KIND.zero ? invalid() : exactly(infinity80(sign), ZE);
  if (a.kind === KIND.zero) return exactly(zero(sign), flags);
  return finish(divideExact(a, b), env, flags);
};
export const divideReverse80: BinaryOperation = (a, b, env) => divide80(b, a, env);

/** NaN and unsupported operands of one-operand instructions. */
export function notNumber(v: Unpacked): Outcome | undefined {
  if (isUnsupported(v)) return invalid();
  return isNaNKind(v) ? exactly(quieted(v), v.kind === KIND.signalling ? IE : 0) : undefined;
}

export function squareRoot80(v: Unpacked, env: Environment): Outcome {
  const special = notNumber(v);
  if (special) return special;
  if (v.kind === KIND.zero) return exactly(zero(v.sign));
  if (v.sign) return invalid();
  if (v.kind === KIND.infinity) return exactly(infinity80(0));
  return finish(rootExact(v), env, v.kind === KIND.denormal ? DE : 0);
}

/** -1, 0, 1, or 2 for unordered; `quiet` compares (FUCOM) raise IE for signalling NaNs and unsupported formats only. */
export function compare80(a: Unpacked, b: Unpacked, quiet: boolean): { relation: number; flags: number } {
  if (isUnsupported(a) || isUnsupported(b)) return { relation: 2, flags: IE };
  if (isNaNKind(a) || isNaNKind(b)) {
    const raises = !quiet || a.kind === KIND.signalling || b.kind === KIND.signalling;
    return { relation: 2, flags: raises ? IE : 0 };
  }
  const flags = denormalFlag(a, b);
  if (a.kind !== KIND.infinity && b.kind !== KIND.infinity) return { relation: compareFinite(a, b), flags };
  const rank = (v: Unpacked): number => (v.kind === KIND.infinity ? (v.sign ? -1 : 1) : 0);
  return { relation: Math.sign(rank(a) - rank(b)), flags };
}

/** Whether these flags keep the operation from being carried out. */
export const blocks = (flags: number, masks: number): boolean => (flags & BEFORE & ~masks) !== 0;
