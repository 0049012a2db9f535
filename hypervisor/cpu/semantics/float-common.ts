// The four shapes of SSE floating-point instructions, and when WebAssembly's own arithmetic gives exactly what x86
// gives. Everything else goes to the slow path (sse-helper.ts), which knows every mode and flag.
import { HELPER } from '../helpers.ts';
import type { Insn } from '../insn.ts';
import { FX, S } from '../state.ts';
import type { I32, V128 } from '../wasm/builder.ts';
import { const32, const64, f32x4, f64x2, i32x4, i64x2, zero128 } from '../wasm/lanes.ts';

export interface Shape {
  readonly suffix: 'ps' | 'ss' | 'pd' | 'sd';
  readonly scalar: boolean;
  readonly wide: boolean;
  readonly ops: typeof f32x4 | typeof f64x2;
  /** Lanes that count, as the bits that `bitmask` gives. */
  readonly all: number;
  readonly bitmask: number;
  /** Smallest normal number and infinity, in every lane. */
  readonly least: V128; readonly infinity: V128;
  /** Between these bounds products of halves neither overflow nor lose bits; times `split`, a number falls in halves. */
  readonly small: V128; readonly large: V128; readonly split: V128;
}
const four = (v: number): V128 => const32([v, v, v, v]), two = (v: bigint): V128 => const64([v, v]);
const single = { wide: false, ops: f32x4, bitmask: i32x4.bitmask, least: four(0x800000), infinity: four(0x7f800000), small: four(0x0f800000), large: four(0x76800000), split: four(0x45800800) } as const;
const double = { wide: true, ops: f64x2, bitmask: i64x2.bitmask, least: two(1n << 52n), infinity: two(0x7ffn << 52n), small: two(0x07bn << 52n), large: two(0x783n << 52n), split: two(0x41a0000002000000n) } as const;
export const PS: Shape = { suffix: 'ps', scalar: false, all: 15, ...single };
export const SS: Shape = { suffix: 'ss', scalar: true, all: 1, ...single };
export const PD: Shape = { suffix: 'pd', scalar: false, all: 3, ...double };
export const SD: Shape = { suffix: 'sd', scalar: true, all: 1, ...double };
export const SHAPES: readonly Shape[] = [PS, SS, PD, SD];

const MXCSR = S.fx + FX.mxcsr;
export const mxcsr = (x: Insn): I32 => x.state32(MXCSR);
const MODES = 0x7f80, PE = 0x20, MASKED = 0x1f80;
/** Round to nearest, all exceptions masked. DAZ and FTZ do not matter to operands and results that are not denormal. */
export const usual = (x: Insn): I32 => mxcsr(x).and(MODES).eq(MASKED);
/** The same, and PE is set already, so that nobody needs to know whether a result is exact. */
export const usualAndInexact = (x: Insn): I32 => mxcsr(x).and(MODES | PE).eq(MASKED | PE);
/** Sets PE when `inexact` is 1. */
export const noteInexact = (x: Insn, inexact: I32): void => x.setState32(MXCSR, mxcsr(x).or(inexact.shl(5)));
/** PE is masked: an inexact result needs no more than the flag. */
export const mayNoteInexact = (x: Insn): I32 => mxcsr(x).shrU(12).and(1);

/** Every lane that counts is true in a mask. */
export const holds = (s: Shape, mask: V128): I32 => mask.toI32(s.bitmask).and(s.all).eq(s.all);
/** Lanes that are zero, normal or infinite: not NaN, and not denormal, which would raise DE. */
export const plain = (s: Shape, v: V128): V128 => v.un(s.ops.abs).op(s.ops.ge, s.least).or(v.op(s.ops.eq, zero128));
export const finite = (s: Shape, v: V128): V128 => v.un(s.ops.abs).op(s.ops.lt, s.infinity);
/** Lanes surely normal: the smallest normal number may be a rounded denormal, which underflows. */
export const normal = (s: Shape, v: V128): V128 => v.un(s.ops.abs).op(s.ops.gt, s.least).and(finite(s, v));
export const isZero = (s: Shape, v: V128): V128 => v.op(s.ops.eq, zero128);

/** The destination with the low element replaced, for scalars. */
export function merge(s: Shape, into: V128, v: V128): V128 {
  if (!s.scalar) return v;
  return s.wide ? into.with64(0, v.lane64(0)) : into.with32(0, v.lane32(0));
}
/** The slow path of this instruction; it carries it out whole. */
export function slow(x: Insn): void { x.helper(HELPER.sse, x.pointer ?? 0); }

// ---- what an operation rounded away, as a number (zero: exact; NaN: it cannot be told)
type Lanes = (a: V128, b: V128) => V128;
const operators = (s: Shape): { add: Lanes; sub: Lanes; mul: Lanes } => ({ add: (a, b) => a.op(s.ops.add, b), sub: (a, b) => a.op(s.ops.sub, b), mul: (a, b) => a.op(s.ops.mul, b) });
/** Of r = a + b (Knuth's two-sum). */
export function sumError(x: Insn, s: Shape, a: V128, b: V128, r: V128): V128 {
  const { add, sub } = operators(s), part = x.f.let(sub(r, a));
  return x.f.let(add(sub(a, sub(r, part)), sub(b, part)));
}
/** Of p = a * b, for moderate numbers (Dekker's product of halves). */
export function productError(x: Insn, s: Shape, a: V128, b: V128, p: V128): V128 {
  const { add, sub, mul } = operators(s), { f } = x;
  const halves = (v: V128): [V128, V128] => { const t = f.let(mul(v, s.split)), high = f.let(sub(t, sub(t, v))); return [high, f.let(sub(v, high))]; };
  const [ah, al] = halves(a), [bh, bl] = halves(b);
  return f.let(add(add(add(sub(mul(ah, bh), p), mul(ah, bl)), mul(al, bh)), mul(al, bl)));
}
/** Lanes that are zero or far from overflow and underflow. */
export const moderate = (s: Shape, v: V128): V128 => { const m = v.un(s.ops.abs); return m.op(s.ops.gt, s.small).and(m.op(s.ops.lt, s.large)).or(isZero(s, v)); };
/** Any lane that counts is true. */
export const some = (s: Shape, mask: V128): I32 => mask.toI32(s.bitmask).and(s.all).ne(0);
