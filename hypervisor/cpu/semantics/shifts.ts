// Shifts and rotates. A count of zero changes nothing, flags included.
import { type Bits, type Insn, sx, zx } from '../insn.ts';
import { type I64, i64, select } from '../wasm/builder.ts';
import { definer, type Definitions } from './definition.ts';

export const shifts: Definitions = new Map();
const def = definer(shifts);

const count = (x: Insn, i: number): I64 => x.f.let((x.form.operands[i]!.kind === 'imm' ? x.imm() : x.read(i)).and(x.bits === 64 ? 63 : 31));
const top = (v: I64, bits: Bits): I64 => v.shrU(bits - 1).and(1n);

const shift = (name: string, work: (x: Insn, v: I64, n: I64) => { r: I64; cf: I64; of: I64 }): void => def(name, 'rw r', x => {
  const v = x.read(0), n = count(x, 1);
  // A 32-bit register is written even for a zero count: that clears its upper half.
  x.f.if(n.eqz(), () => { if (!x.isMemory(0) && x.bits === 32) x.write(0, v); }, () => {
    const { r, cf, of } = work(x, v, n);
    x.flagsShift(r, cf, of, x.bits);
    x.write(0, r);
  });
});
shift('shl', (x, v, n) => {
  const wide = x.f.let(v.shl(n)), r = x.f.let(zx(wide, x.bits));
  const cf = x.bits === 64 ? v.shrU(i64(64).sub(n)).and(1n) : wide.shrU(x.bits).and(1n);
  return { r, cf, of: top(r, x.bits).xor(cf) };
});
shift('shr', (x, v, n) => ({ r: x.f.let(v.shrU(n)), cf: v.shrU(n.sub(1)).and(1n), of: top(v, x.bits) }));
shift('sar', (x, v, n) => {
  const s = x.f.let(sx(v, x.bits));
  return { r: x.f.let(zx(s.shrS(n), x.bits)), cf: s.shrS(n.sub(1)).and(1n), of: i64(0) };
});

const rotate = (name: string, left: boolean): void => def(name, 'rw r', x => {
  const v = x.read(0), n = count(x, 1), b = x.bits;
  x.f.if(n.eqz(), () => { if (!x.isMemory(0) && b === 32) x.write(0, v); }, () => {
    const m = b === 64 ? n : x.f.let(n.and(b - 1)), back = i64(b).sub(m).and(b - 1);
    const r = x.f.let(b === 64 ? (left ? v.rotl(n) : v.rotr(n)) : zx(left ? v.shl(m).or(v.shrU(back)) : v.shrU(m).or(v.shl(back)), b));
    const cf = x.f.let(left ? r.and(1n) : top(r, b));
    x.setCfOf(cf, left ? top(r, b).xor(cf) : cf.xor(r.shrU(b - 2).and(1n)));
    x.write(0, r);
  });
});
rotate('rol', true);
rotate('ror', false);

// Rotates through carry turn bits+1 bits; 8- and 16-bit counts wrap at 9 and 17.
const rotateCarry = (name: string, left: boolean): void => def(name, 'rw r', x => {
  const v = x.read(0), b = x.bits, raw = count(x, 1), n = b < 32 ? x.f.let(raw.remU(b + 1)) : raw;
  x.f.if(n.eqz(), () => { if (!x.isMemory(0) && b === 32) x.write(0, v); }, () => {
    const c = x.f.let(x.cf().extU());
    let r: I64, cf: I64;
    if (b < 64) {
      const whole = x.f.let(v.or(c.shl(b))), other = i64(b + 1).sub(n);
      const turned = x.f.let(left ? whole.shl(n).or(whole.shrU(other)) : whole.shrU(n).or(whole.shl(other)));
      r = x.f.let(zx(turned, b));
      cf = x.f.let(turned.shrU(b).and(1n));
    } else if (left) {
      r = x.f.let(v.shl(n).or(c.shl(n.sub(1))).or(select(n.gtU(1), v.shrU(i64(65).sub(n)), i64(0))));
      cf = x.f.let(v.shrU(i64(64).sub(n)).and(1n));
    } else {
      r = x.f.let(v.shrU(n).or(c.shl(i64(64).sub(n))).or(select(n.gtU(1), v.shl(i64(65).sub(n)), i64(0))));
      cf = x.f.let(v.shrU(n.sub(1)).and(1n));
    }
    x.setCfOf(cf, left ? top(r, b).xor(cf) : top(r, b).xor(r.shrU(b - 2).and(1n)));
    x.write(0, r);
  });
});
rotateCarry('rcl', true);
rotateCarry('rcr', false);

// Double shifts. Counts above the operand size (16-bit forms) are undefined; the formulas just do not trap.
const double = (name: string, left: boolean): void => def(name, 'rw r r', x => {
  const v = x.read(0), s = x.read(1), n = count(x, 2), b = x.bits;
  x.f.if(n.eqz(), () => { if (!x.isMemory(0) && b === 32) x.write(0, v); }, () => {
    const back = i64(b).sub(n);
    const r = x.f.let(zx(left ? v.shl(n).or(s.shrU(back)) : v.shrU(n).or(s.shl(back)), b));
    const cf = x.f.let((left ? v.shrU(back) : v.shrU(n.sub(1))).and(1n));
    x.flagsShift(r, cf, x.f.let(top(r, b).xor(top(v, b))), b);
    x.write(0, r);
  });
});
double('shld', true);
double('shrd', false);
