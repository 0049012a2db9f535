// One instruction's native code: itself with other registers, its memory operand looked up first; or, where its encoding does not
// show all operands, what does the same.
import type { Form } from '../insn.ts';
import { ACCESS } from '../processor-api.ts';
import { PAGE_BYTES } from '../layout.ts';
import { SLOT } from '../state.ts';
import { type Addresses, BRANCH } from './addresses.ts';
import { type Assembler, CC, Label, OPERAND_SIZE, R14, RAX, RBX, RDX } from './assembler.ts';
import { Encoding } from './encoding.ts';
import type { Ways } from './entry.ts';
import { type HostFeature, plainUse, PREFIX_COUNTS } from './instructions.ts';
import { GUEST_RAX, GUEST_RSP, HOST, hostOf, isHighByte, T0, T1 } from './registers.ts';
import { NativeWriter } from './writer.ts';

const READ = ACCESS.read, WRITE = ACCESS.write;
/**
 * Of what faults or may fault on the host where it is not aligned, the interpreter takes care: vectors; locked instructions, which hosts
 * may be set not to carry out across cache lines; SHA's operands on Intel's processors.
 */
const mustBeAligned = ({ aligned, lock, mnemonic }: Form): boolean => aligned || lock || mnemonic === 'xchg' || mnemonic.startsWith('sha');
/** What touches memory that its operands do not show. */
const STACK = new Set(['push', 'pop', 'leave', 'call', 'call_rm', 'ret', 'ret_imm']);

export class InstructionWriter extends NativeWriter {
  private readonly features: ReadonlySet<HostFeature>;
  private readonly e = new Encoding();
  /** Behind the saving of flags that the instruction began with, or -1. */
  protected savedAt = -1;
  /** It made all flags without asking for any. */
  protected killed = false;

  constructor(a: Assembler, at: Addresses, ways: Ways, features: ReadonlySet<HostFeature>) { super(a, at, ways); this.features = features; }

  protected instruction(bytes: Uint8Array, at: number, form: Form): 'done' | 'ended' | 'refused' {
    const { a, d, e } = this, modrm = form.operands.some(o => o.place === 'reg' || o.place === 'rm');
    this.savedAt = -1;
    if (form.address === 'a32' && d.mnemonic !== 'nop_rm') return 'refused';
    e.parse(bytes, at, d.length, modrm);
    const start = a.at, memory = form.operands.find(o => o.kind === 'mem'), touches = memory !== undefined && memory.access !== 'addr' || STACK.has(d.mnemonic);
    if (touches && this.live && !this.saved) {
      this.save();
      this.savedAt = a.at;
    }
    const plain = plainUse(form, d.imm, this.features);
    this.killed = plain !== undefined && plain.writes && !plain.reads && !touches;
    const undo = (): 'refused' => { a.at = start; if (this.savedAt >= 0) { this.saved = false; this.savedAt = -1; } return 'refused'; };
    if (plain) return this.plain(bytes, form, plain) ? 'done' : undo();
    const done = this.special(bytes, form);
    return done === 'refused' ? undo() : done;
  }

  /** What only exchanges registers and memory operand. False before anything but the saving of flags is written. */
  private plain(bytes: Uint8Array, form: Form, use: { readonly reads: boolean; readonly writes: boolean }): boolean {
    const { a, d, e } = this, { operands } = form, memory = operands.find(o => o.kind === 'mem');
    const slots = [d.a, d.b, d.c];
    // High bytes have encodings of their own.
    if (operands.some((o, n) => o.kind === 'gpr' && o.bits === 8 && isHighByte(slots[n]!))) return this.highByte(bytes, form, use);
    const { mnemonic } = form, vex = e.vvvv >= 0;
    if (form.lock && !memory) return false;
    const bitString = memory && (mnemonic === 'bt' || mnemonic === 'bts' || mnemonic === 'btr' || mnemonic === 'btc') && operands[1]!.kind === 'gpr';
    if (bitString) return false;
    if (mnemonic === 'mov' && memory && memory.place === 'none') return this.moffs(form);
    const reg = operands.find(o => o.place === 'reg'), rm = operands.find(o => o.place === 'rm' && o.kind !== 'mem'), inOpcode = operands.find(o => o.place === 'opcode');
    const accumulator = operands.some(o => o.kind === 'gpr' && o.place === 'none' && o.field === 'a') && !reg && !rm;
    const inMemory = (o: typeof reg, n: number): boolean => o !== undefined && o.kind === 'gpr' && HOST[n]! < 0;
    const regIn = inMemory(reg, e.reg), rmIn = inMemory(rm, e.rm), vIn = vex && HOST[e.vvvv]! < 0 && operands.some(o => o.place === 'vvvv');
    if (regIn && vIn && e.reg === e.vvvv && operands.some(o => o.place === 'vvvv' && o.access !== 'r')) return false;
    // One that is only written needs no register of its own.
    const onlyWritten = regIn && reg!.access === 'w' && reg!.bits >= 32 && !operands.some(o => o.place === 'vvvv' && o.access !== 'r');
    if ((regIn && !onlyWritten ? 1 : 0) + (rmIn ? 1 : 0) + (vIn ? 1 : 0) > (memory ? 1 : 2)) return false;
    const needs = use.reads;
    const wide = form.bits === 64;
    const byteRegisters = operands.some(o => o.kind === 'gpr' && o.bits === 8);
    const writes = (o: typeof reg): boolean => o!.access !== 'r';

    let pointer = RAX;
    if (memory) {
      this.lookUpOperand(memory.access === 'r' ? READ : WRITE, form.memoryBytes ?? memory.bits / 8, mustBeAligned(form));
      if (needs) { a.mov(T1, RAX, false); pointer = T1; this.restore(); }
    } else if (needs) this.need();

    // Registers that are in the state: in T1 and T0, where they are free.
    let next = pointer === T1 ? T0 : T1;
    const take = (n: number): number => { const r = next; next = T0; a.state(0x8b, r, this.at.gpr(n)); return r; };
    const destination = next, regHost = reg ? reg.kind === 'gpr' ? regIn ? onlyWritten ? destination : take(e.reg) : HOST[e.reg]! : e.reg : e.modrm >> 3 & 7;
    const sameRegister = regIn && !onlyWritten && rmIn && e.reg === e.rm;
    const rmHost = rm ? rm.kind === 'gpr' ? rmIn ? sameRegister ? regHost : take(e.rm) : HOST[e.rm]! : e.rm : 0;
    const vHost = vex && e.vvvv >= 0 && operands.some(o => o.place === 'vvvv') ? vIn ? take(e.vvvv) : HOST[e.vvvv]! : 0;
    if (vex) this.vex(bytes, regHost, vHost, memory ? -1 : rmHost, pointer);
    else if (inOpcode) {
      const n = e.inOpcode, host = HOST[n]! < 0 ? take(n) : HOST[n]!, own = HOST[n]! < 0;
      if (mnemonic === 'bswap') { a.emit(0x40 | (wide ? 8 : 0) | host >> 3, 0x0f, 0xc8 | host & 7); }
      else if (mnemonic === 'xchg') {
        // With the accumulator.
        if (form.bits === 16) a.byte(OPERAND_SIZE);
        a.rr(0x87, host, GUEST_RAX, wide);
      } else if (mnemonic === 'mov') { a.rr(0xc6, 0, host, false, 0, true); a.byte(bytes[e.immediate]!); }
      else return false;
      if (own) a.state(0x89, host, this.at.gpr(n));
    } else {
      const prefix = e.rep && (PREFIX_COUNTS.has(mnemonic) || operands.some(o => o.kind === 'xmm')) ? e.rep : 0;
      const sized = e.operandSize && (!prefix || PREFIX_COUNTS.has(mnemonic));
      if (sized) a.byte(OPERAND_SIZE);
      if (form.lock) a.byte(0xf0);
      const w = e.w;
      if (accumulator) {
        // The short forms for the accumulator, which is elsewhere.
        const test = mnemonic === 'test', narrow = (e.opcode & 1) === 0;
        a.rr(test ? narrow ? 0xf6 : 0xf7 : narrow ? 0x80 : 0x81, test ? 0 : e.opcode >> 3 & 7, GUEST_RAX, w, 0, true);
      } else if (memory) a.guest(e.whole, regHost, pointer, w, prefix, byteRegisters);
      else a.rr(e.whole, regHost, rmHost, w, prefix, byteRegisters);
      a.copy(bytes, e.immediate, e.end);
    }
    if (regIn && (writes(reg) || sameRegister && writes(rm))) a.state(0x89, regHost, this.at.gpr(e.reg));
    if (rmIn && !sameRegister && writes(rm)) a.state(0x89, rmHost, this.at.gpr(e.rm));
    if (vIn && operands.some(o => o.place === 'vvvv' && o.access !== 'r')) a.state(0x89, vHost, this.at.gpr(e.vvvv));
    if (use.writes) this.changed();
    return true;
  }
  private vex(bytes: Uint8Array, reg: number, v: number, rm: number, pointer: number): void {
    const { a, e } = this, low = rm < 0 ? pointer : rm;
    if (rm < 0) a.emit(0x67, 0x65);
    a.emit(0xc4, (reg & 8 ? 0 : 0x80) | 0x40 | (low & 8 ? 0 : 0x20) | e.map, (e.vexW ? 0x80 : 0) | (~v & 15) << 3 | e.pp, e.opcode);
    // Where the opcode is extended, ModRM.reg is no register.
    a.byte((rm < 0 ? 0 : 0xc0) | (reg & 7) << 3 | low & 7);
    a.copy(bytes, e.immediate, e.end);
  }
  /** With AH, CH, DH or BH: the register is worked on in RAX, whose AH it becomes. */
  private highByte(bytes: Uint8Array, form: Form, use: { readonly reads: boolean; readonly writes: boolean }): boolean {
    const { a, d, e } = this, { mnemonic, operands } = form, memory = operands.find(o => o.kind === 'mem'), slots = [d.a, d.b, d.c];
    if (form.lock || mnemonic === 'xchg' || mnemonic === 'xadd' || e.vvvv >= 0 || e.map > 1) return false;
    const high = operands.findIndex((o, n) => o.kind === 'gpr' && o.bits === 8 && isHighByte(slots[n]!)), slot = slots[high]! & ~7, place = operands[high]!.place;
    const other = operands.findIndex((o, n) => n !== high && o.kind === 'gpr' && o.place !== 'none');
    if (operands[high]!.access === 'r' && (other >= 0 || memory)) {
      // It is only read: as a byte of its own, in AL.
      if (other >= 0 && (isHighByte(slots[other]!) || hostOf(slots[other]!) < 0)) return false;
      let pointer = RAX;
      if (memory) { this.lookUpOperand(memory.access === 'r' ? READ : WRITE, memory.bits / 8); a.mov(T1, RAX, false); pointer = T1; }
      if (use.reads) this.need();
      a.mov(RAX, hostOf(slot));
      // movzx eax, ah
      a.emit(0x0f, 0xb6, 0xc4);
      const host = other >= 0 ? hostOf(slots[other]!) : 0, reg = place === 'reg' ? RAX : host, rm = place === 'rm' ? RAX : host;
      if (e.operandSize) a.byte(OPERAND_SIZE);
      if (memory) a.guest(e.whole, reg, pointer, e.w, 0, true); else a.rr(e.whole, reg, rm, e.w, 0, true);
    } else if (other >= 0 && hostOf(slot) <= RBX && operands[other]!.access === 'r' && !isHighByte(slots[other]!) && hostOf(slots[other]!) >= 0 && (slots[other]! & ~7) !== slot) {
      // CH, DH and BH are where they are in the guest; the other byte comes along in AL.
      if (use.reads) this.need();
      a.rr(0x0fb6, RAX, hostOf(slots[other]!), false, 0, true);
      const mine = 4 | hostOf(slot), reg = place === 'reg' ? mine : 0, rm = place === 'rm' ? mine : 0;
      a.emit(...e.map === 1 ? [0x0f] : [], e.opcode, 0xc0 | reg << 3 | rm);
    } else if (other >= 0 || memory) {
      // Both bytes are in RAX where they are of one register.
      if (memory || (slots[other]! & ~7) !== slot) return false;
      if (use.reads) this.need();
      const low = (n: number): number => isHighByte(slots[n]!) ? 4 : 0, reg = place === 'reg' ? low(high) : low(other), rm = place === 'rm' ? low(high) : low(other);
      a.mov(RAX, hostOf(slot));
      a.emit(...e.map === 1 ? [0x0f] : [], e.opcode, 0xc0 | reg << 3 | rm);
      a.mov(hostOf(slot), RAX);
    } else {
      if (use.reads) this.need();
      a.mov(RAX, hostOf(slot));
      if (place === 'opcode') a.byte(0xb4); else a.emit(...e.map === 1 ? [0x0f] : [], e.opcode, 0xc0 | (e.modrm & 0x38) | 4);
      a.copy(bytes, e.immediate, e.end);
      if (operands[high]!.access !== 'r') a.mov(hostOf(slot), RAX);
    }
    if (use.writes) this.changed();
    return true;
  }
  /** The accumulator from or to an address in the instruction. */
  private moffs(form: Form): boolean {
    const { a, e } = this, from = form.operands[0]!.kind === 'gpr', bits = form.operands[0]!.bits;
    this.lookUpOperand(from ? READ : WRITE, bits / 8);
    if (bits === 16) a.byte(OPERAND_SIZE);
    a.guest(bits === 8 ? from ? 0x8a : 0x88 : from ? 0x8b : 0x89, GUEST_RAX, RAX, e.w, 0, true);
    return true;
  }

  private special(bytes: Uint8Array, form: Form): 'done' | 'ended' | 'refused' {
    const { a, d, e } = this, m = d.mnemonic, { bits, operands } = form, after = this.here + d.length, o = operands[0], memory = o?.kind === 'mem';
    switch (m) {
      case 'nop': case 'nop_rm': case 'pause': return 'done';
      case 'lfence': a.emit(0x0f, 0xae, 0xe8); return 'done';
      case 'mfence': a.emit(0x0f, 0xae, 0xf0); return 'done';
      case 'sfence': a.emit(0x0f, 0xae, 0xf8); return 'done';
      case 'rdtsc': case 'rdtscp':
        this.spoil();
        a.movWord(T1, this.here | (m === 'rdtscp' ? 0x10000 : 0));
        a.call(this.ways.clock);
        return 'done';
      case 'stos': case 'movs':
        if (form.rep === 'none' || form.address !== 'bd' || d.segment !== SLOT.zero) return 'refused';
        this.spoil();
        a.movWord(T1, this.here);
        a.call(this.ways.strings[m][this.view]![(e.opcode & 1) === 0 ? 0 : e.w ? 3 : e.operandSize ? 1 : 2]!);
        return 'done';
      case 'pcmpestri': case 'pcmpestrm': {
        if (operands.some(each => each.kind === 'mmx')) return 'refused';
        const pointer = operands.some(each => each.kind === 'mem');
        if (pointer) { this.lookUpOperand(READ, 16); a.mov(T1, RAX, false); }
        a.mov(RAX, GUEST_RAX);
        if (pointer) a.guest(e.whole, e.reg, T1, e.w, OPERAND_SIZE); else a.rr(e.whole, e.reg, e.rm, e.w, OPERAND_SIZE);
        a.copy(bytes, e.immediate, e.end);
        this.changed();
        return 'done';
      }
      case 'clc': case 'stc': case 'cmc': this.need(); a.byte(e.opcode); this.changed(); return 'done';
      case 'lea': {
        const host = HOST[e.reg]!;
        if (form.address === 'abs') return 'refused';
        this.address(false)();
        if (bits === 16) { a.rr(0x89, RAX, host < 0 ? T1 : host, false, OPERAND_SIZE); if (host < 0) return 'refused'; return 'done'; }
        if (bits === 32) a.mov(RAX, RAX, false);
        this.store(e.reg, RAX);
        return 'done';
      }
      case 'movabs': {
        const n = e.inOpcode, host = HOST[n]! < 0 ? T1 : HOST[n]!;
        if (bits === 16) return 'refused';
        if (bits === 64) a.movQuad(host, d.imm64!); else a.movWord(host, d.imm);
        if (HOST[n]! < 0) a.state(0x89, T1, this.at.gpr(n));
        return 'done';
      }
      case 'cbw':
        if (bits === 16) a.rr(0x0fbe, R14, R14, false, OPERAND_SIZE, true); else if (bits === 32) a.rr(0x0fbf, R14, R14, false); else a.rr(0x63, R14, R14);
        return 'done';
      case 'cwd':
        a.mov(RAX, GUEST_RAX);
        if (bits === 16) a.byte(OPERAND_SIZE);
        if (bits === 64) a.byte(0x48);
        a.byte(0x99);
        return 'done';
      case 'mul': case 'imul1': case 'div': case 'idiv': return this.multiply(form);
      case 'cmpxchg': case 'cmpxchg8b': return this.compareExchange(form);
      case 'push': {
        if (bits !== 64) return 'refused';
        if (memory) {
          this.lookUpOperand(READ, 8);
          a.guest(0x8b, T1, RAX, true);
          a.state(0x89, T1, this.at.slot(SLOT.temp));
        }
        this.lookUp(WRITE, 8, this.belowTop);
        if (o!.kind === 'imm') { a.guest(0xc7, 0, RAX, true); a.word(d.imm); }
        else {
          let from = T1;
          if (memory) a.state(0x8b, T1, this.at.slot(SLOT.temp)); else from = this.inRegister(d.a, T1);
          a.guest(0x89, from, RAX, true);
        }
        this.release(-8);
        return 'done';
      }
      case 'pop': {
        if (bits !== 64 || o!.kind !== 'gpr') return 'refused';
        this.popOne(d.a >> 3);
        return 'done';
      }
      case 'leave': {
        if (bits !== 64) return 'refused';
        const rbp = HOST[5]!;
        this.lookUp(READ, 8, () => a.lea(RAX, rbp, 0));
        a.lea(GUEST_RSP, rbp, 8);
        a.guest(0x8b, rbp, RAX, true);
        return 'done';
      }
      case 'jmp': this.goTo(d.target, this.here); return 'ended';
      case 'jmp_rm':
        if (memory) { this.lookUpOperand(READ, 8); a.guest(0x8b, RAX, RAX, true); } else { this.save(); this.load(RAX, d.a >> 3); }
        this.jump(BRANCH.jump);
        return 'ended';
      case 'call': case 'call_rm': {
        if (m === 'call_rm') {
          if (memory) { this.lookUpOperand(READ, 8); a.guest(0x8b, RAX, RAX, true); } else { this.save(); this.load(RAX, d.a >> 3); }
          // A target that no address space has is reported before anything is pushed.
          this.spoil();
          a.mov(T1, RAX);
          a.shift(4, T1, 16);
          a.shift(7, T1, 16);
          a.rr(0x3b, T1, RAX);
          this.leaveIf(CC.ne);
          a.state(0x89, RAX, this.at.slot(SLOT.temp));
        }
        this.lookUp(WRITE, 8, this.belowTop);
        a.state(0x8b, T1, this.at.pageBase);
        a.lea(T1, T1, after);
        a.guest(0x89, T1, RAX, true);
        this.release(-8);
        if (m === 'call') this.goTo(d.target, this.here);
        else { a.state(0x8b, RAX, this.at.slot(SLOT.temp)); this.jump(BRANCH.jump); }
        return 'ended';
      }
      case 'ret': case 'ret_imm':
        if (bits !== 64) return 'refused';
        this.popReturn(m === 'ret_imm' ? d.imm : 0);
        this.jump(BRANCH.ret, m === 'ret_imm' ? d.imm : 0);
        return 'ended';
      default: {
        const jump = /^j(\d+)$/.exec(m);
        if (!jump) return 'refused';
        this.need();
        const condition = Number(jump[1]), { target } = d;
        a.emit(0x0f, 0x80 | condition);
        if (target > this.here && target < PAGE_BYTES) this.link(target, false);
        else {
          const label = new Label(), { here } = this;
          label.from.push(a.at);
          a.word(0);
          this.aside(() => { a.bind(label); this.goTo(target, here); });
        }
        this.goTo(after, this.here);
        return 'ended';
      }
    }
  }

  protected pushOne(n: number): void {
    this.lookUp(WRITE, 8, this.belowTop);
    this.a.guest(0x89, this.inRegister(SLOT.gpr(n), T1), RAX, true);
    this.release(-8);
  }
  protected popOne(n: number): void {
    const { a } = this, host = HOST[n]!;
    this.lookUp(READ, 8, this.stackTop);
    if (host < 0 || n === 4) { a.guest(0x8b, T1, RAX, true); this.release(8); this.store(n, T1); }
    else { a.guest(0x8b, host, RAX, true); this.release(8); }
  }
  /** RAX = where a return leads. */
  protected popReturn(released: number): void {
    this.lookUp(READ, 8, this.stackTop);
    this.a.guest(0x8b, RAX, RAX, true);
    this.release(8 + released);
  }
  private multiply(form: Form): 'done' | 'refused' {
    const { a, d, e } = this, { mnemonic: m, bits, operands } = form, memory = operands[0]!.kind === 'mem', w = bits === 64, division = m === 'div' || m === 'idiv';
    const prefix = bits === 16 ? OPERAND_SIZE : 0;
    if (bits === 8 && (division || !memory && isHighByte(d.a))) return 'refused';
    if (bits === 16 && m === 'idiv') return 'refused';
    let operand = T1;
    if (memory) { this.lookUpOperand(READ, bits / 8); if (bits === 8) a.guest(0x0fb6, T1, RAX, false); else a.guest(0x8b, T1, RAX, w, prefix); }
    else operand = this.inRegister(d.a, T1);
    if (division) {
      // Division by zero and quotients that do not fit are the interpreter's to report.
      this.spoil();
      if (m === 'div') { a.rr(0x3b, RDX, operand, w, prefix); this.leaveIf(CC.ae); }
      else {
        a.mov(RAX, GUEST_RAX);
        a.shift(7, RAX, bits - 1, w);
        a.rr(0x3b, RAX, RDX, w);
        this.leaveIf(CC.ne);
        a.lea(RAX, operand, 1, -1, 0, w);
        a.arithmetic(7, RAX, 1, w);
        this.leaveIf(CC.be);
      }
    }
    a.mov(RAX, GUEST_RAX);
    a.rr(bits === 8 ? 0xf6 : 0xf7, e.modrm >> 3 & 7, operand, w, prefix, bits === 8);
    a.mov(GUEST_RAX, RAX);
    if (!division) this.changed();
    return 'done';
  }
  private compareExchange(form: Form): 'done' | 'refused' {
    const { a, d, e } = this, { mnemonic: m, bits, operands } = form, wide = m === 'cmpxchg8b', memory = operands[0]!.kind === 'mem', prefix = bits === 16 && !wide ? OPERAND_SIZE : 0;
    const narrow = operands[0]!.bits === 8 && !wide;
    if (!memory || narrow && isHighByte(d.b) || !wide && HOST[e.reg]! < 0) return 'refused';
    this.lookUpOperand(WRITE, form.memoryBytes ?? operands[0]!.bits / 8, mustBeAligned(form));
    a.mov(T1, RAX, false);
    if (wide) this.restore();
    a.mov(RAX, GUEST_RAX);
    if (form.lock) a.byte(0xf0);
    a.guest(e.whole, wide ? 1 : HOST[e.reg]!, T1, e.w, prefix, narrow);
    a.mov(GUEST_RAX, RAX);
    this.changed();
    return 'done';
  }
}
