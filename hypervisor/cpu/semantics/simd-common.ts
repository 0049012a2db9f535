// What every SSE, MMX and x87 definition starts with.
import type { Insn } from '../insn.ts';
import { FX, S } from '../state.ts';
import { ld16u, ld8u } from '../wasm/builder.ts';
import type { Definitions } from './definition.ts';
import type { Access } from '../insn.ts';

const ES = 0x80, TOP_BITS = 0x3800;

/** #NM while CR0.TS is set: the kernel wants to restore the state first. */
export function available(x: Insn): void {
  x.f.if(x.state32(S.taskSwitched), () => x.raise(7));
}
/** The checks ahead of the memory operand: #NM, and #MF for an MMX instruction while an x87 exception is pending. */
export function simdChecks(x: Insn): void {
  available(x);
  if (x.usesMmx) pendingX87(x);
}
export function pendingX87(x: Insn): void { x.f.if(ld8u(x.area, S.fx + FX.fsw).and(ES), () => x.raise(16)); }

/** An MMX instruction leaves the x87 stack pointer at 0 and all registers in use. */
export function mmxEnter(x: Insn, tags = 0xff): void {
  const fsw = S.fx + FX.fsw;
  x.f.st16(x.area, ld16u(x.area, fsw).and(~TOP_BITS), fsw);
  x.f.st8(x.area, tags, S.fx + FX.ftw);
}

/** Registers SSE and MMX definitions with their common checks and effects. */
export const simdDefiner = (into: Definitions) => (name: string, access: string, run: (x: Insn) => void): void => {
  into.set(name, {
    access: access.split(' ').filter(Boolean) as Access[],
    before: simdChecks,
    // MMX state is entered even by a conversion that ends in #XM.
    define: x => { if (x.usesMmx) mmxEnter(x); run(x); },
  });
};
