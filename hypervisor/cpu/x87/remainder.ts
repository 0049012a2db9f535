// FPREM, FPREM1, FSCALE, FXTRACT, FRNDINT: operations that take an operand's exponent apart.

import { DE, IE, PE, UE, ZE } from '../softfloat/flags.ts';
import { bitLength } from '../softfloat/bits.ts';
import { toIntegral } from '../softfloat/sse-convert.ts';
import { TARGET_80 } from '../softfloat/round.ts';
import { KIND } from '../softfloat/unpacked.ts';
import type { Unpacked } from '../softfloat/unpacked.ts';
import { SW } from './layout.ts';
import { denormalFlag, exactly, finish, notNumber, notNumbers } from './numeric.ts';
import type { Environment, Outcome } from './numeric.ts';
import { integer80 } from './memory-format.ts';
import { f80, INDEFINITE, infinity80, zero } from './state.ts';
import type { F80 } from './state.ts';

const invalid = (): Outcome => exactly(INDEFINITE, IE);
const leading = (v: Unpacked): number => bitLength(v.significand) + v.exponent - 1;
const full = (env: Environment): Environment => ({ ...env, target: TARGET_80 });
/** The finite operand itself, as a register value. */
const same = (v: Unpacked, env: Environment, flags: number): Outcome => (v.kind === KIND.zero ? exactly(zero(v.sign), flags) : finish(v, full(env), flags));

/** conditions: C0, C1, C2, C3 for the status word; undefined: C0 and C3 keep what they had, C1 and C2 become 0. */
export interface Remainder extends Outcome { conditions: number | undefined }

/** The three low quotient bits: Q2 in C0, Q1 in C3, Q0 in C1. */
const quotientBits = (q: bigint): number => (q & 4n ? SW.C0 : 0) | (q & 2n ? SW.C3 : 0) | (q & 1n ? SW.C1 : 0);

/** FPREM (truncated quotient) or FPREM1 (nearest): up to 63 quotient bits at once, else a partial step and C2. */
export function remainder(a: Unpacked, b: Unpacked, nearest: boolean, env: Environment): Remainder {
  const special = notNumbers(a, b);
  if (special) return { ...special, conditions: undefined };
  if (a.kind === KIND.infinity || b.kind === KIND.zero) return { ...invalid(), conditions: undefined };
  const flags = denormalFlag(a, b);
  if (a.kind === KIND.zero) return { ...same(a, env, flags), conditions: 0 };
  // Left as it is: a denormal does not even underflow, which it does where a finite divisor is larger.
  if (b.kind === KIND.infinity) return { ...same(a, { ...env, masks: env.masks | UE }, flags), conditions: 0 };
  const distance = leading(a) - leading(b);
  if (distance < -1) return { ...same(a, env, flags), conditions: 0 };
  if (distance >= 64) return partial(a, b, distance, env, flags);
  const exponent = Math.min(a.exponent, b.exponent);
  const x = a.significand << BigInt(a.exponent - exponent), y = b.significand << BigInt(b.exponent - exponent);
  let q = x / y, rest = x - q * y, sign = a.sign;
  if (nearest && (2n * rest > y || (2n * rest === y && (q & 1n) === 1n))) { q++; rest = y - rest; sign ^= 1; }
  const conditions = quotientBits(q);
  if (rest === 0n) return { ...exactly(zero(a.sign), flags), conditions };
  return { ...finish({ sign, exponent, significand: rest }, full(env), flags), conditions };
}

/** Reduces the exponent distance by 32 to 63, leaving a multiple of 32 below. */
function partial(a: Unpacked, b: Unpacked, distance: number, env: Environment, flags: number): Remainder {
  const n = 32 + (distance & 31);
  const scaled = b.exponent + distance - n;
  const exponent = Math.min(a.exponent, scaled);
  const rest = (a.significand << BigInt(a.exponent - exponent)) % (b.significand << BigInt(scaled - exponent));
  const outcome = rest === 0n ? exactly(zero(a.sign), flags) : finish({ sign: a.sign, exponent, significand: rest }, full(env), flags);
  return { ...outcome, conditions: SW.C2 };
}

/** Powers of two beyond this overflow or vanish whatever they scale. */
const SCALE_LIMIT = 0x10000n;

/** FSCALE: a * 2^trunc(b). */
export function scale(a: Unpacked, b: Unpacked, env: Environment): Outcome {
  const special = notNumbers(a, b);
  if (special) return special;
  const flags = denormalFlag(a, b);
  if (b.kind === KIND.infinity) {
    if (b.sign) return a.kind === KIND.infinity ? invalid() : exactly(zero(a.sign), flags);
    return a.kind === KIND.zero ? invalid() : exactly(infinity80(a.sign), flags);
  }
  if (a.kind === KIND.infinity) return exactly(infinity80(a.sign), flags);
  if (a.kind === KIND.zero) return exactly(zero(a.sign), flags);
  // A zero leaves the operand as it is, tiny or not; what is only cut to zero does not.
  if (b.kind === KIND.zero) return finish(a, full({ ...env, masks: env.masks | UE }), flags);
  const n = leading(b) > 20 ? (b.sign ? -SCALE_LIMIT : SCALE_LIMIT) : toIntegral(b, 3).value;
  const by = n > SCALE_LIMIT ? SCALE_LIMIT : n < -SCALE_LIMIT ? -SCALE_LIMIT : n;
  return finish({ sign: a.sign, exponent: a.exponent + Number(by), significand: a.significand }, full(env), flags);
}

/** FXTRACT: the exponent, to replace ST(0), and the significand, to be pushed. */
export function extract(v: Unpacked): { exponent: F80; significand: F80; flags: number } {
  const special = notNumber(v);
  if (special) return { exponent: special.value, significand: special.value, flags: special.flags };
  if (v.kind === KIND.infinity) return { exponent: infinity80(0), significand: infinity80(v.sign), flags: 0 };
  if (v.kind === KIND.zero) return { exponent: infinity80(1), significand: zero(v.sign), flags: ZE };
  const e = leading(v);
  const significand = f80((v.sign << 15) | 0x3fff, v.significand << BigInt(64 - bitLength(v.significand)));
  return { exponent: integer80(e < 0 ? 1 : 0, BigInt(Math.abs(e))), significand, flags: v.kind === KIND.denormal ? DE : 0 };
}

/** FRNDINT. */
export function roundToIntegral(v: Unpacked, env: Environment): Outcome {
  const special = notNumber(v);
  if (special) return special;
  if (v.kind === KIND.infinity) return exactly(infinity80(v.sign));
  if (v.kind === KIND.zero) return exactly(zero(v.sign));
  const flags = v.kind === KIND.denormal ? DE : 0;
  if (v.exponent >= 0) return same(v, env, flags);
  const r = toIntegral(v, env.mode);
  return { value: integer80(v.sign, r.value < 0n ? -r.value : r.value), flags: r.inexact ? flags | PE : flags, up: r.up };
}
