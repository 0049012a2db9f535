// Conversions between integers and floating point and between the formats, and rounding to integral values.
import type { Insn } from '../insn.ts';
import { F64, type I32, type I64, i64, type V128 } from '../wasm/builder.ts';
import { const32, const64, f32x4, f64x2, i32x4 } from '../wasm/lanes.ts';
import type { Definitions } from './definition.ts';
import { holds, isZero, mayNoteInexact, merge, mxcsr, normal, noteInexact, PD, plain, PS, SD, SHAPES, type Shape, slow, some, SS, usual } from './float-common.ts';
import { simdDefiner } from './simd-common.ts';

export const sseConvert: Definitions = new Map();
const simd = simdDefiner(sseConvert);

/** The low two singles. */
const LOW_PAIR: Shape = { ...PS, all: 3 };
const nearest = (x: Insn): I32 => mxcsr(x).and(0x6000).eqz();
const choose = (x: Insn, exact: I32, write: () => void): void => x.f.if(exact, write, () => slow(x));

// ---- integer to floating point
simd('cvtsi2sd', 'rw r', x => {
  const n = x.readSigned(1), r = x.f.let(n.toF64S()), write = (): void => x.writeX(0, x.readX(0).with64(0, r.asI64()));
  if (x.operandBits(1) === 32) { write(); return; }
  choose(x, usual(x), () => { noteInexact(x, longerThan(x, n, 53)); write(); });
});
simd('cvtsi2ss', 'rw r', x => {
  const n = x.readSigned(1), r = x.f.let(n.toF32S());
  choose(x, usual(x), () => { noteInexact(x, longerThan(x, n, 24)); x.writeX(0, x.readX(0).with32(0, r.asI32())); });
});
/** Whether an integer has more significant bits than a format. */
function longerThan(x: Insn, n: I64, bits: number): I32 {
  const sign = n.shrS(63), magnitude = x.f.let(n.xor(sign).sub(sign));
  return x.f.let(i64(64 - bits).sub(magnitude.clz()).sub(magnitude.ctz()).gtS(0));
}
simd('cvtdq2pd', 'w r', x => x.writeX(0, x.readX(1).un(f64x2.convertLowI32)));
simd('cvtpi2pd', 'w r', x => x.writeX(0, x.readX(1).un(f64x2.convertLowI32)));
/** Lanes of v that r, its conversion, does not equal. 2^31 - 1 becomes 2^31, which would saturate back to it. */
const inexactIntegers = (v: V128, r: V128): V128 => r.un(i32x4.truncSatF32).op(i32x4.ne, v).or(r.op(f32x4.eq, const32([0x4f000000, 0x4f000000, 0x4f000000, 0x4f000000])));
simd('cvtdq2ps', 'w r', x => {
  const v = x.readX(1), r = x.f.let(v.un(f32x4.convertI32));
  choose(x, usual(x), () => { noteInexact(x, some(PS, inexactIntegers(v, r))); x.writeX(0, r); });
});
simd('cvtpi2ps', 'rw r', x => {
  const v = x.readX(1), r = x.f.let(v.un(f32x4.convertI32));
  choose(x, usual(x), () => { noteInexact(x, some(LOW_PAIR, inexactIntegers(v, r))); x.writeX(0, x.readX(0).with64(0, r.lane64(0))); });
});

// ---- scalar to integer: in range, and either exact or with nothing to note. NaN is out of range.
for (const [format, s] of [['ss', SS], ['sd', SD]] as const) for (const truncates of [true, false]) {
  simd(`cvt${truncates ? 't' : ''}${format}2si`, 'w r', x => {
    const { f } = x, v = x.readX(1), bits = x.operandBits(0), value = f.let(s.wide ? v.lanef64(0) : v.lanef32(0).promote());
    const rounded = truncates ? value : f.let(value.nearest()), n = f.let(rounded.truncI64());
    const limit = new F64(i64(bits === 64 ? 0x43e0000000000000n : 0x41e0000000000000n).code + '\xbf');
    const inexact = f.let(n.toF64S().cmp(0x62, value)), inRange = rounded.abs().cmp(0x63, limit).and(inexact.eqz().or(mayNoteInexact(x).and(holds(s, plain(s, v)))));
    choose(x, truncates ? inRange : inRange.and(nearest(x)), () => { noteInexact(x, inexact); x.write(0, bits === 64 ? n : n.and(0xffffffffn)); });
  });
}

// ---- packed to 32-bit integers
const inRange32 = (s: Shape, v: V128): V128 => v.un(s.ops.abs).op(s.ops.lt, s.wide ? const64([0x41e0000000000000n, 0x41e0000000000000n]) : const32([0x4f000000, 0x4f000000, 0x4f000000, 0x4f000000]));
function toIntegers(name: string, s: Shape, truncates: boolean, pair: boolean): void {
  simd(name, 'w r', x => {
    const v = x.readX(1), rounded = x.f.let(truncates ? v.un(s.ops.trunc) : v.un(s.ops.nearest));
    const n = x.f.let(rounded.un(s.wide ? i32x4.truncSatF64Zero : i32x4.truncSatF32));
    const lanes = pair ? LOW_PAIR : s, inexact = x.f.let(some(lanes, rounded.op(s.ops.ne, v)));
    const fine = holds(lanes, inRange32(s, rounded)).and(inexact.eqz().or(mayNoteInexact(x).and(holds(lanes, plain(s, v)))));
    choose(x, truncates ? fine : fine.and(nearest(x)), () => { noteInexact(x, inexact); x.writeX(0, n); });
  });
}
toIntegers('cvttps2dq', PS, true, false);
toIntegers('cvtps2dq', PS, false, false);
toIntegers('cvttpd2dq', PD, true, false);
toIntegers('cvtpd2dq', PD, false, false);
toIntegers('cvttps2pi', PS, true, true);
toIntegers('cvtps2pi', PS, false, true);
toIntegers('cvttpd2pi', PD, true, false);
toIntegers('cvtpd2pi', PD, false, false);

// ---- between the formats
simd('cvtss2sd', 'rw r', x => {
  const v = x.readX(1);
  choose(x, holds(SS, plain(SS, v)), () => x.writeX(0, x.readX(0).with64(0, v.lanef32(0).promote().asI64())));
});
simd('cvtps2pd', 'w r', x => {
  const v = x.readX(1);
  choose(x, plain(PS, v).toI32(PS.bitmask).and(3).eq(3), () => x.writeX(0, v.un(f64x2.promoteLow)));
});
/** Narrowed doubles, as doubles again: normal single-precision numbers, or zeros from zeros. */
const narrows = (v: V128, r: V128): V128 => normal({ ...PD, least: const64([0x3810000000000000n, 0x3810000000000000n]) }, r).or(isZero(PD, r).and(isZero(PD, v))).and(plain(PD, v));
simd('cvtsd2ss', 'rw r', x => {
  const v = x.readX(1), r = x.f.let(v.un(f32x4.demoteZero)), back = x.f.let(r.un(f64x2.promoteLow));
  choose(x, usual(x).and(holds(SD, narrows(v, back))), () => { noteInexact(x, some(SD, back.op(f64x2.ne, v))); x.writeX(0, x.readX(0).with32(0, r.lane32(0))); });
});
simd('cvtpd2ps', 'w r', x => {
  const v = x.readX(1), r = x.f.let(v.un(f32x4.demoteZero)), back = x.f.let(r.un(f64x2.promoteLow));
  choose(x, usual(x).and(holds(PD, narrows(v, back))), () => { noteInexact(x, some(PD, back.op(f64x2.ne, v))); x.writeX(0, r); });
});

// ---- rounding: immediate bits 0-1 mode, 2 mode of MXCSR instead, 3 no PE
for (const s of SHAPES) simd(`round${s.suffix}`, 'rw r r', x => {
  const { f } = x, v = x.readX(1), imm = f.let(x.imm32()), r = f.local('v128'), mode = f.local('i32');
  f.set(mode, imm.and(3));
  f.if(imm.and(4), () => f.set(mode, mxcsr(x).shrU(13).and(3)));
  f.if(mode.get().and(2), () => f.if(mode.get().and(1), () => f.set(r, v.un(s.ops.trunc)), () => f.set(r, v.un(s.ops.ceil))),
    () => f.if(mode.get().and(1), () => f.set(r, v.un(s.ops.floor)), () => f.set(r, v.un(s.ops.nearest))));
  const inexact = f.let(imm.and(8).eqz().and(some(s, v.op(s.ops.ne, r.get()))));
  choose(x, holds(s, plain(s, v)).and(inexact.eqz().or(mayNoteInexact(x))), () => { noteInexact(x, inexact); x.writeX(0, merge(s, x.readX(0), r.get())); });
});
