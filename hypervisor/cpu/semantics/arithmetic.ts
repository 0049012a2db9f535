// Two-operand arithmetic and logic, bit tests and scans, exchanges.
import { type Insn, zx } from '../insn.ts';
import { type I64, i32, i64, select } from '../wasm/builder.ts';
import { definer, type Definitions } from './definition.ts';

export const arithmetic: Definitions = new Map();
const def = definer(arithmetic);

const add = (x: Insn, a: I64, b: I64, carry?: I64): I64 => {
  const sum = carry ? a.add(b).add(carry) : a.add(b), r = x.f.let(zx(sum, x.bits));
  x.flagsAdd(a, b, r, x.bits);
  return r;
};
const sub = (x: Insn, a: I64, b: I64, borrow?: I64): I64 => {
  const diff = borrow ? a.sub(b).sub(borrow) : a.sub(b), r = x.f.let(zx(diff, x.bits));
  x.flagsSub(a, b, r, x.bits);
  return r;
};
const logic = (name: string, op: (a: I64, b: I64) => I64): void => def(name, 'rw r', x => {
  const r = x.f.let(op(x.read(0), x.read(1)));
  x.flagsLogic(r, x.bits);
  x.write(0, r);
});
const carryIn = (x: Insn): I64 => x.f.let(x.cf().extU());

def('add', 'rw r', x => x.write(0, add(x, x.read(0), x.read(1))));
def('adc', 'rw r', x => x.write(0, add(x, x.read(0), x.read(1), carryIn(x))));
def('sub', 'rw r', x => x.write(0, sub(x, x.read(0), x.read(1))));
def('sbb', 'rw r', x => x.write(0, sub(x, x.read(0), x.read(1), carryIn(x))));
def('cmp', 'r r', x => { sub(x, x.read(0), x.read(1)); });
def('neg', 'rw', x => x.write(0, sub(x, i64(0), x.read(0))));
def('not', 'rw', x => x.write(0, zx(x.read(0).not(), x.bits)));
logic('and', (a, b) => a.and(b));
logic('or', (a, b) => a.or(b));
logic('xor', (a, b) => a.xor(b));
def('test', 'r r', x => x.flagsLogic(x.f.let(x.read(0).and(x.read(1))), x.bits));

const step = (name: string, up: boolean): void => def(name, 'rw', x => {
  const a = x.read(0), r = x.f.let(zx(up ? a.add(1) : a.sub(1), x.bits));
  x.flagsStep(a, r, up, x.bits);
  x.write(0, r);
});
step('inc', true);
step('dec', false);

def('xadd', 'rw rw', x => {
  const a = x.read(0), b = x.read(1), r = add(x, a, b);
  // The source is written first: with both operands the same register, the sum wins.
  x.write(1, a);
  x.write(0, r);
});
def('xchg', 'rw rw', x => {
  const a = x.read(0), b = x.read(1);
  x.write(0, b);
  x.write(1, a);
});
def('cmpxchg', 'rw r rw', x => {
  const old = x.read(0), source = x.read(1), acc = x.read(2);
  sub(x, acc, old);
  const same = x.f.let(acc.eq(old));
  const kept = x.bits === 32 ? x.f.let(x.gpr(0)) : acc;
  if (x.isMemory(0) || x.bits !== 32) {
    // rax after a 32-bit form: untouched when equal, zero-extended when loaded. The destination last: it may be rax.
    if (x.bits === 32) x.writeWide(2, select(same, kept, old)); else x.write(2, select(same, acc, old));
    x.write(0, select(same, source, old));
  } else {
    // A failed 32-bit register form leaves the destination's upper half alone; a good one clears it, as writes do.
    x.f.if(same, () => x.write(0, source), () => x.write(2, old));
  }
});

// BT family: the offset is taken modulo the operand size; memory forms with a register offset have moved already.
const bitOp = (name: string, change?: (v: I64, mask: I64) => I64): void => def(name, `${change ? 'rw' : 'r'} r`, x => {
  const v = x.read(0), n = x.f.let(x.read(1).and(x.bits - 1));
  const cf = x.f.let(v.shrU(n).and(1n));
  if (change) x.write(0, zx(change(v, x.f.let(i64(1).shl(n))), x.bits));
  x.setCf(cf);
}, { bitString: true });
bitOp('bt');
bitOp('bts', (v, m) => v.or(m));
bitOp('btr', (v, m) => v.and(m.not()));
bitOp('btc', (v, m) => v.xor(m));

// A zero source leaves the destination as it was (both makers do so).
const scan = (name: string, index: (v: I64) => I64): void => def(name, 'rw r', x => {
  const v = x.read(1);
  x.flagsLogic(v.ne(0).extU(), 64);
  x.f.if(v.ne(0), () => x.write(0, index(v)));
});
scan('bsf', v => v.ctz());
scan('bsr', v => i64(63).sub(v.clz()));
def('popcnt', 'w r', x => {
  const v = x.read(1);
  // Only ZF can be set: a non-zero result word of 1 has odd parity and no sign; a zero one needs PF cleared.
  x.setFlags(v.ne(0).extU(), v.eqz().extU().shl(8));
  x.write(0, v.popcnt());
});

// CRC-32C, bit by bit in reflected form.
def('crc32', 'rw r', x => {
  const { f } = x, crc = f.local('i64'), n = f.local('i32'), bits = x.operandBits(1);
  const v = x.read(1);
  f.set(crc, x.readGpr(x.registerField(0), 32));
  for (let half = 0; half < (bits === 64 ? 2 : 1); half++) {
    f.set(crc, crc.get().xor(bits === 64 ? (half ? v.shrU(32) : v.and(0xffffffffn)) : v));
    f.set(n, i32(Math.min(bits, 32)));
    f.loop(again => {
      f.set(crc, crc.get().shrU(1).xor(i64(0).sub(crc.get().and(1n)).and(0x82f63b78n)));
      f.set(n, n.get().sub(1));
      f.brIf(again, n.get());
    });
  }
  x.writeGpr(x.registerField(0), 64, crc.get());
});
