// Writes x86-64 machine code, as far as the native tier needs it (Intel SDM volume 2, chapter 2, is the format's reference).
//
// All of a guest's memory, and the vCPU's state in it, is reached as gs:[32-bit address]: GS's base is the start of the
// domain's WebAssembly.Memory, and a 32-bit address cannot leave the 4 GiB that are reserved for it. No other form of memory
// operand is written for what a guest names, which is what keeps a mistake in the translation inside its domain.

/** Host registers by number. */
export const RAX = 0, RCX = 1, RDX = 2, RBX = 3, RSP = 4, RBP = 5, RSI = 6, RDI = 7, R8 = 8, R9 = 9, R10 = 10, R11 = 11, R12 = 12, R13 = 13, R14 = 14, R15 = 15;
/** Conditions of jcc by number. */
export const CC = { b: 2, ae: 3, e: 4, ne: 5, be: 6, a: 7 } as const;

const GS = 0x65, OPERAND_SIZE = 0x66, ADDRESS_SIZE = 0x67;

/** Where code goes on from a jump: known when the jump is written or later. */
export class Label { at = -1; readonly from: number[] = []; }

export class Assembler {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  at = 0;
  constructor(bytes: Uint8Array) { this.bytes = bytes; this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength); }
  get end(): number { return this.bytes.length; }

  byte(n: number): void { this.bytes[this.at++] = n; }
  emit(...bytes: number[]): void { for (const b of bytes) this.bytes[this.at++] = b; }
  word(n: number): void { this.view.setInt32(this.at, n, true); this.at += 4; }
  copy(from: Uint8Array, start: number, end: number): void { for (let n = start; n < end; n++) this.bytes[this.at++] = from[n]!; }
  private rex(w: boolean, reg: number, index: number, rm: number, force = false): void {
    const r = 0x40 | (w ? 8 : 0) | (reg & 8) >> 1 | (index & 8) >> 2 | (rm & 8) >> 3;
    if (r !== 0x40 || force) this.byte(r);
  }
  /** Opcode bytes as one number: 0x89, 0x0fb6, 0x0f38f0. */
  private opcode(op: number): void {
    if (op > 0xffff) this.byte(op >> 16);
    if (op > 0xff) this.byte(op >> 8 & 0xff);
    this.byte(op & 0xff);
  }
  private prefix(n: number): void { if (n) this.byte(n); }

  /** Register operands. @param prefix mandatory or operand-size prefix, or 0 */
  rr(op: number, reg: number, rm: number, w = true, prefix = 0, byteRegisters = false): void {
    this.prefix(prefix);
    this.rex(w, reg, 0, rm, byteRegisters);
    this.opcode(op);
    this.byte(0xc0 | (reg & 7) << 3 | rm & 7);
  }
  /** A word of the vCPU's state, at a fixed address in the domain's memory. */
  state(op: number, reg: number, address: number, w = true, prefix = 0): void {
    this.byte(GS);
    this.prefix(prefix);
    this.rex(w, reg, 0, 0);
    this.opcode(op);
    this.emit((reg & 7) << 3 | 4, 0x25);
    this.word(address);
  }
  /** A word of the code memory itself, at an offset: the processor's own, never a guest's. @param behind bytes of the instruction's immediate */
  own(op: number, reg: number, offset: number, w = true, behind = 0): void {
    this.rex(w, reg, 0, 0);
    this.opcode(op);
    this.byte((reg & 7) << 3 | 5);
    this.word(offset - this.at - 4 - behind);
  }
  /** The guest's memory at the physical address in the lower half of register `at` (RAX or R15), or up to 127 bytes behind it. */
  guest(op: number, reg: number, at: number, w: boolean, prefix = 0, byteRegisters = false, disp = 0): void {
    this.emit(ADDRESS_SIZE, GS);
    this.prefix(prefix);
    this.rex(w, reg, 0, at, byteRegisters);
    this.opcode(op);
    this.byte((disp ? 0x40 : 0) | (reg & 7) << 3 | at & 7);
    if (disp) this.byte(disp);
  }
  /** The guest's memory, or the vCPU's state, at the sum of two registers' lower halves and an address. */
  indexed(op: number, reg: number, base: number, index: number, address: number, w = true): void {
    this.emit(ADDRESS_SIZE, GS);
    this.rex(w, reg, index, base);
    this.opcode(op);
    this.emit(0x80 | (reg & 7) << 3 | 4, (index & 7) << 3 | base & 7);
    this.word(address);
  }
  /** A table in the vCPU's state, indexed by a register; without `gs` what a register of the translator's points at. */
  table(op: number, reg: number, index: number, address: number, w = true, gs = true): void {
    if (gs) this.byte(GS);
    this.rex(w, reg, 0, index);
    this.opcode(op);
    this.byte(0x80 | (reg & 7) << 3 | index & 7);
    this.word(address);
  }
  /** reg = base + (index << scale) + disp; no flags change. @param index -1: none */
  lea(reg: number, base: number, disp: number, index = -1, scale = 0, w = true): void {
    this.rex(w, reg, index < 0 ? 0 : index, base);
    this.byte(0x8d);
    const short = disp >= -128 && disp < 128, mod = short ? 0x40 : 0x80;
    if (index < 0 && (base & 7) !== 4) this.byte(mod | (reg & 7) << 3 | base & 7);
    else this.emit(mod | (reg & 7) << 3 | 4, scale << 6 | (index < 0 ? 4 : index & 7) << 3 | base & 7);
    if (short) this.byte(disp & 0xff); else this.word(disp);
  }
  /** reg = (index << scale) + disp. */
  leaScaled(reg: number, index: number, scale: number, disp: number): void {
    this.rex(true, reg, index, 0);
    this.emit(0x8d, (reg & 7) << 3 | 4, scale << 6 | (index & 7) << 3 | 5);
    this.word(disp);
  }
  mov(to: number, from: number, w = true): void { this.rr(0x89, from, to, w); }
  /** Sign-extended to 64 bits. */
  movImmediate(to: number, n: number): void { this.rex(true, 0, 0, to); this.emit(0xc7, 0xc0 | to & 7); this.word(n); }
  /** Zero-extended to 64 bits. */
  movWord(to: number, n: number): void { this.rex(false, 0, 0, to); this.byte(0xb8 | to & 7); this.word(n); }
  movQuad(to: number, n: bigint): void {
    this.rex(true, 0, 0, to);
    this.byte(0xb8 | to & 7);
    this.view.setBigInt64(this.at, BigInt.asIntN(64, n), true);
    this.at += 8;
  }
  /** Group 1 (add or adc sbb and sub xor cmp by number) with an immediate of 32 bits. */
  arithmetic(n: number, reg: number, value: number, w = true): void { this.rex(w, 0, 0, reg); this.emit(0x81, 0xc0 | n << 3 | reg & 7); this.word(value); }
  /** Group 2 (rol ror rcl rcr shl shr - sar by number). */
  shift(n: number, reg: number, by: number, w = true): void { this.rex(w, 0, 0, reg); this.emit(0xc1, 0xc0 | n << 3 | reg & 7, by); }

  // ---- flow
  jmp(to: Label | number): void { this.byte(0xe9); this.target(to); }
  jcc(condition: number, to: Label | number): void { this.emit(0x0f, 0x80 | condition); this.target(to); }
  ret(): void { this.byte(0xc3); }
  push(reg: number): void { this.rex(false, 0, 0, reg); this.byte(0x50 | reg & 7); }
  pop(reg: number): void { this.rex(false, 0, 0, reg); this.byte(0x58 | reg & 7); }
  call(to: number): void { this.byte(0xe8); this.target(to); }
  private target(to: Label | number): void {
    if (typeof to === 'number') this.word(to - this.at - 4);
    else { if (to.at < 0) to.from.push(this.at); this.word(to.at - this.at - 4); }
  }
  bind(label: Label): void {
    label.at = this.at;
    for (const from of label.from) this.link(from, this.at);
  }
  /** Writes over what stands there. */
  over(at: number, bytes: readonly number[]): void { this.bytes.set(bytes, at); }
  /** Changes a word. */
  put(at: number, n: number): void { this.view.setInt32(at, n, true); }
  /** Has the jump whose distance stands at `from` lead elsewhere. */
  link(from: number, to: number): void { this.view.setInt32(from, to - from - 4, true); }
  /** Puts a jump over what stands at `at`. */
  divert(at: number, to: number): void { this.bytes[at] = 0xe9; this.link(at + 1, to); }
}
export { OPERAND_SIZE };
