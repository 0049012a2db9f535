// One translation under construction: a function whose locals hold the guest's registers. Memory is brought up to date
// with them before each place that may be left, not on the ways out: compilers' time grows with what many ways carry to
// one place. Flags go along to the ways out (ways-out.ts).
import { PAGE_BYTES } from '../layout.ts';
import { R } from '../record.ts';
import { jumpHashCode } from '../mmu.ts';
import { FX, INTERNAL, S, SLOT, TLB_BYTES } from '../state.ts';
import { Fn, type FuncRef, type I32, type I64, type Label, Local, type Type, type Signature, type V128, i32, i64, ld128, ld32, ld64, uleb } from '../wasm/builder.ts';
import { whatOf } from './access.ts';
import { Addresses, both, type KnownAddresses } from './addresses.ts';
import { directCondition, type FlagLocals, type FlagState, flushFlags, localsOf, settleArguments, stepWords, wordsOf } from './flag-state.ts';
import type { Size } from './job.ts';
import type { Carried, Destination } from './ways-out.ts';

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
  /** A tail call. @param forget what temporaries hold: the baseline compiler would store it first */
  leave(to: FuncRef, forget: boolean, ...args: (I32 | I64)[]): void {
    let code = '';
    if (forget) for (const { index, type } of this.temporaries) if (type === 'i32' || type === 'i64') code += (type === 'i32' ? '\x41\x00\x21' : '\x42\x00\x21') + uleb(index);
    this.tailCallAfter(to, code, args);
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
  /** The slow way of a memory access (mmu.ts, REACH). */
  readonly reach: () => FuncRef;
  /** The whole of it in a small translation (access.ts). */
  readonly access: (write: boolean, carried: Carried) => FuncRef;
  readonly settle: () => FuncRef;
  readonly clock: () => FuncRef;
  readonly wayOut: (to: Destination, carried: Carried) => FuncRef;
}

/** Blocks that have a number: wherever they have a translation, it stands there in the table. */
export interface Numbers {
  /** The block at a physical address. */
  numbered(phys: number): { readonly number: number; readonly record: number } | undefined;
  /** Physical address of the page `distance` bytes from the entry's page. */
  page(distance: number): number | undefined;
}

/** What is known at compile time at one point of a translation. */
export interface Known {
  readonly flags: FlagState;
  /** Of each register a bit (bitOf). */
  readonly narrow: number;
  readonly simdChecked: boolean;
  readonly stale: number;
  readonly addresses: KnownAddresses;
  readonly lanes: Lanes;
}
/** Lanes of vector registers, by number, where they are in locals beside the whole. */
type Lanes = ReadonlyMap<number, readonly I32[]>;
const NO_LANES: Lanes = new Map(), NONE: number[] = [];
/** The same where ways meet; registers are in memory there, and flags where they are looked for. */
export type Common = Pick<Known, 'narrow' | 'simdChecked' | 'addresses'>;
export const common = (a: Common, b: Common): Common => ({ narrow: a.narrow & b.narrow, simdChecked: a.simdChecked && b.simdChecked, addresses: both(a.addresses, b.addresses) });
/** The entry's page, as an origin. */
const PAGE = -1;
/** Registers in sets: general ones by their slot, then XMM. */
export const bitOf = (slot: number): number => 1 << (slot >> 3);
const XMM = 16, REGISTERS = 32;
const xmmOffset = (n: number): number => S.fx + FX.xmm + 16 * n;

export class Translation {
  readonly f = new PooledFn(HANDLER);
  readonly area: number;
  readonly view: DataView;
  readonly im: Imports;
  /** The first record of the block that this is a translation of, and its number. */
  readonly entryRecord: number;
  private readonly entryNumber: number;
  /**
   * A small translation leaves registers and flags in memory, where the baseline compiler is at its best, and counts down
   * where its block did, for a large one to take its place.
   */
  readonly small: boolean;
  private readonly size: Size;
  /** What a loop's counter goes down to before it is left. */
  private readonly hotLoop: number;
  private readonly compat: boolean;
  private readonly code: Numbers;
  /** Bytes from the entry's page to the page of the instruction at hand. */
  distance = 0;
  /** Its physical address. */
  phys = 0;
  /** The flags at this point. */
  flags: FlagState = { kind: 'memory' };
  readonly flagLocals: FlagLocals | undefined;
  /** Registers known to be below 2^32 here. */
  narrow = 0;
  /** The check of CR0.TS was made on every way here. */
  simdChecked = false;
  /** Registers whose memory is behind their local. */
  private stale = 0;
  private lanes: Lanes = NO_LANES;
  readonly addresses = new Addresses();
  /** Structures around the instructions at hand: what is emitted deeper may not run, or run more than once. */
  level = 0;
  private readonly registers = new Map<number, Local<'i64'>>();
  private readonly vectors = new Map<number, Local<'v128'>>();
  /** Address of the TLBs; a small translation looks where it is when it wants to know. */
  private readonly tlb: Local<'i32'> | undefined;
  /** Where a small translation is left to the record in S.leaveTo, flags being in memory. */
  private failed: Label | undefined;

  constructor(area: number, view: DataView, im: Imports, entryRecord: number, entryNumber: number, code: Numbers, compat: boolean, size: Size, hotLoop: number) {
    const { f } = this, small = size === 'small';
    this.code = code; this.compat = compat; this.size = size; this.small = small; this.hotLoop = hotLoop;
    this.area = area; this.view = view; this.im = im; this.entryRecord = entryRecord; this.entryNumber = entryNumber;
    if (small) return;
    this.flagLocals = { kind: f.lasting('i32'), a: f.lasting('i64'), b: f.lasting('i64'), r: f.lasting('i64'), step: f.lasting('i32'), stepped: f.lasting('i64') };
    this.tlb = f.lasting('i32');
  }
  get tlbBase(): I32 { return this.tlb ? this.tlb.get() : ld32(this.area, S.tlb); }

  /** The local of a register slot. */
  private register(slot: number): Local<'i64'> {
    let l = this.registers.get(slot);
    if (!l) this.registers.set(slot, l = this.f.lasting('i64'));
    return l;
  }
  readSlot(slot: number): I64 {
    const v = this.small ? ld64(this.area, S.regs + slot) : this.register(slot).get();
    if (slot < SLOT.zero && this.narrow & bitOf(slot)) v.within = 32;
    if (this.straight) v.origin = this.addresses.originOf(slot);
    return v;
  }
  /** What is emitted now runs once. */
  private get straight(): boolean { return this.f.nesting <= this.level; }
  writeSlot(slot: number, v: I64): void {
    this.addresses.wrote(slot, this.straight ? v.origin : undefined);
    if (this.small) { this.f.st64(this.area, v, S.regs + slot); return; }
    this.f.set(this.register(slot), v);
    this.wrote(slot >> 3);
  }
  private vector(n: number): Local<'v128'> {
    let l = this.vectors.get(n);
    if (!l) this.vectors.set(n, l = this.f.lasting('v128'));
    return l;
  }
  readXmm(n: number): V128 {
    const v = this.small ? ld128(this.area, xmmOffset(n)) : this.vector(n).get();
    v.lanes = this.lanes.get(n);
    return v;
  }
  writeXmm(n: number, v: V128): void {
    this.wroteLanes(n, v);
    if (this.small) { this.f.st128(this.area, v, xmmOffset(n)); return; }
    this.f.set(this.vector(n), v);
    this.wrote(XMM + n);
  }
  private wroteLanes(n: number, { lanes }: V128): void {
    const known = this.straight && !this.small ? lanes : undefined;
    if (!known && !this.lanes.has(n)) return;
    const now = new Map(this.lanes);
    if (known) now.set(n, known); else now.delete(n);
    this.lanes = now;
  }
  /** Address of a register's bytes, which are brought up to date, for reading. */
  xmmPointer(n: number): I32 {
    const at = xmmOffset(n);
    if (!this.small) this.f.st128(this.area, this.readXmm(n), at);
    return i32(this.area + at);
  }
  /** @param register its bit's number */
  private wrote(register: number): void { if (this.straight) this.stale |= 1 << register; else this.writeBack(register); }
  private writeBack(register: number): void {
    if (register >= XMM) this.f.st128(this.area, this.readXmm(register - XMM), xmmOffset(register - XMM));
    else this.f.st64(this.area, this.register(SLOT.gpr(register)).get(), S.regs + SLOT.gpr(register));
  }
  /** It may be 2^32 or more from here on. */
  widen(slot: number): void { this.narrow &= ~bitOf(slot); }

  /** Brings memory up to date with the registers. */
  save(): void {
    if (this.stale === 0) return;
    for (let n = 0; n < REGISTERS; n++) if (this.stale & 1 << n) this.writeBack(n);
    if (this.straight) this.stale = 0;
  }

  // ---- what is known
  know(): Known { return { flags: this.flags, narrow: this.narrow, simdChecked: this.simdChecked, stale: this.stale, addresses: this.addresses.know(), lanes: this.lanes }; }
  recall(k: Known): void {
    this.flags = k.flags;
    this.narrow = k.narrow;
    this.simdChecked = k.simdChecked;
    this.stale = k.stale;
    this.addresses.recall(k.addresses);
    this.lanes = k.lanes;
  }
  /** Goes on at a place that one way leads to, with what was known there. */
  resume(k: Known): void { this.recall(k); this.stale = 0; this.f.adopt(this.kept()); }
  /** Goes on where several ways meet, each of which has brought memory up to date, with what all of them know. */
  join(k: Common): void { this.recall({ ...k, flags: this.home, stale: 0, lanes: NO_LANES }); this.f.adopt(this.kept()); }
  /** Begins a loop: what its rounds do to registers is not known. */
  loop(): void { this.addresses.forgetRegisters(); this.join({ narrow: 0, simdChecked: false, addresses: this.addresses.know() }); }

  // ---- flags
  /** Where flags are when nothing is known about them. */
  private get home(): FlagState { return { kind: this.small ? 'memory' : 'locals' }; }
  flush(): void { this.bringHome(this.flags); }
  /** Puts a state where it is looked for when nothing is known. */
  bringHome(s: FlagState): void { if (this.flagLocals) flushFlags(this.f, this.flagLocals, s); else if (s.kind !== 'memory') this.storeWords(this.knownWords(s)); }
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
    f.call(this.im.settle(), ...settleArguments(f, l, { kind: 'locals' }));
    f.set(l.kind, i32(0));
    f.set(l.step, i32(0));
  }
  /** Temporaries of the instruction just emitted are free, but for what the flags need. */
  endInstruction(): void { this.addresses.prune(); this.f.release(this.kept()); }
  private kept(): Set<number> { return new Set([...localsOf(this.flags), ...this.addresses.locals(), ...this.laneLocals()]); }
  private laneLocals(): number[] { return this.lanes.size ? [...this.lanes.values()].flatMap(lanes => lanes.map(l => l.kept!)) : NONE; }

  /** Virtual address of the page at hand. */
  pageBase(): I64 { return this.page(this.distance); }
  /** Virtual address so many bytes from the entry's page. A small translation has it from memory, which names the page at hand. */
  private page(distance: number): I64 {
    const base = this.readSlot(SLOT.pageBase), by = this.small ? distance - this.distance : distance, v = by ? base.add(by) : base;
    v.origin = { of: PAGE, plus: distance };
    return v;
  }
  /** Virtual address of a place relative to the entry's page. */
  ripOf(distance: number): I64 { return this.f.let(this.page(distance)); }
  /** Where the jump cache keeps a virtual address. */
  private cached(rip: I64): I32 { const { f } = this, low = f.let(rip.wrap()); return f.let(jumpHashCode(low).add(ld32(this.area, S.jumps))); }
  private marked(rip: I64): I64 { return rip.xor(ld64(this.area, S.jumpTag)); }
  /** Whether the record found last for a virtual address is this one. */
  leadsTo(rip: I64, record: number): I32 {
    const at = this.cached(rip);
    return ld64(at).xor(this.marked(rip)).or(ld32(at, 8).xor(record).extU()).eqz();
  }
  /** Whether a page holds code of this frame, as the last look said. */
  pageIs(page: I64, phys: number): I32 {
    const e = this.f.let(this.tlbBase.add(page.shrU(8).wrap().and(0x3ff0)));
    return ld64(e, 2 * TLB_BYTES).add(page).eqz().and(page.wrap().add(ld32(e, 2 * TLB_BYTES + 8)).eq(phys));
  }

  // ---- leaving
  /** On the way to code `distance` bytes from the entry's page: memory names the page of the instruction at hand. */
  turnTo(distance: number): void {
    if (distance !== this.distance) this.f.st64(this.area, this.page(distance), S.regs + SLOT.pageBase);
  }
  /** Ends the translation here. */
  private out(to: Destination, ...where: (I32 | I64)[]): void {
    this.save();
    const [carried, ...flags] = this.carriedFlags();
    this.f.leave(this.im.wayOut(to, carried), this.small, ...where, ...flags);
  }
  private carriedFlags(): [Carried, ...(I32 | I64)[]] {
    const { f, flags: s, flagLocals: l } = this;
    switch (s.kind) {
      case 'memory': return ['kept'];
      case 'add': case 'sub': return [`${s.kind}${s.bits as 8}`, s.a, s.b, s.r];
      case 'locals': case 'step': if (l) return ['any', ...settleArguments(f, l, s)];
    }
    const { result, aux } = this.knownWords(s);
    return ['words', result, aux];
  }
  /** Leaves to a record of the interpreter. */
  leaveTo(record: I32): void { this.out('record', record); }
  /** Physical address for an access of a small translation, or out. @param more bits of the request (access.ts) */
  access(va: I64, write: boolean, bytes: number, more: number, record: number, undo?: () => void): I32 {
    const { f, flags: { kind } } = this, p = f.local('i32'), what = whatOf(record, write, bytes, more);
    // What takes long to say is said on the way out.
    const costly = kind === 'shift' || kind === 'step', [carried, ...flags] = costly ? ['kept'] as const : this.carriedFlags();
    f.set(p, f.callValue<I32>(this.im.access(write, carried), va, what, ...flags));
    if (!costly && !undo) f.brIf(this.failed!, p.get().eqz(), false);
    else f.if(p.get().eqz(), () => { undo?.(); this.leaveTo(ld32(this.area, S.leaveTo)); }, undefined, false);
    return p.get();
  }
  /** Physical address by the slow way, or out. */
  reach(p: Local<'i32'>, va: I64, what: number, record: I32, undo?: () => void): void {
    const { f } = this;
    f.set(p, f.callValue<I32>(this.im.reach(), va, i32(what), record).add(1));
    f.if(p.get().eqz(), () => { undo?.(); this.leaveTo(ld32(this.area, S.leaveTo)); }, undefined, false);
  }
  leave(): void { this.leaveTo(i32(this.area + S.exitRecord)); }
  /** Leaves the way a direct branch of the interpreter does. */
  leaveAlong(record: number): void {
    const target = this.view.getInt32(record + R.target, true);
    if (this.leaveToBlock(target)) return;
    // The address in compatibility mode may have to be cut.
    if ((target & -4096) !== 0 && !this.compat) { this.leaveToRip(this.ripOf(this.distance + target)); return; }
    this.out('link', i32(record));
  }
  /** Leaves to a block that has a number, behind a check of its page where one is needed; whether it is always left so. @param target relative to the page at hand */
  private leaveToBlock(target: number): boolean {
    const offset = target & PAGE_BYTES - 1, near = target === offset, distance = this.distance + target - offset;
    if (!near && this.compat) return false;
    const phys = near ? this.phys : this.code.page(distance), block = phys === undefined ? undefined : this.code.numbered(phys + offset);
    if (!block) return false;
    const go = (): void => { this.turnTo(distance); this.out('block', i32(block.number), i32(block.record)); };
    if (near || this.addresses.knows(distance, phys!)) { go(); return true; }
    this.save();
    this.f.if(this.pageIs(this.f.let(this.page(distance)), phys!), go, undefined, true);
    return false;
  }
  /** Leaves to a virtual address. */
  leaveToRip(rip: I64): void { this.out('jump', rip); }
  /** Counts a block's run: its neighbours' larger translations are made by that. */
  count(counter: number | undefined): void {
    if (!this.small || counter === undefined) return;
    const at = this.counterOf(counter);
    this.f.st32(at, ld32(at).sub(1));
  }
  /** Whether a loop may go round once more: nobody wants attention, and it is not worth a larger translation. */
  mayRepeat(counter: number | undefined): I32 {
    const calm = ld64(this.area, S.attention).eqz();
    return this.small && counter !== undefined ? calm.and(ld32(this.counterOf(counter)).gtS(this.hotLoop)) : calm;
  }
  /** Where the runs are counted of a block with this first record: the entry's apart, as its record is not looked at otherwise. */
  private counterOf(record: number): I32 { return record === this.entryRecord ? i32(this.area + S.counters + 4 * this.entryNumber) : i32(record + R.imm); }
  /** Wraps what `body` emits into a function: registers are loaded when it is entered. */
  build(body: () => void): Fn {
    const { f, area } = this;
    if (this.small) {
      this.failed = f.begin('block');
      body();
      f.unreachable();
      f.end();
      f.tailCall(this.im.wayOut('record', 'kept'), ld32(area, S.leaveTo));
    } else body();
    f.unreachable();
    const start = new Fn(HANDLER);
    if (this.size !== 'wide') {
      const at = this.counterOf(this.entryRecord), left = ld32(at);
      start.if(left.ltS(1), () => {
        for (const [word, v] of [[S.hot, this.entryRecord], [S.current, this.entryRecord], [S.exit, INTERNAL.hot]] as const) start.st32(area, v, word);
        start.ret();
      }, undefined, false);
      // A small one counts its blocks, a large one how often it is entered.
      if (!this.small) start.st32(at, left.sub(1));
    }
    if (this.tlb) start.set(this.tlb, ld32(area, S.tlb));
    for (const [slot, local] of this.registers) start.set(local, ld64(area, S.regs + slot));
    for (const [n, local] of this.vectors) start.set(local, ld128(area, xmmOffset(n)));
    f.prepend(start);
    return f;
  }
}
