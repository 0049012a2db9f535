// Data moves, stack, address arithmetic, flag transfers, segment register moves.
import { type Insn, zx } from '../insn.ts';
import { HELPER } from '../helpers.ts';
import { i64, ld16u, ld64, ld64from8u, select } from '../wasm/builder.ts';
import { FLAG, S, SLOT } from '../state.ts';
import { definer, type Definitions } from './definition.ts';

export const moves: Definitions = new Map();
const def = definer(moves);

def('mov', 'w r', x => x.write(0, x.read(1)));
def('movabs', 'w r', x => x.write(0, x.bits === 64 ? x.imm64() : zx(x.imm(), x.bits)));
def('movnti', 'w r', x => x.write(0, x.read(1)));
def('movzx', 'w r', x => x.write(0, x.read(1)));
def('movsx', 'w r', x => x.write(0, zx(x.readSigned(1), x.bits)));
def('lea', 'w addr', x => x.write(0, zx(x.f.let(x.offsetAddress()), x.bits)));
def('bswap', 'rw', x => {
  const v = x.read(0), { f } = x, LOW = 0x00ff00ff00ff00ffn;
  const bytes = f.let(v.and(LOW).shl(8).or(v.shrU(8).and(LOW)));
  const words = f.let(bytes.and(0x0000ffff0000ffffn).shl(16).or(bytes.shrU(16).and(0x0000ffff0000ffffn)));
  x.write(0, x.bits === 64 ? words.rotl(32) : words);
});

// ---- stack
def('push', 'r', x => x.push(x.read(0)));
def('pop', 'w', x => x.write(0, x.pop()));
// The address of a memory destination is formed with the stack pointer already moved.
def('pop_rm', 'addr', x => {
  const before = x.f.let(x.gpr(4)), v = x.peek()[0]!;
  x.release(x.bits / 8);
  if (!x.isMemory(0)) { x.writeGpr(x.registerField(0), x.bits, v); return; }
  const p = x.translate(x.address(), true, x.bits / 8, () => x.setGpr(4, before));
  x.storeInt(p, x.bits, v);
  x.commit(p);
});
def('leave', '', x => {
  const bytes = x.bits / 8, mask = select(x.state32(S.compat), i64(0xffffffffn), i64(-1n));
  const frame = x.f.let(x.gpr(5).and(mask)), v = x.peek(1, frame)[0]!;
  x.setStackPointer(frame.add(bytes));
  x.setGpr(5, v, x.bits);
});
def('enter', 'r r', x => {
  const { f } = x, bytes = x.bits / 8, level = f.let(x.field8(19).and(31)), size = f.let(x.imm()), before = f.let(x.gpr(4));
  x.onStackFault = () => x.setGpr(4, before);
  x.push(f.let(x.gpr(5, x.bits)));
  const frame = f.let(x.gpr(4));
  f.if(level, () => {
    // The frame pointers of the enclosing procedures, then this one's.
    const outer = f.local('i64'), left = f.local('i32');
    f.set(outer, x.gpr(5));
    f.set(left, level.sub(1));
    f.block(done => f.loop(again => {
      f.brIf(done, left.get().eqz());
      f.set(left, left.get().sub(1));
      f.set(outer, outer.get().sub(bytes).and(select(x.state32(S.compat), i64(0xffffffffn), i64(-1n))));
      x.push(x.peek(1, outer.get())[0]!);
      f.br(again);
    }));
    x.push(frame);
  });
  x.setStackPointer(x.gpr(4).sub(size));
  // The new top of the stack must be writable.
  x.probeStack();
  x.setGpr(5, frame, x.bits);
});
def('pusha', '', x => { const v = Array.from({ length: 8 }, (_, n) => x.f.let(x.gpr(n, x.bits))); x.push(...v); });
def('popa', '', x => {
  const v = x.peek(8);
  v.forEach((value, i) => { const n = 7 - i; if (n !== 4) x.setGpr(n, value, x.bits); });
  x.release(x.bits);
});

// ---- flags
def('pushf', '', x => x.push(x.f.let(x.flagsWord().and(~BigInt(FLAG.RF | FLAG.VM)))));
// At CPL 3 with IOPL 0, IF and IOPL do not change. A trap flag set here acts after the next instruction.
def('popf', '', x => {
  const v = x.pop();
  const may = FLAG.TF | FLAG.DF | FLAG.NT | (x.bits === 16 ? 0 : FLAG.AC | FLAG.ID);
  const kept = x.state32(S.flagsOther).and(~(may | (x.bits === 16 ? 0 : FLAG.RF)));
  x.setArithmeticFlags(v);
  x.setState32(S.flagsOther, kept.or(v.wrap().and(may)));
  x.f.if(v.wrap().and(FLAG.TF), () => x.setState32(S.selfAttention, 1));
  x.jumpNext();
});
def('lahf', '', x => x.writeGpr(1, 8, x.f.let(x.arithmeticFlags().and(0xd5n).or(2n))));
def('sahf', '', x => x.setArithmeticFlags(x.f.let(x.readGpr(1, 8).and(0xd5n).or(x.of().extU().shl(11)))));
def('cmc', '', x => x.setCf(x.f.let(x.cf().eqz().extU())));
def('clc', '', x => x.setCf(i64(0)));
def('stc', '', x => x.setCf(i64(1)));
def('cld', '', x => x.setState32(S.flagsOther, x.state32(S.flagsOther).and(~FLAG.DF)));
def('std', '', x => x.setState32(S.flagsOther, x.state32(S.flagsOther).or(FLAG.DF)));
def('salc', '', x => x.setGpr(0, i64(0).sub(x.cf().extU()), 8));

// ---- segment registers
const selector = (x: Insn, n: number) => x.f.let(ld16u(x.area, S.selectors + 2 * n).extU());
def('mov_from_sreg', 'w r', x => {
  const v = x.f.let(ld16u(x.registerField(1).shl(1).add(x.area), S.selectors).extU());
  if (x.isMemory(0)) x.storeInt(x.pointer!, 16, v); else x.write(0, v);
}, { memoryBytes: () => 2 });
def('mov_to_sreg', 'w r', x => {
  x.setSlot(SLOT.temp, x.read(1));
  x.f.if(x.registerField(0).eq(1), () => x.raise(6));
  x.helper(HELPER.loadSegment, x.registerField(0));
});
['es', 'cs', 'ss', 'ds', 'fs', 'gs'].forEach((name, n) => {
  def(`push_${name}`, '', x => x.push(selector(x, n)));
  if (n !== 1) def(`pop_${name}`, '', x => {
    x.setSlot(SLOT.temp, x.peek()[0]!);
    x.helper(HELPER.loadSegment, n);
    x.release(x.bits / 8);
  });
  if (n === 0 || n === 3 || n === 2 || n > 3) def(`l${name}`, 'w r', x => {
    const b = x.bits, offset = x.f.let(x.loadInt(x.pointer!, b));
    x.setSlot(SLOT.temp, ld16u(x.pointer!, b / 8).extU());
    x.helper(HELPER.loadFarPointer, n);
    x.write(0, offset);
  // The offset is read before the selector, which may be beyond the segment where the offset faults.
  }, { memoryBytes: bits => bits / 8 + 2, before: x => { if (x.isMemory(1)) x.translate(x.address(), false, x.bits / 8); } });
});

def('xlat', '', x => {
  const at = x.f.let(x.gpr(3).add(x.gpr(0, 8)));
  const a32 = x.form.address === 'a32';
  const p = x.translate((a32 ? at.and(0xffffffffn) : at).add(x.slot(x.field8(7))), false, 1);
  x.setGpr(0, ld64from8u(p), 8);
});
def('cmpxchg8b', 'rw', x => {
  const { f } = x, p = x.pointer!, b = x.bits;
  if (b === 64) {
    const exchange = (): void => {
      const low = f.let(ld64(p)), high = f.let(ld64(p, 8));
      const same = f.let(low.eq(x.gpr(0)).and(high.eq(x.gpr(2))));
      f.if(same, () => { f.st64(p, x.gpr(3)); f.st64(p, x.gpr(1), 8); }, () => { x.setGpr(0, low); x.setGpr(2, high); });
      setZero(x, same);
    };
    if (x.form.lock) x.alone(exchange); else exchange();
    return;
  }
  const expected = f.let(x.gpr(2, 32).shl(32).or(x.gpr(0, 32))), wanted = f.let(x.gpr(1, 32).shl(32).or(x.gpr(3, 32)));
  const old = f.local('i64');
  const exchange = (): void => {
    f.set(old, ld64(p));
    f.if(old.get().eq(expected), () => f.st64(p, wanted));
  };
  f.if(p.and(7).eqz().and(p.ne(x.area + S.scratch)), () => f.set(old, f.cmpxchg(64, p, expected, wanted)), () => { if (x.form.lock) x.alone(exchange); else exchange(); });
  const same = f.let(old.get().eq(expected));
  f.if(same.eqz(), () => { x.setGpr(0, old.get(), 32); x.setGpr(2, old.get().shrU(32), 32); });
  setZero(x, same);
}, { memoryBytes: bits => bits / 4 });
/** ZF alone. */
function setZero(x: Insn, zero: ReturnType<Insn['cf']>): void {
  x.setArithmeticFlags(x.f.let(x.arithmeticFlags().and(~64n).or(zero.extU().shl(6))));
}
