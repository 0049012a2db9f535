// Decoding an instruction that wrote to a write-protected page table, as far as guest kernels use for page-table
// entries: moves, exchanges, compare-and-exchange, logic and arithmetic on memory, bit operations, string stores.
// The address is the fault's, so the memory operand is only skipped over; what matters is the new value and the length.

/** How the destination changes: new value from the old one, and what else the instruction does to registers and flags. */
export type WriteKind = 'mov' | 'xchg' | 'cmpxchg' | 'cmpxchg8b' | 'xadd' | 'add' | 'or' | 'and' | 'sub' | 'xor' | 'inc' | 'dec' | 'not' | 'neg'
  | 'bts' | 'btr' | 'btc' | 'stos' | 'movs';

export interface DecodedWrite {
  readonly kind: WriteKind;
  readonly length: number;
  /** Operand size in bytes: 1, 2, 4, 8. */
  readonly size: number;
  /** Source register 0..15, or -1 when `immediate` is the source. */
  readonly reg: number;
  /** Byte operations without REX: registers 4..7 are ah ch dh bh. */
  readonly highByte: boolean;
  readonly immediate: bigint;
  readonly rep: boolean;
}

interface Prefixes { at: number; operand16: boolean; address32: boolean; rep: boolean; rex: number }

function readPrefixes(code: Uint8Array): Prefixes | undefined {
  const p: Prefixes = { at: 0, operand16: false, address32: false, rep: false, rex: 0 };
  for (; p.at < code.length; p.at++) {
    const byte = code[p.at]!;
    if (byte === 0x66) p.operand16 = true;
    else if (byte === 0x67) p.address32 = true;
    else if (byte === 0xf2 || byte === 0xf3) p.rep = true;
    else if (byte >= 0x40 && byte <= 0x4f) { p.rex = byte; p.at++; return p; }
    else if (![0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65].includes(byte)) return p;
  }
  return undefined;
}

/** Bytes of ModRM, SIB and displacement, for a memory operand; 0 when the operand is a register. */
function modrmLength(code: Uint8Array, at: number): number {
  const modrm = code[at];
  if (modrm === undefined || modrm >= 0xc0) return 0;
  const mod = modrm >> 6, rm = modrm & 7;
  let length = 1;
  if (rm === 4) {
    length++;
    if (mod === 0 && (code[at + 1]! & 7) === 5) length += 4;
  } else if (mod === 0 && rm === 5) length += 4;
  if (mod === 1) length += 1;
  if (mod === 2) length += 4;
  return length;
}

/** Immediate of `bytes` bytes, sign-extended to 64 bits. */
function immediateAt(code: Uint8Array, at: number, bytes: number): bigint | undefined {
  if (at + bytes > code.length) return undefined;
  let value = 0n;
  for (let i = bytes - 1; i >= 0; i--) value = (value << 8n) | BigInt(code[at + i]!);
  return BigInt.asUintN(64, BigInt.asIntN(bytes * 8, value));
}

/** Source of a row: ModRM register, an immediate (z: 2 or 4 bytes, b: 1 byte), the constant 1, rax for string stores. */
type Source = 'reg' | 'imm_z' | 'imm_b' | 'one' | 'string';
interface Row { readonly kind: WriteKind; readonly source: Source; readonly byte: boolean }
const row = (kind: WriteKind, source: Source, byte: boolean): Row => ({ kind, source, byte });

const GROUP_1: readonly (WriteKind | undefined)[] = ['add', 'or', undefined, undefined, 'and', 'sub', 'xor', undefined];
const GROUP_8: readonly (WriteKind | undefined)[] = [undefined, undefined, undefined, undefined, undefined, 'bts', 'btr', 'btc'];

function oneByteRow(opcode: number, group: number): Row | undefined {
  const byte = (opcode & 1) === 0;
  switch (opcode) {
    case 0x00: case 0x01: return row('add', 'reg', byte);
    case 0x08: case 0x09: return row('or', 'reg', byte);
    case 0x20: case 0x21: return row('and', 'reg', byte);
    case 0x28: case 0x29: return row('sub', 'reg', byte);
    case 0x30: case 0x31: return row('xor', 'reg', byte);
    case 0x86: case 0x87: return row('xchg', 'reg', byte);
    case 0x88: case 0x89: return row('mov', 'reg', byte);
    case 0xa4: case 0xa5: return row('movs', 'string', byte);
    case 0xaa: case 0xab: return row('stos', 'string', byte);
    case 0xc6: return group === 0 ? row('mov', 'imm_b', true) : undefined;
    case 0xc7: return group === 0 ? row('mov', 'imm_z', false) : undefined;
    case 0x80: case 0x81: case 0x83: {
      const kind = GROUP_1[group];
      return kind === undefined ? undefined : row(kind, opcode === 0x81 ? 'imm_z' : 'imm_b', opcode === 0x80);
    }
    case 0xf6: case 0xf7: return group === 2 ? row('not', 'one', byte) : group === 3 ? row('neg', 'one', byte) : undefined;
    case 0xfe: case 0xff: return group === 0 ? row('inc', 'one', byte) : group === 1 ? row('dec', 'one', byte) : undefined;
    default: return undefined;
  }
}

function twoByteRow(opcode: number, group: number): Row | undefined {
  switch (opcode) {
    case 0xab: return row('bts', 'reg', false);
    case 0xb3: return row('btr', 'reg', false);
    case 0xbb: return row('btc', 'reg', false);
    case 0xba: { const kind = GROUP_8[group]; return kind === undefined ? undefined : row(kind, 'imm_b', false); }
    case 0xb0: case 0xb1: return row('cmpxchg', 'reg', opcode === 0xb0);
    case 0xc0: case 0xc1: return row('xadd', 'reg', opcode === 0xc0);
    case 0xc7: return group === 1 ? row('cmpxchg8b', 'one', false) : undefined;
    default: return undefined;
  }
}

/** The instruction at the start of `code` (64-bit mode), or undefined when it is none of those that are emulated. */
export function decodeWrite(code: Uint8Array): DecodedWrite | undefined {
  const p = readPrefixes(code);
  if (p === undefined || p.address32) return undefined;
  let at = p.at;
  const twoByte = code[at] === 0x0f;
  if (twoByte) at++;
  const opcode = code[at++];
  if (opcode === undefined) return undefined;
  const modrm = code[at] ?? 0;
  const found = twoByte ? twoByteRow(opcode, (modrm >> 3) & 7) : oneByteRow(opcode, (modrm >> 3) & 7);
  if (found === undefined) return undefined;
  const size = found.byte ? 1 : (p.rex & 8) !== 0 ? 8 : p.operand16 ? 2 : 4;
  if (found.kind === 'cmpxchg8b' && size === 8) return undefined; // 16 bytes: more than one entry
  if (found.source !== 'string') {
    const length = modrmLength(code, at);
    if (length === 0) return undefined;
    at += length;
  }
  let immediate: bigint | undefined = 1n;
  if (found.source === 'imm_b' || found.source === 'imm_z') {
    const bytes = found.source === 'imm_b' ? 1 : Math.min(size, 4);
    immediate = immediateAt(code, at, bytes);
    at += bytes;
  }
  if (immediate === undefined || at > code.length) return undefined;
  const reg = found.source === 'reg' ? ((modrm >> 3) & 7) | ((p.rex & 4) << 1) : -1;
  return {
    kind: found.kind, length: at, size: found.kind === 'cmpxchg8b' ? 8 : size, reg, immediate, rep: p.rep,
    highByte: found.byte && p.rex === 0 && reg >= 4 && reg <= 7,
  };
}
