// FADD FMUL FSUB FSUBR FDIV FDIVR, the compares FCOM FUCOM FTST FCOMI, and FCMOVcc, in every operand form.

import { fromInteger, KIND, unpack32, unpack64 } from '../softfloat/unpacked.ts';
import type { Unpacked } from '../softfloat/unpacked.ts';
import { SW } from './layout.ts';
import { add80, compare80, divide80, divideReverse80, multiply80, subtract80, subtractReverse80 } from './numeric.ts';
import type { BinaryOperation } from './numeric.ts';
import { row } from './row.ts';
import type { X87Row } from './row.ts';
import type { X87Step } from './step.ts';

/** Memory operand forms by their place in the opcode map: D8, DA, DC, DE. */
export const SOURCES = {
  m32: { bytes: 4, read: (v: DataView): Unpacked => unpack32(v.getUint32(0, true)) },
  m32int: { bytes: 4, read: (v: DataView): Unpacked => fromInteger(BigInt(v.getInt32(0, true))) },
  m64: { bytes: 8, read: (v: DataView): Unpacked => unpack64(v.getBigUint64(0, true)) },
  m16int: { bytes: 2, read: (v: DataView): Unpacked => fromInteger(BigInt(v.getInt16(0, true))) },
  m64int: { bytes: 8, read: (v: DataView): Unpacked => fromInteger(v.getBigInt64(0, true)) },
} as const;
export type SourceForm = keyof typeof SOURCES;

const ORDER = { less: SW.C0, equal: SW.C3, greater: 0, unordered: SW.C3 | SW.C2 | SW.C0 } as const;
const CONDITION = [ORDER.less, ORDER.equal, ORDER.greater, ORDER.unordered] as const;
export const EFLAGS = { CF: 0x01, PF: 0x04, ZF: 0x40 } as const;
const EFLAGS_OF = [EFLAGS.CF, EFLAGS.ZF, 0, EFLAGS.CF | EFLAGS.PF | EFLAGS.ZF] as const;

const ZERO: Unpacked = { kind: KIND.zero, sign: 0, exponent: 0, significand: 0n };

/**
 * Relation of ST(0) to b, exceptions raised. Its flags are set whatever the exceptions; an unmasked one only keeps
 * the stack as it is (`popping` false).
 */
function relate(step: X87Step, b: Unpacked | undefined, quiet: boolean): { relation: number; popping: boolean } {
  const { state } = step;
  if (b === undefined || state.isEmpty(0)) return { relation: 2, popping: step.underflow() };
  const { relation, flags } = compare80(state.readUnpacked(0), b, quiet);
  return { relation, popping: step.accept(flags, false) };
}

function compare(step: X87Step, b: Unpacked | undefined, quiet: boolean, pops: number): void {
  const { relation, popping } = relate(step, b, quiet);
  step.state.conditions(CONDITION[relation + 1]!);
  for (let n = 0; popping && n < pops; n++) step.state.pop();
}

const register = (step: X87Step, i: number): Unpacked | undefined => (step.state.isEmpty(i) ? undefined : step.state.readUnpacked(i));

/** FCOMI and its kin: C1 stays as it was but for a stack fault. */
function compareFlags(step: X87Step, quiet: boolean, pops: number): void {
  const { state } = step;
  const b = register(step, step.i), c1 = state.status & SW.C1;
  const { relation, popping } = relate(step, b, quiet);
  if (b && !state.isEmpty(0)) state.status |= c1;
  step.newEflags = EFLAGS_OF[relation + 1]!;
  for (let n = 0; popping && n < pops; n++) state.pop();
}

const OPERATIONS: readonly (readonly [string, BinaryOperation | undefined])[] = [
  ['fadd', add80], ['fmul', multiply80], ['fcom', undefined], ['fcomp', undefined],
  ['fsub', subtract80], ['fsubr', subtractReverse80], ['fdiv', divide80], ['fdivr', divideReverse80],
];

/** The eight rows of D8, DA, DC or DE with a memory operand. */
export function arithmeticMemory(form: SourceForm): X87Row[] {
  const { bytes, read } = SOURCES[form];
  return OPERATIONS.map(([mnemonic, operation], index) => {
    const name = `${form.endsWith('int') ? mnemonic.replace('f', 'fi') : mnemonic}_${form}`;
    if (!operation) return row(name, (step) => compare(step, read(step.operand), false, index - 2), bytes);
    return row(name, (step) => {
      if (step.state.isEmpty(0)) step.underflowInto(0);
      else step.binary(0, read(step.operand), operation);
    }, bytes);
  });
}

function registers(step: X87Step, destination: number, source: number, operation: BinaryOperation, pop: boolean): void {
  const { state } = step;
  const done = state.isEmpty(destination) || state.isEmpty(source) ? step.underflowInto(destination) : step.binary(destination, state.readUnpacked(source), operation);
  if (done && pop) state.pop();
}

const compareRow = (name: string, quiet: boolean, pops: number): X87Row => row(name, (step) => compare(step, register(step, step.i), quiet, pops));

/** D8 C0+: ST(0) := ST(0) op ST(i). */
export const arithmeticToTop: readonly X87Row[] = OPERATIONS.map(([mnemonic, operation], index) =>
  operation ? row(`${mnemonic}_st0_sti`, (step) => registers(step, 0, step.i, operation, false)) : compareRow(`${mnemonic}_sti`, false, index - 2));

/** DC C0+ and, popping, DE C0+: ST(i) := ST(i) op ST(0). Subtraction and division trade places with their reverses. */
export const arithmeticFromTop = (pop: boolean): readonly X87Row[] => OPERATIONS.map(([, ], index) => {
  const [mnemonic, operation] = OPERATIONS[index < 4 ? index : index ^ 1]!;
  if (!operation) return compareRow(`${mnemonic}_sti`, false, pop ? 1 : index - 2);
  return row(`${mnemonic}${pop ? 'p' : ''}_sti_st0`, (step) => registers(step, step.i, 0, operation, pop));
});

export const fucom = compareRow('fucom_sti', true, 0);
export const fucomp = compareRow('fucomp_sti', true, 1);
export const fcompp = compareRow('fcompp', false, 2);
export const fucompp = compareRow('fucompp', true, 2);
export const fcomi = row('fcomi_sti', (step) => compareFlags(step, false, 0));
export const fcomip = row('fcomip_sti', (step) => compareFlags(step, false, 1));
export const fucomi = row('fucomi_sti', (step) => compareFlags(step, true, 0));
export const fucomip = row('fucomip_sti', (step) => compareFlags(step, true, 1));
export const ftst = row('ftst', (step) => compare(step, ZERO, false, 0));

/** FCMOVcc: an empty operand is a stack underflow whether or not the condition holds. */
function conditionalMove(name: string, holds: (eflags: number) => boolean): X87Row {
  return row(`${name}_st0_sti`, (step) => {
    const { state } = step;
    if (state.isEmpty(0) || state.isEmpty(step.i)) { step.underflowInto(0); return; }
    if (holds(step.eflags)) state.write(0, state.read(step.i));
  });
}
const { CF, PF, ZF } = EFLAGS;
export const FCMOV: readonly X87Row[] = [
  conditionalMove('fcmovb', (f) => (f & CF) !== 0), conditionalMove('fcmove', (f) => (f & ZF) !== 0),
  conditionalMove('fcmovbe', (f) => (f & (CF | ZF)) !== 0), conditionalMove('fcmovu', (f) => (f & PF) !== 0),
];
export const FCMOVN: readonly X87Row[] = [
  conditionalMove('fcmovnb', (f) => (f & CF) === 0), conditionalMove('fcmovne', (f) => (f & ZF) === 0),
  conditionalMove('fcmovnbe', (f) => (f & (CF | ZF)) === 0), conditionalMove('fcmovnu', (f) => (f & PF) === 0),
];
