// REP STOS and REP MOVS: a piece within one page at a time, by the host's own. Called from native code; whatever is not at
// hand (a page that a TLB does not have, an element across pages, a set direction flag) is left to the interpreter, with the
// registers as far as they have come.
import { ACCESS, type View } from '../processor-api.ts';
import { PAGE_BYTES } from '../layout.ts';
import { FLAG, S, TLB_ENTRIES } from '../state.ts';
import { type Addresses, CONTROL } from './addresses.ts';
import { type Assembler, CC, Label, R15, RAX, RBX, RCX, RDI, RDX, RSI, RSP } from './assembler.ts';
import { GUEST_RAX } from './registers.ts';

export const STRINGS = ['stos', 'movs'] as const;
const AND = 4, SHL = 4, SHR = 5;

/** @param shift elements have 1 << shift bytes. Flags are saved; R15 says where the instruction is, for `interpret`. */
export function writeString(a: Assembler, at: Addresses, view: View, what: typeof STRINGS[number], shift: number, interpret: number): number {
  const start = a.at, again = new Label(), done = new Label(), leave = new Label(), bytes = 1 << shift, moves = what === 'movs';
  a.state(0xf7, 0, at.state(S.flagsOther), false);
  a.word(FLAG.DF);
  const backwards = new Label();
  a.jcc(CC.ne, backwards);
  a.push(R15); a.push(RBX); a.push(RDX);
  a.bind(again);
  a.rr(0x85, RCX, RCX);
  a.jcc(CC.e, done);
  /** RAX = offset in its page of what a register points at, R15 = the page's place in the TLB. */
  const find = (reg: number, kind: number): void => {
    const tlb = at.tlb(view, kind);
    a.mov(RAX, reg);
    a.mov(R15, RAX, false); a.shift(SHR, R15, 8, false); a.arithmetic(AND, R15, (TLB_ENTRIES - 1) * 16, false);
    a.table(0x03, RAX, R15, tlb);
    a.emit(0x48, 0x3d); a.word(PAGE_BYTES - bytes);
    a.jcc(CC.a, leave);
  };
  /** RBX = at most so many elements as the page has room for behind the offset in RAX, which becomes an address in the host's memory. */
  const room = (kind: number, first: boolean): void => {
    const tlb = at.tlb(view, kind);
    a.table(0x8b, R15, R15, tlb + 12, false);
    a.rr(0x03, R15, RAX, false);
    // 32 bits, behind where the domain's memory begins: a page at most beyond them.
    a.rr(0xf7, 3, RAX); a.arithmetic(0, RAX, PAGE_BYTES); if (shift) a.shift(SHR, RAX, shift);
    if (first) a.mov(RBX, RAX);
    else { const fewer = new Label(); a.rr(0x3b, RAX, RBX); a.jcc(CC.ae, fewer); a.mov(RBX, RAX); a.bind(fewer); }
    a.mov(RAX, R15, false);
    a.own(0x03, RAX, CONTROL.base);
  };
  if (moves) { find(RSI, ACCESS.read); room(ACCESS.read, true); a.mov(RDX, RAX); }
  find(RDI, ACCESS.write);
  room(ACCESS.write, !moves);
  const all = new Label();
  a.rr(0x3b, RBX, RCX); a.jcc(CC.be, all); a.mov(RBX, RCX); a.bind(all);
  a.rr(0x2b, RCX, RBX);
  a.push(RCX); a.push(RDI); if (moves) a.push(RSI);
  a.mov(RCX, RBX); a.mov(RDI, RAX);
  if (moves) a.mov(RSI, RDX); else a.mov(RAX, GUEST_RAX);
  a.byte(0xf3);
  if (shift === 1) a.byte(0x66);
  if (shift === 3) a.byte(0x48);
  a.byte((moves ? 0xa4 : 0xaa) | (shift ? 1 : 0));
  if (moves) a.pop(RSI);
  a.pop(RDI); a.pop(RCX);
  if (shift) a.shift(SHL, RBX, shift);
  a.rr(0x03, RDI, RBX);
  if (moves) a.rr(0x03, RSI, RBX);
  // Somebody may want attention before a long one is over.
  a.state(0x83, 7, at.state(S.attention)); a.byte(0);
  a.jcc(CC.ne, leave);
  a.jmp(again);
  a.bind(done);
  a.pop(RDX); a.pop(RBX); a.pop(R15);
  a.ret();
  a.bind(leave);
  a.pop(RDX); a.pop(RBX); a.pop(R15);
  a.bind(backwards);
  // Not back to where it was called: lea rsp, [rsp + 8]
  a.lea(RSP, RSP, 8);
  a.jmp(interpret);
  return start;
}
