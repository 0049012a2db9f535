// What every SSE, MMX and x87 definition starts with.
import type { Insn } from '../insn.ts';
import { S } from '../state.ts';

/** #NM while CR0.TS is set: the kernel wants to restore the state first. */
export function available(x: Insn): void {
  x.f.if(x.state32(S.taskSwitched), () => x.raise(7));
}
