// One translation under construction: a function whose locals hold the guest's registers. Every way out goes through
// one epilogue that writes registers and flags back and dispatches a record of the interpreter.
import { R } from '../record.ts';
import { jumpHashCode } from '../mmu.ts';
import { FX, INTERNAL, S, SLOT, TLB_BYTES } from '../state.ts';
import { Fn, type FuncRef, type I32, type I64, type Label, Local, type Type, type Signature, type V128, i32, ld128, ld16u, ld32, ld64 } from '../wasm/builder.ts';
import { directCondition, type FlagLocals, type FlagState, flushFlags, localsOf, stepWords, wordsOf } from './flag-state.ts';

const HANDLER: Signature = { params: ['i32'], results: [] };

/** A function whose temporaries are used again by later instructions: compilers' time grows with locals. */
export class PooledFn extends Fn {
  private readonly temporaries: { index: number; type: Type }[] = [];
  private readonly free: Record<Type, number[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };
  private taken: { index: number; type: Type }[] = [];
  override local<T extends Type>(type: T): Local<T> {
    const index = this.free[type].pop(), l = index === undefined ? super.local(type) : new Local(index, type);
    if (index === undefined) this.temporaries.push({ index: l.index, type });
    this.taken.push({ index: l.index, type });
    return l;
  }
  /** A local that is never given back. */
  lasting<T extends Type>(type: T): Local<T> { return super.local(type); }
  /** Temporaries in use. */
  inUse(): number[] { return this.taken.map(t => t.index); }
  /** Gives back all temporaries but these. */
  release(keep: ReadonlySet<number>): void {
    const kept: typeof this.taken = [];
    for (const t of this.taken) if (keep.has(t.index)) kept.push(t); else this.free[t.type].push(t.index);
    this.taken = kept;
  }
  /** Goes on where just these temporaries are in use. */
  adopt(keep: ReadonlySet<number>): void {
    for (const list of Object.values(this.free)) list.length = 0;
    this.taken = this.temporaries.slice();
    this.release(keep);
  }
}

/** Functions of the interpreter's instance that translations import. */
export interface Imports {
  readonly handlerType: number;
  readonly translate: FuncRef;
  /** The slow way of a memory access (mmu.ts, REACH). */
  readonly reach: FuncRef;
  /** (record of a direct branch) -> record to go on with. */
  readonly follow: FuncRef;
  /** (rip) -> record to go on with. */
  readonly jumpTo: FuncRef;
  readonly settle: FuncRef;
}

/** What is known at compile time at one point of a translation. */
export interface Known {
  readonly flags: FlagState;
  readonly narrow: ReadonlySet<number>;
  readonly simdChecked: boolean;
  readonly dirty: ReadonlySet<number> | undefined;
}
/** More registers than this are written back by the common epilogue. */
const INLINE_WRITES = 10;
/** XMM registers' numbers among the registers, behind the slots. */
const XMM = 0x100;
const xmmOffset = (register: number): number => S.fx + FX.xmm + 16 * (register - XMM);

export class Translation {
  readonly f = new PooledFn(HANDLER);
  readonly area: number;
  readonly view: DataView;
  readonly im: Imports;
  /** The record whose handler is this translation, by this number, until code in it changes. */
  readonly entryRecord: number;
  readonly handler: number;
  /**
   * A small translation leaves registers and flags in memory, where the baseline compiler is at its best, and counts down
   * where its block did, for a large one to take its place.
   */
  readonly small: boolean;
  /** What a loop's counter goes down to before it is left. */
  private readonly hotLoop: number;
  private readonly compat: boolean;
  /** Bytes from the entry's page to the page of the instruction at hand. */
  distance = 0;
  /** The flags at this point. */
  flags: FlagState = { kind: 'memory' };
  readonly flagLocals: FlagLocals | undefined;
  /** Registers known to be below 2^32 here. */
  narrow = new Set<number>();
  /** The check of CR0.TS was made on every way here. */
  simdChecked = false;
  /** Registers written on the ways here; undefined: any. */
  private dirty: Set<number> | undefined = new Set();
  private readonly registers = new Map<number, Local<'i64'>>();
  private readonly vectors = new Map<number, Local<'v128'>>();
  private readonly written = new Set<number>();
  private readonly target: Local<'i32'>;
  private readonly tlb: Local<'i32'>;
  /** The epilogue, and the way there with flags still in locals. */
  private exit!: Label;
  private lazyExit!: Label;
  private reachExit!: Label;

  constructor(area: number, view: DataView, im: Imports, entryRecord: number, handler: number, compat: boolean, small: boolean, hotLoop: number) {
    const { f } = this;
    this.compat = compat; this.small = small; this.hotLoop = hotLoop;
    this.area = area; this.view = view; this.im = im; this.entryRecord = entryRecord; this.handler = handler;
    if (!small) this.flagLocals = { kind: f.lasting('i32'), a: f.lasting('i64'), b: f.lasting('i64'), r: f.lasting('i64'), step: f.lasting('i32'), stepped: f.lasting('i64') };
    this.target = f.lasting('i32');
    this.tlb = f.lasting('i32');
  }
  get tlbBase(): I32 { return this.tlb.get(); }

  /** The local of a register slot. */
  private register(slot: number): Local<'i64'> {
    let l = this.registers.get(slot);
    if (!l) this.registers.set(slot, l = this.f.lasting('i64'));
    return l;
  }
  readSlot(slot: number): I64 {
    const v = this.small ? ld64(this.area, S.regs + slot) : this.register(slot).get();
    if (this.narrow.has(slot)) v.within = 32;
    return v;
  }
  writeSlot(slot: number, v: I64): void {
    if (this.small) { this.f.st64(this.area, v, S.regs + slot); return; }
    this.f.set(this.register(slot), v);
    this.wrote(slot);
  }
  private vector(n: number): Local<'v128'> {
    let l = this.vectors.get(n);
    if (!l) this.vectors.set(n, l = this.f.lasting('v128'));
    return l;
  }
  readXmm(n: number): V128 { return this.small ? ld128(this.area, xmmOffset(XMM + n)) : this.vector(n).get(); }
  writeXmm(n: number, v: V128): void {
    if (this.small) { this.f.st128(this.area, v, xmmOffset(XMM + n)); return; }
    this.f.set(this.vector(n), v);
    this.wrote(XMM + n);
  }
  /** Address of a register's bytes, which are brought up to date, for reading. */
  xmmPointer(n: number): I32 {
    const at = xmmOffset(XMM + n);
    if (!this.small) this.f.st128(this.area, this.readXmm(n), at);
    return i32(this.area + at);
  }
  private wrote(register: number): void { this.written.add(register); this.dirty?.add(register); }
  private writeBack(register: number): void {
    if (register >= XMM) this.f.st128(this.area, this.readXmm(register - XMM), xmmOffset(register));
    else this.f.st64(this.area, this.register(register).get(), S.regs + register);
  }

  // ---- what is known
  know(): Known { return { flags: this.flags, narrow: new Set(this.narrow), simdChecked: this.simdChecked, dirty: this.dirty && new Set(this.dirty) }; }
  recall(k: Known): void {
    this.flags = k.flags;
    this.narrow = new Set(k.narrow);
    this.simdChecked = k.simdChecked;
    this.dirty = k.dirty && new Set(k.dirty);
  }
  /** Goes on at a place that one way leads to, with what was known there. */
  resume(k: Known): void { this.recall(k); this.f.adopt(new Set(localsOf(k.flags))); }
  /** Nothing is known where several ways meet. */
  join(): void { this.narrow.clear(); this.simdChecked = false; this.flags = this.home; this.dirty = undefined; this.f.adopt(new Set()); }

  // ---- flags
  /** Where flags are when nothing is known about them. */
  private get home(): FlagState { return { kind: this.small ? 'memory' : 'locals' }; }
  flush(): void { this.bringHome(this.flags); }
  /** Puts a state where it is looked for when nothing is known. @param leaving in a large translation, on the way out */
  bringHome(s: FlagState, leaving = false): void {
    if (this.flagLocals) { flushFlags(this.f, this.flagLocals, s, leaving); return; }
    if (s.kind === 'memory') return;
    this.storeWords(this.knownWords(s));
  }
  private storeWords({ result, aux }: { result: I64; aux: I64 }): void {
    this.f.st64(this.area, result, S.flagResult);
    this.f.st64(this.area, aux, S.flagAux);
  }
  /** The words of a state that does not rest on locals. */
  knownWords(s: FlagState): { result: I64; aux: I64 } {
    const { f } = this, memory = (offset: number): I64 => f.let(ld64(this.area, offset));
    if (s.kind === 'memory') return { result: memory(S.flagResult), aux: memory(S.flagAux) };
    if (s.kind === 'locals') throw new Error('flags in locals');
    if (s.kind !== 'step') return wordsOf(f, s);
    const carry = directCondition(s.base, 2);
    return stepWords(f, s, carry ? f.let(carry.extU()) : f.let(this.knownWords(s.base).aux.shrU(63)));
  }
  /** From here on they are looked for: several ways meet, or will. */
  flushAndForget(): void { this.flush(); this.flags = this.home; }
  /** Words into memory, for a state in locals. */
  settle(): void {
    const { f } = this, l = this.flagLocals!;
    f.call(this.im.settle, l.kind.get(), l.a.get(), l.b.get(), l.r.get(), l.step.get(), l.stepped.get());
    f.set(l.kind, i32(0));
    f.set(l.step, i32(0));
  }
  /** Temporaries of the instruction just emitted are free, but for what the flags need. */
  endInstruction(): void { this.f.release(new Set(localsOf(this.flags))); }

  /** Virtual address of the page at hand. */
  pageBase(): I64 { return this.readSlot(SLOT.pageBase).add(this.distance); }
  /** Virtual address of a place relative to the entry's page. */
  ripOf(distance: number): I64 { return this.f.let(this.readSlot(SLOT.pageBase).add(distance)); }
  /** Where the jump cache keeps a virtual address. */
  private cached(rip: I64): I32 { const { f } = this, low = f.let(rip.wrap()); return f.let(jumpHashCode(low).add(ld32(this.area, S.jumps))); }
  private marked(rip: I64): I64 { return rip.xor(ld64(this.area, S.jumpTag)); }
  /** Whether the record found last for a virtual address is this one. */
  leadsTo(rip: I64, record: number): I32 {
    const at = this.cached(rip);
    return ld64(at).eq(this.marked(rip)).and(ld32(at, 8).eq(record));
  }
  /** Whether a page holds code of this frame, as the last look said. */
  pageIs(page: I64, phys: number): I32 {
    const e = this.f.let(this.tlbBase.add(page.shrU(8).wrap().and(0x3ff0)));
    return ld64(e, 2 * TLB_BYTES).eq(page).and(page.wrap().add(ld32(e, 2 * TLB_BYTES + 8)).eq(phys));
  }

  // ---- leaving
  private leavePage(): void { if (this.distance) this.f.st64(this.area, this.pageBase(), S.regs + SLOT.pageBase); }
  /** Leaves to a record of the interpreter. */
  leaveTo(record: I32): void {
    this.f.set(this.target, record);
    this.leavePage();
    this.bringHome(this.flags, true);
    this.f.br(this.lazyExit);
  }
  /** Physical address by the slow way, or out. */
  reach(p: Local<'i32'>, va: I64, what: number, record: I32, undo?: () => void): void {
    const { f } = this;
    f.set(p, f.callValue(this.im.reach, va, i32(what), record, i32(this.entryRecord), i32(this.handler)));
    f.if(p.get().eqz(), () => { undo?.(); this.leavePage(); this.bringHome(this.flags, true); f.br(this.reachExit); }, undefined, false);
  }
  leave(): void { this.leaveTo(i32(this.area + S.exitRecord)); }
  /** Leaves the way a direct branch of the interpreter does. */
  leaveAlong(record: number): void {
    const { f } = this, link = this.target;
    const target = this.view.getInt32(record + R.target, true);
    // The address in compatibility mode may have to be cut.
    if ((target & -4096) !== 0 && !this.compat) { this.leaveToRip(this.ripOf(this.distance + target)); return; }
    this.leavePage();
    f.set(link, ld32(i32(record), R.link));
    f.if(link.get().eqz().or(ld64(this.area, S.attention).eqz().eqz()), () => f.set(link, f.call(this.im.follow, i32(record))), undefined, false);
    this.leaveReady();
  }
  /** Leaves to a virtual address: through the jump cache, here if it has it. */
  leaveToRip(rip: I64): void {
    const { f, area } = this, cached = this.cached(rip);
    f.if(ld64(cached).eq(this.marked(rip)).and(ld64(area, S.attention).eqz()), () => {
      f.set(this.target, ld32(cached, 8));
      f.st64(area, rip.and(-4096n), S.regs + SLOT.pageBase);
    }, () => f.set(this.target, f.call(this.im.jumpTo, rip)), true);
    this.leaveReady();
  }
  /** Counts a block's run: its neighbours' larger translations are made by that. */
  count(counter: number | undefined): void {
    if (this.small && counter !== undefined) this.f.st32(i32(counter), ld32(i32(counter), R.imm).sub(1), R.imm);
  }
  /** Whether a loop may go round once more: nobody wants attention, and it is not worth a larger translation. */
  mayRepeat(counter: number | undefined): I32 {
    const calm = ld64(this.area, S.attention).eqz();
    return this.small && counter !== undefined ? calm.and(ld32(i32(counter), R.imm).gtS(this.hotLoop)) : calm;
  }
  /** Leaves a loop that may not. */
  leaveLoop(rip: I64): void {
    const { f } = this;
    f.set(this.target, f.call(this.im.jumpTo, rip));
    this.bringHome(this.flags, true);
    f.br(this.lazyExit);
  }
  /** Leaves to the record in `target`, on a way that is often taken: the flag words are computed on the spot. */
  private leaveReady(): void {
    const { f, flags: s, dirty } = this, carry = s.kind === 'step' ? directCondition(s.base, 2) : undefined;
    if (!this.small && (s.kind === 'locals' || s.kind === 'step' && !carry)) { this.bringHome(s, true); f.br(this.lazyExit); return; }
    if (s.kind !== 'memory') this.storeWords(this.knownWords(s));
    if (!dirty || dirty.size > INLINE_WRITES) { f.br(this.exit); return; }
    for (const register of dirty) this.writeBack(register);
    this.dispatch();
  }
  private dispatch(): void { this.f.tailCallIndirect(this.im.handlerType, ld16u(this.target.get()), this.target.get()); }

  /** Wraps what `body` emits into prologue and epilogue. */
  build(body: () => void): Fn {
    const { f, area } = this, l = this.flagLocals;
    this.exit = f.begin('block');
    this.lazyExit = f.begin('block');
    this.reachExit = f.begin('block');
    body();
    f.unreachable();
    f.end();
    f.set(this.target, ld32(area, S.leaveTo));
    f.end();
    if (l) f.if(l.kind.get().or(l.step.get()), () => f.call(this.im.settle, l.kind.get(), l.a.get(), l.b.get(), l.r.get(), l.step.get(), l.stepped.get()), undefined, false);
    f.end();
    for (const register of this.written) this.writeBack(register);
    this.dispatch();
    const start = new Fn(HANDLER);
    if (this.small) {
      start.if(ld32(i32(this.entryRecord), R.imm).ltS(1), () => {
        for (const [word, v] of [[S.hot, this.entryRecord], [S.current, this.entryRecord], [S.exit, INTERNAL.hot]] as const) start.st32(area, v, word);
        start.ret();
      }, undefined, false);
    }
    start.set(this.tlb, ld32(area, S.tlb));
    for (const [slot, local] of this.registers) start.set(local, ld64(area, S.regs + slot));
    for (const [n, local] of this.vectors) start.set(local, ld128(area, xmmOffset(XMM + n)));
    f.prepend(start);
    return f;
  }
}
