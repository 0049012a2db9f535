// Registers as gdb numbers them, their description for gdb, and where each lies in the hypervisor's register block.
import { REGISTERS } from '../../hypervisor/public/debug.ts';

interface Register {
  readonly name: string; readonly bits: number; readonly type?: string;
  read(block: DataView): Uint8Array;
  /** Absent: gdb's changes are not taken. */
  write?(block: DataView, value: Uint8Array): void;
}

const at = (block: DataView, offset: number, bytes: number): Uint8Array => new Uint8Array(block.buffer, block.byteOffset + offset, bytes);
const little = (value: number, bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => i < 4 ? value >>> 8 * i & 0xff : 0);
const number = (value: Uint8Array): number => (value[0] ?? 0) | (value[1] ?? 0) << 8;

/** A field of the block with its own width. */
const plain = (name: string, offset: number, bits: number, type?: string): Register => ({
  name, bits, ...(type === undefined ? {} : { type }),
  read: block => at(block, offset, bits / 8).slice(), write: (block, value) => at(block, offset, bits / 8).set(value),
});
const readOnly = ({ write: _, ...rest }: Register): Register => rest;
/** 16 bits in the block, 32 for gdb. */
const half = (name: string, offset: number, group?: 'float'): Register => ({
  name, bits: 32, type: 'int', read: block => little(block.getUint16(offset, true), 4),
  ...(group ? { write: (block: DataView, value: Uint8Array) => block.setUint16(offset, number(value), true) } : {}),
});

const gpr = (name: string, n: number, type?: string): Register => plain(name, REGISTERS.gpr + 8 * n, 64, type);
const selector = (name: string, n: number): Register => half(name, REGISTERS.selectors + 2 * n);

/** Offsets in an FXSAVE image (Intel SDM, FXSAVE). */
const FX = { fcw: 0, fsw: 2, ftw: 4, fop: 6, fip: 8, fdp: 16, mxcsr: 24, st: 32, xmm: 160 } as const;
const fx = (offset: number): number => REGISTERS.fx + offset;
const TAG = { valid: 0, zero: 1, special: 2, empty: 3 } as const;

function tagOf(block: DataView, st: number): number {
  const offset = fx(FX.st + 16 * st), exponent = block.getUint16(offset + 8, true) & 0x7fff, significand = block.getBigUint64(offset, true);
  if (exponent === 0) return significand === 0n ? TAG.zero : TAG.special;
  return exponent === 0x7fff || significand >> 63n === 0n ? TAG.special : TAG.valid;
}
/** The full tag word; the image has one bit a register, by physical number. */
const tags: Register = {
  name: 'ftag', bits: 32, type: 'int',
  read: block => {
    const used = block.getUint8(fx(FX.ftw)), top = block.getUint16(fx(FX.fsw), true) >> 11 & 7;
    let word = 0;
    for (let physical = 0; physical < 8; physical++) word |= (used >> physical & 1 ? tagOf(block, physical - top & 7) : TAG.empty) << 2 * physical;
    return little(word, 4);
  },
  write: (block, value) => {
    let used = 0;
    for (let physical = 0; physical < 8; physical++) if ((number(value) >> 2 * physical & 3) !== TAG.empty) used |= 1 << physical;
    block.setUint8(fx(FX.ftw), used);
  },
};
/** A 32-bit pointer half of the last x87 instruction or operand; the selectors are not kept in 64-bit mode. */
const pointer = (name: string, offset: number): Register => readOnly(plain(name, fx(offset), 32, 'int'));
const nothing = (name: string): Register => ({ name, bits: 32, type: 'int', read: () => new Uint8Array(4) });

const FEATURES: readonly (readonly [feature: string, registers: readonly Register[]])[] = [
  ['org.gnu.gdb.i386.core', [
    gpr('rax', 0), gpr('rbx', 3), gpr('rcx', 1), gpr('rdx', 2), gpr('rsi', 6), gpr('rdi', 7), gpr('rbp', 5, 'data_ptr'), gpr('rsp', 4, 'data_ptr'),
    ...[8, 9, 10, 11, 12, 13, 14, 15].map(n => gpr(`r${n}`, n)),
    plain('rip', REGISTERS.rip, 64, 'code_ptr'), plain('eflags', REGISTERS.rflags, 32, 'i386_eflags'),
    selector('cs', 1), selector('ss', 2), selector('ds', 3), selector('es', 0), selector('fs', 4), selector('gs', 5),
    ...[0, 1, 2, 3, 4, 5, 6, 7].map(n => plain(`st${n}`, fx(FX.st + 16 * n), 80, 'i387_ext')),
    half('fctrl', fx(FX.fcw), 'float'), half('fstat', fx(FX.fsw), 'float'), tags, nothing('fiseg'), pointer('fioff', FX.fip), nothing('foseg'), pointer('fooff', FX.fdp), half('fop', fx(FX.fop), 'float'),
  ]],
  ['org.gnu.gdb.i386.sse', [...Array.from({ length: 16 }, (_, n) => plain(`xmm${n}`, fx(FX.xmm + 16 * n), 128, 'vec128')), plain('mxcsr', fx(FX.mxcsr), 32, 'i386_mxcsr')]],
  ['org.gnu.gdb.i386.segments', [plain('fs_base', REGISTERS.fsBase, 64, 'int'), plain('gs_base', REGISTERS.gsBase, 64, 'int')]],
  // What a paravirtual guest has besides: where its last page fault was, its tables, and whether its kernel runs.
  ['org.xenolith.pv', [readOnly(plain('cr2', REGISTERS.cr2, 64, 'data_ptr')), readOnly(plain('cr3', REGISTERS.cr3, 64, 'int')), { name: 'guest_kernel', bits: 32, type: 'int', read: block => little(block.getUint8(REGISTERS.kernelMode), 4) }]],
];
const ALL = FEATURES.flatMap(([, registers]) => registers);

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const viewOf = (block: Uint8Array): DataView => new DataView(block.buffer, block.byteOffset, block.byteLength);

/** All registers for `g`. */
export const allRegisters = (block: Uint8Array): string => ALL.map(r => hex(r.read(viewOf(block)))).join('');
/** One for `p`, or undefined when there is no such number. */
export function oneRegister(block: Uint8Array, n: number): string | undefined { const r = ALL[n]; return r && hex(r.read(viewOf(block))); }
/** Changes one in the block (`P`): false when there is none such or the value is too short. */
export function setRegister(block: Uint8Array, n: number, value: Uint8Array): boolean {
  const r = ALL[n];
  if (!r || value.length < r.bits / 8) return false;
  r.write?.(viewOf(block), value.subarray(0, r.bits / 8));
  return true;
}
/** Changes all in the block (`G`); what is missing at the end stays. */
export function setAllRegisters(block: Uint8Array, values: Uint8Array): void {
  let from = 0;
  for (const r of ALL) {
    const bytes = r.bits / 8;
    if (from + bytes > values.length) return;
    r.write?.(viewOf(block), values.subarray(from, from + bytes));
    from += bytes;
  }
}

const FLAG_NAMES = ['CF', '', 'PF', '', 'AF', '', 'ZF', 'SF', 'TF', 'IF', 'DF', 'OF', '', '', 'NT', '', 'RF', 'VM', 'AC', 'VIF', 'VIP', 'ID'];
const MXCSR_NAMES = ['IE', 'DE', 'ZE', 'OE', 'UE', 'PE', 'DAZ', 'IM', 'DM', 'ZM', 'OM', 'UM', 'PM', '', '', 'FZ'];
const flags = (id: string, names: readonly string[]): string =>
  `<flags id="${id}" size="4">${names.map((name, bit) => name === '' ? '' : `<field name="${name}" start="${bit}" end="${bit}"/>`).join('')}</flags>`;
const VECTORS: readonly (readonly [name: string, id: string, type: string, count: number])[] = [
  ['v4_float', 'v4f', 'ieee_single', 4], ['v2_double', 'v2d', 'ieee_double', 2], ['v16_int8', 'v16i8', 'int8', 16], ['v8_int16', 'v8i16', 'int16', 8], ['v4_int32', 'v4i32', 'int32', 4], ['v2_int64', 'v2i64', 'int64', 2],
];
const VEC128 = `${VECTORS.map(([, id, type, count]) => `<vector id="${id}" type="${type}" count="${count}"/>`).join('')}<union id="vec128">${VECTORS.map(([name, id]) => `<field name="${name}" type="${id}"/>`).join('')}<field name="uint128" type="uint128"/></union>`;
const TYPES: Readonly<Record<string, string>> = { 'org.gnu.gdb.i386.core': flags('i386_eflags', FLAG_NAMES), 'org.gnu.gdb.i386.sse': VEC128 + flags('i386_mxcsr', MXCSR_NAMES) };

/** qXfer:features:read:target.xml */
export const TARGET_XML = `<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd"><target version="1.0"><architecture>i386:x86-64</architecture>${
  FEATURES.map(([feature, registers]) => `<feature name="${feature}">${TYPES[feature] ?? ''}${registers.map(r => `<reg name="${r.name}" bitsize="${r.bits}"${r.type ? ` type="${r.type}"` : ''}/>`).join('')}</feature>`).join('')}</target>`;
