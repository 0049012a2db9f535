// SSE arithmetic on bit patterns: the slow path for what WebAssembly's own instructions cannot give (rounding
// modes, exception flags, DAZ/FTZ, NaN payloads). f32 patterns occupy the low 32 bits of their bigint.
//
// `flags` are the exceptions this operation raises. Where one of them is unmasked in MXCSR the instruction ends
// in #XM: the caller ORs the flags into MXCSR and writes no result.

import { DE, IE, OE, PE, UE, ZE, BEFORE, DOWN } from './flags.ts';
import { addExact, compareFinite, divideExact, multiplyExact, rootExact } from './exact.ts';
import type { Exact } from './exact.ts';
import { overflowsToInfinity, round, TARGET_32, TARGET_64 } from './round.ts';
import { isNaNKind, KIND, QUIET_BIT, unpack32, unpack64 } from './unpacked.ts';
import type { Unpacked } from './unpacked.ts';
import { mask } from './bits.ts';
import { DAZ, FTZ, unmasked, roundingMode } from './mxcsr.ts';

export type SseFormat = 32 | 64;
export type SseOperation = 'add' | 'sub' | 'mul' | 'div' | 'min' | 'max';
export interface SseResult { value: bigint; flags: number }

const INFINITY_32 = 0x7f800000n, INFINITY_64 = 0x7ff0000000000000n;
const DEFAULT_NAN_32 = 0xffc00000n, DEFAULT_NAN_64 = 0xfff8000000000000n;

export const defaultNaN = (fmt: SseFormat): bigint => (fmt === 32 ? DEFAULT_NAN_32 : DEFAULT_NAN_64);
export const infinity = (fmt: SseFormat, sign: number): bigint => withSign(fmt, sign, fmt === 32 ? INFINITY_32 : INFINITY_64);

function withSign(fmt: SseFormat, sign: number, magnitude: bigint): bigint {
  return sign ? magnitude | (fmt === 32 ? 0x80000000n : 0x8000000000000000n) : magnitude;
}

/** Takes an operand apart; with DAZ a denormal is a zero of its sign. */
export function unpackSse(fmt: SseFormat, bits: bigint, mxcsr: number): Unpacked {
  const v = fmt === 32 ? unpack32(Number(bits & 0xffffffffn)) : unpack64(bits);
  if (v.kind === KIND.denormal && mxcsr & DAZ) return { kind: KIND.zero, sign: v.sign, exponent: 0, significand: 0n };
  return v;
}

/** A NaN operand in this format, quieted. */
export function packNaN(fmt: SseFormat, v: Unpacked): bigint {
  const significand = v.significand | QUIET_BIT;
  const fraction = fmt === 32 ? (significand >> 40n) & mask(23) : (significand >> 11n) & mask(52);
  return withSign(fmt, v.sign, (fmt === 32 ? INFINITY_32 : INFINITY_64) | fraction);
}

/** Rounds and packs a finite non-zero value, raising OE, UE and PE as MXCSR says. */
export function packSse(fmt: SseFormat, v: Exact, mxcsr: number, flags: number): SseResult {
  const target = fmt === 32 ? TARGET_32 : TARGET_64;
  const mode = roundingMode(mxcsr);
  const r = round(v.sign, v.exponent, v.significand, target, mode);
  const fractionBits = BigInt(target.precision - 1);
  if (r.exponent > target.maximum) {
    const top = infinity(fmt, v.sign);
    // With OE unmasked the result is abandoned; PE then tells whether the significand itself was inexact.
    const precision = unmasked(mxcsr, OE) && !r.inexact ? 0 : PE;
    return { value: overflowsToInfinity(v.sign, mode) ? top : top - 1n, flags: flags | OE | precision };
  }
  if (r.tiny) {
    if (unmasked(mxcsr, UE)) {
      const free = round(v.sign, v.exponent, v.significand, target, mode, true);
      return { value: 0n, flags: flags | UE | (free.inexact ? PE : 0) };
    }
    if (mxcsr & FTZ) return { value: withSign(fmt, v.sign, 0n), flags: flags | UE | PE };
  }
  if (r.inexact) flags |= r.tiny ? UE | PE : PE;
  // A significand below the leading-one position is a denormal: its biased exponent is 0, and a carry makes it 1 by itself.
  const biased = BigInt(r.exponent - target.minimum);
  return { value: withSign(fmt, v.sign, (biased << fractionBits) + r.significand), flags };
}

/** The NaN result of two operands of which at least one is a NaN: the first operand's, unless only the second is one. */
function propagate(fmt: SseFormat, a: Unpacked, b: Unpacked): SseResult {
  const flags = a.kind === KIND.signalling || b.kind === KIND.signalling ? IE : 0;
  return { value: packNaN(fmt, isNaNKind(a) ? a : b), flags };
}

const denormalFlag = (a: Unpacked, b: Unpacked): number => (a.kind === KIND.denormal || b.kind === KIND.denormal ? DE : 0);

function add(fmt: SseFormat, a: Unpacked, b: Unpacked, negate: number, mxcsr: number, flags: number): SseResult {
  const bSign = b.sign ^ negate;
  if (a.kind === KIND.infinity) {
    if (b.kind === KIND.infinity && a.sign !== bSign) return { value: defaultNaN(fmt), flags: IE };
    return { value: infinity(fmt, a.sign), flags };
  }
  if (b.kind === KIND.infinity) return { value: infinity(fmt, bSign), flags };
  const zeroSign = roundingMode(mxcsr) === DOWN ? 1 : 0;
  if (a.kind === KIND.zero && b.kind === KIND.zero) return { value: withSign(fmt, a.sign === bSign ? a.sign : zeroSign, 0n), flags };
  const sum = a.kind === KIND.zero ? { ...b, sign: bSign } : b.kind === KIND.zero ? a : addExact(a, b, negate);
  if (sum.significand === 0n) return { value: withSign(fmt, zeroSign, 0n), flags };
  return packSse(fmt, sum, mxcsr, flags);
}

function multiply(fmt: SseFormat, a: Unpacked, b: Unpacked, mxcsr: number, flags: number): SseResult {
  const sign = a.sign ^ b.sign;
  if (a.kind === KIND.infinity || b.kind === KIND.infinity) {
    if (a.kind === KIND.zero || b.kind === KIND.zero) return { value: defaultNaN(fmt), flags: IE };
    return { value: infinity(fmt, sign), flags };
  }
  if (a.kind === KIND.zero || b.kind === KIND.zero) return { value: withSign(fmt, sign, 0n), flags };
  return packSse(fmt, multiplyExact(a, b), mxcsr, flags);
}

function divide(fmt: SseFormat, a: Unpacked, b: Unpacked, mxcsr: number, flags: number): SseResult {
  const sign = a.sign ^ b.sign;
  if (a.kind === KIND.infinity) return b.kind === KIND.infinity ? { value: defaultNaN(fmt), flags: IE } : { value: infinity(fmt, sign), flags };
  if (b.kind === KIND.infinity) return { value: withSign(fmt, sign, 0n), flags };
  if (b.kind === KIND.zero) return a.kind === KIND.zero ? { value: defaultNaN(fmt), flags: IE } : { value: infinity(fmt, sign), flags: ZE };
  if (a.kind === KIND.zero) return { value: withSign(fmt, sign, 0n), flags };
  return packSse(fmt, divideExact(a, b), mxcsr, flags);
}

/** Order of two operands without NaNs. */
function order(a: Unpacked, b: Unpacked): number {
  if (a.kind !== KIND.infinity && b.kind !== KIND.infinity) return compareFinite(a, b);
  const rank = (v: Unpacked): number => (v.kind === KIND.infinity ? (v.sign ? -1 : 1) : 0);
  return Math.sign(rank(a) - rank(b));
}

/** The second operand wins when either is a NaN and when both are zeros. */
function minMax(fmt: SseFormat, wantLess: boolean, a: Unpacked, b: Unpacked, aBits: bigint, bBits: bigint): SseResult {
  const bits = (v: Unpacked, raw: bigint): bigint => (v.kind === KIND.zero ? withSign(fmt, v.sign, 0n) : raw);
  if (isNaNKind(a) || isNaNKind(b)) return { value: bits(b, bBits), flags: IE };
  const relation = order(a, b);
  return { value: (wantLess ? relation < 0 : relation > 0) ? bits(a, aBits) : bits(b, bBits), flags: denormalFlag(a, b) };
}

export function sseBinary(op: SseOperation, fmt: SseFormat, a: bigint, b: bigint, mxcsr: number): SseResult {
  const x = unpackSse(fmt, a, mxcsr), y = unpackSse(fmt, b, mxcsr);
  if (op === 'min' || op === 'max') return minMax(fmt, op === 'min', x, y, a, b);
  if (isNaNKind(x) || isNaNKind(y)) return propagate(fmt, x, y);
  const flags = denormalFlag(x, y);
  // An unmasked denormal operand ends the operation before it starts; invalid and zero divisor still show.
  const quiet = flags && unmasked(mxcsr, DE);
  const result = op === 'add' ? add(fmt, x, y, 0, mxcsr, flags) : op === 'sub' ? add(fmt, x, y, 1, mxcsr, flags)
    : op === 'mul' ? multiply(fmt, x, y, mxcsr, flags) : divide(fmt, x, y, mxcsr, flags);
  if (quiet) result.flags &= BEFORE;
  return result;
}

export function sseSqrt(fmt: SseFormat, a: bigint, mxcsr: number): SseResult {
  const v = unpackSse(fmt, a, mxcsr);
  if (isNaNKind(v)) return { value: packNaN(fmt, v), flags: v.kind === KIND.signalling ? IE : 0 };
  if (v.kind === KIND.zero) return { value: withSign(fmt, v.sign, 0n), flags: 0 };
  if (v.sign) return { value: defaultNaN(fmt), flags: IE };
  if (v.kind === KIND.infinity) return { value: infinity(fmt, 0), flags: 0 };
  const flags = v.kind === KIND.denormal ? DE : 0;
  const result = packSse(fmt, rootExact(v), mxcsr, flags);
  if (flags && unmasked(mxcsr, DE)) result.flags &= BEFORE;
  return result;
}

export const RELATION = { less: -1, equal: 0, greater: 1, unordered: 2 } as const;
export type Relation = -1 | 0 | 1 | 2;

/** Compares; `signalling` predicates (COMISx, LT, LE, NLT, NLE) raise IE for quiet NaNs too. */
export function sseCompare(fmt: SseFormat, a: bigint, b: bigint, signalling: boolean, mxcsr: number): { relation: Relation; flags: number } {
  const x = unpackSse(fmt, a, mxcsr), y = unpackSse(fmt, b, mxcsr);
  if (isNaNKind(x) || isNaNKind(y)) {
    const invalid = signalling || x.kind === KIND.signalling || y.kind === KIND.signalling;
    return { relation: RELATION.unordered, flags: invalid ? IE : 0 };
  }
  return { relation: order(x, y) as Relation, flags: denormalFlag(x, y) };
}

/** CMPccPS/PD/SS/SD with predicate 0..7: whether the mask is all ones. */
export function ssePredicate(fmt: SseFormat, a: bigint, b: bigint, predicate: number, mxcsr: number): { value: boolean; flags: number } {
  const base = predicate & 3;
  const { relation, flags } = sseCompare(fmt, a, b, base === 1 || base === 2, mxcsr);
  const holds = base === 0 ? relation === 0 : base === 1 ? relation === -1 : base === 2 ? relation === -1 || relation === 0 : relation === 2;
  return { value: predicate & 4 ? !holds : holds, flags };
}

/** Flags of a packed operation from those of its elements: an unmasked early exception in any element hides all late ones. */
export function packedFlags(mxcsr: number, elements: readonly number[]): number {
  let all = 0;
  for (const f of elements) all |= f;
  return unmasked(mxcsr, all & BEFORE) ? all & BEFORE : all;
}
