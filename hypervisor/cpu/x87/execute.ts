// The x87 instruction map and its entry points. The caller decodes, translates addresses and moves memory; this
// unit gets operand bytes and hands back bytes to store, so that faults stay the caller's and stay precise:
//
//   x87Operand   how many bytes are read and written (undefined: #UD)
//   x87Pending   whether #MF comes first (check before touching memory)
//   x87Execute   carries the instruction out

import { arithmeticFromTop, arithmeticMemory, arithmeticToTop, FCMOV, FCMOVN, fcomi, fcomip, fcompp, ftst, fucom, fucomi, fucomip, fucomp, fucompp } from './arithmetic-rows.ts';
import { fdecstp, ffree, ffreep, fincstp, fldcw, fldenv, fnclex, fninit, fnop, fnsave, fnstcw, fnstenv, fnstsw_ax, fnstsw_m16, frstor, historic } from './control-rows.ts';
import { f2xm1, fcos, fpatan, fprem, fprem1, fptan, frndint, fscale, fsin, fsincos, fsqrt, fxtract, fyl2x, fyl2xp1 } from './function-rows.ts';
import type { X87Row } from './row.ts';
import { X87Step } from './step.ts';
import type { X87State } from './state.ts';
import { ONE, zero } from './state.ts';
import { fabs, fbld, fbstp, fchs, fild, fist, fisttp, fld_m32, fld_m64, fld_m80, fld_sti, fst_m32, fst_m64, fst_sti, fstp_m80, fstpnce, fxam, fxch, pushConstant } from './transfer-rows.ts';
import { CONSTANTS, loadConstant } from './transcendental.ts';

type Cell = X87Row | undefined;
const NONE: Cell = undefined;
const constant = (name: keyof typeof CONSTANTS): X87Row => pushConstant(`fld${name}`, (step) => loadConstant(CONSTANTS[name], step.environment));

/** By opcode - D8, then ModRM reg. */
const MEMORY: readonly (readonly Cell[])[] = [
  arithmeticMemory('m32'),
  [fld_m32, NONE, fst_m32(false), fst_m32(true), fldenv, fldcw, fnstenv, fnstcw],
  arithmeticMemory('m32int'),
  [fild('m32int'), fisttp(32), fist(32, false), fist(32, true), NONE, fld_m80, NONE, fstp_m80],
  arithmeticMemory('m64'),
  [fld_m64, fisttp(64), fst_m64(false), fst_m64(true), frstor, NONE, fnsave, fnstsw_m16],
  arithmeticMemory('m16int'),
  [fild('m16int'), fisttp(16), fist(16, false), fist(16, true), fbld, fild('m64int'), fbstp, fist(64, true)],
];

/** Eight cells of one row, or a list of cells for ModRM rm 0..7. */
const all = (cell: Cell): readonly Cell[] => Array<Cell>(8).fill(cell);
const only = (rm: number, cell: Cell): readonly Cell[] => [0, 1, 2, 3, 4, 5, 6, 7].map((n) => (n === rm ? cell : NONE));
const UNDEFINED = all(NONE);
const fstp = fst_sti(true);

/** By opcode - D8, then ModRM reg, then rm. Cells the manuals leave open but processors decode are here too (FXCH4, FSTP1, ...). */
const REGISTER: readonly (readonly (readonly Cell[])[])[] = [
  arithmeticToTop.map(all),
  [
    all(fld_sti), all(fxch), only(0, fnop), all(fstpnce),
    [fchs, fabs, NONE, NONE, ftst, fxam, NONE, NONE],
    [pushConstant('fld1', () => ONE), constant('l2t'), constant('l2e'), constant('pi'), constant('lg2'), constant('ln2'), pushConstant('fldz', () => zero(0)), NONE],
    [f2xm1, fyl2x, fptan, fpatan, fxtract, fprem1, fdecstp, fincstp],
    [fprem, fyl2xp1, fsqrt, fsincos, frndint, fscale, fsin, fcos],
  ],
  [...FCMOV.map(all), UNDEFINED, only(1, fucompp), UNDEFINED, UNDEFINED],
  [...FCMOVN.map(all), [historic, historic, fnclex, fninit, historic, NONE, NONE, NONE], all(fucomi), all(fcomi), UNDEFINED],
  arithmeticFromTop(false).map(all),
  [all(ffree), all(fxch), all(fst_sti(false)), all(fstp), all(fucom), all(fucomp), UNDEFINED, UNDEFINED],
  arithmeticFromTop(true).map((cell, reg) => (reg === 3 ? only(1, fcompp) : all(cell))),
  [all(ffreep), all(fxch), all(fstp), all(fstp), only(0, fnstsw_ax), all(fucomip), all(fcomip), UNDEFINED],
];

/** The row of an instruction, or undefined for #UD. */
export function x87Row(opcode: number, modrm: number): X87Row | undefined {
  const reg = (modrm >> 3) & 7;
  return modrm >= 0xc0 ? REGISTER[opcode - 0xd8]?.[reg]?.[modrm & 7] : MEMORY[opcode - 0xd8]?.[reg];
}

function size(bytes: X87Row['load'], operand16: boolean): number {
  if (bytes === 'environment') return operand16 ? 14 : 28;
  if (bytes === 'all') return operand16 ? 94 : 108;
  return bytes;
}

/** Bytes the instruction reads from and writes to memory; undefined: undefined encoding (#UD). */
export function x87Operand(opcode: number, modrm: number, operand16 = false): { load: number; store: number } | undefined {
  const found = x87Row(opcode, modrm);
  return found && { load: size(found.load, operand16), store: size(found.store, operand16) };
}

/** True: the instruction delivers a pending exception (#MF) instead of running. FWAIT asks with state.pending. */
export function x87Pending(state: X87State, opcode: number, modrm: number): boolean {
  return state.pending && (x87Row(opcode, modrm)?.waits ?? false);
}

export interface X87Memory {
  /** The operand's bytes where the instruction reads memory. */
  readonly bytes?: Uint8Array;
  /** The operand-size prefix (or a 16-bit code segment) selects the 14- and 94-byte formats. */
  readonly operand16?: boolean;
  /** Linear address, for the last-data pointer. */
  readonly address?: bigint;
}

export interface X87Context {
  /** Processor flags, for FCMOVcc. */
  readonly eflags?: number;
  /** Address of the instruction, for the last-instruction pointer. */
  readonly rip?: bigint;
}

export type X87Result =
  /** No such instruction: #UD, nothing changed. */
  | { readonly status: 'undefined' }
  /** A pending exception is delivered: #MF, nothing changed. */
  | { readonly status: 'pending' }
  | {
    readonly status: 'done';
    /** Bytes to write to memory; absent when there is nothing to write or an unmasked exception forbids it. */
    readonly store: Uint8Array | undefined;
    /** New ZF, PF and CF (bits as in EFLAGS; OF, SF and AF become 0), from FCOMI and its kin. */
    readonly eflags: number | undefined;
    readonly ax: number | undefined;
  };

const NO_CONTEXT: X87Context = {};
const UNDEFINED_RESULT: X87Result = { status: 'undefined' };
const PENDING_RESULT: X87Result = { status: 'pending' };

/** Carries out one instruction D8..DF. Throws only when operand bytes that x87Operand asks for are missing. */
export function x87Execute(state: X87State, opcode: number, modrm: number, mem: X87Memory | null, context: X87Context = NO_CONTEXT): X87Result {
  const found = x87Row(opcode, modrm);
  if (!found) return UNDEFINED_RESULT;
  if (found.waits && state.pending) return PENDING_RESULT;
  const bytes = mem?.bytes;
  const source = bytes ? new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) : null;
  const step = new X87Step(state, modrm, source, context.eflags ?? 0, mem?.operand16 ?? false);
  if (found.traced) trace(state, opcode, modrm, mem, context);
  found.run(step);
  return { status: 'done', store: step.store, eflags: step.newEflags, ax: step.ax };
}

function trace(state: X87State, opcode: number, modrm: number, mem: X87Memory | null, context: X87Context): void {
  if (context.rip === undefined) return;
  state.opcode = ((opcode & 7) << 8) | modrm;
  state.instructionPointer = context.rip;
  if (mem?.address !== undefined) state.dataPointer = mem.address;
}
