// Where the parts of an instruction's bytes are, once decode() has said which instruction it is.
/** Prefixes that say how an address is formed, which decode() has seen to. */
const IGNORED = new Set([0x67, 0x64, 0x65, 0x2e, 0x36, 0x3e, 0x26]);

export class Encoding {
  /** 66, F0 and F2 or F3 (0: none). */
  operandSize = false; lock = false; rep = 0;
  rex = 0; map = 0; opcode = 0; modrm = 0;
  /** VEX.vvvv, W and pp; -1: not a VEX encoding. */
  vvvv = -1; vexW = false; pp = 0;
  /** Where the bytes behind ModRM, SIB and displacement are, which are the immediate's; the end. */
  immediate = 0; end = 0;

  get reg(): number { return this.modrm >> 3 & 7 | (this.rex & 4) << 1; }
  get rm(): number { return this.modrm & 7 | (this.rex & 1) << 3; }
  /** Register number in the opcode's low bits. */
  get inOpcode(): number { return this.opcode & 7 | (this.rex & 1) << 3; }
  get w(): boolean { return (this.rex & 8) !== 0; }

  /** For 64-bit mode. @param modrm whether a ModRM byte follows the opcode */
  parse(bytes: Uint8Array, at: number, length: number, modrm: boolean): void {
    let p = at;
    this.operandSize = this.lock = false;
    this.rep = this.rex = this.map = 0;
    this.vvvv = -1;
    this.end = at + length;
    for (;; p++) {
      const b = bytes[p]!;
      if (b === 0x66) this.operandSize = true;
      else if (b === 0xf0) this.lock = true;
      else if (b === 0xf2 || b === 0xf3) this.rep = b;
      else if ((b & 0xf0) === 0x40) { this.rex = b; continue; }
      else if (!IGNORED.has(b)) break;
      // REX ahead of another prefix means nothing.
      this.rex = 0;
    }
    let b = bytes[p++]!;
    if (b === 0xc4) {
      const second = bytes[p]!, third = bytes[p + 1]!;
      this.map = second & 0x1f;
      this.rex = 0x40 | ~second >> 5 & 7;
      this.vexW = (third & 0x80) !== 0;
      this.vvvv = ~third >> 3 & 15;
      this.pp = third & 3;
      p += 2;
      b = bytes[p++]!;
    } else if (b === 0x0f) {
      this.map = 1;
      b = bytes[p++]!;
      if (b === 0x38) { this.map = 2; b = bytes[p++]!; } else if (b === 0x3a) { this.map = 3; b = bytes[p++]!; }
    }
    this.opcode = b;
    if (modrm) {
      const m = this.modrm = bytes[p++]!, mod = m >> 6;
      if (mod !== 3) {
        const base = (m & 7) === 4 ? bytes[p++]! & 7 : m & 7;
        p += mod === 1 ? 1 : mod === 2 || base === 5 ? 4 : 0;
      }
    }
    this.immediate = p;
  }
  /** The opcode with its map, as Assembler takes it. */
  get whole(): number { return this.map === 0 ? this.opcode : this.map === 1 ? 0x0f00 | this.opcode : this.map === 2 ? 0x0f3800 | this.opcode : 0x0f3a00 | this.opcode; }
}
