// Generates whole-state x87 cases, runs them on this implementation, and compares with the host's answer.

import { FX64, fxrstor, fxsave, STATE_BYTES, SW, x87Execute, x87Operand, x87Row, X87State } from '../../../hypervisor/cpu/x87/index.ts';
import type { NativeCase, NativeResult } from './native.ts';
import { hard32, hard64, hard80, Random } from './operands.ts';

export interface X87Case extends NativeCase { opcode: number; modrm: number; operand16: boolean }

export interface X87Options {
  /** Instructions to choose from, as [opcode, modrm]; memory forms with modrm reg << 3 | 6. */
  instructions: readonly (readonly [number, number])[];
  /** Share of cases (percent) with random exception masks and with pending exceptions. */
  unmaskedPercent?: number;
  /** Share of cases (percent) with random tags; otherwise operands are in use and there is room to push. */
  tagsPercent?: number;
}

/** Every memory and register form the map defines, or every encoding whatever. */
export function allInstructions(defined: boolean): [number, number][] {
  const list: [number, number][] = [];
  for (let opcode = 0xd8; opcode <= 0xdf; opcode++) {
    for (let reg = 0; reg < 8; reg++) list.push([opcode, (reg << 3) | 6]);
    for (let modrm = 0xc0; modrm <= 0xff; modrm++) list.push([opcode, modrm]);
  }
  return defined ? list.filter(([o, m]) => x87Operand(o, m) !== undefined) : list;
}

const RC = [0, 1, 2, 3] as const;
const TRANSCENDENTAL = new Set(['f2xm1', 'fyl2x', 'fptan', 'fpatan', 'fyl2xp1', 'fsincos', 'fsin', 'fcos']);

function randomControl(r: Random, unmasked: boolean): number {
  const masks = unmasked ? r.u32() & 0x3f : 0x3f;
  return masks | 0x40 | (r.pick([0, 2, 3, 3, 3, 1]) << 8) | (r.pick(RC) << 10) | (r.below(16) === 0 ? 0x1000 : 0);
}

function randomRegisters(r: Random, image: DataView): void {
  let previous = hard80(r);
  for (let i = 0; i < 8; i++) {
    let value = hard80(r);
    const e = previous.se & 0x7fff;
    // Close exponents make cancellation, and equal operands, likely.
    if (r.below(3) === 0 && e !== 0 && e < 0x7f00) value = { se: (value.se & 0x8000) | Math.max(1, e + r.below(7) - 3), significand: (r.below(8) === 0 ? previous.significand : value.significand) | (1n << 63n) };
    image.setBigUint64(32 + 16 * i, value.significand, true);
    image.setUint16(40 + 16 * i, value.se, true);
    previous = value;
  }
}

function randomMemory(r: Random, load: number): Uint8Array {
  const memory = new Uint8Array(128), view = new DataView(memory.buffer);
  for (let at = 0; at < 128; at += 4) view.setUint32(at, r.u32(), true);
  if (load === 4 && r.below(4)) view.setUint32(0, r.below(3) ? Number(hard32(r)) : r.below(2000) - 1000, true);
  if (load === 8 && r.below(4)) view.setBigUint64(0, hard64(r), true);
  if (load === 2 && r.below(4) === 0) view.setUint16(0, 0, true);
  if (load === 10) {
    const value = hard80(r);
    view.setBigUint64(0, value.significand, true);
    view.setUint16(8, value.se, true);
  }
  return memory;
}

const decimalDigits = (r: Random, memory: Uint8Array): void => {
  for (let n = 0; n < 9; n++) memory[n] = (r.below(10) << 4) | r.below(10);
  memory[9] = r.below(2) << 7;
};

export function randomCase(r: Random, options: X87Options): X87Case {
  const [opcode, modrm] = r.pick(options.instructions);
  const operand16 = r.below(4) === 0;
  const operand = x87Operand(opcode, modrm, operand16);
  const image = new Uint8Array(512), view = new DataView(image.buffer);
  const unmasked = r.below(100) < (options.unmaskedPercent ?? 20);
  const control = randomControl(r, unmasked);
  let status = (r.u32() & 0x7f00) | (r.below(4) === 0 ? r.u32() & 0x7f : 0);
  // Pending exceptions only now and then: they stop most instructions.
  if (r.below(8)) status &= ~(~control & 0x3f);
  if (status & ~control & 0x3f) status |= SW.ES | SW.B;
  const top = (status >> 11) & 7;
  let tags = 0xff & ~(1 << ((top + 7) & 7));
  if (r.below(100) < (options.tagsPercent ?? 15)) tags = r.u32() & 0xff;
  view.setUint16(0, control, true);
  view.setUint16(2, status, true);
  view.setUint8(4, tags);
  view.setUint32(24, 0x1f80, true);
  randomRegisters(r, view);
  if (opcode === 0xd9 && (modrm === 0xf8 || modrm === 0xf5)) nearRemainder(r, view);
  if (opcode === 0xd9 && modrm === 0xfd) smallScale(r, view);
  if (TRANSCENDENTAL.has(x87Row(opcode, modrm)?.name ?? '')) ordinaryArguments(r, view);
  if (opcode === 0xdf && (modrm === 0x36 || modrm === 0x3e)) integerRange(r, view);
  const memory = randomMemory(r, operand?.load ?? 0);
  if (opcode === 0xdf && modrm === 0x26) decimalDigits(r, memory);
  if (opcode === 0xd9 && modrm === 0x2e) memory[1] = memory[1]! & 0x1f;
  return { opcode, modrm, operand16, code: operand16 && modrm < 0xc0 ? [0x66, opcode, modrm] : [opcode, modrm], rax: r.u64(), eflags: r.u32() & 0x8d5, image, memory };
}

/** Puts ST(0)'s exponent within the reach of one remainder step above ST(1)'s. */
function nearRemainder(r: Random, image: DataView): void {
  if (r.below(3) === 0) return;
  const e = Math.min(0x7ffe, (image.getUint16(56, true) & 0x7fff) + r.below(90) - 4);
  image.setUint16(40, (r.below(2) << 15) | Math.max(1, e), true);
  image.setBigUint64(32, image.getBigUint64(32, true) | (1n << 63n), true);
}

/** Scale factors of at most 16 bits, some of them fractional. */
function smallScale(r: Random, image: DataView): void {
  if (r.below(3) === 0) return;
  image.setUint16(56, (r.below(2) << 15) | (16383 + r.below(18) - 1), true);
  image.setBigUint64(48, image.getBigUint64(48, true) | (1n << 63n), true);
}

/** Arguments of everyday size, where the series and the reduction by pi are at work. */
function ordinaryArguments(r: Random, image: DataView): void {
  for (const at of [32, 48]) {
    if (r.below(4) === 0) continue;
    image.setUint16(at + 8, (r.below(2) << 15) | (16383 + r.pick([r.below(9) - 6, r.below(70) - 5, r.below(40) - 35])), true);
    image.setBigUint64(at, image.getBigUint64(at, true) | (1n << 63n), true);
  }
}

function integerRange(r: Random, image: DataView): void {
  if (r.below(3) === 0) return;
  image.setUint16(40, (r.below(2) << 15) | (16383 + r.below(66) - 2), true);
  image.setBigUint64(32, image.getBigUint64(32, true) | (1n << 63n), true);
}

const scratch = new DataView(new ArrayBuffer(STATE_BYTES + 64));

/** What this implementation makes of a case, in the host's terms. */
export function runHere(c: X87Case): NativeResult {
  const state = new X87State(scratch, 64);
  fxrstor(state, c.image, FX64);
  const operand = x87Operand(c.opcode, c.modrm, c.operand16);
  const untouched = { mxcsr: 0, rax: c.rax, eflags: c.eflags | 2, image: c.image, memory: c.memory };
  const bytes = operand && operand.load > 0 ? c.memory.subarray(0, operand.load) : undefined;
  const result = x87Execute(state, c.opcode, c.modrm, { ...(bytes ? { bytes } : {}), operand16: c.operand16 }, { eflags: c.eflags });
  if (result.status !== 'done') return { ...untouched, status: result.status === 'pending' ? 'fault' : 'undefined' };
  const image = new Uint8Array(c.image);
  fxsave(state, image, FX64);
  const memory = new Uint8Array(c.memory);
  if (result.store) memory.set(result.store);
  const eflags = result.eflags === undefined ? c.eflags | 2 : (c.eflags & ~0x8d5) | result.eflags | 2;
  const rax = result.ax === undefined ? c.rax : (c.rax & ~0xffffn) | BigInt(result.ax);
  return { status: 'done', mxcsr: 0, rax, eflags, image, memory };
}

const hex = (n: number | bigint, digits: number): string => n.toString(16).padStart(digits, '0');
const register = (image: Uint8Array, i: number): string => {
  const v = new DataView(image.buffer, image.byteOffset);
  return hex(v.getUint16(40 + 16 * i, true), 4) + ':' + hex(v.getBigUint64(32 + 16 * i, true), 16);
};
const word = (image: Uint8Array, at: number): number => image[at]! | (image[at + 1]! << 8);

/** Bits of the status word to compare, and by how many units in the last place registers may differ. */
export interface Tolerance { status?: number; ulps?: number }

function withinUlps(a: string, b: string, ulps: number): boolean {
  if (a === b) return true;
  if (ulps === 0) return false;
  // Sign, exponent and fraction in one number: neighbours differ by one, across exponents too.
  const ordinal = (s: string): bigint => {
    const se = BigInt('0x' + s.slice(0, 4)), significand = BigInt('0x' + s.slice(5));
    return ((se & 0x7fffn) << 63n) + (significand & ((1n << 63n) - 1n));
  };
  if (((parseInt(a.slice(0, 4), 16) ^ parseInt(b.slice(0, 4), 16)) & 0x8000) !== 0) return false;
  const d = ordinal(a) - ordinal(b);
  return d <= BigInt(ulps) && d >= -BigInt(ulps);
}

/** Memory bytes that hold no pointers: the environments' pointers are the caller's business. */
function comparedMemory(c: X87Case, memory: Uint8Array): string {
  const isEnvironment = (c.opcode === 0xd9 || c.opcode === 0xdd) && c.modrm === 0x36;
  const copy = Buffer.from(memory);
  if (isEnvironment) copy.fill(0, c.operand16 ? 6 : 12, c.operand16 ? 14 : 28);
  return copy.toString('hex');
}

/** Differences in words; empty when host and implementation agree. */
export function differences(c: X87Case, host: NativeResult, here: NativeResult, tolerance: Tolerance = {}): string[] {
  const out: string[] = [];
  if (host.status !== here.status) return [`status host ${host.status} here ${here.status}`];
  if (host.status !== 'done') return out;
  const mask = tolerance.status ?? 0xffff;
  const check = (what: string, a: string, b: string): void => { if (a !== b) out.push(`${what} host ${a} here ${b}`); };
  check('fcw', hex(word(host.image, 0), 4), hex(word(here.image, 0), 4));
  check('fsw', hex(word(host.image, 2) & mask, 4), hex(word(here.image, 2) & mask, 4));
  check('ftw', hex(host.image[4]!, 2), hex(here.image[4]!, 2));
  for (let i = 0; i < 8; i++) {
    const a = register(host.image, i), b = register(here.image, i);
    if (!withinUlps(a, b, tolerance.ulps ?? 0)) out.push(`st${i} host ${a} here ${b}`);
  }
  check('rax', hex(host.rax, 16), hex(here.rax, 16));
  check('eflags', hex(host.eflags & 0x8d5, 4), hex(here.eflags & 0x8d5, 4));
  check('memory', comparedMemory(c, host.memory), comparedMemory(c, here.memory));
  return out;
}

export function describeCase(c: X87Case): string {
  const registers = [0, 1, 2, 7].map((i) => `st${i} ${register(c.image, i)}`).join(' ');
  return `${c.code.map((b) => hex(b, 2)).join(' ')} fcw ${hex(word(c.image, 0), 4)} fsw ${hex(word(c.image, 2), 4)} ftw ${hex(c.image[4]!, 2)} ${registers} memory ${Buffer.from(c.memory).toString('hex', 0, 28)}`;
}

/**
 * The implementation follows AMD's family 25 where manuals leave room or processors differ. On another vendor's host
 * these are not compared:
 * - condition codes the manuals call undefined (C1 after FCOMI and FFREE, C0 and C3 after an invalid FPREM);
 * - D9 D8+i (FSTP without an exception for an empty register) and DF C0+i (FFREEP), which the manuals omit;
 * - unmasked exceptions: results of compares, FLD of a denormal, flags of stores that do not take place.
 */
export type Vendor = 'amd' | 'other';

const nameOf = (c: X87Case): string => x87Row(c.opcode, c.modrm)?.name ?? 'undefined';

/** False: the manuals promise nothing for these operands. */
export function isPromised(c: X87Case, vendor: Vendor): boolean {
  const name = nameOf(c), view = new DataView(c.image.buffer, c.image.byteOffset);
  const exponent = view.getUint16(40, true) & 0x7fff, significand = view.getBigUint64(32, true);
  if (name === 'fyl2xp1') return exponent < 0x3ffd || (exponent === 0x3ffd && significand <= 0x95f619980c4336f7n);
  if (name === 'f2xm1') return exponent < 0x3fff || (exponent === 0x3fff && significand <= 1n << 63n);
  return vendor === 'amd' || !/^(fstpnce|ffreep|undefined)/.test(name);
}

/** Transcendental results may be one unit in the last place off, so C1 says nothing about them. */
export function toleranceOf(c: X87Case, vendor: Vendor): Tolerance {
  const name = nameOf(c);
  if (TRANSCENDENTAL.has(name)) return { ulps: 1, status: 0xffff & ~SW.C1 };
  if (vendor === 'amd') return {};
  return { status: 0xffff & ~(/^fprem/.test(name) ? SW.C0 | SW.C1 | SW.C3 : SW.C1) };
}
