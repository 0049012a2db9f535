// Bit manipulation (BMI1, BMI2, LZCNT). Flags that are undefined get what is cheapest.
import { type Bits, type Insn, sx, zx } from '../insn.ts';
import { type I32, type I64, i64, select } from '../wasm/builder.ts';
import { definer, type Definitions } from './definition.ts';
import { highUnsigned } from './multiply.ts';

export const bmi: Definitions = new Map();
const def = definer(bmi);

const noOverflow = i64(0);
const withCarry = (x: Insn, r: I64, cf: I32): void => x.flagsShift(r, x.f.let(cf.extU()), noOverflow, x.bits);

// ---- counting zeros: of a zero source the width
const count = (name: string, zeros: (v: I64, bits: Bits) => I64): void => def(name, 'w r', x => {
  const v = x.read(1), r = x.f.let(zeros(v, x.bits));
  withCarry(x, r, v.eqz());
  x.write(0, r);
});
count('tzcnt', (v, bits) => (bits === 64 ? v : v.or(1n << BigInt(bits))).ctz());
count('lzcnt', (v, bits) => v.clz().sub(64 - bits));

// ---- lowest bits
def('andn', 'w r r', x => {
  const r = x.f.let(x.read(2).and(x.read(1).not()));
  x.flagsLogic(r, x.bits);
  x.write(0, r);
});
const lowest = (name: string, change: (v: I64, below: I64) => I64, carry: (v: I64) => I32): void => def(name, 'w r', x => {
  const v = x.read(1), r = x.f.let(zx(change(v, v.sub(1)), x.bits));
  withCarry(x, r, carry(v));
  x.write(0, r);
});
lowest('blsr', (v, below) => v.and(below), v => v.eqz());
lowest('blsmsk', (v, below) => v.xor(below), v => v.eqz());
lowest('blsi', v => v.and(v.neg()), v => v.ne(0));

// ---- fields; WebAssembly's shift counts are modulo 64
const lowMask = (n: I64): I64 => select(n.ltU(64), i64(1).shl(n).sub(1), i64(-1n));
def('bextr', 'w r r', x => {
  const { f } = x, v = x.read(1), control = x.read(2), start = f.let(control.and(0xff)), length = f.let(control.shrU(8).and(0xff));
  const r = f.let(select(start.ltU(64), v.shrU(start), i64(0)).and(lowMask(length)));
  x.flagsLogic(r, x.bits);
  x.write(0, r);
});
def('bzhi', 'w r r', x => {
  const { f } = x, v = x.read(1), n = f.let(x.read(2).and(0xff)), r = f.let(v.and(lowMask(n)));
  withCarry(x, r, n.geU(i64(x.bits)));
  x.write(0, r);
});
// Bit by bit of the mask, from the lowest.
const eachBit = (x: Insn, step: (bit: I64) => void): void => {
  const { f } = x, mask = f.local('i64');
  f.set(mask, x.read(2));
  f.block(done => f.loop(again => {
    f.brIf(done, mask.get().eqz());
    step(f.let(mask.get().and(mask.get().neg())));
    f.set(mask, mask.get().and(mask.get().sub(1)));
    f.br(again);
  }));
};
def('pdep', 'w r r', x => {
  const { f } = x, left = f.local('i64'), r = f.local('i64');
  f.set(left, x.read(1));
  f.set(r, i64(0));
  eachBit(x, bit => {
    f.set(r, r.get().or(bit.and(left.get().and(1n).neg())));
    f.set(left, left.get().shrU(1));
  });
  x.write(0, r.get());
});
def('pext', 'w r r', x => {
  const { f } = x, v = x.read(1), place = f.local('i64'), r = f.local('i64');
  f.set(place, i64(1));
  f.set(r, i64(0));
  eachBit(x, bit => {
    f.set(r, r.get().or(select(v.and(bit).eqz(), i64(0), place.get())));
    f.set(place, place.get().shl(1));
  });
  x.write(0, r.get());
});

// ---- without flags
const shift = (name: string, work: (v: I64, n: I64, bits: Bits) => I64): void => def(name, 'w r r', x => {
  const v = x.read(1), n = x.f.let((x.form.operands[2]!.kind === 'imm' ? x.imm() : x.read(2)).and(x.bits - 1));
  x.write(0, zx(work(v, n, x.bits), x.bits));
});
shift('shlx', (v, n) => v.shl(n));
shift('shrx', (v, n) => v.shrU(n));
shift('sarx', (v, n, bits) => sx(v, bits).shrS(n));
shift('rorx', (v, n, bits) => bits === 64 ? v.rotr(n) : v.shrU(n).or(v.shl(i64(32).sub(n))));
def('mulx', 'w w r', x => {
  const { f } = x, v = x.read(2), by = f.let(x.gpr(2, x.bits)), product = f.let(by.mul(v));
  const high = x.bits === 64 ? highUnsigned(x, by, v) : product.shrU(32);
  // Into one register: the high half stays.
  x.write(1, x.bits === 64 ? product : zx(product, 32));
  x.write(0, high);
});
