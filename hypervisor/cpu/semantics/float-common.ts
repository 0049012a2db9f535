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
}
const single = { wide: false, ops: f32x4, bitmask: i32x4.bitmask, least: const32([0x800000, 0x800000, 0x800000, 0x800000]), infinity: const32([0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000]) } as const;
const double = { wide: true, ops: f64x2, bitmask: i64x2.bitmask, least: const64([1n << 52n, 1n << 52n]), infinity: const64([0x7ffn << 52n, 0x7ffn << 52n]) } as const;
export const PS: Shape = { suffix: 'ps', scalar: false, all: 15, ...single };
export const SS: Shape = { suffix: 'ss', scalar: true, all: 1, ...single };
export const PD: Shape = { suffix: 'pd', scalar: false, all: 3, ...double };
export const SD: Shape = { suffix: 'sd', scalar: true, all: 1, ...double };
export const SHAPES: readonly Shape[] = [PS, SS, PD, SD];

const MXCSR = S.fx + FX.mxcsr;
export const mxcsr = (x: Insn): I32 => x.state32(MXCSR);
/** Round to nearest, all exceptions masked, no DAZ, no FTZ, and PE (which nearly every result sets) set already. */
export const usual = (x: Insn): I32 => mxcsr(x).and(0xffe0).eq(0x1fa0);
/** DAZ, whose treatment of denormals WebAssembly does not have. */
export const denormalsAreZeros = (x: Insn): I32 => mxcsr(x).and(0x40);

/** Every lane that counts is true in a mask. */
export const holds = (s: Shape, mask: V128): I32 => s.all === 15 || s.all === 3 ? mask.toI32(s.bitmask).eq(s.all) : mask.toI32(s.bitmask).and(1);
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
