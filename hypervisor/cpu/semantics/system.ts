// Instructions about the machine: privileged exits, fences, hints, descriptor questions, decimal arithmetic.
import { EXIT } from '../processor-api.ts';
import { HELPER } from '../helpers.ts';
import { S, SLOT } from '../state.ts';
import { definer, type Definitions } from './definition.ts';

export const system: Definitions = new Map();
const def = definer(system);

def('privileged', 'addr', x => x.exit(EXIT.privileged));
for (const name of ['rdtsc', 'rdtscp']) def(name, 'addr', x => {
  x.f.if(x.state32(S.tscExits), () => x.exit(EXIT.privileged));
  const now = x.clock();
  x.setGpr(0, now, 32);
  x.setGpr(2, now.shrU(32), 32);
  if (name === 'rdtscp') x.setGpr(1, x.state32(S.tscAux).extU(), 32);
});
def('nop', '', () => {});
def('nop_rm', 'addr', () => {});
def('pause', '', () => {});
for (const fence of ['lfence', 'mfence', 'sfence']) def(fence, '', x => x.f.fence());
def('clflush', 'r', () => {});
// The helper answers in `temp` and sets ZF.
for (const name of ['lar', 'lsl']) def(name, 'rw r', x => {
  x.setSlot(SLOT.temp, x.read(1));
  x.helper(HELPER.describe, name === 'lar' ? 0 : 1);
  x.f.if(x.zf(), () => x.write(0, x.slot(SLOT.temp)));
});
for (const name of ['verr', 'verw']) def(name, 'r', x => { x.setSlot(SLOT.temp, x.read(0)); x.helper(HELPER.describe, name === 'verr' ? 2 : 3); });
// Only a change is a write.
def('arpl', 'r r', x => {
  const d = x.read(0), s = x.read(1), lower = x.f.let(d.and(3n).ltU(s.and(3n)));
  x.f.if(lower, () => {
    const changed = x.f.let(d.and(~3n).or(s.and(3n)));
    if (!x.isMemory(0)) { x.write(0, changed); return; }
    const p = x.translate(x.address(), true, 2);
    x.storeInt(p, 16, changed);
    x.commit(p);
  });
  x.setArithmeticFlags(x.f.let(x.arithmeticFlags().and(~64n).or(lower.extU().shl(6))));
});
['daa', 'das', 'aaa', 'aas'].forEach((name, i) => def(name, '', x => x.helper(HELPER.decimal, i)));
def('aam', 'r', x => {
  const d = x.f.let(x.imm().and(255n));
  x.f.if(d.eqz(), () => x.raise(0));
  const al = x.f.let(x.gpr(0, 8)), low = x.f.let(al.remU(d));
  x.setGpr(0, low.or(al.divU(d).shl(8)), 16);
  x.flagsLogic(low, 8);
});
def('aad', 'r', x => {
  const v = x.f.let(x.gpr(0, 8).add(x.readGpr(1, 8).mul(x.imm().and(255n))).and(255n));
  x.setGpr(0, v, 16);
  x.flagsLogic(v, 8);
});
