// Vector opcodes of WebAssembly (prefix 0xfd), by lane shape.
import { Fn, type I32, i32, ModuleBuilder, type Signature, splat32, splat8, V128 } from './builder.ts';

export const v128op = { not: 77, anyTrue: 83 } as const;
export const i8x16 = {
  swizzle: 14, relaxedSwizzle: 256, eq: 35, ltS: 37, gtS: 39, leU: 42, abs: 96, neg: 97, bitmask: 100, narrowS: 101, narrowU: 102, shl: 107, shrS: 108, shrU: 109,
  add: 110, addSatS: 111, addSatU: 112, sub: 113, subSatS: 114, subSatU: 115, minS: 118, minU: 119, maxS: 120, maxU: 121, avgrU: 123,
} as const;
export const i16x8 = {
  eq: 45, ne: 46, gtS: 49, extaddPairwiseU: 125, abs: 128, neg: 129, q15mulrSatS: 130, bitmask: 132, narrowS: 133, narrowU: 134, extendLowS: 135, extendLowU: 137,
  shl: 139, shrS: 140, shrU: 141, add: 142, addSatS: 143, addSatU: 144, sub: 145, subSatS: 146, subSatU: 147, mul: 149, minS: 150, minU: 151, maxS: 152, maxU: 153, avgrU: 155,
} as const;
export const i32x4 = {
  eq: 55, ne: 56, gtS: 59, extaddPairwiseU: 127, abs: 160, neg: 161, bitmask: 164, extendLowS: 167, extendLowU: 169, shl: 171, shrS: 172, shrU: 173, add: 174, sub: 177, mul: 181,
  minS: 182, minU: 183, maxS: 184, maxU: 185, dotS: 186, extmulLowS: 188, extmulHighS: 189, extmulLowU: 190, extmulHighU: 191, truncSatF32: 248, truncSatF64Zero: 252,
} as const;
export const i64x2 = {
  bitmask: 196, extendLowS: 199, extendLowU: 201, shl: 203, shrS: 204, shrU: 205, add: 206, sub: 209, eq: 214, ne: 215, gtS: 217, extmulLowS: 220, extmulLowU: 222,
} as const;
export const f32x4 = {
  eq: 65, ne: 66, lt: 67, gt: 68, le: 69, ge: 70, demoteZero: 94, ceil: 103, floor: 104, trunc: 105, nearest: 106,
  abs: 224, neg: 225, sqrt: 227, add: 228, sub: 229, mul: 230, div: 231, pmin: 234, pmax: 235, convertI32: 250,
} as const;
export const f64x2 = {
  eq: 71, ne: 72, lt: 73, gt: 74, le: 75, ge: 76, promoteLow: 95, ceil: 116, floor: 117, trunc: 122, nearest: 148,
  abs: 236, neg: 237, sqrt: 239, add: 240, sub: 241, mul: 242, div: 243, pmin: 246, pmax: 247, convertLowI32: 254,
} as const;

/** Bits of `a` where the mask has ones, else of `b`. */
export const bitselect = (a: V128, b: V128, mask: V128): V128 => new V128(a.code + b.code + mask.code + '\xfd\x52');
const constant = (bytes: Uint8Array): V128 => new V128('\xfd\x0c' + String.fromCharCode(...bytes));
/** Vector constants, lowest lane first. */
export const const8 = (lanes: readonly number[]): V128 => constant(Uint8Array.from(lanes));
export const const16 = (lanes: readonly number[]): V128 => constant(new Uint8Array(Uint16Array.from(lanes).buffer));
export const const32 = (lanes: readonly number[]): V128 => constant(new Uint8Array(Uint32Array.from(lanes).buffer));
export const const64 = (lanes: readonly bigint[]): V128 => constant(new Uint8Array(BigUint64Array.from(lanes).buffer));
export const zero128 = const32([0, 0, 0, 0]);
/** Byte numbers 0 to 15. */
export const iota8 = const8(Array.from({ length: 16 }, (_, i) => i));
/** A vector from its 32-bit lanes, lowest first. */
export const fromLanes = (lanes: readonly [I32, I32, I32, I32]): V128 => {
  const v = lanes.reduce((sum, l, n) => n ? sum.with32(n, l) : sum, splat32(lanes[0]));
  v.lanes = lanes;
  return v;
};

/** Looks bytes up by indexes of 0 to 15; those from 0x80 to 0x8f give zeros; for others hosts differ. One instruction, where a swizzle is two. */
export const lookup = (table: V128, indexes: V128): V128 => table.op(i8x16.relaxedSwizzle, indexes);
/** Whether this host's relaxed swizzle is x86's PSHUFB: bit 7 gives zero, of the rest the low four bits count. */
const looksUpAsX86 = ((): boolean => {
  const at: Signature = { params: ['i32'], results: ['i32'] }, m = new ModuleBuilder(), f = new Fn(at);
  f.ret(lookup(iota8.or(splat8(i32(0x40))), splat8(f.param(0, 'i32').get())).lane8u(0));
  m.define(m.declare(at, 'at'), f);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.build()), { e: { mem: new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true }) } });
  const found = exports['at'] as (index: number) => number;
  return Array.from({ length: 256 }, (_, n) => found(n) === (n & 0x80 ? 0 : 0x40 | n & 15)).every(Boolean);
})();
/** PSHUFB. @param mask bits of an index that count, where they are not bit 7 and the low four */
export const byteLookup = (table: V128, indexes: V128, mask?: number): V128 =>
  lookup(table, looksUpAsX86 && mask === undefined ? indexes : indexes.and(const8(Array<number>(16).fill(mask ?? 0x8f))));
