// The context an instruction's definition is written against. Definitions never touch records or state directly,
// so the same definition serves any binding of its operands. This is the dynamic binding: operands are fields of a
// pre-decoded record and the result is one interpreter handler.
import { EXIT } from './processor-api.ts';
import { HELPER } from './helpers.ts';
import { FLAG, FX, S, SLOT, TLB_BYTES } from './state.ts';
import { R, RECORD_BYTES } from './record.ts';
import {
  Fn, I32, I64, type FuncRef, type Local, type V128, i32, i64, ld128, ld128from32, ld128from64, ld16u, ld32, ld64, ld64from16u, ld64from32s, ld64from32u,
  ld64from8u, ld8u, select, splat64,
} from './wasm/builder.ts';

/** Operand width in bits. */
export type Bits = 8 | 16 | 32 | 64 | 128;
/** How a memory operand's address is formed: none (register), base+disp, base+index*scale+disp, with segment, 32-bit, 64-bit immediate. */
export type AddressKind = 'reg' | 'bd' | 'bis' | 'seg' | 'a32' | 'abs';
export type OperandClass = 'gpr' | 'xmm' | 'mmx' | 'imm' | 'mem' | 'sreg' | 'sys' | 'rel';
export type Access = 'r' | 'w' | 'rw' | 'addr';

export interface OperandForm {
  readonly kind: OperandClass; readonly bits: Bits;
  /** Record field that names the register, or 'imm'. */
  readonly field: 'a' | 'b' | 'c' | 'imm';
  readonly access: Access;
  /** Where the encoding names it: ModRM.reg, ModRM.rm, VEX.vvvv, the opcode; none where it is implied, an immediate or a branch. */
  readonly place: 'reg' | 'rm' | 'vvvv' | 'opcode' | 'none';
}

/** One handler's shape: everything that is known when it is generated. */
export interface Form {
  readonly mnemonic: string;
  readonly operands: readonly OperandForm[];
  readonly address: AddressKind;
  /** Operand size of the instruction (16, 32, 64; 8 for byte forms). */
  readonly bits: Bits;
  readonly lock: boolean;
  /** String prefix. */
  readonly rep: 'none' | 'rep' | 'repne';
  /** Bytes the memory operand needs, when not those of its operand. */
  readonly memoryBytes?: number;
  /** 16-byte memory operands must be aligned (#GP otherwise). */
  readonly aligned: boolean;
}

/** Functions of the interpreter module that handlers call. */
export interface Runtime {
  readonly handlerType: number;
  /** (va, kind | bytes << 8, record) -> physical address, or 0 after a fault was recorded. */
  readonly translate: FuncRef;
  /** Writes a page-crossing store back from the scratch area. */
  readonly commit: FuncRef;
  /** (rip) -> record to go on with. */
  readonly lookup: FuncRef;
  /** (id, record, physical address of the memory operand) -> 0 to go on, else an exit was recorded. */
  readonly helper: FuncRef;
  /** () -> time stamp. */
  readonly clock: FuncRef;
}

const MASK: Record<8 | 16 | 32, bigint> = { 8: 0xffn, 16: 0xffffn, 32: 0xffffffffn };
export const zx = (v: I64, bits: Bits): I64 => bits >= 64 ? v : v.and(MASK[bits as 8]);
export const sx = (v: I64, bits: Bits): I64 => bits === 8 ? v.sx8() : bits === 16 ? v.sx16() : bits === 32 ? v.sx32() : v;
const TOP = 1n << 63n;
const CARRIES = 0xc000000000000000n;

/** Indirect branches that note where they went. */
export const SEEN = new Set(['jmp_rm', 'call_rm', 'ret']);

export class Insn {
  readonly f: Fn;
  readonly form: Form;
  readonly area: number;
  readonly rt: Runtime;
  readonly rec: I32;
  /** Physical address of the memory operand, once translated. */
  pointer: I32 | undefined;
  protected pending: { writes: [OperandForm, I64][]; flags: [I64, I64] | undefined } | undefined;
  private locked: I64 | undefined;
  protected ended = false;

  constructor(f: Fn, form: Form, area: number, rt: Runtime, rec: I32 = f.param(0, 'i32').get()) {
    this.f = f; this.form = form; this.area = area; this.rt = rt;
    this.rec = rec;
  }
  get bits(): Bits { return this.form.bits; }

  // ---- state words
  state32(offset: number): I32 { return ld32(this.area, offset); }
  state64(offset: number): I64 { return ld64(this.area, offset); }
  setState32(offset: number, v: I32 | number): void { this.f.st32(this.area, v, offset); }
  setState64(offset: number, v: I64 | bigint): void { this.f.st64(this.area, v, offset); }

  // ---- record fields
  field8(offset: number): I32 { return ld8u(this.rec, offset); }
  protected field16(offset: number): I32 { return ld16u(this.rec, offset); }
  protected field32(offset: number): I64 { return ld64from32s(this.rec, offset); }
  imm32(): I32 { return ld32(this.rec, R.imm); }
  /** The 32-bit immediate, sign-extended. */
  imm(): I64 { return this.field32(R.imm); }
  imm64(): I64 { return ld64(this.rec, R.disp); }

  // ---- registers by slot
  slot(offset: I32 | number): I64 {
    return typeof offset === 'number' ? ld64(this.area, S.regs + offset) : ld64(offset, this.area + S.regs);
  }
  setSlot(offset: I32 | number, v: I64): void {
    if (typeof offset === 'number') this.f.st64(this.area, v, S.regs + offset);
    else this.f.st64(offset, v, this.area + S.regs);
  }
  readGpr(slot: I32 | number, bits: Bits): I64 {
    const at = i32(slot), o = this.area + S.regs;
    return bits === 8 ? ld64from8u(at, o) : bits === 16 ? ld64from16u(at, o) : bits === 32 ? ld64from32u(at, o) : ld64(at, o);
  }
  /** Writes with x86's rules: 32 bits clear the upper half, 8 and 16 keep the rest. */
  writeGpr(slot: I32 | number, bits: Bits, v: I64): void {
    const at = i32(slot), o = this.area + S.regs;
    if (bits === 8) this.f.st8from64(at, v, o);
    else if (bits === 16) this.f.st16from64(at, v, o);
    else this.f.st64(at, bits === 32 ? v.and(MASK[32]) : v, o);
  }
  gpr(n: number, bits: Bits = 64): I64 { return this.readGpr(SLOT.gpr(n), bits); }
  setGpr(n: number, v: I64, bits: Bits = 64): void { this.writeGpr(SLOT.gpr(n), bits, v); }

  // ---- operands
  protected operand(i: number): OperandForm {
    const o = this.form.operands[i];
    if (!o) throw new Error(`${this.form.mnemonic}: no operand ${i}`);
    return o;
  }
  operandBits(i: number): Bits { return this.operand(i).bits; }
  isMemory(i: number): boolean { return this.operand(i).kind === 'mem'; }
  has(i: number): boolean { return i < this.form.operands.length; }
  protected fieldOf(o: OperandForm): I32 { return this.field8(o.field === 'a' ? R.a : o.field === 'b' ? R.b : R.c); }
  registerField(i: number): I32 { return this.fieldOf(this.operand(i)); }

  loadInt(p: I32, bits: Bits): I64 {
    return bits === 8 ? ld64from8u(p) : bits === 16 ? ld64from16u(p) : bits === 32 ? ld64from32u(p) : ld64(p);
  }
  storeInt(p: I32, bits: Bits, v: I64): void {
    if (bits === 8) this.f.st8from64(p, v); else if (bits === 16) this.f.st16from64(p, v);
    else if (bits === 32) this.f.st32from64(p, v); else this.f.st64(p, v);
  }
  /** Operand value, zero-extended to 64 bits (immediates are sign-extended, then cut to the operand size). Evaluated now. */
  read(i: number): I64 {
    const o = this.operand(i);
    if (o.kind === 'imm') return this.f.let(this.form.bits === 64 || o.bits === 64 ? this.imm() : zx(this.imm(), this.form.bits));
    if (o.kind === 'mem') return this.locked ?? this.f.let(this.loadInt(this.pointer!, o.bits));
    return this.f.let(this.readGpr(this.fieldOf(o), o.bits));
  }
  /** Operand value sign-extended to 64 bits. */
  readSigned(i: number): I64 { return this.operand(i).kind === 'imm' ? this.f.let(this.imm()) : this.f.let(sx(this.read(i), this.operandBits(i))); }
  write(i: number, v: I64): void {
    const o = this.operand(i);
    if (this.pending) { this.pending.writes.push([o, this.f.let(v)]); return; }
    this.writeNow(o, v);
  }
  /** Writes all 64 bits of a register operand, whatever its size. */
  writeWide(i: number, v: I64): void {
    const o: OperandForm = { ...this.operand(i), bits: 64 };
    if (this.pending) this.pending.writes.push([o, this.f.let(v)]); else this.writeNow(o, v);
  }
  private writeNow(o: OperandForm, v: I64): void {
    if (o.kind === 'mem') this.storeInt(this.pointer!, o.bits, v); else this.writeGpr(this.fieldOf(o), o.bits, v);
  }

  // ---- xmm and mmx operands (registers are slots of 16 bytes; the field holds the register number; an mmx register's
  // upper half reads as zero)
  private xmmAddress(o: OperandForm): I32 { return this.fieldOf(o).shl(4).add(this.area + S.fx + (o.kind === 'mmx' ? FX.st : FX.xmm)); }
  xmmRegister(n: I32 | number): I32 { return i32(n).shl(4).add(this.area + S.fx + 160); }
  readX(i: number): V128 {
    const o = this.operand(i);
    if (o.kind === 'mem') {
      const p = this.pointer!;
      return this.f.let(o.bits === 16 ? splat64(ld64from16u(p)) : o.bits === 32 ? ld128from32(p) : o.bits === 64 ? ld128from64(p) : ld128(p));
    }
    return this.f.let(o.kind === 'mmx' ? ld128from64(this.xmmAddress(o)) : ld128(this.xmmAddress(o)));
  }
  writeX(i: number, v: V128): void {
    const o = this.operand(i);
    if (o.kind === 'mmx') {
      // Sign and exponent of the x87 register around it become all ones.
      this.f.st64(this.xmmAddress(o), v.lane64(0));
      this.f.st16(this.xmmAddress(o), 0xffff, 8);
      return;
    }
    if (o.kind !== 'mem') { this.f.st128(this.xmmAddress(o), v); return; }
    const p = this.pointer!;
    if (o.bits === 128) this.f.st128(p, v); else if (o.bits === 64) this.f.st64(p, v.lane64(0)); else this.f.st32(p, v.lane32(0));
  }
  /** Address of a vector operand's bytes: in memory, or in the state. */
  vectorPointer(i: number): I32 { const o = this.operand(i); return o.kind === 'mem' ? this.pointer! : this.xmmAddress(o); }
  /** XMM0 where it is an implied operand. */
  xmm0(): V128 { return ld128(this.area, S.fx + FX.xmm); }
  /** Whether any operand is an MMX register. */
  get usesMmx(): boolean { return this.form.operands.some(o => o.kind === 'mmx'); }

  // ---- addresses
  /** Effective address of the memory operand (with segment base), `beyond` bytes further on. */
  address(beyond?: I64): I64 {
    const slot = this.slot(this.field8(R.base)), base = beyond ? slot.add(beyond) : slot, disp = this.field32(R.disp);
    const indexed = (): I64 => this.slot(this.field8(R.index)).shl(this.field8(R.scale).extU());
    const segment = (): I64 => this.slot(this.field8(R.segment));
    switch (this.form.address) {
      case 'bd': return base.add(disp);
      case 'bis': return base.add(indexed()).add(disp);
      case 'seg': return base.add(indexed()).add(disp).add(segment());
      case 'a32': return base.add(indexed()).add(disp).and(MASK[32]).add(segment()).and(select(this.state32(S.compat), i64(MASK[32]), i64(-1n)));
      case 'abs': return this.imm64().add(segment());
      default: throw new Error(`${this.form.mnemonic}: no memory operand`);
    }
  }
  /** The address without its segment base (LEA). */
  offsetAddress(): I64 {
    const base = this.slot(this.field8(R.base)), disp = this.field32(R.disp);
    if (this.form.address === 'bd') return base.add(disp);
    const full = base.add(this.slot(this.field8(R.index)).shl(this.field8(R.scale).extU())).add(disp);
    return this.form.address === 'a32' ? full.and(MASK[32]) : full;
  }
  /**
   * Physical address for `bytes` bytes at a virtual address; leaves the handler when it faults.
   * @param onFault what to undo then @param stack what is #GP elsewhere is #SS
   */
  translate(va: I64, write: boolean, bytes: number, onFault?: () => void, stack = false): I32 {
    const { f } = this, a = f.let(va), p = f.local('i32'), kind = write ? 1 : 0;
    const e = f.let(this.state32(S.tlb).add(a.shrU(8).wrap().and(0x3ff0)));
    f.if(ld64(e, kind * TLB_BYTES).add(a).leU(4096 - bytes),
      () => f.set(p, a.wrap().add(ld32(e, kind * TLB_BYTES + 8))),
      () => {
        f.set(p, f.call(this.rt.translate, a, i32(kind | bytes << 8), this.rec));
        f.if(p.get().eqz(), () => { if (stack) this.stackFault(); onFault?.(); this.leave(); });
      }, true);
    return p.get();
  }
  /** After the last store through a pointer of translate(..., true): completes a page-crossing one. */
  commit(p: I32): void { this.f.if(p.eq(this.area + S.scratch), () => { this.f.rarely(); this.f.call(this.rt.commit); }); }

  // ---- flags (flags.ts describes the two words)
  setFlags(result: I64, aux: I64 | bigint): void {
    if (this.pending) { this.pending.flags = [this.f.let(result), this.f.let(i64(aux))]; return; }
    this.setState64(S.flagResult, result);
    this.setState64(S.flagAux, aux);
  }
  private carries(c: I64, bits: Bits): I64 {
    const kept = bits === 64 ? c.and(CARRIES | 8n) : c.shl(64 - bits).and(CARRIES).or(c.and(8n));
    return this.f.let(kept);
  }
  /** Carry vector of a + b (+ carry) = r. */
  addAux(a: I64, b: I64, r: I64, bits: Bits): I64 { return this.carries(this.f.let(a.and(b).or(a.or(b).and(r.not()))), bits); }
  /** Borrow vector of a - b (- borrow) = r. */
  subAux(a: I64, b: I64, r: I64, bits: Bits): I64 { return this.carries(this.f.let(a.not().and(b).or(a.xor(b).not().and(r))), bits); }
  flagsAdd(a: I64, b: I64, r: I64, bits: Bits): void { this.setFlags(sx(r, bits), this.addAux(a, b, r, bits)); }
  flagsSub(a: I64, b: I64, r: I64, bits: Bits): void { this.setFlags(sx(r, bits), this.subAux(a, b, r, bits)); }
  flagsLogic(r: I64, bits: Bits): void { this.setFlags(sx(r, bits), 0n); }
  /** INC and DEC leave CF alone: OF is kept right by choosing the carry into the top bit against the old CF. */
  flagsStep(a: I64, r: I64, up: boolean, bits: Bits): void {
    const fresh = up ? this.addAux(a, i64(1), r, bits) : this.subAux(a, i64(1), r, bits);
    const cf = this.f.let(this.cf().extU()), of = this.f.let(fresh.xor(fresh.shl(1)).shrU(63));
    this.setFlags(sx(r, bits), fresh.and(8n).or(cf.shl(63)).or(cf.xor(of).shl(62)));
  }
  /** Result flags plus CF and OF given as 0 or 1, in terms of values that stay as they are. */
  flagsShift(r: I64, cf: I64, of: I64, bits: Bits): void {
    const carry = this.f.let(cf);
    this.setFlags(sx(r, bits), carry.shl(63).or(carry.xor(of).shl(62)));
  }
  /** Changes CF and OF alone. */
  setCfOf(cf: I64, of: I64): void {
    this.setFlags(this.f.let(this.state64(S.flagResult)), this.state64(S.flagAux).and(~CARRIES).or(cf.shl(63)).or(cf.xor(of).shl(62)));
  }
  /** Changes CF alone. */
  setCf(cf: I64): void { this.setCfOf(cf, this.f.let(this.of().extU())); }
  cf(): I32 { return this.state64(S.flagAux).ltS(0n); }
  of(): I32 { const a = this.state64(S.flagAux); return a.xor(a.shl(1)).ltS(0n); }
  zf(): I32 { return this.state64(S.flagResult).eqz(); }
  sf(): I32 { return this.state64(S.flagResult).xor(this.state64(S.flagAux).shl(63)).ltS(0n); }
  pf(): I32 { return this.state64(S.flagResult).xor(this.state64(S.flagAux).shrU(8)).and(0xffn).popcnt().wrap().and(1).xor(1); }
  af(): I32 { return this.state64(S.flagAux).shrU(3).wrap().and(1); }
  /** SF != OF. */
  lt(): I32 { const a = this.state64(S.flagAux); return this.state64(S.flagResult).xor(a.shl(63)).xor(a).xor(a.shl(1)).ltS(0n); }
  /** Condition code 0..15 of Jcc, SETcc, CMOVcc as 0 or 1. */
  condition(code: number): I32 {
    const base = [() => this.of(), () => this.cf(), () => this.zf(), () => this.cf().or(this.zf()), () => this.sf(), () => this.pf(), () => this.lt(), () => this.zf().or(this.lt())][code >> 1]!();
    return code & 1 ? base.eqz() : base;
  }
  /** Arithmetic flags as RFLAGS bits. */
  arithmeticFlags(): I64 {
    const bit = (v: I32, n: number): I64 => v.extU().shl(n);
    return bit(this.cf(), 0).or(bit(this.pf(), 2)).or(bit(this.af(), 4)).or(bit(this.zf(), 6)).or(bit(this.sf(), 7)).or(bit(this.of(), 11));
  }
  /** RFLAGS as PUSHF sees it. */
  flagsWord(): I64 { return this.f.let(this.arithmeticFlags().or(this.state32(S.flagsOther).extU()).or(BigInt(FLAG.ONE))); }
  /** Sets the arithmetic flags from RFLAGS bits. */
  setArithmeticFlags(word: I64): void {
    const w = this.f.let(word), bit = (n: number): I64 => w.shrU(n).and(1n);
    // ZF is a zero result; what SF and PF then say wrongly is mended by the delta bits of the aux word.
    const result = bit(6).xor(1n);
    const parity = bit(2).xor(bit(6));
    this.setFlags(result, bit(7).or(parity.shl(8)).or(bit(4).shl(3)).or(bit(0).shl(63)).or(bit(0).xor(bit(11)).shl(62)));
  }

  // ---- leaving
  /** Ends guest code with an exit; rip is that of this instruction. */
  exit(reason: number): void {
    this.setState32(S.exit, reason);
    this.setState32(S.current, this.rec);
    this.leave();
  }
  /** Back to the processor; the exit is recorded. */
  leave(): void { this.f.rarely(); this.f.ret(); }
  raise(vector: number, errorCode = -1): void {
    this.setState32(S.vector, vector);
    this.setState32(S.errorCode, errorCode);
    this.exit(EXIT.exception);
  }
  /** #GP(0). */
  protection(): void { this.raise(13, 0); }
  helper(id: number, p: I32 | number = 0): void {
    this.f.if(this.f.call(this.rt.helper, i32(id), this.rec, i32(p)), () => this.leave());
  }

  /** A helper that sets rip itself (far transfers): the handler leaves and the processor goes on there. */
  helperJump(id: number, p: I32 | number = 0): void {
    this.f.drop(this.f.call(this.rt.helper, i32(id), this.rec, i32(p)));
    this.f.ret();
    this.ended = true;
  }

  /** The time-stamp counter. */
  clock(): I64 { return this.f.call<I64>(this.rt.clock); }

  // ---- going on
  next(): void { this.dispatch(this.rec.add(RECORD_BYTES)); this.ended = true; }
  /** Tail call to a record's handler. */
  dispatch(record: I32): void {
    const r = this.f.let(record);
    this.f.tailCallIndirect(this.rt.handlerType, ld16u(r), r);
  }
  /** Virtual address of the next instruction. */
  nextRip(): I64 { return this.slot(SLOT.pageBase).add(this.field16(R.offset).add(this.field8(R.length)).extU()); }
  thisRip(): I64 { return this.slot(SLOT.pageBase).add(this.field16(R.offset).extU()); }
  /** Continues at a virtual address; every way there passes the attention check. */
  jump(rip: I64): void {
    if (SEEN.has(this.form.mnemonic)) this.f.st64(this.rec, rip, R.seen);
    this.setState64(S.rip, this.bits === 64 ? rip : rip.and(select(this.state32(S.compat), i64(MASK[32]), i64(-1n))));
    this.setState32(S.current, 0);
    this.f.if(this.state64(S.attention).eqz().eqz(), () => { this.f.rarely(); this.setState32(S.exit, EXIT.attention); this.f.ret(); });
    this.dispatch(this.f.call(this.rt.lookup, this.state64(S.rip)));
    this.ended = true;
  }
  /** Goes on with the next instruction through the attention check: for what must act before it. */
  jumpNext(): void { this.jump(this.f.let(this.nextRip())); }
  /** Target of a direct branch. */
  branchTarget(): I64 { return this.slot(SLOT.pageBase).add(this.field32(R.target)); }
  /** Direct branch: through the record's link when it has one. */
  branch(): void {
    const { f } = this, link = f.let(ld32(this.rec, R.link));
    f.if(link.eqz().or(this.state64(S.attention).eqz().eqz()), () => {
      f.rarely();
      // Within the page the lookup may patch the link: the page's records live and die together.
      f.if(ld32(this.rec, R.target).and(-4096).eqz(), () => this.setState32(S.patch, this.rec));
      this.jump(this.branchTarget());
    });
    this.dispatch(link);
    this.ended = true;
  }

  // ---- stack
  /** Stack pointer width: by mode, which the operand size tells except for 16-bit operands. */
  private stackPointer(): I64 {
    const sp = this.slot(SLOT.gpr(4));
    return this.bits === 64 ? sp : this.bits === 32 ? sp.and(MASK[32]) : sp.and(this.stackMask());
  }
  private stackMask(): I64 { return select(this.state32(S.compat), i64(MASK[32]), i64(-1n)); }
  private stackAddress(sp: I64): I64 { return this.bits === 64 ? sp : sp.add(this.slot(SLOT.ssBase)).and(this.stackMask()); }
  setStackPointer(sp: I64): void {
    if (this.bits === 64) this.setGpr(4, sp); else this.setGpr(4, sp.and(this.stackMask()));
  }
  /** Pushes n values at once (first one highest); nothing is written if any would fault. */
  push(...values: I64[]): void {
    const bytes = this.bits / 8, { f } = this, n = values.length;
    const sp = f.let(this.bits === 64 ? this.stackPointer().sub(bytes * n) : this.stackPointer().sub(bytes * n).and(this.stackMask()));
    const p = this.translate(this.stackAddress(sp), true, bytes * n, this.onStackFault, true);
    values.forEach((v, i) => this.storeInt(f.let(p.add((n - 1 - i) * bytes)), this.bits, v));
    this.commit(p);
    this.setStackPointer(sp);
  }
  /** Reads n values from the top of the stack (or from `sp`) without moving the pointer. */
  peek(n = 1, sp: I64 = this.stackPointer()): I64[] {
    const bytes = this.bits / 8, p = this.translate(this.stackAddress(sp), false, bytes * n, this.onStackFault, true);
    return Array.from({ length: n }, (_, i) => this.f.let(this.loadInt(this.f.let(p.add(i * bytes)), this.bits)));
  }
  /** Faults when the byte the stack pointer names cannot be written. */
  probeStack(): void { this.translate(this.stackAddress(this.stackPointer()), true, 1, this.onStackFault, true); }
  /** What else to undo when a stack access faults. */
  onStackFault: (() => void) | undefined;
  /** What is #GP elsewhere is #SS for the stack. */
  private stackFault(): void { this.f.if(this.state32(S.vector).eq(13), () => this.setState32(S.vector, 12)); }
  /** #GP(0) for a branch target that no address space has; before anything changed. */
  canonical(target: I64): I64 {
    const t = this.f.let(target);
    if (this.bits === 64) this.f.if(t.shl(16).shrS(16).ne(t), () => this.protection());
    return t;
  }
  /** Moves the stack pointer up by bytes. */
  release(bytes: I64 | number): void { this.setStackPointer(this.stackPointer().add(bytes)); }
  pop(): I64 {
    const v = this.peek()[0]!;
    this.release(this.bits / 8);
    return v;
  }

  // ---- assembly of one handler
  /** Emits prologue (address, translation), the definition, and the way on. */
  define(definition: (x: Insn) => void, bitString: boolean, before?: (x: Insn) => void): void {
    before?.(this);
    const memory = this.form.operands.find(o => o.kind === 'mem');
    if (memory && memory.access !== 'addr') {
      // BT with a register offset reaches beyond the operand: whole operands away, signed.
      const shift = Math.log2(memory.bits);
      let ea = this.address(bitString && this.form.operands[1]!.kind === 'gpr' ? this.readSigned(1).shrS(shift).shl(shift - 3) : undefined);
      if (this.form.aligned) { const a = this.f.let(ea); this.f.if(a.and(15n).eqz().eqz(), () => this.protection()); ea = a; }
      this.pointer = this.translate(ea, memory.access !== 'r', this.form.memoryBytes ?? memory.bits / 8);
      if ((this.form.lock || this.form.mnemonic === 'xchg') && this.form.mnemonic !== 'cmpxchg8b') { this.defineAtomic(definition, memory.bits); return; }
    }
    definition(this);
    if (this.ended) return;
    if (memory && (memory.access === 'w' || memory.access === 'rw')) this.commit(this.pointer!);
    this.next();
  }
  /** What a locked instruction does at its operand, with all other vCPUs of this memory outside guest code. */
  alone(body: () => void): void {
    const { f } = this, p = this.pointer!, shared = (): I32 => this.state32(S.siblings);
    f.if(shared(), () => this.helper(HELPER.lockBus, p));
    body();
    this.commit(p);
    f.if(shared(), () => this.helper(HELPER.unlockBus, p));
  }
  /** Read-modify-write as a compare-exchange loop when aligned, alone when not. */
  private defineAtomic(definition: (x: Insn) => void, bits: Bits): void {
    const { f } = this, p = this.pointer!, bytes = bits / 8;
    const plain = (): void => this.alone(() => definition(this));
    const atomic = (): void => f.loop(again => {
      const old = f.let(this.loadInt(p, bits));
      this.locked = old;
      this.pending = { writes: [], flags: undefined };
      definition(this);
      const { writes, flags } = this.pending;
      this.pending = undefined;
      this.locked = undefined;
      const stored = writes.find(([o]) => o.kind === 'mem');
      if (stored) f.brIf(again, f.cmpxchg(bits as 8, p, old, zx(stored[1], bits)).ne(old));
      for (const [o, v] of writes) if (o.kind !== 'mem') this.writeNow(o, v);
      if (flags) this.setFlags(...flags);
    });
    f.if(bytes === 1 ? i32(1) : p.and(bytes - 1).eqz().and(p.ne(this.area + S.scratch)), atomic, plain);
    this.next();
  }
}
/** True when a plain local holds it; re-exported for definitions that keep loop counters. */
export type Counter = Local<'i64'>;
