// Multiplication without carries.
import type { Insn } from '../insn.ts';
import { highHalves, lowHalves, vectorTable } from '../vector-tables.ts';
import { type Fn, type I64, select, splat64, type V128 } from '../wasm/builder.ts';
import { i64x2, lookup } from '../wasm/lanes.ts';
import type { Definitions } from './definition.ts';
import { simdDefiner } from './simd-common.ts';

export const carryless: Definitions = new Map();

const EVERY_FOURTH = [0x1111_1111_1111_1111n, 0x2222_2222_2222_2222n, 0x4444_4444_4444_4444n, 0x8888_8888_8888_8888n];
/** The low half of a product: with three zeros between bits that count, sums of up to 15 ones carry into none of them; the 16 that may come together at the top carry out. */
function lowProduct(f: Fn, a: I64, b: I64): I64 {
  const as = EVERY_FOURTH.map(m => f.let(a.and(m))), bs = EVERY_FOURTH.map(m => f.let(b.and(m)));
  return EVERY_FOURTH.map((m, n) => as.map((p, i) => p.mul(bs[n - i & 3]!)).reduce((p, q) => p.xor(q)).and(m)).reduce((p, q) => p.or(q));
}
/** Each 64-bit lane with its bits in reverse order. */
function mirrored(x: Insn, v: V128): V128 {
  const bytes = x.f.let(lookup(v, vectorTable(x, 'mirror.bytes')));
  return x.f.let(lookup(vectorTable(x, 'mirror.high'), lowHalves(x, bytes)).or(lookup(vectorTable(x, 'mirror.low'), highHalves(x, bytes))));
}
simdDefiner(carryless)('pclmulqdq', 'rw r r', x => {
  const { f } = x, imm = x.imm32(), to = x.readX(0), from = x.readX(1);
  const a = f.let(select(imm.and(1), to.lane64(1), to.lane64(0))), b = f.let(select(imm.and(16), from.lane64(1), from.lane64(0)));
  // The high half is the low half of the mirror images' product, mirrored.
  const image = mirrored(x, splat64(a).with64(1, b)), high = mirrored(x, splat64(lowProduct(f, f.let(image.lane64(0)), f.let(image.lane64(1)))));
  x.writeX(0, high.shift(i64x2.shrU, 1).with64(0, lowProduct(f, a, b)));
});
