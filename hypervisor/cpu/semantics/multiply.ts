// Multiplication, division, and the widening moves that prepare it.
import { type Insn, sx, zx } from '../insn.ts';
import { HELPER } from '../helpers.ts';
import type { I64 } from '../wasm/builder.ts';
import { SLOT } from '../state.ts';
import { definer, type Definitions } from './definition.ts';

export const multiply: Definitions = new Map();
const def = definer(multiply);
const LOW = 0xffffffffn;

/** High 64 bits of an unsigned 64x64 product, from four 32-bit products. */
export function highUnsigned(x: Insn, a: I64, b: I64): I64 {
  const { f } = x, al = f.let(a.and(LOW)), ah = f.let(a.shrU(32)), bl = f.let(b.and(LOW)), bh = f.let(b.shrU(32));
  const mid = f.let(al.mul(bl).shrU(32).add(ah.mul(bl)));
  const mid2 = f.let(mid.and(LOW).add(al.mul(bh)));
  return f.let(ah.mul(bh).add(mid.shrU(32)).add(mid2.shrU(32)));
}
const highSigned = (x: Insn, a: I64, b: I64): I64 =>
  x.f.let(highUnsigned(x, a, b).sub(a.shrS(63).and(b)).sub(b.shrS(63).and(a)));
const setOverflow = (x: Insn, low: I64, overflow: I64): void => x.flagsShift(low, overflow, overflow, x.bits);

/** The double-width result: ax, or dx:ax, edx:eax, rdx:rax. */
function writeWide(x: Insn, low: I64, high: I64): void {
  if (x.bits === 8) { x.setGpr(0, low.or(high.shl(8)), 16); return; }
  x.setGpr(0, low, x.bits);
  x.setGpr(2, high, x.bits);
}
const one = (name: string, signed: boolean): void => def(name, 'r', x => {
  const b = x.bits, { f } = x;
  const m = signed ? x.readSigned(0) : x.read(0), acc = f.let(signed ? sx(x.gpr(0, b), b) : x.gpr(0, b));
  const product = f.let(acc.mul(m)), low = f.let(zx(product, b));
  const high = b === 64 ? (signed ? highSigned(x, acc, m) : highUnsigned(x, acc, m)) : f.let(zx(product.shrU(b), b));
  const overflow = f.let((signed ? (b === 64 ? high.ne(product.shrS(63)) : product.ne(sx(product, b))) : high.ne(0)).extU());
  writeWide(x, low, high);
  setOverflow(x, low, overflow);
});
one('mul', false);
one('imul1', true);

const two = (x: Insn, a: I64, m: I64): void => {
  const b = x.bits, { f } = x, product = f.let(a.mul(m)), low = f.let(zx(product, b));
  const overflow = f.let((b === 64 ? highSigned(x, a, m).ne(product.shrS(63)) : product.ne(sx(product, b))).extU());
  setOverflow(x, low, overflow);
  x.write(0, low);
};
def('imul', 'rw r', x => two(x, x.readSigned(0), x.readSigned(1)));
def('imul3', 'w r r', x => two(x, x.readSigned(1), x.f.let(x.imm())));

// Division. Flags stay (they are undefined). Operands of up to 64 bits are divided here, true 128-bit ones by a helper.
const divideError = (x: Insn): void => x.raise(0);
def('div', 'r', x => {
  const { f } = x, b = x.bits, d = x.read(0);
  f.if(d.eqz(), () => divideError(x));
  if (b === 64) {
    f.if(x.gpr(2).eqz(), () => {
      const n = f.let(x.gpr(0));
      x.setGpr(0, n.divU(d));
      x.setGpr(2, n.remU(d));
    }, () => { x.setSlot(SLOT.temp, d); x.helper(HELPER.div64); });
    return;
  }
  const n = f.let(b === 8 ? x.gpr(0, 16) : x.gpr(2, b).shl(b).or(x.gpr(0, b))), q = f.let(n.divU(d));
  f.if(q.shrU(b).eqz().eqz(), () => divideError(x));
  writeWide(x, q, f.let(n.remU(d)));
});
def('idiv', 'r', x => {
  const { f } = x, b = x.bits, d = x.readSigned(0);
  f.if(d.eqz(), () => divideError(x));
  if (b === 64) {
    const n = f.let(x.gpr(0));
    f.if(x.gpr(2).eq(n.shrS(63)).and(d.ne(-1n)), () => {
      x.setGpr(0, n.divS(d));
      x.setGpr(2, n.remS(d));
    }, () => { x.setSlot(SLOT.temp, d); x.helper(HELPER.idiv64); });
    return;
  }
  const n = f.let(b === 8 ? x.gpr(0, 16).sx16() : sx(x.gpr(2, b).shl(b).or(x.gpr(0, b)), b === 16 ? 32 : 64));
  if (b === 32) f.if(n.eq(1n << 63n).and(d.eq(-1n)), () => divideError(x));
  const q = f.let(n.divS(d));
  f.if(q.ne(sx(q, b)), () => divideError(x));
  writeWide(x, f.let(zx(q, b)), f.let(zx(n.remS(d), b)));
});

def('cbw', '', x => {
  const half = x.bits / 2 as 8 | 16 | 32;
  x.setGpr(0, x.f.let(zx(sx(x.gpr(0, half), half), x.bits)), x.bits);
});
def('cwd', '', x => x.setGpr(2, zx(sx(x.gpr(0, x.bits), x.bits).shrS(63), x.bits), x.bits));
