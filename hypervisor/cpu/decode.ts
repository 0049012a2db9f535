// The decoder: turns the opcode rows into handler shapes (forms) once, and instruction bytes into records.
import type { PrivilegedInstruction, PrivilegedName } from './processor-api.ts';
import type { AddressKind, Bits, Form, OperandForm } from './insn.ts';
import type { RecordFields } from './record.ts';
import type { Row } from './opcodes/row.ts';
import { SEGMENT_SLOT, SLOT } from './state.ts';
import { bmiRows } from './opcodes/bmi.ts';
import { integerRows } from './opcodes/integer.ts';
import { sseRows } from './opcodes/sse.ts';
import { x87Rows } from './opcodes/x87.ts';
import { definitionOf } from './semantics/index.ts';

/** Handlers that are not instructions; their numbers come before those of the forms. */
export const SPECIAL = { exit: 0, fallthrough: 1, stale: 2, crossCheck: 3, undefined: 4, stepped: 5, breakpoint: 6, count: 7, onward: 8, translated: 9, dispatch: 10, moved: 11, native: 12 } as const;
export const SPECIAL_COUNT = 13;
/** Handlers of a record whose block was dropped. */
export const isDropped = (handler: number): boolean => handler === SPECIAL.stale || handler === SPECIAL.moved;

const OPERATION_BITS: readonly Bits[] = [16, 32, 64];
const MEMORY_KINDS: readonly AddressKind[] = ['bd', 'bis', 'seg', 'a32'];
/** Mnemonics whose width follows the operand size though no operand shows it. */
const SIZED = new Set(['cbw', 'cwd', 'pushf', 'popf', 'ret', 'ret_imm', 'retf', 'retf_imm', 'iret', 'leave', 'enter', 'pusha', 'popa', 'call_far', 'jmp_far', 'call_far_imm', 'jmp_far_imm', 'lss', 'lfs', 'lgs', 'bound',
  'push_es', 'push_cs', 'push_ss', 'push_ds', 'push_fs', 'push_gs', 'pop_es', 'pop_ss', 'pop_ds', 'pop_fs', 'pop_gs']);
const ENDS = new Set(['jmp', 'jmp_rm', 'call', 'call_rm', 'ret', 'ret_imm', 'retf', 'retf_imm', 'iret', 'call_far', 'jmp_far', 'call_far_imm', 'jmp_far_imm', 'int', 'int3', 'int1', 'ud', 'syscall', 'sysenter', 'privileged']);

/** Opcode maps 0 to 3, then those of VEX. */
const VEX_MAPS = 4, MAPS = 8;
interface Operand { readonly letter: string; readonly size: string }
interface Compiled {
  readonly row: Row; readonly map: number; readonly opcode: number; readonly prefix: number; readonly extension: number; readonly second: number;
  readonly want: 'any' | 'reg' | 'mem'; readonly operands: readonly Operand[]; readonly modrm: boolean; readonly sized: boolean; readonly string: boolean;
  readonly bitness: 'any' | '32' | '64'; readonly d64: boolean; readonly f64: boolean; readonly lockable: boolean; readonly ends: boolean;
  readonly memoryLetter: boolean; readonly registerLetter: boolean; readonly immediate: Operand | undefined; readonly privileged: string | undefined; readonly width: string;
  /** No 66, F2 or F3 before it; VEX.vvvv names an operand. */
  readonly np: boolean; readonly vvvv: boolean;
  /** Has a memory operand that no ModRM byte names; branches on a counter as wide as an address; has one address as an immediate. */
  readonly implicit: boolean; readonly counts: boolean; readonly absolute: boolean;
  /** An operand is of 32 or 64 bits alone; its immediate selects something in a vector instruction. */
  readonly wideAlone: boolean; readonly selects: boolean;
  /** Decoded in a way of its own. */
  readonly special: '' | 'enter' | 'x87' | 'cmpestr' | 'mov_to_sreg' | 'unsigned16';
  /** Operand width where the operand size does not count. */
  readonly fixed: Bits;
  /** Handler number by formKey(). */
  readonly handlers: Int32Array;
}

const KIND_INDEX: Record<AddressKind, number> = { reg: 0, bd: 1, bis: 2, seg: 3, a32: 4, abs: 5 };
const bitsIndex = (b: number): number => b === 16 ? 0 : b === 64 ? 2 : 1;
const formKey = (bits: number, kind: number, extra: number): number => (bitsIndex(bits) * 6 + kind) * 3 + extra;

const sizeBits = (size: string, bits: Bits): Bits => size === 'b' ? 8 : size === 'w' ? 16 : size === 'd' ? 32 : size === 'q' ? 64 : size === 'x' ? 128
  : size === 'z' ? (bits === 64 ? 32 : bits) : bits;

const PLACES: Readonly<Record<string, OperandForm['place']>> = { E: 'rm', M: 'rm', W: 'rm', Q: 'rm', R: 'rm', U: 'rm', N: 'rm', G: 'reg', V: 'reg', P: 'reg', S: 'reg', B: 'vvvv', Z: 'opcode' };
/** Operand shapes of a row at one operand size; memory or register for the ModRM.rm operand. */
function operandForms(c: Compiled, bits: Bits, memory: boolean): OperandForm[] {
  const access = definitionOf(c.row.mnemonic)?.access ?? [];
  const fields = ['a', 'b', 'c'] as const;
  return c.operands.map(({ letter, size }, i): OperandForm => {
    const width = sizeBits(size, bits), how = access[i] ?? 'r', field = fields[i] ?? 'c';
    const place = PLACES[letter] ?? 'none', at = (kind: OperandForm['kind'], b: Bits = width): OperandForm => ({ kind, bits: b, field, access: how, place });
    switch (letter) {
      case 'E': return memory ? at('mem') : at('gpr');
      case 'M': case 'O': return at('mem', size ? width : bits);
      case 'W': return memory ? at('mem') : at('xmm');
      case 'Q': return memory ? at('mem') : at('mmx');
      case 'G': case 'B': case 'R': case 'Z': case 'A': case 'C': return at('gpr');
      case 'V': case 'U': return at('xmm');
      case 'P': case 'N': return at('mmx');
      case 'S': return at('sreg');
      case 'J': return { kind: 'rel', bits: width, field: 'imm', access: 'r', place };
      default: return { kind: 'imm', bits: width, field: 'imm', access: 'r', place };
    }
  });
}

function compile(row: Row): Compiled {
  const parts = row.opcode.split(' '), vex = parts[0] === 'VEX' && parts.shift() !== undefined;
  const prefix = ['66', 'F3', 'F2'].includes(parts[0]!) && parts.length > 1 ? parseInt(parts.shift()!, 16) : 0;
  const plain = { '0F': 1, '0F38': 2, '0F3A': 3 }[parts[0]!] ?? 0, map = vex ? VEX_MAPS + plain : plain;
  if (map && parts.length > 1) parts.shift();
  const opcode = parseInt(parts.shift()!, 16);
  let extension = -1, second = -1, want: Compiled['want'] = 'any';
  for (const p of parts) if (p.startsWith('/')) extension = Number(p.slice(1)); else if (p === 'reg' || p === 'mem') want = p; else second = parseInt(p, 16);
  const operands = row.operands ? row.operands.split(',').map(o => ({ letter: o === '1' ? '1' : /^[bv]$/.test(o) ? '' : o[0]!, size: /^[bv]$/.test(o) ? o : o.slice(1) })).filter(o => o.letter) : [];
  const string = row.flags.includes('string');
  const has = (letters: string): boolean => operands.some(o => letters.includes(o.letter));
  if (has('MO')) want = 'mem';
  if (has('RUN') && want === 'any') want = 'reg';
  const { mnemonic } = row, sized = string ? row.operands === 'v' : SIZED.has(mnemonic) || operands.some(o => 'vzys'.includes(o.size) && o.size) || row.flags.some(f => f === 'd64' || f === 'f64');
  return {
    row, map, opcode, prefix, extension, second, want, operands, string,
    modrm: has('EGMRSWVUQPN') || extension >= 0 || want !== 'any' && !has('O'),
    sized,
    bitness: row.flags.includes('i64') ? '32' : row.flags.includes('o64') ? '64' : 'any',
    d64: row.flags.includes('d64'), f64: row.flags.includes('f64'), lockable: row.flags.includes('lock'), ends: ENDS.has(row.mnemonic),
    memoryLetter: has('EMWQO'), registerLetter: has('EWQ') && want !== 'mem', immediate: operands.find(o => 'IJ1'.includes(o.letter) && o.letter),
    privileged: row.flags.find(f => f.startsWith('name:'))?.slice(5), width: row.flags.find(f => f.startsWith('width:'))?.slice(6) ?? '',
    np: row.flags.includes('np') || vex && prefix === 0, vvvv: has('B'), implicit: implicitAddress(mnemonic), counts: countsRegister(mnemonic), absolute: has('O'),
    wideAlone: operands.some(o => o.size === 'y'), selects: map >= 1 && row.operands.includes('I') && !sized && has('VPUNQW'),
    special: mnemonic === 'enter' || mnemonic === 'x87' || mnemonic === 'mov_to_sreg' ? mnemonic : mnemonic.startsWith('pcmpestr') ? 'cmpestr' : mnemonic.endsWith('_imm') && operands.some(o => o.size === 'w') ? 'unsigned16' : '',
    fixed: fixedBits(string, operands),
    handlers: new Int32Array(3 * 6 * 3).fill(-1),
  };
}

function fixedBits(string: boolean, operands: readonly Operand[]): Bits {
  if (string) return 8;
  const b = operands.map(o => sizeBits(o.size, 32)).find(b => b <= 64);
  return operands.length && operands.every(o => o.size === 'b') ? 8 : operands[0] && 'EGMZA'.includes(operands[0].letter) && b ? b : 32;
}

/** All handler shapes, in handler-number order (after the specials). The same on every thread. */
export const forms: Form[] = [];
const compiled = [...integerRows, ...bmiRows, ...sseRows, ...x87Rows].map(compile);
const tables: Compiled[][] = Array.from({ length: MAPS * 256 }, () => []);

for (const c of compiled) {
  // Rows that ask for a prefix are looked at first.
  const list = tables[c.map * 256 + c.opcode]!;
  if (c.prefix || c.second >= 0) list.unshift(c); else list.push(c);
  const definition = definitionOf(c.row.mnemonic);
  if (!definition) continue;
  const all: readonly Bits[] = !c.sized ? [c.fixed] : c.wideAlone ? [32, 64] : OPERATION_BITS;
  // Shapes nothing decodes to are left out: 64-bit ones of compatibility mode, 16-bit relative branches, ...
  const relative = c.operands.some(o => o.letter === 'J'), sizes = all.filter(b => !(c.bitness === '32' && b === 64) && !(relative && b === 16));
  const isLoop = c.counts || c.implicit;
  for (const bits of c.privileged ? [32 as const] : sizes) {
    const compatOnly = c.bitness === '32' || c.f64 && bits < 64 || c.d64 && bits === 32;
    const kinds: AddressKind[] = c.absolute ? ['abs', 'a32'] : c.privileged ? ['reg'] : c.string || isLoop ? (compatOnly ? ['a32'] : ['bd', 'a32']) : c.memoryLetter && c.want !== 'reg' ? [...(c.registerLetter ? ['reg' as const] : []), ...(compatOnly ? ['a32' as const] : MEMORY_KINDS)] : ['reg'];
    for (const address of kinds) {
      const memory = address !== 'reg';
      const operands = operandForms(c, bits, memory);
      const aligned = operands.some(o => o.kind === 'mem' && o.bits === 128) && !c.row.flags.includes('unaligned') && c.map > 0 || c.row.mnemonic === 'cmpxchg8b' && bits === 64;
      const base: Form = { mnemonic: c.row.mnemonic, operands, address, bits, lock: false, rep: 'none', aligned, ...(definition.memoryBytes ? { memoryBytes: definition.memoryBytes(bits) } : {}) };
      const variants: Form[] = c.string ? [base, { ...base, rep: 'rep' }, { ...base, rep: 'repne' }] : c.lockable && memory ? [base, { ...base, lock: true }] : [base];
      variants.forEach((f, extra) => { c.handlers[formKey(bits, KIND_INDEX[address], extra)] = SPECIAL_COUNT + forms.push(f) - 1; });
    }
  }
}

/** Rows, for the differential tester and the documentation. */
export const allRows: readonly Row[] = compiled.map(c => c.row);

/** Descriptions of privileged instructions, named by records' immediates. Local to a thread. */
export const privilegedInstructions: PrivilegedInstruction[] = [];
const privilegedIndex = new Map<string, number>();
function internPrivileged(p: PrivilegedInstruction): number {
  const key = Object.values(p).join();
  let i = privilegedIndex.get(key);
  if (i === undefined) privilegedIndex.set(key, i = privilegedInstructions.push(p) - 1);
  return i;
}

/** Has this thread name them as another one did; false when it has begun to name them in another way. */
export function seedPrivileged(list: readonly PrivilegedInstruction[]): boolean {
  for (const p of list) internPrivileged(p);
  return list.every((p, n) => internPrivileged(p) === n);
}

/** What decode() leaves beside the record's fields. */
export interface Decoded extends RecordFields {
  /** Nothing after it in its block is reached by falling through. */
  ends: boolean;
  mnemonic: string;
}
export const newDecoded = (): Decoded => ({ handler: 0, a: 0, b: 0, base: 0, index: 0, scale: 0, segment: 0, disp: 0, imm: 0, imm64: undefined, offset: 0, length: 0, c: 0, link: 0, target: 0, ends: false, mnemonic: '' });

/** The bytes do not suffice: they end here, or the instruction is longer than any may be. */
function short(d: Decoded, at: number, limit: number, offset: number): boolean {
  if (limit < at + 15) return false;
  undefinedInstruction(d, offset, 15, 13);
  return true;
}
const byteSlot = (n: number, rex: number): number => rex === 0 && n >= 4 && n < 8 ? SLOT.gpr(n - 4) + 1 : SLOT.gpr(n);

/**
 * Decodes one instruction at bytes[at], not reading at or beyond `limit`. `offset` is its place in its page.
 * Returns false when the bytes do not suffice. An unknown or invalid encoding decodes to the `undefined` special.
 */
export function decode(bytes: Uint8Array, at: number, limit: number, offset: number, compat: boolean, d: Decoded): boolean {
  let p = at, opsize = false, addr = false, lock = false, rep = 0, rex = 0, segment = -1, b = 0;
  const max = Math.min(limit, at + 15);
  d.imm64 = undefined;
  d.a = d.b = d.c = d.base = d.index = d.scale = d.disp = d.imm = d.link = d.target = 0;
  d.segment = SLOT.zero;
  d.offset = offset;
  for (;; p++) {
    if (p >= max) return short(d, at, limit, offset);
    b = bytes[p]!;
    if (b === 0x66) opsize = true;
    else if (b === 0x67) addr = true;
    else if (b === 0xf0) lock = true;
    else if (b === 0xf2 || b === 0xf3) rep = b;
    else if (b === 0x64) segment = 4;
    else if (b === 0x65) segment = 5;
    else if (b === 0x2e || b === 0x36 || b === 0x3e || b === 0x26) { if (compat) segment = b === 0x2e ? 1 : b === 0x36 ? 2 : b === 0x3e ? 3 : 0; }
    else if (!compat && (b & 0xf0) === 0x40) { rex = b; if (p + 1 < max && isPrefix(bytes[p + 1]!)) rex = 0; }
    else break;
  }
  let map = 0, vvvv = 0, spoilt = false;
  p++;
  if (b === 0xc4 && (!compat || p < max && bytes[p]! >= 0xc0)) {
    if (p + 3 > max) return short(d, at, limit, offset);
    const second = bytes[p]!, third = bytes[p + 1]!, mapIndex = second & 0x1f;
    spoilt = opsize || lock || rep !== 0 || rex !== 0 || (third & 4) !== 0;
    // Further registers and 64 bits are not for compatibility mode.
    rex = compat ? 0 : 0x40 | (third & 0x80) >> 4 | ~second >> 5 & 7;
    vvvv = ~third >> 3 & 15;
    opsize = (third & 3) === 1;
    rep = (third & 3) === 2 ? 0xf3 : (third & 3) === 3 ? 0xf2 : 0;
    map = VEX_MAPS + (mapIndex > 3 ? 0 : mapIndex); // there is no map 0
    p += 2;
    b = bytes[p++]!;
  } else if (b === 0x0f) {
    if (p >= max) return short(d, at, limit, offset);
    b = bytes[p++]!;
    map = 1;
    if (b === 0x38 || b === 0x3a) { map = b === 0x38 ? 2 : 3; if (p >= max) return short(d, at, limit, offset); b = bytes[p++]!; }
  }
  const rexW = (rex & 8) !== 0, list = tables[map * 256 + b]!;
  const modrm = p < max ? bytes[p]! : -1;
  const mod = modrm >> 6, rm = modrm & 7, vex = map >= VEX_MAPS;
  if (vex && modrm < 0) return short(d, at, limit, offset);
  let c: Compiled | undefined, other: Compiled | undefined;
  if (!spoilt) for (const r of list) {
    if (r.prefix === 0x66 ? !opsize || rep !== 0 : r.prefix !== 0 && r.prefix !== rep) { other = r; continue; }
    if (r.bitness !== 'any' && (r.bitness === '32') !== compat) continue;
    if (r.modrm || r.second >= 0) {
      if (modrm < 0) return short(d, at, limit, offset);
      if (r.second >= 0 ? modrm !== r.second : r.extension >= 0 && (modrm >> 3 & 7) !== r.extension) continue;
      if (r.second < 0 && (r.want === 'reg' && mod !== 3 || r.want === 'mem' && mod === 3)) { if (map !== 1 || b < 0x20 || b > 0x23) continue; }
    }
    if (r.np && (opsize || rep) || vvvv !== 0 && !r.vvvv) continue;
    // 90 is XCHG with the accumulator only when REX.B makes it one of another register.
    if (b === 0x90 && map === 0 && (r.row.operands === '') === ((rex & 1) !== 0)) continue;
    c = r;
    break;
  }
  if (!c) {
    // An instruction that would be too long is #GP even where its prefixes make it none.
    const whole = modrm >= 0 && (vex || other?.modrm === true), immediate = vex ? map === VEX_MAPS + 3 : other?.immediate?.size === 'b';
    if (whole && mod !== 3 && rm === 4 && p + 1 >= max) return short(d, at, limit, offset);
    const tooLong = whole && p - at + modrmBytes(modrm, bytes[p + 1] ?? 0, compat && addr) + (immediate ? 1 : 0) > 15;
    undefinedInstruction(d, offset, tooLong ? 15 : p - at, tooLong ? 13 : 6);
    return true;
  }

  // Operand size.
  let bits: Bits = compat ? (opsize ? 16 : 32) : rexW ? 64 : opsize ? 16 : 32;
  if (c.prefix === 0x66 || map > 1 && c.prefix && !(map === 2 && c.row.mnemonic === 'crc32')) bits = rexW ? 64 : 32;
  if (!compat && c.f64) bits = 64;
  else if (!compat && c.d64) bits = opsize && !rexW ? 16 : 64;
  let kind: AddressKind = 'reg';
  const isString = c.string;

  // ModRM, SIB, displacement.
  let ripRelative = false;
  if (c.second >= 0) p++;
  else if (c.modrm) {
    p++;
    if (mod !== 3 && c.want !== 'reg') {
      if (compat && addr) { undefinedInstruction(d, offset, p - at); return true; } // 16-bit addressing
      let base = rm, scale = 0, index = -1;
      if (rm === 4) {
        if (p >= max) return short(d, at, limit, offset);
        const sib = bytes[p++]!;
        scale = sib >> 6;
        index = (sib >> 3 & 7) | (rex & 2) << 2;
        if (index === 4) index = -1;
        base = sib & 7;
      }
      d.base = SLOT.gpr(base | (rex & 1) << 3);
      let stackBased = (base === 4 || base === 5 && mod !== 0) && !(rex & 1);
      if (mod === 0 && base === 5) {
        stackBased = false;
        d.base = SLOT.zero;
        if (p + 4 > max) return short(d, at, limit, offset);
        d.disp = read32(bytes, p);
        p += 4;
        ripRelative = rm === 5 && !compat;
      } else if (mod === 1) { if (p >= max) return short(d, at, limit, offset); d.disp = bytes[p++]! << 24 >> 24; }
      else if (mod === 2) { if (p + 4 > max) return short(d, at, limit, offset); d.disp = read32(bytes, p); p += 4; }
      d.index = index < 0 ? SLOT.zero : SLOT.gpr(index);
      d.scale = scale;
      if (segment >= 4) d.segment = SEGMENT_SLOT[segment]!;
      else if (compat) d.segment = SEGMENT_SLOT[segment >= 0 ? segment : stackBased ? 2 : 3]!;
      kind = compat || addr ? 'a32' : segment >= 4 ? 'seg' : index >= 0 ? 'bis' : 'bd';
    }
  }
  // 16-bit addresses without a ModRM byte.
  if (compat && addr && (isString || c.implicit || c.counts || c.absolute)) { undefinedInstruction(d, offset, p - at); return true; }
  if (isString || c.implicit) {
    d.segment = segment >= 4 ? SEGMENT_SLOT[segment]! : compat ? SEGMENT_SLOT[segment >= 0 ? segment : 3]! : SLOT.zero;
    kind = compat || addr ? 'a32' : 'bd';
  } else if (c.counts) kind = compat || addr ? 'a32' : 'bd';

  // Operands into fields.
  let field = 0;
  for (const { letter, size } of c.operands) {
    let value = -1;
    switch (letter) {
      case 'E': case 'R':
        if (mod === 3 || c.want === 'reg') { const n = rm | (rex & 1) << 3; value = size === 'b' ? byteSlot(n, rex) : SLOT.gpr(n); }
        break;
      case 'G': { const n = (modrm >> 3 & 7) | (rex & 4) << 1; value = size === 'b' ? byteSlot(n, rex) : SLOT.gpr(n); break; }
      case 'B': value = SLOT.gpr(compat ? vvvv & 7 : vvvv); break;
      case 'Z': { const n = (b & 7) | (rex & 1) << 3; value = size === 'b' ? byteSlot(n, rex) : SLOT.gpr(n); break; }
      case 'A': value = SLOT.gpr(0); break;
      case 'C': value = SLOT.gpr(1); break;
      case 'S':
        value = modrm >> 3 & 7;
        if (value > 5 || value === 1 && c.special === 'mov_to_sreg') { undefinedInstruction(d, offset, p - at); return true; }
        break;
      case 'V': value = (modrm >> 3 & 7) | (rex & 4) << 1; break;
      case 'P': value = modrm >> 3 & 7; break;
      case 'W': case 'U': if (mod === 3) value = rm | (rex & 1) << 3; break;
      case 'Q': case 'N': if (mod === 3) value = rm; break;
      case '1': d.imm = 1; break;
      case 'O': {
        const wide = !compat && !addr, n = wide ? 8 : 4;
        if (p + n > max) return short(d, at, limit, offset);
        kind = wide ? 'abs' : 'a32';
        d.base = d.index = SLOT.zero;
        d.segment = segment >= 4 ? SEGMENT_SLOT[segment]! : compat ? SEGMENT_SLOT[segment >= 0 ? segment : 3]! : SLOT.zero;
        if (wide) d.imm64 = read64(bytes, p); else d.disp = read32(bytes, p);
        p += n;
        break;
      }
      case 'I': case 'J': {
        const n = size === 'b' ? 1 : size === 'w' ? 2 : size === 'v' ? bits / 8 : bits === 16 ? 2 : 4;
        if (p + n > max) return short(d, at, limit, offset);
        if (n === 8) d.imm64 = read64(bytes, p);
        else {
          const v = n === 1 ? bytes[p]! << 24 >> 24 : n === 2 ? (bytes[p]! | bytes[p + 1]! << 8) << 16 >> 16 : read32(bytes, p);
          if (c.special === 'enter' && size === 'b') d.c = v & 0xff;
          else d.imm = c.special === 'enter' || c.special === 'unsigned16' && size === 'w' ? v & 0xffff : v;
        }
        p += n;
        break;
      }
      case 'p': break;
      default: break;
    }
    if (letter === 'A' && size === 'p') {
      const n = bits === 16 ? 4 : 6;
      if (p + n > max) return short(d, at, limit, offset);
      d.disp = n === 4 ? bytes[p]! | bytes[p + 1]! << 8 : read32(bytes, p);
      d.imm = bytes[p + n - 2]! | bytes[p + n - 1]! << 8;
      p += n;
    } else if (value >= 0) { if (field === 0) d.a = value; else if (field === 1) d.b = value; else d.c = value; }
    field++;
  }
  d.length = p - at;
  if (d.length > 15) { undefinedInstruction(d, offset, 15, 13); return true; }
  if (ripRelative) { d.disp += offset + d.length; d.base = SLOT.pageBase; }
  const relative = c.immediate?.letter === 'J';
  if (relative) {
    d.target = d.imm + offset + d.length;
    d.imm = 0;
    if (compat && bits === 16) { undefinedInstruction(d, offset, d.length); return true; }
  }
  if (c.selects) d.imm &= 0xff;
  d.ends = c.ends;
  d.mnemonic = c.row.mnemonic;
  if (c.privileged) {
    d.imm = internPrivileged({
      name: c.privileged as PrivilegedName, length: d.length,
      bits: c.width === 'b' ? 8 : c.width === 'z' ? (opsize ? 16 : 32) : compat ? 32 : 64,
      reg: rm | (rex & 1) << 3, system: (modrm >> 3 & 7) | (rex & 4) << 1, port: c.immediate ? d.imm & 0xff : -1, rep: rep !== 0,
    });
    kind = 'reg';
    d.handler = c.handlers.find(h => h >= 0)!;
    return true;
  }
  if (c.special === 'cmpestr') d.c = rexW ? 1 : 0; // lengths in rax and rdx, or eax and edx
  if (c.special === 'x87') { d.a = b; d.b = modrm; d.c = opsize ? 1 : 0; }
  if (lock && !(c.lockable && kind !== 'reg')) { undefinedInstruction(d, offset, d.length); return true; }
  const extra = isString ? (rep === 0xf3 ? 1 : rep === 0xf2 ? 2 : 0) : lock ? 1 : 0;
  const width = c.sized ? (bits === 16 && c.wideAlone ? 32 : bits) : c.fixed;
  const handler = c.handlers[formKey(width, KIND_INDEX[kind], extra)]!;
  if (handler < 0) { undefinedInstruction(d, offset, d.length); return true; }
  d.handler = handler;
  return true;
}

/** Length of a ModRM byte with all that belongs to it. */
function modrmBytes(modrm: number, sib: number, short: boolean): number {
  const mod = modrm >> 6, rm = modrm & 7;
  if (mod === 3) return 1;
  if (short) return 1 + (mod === 1 ? 1 : mod === 2 || rm === 6 ? 2 : 0);
  const withSib = rm === 4 ? 1 : 0, base = withSib ? sib & 7 : rm;
  return 1 + withSib + (mod === 1 ? 1 : mod === 2 || base === 5 ? 4 : 0);
}
/** Instructions with one memory operand that no ModRM byte names. */
function implicitAddress(mnemonic: string): boolean { return mnemonic === 'xlat' || mnemonic === 'maskmov'; }
/** Branches on a counter as wide as an address. */
function countsRegister(mnemonic: string): boolean { return mnemonic.startsWith('loop') || mnemonic === 'jrcxz'; }
const isPrefix = (b: number): boolean => b === 0x66 || b === 0x67 || b === 0xf0 || b === 0xf2 || b === 0xf3 || b === 0x64 || b === 0x65 || b === 0x2e || b === 0x36 || b === 0x3e || b === 0x26 || (b & 0xf0) === 0x40;
const read32 = (bytes: Uint8Array, p: number): number => bytes[p]! | bytes[p + 1]! << 8 | bytes[p + 2]! << 16 | bytes[p + 3]! << 24;

const read64 = (bytes: Uint8Array, p: number): bigint => BigInt.asIntN(64, BigInt(read32(bytes, p + 4)) << 32n | BigInt(read32(bytes, p) >>> 0));

/** `vector` 13 for one that is too long. */
function undefinedInstruction(d: Decoded, offset: number, length: number, vector = 6): void {
  d.imm = vector;
  d.imm64 = undefined;
  d.handler = SPECIAL.undefined;
  d.offset = offset;
  d.length = length;
  d.ends = true;
  d.mnemonic = '(undefined)';
}
