// Packed integer arithmetic, comparison, packing and shifts. The operations of both register files are written once,
// for 16 bytes; on MMX registers the upper halves are zero and dropped, or the halves are rearranged first.
import type { Insn } from '../insn.ts';
import { type I32, i32, i64, select, splat16, splat8, type V128 } from '../wasm/builder.ts';
import { const16, const64, const8, i16x8, i32x4, i64x2, i8x16, zero128 } from '../wasm/lanes.ts';
import type { Definitions } from './definition.ts';
import { simdDefiner } from './simd-common.ts';

export const sseInteger: Definitions = new Map();
const simd = simdDefiner(sseInteger);

type Operation = (a: V128, b: V128, x: Insn) => V128;
/** Lane by lane: what is in a lane depends on the same lane of the operands alone. */
const lanes = (name: string, op: Operation): void => simd(name, 'rw r', x => x.writeX(0, op(x.readX(0), x.readX(1), x)));
/** The result's low half comes from the first operand, its high half from the second. */
const halves = (name: string, op: Operation): void => simd(name, 'rw r', x => {
  const a = x.readX(0), b = x.readX(1);
  if (!x.usesMmx) { x.writeX(0, op(a, b, x)); return; }
  const both = x.f.let(a.with64(1, b.lane64(0)));
  x.writeX(0, op(both, both, x));
});
const table = (list: Record<string, number>, kind = lanes): void => { for (const [name, opcode] of Object.entries(list)) kind(name, (a, b) => a.op(opcode, b)); };

table({
  paddb: i8x16.add, paddw: i16x8.add, paddd: i32x4.add, paddq: i64x2.add, psubb: i8x16.sub, psubw: i16x8.sub, psubd: i32x4.sub, psubq: i64x2.sub,
  paddsb: i8x16.addSatS, paddsw: i16x8.addSatS, paddusb: i8x16.addSatU, paddusw: i16x8.addSatU, psubsb: i8x16.subSatS, psubsw: i16x8.subSatS, psubusb: i8x16.subSatU, psubusw: i16x8.subSatU,
  pcmpeqb: i8x16.eq, pcmpeqw: i16x8.eq, pcmpeqd: i32x4.eq, pcmpeqq: i64x2.eq, pcmpgtb: i8x16.gtS, pcmpgtw: i16x8.gtS, pcmpgtd: i32x4.gtS, pcmpgtq: i64x2.gtS,
  pminub: i8x16.minU, pminsb: i8x16.minS, pminuw: i16x8.minU, pminsw: i16x8.minS, pminud: i32x4.minU, pminsd: i32x4.minS,
  pmaxub: i8x16.maxU, pmaxsb: i8x16.maxS, pmaxuw: i16x8.maxU, pmaxsw: i16x8.maxS, pmaxud: i32x4.maxU, pmaxsd: i32x4.maxS,
  pavgb: i8x16.avgrU, pavgw: i16x8.avgrU, pmullw: i16x8.mul, pmulld: i32x4.mul, pmaddwd: i32x4.dotS,
});
lanes('pand', (a, b) => a.and(b));
lanes('por', (a, b) => a.or(b));
lanes('pxor', (a, b) => a.xor(b));
lanes('pandn', (a, b) => b.andnot(a));
table({ packsswb: i8x16.narrowS, packuswb: i8x16.narrowU, packssdw: i16x8.narrowS, packusdw: i16x8.narrowU }, halves);

// ---- multiplication
const highHalves = Array.from({ length: 8 }, (_, i) => [4 * i + 2, 4 * i + 3]).flat();
lanes('pmulhw', (a, b, x) => x.f.let(a.op(i32x4.extmulLowS, b)).shuffle(a.op(i32x4.extmulHighS, b), highHalves));
lanes('pmulhuw', (a, b, x) => x.f.let(a.op(i32x4.extmulLowU, b)).shuffle(a.op(i32x4.extmulHighU, b), highHalves));
const even32 = [0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11];
lanes('pmuludq', (a, b) => a.shuffle(a, even32).op(i64x2.extmulLowU, b.shuffle(b, even32)));
lanes('pmuldq', (a, b) => a.shuffle(a, even32).op(i64x2.extmulLowS, b.shuffle(b, even32)));
// -1 times -1 does not saturate on x86.
lanes('pmulhrsw', (a, b) => {
  const least = const16(Array<number>(8).fill(0x8000));
  return a.op(i16x8.q15mulrSatS, b).xor(a.op(i16x8.eq, least).and(b.op(i16x8.eq, least)));
});
lanes('pmaddubsw', (a, b) => {
  const even = a.and(const16(Array<number>(8).fill(0xff))).op(i16x8.mul, b.shift(i16x8.shl, 8).shift(i16x8.shrS, 8));
  return even.op(i16x8.addSatS, a.shift(i16x8.shrU, 8).op(i16x8.mul, b.shift(i16x8.shrS, 8)));
});

// ---- sums of absolute differences, absolute values, signs
lanes('psadbw', (a, b, x) => {
  const sums = x.f.let(a.op(i8x16.subSatU, b).or(b.op(i8x16.subSatU, a)).un(i16x8.extaddPairwiseU).un(i32x4.extaddPairwiseU));
  return sums.op(i64x2.add, sums.shift(i64x2.shrU, 32)).and(const64([0xffffffffn, 0xffffffffn]));
});
for (const [suffix, l, bits] of [['b', i8x16, 8], ['w', i16x8, 16], ['d', i32x4, 32]] as const) {
  lanes(`pabs${suffix}`, (_, b) => b.un(l.abs));
  lanes(`psign${suffix}`, (a, b, x) => {
    const negative = x.f.let(b.shift(l.shrS, bits - 1));
    return a.xor(negative).op(l.sub, negative).andnot(b.op(l.eq, zero128));
  });
}

// ---- horizontal
const pick = (bytes: number, odd: number): number[] => Array.from({ length: 16 }, (_, i) => (2 * Math.floor(i / bytes) + odd) * bytes + i % bytes);
for (const [name, bytes, opcode] of [['phaddw', 2, i16x8.add], ['phaddd', 4, i32x4.add], ['phaddsw', 2, i16x8.addSatS], ['phsubw', 2, i16x8.sub], ['phsubd', 4, i32x4.sub], ['phsubsw', 2, i16x8.subSatS]] as const) {
  halves(name, (a, b) => a.shuffle(b, pick(bytes, 0)).op(opcode, a.shuffle(b, pick(bytes, 1))));
}
// The least word and its place: the smallest of value << 3 | place.
simd('phminposuw', 'w r', x => {
  const { f } = x, v = x.readX(1), best = f.local('i32');
  f.set(best, v.lane16u(0).shl(3));
  for (let n = 1; n < 8; n++) {
    const key = f.let(v.lane16u(n).shl(3).or(n));
    f.set(best, select(key.ltU(best.get()), key, best.get()));
  }
  x.writeX(0, zero128.with16(0, best.get().shrU(3)).with16(1, best.get().and(7)));
});

// ---- interleaving
const interleave = (bytes: number, from: number): number[] => Array.from({ length: 16 }, (_, i) => {
  const element = Math.floor(i / bytes);
  return (element & 1 ? 16 : 0) + from + (element >> 1) * bytes + i % bytes;
});
for (const [suffix, bytes] of [['bw', 1], ['wd', 2], ['dq', 4], ['qdq', 8]] as const) {
  lanes(`punpckl${suffix}`, (a, b) => a.shuffle(b, interleave(bytes, 0)));
  simd(`punpckh${suffix}`, 'rw r', x => x.writeX(0, x.readX(0).shuffle(x.readX(1), interleave(bytes, x.usesMmx ? 4 : 8))));
}

// ---- shifts: counts from the width on clear the lanes, or fill them with the sign
for (const [suffix, l, bits] of [['w', i16x8, 16], ['d', i32x4, 32], ['q', i64x2, 64]] as const) {
  const shift = (name: string, opcode: number, arithmetic: boolean): void => {
    const by = (v: V128, count: I32, large: I32): V128 => arithmetic ? v.shift(opcode, select(large, i32(bits - 1), count)) : select(large, zero128, v.shift(opcode, count));
    lanes(name, (a, b, x) => { const count = x.f.let(b.lane64(0)); return by(a, count.wrap(), count.geU(i64(bits))); });
    simd(`${name}_imm`, 'rw r', x => { const count = x.f.let(x.imm32()); x.writeX(0, by(x.readX(0), count, count.geU(bits))); });
  };
  shift(`psll${suffix}`, l.shl, false);
  shift(`psrl${suffix}`, l.shrU, false);
  if (suffix !== 'q') shift(`psra${suffix}`, l.shrS, true);
}

// ---- widening
for (const [suffix, steps] of [['bw', [0]], ['bd', [0, 1]], ['bq', [0, 1, 2]], ['wd', [1]], ['wq', [1, 2]], ['dq', [2]]] as const) {
  for (const [sign, opcodes] of [['s', [i16x8.extendLowS, i32x4.extendLowS, i64x2.extendLowS]], ['z', [i16x8.extendLowU, i32x4.extendLowU, i64x2.extendLowU]]] as const) {
    simd(`pmov${sign}x${suffix}`, 'w r', x => x.writeX(0, (steps as readonly number[]).reduce((v, step) => v.un(opcodes[step]!), x.readX(1))));
  }
}

// ---- tests and sums that an immediate places
simd('ptest', 'r r', x => {
  const a = x.readX(0), b = x.readX(1), some = (v: V128): I32 => v.toI32(83);
  const zf = x.f.let(some(a.and(b)).eqz().extU()), cf = x.f.let(some(b.andnot(a)).eqz().extU());
  x.setFlags(zf.xor(1n), zf.shl(8).or(cf.shl(63)).or(cf.shl(62)));
});
// Eight sums of four absolute differences: bytes at a + i, against four fixed bytes of b.
simd('mpsadbw', 'rw r r', x => {
  const { f } = x, imm = f.let(x.imm32()), a = x.readX(0), b = x.readX(1), offset = f.let(imm.and(4));
  const four = f.let(b.op(i8x16.swizzle, splat8(imm.and(3).shl(2)).op(i8x16.add, const8([0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]))));
  const difference = (k: number): V128 => {
    const bytes = a.op(i8x16.swizzle, splat8(offset.add(k)).op(i8x16.add, const8([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])));
    return bytes.un(i16x8.extendLowU).op(i16x8.sub, splat16(four.lane8u(k))).un(i16x8.abs);
  };
  x.writeX(0, difference(0).op(i16x8.add, difference(1)).op(i16x8.add, difference(2).op(i16x8.add, difference(3))));
});
