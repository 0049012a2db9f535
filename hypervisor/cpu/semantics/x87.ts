// x87 instructions run in TypeScript (x87/): 80-bit arithmetic has no counterpart in WebAssembly.
import { HELPER } from '../helpers.ts';
import type { Insn } from '../insn.ts';
import { ld64from32u } from '../wasm/builder.ts';
import { FX, S, SLOT } from '../state.ts';
import { definer, type Definitions } from './definition.ts';
import { available } from './simd-common.ts';

export const x87: Definitions = new Map();
const def = definer(x87);

const FXSAVE_BYTES = 512, MXCSR_RESERVED = 0xffff0000n;

// The operand's size depends on the instruction: the helper translates the address itself.
def('x87', 'addr', x => {
  available(x);
  if (x.has(0)) x.setSlot(SLOT.temp, x.address());
  x.helper(HELPER.x87, x.has(0) ? 1 : 0);
});
def('fwait', '', x => { available(x); x.helper(HELPER.x87Wait); });

const image = (x: Insn, write: boolean) => {
  available(x);
  const address = x.f.let(x.address());
  x.f.if(address.and(15n).eqz().eqz(), () => x.protection());
  return x.translate(address, write, FXSAVE_BYTES);
};
def('fxsave', 'addr', x => { const p = image(x, true); x.helper(HELPER.fxsave, p); x.commit(p); });
def('fxrstor', 'addr', x => x.helper(HELPER.fxrstor, image(x, false)));
def('ldmxcsr', 'r', x => {
  const v = x.f.let(ld64from32u(x.pointer!));
  x.f.if(v.and(MXCSR_RESERVED).eqz().eqz(), () => x.protection());
  x.setState32(S.fx + FX.mxcsr, v.wrap());
}, { before: available });
def('stmxcsr', 'w', x => x.write(0, ld64from32u(x.area, S.fx + FX.mxcsr)), { before: available });
