// A floating-point operand taken apart, the same for every format.

import { mask } from './bits.ts';

export const KIND = { zero: 0, normal: 1, denormal: 2, infinity: 3, quiet: 4, signalling: 5, unsupported: 6 } as const;
export type Kind = (typeof KIND)[keyof typeof KIND];

/**
 * Finite values are (-1)^sign * significand * 2^exponent. The significand of a NaN is its 64-bit x87 form
 * (integer bit, quiet bit, payload), so that payloads move between formats by shifting.
 */
export interface Unpacked { kind: Kind; sign: number; exponent: number; significand: bigint }

export const isNaNKind = (v: Unpacked): boolean => v.kind === KIND.quiet || v.kind === KIND.signalling;
export const isFiniteNonZero = (v: Unpacked): boolean => v.kind === KIND.normal || v.kind === KIND.denormal;

export const INTEGER_BIT = 1n << 63n;
export const QUIET_BIT = 1n << 62n;
const FRACTION_52 = mask(52);
const HIDDEN_52 = 1n << 52n;

export function unpack32(bits: number): Unpacked {
  const sign = bits >>> 31, e = (bits >>> 23) & 0xff, f = bits & 0x7fffff;
  if (e === 0) return f === 0 ? { kind: KIND.zero, sign, exponent: 0, significand: 0n } : { kind: KIND.denormal, sign, exponent: -149, significand: BigInt(f) };
  if (e !== 0xff) return { kind: KIND.normal, sign, exponent: e - 150, significand: BigInt(f | 0x800000) };
  if (f === 0) return { kind: KIND.infinity, sign, exponent: 0, significand: 0n };
  return { kind: f & 0x400000 ? KIND.quiet : KIND.signalling, sign, exponent: 0, significand: BigInt(f | 0x800000) << 40n };
}

export function unpack64(bits: bigint): Unpacked {
  const hi = Number(bits >> 32n), sign = hi >>> 31, e = (hi >>> 20) & 0x7ff, f = bits & FRACTION_52;
  if (e === 0) return f === 0n ? { kind: KIND.zero, sign, exponent: 0, significand: 0n } : { kind: KIND.denormal, sign, exponent: -1074, significand: f };
  if (e !== 0x7ff) return { kind: KIND.normal, sign, exponent: e - 1075, significand: f | HIDDEN_52 };
  if (f === 0n) return { kind: KIND.infinity, sign, exponent: 0, significand: 0n };
  return { kind: hi & 0x80000 ? KIND.quiet : KIND.signalling, sign, exponent: 0, significand: (f | HIDDEN_52) << 11n };
}

/** An x87 register: sign and exponent word, significand with its explicit integer bit. */
export function unpack80(signExponent: number, significand: bigint): Unpacked {
  const sign = signExponent >>> 15, e = signExponent & 0x7fff;
  if (e === 0) {
    if (significand === 0n) return { kind: KIND.zero, sign, exponent: 0, significand };
    return { kind: KIND.denormal, sign, exponent: -16445, significand };
  }
  if (significand < INTEGER_BIT) return { kind: KIND.unsupported, sign, exponent: 0, significand };
  if (e !== 0x7fff) return { kind: KIND.normal, sign, exponent: e - 16446, significand };
  if (significand === INTEGER_BIT) return { kind: KIND.infinity, sign, exponent: 0, significand: 0n };
  return { kind: significand & QUIET_BIT ? KIND.quiet : KIND.signalling, sign, exponent: 0, significand };
}

/** A signed integer as an operand. */
export function fromInteger(n: bigint): Unpacked {
  if (n === 0n) return { kind: KIND.zero, sign: 0, exponent: 0, significand: 0n };
  return n < 0n ? { kind: KIND.normal, sign: 1, exponent: 0, significand: -n } : { kind: KIND.normal, sign: 0, exponent: 0, significand: n };
}
