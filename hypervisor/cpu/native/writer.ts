// What every instruction's code is made of: guest flags in their places, guest memory by way of the TLBs, and the ways from
// block to block.
//
// Guest flags are the host's own (`live`), or the low byte of RFLAGS and OF as LAHF and SETO give them, in memory (`saved`),
// or both. Looking a page up changes flags, so before it they are saved.
import { type Decoded, newDecoded } from '../decode.ts';
import { ACCESS, type View } from '../processor-api.ts';
import { PAGE_BYTES } from '../layout.ts';
import { S, SLOT, TLB_ENTRIES } from '../state.ts';
import { type Addresses, BRANCH, CONTROL, JUMP_FOLD, JUMP_TABLE_ENTRIES } from './addresses.ts';
import { type Assembler, CC, Label, OPERAND_SIZE, RAX } from './assembler.ts';
import type { Ways } from './entry.ts';
import { GUEST_RSP, HOST, hostOf, T1 } from './registers.ts';

/**
 * A jump to the code at so many bytes from its page's start, where its distance stands, and which of the flags it comes with. One into
 * another page is made only where the page there is the one at hand when it was linked: where that one's physical address stands,
 * and where is gone on otherwise.
 */
export interface Link { readonly from: number; readonly target: number; readonly saved: boolean; readonly far?: { readonly page: number; readonly otherwise: number } }
/** Where code at an offset in the same page goes on natively, with the flags as said; or undefined. */
export type Find = (target: number, saved: boolean) => number | undefined;
/** What is told of a link: its number, for WAY.link. */
export type Announce = (link: Link) => number;

export class NativeWriter {
  protected readonly a: Assembler;
  protected readonly at: Addresses;
  protected readonly ways: Ways;
  /** The instruction in hand, and its offset in its page. */
  protected readonly d: Decoded = newDecoded();
  protected here = 0;
  protected view: View = 0;
  protected live = true; protected saved = false;
  /** What writes code that seldom runs, apart from the block's straight way. */
  protected cold: (() => void)[] = [];
  protected find: Find = () => undefined;
  protected announce: Announce = () => 0;

  constructor(a: Assembler, at: Addresses, ways: Ways) { this.a = a; this.at = at; this.ways = ways; }

  // ---- flags
  protected save(): void {
    if (this.saved) return;
    const { a } = this;
    a.byte(0x9f);
    a.rr(0x0f90, 0, RAX, false);
    a.state(0x89, RAX, this.at.flags, false, OPERAND_SIZE);
    this.saved = true;
  }
  protected spoil(): void { this.save(); this.live = false; }
  protected restore(): void {
    const { a } = this;
    a.state(0x0fb7, RAX, this.at.flags, false);
    a.emit(0x04, 0x7f, 0x9e);
    this.live = true;
  }
  protected need(): void { if (!this.live) this.restore(); }
  protected changed(): void { this.live = true; this.saved = false; }
  /** What stands apart from the block's straight way, with flags as they are here. */
  protected aside(emit: () => void): void {
    const { live, saved, here } = this;
    this.cold.push(() => { this.live = live; this.saved = saved; this.here = here; emit(); });
  }

  // ---- ways out
  protected interpret(offset: number): void {
    this.a.movWord(T1, offset);
    this.a.jmp(this.saved ? this.ways.interpretSaved : this.ways.interpretLive);
  }
  /** Leaves to the interpreter when the condition holds; flags are saved. */
  protected leaveIf(condition: number): void {
    const label = new Label(), { here } = this;
    this.a.jcc(condition, label);
    this.aside(() => { this.a.bind(label); this.saved = true; this.interpret(here); });
  }
  /** On to an offset from the page's start, in it or not. */
  protected goTo(target: number, from: number): void {
    const { a, at } = this;
    if (target <= from) this.poll(target);
    if (target < 0 || target >= PAGE_BYTES) { this.goFar(target); return; }
    const saved = !this.live, known = this.find(target, saved);
    a.byte(0xe9);
    this.link(target, saved, known);
  }
  /** The distance of a jump that is being written. */
  protected link(target: number, saved: boolean, known = this.find(target, saved)): void {
    const { a } = this, from = a.at;
    a.word(0);
    if (known !== undefined) a.link(from, known);
    else {
      const n = this.announce({ from, target, saved });
      this.cold.push(() => {
        a.link(from, a.at);
        a.movWord(T1, n);
        a.jmp(saved ? this.ways.linkSaved : this.ways.linkLive);
      });
    }
  }
  /** To an offset from the page's start in another page: straight, if the page there is the one that it was when this was linked. */
  protected goFar(target: number): void {
    const { a, at } = this, otherwise = new Label(), distance = target - (target & PAGE_BYTES - 1), exec = at.tlb(this.view, ACCESS.execute), { here } = this;
    this.spoil();
    this.execEntry(distance);
    a.jcc(CC.ne, otherwise);
    a.table(0x81, 7, T1, exec + 12, false);
    const page = a.at;
    a.word(-1);
    a.jcc(CC.ne, otherwise);
    a.state(0x81, 0, at.pageBase);
    a.word(distance);
    a.byte(0xe9);
    const from = a.at;
    a.word(0);
    this.cold.push(() => {
      this.here = here;
      this.live = false;
      this.saved = true;
      a.link(from, a.at);
      a.bind(otherwise);
      const n = this.announce({ from, target, saved: true, far: { page, otherwise: a.at } });
      a.movWord(T1, n);
      a.jmp(this.ways.linkSaved);
      // Once it is linked, from here on: by the jump table.
      a.state(0x8b, RAX, at.pageBase);
      a.lea(RAX, RAX, target);
      this.jump(BRANCH.jump);
    });
  }
  /** R15 = place of a page in the TLB for execution; equal, if it is there. */
  protected execEntry(distance: number): void {
    const { a, at } = this;
    a.state(0x8b, RAX, at.pageBase);
    a.lea(RAX, RAX, distance);
    a.mov(T1, RAX, false);
    a.shift(5, T1, 8, false);
    a.arithmetic(4, T1, (TLB_ENTRIES - 1) * 16, false);
    a.table(0x03, RAX, T1, at.tlb(this.view, ACCESS.execute));
  }
  /** Goes on if the page behind this one lies in that frame. Where flags are saved it is entered here: */
  protected nextPageIs(frame: number): number {
    const { a, at } = this;
    this.spoil();
    const entry = a.at;
    this.execEntry(PAGE_BYTES);
    this.leaveIf(CC.ne);
    a.table(0x81, 7, T1, at.tlb(this.view, ACCESS.execute) + 12, false);
    a.word(frame);
    this.leaveIf(CC.ne);
    return entry;
  }
  /** A loop looks whether somebody wants attention. */
  protected poll(target: number): void {
    const { a } = this, label = new Label();
    this.spoil();
    a.state(0x83, 7, this.at.state(S.attention));
    a.byte(0);
    a.jcc(CC.ne, label);
    this.aside(() => { a.bind(label); a.movWord(T1, target); a.jmp(this.ways.attention); });
  }
  /** To the virtual address in RAX; flags are saved. */
  protected jump(kind: number, released = 0): void {
    const { a, at } = this, miss = new Label(), attention = new Label(), { here } = this;
    a.mov(T1, RAX, false);
    a.shift(5, T1, JUMP_FOLD, false);
    a.rr(0x33, T1, RAX, false);
    a.arithmetic(4, T1, JUMP_TABLE_ENTRIES - 1, false);
    a.shift(4, T1, 4, false);
    a.own(0x03, T1, CONTROL.jumps + 8 * this.view);
    a.state(0x33, RAX, at.state(S.jumpTag));
    a.table(0x3b, RAX, T1, 0, true, false);
    a.jcc(CC.ne, miss);
    a.state(0x83, 7, at.state(S.attention));
    a.byte(0);
    a.jcc(CC.ne, attention);
    a.state(0x33, RAX, at.state(S.jumpTag));
    a.arithmetic(4, RAX, -PAGE_BYTES);
    a.state(0x89, RAX, at.pageBase);
    a.table(0xff, 4, T1, 8, false, false);
    this.aside(() => {
      a.bind(miss);
      a.bind(attention);
      a.movWord(T1, here | kind << 12 | released << 16);
      a.jmp(this.ways.jump);
    });
  }

  // ---- memory
  /** Of a register slot, in a register: its own, or the one given, filled with what it is. */
  protected inRegister(slot: number, scratch: number): number {
    const host = hostOf(slot);
    if (host >= 0) return host;
    this.a.state(0x8b, scratch, this.at.slot(slot));
    return scratch;
  }
  /** What puts the memory operand's effective address into RAX, with its segment's base or not, and changes no flags. */
  protected address(withSegment = true): () => void {
    const { base, index, scale, disp, segment, imm64 } = this.d;
    return () => this.putAddress(base, index, scale, disp, withSegment ? segment : SLOT.zero, imm64);
  }
  protected putAddress(base: number, index: number, scale: number, disp: number, segment: number, imm64: bigint | undefined): void {
    const { a } = this;
    if (imm64 !== undefined) a.movQuad(RAX, imm64);
    else if (index === SLOT.zero) {
      if (base === SLOT.zero) a.movImmediate(RAX, disp);
      else a.lea(RAX, this.inRegister(base, RAX), disp);
    } else if (base === SLOT.zero) a.leaScaled(RAX, this.inRegister(index, T1), scale, disp);
    else { const b = this.inRegister(base, RAX), i = this.inRegister(index, T1); a.lea(RAX, b, disp, i, scale); }
    if (segment !== SLOT.zero) {
      a.state(0x8b, T1, this.at.slot(segment));
      a.lea(RAX, RAX, 0, T1);
    }
  }
  /** EAX = the physical address behind the virtual one that `form` puts into RAX. @param otherwise written for where the TLB does not have all of it, instead of what has the page walked for */
  protected lookUp(kind: number, bytes: number, form: () => void, aligned = false, otherwise?: () => void): void {
    const { a, at } = this, tlb = at.tlb(this.view, kind), again = new Label(), miss = new Label(), { here } = this;
    this.spoil();
    a.bind(again);
    form();
    a.mov(T1, RAX, false);
    a.shift(5, T1, 8, false);
    a.arithmetic(4, T1, (TLB_ENTRIES - 1) * 16, false);
    a.table(0x03, RAX, T1, tlb);
    a.emit(0x48, 0x3d);
    a.word(PAGE_BYTES - bytes);
    a.jcc(CC.a, miss);
    a.table(0x03, RAX, T1, tlb + 12, false);
    if (aligned && bytes > 1) { a.emit(0xa8, bytes - 1); this.leaveIf(CC.ne); }
    this.aside(() => {
      a.bind(miss);
      if (otherwise) { otherwise(); return; }
      form();
      a.movWord(T1, kind | bytes << 2 | here << 16);
      a.call(this.ways.miss[this.view]);
      a.jmp(again);
    });
  }
  protected lookUpOperand(kind: number, bytes: number, aligned = false): void { this.lookUp(kind, bytes, this.address(), aligned); }
  protected readonly stackTop = (): void => this.a.lea(RAX, GUEST_RSP, 0);
  protected readonly belowTop = (): void => this.a.lea(RAX, GUEST_RSP, -8);
  protected release(bytes: number): void { this.a.lea(GUEST_RSP, GUEST_RSP, bytes); }
  /** A guest register's value into a host register. */
  protected load(to: number, guest: number): void {
    const host = HOST[guest]!;
    if (host >= 0) this.a.mov(to, host); else this.a.state(0x8b, to, this.at.gpr(guest));
  }
  protected store(guest: number, from: number): void {
    const host = HOST[guest]!;
    if (host >= 0) this.a.mov(host, from); else this.a.state(0x89, from, this.at.gpr(guest));
  }
}
