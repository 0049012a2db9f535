// The x87 elementary functions. Each takes operands apart by kind as the processor's tables say, and leaves the
// finite cases to fixed-point.ts. Results are rounded to 64 bits by the rounding mode, whatever precision control.

import { DE, IE, PE, UE, ZE } from '../softfloat/flags.ts';
import { bitLength } from '../softfloat/bits.ts';
import type { Exact } from '../softfloat/exact.ts';
import { compareFinite, multiplyExact } from '../softfloat/exact.ts';
import { KIND } from '../softfloat/unpacked.ts';
import type { Unpacked } from '../softfloat/unpacked.ts';
import { TARGET_80 } from '../softfloat/round.ts';
import { denormalFlag, exactly, finish, notNumber, notNumbers } from './numeric.ts';
import type { Environment, Outcome } from './numeric.ts';
import { f80, INDEFINITE, infinity80, ONE, zero } from './state.ts';
import type { F80 } from './state.ts';
import * as fixed from './fixed-point.ts';

const F = fixed.F;
const invalid = (): Outcome => exactly(INDEFINITE, IE);
const full = (env: Environment): Environment => ({ ...env, target: TARGET_80 });
/** An irrational result: its last bit stands for the ones that follow. */
const irrational = (sign: number, significand: bigint, exponent: number, env: Environment, flags: number): Outcome =>
  finish({ sign, significand: significand | 1n, exponent }, full(env), flags);
const constant = (sign: number, value: bigint, env: Environment, flags = 0): Outcome => irrational(sign, value, -F, env, flags | PE);
const signed = (v: Unpacked): bigint => (v.sign ? -v.significand : v.significand);
const abs = (n: bigint): bigint => (n < 0n ? -n : n);
/** Exponent of the leading bit. */
const leading = (v: Unpacked): number => bitLength(v.significand) + v.exponent - 1;

/** FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2: rounded by the rounding mode, without flags. */
export function loadConstant(value: bigint, env: Environment): F80 {
  return irrational(0, value, -F, { ...env, masks: 0x3f }, 0).value;
}
export const CONSTANTS = { l2t: fixed.LOG2_10, l2e: fixed.LOG2_E, pi: fixed.PI, lg2: fixed.divide(fixed.UNIT, fixed.LOG2_10), ln2: fixed.LN2 } as const;

/** F2XM1: 2^x - 1 for -1 <= x <= 1; beyond, the processor promises nothing and x is returned. */
export function f2xm1(x: Unpacked, env: Environment): Outcome {
  const special = notNumber(x);
  if (special) return special;
  if (x.kind === KIND.zero) return exactly(zero(x.sign));
  if (x.kind === KIND.infinity) return exactly(x.sign ? f80(0xbfff, ONE.significand) : infinity80(0));
  const flags = x.kind === KIND.denormal ? DE : 0;
  const top = leading(x);
  if (top >= 0) return beyondOne(x, env);
  const t = fixed.multiply(fixed.toFixed(signed(x), x.exponent), fixed.LN2);
  const ratio = fixed.multiply(fixed.LN2, fixed.exponentialRatio(t));
  return irrational(x.sign, x.significand * ratio, x.exponent - F, env, flags);
}

function beyondOne(x: Unpacked, env: Environment): Outcome {
  const one = compareFinite({ ...x, sign: 0 }, { kind: KIND.normal, sign: 0, exponent: 0, significand: 1n }) === 0;
  if (one) return exactly(x.sign ? f80(0xbffe, ONE.significand) : ONE, PE);
  return finish(x, full(env), PE);
}

/** y * log2(x) for finite positive x and finite non-zero y. */
function logarithmTimes(y: Unpacked, x: Unpacked, env: Environment, flags: number): Outcome {
  const length = bitLength(x.significand);
  let e = length + x.exponent - 1;
  const m = x.significand << BigInt(F - length + 1);
  if (m === fixed.UNIT) {
    if (e === 0) return exactly(zero(y.sign), flags);
    const power: Unpacked = { kind: KIND.normal, sign: e < 0 ? 1 : 0, exponent: 0, significand: BigInt(Math.abs(e)) };
    // Processors take every logarithm for inexact, this one too.
    const product = finish(multiplyExact(y, power), full(env), flags | PE);
    return (product.value.se & 0x7fff) === 0 ? { ...product, flags: product.flags | UE } : product;
  }
  let scaled = m;
  if (m > (fixed.UNIT * 3n) / 2n - fixed.UNIT / 12n) { scaled = m >> 1n; e++; }
  const log = BigInt(e) * fixed.UNIT + fixed.multiply(fixed.logarithm(scaled), fixed.LOG2_E);
  return irrational(y.sign ^ (log < 0n ? 1 : 0), y.significand * abs(log), y.exponent - F, env, flags);
}

const compareWithOne = (x: Unpacked): number => compareFinite(x, { kind: KIND.normal, sign: 0, exponent: 0, significand: 1n });

/** FYL2X: y * log2(x), y in ST(1), x in ST(0). */
export function fyl2x(y: Unpacked, x: Unpacked, env: Environment): Outcome {
  const special = notNumbers(y, x);
  if (special) return special;
  const flags = denormalFlag(x, y);
  if (x.sign && x.kind !== KIND.zero) return invalid();
  if (x.kind === KIND.infinity) return y.kind === KIND.zero ? invalid() : exactly(infinity80(y.sign), flags);
  if (x.kind === KIND.zero) {
    if (y.kind === KIND.zero) return invalid();
    return exactly(infinity80(y.sign ^ 1), y.kind === KIND.infinity ? flags : ZE);
  }
  const above = compareWithOne(x);
  if (y.kind === KIND.infinity) return above === 0 ? invalid() : exactly(infinity80(y.sign ^ (above < 0 ? 1 : 0)), flags);
  if (y.kind === KIND.zero) return exactly(zero(y.sign ^ (above < 0 ? 1 : 0)), flags);
  return logarithmTimes(y, x, env, flags);
}

/** FYL2XP1: y * log2(x + 1). Promised for |x| < 1 - sqrt(1/2); computed for all x > -1. */
export function fyl2xp1(y: Unpacked, x: Unpacked, env: Environment): Outcome {
  const special = notNumbers(y, x);
  if (special) return special;
  const flags = denormalFlag(x, y);
  if (x.kind === KIND.infinity) return x.sign || y.kind === KIND.zero ? invalid() : exactly(infinity80(y.sign), flags);
  if (x.kind === KIND.zero) return y.kind === KIND.infinity ? invalid() : exactly(zero(x.sign ^ y.sign), flags);
  if (x.sign && compareWithOne({ ...x, sign: 0 }) >= 0) return invalid();
  if (y.kind === KIND.infinity) return exactly(infinity80(x.sign ^ y.sign), flags);
  if (y.kind === KIND.zero) return exactly(zero(x.sign ^ y.sign), flags);
  if (leading(x) >= -2) {
    const sum = fixed.UNIT + fixed.toFixed(signed(x), x.exponent);
    return logarithmTimes(y, { kind: KIND.normal, sign: 0, exponent: -F, significand: sum }, env, flags);
  }
  const ratio = fixed.multiply(fixed.logarithmRatio(fixed.toFixed(signed(x), x.exponent)), fixed.LOG2_E);
  return irrational(x.sign ^ y.sign, y.significand * x.significand * ratio, y.exponent + x.exponent - F, env, flags);
}

/** |a| / |b| as significand * 2^exponent with some 200 bits. */
function ratioOf(a: Unpacked, b: Unpacked): { significand: bigint; exponent: number } {
  return { significand: (a.significand << 264n) / b.significand, exponent: a.exponent - b.exponent - 264 };
}

/** FPATAN: the angle of the point (x, y), y in ST(1), x in ST(0). */
export function fpatan(y: Unpacked, x: Unpacked, env: Environment): Outcome {
  const special = notNumbers(y, x);
  if (special) return special;
  const flags = denormalFlag(x, y);
  const { PI } = fixed;
  if (y.kind === KIND.infinity) return constant(y.sign, x.kind !== KIND.infinity ? PI >> 1n : x.sign ? (3n * PI) >> 2n : PI >> 2n, env, flags);
  if (x.kind === KIND.infinity || y.kind === KIND.zero) return x.sign ? constant(y.sign, PI, env, flags) : exactly(zero(y.sign), flags);
  if (x.kind === KIND.zero) return constant(y.sign, PI >> 1n, env, flags);
  const steep = compareFinite({ ...y, sign: 0 }, { ...x, sign: 0 }) > 0;
  const r = steep ? ratioOf(x, y) : ratioOf(y, x);
  const small = bitLength(r.significand) + r.exponent < -5;
  const value = fixed.toFixed(r.significand, r.exponent);
  if (small && !steep && !x.sign) return irrational(y.sign, r.significand * fixed.arcTangentRatio(value), r.exponent - F, env, flags);
  let angle = small ? fixed.multiply(value, fixed.arcTangentRatio(value)) : fixed.arcTangent(value);
  if (steep) angle = (PI >> 1n) - angle;
  return irrational(y.sign, x.sign ? PI - angle : angle, -F, env, flags);
}

/** The processor's pi: 66 bits, times 2^66. Arguments are reduced by it, not by pi itself. */
const PI_66 = 0xc90fdaa22168c234cn;

/** x = quadrant * pi/2 + rest (exact). undefined: |x| >= 2^63, the instruction sets C2 and does nothing. */
function reduce(x: Unpacked): { quadrant: number; rest: Exact } | undefined {
  const top = leading(x);
  if (top >= 63) return undefined;
  if (top < -1) return { quadrant: 0, rest: x };
  const magnitude = x.significand << BigInt(x.exponent + 67);
  const quadrant = (2n * magnitude + PI_66) / (2n * PI_66);
  const rest = magnitude - quadrant * PI_66;
  const q = Number(quadrant & 3n);
  return { quadrant: x.sign ? (4 - q) & 3 : q, rest: { sign: x.sign ^ (rest < 0n ? 1 : 0), exponent: -67, significand: abs(rest) } };
}

const fixedRest = (rest: Exact): bigint => fixed.toFixed(rest.significand, rest.exponent);

/** sin of a reduced argument plus `quarter` right angles. */
function circular(rest: Exact, quadrant: number, env: Environment, flags: number): Outcome {
  const negative = quadrant & 2 ? 1 : 0;
  if (quadrant & 1) return irrational(negative, fixed.cosine(fixedRest(rest)), -F, env, flags);
  return irrational(rest.sign ^ negative, rest.significand * fixed.sinRatio(fixedRest(rest)), rest.exponent - F, env, flags);
}

/** FSIN (quarter 0) and FCOS (quarter 1); undefined: out of range (C2). */
export function sine(x: Unpacked, quarter: 0 | 1, env: Environment): Outcome | undefined {
  const special = notNumber(x);
  if (special) return special;
  if (x.kind === KIND.infinity) return invalid();
  if (x.kind === KIND.zero) return exactly(quarter ? ONE : zero(x.sign));
  const reduced = reduce(x);
  if (!reduced) return undefined;
  return circular(reduced.rest, reduced.quadrant + quarter, env, x.kind === KIND.denormal ? DE : 0);
}

/** FPTAN's tangent; undefined: out of range (C2). */
export function tangent(x: Unpacked, env: Environment): Outcome | undefined {
  const special = notNumber(x);
  if (special) return special;
  if (x.kind === KIND.infinity) return invalid();
  if (x.kind === KIND.zero) return exactly(zero(x.sign));
  const reduced = reduce(x);
  if (!reduced) return undefined;
  const { rest, quadrant } = reduced;
  const flags = x.kind === KIND.denormal ? DE : 0;
  const cos = fixed.cosine(fixedRest(rest)), sin = rest.significand * fixed.sinRatio(fixedRest(rest));
  if (quadrant & 1) return irrational(rest.sign ^ 1, (cos << 200n) / sin, -200 - rest.exponent, env, flags);
  return irrational(rest.sign, (sin << 128n) / cos, rest.exponent - 128, env, flags);
}

