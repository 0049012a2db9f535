// SSE arithmetic and comparison of floating-point numbers.
import type { Insn } from '../insn.ts';
import { type I32, i32, splat32, type V128 } from '../wasm/builder.ts';
import type { Definitions } from './definition.ts';
import { f32x4, f64x2, zero128 } from '../wasm/lanes.ts';
import { finite, holds, isZero, merge, moderate, normal, noteInexact, plain, PD, productError, PS, SD, SHAPES, type Shape, slow, some, SS, sumError, usual, usualAndInexact } from './float-common.ts';
import { simdDefiner } from './simd-common.ts';

export const sseFloat: Definitions = new Map();
const simd = simdDefiner(sseFloat);

/** Writes a result where `exact` holds, else takes the slow path. */
function choose(x: Insn, exact: I32, write: () => void): void { x.f.if(exact, write, () => slow(x)); }

/** Whether the rounding error is known, and whether there is one: 0 or 1 each. */
interface Rounding { known: I32; inexact: I32 }
/**
 * Writes a correctly rounded result of ordinary numbers. The first inexact one sets PE; from then on it need not be
 * known which ones are.
 */
function rounded(x: Insn, ordinary: I32, rounding: () => Rounding, write: () => void): void {
  const { f } = x, fine = f.let(ordinary);
  f.if(fine.and(usualAndInexact(x)), write, () => f.if(fine.and(usual(x)), () => {
    const { known, inexact } = rounding();
    f.if(known, () => { noteInexact(x, inexact); write(); }, () => slow(x));
  }, () => slow(x)));
}

// ---- arithmetic: sums are never both tiny and inexact (but FTZ flushes tiny ones);
// products and quotients must be normal, or zero because an operand is
type Check = (s: Shape, a: V128, b: V128, r: V128) => V128;
type Rest = (x: Insn, s: Shape, a: V128, b: V128, r: V128) => Rounding;
const sum: Check = (s, a, b, r) => finite(s, r).and(plain(s, r)).and(plain(s, a)).and(plain(s, b));
const product: Check = (s, a, b, r) => normal(s, r).or(isZero(s, r).and(isZero(s, a).or(isZero(s, b)))).and(plain(s, a)).and(plain(s, b));
const quotient: Check = (s, a, b, r) => normal(s, r).or(isZero(s, r).and(isZero(s, a))).and(plain(s, a)).and(plain(s, b));

const sumRest = (x: Insn, s: Shape, a: V128, b: V128, r: V128): Rounding => {
  const e = sumError(x, s, a, b, r);
  return { known: holds(s, e.op(s.ops.eq, e)), inexact: some(s, e.op(s.ops.ne, zero128)) };
};
const differenceRest: Rest = (x, s, a, b, r) => sumRest(x, s, a, x.f.let(b.un(s.wide ? f64x2.neg : f32x4.neg)), r);
const productRest: Rest = (x, s, a, b, r) => ({
  known: holds(s, moderate(s, a).and(moderate(s, b)).and(moderate(s, r))), inexact: some(s, productError(x, s, a, b, r).op(s.ops.ne, zero128)),
});
/** A quotient (or root) is exact when multiplying back gives the dividend, exactly. */
const quotientRest: Rest = (x, s, a, b, r) => {
  const back = x.f.let(r.op(s.ops.mul, b)), e = productError(x, s, r, b, back);
  return { known: holds(s, moderate(s, a).and(moderate(s, b)).and(moderate(s, r))), inexact: some(s, e.op(s.ops.ne, zero128).or(back.op(s.ops.ne, a))) };
};

for (const s of SHAPES) {
  for (const [name, opcode, check, rest] of [['add', s.ops.add, sum, sumRest], ['sub', s.ops.sub, sum, differenceRest], ['mul', s.ops.mul, product, productRest], ['div', s.ops.div, quotient, quotientRest]] as const) {
    simd(name + s.suffix, 'rw r', x => {
      const a = x.readX(0), b = x.readX(1), r = x.f.let(a.op(opcode, b));
      rounded(x, holds(s, check(s, a, b, r)), () => rest(x, s, a, b, r), () => x.writeX(0, merge(s, a, r)));
    });
  }
  simd(`sqrt${s.suffix}`, 'rw r', x => {
    const b = x.readX(1), r = x.f.let(b.un(s.ops.sqrt));
    rounded(x, holds(s, finite(s, r).and(plain(s, b))), () => quotientRest(x, s, b, r, r), () => x.writeX(0, merge(s, x.readX(0), r)));
  });
  // a < b ? a : b, which is also right for zeros of both signs.
  for (const [name, opcode] of [['min', s.ops.pmin], ['max', s.ops.pmax]] as const) simd(name + s.suffix, 'rw r', x => {
    const a = x.readX(0), b = x.readX(1);
    choose(x, holds(s, plain(s, a).and(plain(s, b))), () => x.writeX(0, merge(s, a, b.op(opcode, a))));
  });
  // Predicates: 0 equal, 1 less, 2 less or equal, 3 unordered (never, here); 4 and up are their opposites.
  simd(`cmp${s.suffix}`, 'rw r r', x => {
    const a = x.readX(0), b = x.readX(1), imm = x.f.let(x.imm32()), kind = x.f.let(imm.and(3));
    const mask = (on: I32): V128 => splat32(i32(0).sub(on));
    choose(x, holds(s, plain(s, a).and(plain(s, b))), () => {
      const equal = a.op(s.ops.eq, b).and(mask(kind.and(1).eqz())), less = a.op(s.ops.lt, b).and(mask(kind.eq(1).or(kind.eq(2))));
      x.writeX(0, merge(s, a, equal.or(less).xor(mask(imm.shrU(2).and(1)))));
    });
  });
}

// ---- sums within registers
const even = { ps: [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27], pd: [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23] };
for (const s of [PS, PD]) {
  const evens = even[s.suffix as 'ps' | 'pd'], odds = evens.map(n => n + (s.wide ? 8 : 4));
  for (const [name, opcode] of [['hadd', s.ops.add], ['hsub', s.ops.sub]] as const) simd(name + s.suffix, 'rw r', x => {
    const p = x.readX(0), q = x.readX(1), a = x.f.let(p.shuffle(q, evens)), b = x.f.let(p.shuffle(q, odds)), r = x.f.let(a.op(opcode, b));
    rounded(x, holds(s, sum(s, a, b, r)), () => (name === 'hadd' ? sumRest : differenceRest)(x, s, a, b, r), () => x.writeX(0, r));
  });
  simd(`addsub${s.suffix}`, 'rw r', x => {
    const a = x.readX(0), b = x.readX(1), lanes = Array.from({ length: 16 }, (_, i) => Math.floor(i / (s.wide ? 8 : 4)) & 1 ? i + 16 : i);
    const r = x.f.let(a.op(s.ops.sub, b).shuffle(a.op(s.ops.add, b), lanes));
    choose(x, usualAndInexact(x).and(holds(s, sum(s, a, b, r))), () => x.writeX(0, r));
  });
}
simd('dpps', 'rw r r', slow);
simd('dppd', 'rw r r', slow);
for (const name of ['rcpps', 'rcpss', 'rsqrtps', 'rsqrtss']) simd(name, 'rw r', slow);

// ---- comparison into the flags: ZF equal, CF less, all three for unordered
for (const [name, s] of [['ucomiss', SS], ['comiss', SS], ['ucomisd', SD], ['comisd', SD]] as const) simd(name, 'r r', x => {
  const a = x.readX(0), b = x.readX(1);
  choose(x, holds(s, plain(s, a).and(plain(s, b))), () => {
    const p = s.wide ? { eq: a.lanef64(0).cmp(0x61, b.lanef64(0)), lt: a.lanef64(0).cmp(0x63, b.lanef64(0)) } : { eq: a.lanef32(0).cmp(0x5b, b.lanef32(0)), lt: a.lanef32(0).cmp(0x5d, b.lanef32(0)) };
    const zf = x.f.let(p.eq.extU()), cf = x.f.let(p.lt.extU());
    x.setFlags(zf.xor(1n), zf.shl(8).or(cf.shl(63)).or(cf.shl(62)));
  });
});
