// How native code is entered and left: code that is written once, at the start of the code memory.
import { FX, S, TLB_ENTRIES } from '../state.ts';
import { ACCESS, VIEW, type View } from '../processor-api.ts';
import { PAGE_BYTES } from '../layout.ts';
import { type Addresses, CONTROL, WAY } from './addresses.ts';
import { type Assembler, CC, Label, OPERAND_SIZE, R12, R13, R14, R15, R8, R9, RAX, RBP, RBX, RCX, RDI, RDX, RSI } from './assembler.ts';
import { HOST, T1 } from './registers.ts';
import { type STRINGS, writeString } from './strings.ts';

/** Offsets in the code memory. Those named so expect flags live or saved; the others, saved. What they need is in R15, and in RAX for `jump` and `miss`. */
export interface Ways { readonly enter: number; readonly interpretLive: number; readonly interpretSaved: number; readonly linkLive: number; readonly linkSaved: number; readonly jump: number; readonly attention: number; /** Called, and returned from with the time in its registers. */ readonly clock: number; /** By view, then by size; called. */ readonly strings: Readonly<Record<typeof STRINGS[number], readonly (readonly number[])[]>>; /** By view; called, and returned from where a TLB has the page then. */ readonly miss: readonly [number, number] }

const CALLEE_SAVED = [RBX, RBP, R12, R13, R14, R15];
const MOV_LOAD = 0x8b, MOV_STORE = 0x89, MOVAPS_LOAD = 0x0f28, MOVAPS_STORE = 0x0f29, LDMXCSR = 2, STMXCSR = 3, AND = 4;

export function writeWays(a: Assembler, at: Addresses): Ways {
  const fx = (offset: number): number => at.state(S.fx + offset);
  // ---- in: called as a C function, without arguments
  const enter = a.at;
  for (const r of CALLEE_SAVED) a.push(r);
  a.own(MOV_LOAD, RAX, CONTROL.base);
  // wrgsbase rax
  a.emit(0xf3, 0x48, 0x0f, 0xae, 0xd8);
  a.own(0x0fae, STMXCSR, CONTROL.mxcsr, false);
  a.state(0x0fae, LDMXCSR, fx(FX.mxcsr), false);
  for (let n = 0; n < 16; n++) a.state(MOVAPS_LOAD, n, fx(FX.xmm + 16 * n), false);
  // The two words of flags.ts become what LAHF and SETO give.
  a.state(MOV_LOAD, R8, at.state(S.flagResult));
  a.state(MOV_LOAD, R9, at.state(S.flagAux));
  const or = (bit: number): void => { if (bit) a.shift(4, RCX, bit, false); a.rr(0x0b, RDX, RCX, false); };
  a.movWord(RDX, 2);
  a.mov(RCX, R9); a.shift(5, RCX, 8); a.rr(0x33, RCX, R8, false); a.rr(0x84, RCX, RCX, false); a.rr(0x0f9a, 0, RCX, false); a.rr(0x0fb6, RCX, RCX, false); or(2);
  a.rr(0x85, R8, R8); a.rr(0x0f94, 0, RCX, false); a.rr(0x0fb6, RCX, RCX, false); or(6);
  a.mov(RCX, R8); a.shift(5, RCX, 63); a.mov(RAX, R9, false); a.arithmetic(AND, RAX, 1, false); a.rr(0x33, RCX, RAX, false); or(7);
  a.mov(RCX, R9, false); a.arithmetic(AND, RCX, 8, false); or(1);
  a.mov(RCX, R9); a.shift(5, RCX, 63); or(0);
  a.shift(4, RDX, 8, false);
  a.mov(RCX, R9); a.shift(5, RCX, 62); a.mov(RAX, RCX, false); a.shift(5, RAX, 1, false); a.rr(0x33, RCX, RAX, false); a.arithmetic(AND, RCX, 1, false); or(0);
  a.state(MOV_STORE, RDX, at.flags, false, OPERAND_SIZE);
  HOST.forEach((host, guest) => { if (host >= 0) a.state(MOV_LOAD, host, at.gpr(guest)); });
  a.own(0xff, 4, CONTROL.target, false);

  // ---- out
  const leave = a.at;
  HOST.forEach((host, guest) => { if (host >= 0) a.state(MOV_STORE, host, at.gpr(guest)); });
  for (let n = 0; n < 16; n++) a.state(MOVAPS_STORE, n, fx(FX.xmm + 16 * n), false);
  a.state(0x0fae, STMXCSR, fx(FX.mxcsr), false);
  a.own(0x0fae, LDMXCSR, CONTROL.mxcsr, false);
  a.state(0x0fb7, RAX, at.flags, false);
  a.mov(RCX, RAX, false); a.shift(5, RCX, 8, false);
  const bit = (to: number, n: number): void => { a.mov(to, RCX, false); if (n) a.shift(5, to, n, false); a.arithmetic(AND, to, 1, false); };
  bit(RDX, 6);
  a.mov(R8, RDX, false); a.arithmetic(6, R8, 1, false);
  a.state(MOV_STORE, R8, at.state(S.flagResult));
  bit(R9, 7);
  bit(RSI, 2); a.rr(0x33, RSI, RDX, false); a.shift(4, RSI, 8, false); a.rr(0x0b, R9, RSI);
  bit(RSI, 4); a.shift(4, RSI, 3, false); a.rr(0x0b, R9, RSI);
  bit(RSI, 0); a.mov(RDI, RSI); a.shift(4, RDI, 63); a.rr(0x0b, R9, RDI);
  a.rr(0x33, RSI, RAX, false); a.arithmetic(AND, RSI, 1, false); a.shift(4, RSI, 62); a.rr(0x0b, R9, RSI);
  a.state(MOV_STORE, R9, at.state(S.flagAux));
  for (const r of CALLEE_SAVED.toReversed()) a.pop(r);
  a.emit(0x31, 0xc0, 0xc3);

  const way = (n: number): void => {
    a.own(MOV_STORE, T1, CONTROL.detail, false);
    a.own(0xc7, 0, CONTROL.way, false, 4);
    a.word(n);
    a.jmp(leave);
  };
  const saved = (n: number): number => { const here = a.at; way(n); return here; };
  const live = (n: number): number => {
    const here = a.at;
    a.byte(0x9f);
    a.rr(0x0f90, 0, RAX, false);
    a.state(MOV_STORE, RAX, at.flags, false, OPERAND_SIZE);
    way(n);
    return here;
  };
  const jump = a.at;
  // What it was compared as is put back.
  a.state(0x33, RAX, at.state(S.jumpTag));
  a.state(MOV_STORE, RAX, at.state(S.rip));
  way(WAY.jump);
  const slow = a.at;
  a.state(MOV_STORE, RAX, at.state(S.missed));
  // pop [resume]
  a.own(0x8f, 0, CONTROL.resume, false);
  way(WAY.miss);
  const clock = a.at;
  a.own(0x8f, 0, CONTROL.resume, false);
  way(WAY.clock);
  const interpretSaved = saved(WAY.interpret), of = (what: typeof STRINGS[number]): readonly (readonly number[])[] => [VIEW.kernel, VIEW.user].map(view => [0, 1, 2, 3].map(shift => writeString(a, at, view, what, shift, interpretSaved)));
  return { enter, clock, strings: { stos: of('stos'), movs: of('movs') }, interpretLive: live(WAY.interpret), interpretSaved, linkLive: live(WAY.link), linkSaved: saved(WAY.link), jump, attention: saved(WAY.attention), miss: [writeWalk(a, at, VIEW.kernel, slow), writeWalk(a, at, VIEW.user, slow)] };
}

/** Bits of page-table entries. */
const P = 1, RW = 2, ACCESSED = 0x20, DIRTY = 0x40;

/**
 * The walk behind a TLB miss, for a data page of the guest's own that has been accessed before (written, for writing), and has no
 * code where it is to be written: all else is for mmu.ts's. The virtual address is in RAX, R15 says what of (WAY.miss).
 */
function writeWalk(a: Assembler, at: Addresses, view: View, slow: number): number {
  const others = [RCX, RDX, RBX, RSI], giveUp = new Label(), start = a.at;
  const test = (reg: number, bits: number): void => { a.rr(0xf6, 0, reg, false, 0, true); a.byte(bits); };
  for (const r of others) a.push(r);
  a.mov(RCX, RAX);
  // Canonical: its upper bits are all the same.
  a.mov(RDX, RCX); a.shift(7, RDX, 47); a.lea(RDX, RDX, 1); a.arithmetic(7, RDX, 1); a.jcc(CC.a, giveUp);
  // In one page.
  a.mov(RDX, RCX, false); a.arithmetic(AND, RDX, PAGE_BYTES - 1, false);
  a.mov(RBX, R15, false); a.shift(5, RBX, 2, false); a.arithmetic(AND, RBX, 0x3fff, false);
  a.rr(0x03, RDX, RBX, false); a.arithmetic(7, RDX, PAGE_BYTES, false); a.jcc(CC.a, giveUp);
  a.state(MOV_LOAD, RBX, at.root(view), false);
  a.movImmediate(RSI, -1);
  for (const shift of [39, 30, 21, 12]) {
    a.mov(RDX, RCX); a.shift(5, RDX, shift - 3); a.arithmetic(AND, RDX, 0xff8, false);
    a.indexed(MOV_LOAD, RDX, RBX, RDX, 0);
    test(RDX, P); a.jcc(CC.e, giveUp);
    test(RDX, ACCESSED); a.jcc(CC.e, giveUp);
    a.rr(0x23, RSI, RDX);
    if (shift > 12) { a.mov(RBX, RDX, false); a.arithmetic(AND, RBX, -PAGE_BYTES, false); }
  }
  a.mov(RBX, RDX); a.shift(5, RBX, 32, true); a.arithmetic(AND, RBX, 0xfffff, false);
  a.state(0x3b, RBX, at.state(S.slot), false); a.jcc(CC.ne, giveUp);
  a.arithmetic(AND, RDX, -PAGE_BYTES | DIRTY, false);
  a.own(0x3b, RDX, CONTROL.last, false); a.jcc(CC.a, giveUp);
  const fill = (kind: number): void => {
    const tlb = at.tlb(view, kind);
    a.arithmetic(AND, RDX, -PAGE_BYTES, false);
    a.mov(RBX, RCX, false); a.shift(5, RBX, 8, false); a.arithmetic(AND, RBX, (TLB_ENTRIES - 1) * 16, false);
    a.mov(RSI, RCX); a.arithmetic(AND, RSI, -PAGE_BYTES);
    a.table(MOV_STORE, RDX, RBX, tlb + 12, false);
    a.rr(0x2b, RDX, RSI, false);
    a.table(MOV_STORE, RDX, RBX, tlb + 8, false);
    a.rr(0xf7, 3, RSI);
    a.table(MOV_STORE, RSI, RBX, tlb);
    a.state(0xff, 0, at.state(S.walks), false);
    for (const r of others.toReversed()) a.pop(r);
    a.ret();
  };
  const writing = new Label();
  test(R15, 1); a.jcc(CC.ne, writing);
  fill(ACCESS.read);
  a.bind(writing);
  test(RSI, RW); a.jcc(CC.e, giveUp);
  test(RDX, DIRTY); a.jcc(CC.e, giveUp);
  a.mov(RBX, RDX, false); a.shift(5, RBX, 12, false);
  a.state(0x03, RBX, at.state(S.codeMap), false);
  // cmp byte gs:[ebx], 0
  a.emit(0x67, 0x65, 0x80, 0x3b, 0); a.jcc(CC.ne, giveUp);
  fill(ACCESS.write);
  a.bind(giveUp);
  for (const r of others.toReversed()) a.pop(r);
  a.jmp(slow);
  return start;
}
