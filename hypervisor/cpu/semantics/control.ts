// Branches, calls, conditions, interrupts and system entries.
import { EXIT, SEG } from '../processor-api.ts';
import { HELPER } from '../helpers.ts';
import type { Insn } from '../insn.ts';
import { type I64, i64, ld32, select } from '../wasm/builder.ts';
import { FLAG, S } from '../state.ts';
import { definer, type Definitions } from './definition.ts';

export const control: Definitions = new Map();
const def = definer(control);

for (let c = 0; c < 16; c++) {
  def(`j${c}`, 'r', x => { x.f.if(x.condition(c), () => x.branch()); x.next(); });
  def(`set${c}`, 'w', x => x.write(0, x.condition(c).extU()));
  def(`cmov${c}`, 'rw r', x => x.write(0, select(x.condition(c), x.read(1), x.read(0))));
}
def('jmp', 'r', x => x.branch());
def('jmp_rm', 'r', x => x.jump(x.canonical(x.read(0))));
def('call', 'r', x => { x.push(x.f.let(x.nextRip())); x.branch(); });
def('call_rm', 'r', x => { const target = x.canonical(x.read(0)); x.push(x.f.let(x.nextRip())); x.jump(target); });
def('ret', '', x => { const target = x.canonical(x.peek()[0]!); x.release(x.bits / 8); x.jump(target); });
def('ret_imm', 'r', x => { const target = x.canonical(x.peek()[0]!); x.release(x.imm().add(x.bits / 8)); x.jump(target); });

const countdown = (name: string, also?: (x: Insn) => ReturnType<Insn['zf']>): void => def(name, 'r', x => {
  const wide = x.form.address === 'a32' ? 32 : 64;
  const n = x.f.let(x.gpr(1, wide).sub(1));
  x.setGpr(1, n, wide);
  const left = (wide === 32 ? n.and(0xffffffffn) : n).ne(0);
  x.f.if(also ? left.and(also(x)) : left, () => x.branch());
  x.next();
});
countdown('loop');
countdown('loope', x => x.zf());
countdown('loopne', x => x.zf().eqz());
def('jrcxz', 'r', x => { x.f.if(x.gpr(1, x.form.address === 'a32' ? 32 : 64).eqz(), () => x.branch()); x.next(); });

// Far transfers load descriptors: a helper does the whole instruction. The far pointer or its parts are in `temp` slots.
for (const name of ['retf', 'retf_imm']) def(name, name === 'retf_imm' ? 'r' : '', x => x.helperJump(HELPER.farTransfer));
/** What an IRET takes of the flags beside the arithmetic ones. */
const IRET_FLAGS = FLAG.TF | FLAG.DF | FLAG.NT | FLAG.AC | FLAG.ID | FLAG.RF;
def('iret', '', x => {
  // Kernels return to where they are for its serialising alone, tens of thousands of times while they patch themselves.
  if (x.bits === 64) {
    const { f } = x, [rip, cs, flags, sp, ss] = x.peek(5) as [I64, I64, I64, I64, I64], here = f.let(ld32(x.area, S.selectors + 2 * SEG.cs));
    const sameSegments = here.eq(ld32(x.area, S.unchanging)).and(cs.and(0xffff).or(ss.and(0xffff).shl(16)).wrap().eq(here));
    const sameFlags = x.state32(S.flagsOther).xor(flags.wrap()).and(IRET_FLAGS).eqz();
    f.if(sameSegments.and(sameFlags).and(rip.shl(16).shrS(16).eq(rip)), () => {
      x.setArithmeticFlags(flags);
      x.setStackPointer(sp);
      x.jump(rip);
    });
  }
  x.helperJump(HELPER.iret);
});
for (const name of ['call_far', 'jmp_far']) def(name, 'r', x => x.helperJump(HELPER.farTransfer, x.pointer!), { memoryBytes: bits => bits / 8 + 2 });
for (const name of ['call_far_imm', 'jmp_far_imm']) def(name, 'r', x => x.helperJump(HELPER.farTransfer));

const interrupt = (x: Insn, vector: I64): void => { x.setState32(S.vector, vector.wrap()); x.setState32(S.errorCode, -1); x.exit(EXIT.softwareInterrupt); };
def('int', 'r', x => interrupt(x, x.imm().and(255n)));
def('int3', '', x => { x.setState32(S.vector, 3); x.setState32(S.errorCode, -1); x.exit(EXIT.softwareInterrupt); });
def('int1', '', x => { x.setState32(S.vector, 1); x.setState32(S.errorCode, -1); x.exit(EXIT.softwareInterrupt); });
def('into', '', x => x.f.if(x.of(), () => { x.setState32(S.vector, 4); x.setState32(S.errorCode, -1); x.exit(EXIT.softwareInterrupt); }));
def('ud', 'addr addr', x => x.raise(6));
def('syscall', '', x => x.exit(EXIT.syscall));
def('sysenter', '', x => x.exit(EXIT.sysenter));
def('bound', 'r r', x => {
  // Two reads, as processors make them: the first may fault where the second is beyond the segment.
  const b = x.bits, { f } = x, wide = (v: I64): I64 => b === 16 ? v.sx16() : v.sx32();
  const n = x.readSigned(0), lower = f.let(wide(x.loadInt(x.pointer!, b)));
  const upper = x.translate(x.address(i64(b / 8)), false, b / 8);
  f.if(n.ltS(lower).or(n.gtS(wide(x.loadInt(upper, b)))), () => x.raise(5));
}, { memoryBytes: bits => bits / 8 });
