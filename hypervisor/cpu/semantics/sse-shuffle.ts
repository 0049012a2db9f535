// Shuffles, blends, insertion and extraction. A translation knows their immediate: then they are shuffles with constant
// indexes, or name a lane. Elsewhere it is turned into an index vector for a swizzle, or into a mask.
import type { Insn } from '../insn.ts';
import { type I32, type I64, i32, ld16u, ld32, ld64, ld8u, select, splat16, splat32, splat64, splat8, type V128 } from '../wasm/builder.ts';
import { bitselect, byteLookup, const16, const32, const64, i16x8, i32x4, i64x2, i8x16, iota8, zero128 } from '../wasm/lanes.ts';
import type { Definitions } from './definition.ts';
import { simdDefiner } from './simd-common.ts';

export const sseShuffle: Definitions = new Map();
const simd = simdDefiner(sseShuffle);

const known = (x: Insn): number | undefined => x.imm32().constant;
const fill32 = (v: number): V128 => const32([v, v, v, v]);
/** Byte indexes of elements. */
const bytesOf = (bytes: number, elements: readonly number[]): number[] => elements.flatMap(e => Array.from({ length: bytes }, (_, b) => bytes * e + b));
/** An immediate's two-bit fields. */
const fields = (imm: number): [number, number, number, number] => [imm & 3, imm >> 2 & 3, imm >> 4 & 3, imm >> 6 & 3];
/** Byte indexes for the 32-bit lanes that an immediate's fields name. Multiplying moves each field to bit 6. */
const lanes32 = (x: Insn): V128 => x.f.let(splat32(x.imm32()).op(i32x4.mul, const32([64, 16, 4, 1])).shift(i32x4.shrU, 6).and(fill32(3))
  .op(i32x4.mul, fill32(0x04040404)).op(i32x4.add, fill32(0x03020100)));
/** The same for four of the eight 16-bit lanes; the others stay. */
const lanes16 = (x: Insn, high: boolean): V128 => {
  const move = [64, 16, 4, 1], stay = [0, 0, 0, 0], base = high ? [0x0100, 0x0302, 0x0504, 0x0706, 0x0908, 0x0908, 0x0908, 0x0908] : [0x0100, 0x0100, 0x0100, 0x0100, 0x0908, 0x0b0a, 0x0d0c, 0x0f0e];
  return splat16(x.imm32()).op(i16x8.mul, const16(high ? [...stay, ...move] : [...move, ...stay])).shift(i16x8.shrU, 6).and(const16(Array<number>(8).fill(3)))
    .op(i16x8.mul, const16(Array<number>(8).fill(0x0202))).op(i16x8.add, const16(base));
};
const shuffle = (name: string, constant: (imm: number) => number[], computed: (x: Insn) => V128): void => simd(name, 'w r r', x => {
  const v = x.readX(1), imm = known(x);
  x.writeX(0, imm === undefined ? v.op(i8x16.swizzle, computed(x)) : v.shuffle(v, constant(imm)));
});
shuffle('pshufd', imm => bytesOf(4, fields(imm)), lanes32);
shuffle('pshuflw', imm => bytesOf(2, [...fields(imm), 4, 5, 6, 7]), x => lanes16(x, false));
shuffle('pshufhw', imm => bytesOf(2, [0, 1, 2, 3, ...fields(imm).map(n => 4 + n)]), x => lanes16(x, true));
simd('shufps', 'rw r r', x => {
  const a = x.readX(0), b = x.readX(1), imm = known(x);
  if (imm !== undefined) { x.writeX(0, a.shuffle(b, bytesOf(4, fields(imm).map((n, lane) => lane < 2 ? n : 4 + n)))); return; }
  const index = lanes32(x);
  x.writeX(0, a.op(i8x16.swizzle, index).shuffle(b.op(i8x16.swizzle, index), [0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31]));
});
simd('shufpd', 'rw r r', x => {
  const a = x.readX(0), b = x.readX(1), imm = known(x);
  if (imm !== undefined) { x.writeX(0, a.shuffle(b, bytesOf(8, [imm & 1, 2 + (imm >> 1 & 1)]))); return; }
  x.writeX(0, splat64(select(x.imm32().and(1), a.lane64(1), a.lane64(0))).with64(1, select(x.imm32().and(2), b.lane64(1), b.lane64(0))));
});
simd('pshufb', 'rw r', x => x.writeX(0, byteLookup(x.readX(0), x.readX(1), x.usesMmx ? 0x87 : undefined)));

// ---- byte shifts: indexes beyond the register give zeros
const atMost = (x: Insn, max: number): I32 => { const n = x.f.let(x.imm32()); return x.f.let(select(n.ltU(max), n, i32(max))); };
const from = (v: V128, start: I32): V128 => {
  const s = start.constant;
  if (s === undefined) return v.op(i8x16.swizzle, iota8.op(i8x16.add, splat8(start)));
  return v.shuffle(zero128, Array.from({ length: 16 }, (_, n) => s + n >= 0 && s + n < 16 ? s + n : 16 + n));
};
simd('psrldq', 'rw r r', x => x.writeX(0, from(x.readX(0), atMost(x, 16))));
simd('pslldq', 'rw r r', x => x.writeX(0, from(x.readX(0), i32(0).sub(atMost(x, 16)))));
simd('palignr', 'rw r r', x => {
  const a = x.readX(0), b = x.readX(1), n = atMost(x, x.usesMmx ? 16 : 32), at = n.constant;
  if (x.usesMmx) { x.writeX(0, from(x.f.let(b.with64(1, a.lane64(0))), n)); return; }
  x.writeX(0, at !== undefined && at <= 16 ? b.shuffle(a, Array.from({ length: 16 }, (_, i) => at + i)) : at !== undefined ? from(a, i32(at - 16)) : from(b, n).or(from(a, n.sub(16))));
});

// ---- blends
const chosen = (a: V128, b: V128, imm: number, bytes: number): V128 => a.shuffle(b, bytesOf(bytes, Array.from({ length: 16 / bytes }, (_, n) => imm >> n & 1 ? 16 / bytes + n : n)));
const blend = (name: string, bytes: number, mask: (imm: I32) => V128): void => simd(name, 'rw r r', x => {
  const a = x.readX(0), b = x.readX(1), imm = known(x);
  x.writeX(0, imm === undefined ? bitselect(b, a, mask(x.imm32())) : chosen(a, b, imm, bytes));
});
blend('blendps', 4, imm => splat32(imm).and(const32([1, 2, 4, 8])).op(i32x4.ne, zero128));
blend('pblendw', 2, imm => splat16(imm).and(const16([1, 2, 4, 8, 16, 32, 64, 128])).op(i16x8.ne, zero128));
blend('blendpd', 8, imm => splat64(imm.extU()).and(const64([1n, 2n])).op(i64x2.ne, zero128));
for (const [name, shift, bits] of [['pblendvb', i8x16.shrS, 7], ['blendvps', i32x4.shrS, 31], ['blendvpd', i64x2.shrS, 63]] as const) {
  simd(name, 'rw r', x => x.writeX(0, bitselect(x.readX(1), x.readX(0), x.xmm0().shift(shift, bits))));
}

// ---- insertion and extraction; lanes of registers whose number is not known are read from the state
simd('pinsrb', 'rw r r', x => {
  const v = x.read(1).wrap(), to = x.readX(0), imm = known(x);
  x.writeX(0, imm === undefined ? bitselect(splat8(v), to, iota8.op(i8x16.eq, splat8(x.imm32().and(15)))) : to.with8(imm & 15, v));
});
simd('pinsrw', 'rw r r', x => {
  const v = x.read(1).wrap(), to = x.readX(0), last = x.usesMmx ? 3 : 7, imm = known(x);
  x.writeX(0, imm === undefined ? bitselect(splat16(v), to, const16([0, 1, 2, 3, 4, 5, 6, 7]).op(i16x8.eq, splat16(x.imm32().and(last)))) : to.with16(imm & last, v));
});
simd('pinsrd', 'rw r r', x => {
  const v = x.read(1), to = x.readX(0), imm = known(x);
  if (x.operandBits(1) === 64) x.writeX(0, imm === undefined ? bitselect(splat64(v), to, const64([0n, 1n]).op(i64x2.eq, splat64(x.imm32().and(1).extU()))) : to.with64(imm & 1 ? 1 : 0, v));
  else x.writeX(0, imm === undefined ? bitselect(splat32(v.wrap()), to, const32([0, 1, 2, 3]).op(i32x4.eq, splat32(x.imm32().and(3)))) : to.with32(imm & 3, v.wrap()));
});
/** A lane by an immediate's low bits, zero-extended. */
const extracted = (x: Insn, last: number, bytes: number, lane: (v: V128, n: number) => I64, load: (at: I32) => I64): I64 => {
  const imm = known(x);
  return imm === undefined ? load(x.vectorPointer(1).add(x.imm32().and(last).shl(Math.log2(bytes)))) : lane(x.readX(1), imm & last);
};
const dword = (x: Insn): I64 => extracted(x, 3, 4, (v, n) => v.lane32(n).extU(), at => ld32(at).extU());
simd('pextrb', 'w r r', x => x.write(0, extracted(x, 15, 1, (v, n) => v.lane8u(n).extU(), at => ld8u(at).extU())));
simd('pextrw', 'w r r', x => x.write(0, extracted(x, x.usesMmx ? 3 : 7, 2, (v, n) => v.lane16u(n).extU(), at => ld16u(at).extU())));
simd('pextrd', 'w r r', x => x.write(0, x.operandBits(0) === 64 ? extracted(x, 1, 8, (v, n) => v.lane64(n ? 1 : 0), ld64) : dword(x)));
simd('extractps', 'w r r', x => x.write(0, dword(x)));
// INSERTPS: bits 7-6 source lane (registers), 5-4 target lane, 3-0 lanes to clear.
simd('insertps', 'rw r r', x => {
  const imm = x.f.let(x.imm32());
  const source = splat32(ld32(x.isMemory(1) ? x.vectorPointer(1) : x.vectorPointer(1).add(imm.shrU(6).and(3).shl(2))));
  const placed = bitselect(source, x.readX(0), const32([0, 1, 2, 3]).op(i32x4.eq, splat32(imm.shrU(4).and(3))));
  x.writeX(0, placed.and(splat32(imm).and(const32([1, 2, 4, 8])).op(i32x4.eq, zero128)));
});
