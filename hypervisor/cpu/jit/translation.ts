// One translation under construction: a function whose locals hold the guest's registers. Every way out goes through
// one epilogue that writes registers and flags back and dispatches a record of the interpreter.
import { R } from '../record.ts';
import { JUMP_ENTRIES, S, SLOT } from '../state.ts';
import { Fn, type FuncRef, type I32, type I64, type Label, Local, type Type, type Signature, i32, ld16u, ld32, ld64 } from '../wasm/builder.ts';
import { directCondition, type FlagLocals, type FlagState, flushFlags, localsOf, stepWords, wordsOf } from './flag-state.ts';

const HANDLER: Signature = { params: ['i32'], results: [] };

/** A function whose temporaries are used again by later instructions: compilers' time grows with locals. */
export class PooledFn extends Fn {
  private readonly free: Record<Type, number[]> = { i32: [], i64: [], f32: [], f64: [], v128: [] };
  private taken: { index: number; type: Type }[] = [];
  override local<T extends Type>(type: T): Local<T> {
    const index = this.free[type].pop(), l = index === undefined ? super.local(type) : new Local(index, type);
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
}

/** Functions of the interpreter's instance that translations import. */
export interface Imports {
  readonly handlerType: number;
  readonly translate: FuncRef;
  /** (record of a direct branch) -> record to go on with. */
  readonly follow: FuncRef;
  /** (rip) -> record to go on with. */
  readonly jumpTo: FuncRef;
  readonly settle: FuncRef;
}

export class Translation {
  readonly f = new PooledFn(HANDLER);
  readonly area: number;
  readonly view: DataView;
  readonly im: Imports;
  /** The record whose handler becomes this translation; stale once the code has changed. */
  readonly entryRecord: number;
  private readonly compat: boolean;
  /** The flags at this point. */
  flags: FlagState = { kind: 'memory' };
  readonly flagLocals: FlagLocals;
  /** Registers known to be below 2^32 here. */
  readonly narrow = new Set<number>();
  /** The check of CR0.TS was made on every way here. */
  simdChecked = false;
  private readonly registers = new Map<number, Local<'i64'>>();
  private readonly written = new Set<number>();
  private readonly target: Local<'i32'>;
  private readonly tlb: Local<'i32'>;
  /** The epilogue, and the way there with flags still in locals. */
  private exit!: Label;
  private lazyExit!: Label;
  private budget: Local<'i32'> | undefined;
  private iterations = 0;

  constructor(area: number, view: DataView, im: Imports, entryRecord: number, compat: boolean) {
    const { f } = this;
    this.compat = compat;
    this.area = area; this.view = view; this.im = im; this.entryRecord = entryRecord;
    this.flagLocals = { kind: f.lasting('i32'), a: f.lasting('i64'), b: f.lasting('i64'), r: f.lasting('i64'), step: f.lasting('i32'), stepped: f.lasting('i64') };
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
    const v = this.register(slot).get();
    if (this.narrow.has(slot)) v.within = 32;
    return v;
  }
  writeSlot(slot: number, v: I64): void {
    this.f.set(this.register(slot), v);
    this.written.add(slot);
  }

  // ---- flags
  flush(): void { flushFlags(this.f, this.flagLocals, this.flags); }
  /** From here on the locals tell: several ways meet, or will. */
  flushAndForget(): void { this.flush(); this.flags = { kind: 'locals' }; }
  /** Words into memory, for a state in locals. */
  settle(): void {
    const { f, flagLocals: l } = this;
    f.call(this.im.settle, l.kind.get(), l.a.get(), l.b.get(), l.r.get(), l.step.get(), l.stepped.get());
    f.set(l.kind, i32(0));
    f.set(l.step, i32(0));
  }
  /** Nothing is known where several ways meet. */
  join(): void { this.narrow.clear(); this.simdChecked = false; this.flags = { kind: 'locals' }; }
  /** Temporaries of the instruction just emitted are free, but for what the flags need. */
  endInstruction(): void { this.f.release(new Set(localsOf(this.flags))); }

  /** A counter of loop iterations, full at entry. */
  loopBudget(iterations: number): Local<'i32'> {
    this.iterations = iterations;
    return this.budget ??= this.f.lasting('i32');
  }
  /** Virtual address of an offset in the page, as a branch target. */
  ripOf(offset: number): I64 { return this.f.let(this.readSlot(SLOT.pageBase).add(offset)); }

  // ---- leaving
  /** Leaves to a record of the interpreter. */
  leaveTo(record: I32): void {
    this.f.set(this.target, record);
    this.flush();
    this.f.br(this.lazyExit);
  }
  leave(): void { this.leaveTo(i32(this.area + S.exitRecord)); }
  /** Leaves the way a direct branch of the interpreter does. */
  leaveAlong(record: number): void {
    const { f } = this, link = this.target;
    const target = this.view.getInt32(record + R.target, true);
    // The address in compatibility mode may have to be cut.
    if ((target & -4096) !== 0 && !this.compat) { this.leaveToRip(this.ripOf(target)); return; }
    f.set(link, ld32(i32(record), R.link));
    f.if(link.get().eqz().or(ld64(this.area, S.attention).eqz().eqz()), () => f.set(link, f.call(this.im.follow, i32(record))), undefined, false);
    this.leaveReady();
  }
  /** Leaves to a virtual address: through the jump cache, here if it has it. */
  leaveToRip(rip: I64): void {
    const { f, area } = this, low = f.let(rip.wrap());
    const cached = f.let(low.xor(low.shrU(10)).and(JUMP_ENTRIES - 1).shl(4).add(ld32(area, S.jumps)));
    f.if(ld64(cached).eq(rip).and(ld64(area, S.attention).eqz()), () => {
      f.set(this.target, ld32(cached, 8));
      f.st64(area, rip.and(-4096n), S.regs + SLOT.pageBase);
    }, () => f.set(this.target, f.call(this.im.jumpTo, rip)), true);
    this.leaveReady();
  }
  /** Leaves to the record in `target`, on a way that is often taken: the flag words are computed on the spot. */
  private leaveReady(): void {
    const { f, area, flags: s } = this, carry = s.kind === 'step' ? directCondition(s.base, 2) : undefined;
    if (s.kind === 'locals' || s.kind === 'step' && !carry) { this.flush(); f.br(this.lazyExit); return; }
    if (s.kind !== 'memory') {
      const { result, aux } = s.kind === 'step' ? stepWords(f, s, f.let(carry!.extU())) : wordsOf(f, s);
      f.st64(area, result, S.flagResult);
      f.st64(area, aux, S.flagAux);
    }
    f.br(this.exit);
  }

  /** Wraps what `body` emits into prologue and epilogue. */
  build(body: () => void): Fn {
    const { f, area } = this, l = this.flagLocals;
    this.exit = f.begin('block');
    this.lazyExit = f.begin('block');
    body();
    f.unreachable();
    f.end();
    f.if(l.kind.get().or(l.step.get()), () => f.call(this.im.settle, l.kind.get(), l.a.get(), l.b.get(), l.r.get(), l.step.get(), l.stepped.get()), undefined, false);
    f.end();
    for (const slot of this.written) f.st64(area, this.register(slot).get(), S.regs + slot);
    f.tailCallIndirect(this.im.handlerType, ld16u(this.target.get()), this.target.get());
    const start = new Fn(HANDLER);
    start.set(this.tlb, ld32(area, S.tlb));
    for (const [slot, local] of this.registers) start.set(local, ld64(area, S.regs + slot));
    if (this.budget) start.set(this.budget, i32(this.iterations));
    f.prepend(start);
    return f;
  }
}
