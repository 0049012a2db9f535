// What the architecture leaves undefined, per mnemonic: flags, and a few results. Everything else must be equal.
import { WORD } from './layout.ts';
import type { Meta } from './cases.ts';

const CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800;
export const ARITHMETIC = CF | PF | AF | ZF | SF | OF;
/** RFLAGS bits compared at all: not TF (ends the case), RF (set in fault frames), VIF, VIP. */
export const COMPARED = ARITHMETIC | 0x200 | 0x400 | 0x3000 | 0x4000 | 0x40000 | 0x200000;

/** The shift count an instruction uses, before it is reduced for rotates through carry. */
export function shiftCount(meta: Meta, input: Uint32Array, base: number): number {
  const last = meta.recipe.operands.at(-1)!, bits = meta.form?.bits ?? 32;
  const raw = last.letter === '1' ? 1 : last.letter === 'C' ? input[base + WORD.gpr + 2]! & 255 : meta.decoded.imm & 255;
  return raw & (bits === 64 ? 63 : 31);
}

/** Undefined flags for a known shift count. */
export function undefinedAfterShift(m: string, bits: number, n: number): number {
  if (n === 0) return 0;
  switch (m) {
    case 'shl': case 'shr': case 'sar': return AF | (n !== 1 ? OF : 0) | (m !== 'sar' && n >= bits ? CF : 0);
    case 'shld': case 'shrd': return n > bits ? ARITHMETIC : AF | (n !== 1 ? OF : 0);
    default: return n !== 1 ? OF : 0;
  }
}

/** Flags an instruction leaves undefined, shifts aside. */
export function undefinedAfter(m: string): number {
  switch (m) {
    case 'and': case 'or': case 'xor': case 'test': return AF;
    case 'andn': case 'blsr': case 'blsmsk': case 'blsi': case 'bzhi': return AF | PF;
    case 'bextr': return SF | AF | PF;
    case 'tzcnt': case 'lzcnt': return OF | SF | AF | PF;
    case 'mul': case 'imul1': case 'imul': case 'imul3': return SF | ZF | AF | PF;
    case 'div': case 'idiv': return ARITHMETIC;
    case 'bsf': case 'bsr': return CF | OF | SF | AF | PF;
    case 'bt': case 'bts': case 'btr': case 'btc': return OF | SF | AF | PF;
    case 'daa': case 'das': return OF;
    case 'aaa': case 'aas': return OF | SF | ZF | PF;
    case 'aam': case 'aad': return OF | AF | CF;
    default: return 0;
  }
}
export const isShift = (m: string): boolean => /^(shl|shr|sar|rol|ror|rcl|rcr|shld|shrd)$/.test(m);

export function undefinedFlags(meta: Meta, input: Uint32Array, base: number): number {
  if (meta.undefinedFlags >= 0) return meta.undefinedFlags;
  // A further prefix may have made another instruction of it.
  const { mnemonic: m } = meta.form && !meta.recipe.fp ? meta.decoded : meta.recipe;
  return isShift(m) ? undefinedAfterShift(m, meta.form?.bits ?? 32, shiftCount(meta, input, base)) : undefinedAfter(m);
}

/** 16-bit double shifts by more than 16: nothing about the outcome is defined. */
export const undefinedResult = (meta: Meta, input: Uint32Array, base: number): boolean =>
  /^sh[lr]d$/.test(meta.recipe.mnemonic) && meta.form?.bits === 16 && shiftCount(meta, input, base) > 16;

/** Bits of FXSAVE words that are compared: not the last-instruction pointers (the maker's choice), not reserved bytes. */
export const FX_MASK: Uint32Array = (() => {
  const mask = new Uint32Array(128);
  mask[0] = 0xffffffff;
  mask[1] = 0xff;
  mask[6] = 0xffffffff;
  for (let s = 0; s < 8; s++) { mask[8 + 4 * s] = mask[9 + 4 * s] = 0xffffffff; mask[10 + 4 * s] = 0xffff; }
  for (let i = 40; i < 104; i++) mask[i] = 0xffffffff;
  return mask;
})();

/** Second bytes of D9 whose results the architecture promises to within an ulp only. */
const TRANSCENDENTAL = new Set([0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff]);
export const transcendental = (meta: Meta): boolean => meta.recipe.mnemonic === 'x87' && meta.decoded.a === 0xd9 && TRANSCENDENTAL.has(meta.decoded.b);
/** A result one unit off in its last place, which may be in the next binade, or C1 (which way it was rounded). */
export function nearlyEqual(host: Uint32Array, ours: Uint32Array, fx: number, word: number): boolean {
  if (word === 0) return ((host[fx]! ^ ours[fx]!) & ~0x02000000) === 0;
  if (word < 8 || word >= 40) return false;
  // Sign and exponent, then the significand below its leading bit: neighbours differ by one.
  const at = fx + (word & ~3), place = (x: Uint32Array): bigint => (BigInt(x[at + 2]! & 0xffff) << 63n) + (BigInt(x[at + 1]! & 0x7fffffff) << 32n) + BigInt(x[at]!);
  const d = place(host) - place(ours);
  return d >= -1n && d <= 1n && (host[at + 1]! ^ ours[at + 1]!) >>> 31 === 0;
}
/** F2XM1 beyond +-1 and FYL2XP1 beyond about -0.29..0.41: any result will do. */
export function outsideDomain(meta: Meta, input: Uint32Array, base: number): boolean {
  if (!transcendental(meta)) return false;
  const exponent = input[base + WORD.fx + 10]! & 0x7fff;
  return meta.decoded.b === 0xf0 && exponent >= 0x3fff || meta.decoded.b === 0xf9 && exponent >= 0x3ffd;
}

const LEAVE_ST0 = new Set([0xf5, 0xf8, 0xfd]), UNDERFLOW_MASKED = 0x10;
/** FPREM, FPREM1 and FSCALE that may leave a denormal as it is, with underflow unmasked: AMD's family 25, which is followed, does not underflow then, family 26 does. */
export const generationsDiffer = (meta: Meta, input: Uint32Array, base: number): boolean => meta.recipe.mnemonic === 'x87' && meta.decoded.a === 0xd9 && LEAVE_ST0.has(meta.decoded.b)
  && (input[base + WORD.fx]! & UNDERFLOW_MASKED) === 0 && (input[base + WORD.fx + 10]! & 0x7fff) === 0;

/** RCPPS and its kin promise a relative error of 1.5 * 2^-12: two answers are within twice that, of one sign. */
export const approximation = (meta: Meta): boolean => /^(rcp|rsqrt)[ps]s$/.test(meta.recipe.mnemonic);
/** RCPPS of about 2^126: whether the result is tiny, and so flushed to 0, is the implementation's own choice (SDM, RCPPS: from 1.111111111101b * 2^125 to 1.00000000000110000000001b * 2^126). */
const borderOfTiny = (a: number, b: number): boolean => Math.min(a, b) === 0 && Math.max(a, b) >= 0x800000 && Math.max(a, b) <= 0x801800;
export const closeSingles = (host: number, ours: number): boolean => host >>> 31 === ours >>> 31
  && (Math.abs(host - ours) <= 0x3000 && (host & 0x7f800000) !== 0x7f800000 || borderOfTiny(host & 0x7fffffff, ours & 0x7fffffff));
