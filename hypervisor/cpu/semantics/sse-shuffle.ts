// Shuffles, blends, insertion and extraction. Their immediate is only known when they run, so it is turned into an
// index vector for a swizzle, or into a mask.
import type { Insn } from '../insn.ts';
import { type I32, i32, ld16u, ld32, ld64, ld8u, select, splat16, splat32, splat64, splat8, type V128 } from '../wasm/builder.ts';
import { bitselect, const16, const32, const64, const8, i16x8, i32x4, i64x2, i8x16, iota8, zero128 } from '../wasm/lanes.ts';
import type { Definitions } from './definition.ts';
import { simdDefiner } from './simd-common.ts';

export const sseShuffle: Definitions = new Map();
const simd = simdDefiner(sseShuffle);

const fill32 = (v: number): V128 => const32([v, v, v, v]);
/** Byte indexes for the 32-bit lanes that an immediate's two-bit fields name. Multiplying moves each field to bit 6. */
const lanes32 = (x: Insn): V128 => x.f.let(splat32(x.imm32()).op(i32x4.mul, const32([64, 16, 4, 1])).shift(i32x4.shrU, 6).and(fill32(3))
  .op(i32x4.mul, fill32(0x04040404)).op(i32x4.add, fill32(0x03020100)));
/** The same for four of the eight 16-bit lanes; the others stay. */
const lanes16 = (x: Insn, high: boolean): V128 => {
  const move = [64, 16, 4, 1], stay = [0, 0, 0, 0], base = high ? [0x0100, 0x0302, 0x0504, 0x0706, 0x0908, 0x0908, 0x0908, 0x0908] : [0x0100, 0x0100, 0x0100, 0x0100, 0x0908, 0x0b0a, 0x0d0c, 0x0f0e];
  return splat16(x.imm32()).op(i16x8.mul, const16(high ? [...stay, ...move] : [...move, ...stay])).shift(i16x8.shrU, 6).and(const16(Array<number>(8).fill(3)))
    .op(i16x8.mul, const16(Array<number>(8).fill(0x0202))).op(i16x8.add, const16(base));
};
simd('pshufd', 'w r r', x => x.writeX(0, x.readX(1).op(i8x16.swizzle, lanes32(x))));
simd('pshuflw', 'w r r', x => x.writeX(0, x.readX(1).op(i8x16.swizzle, lanes16(x, false))));
simd('pshufhw', 'w r r', x => x.writeX(0, x.readX(1).op(i8x16.swizzle, lanes16(x, true))));
simd('shufps', 'rw r r', x => {
  const index = lanes32(x);
  x.writeX(0, x.readX(0).op(i8x16.swizzle, index).shuffle(x.readX(1).op(i8x16.swizzle, index), [0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31]));
});
simd('shufpd', 'rw r r', x => {
  const a = x.readX(0), b = x.readX(1), imm = x.imm32();
  x.writeX(0, splat64(select(imm.and(1), a.lane64(1), a.lane64(0))).with64(1, select(imm.and(2), b.lane64(1), b.lane64(0))));
});
simd('pshufb', 'rw r', x => x.writeX(0, x.readX(0).op(i8x16.swizzle, x.readX(1).and(const8(Array<number>(16).fill(x.usesMmx ? 0x87 : 0x8f))))));

// ---- byte shifts: indexes beyond the register give zeros
const atMost = (x: Insn, max: number): I32 => { const n = x.f.let(x.imm32()); return x.f.let(select(n.ltU(max), n, i32(max))); };
const from = (v: V128, start: I32): V128 => v.op(i8x16.swizzle, iota8.op(i8x16.add, splat8(start)));
simd('psrldq', 'rw r', x => x.writeX(0, from(x.readX(0), atMost(x, 16))));
simd('pslldq', 'rw r', x => x.writeX(0, from(x.readX(0), i32(0).sub(atMost(x, 16)))));
simd('palignr', 'rw r r', x => {
  const a = x.readX(0), b = x.readX(1);
  if (x.usesMmx) { x.writeX(0, from(b.with64(1, a.lane64(0)), atMost(x, 16))); return; }
  const n = atMost(x, 32);
  x.writeX(0, from(b, n).or(from(a, n.sub(16))));
});

// ---- blends
const spread = { blendps: [splat32, const32([1, 2, 4, 8]), i32x4.ne], pblendw: [splat16, const16([1, 2, 4, 8, 16, 32, 64, 128]), i16x8.ne] } as const;
for (const [name, [splat, bits, ne]] of Object.entries(spread)) {
  simd(name, 'rw r r', x => x.writeX(0, bitselect(x.readX(1), x.readX(0), splat(x.imm32()).and(bits).op(ne, zero128))));
}
simd('blendpd', 'rw r r', x => x.writeX(0, bitselect(x.readX(1), x.readX(0), splat64(x.imm32().extU()).and(const64([1n, 2n])).op(i64x2.ne, zero128))));
for (const [name, shift, bits] of [['pblendvb', i8x16.shrS, 7], ['blendvps', i32x4.shrS, 31], ['blendvpd', i64x2.shrS, 63]] as const) {
  simd(name, 'rw r', x => x.writeX(0, bitselect(x.readX(1), x.readX(0), x.xmm0().shift(shift, bits))));
}

// ---- insertion and extraction; lanes of registers are read from the state
simd('pinsrb', 'rw r r', x => x.writeX(0, bitselect(splat8(x.read(1).wrap()), x.readX(0), iota8.op(i8x16.eq, splat8(x.imm32().and(15))))));
simd('pinsrw', 'rw r r', x => {
  const lane = x.imm32().and(x.usesMmx ? 3 : 7);
  x.writeX(0, bitselect(splat16(x.read(1).wrap()), x.readX(0), const16([0, 1, 2, 3, 4, 5, 6, 7]).op(i16x8.eq, splat16(lane))));
});
simd('pinsrd', 'rw r r', x => {
  const v = x.read(1);
  x.writeX(0, x.operandBits(1) === 64 ? bitselect(splat64(v), x.readX(0), const64([0n, 1n]).op(i64x2.eq, splat64(x.imm32().and(1).extU())))
    : bitselect(splat32(v.wrap()), x.readX(0), const32([0, 1, 2, 3]).op(i32x4.eq, splat32(x.imm32().and(3)))));
});
simd('pextrb', 'w r r', x => x.write(0, ld8u(x.vectorPointer(1).add(x.imm32().and(15))).extU()));
simd('pextrw', 'w r r', x => x.write(0, ld16u(x.vectorPointer(1).add(x.imm32().and(x.usesMmx ? 3 : 7).shl(1))).extU()));
simd('pextrd', 'w r r', x => {
  const at = x.vectorPointer(1), imm = x.imm32();
  x.write(0, x.operandBits(0) === 64 ? ld64(at.add(imm.and(1).shl(3))) : ld32(at.add(imm.and(3).shl(2))).extU());
});
simd('extractps', 'w r r', x => x.write(0, ld32(x.vectorPointer(1).add(x.imm32().and(3).shl(2))).extU()));
// INSERTPS: bits 7-6 source lane (registers), 5-4 target lane, 3-0 lanes to clear.
simd('insertps', 'rw r r', x => {
  const imm = x.f.let(x.imm32());
  const source = splat32(ld32(x.isMemory(1) ? x.vectorPointer(1) : x.vectorPointer(1).add(imm.shrU(6).and(3).shl(2))));
  const placed = bitselect(source, x.readX(0), const32([0, 1, 2, 3]).op(i32x4.eq, splat32(imm.shrU(4).and(3))));
  x.writeX(0, placed.and(splat32(imm).and(const32([1, 2, 4, 8])).op(i32x4.eq, zero128)));
});
