// The static binding of an instruction's operands: record fields are constants, registers are locals of the
// translation, flags are kept as what they come from. The definitions are the interpreter's own.
import { type Bits, type Form, Insn, type OperandForm, SEEN, type Runtime } from '../insn.ts';
import { S, SLOT, TLB_BYTES } from '../state.ts';
import { FROM_STACK } from '../mmu.ts';
import { R } from '../record.ts';
import { type FuncRef, type I32, type I64, type Local, type V128, i32, i64, ld32, ld64 } from '../wasm/builder.ts';
import { ALONE } from './access.ts';
import { directCondition, type FlagState } from './flag-state.ts';
import { bitOf, type Translation } from './translation.ts';

/** This instruction cannot be translated: the translation ends before it. */
export class Untranslatable extends Error {}
/** Thrown when an instruction sets flags on some ways only: emit it again with the flags in locals. */
export const needsFlagLocals = Symbol('needs flag locals');

/** Where branches of a translation lead. */
export interface Flow {
  /** Emits the direct branch of the instruction at hand within the translation; false when there may be need of a way out behind it. */
  direct(): boolean;
  /** Emits the way to where an indirect branch or return is expected to go; one out has to follow. */
  indirect(rip: I64): void;
}
/** A translation calls none of these. */
const NONE: FuncRef = { index: 0, signature: { params: [], results: [] } };
const runtime = (t: Translation): Runtime => ({ handlerType: t.im.handlerType, translate: NONE, commit: NONE, lookup: NONE, helper: NONE, clock: NONE });
const LOW = 0xffffffffn;

export class StaticInsn extends Insn {
  private readonly t: Translation;
  private readonly at: number;
  private readonly flow: Flow;
  private readonly compat: boolean;
  /** Nesting at the instruction's start: what is emitted deeper may not run. */
  private readonly base: number;

  constructor(t: Translation, form: Form, record: number, compat: boolean, flow: Flow) {
    super(t.f, form, t.area, runtime(t), i32(record));
    this.t = t; this.at = record; this.compat = compat; this.flow = flow;
    this.base = t.f.nesting;
  }
  private get conditional(): boolean { return this.f.nesting > this.base; }
  /** Nothing follows in straight line. */
  get done(): boolean { return this.ended; }
  /** Whether execution reaches the next instruction by falling through. */
  fallsThrough = true;

  // ---- record fields
  override field8(offset: number): I32 { return i32(this.t.view.getUint8(this.at + offset)); }
  protected override field16(offset: number): I32 { return i32(this.t.view.getUint16(this.at + offset, true)); }
  protected override field32(offset: number): I64 { return i64(this.t.view.getInt32(this.at + offset, true)); }
  override imm32(): I32 { return i32(this.t.view.getInt32(this.at + R.imm, true)); }
  override imm64(): I64 { return i64(this.t.view.getBigInt64(this.at + R.disp, true)); }

  // ---- state words
  override state32(offset: number): I32 {
    if (offset === S.compat) return i32(this.compat ? 1 : 0);
    if (offset === S.taskSwitched) {
      if (this.t.simdChecked) return i32(0);
      if (!this.conditional) this.t.simdChecked = true;
    }
    return super.state32(offset);
  }
  override state64(offset: number): I64 {
    if (offset === S.flagResult) return this.words().result;
    if (offset === S.flagAux) return this.words().aux;
    return super.state64(offset);
  }

  // ---- registers
  private known(offset: I32 | number): number {
    const slot = typeof offset === 'number' ? offset : offset.constant;
    if (slot === undefined) throw new Untranslatable('register by computed number');
    return slot;
  }
  override slot(offset: I32 | number): I64 {
    const slot = this.known(offset);
    return slot === SLOT.zero ? i64(0) : slot === SLOT.pageBase ? this.t.pageBase() : slot === SLOT.temp ? ld64(this.area, S.regs + slot) : this.t.readSlot(slot);
  }
  override setSlot(offset: I32 | number, v: I64): void {
    const slot = this.known(offset);
    if (slot === SLOT.temp) this.f.st64(this.area, v, S.regs + slot);
    else if (slot < SLOT.zero) this.writeGpr(slot, 64, v);
    else throw new Untranslatable('segment base changes');
  }
  override readGpr(offset: I32 | number, bits: Bits): I64 {
    const slot = this.known(offset), v = this.t.readSlot(slot & ~7);
    if (bits === 8) return (slot & 7 ? v.shrU(8) : v).and(0xff);
    return bits === 16 ? v.and(0xffff) : bits === 32 ? v.and(LOW) : v;
  }
  override writeGpr(offset: I32 | number, bits: Bits, v: I64): void {
    const slot = this.known(offset), n = slot & ~7, { t } = this;
    const whole = (): I64 => t.readSlot(n);
    const value = bits === 64 ? v : bits === 32 ? v.and(LOW)
      : bits === 16 ? whole().and(~0xffffn).or(v.and(0xffff))
      : slot & 7 ? whole().and(~0xff00n).or(v.and(0xff).shl(8)) : whole().and(~0xffn).or(v.and(0xff));
    t.writeSlot(n, value);
    if (bits === 64) { if (value.within > 32) t.widen(n); else if (!this.conditional) t.narrow |= bitOf(n); }
    else if (bits === 32 && !this.conditional) t.narrow |= bitOf(n);
  }

  // ---- vector registers
  private xmmNumber(o: OperandForm): number { return this.fieldOf(o).constant!; }
  override readX(i: number): V128 {
    const o = this.operand(i);
    return o.kind === 'xmm' ? this.f.let(this.t.readXmm(this.xmmNumber(o))) : super.readX(i);
  }
  override writeX(i: number, v: V128): void {
    const o = this.operand(i);
    if (o.kind === 'xmm') this.t.writeXmm(this.xmmNumber(o), v); else super.writeX(i, v);
  }
  override xmm0(): V128 { return this.f.let(this.t.readXmm(0)); }
  override vectorPointer(i: number): I32 {
    const o = this.operand(i);
    return o.kind === 'xmm' ? this.t.xmmPointer(this.xmmNumber(o)) : super.vectorPointer(i);
  }

  // ---- memory
  override translate(va: I64, write: boolean, bytes: number, onFault?: () => void, stack = false): I32 {
    const { t } = this;
    if (t.small) return t.access(va, write, bytes, stack ? FROM_STACK : 0, this.at, onFault);
    return this.look(va, write, bytes, (p, a) => t.reach(p, a, (write ? 1 : 0) | bytes << 8 | (stack ? FROM_STACK : 0), this.rec, onFault));
  }
  /** Physical address of what lies in one page, or what `otherwise` sets it to. */
  private look(va: I64, write: boolean, bytes: number, otherwise: (p: Local<'i32'>, va: I64) => void): I32 {
    const { f, t } = this, origin = this.conditional ? undefined : va.origin, near = origin && t.addresses.near(origin, write), p = f.local('i32');
    t.save();
    if (near) {
      const { look, by } = near;
      f.set(p, look.p.get().add(by));
      f.if(look.at.get().add(by).gtU(4096 - bytes), () => otherwise(p, va), undefined, false);
      return p.get();
    }
    // Stacks are written to before long.
    const forWriting = write || origin !== undefined && origin.of === t.addresses.seen(SLOT.gpr(4))?.of;
    const a = f.let(va), tlb = forWriting ? TLB_BYTES : 0, e = f.let(t.tlbBase.add(a.wrap().shrU(8).and(0x3ff0))), at = f.local('i64');
    f.set(at, ld64(e, tlb).add(a));
    const far = at.get().gtU(4096 - bytes), here = a.wrap().add(ld32(e, tlb + 8));
    if (!origin) { f.set(p, here); f.if(far, () => otherwise(p, a), undefined, false); return p.get(); }
    const look = { origin, write: forWriting, p: f.local('i32'), at };
    f.set(look.p, here);
    f.set(p, look.p.get());
    f.if(far, () => otherwise(p, a), undefined, false);
    t.addresses.add(look);
    return p.get();
  }
  /** Where the page is not at hand, the interpreter goes on. */
  private lookAlone(va: I64, write: boolean, bytes: number): I32 {
    return this.t.small ? this.t.access(va, write, bytes, ALONE, this.at) : this.look(va, write, bytes, () => this.interpret());
  }
  /** Several pushes at once, this one the first, or all of them left to the interpreter. @param registers slots, as pushed */
  pushAll(registers: readonly number[]): void {
    const { f, t } = this, bytes = 8 * registers.length, low = f.let(this.slot(SLOT.gpr(4)).sub(bytes)), p = this.lookAlone(low, true, bytes);
    registers.forEach((slot, n) => f.st64(p, t.readSlot(slot), bytes - 8 * (n + 1)));
    this.setSlot(SLOT.gpr(4), low);
  }
  popAll(registers: readonly number[]): void {
    const { f, t } = this, bytes = 8 * registers.length, low = f.let(this.slot(SLOT.gpr(4))), p = this.lookAlone(low, false, bytes);
    registers.forEach((slot, n) => { t.writeSlot(slot, ld64(p, 8 * n)); t.widen(slot); });
    this.setSlot(SLOT.gpr(4), low.add(bytes));
  }
  override commit(): void { /* reach() leaves crossing stores to the interpreter */ }
  /** Leaves this instruction, of which nothing has been done, to the interpreter. */
  private interpret(): void { this.f.rarely(); this.t.leaveTo(this.rec); }

  // ---- flags
  private change(s: FlagState): void {
    const { t } = this;
    if (!this.conditional) { t.flags = s; return; }
    if (t.flags.kind !== (t.small ? 'memory' : 'locals')) throw needsFlagLocals;
    t.bringHome(s);
  }
  private words(): { result: I64; aux: I64 } {
    const { t } = this, s = t.flags;
    if (s.kind === 'locals') { t.settle(); if (!this.conditional) t.flags = { kind: 'memory' }; return t.knownWords({ kind: 'memory' }); }
    if (s.kind === 'step' && s.base.kind === 'locals' && !directCondition(s.base, 2)) {
      // The locals take the step too, and are settled together.
      if (this.conditional) { t.bringHome(s); t.settle(); } else { t.flushAndForget(); t.settle(); t.flags = { kind: 'memory' }; }
      return t.knownWords({ kind: 'memory' });
    }
    return t.knownWords(s);
  }
  override setFlags(result: I64, aux: I64 | bigint): void {
    if (this.pending) { super.setFlags(result, aux); return; }
    this.change({ kind: 'words', result: this.f.let(result), aux: this.f.let(i64(aux)) });
  }
  private readonly kept = (v: I64): I64 => this.f.let(v);
  override flagsAdd(a: I64, b: I64, r: I64, bits: Bits): void {
    if (this.pending) super.flagsAdd(a, b, r, bits);
    else this.change({ kind: 'add', a: this.kept(a), b: this.kept(b), r: this.kept(r), bits, plain: this.form.mnemonic !== 'adc' });
  }
  override flagsSub(a: I64, b: I64, r: I64, bits: Bits): void {
    if (this.pending) super.flagsSub(a, b, r, bits);
    else this.change({ kind: 'sub', a: this.kept(a), b: this.kept(b), r: this.kept(r), bits, plain: this.form.mnemonic !== 'sbb' });
  }
  override flagsLogic(r: I64, bits: Bits): void {
    if (this.pending) super.flagsLogic(r, bits); else this.change({ kind: 'logic', r: this.kept(r), bits });
  }
  override flagsShift(r: I64, cf: I64, of: I64, bits: Bits): void {
    if (this.pending) super.flagsShift(r, cf, of, bits); else this.change({ kind: 'shift', r: this.kept(r), cf, of, bits, over: this.t.f.inUse() });
  }
  override flagsStep(a: I64, r: I64, up: boolean, bits: Bits): void {
    if (this.pending || this.conditional) { super.flagsStep(a, r, up, bits); return; }
    const s = this.t.flags;
    this.change({ kind: 'step', up, r: this.kept(r), bits, base: s.kind === 'step' ? s.base : s });
  }
  override condition(code: number): I32 {
    const direct = directCondition(this.t.flags, code & 14);
    if (!direct) return super.condition(code);
    return code & 1 ? direct.eqz() : direct;
  }
  override cf(): I32 { return directCondition(this.t.flags, 2) ?? super.cf(); }
  override zf(): I32 { return directCondition(this.t.flags, 4) ?? super.zf(); }

  override clock(): I64 { return this.f.call<I64>(this.t.im.clock()); }

  // ---- leaving and going on
  override leave(): void { this.f.rarely(); this.t.leave(); }
  override exit(reason: number): void { super.exit(reason); if (!this.conditional) this.fallsThrough = false; }
  /** Nothing has been done yet: the interpreter meets the same. */
  override raise(): void {
    this.interpret();
    if (!this.conditional) this.fallsThrough = false;
  }
  override helper(): void { if (!this.conditional) throw new Untranslatable(`helper of ${this.form.mnemonic}`); this.interpret(); }
  override helperJump(): void { throw new Untranslatable(`helper of ${this.form.mnemonic}`); }
  override next(): void { this.ended = true; }
  override jump(rip: I64): void {
    const target = this.bits === 64 || !this.compat ? rip : rip.and(LOW);
    const to = this.f.let(target);
    // As the interpreter does, for the large translation that may come.
    if (this.t.small && SEEN.has(this.form.mnemonic)) this.f.st64(this.rec, to, R.seen);
    this.flow.indirect(to);
    this.t.leaveToRip(to);
    this.close();
  }
  override branch(): void {
    if (!this.flow.direct()) this.t.leaveAlong(this.at);
    this.close();
  }
  private close(): void { if (!this.conditional) { this.ended = true; this.fallsThrough = false; } }
}
