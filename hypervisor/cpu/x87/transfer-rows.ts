// Loads, stores, exchanges and the one-register operations that move or inspect bits.

import { OE, TRUNCATE, UE } from '../softfloat/flags.ts';
import { isNaNKind, KIND, unpack32, unpack64 } from '../softfloat/unpacked.ts';
import type { Unpacked } from '../softfloat/unpacked.ts';
import { pow2 } from '../softfloat/bits.ts';
import { SW } from './layout.ts';
import { SOURCES } from './arithmetic-rows.ts';
import type { SourceForm } from './arithmetic-rows.ts';
import { DECIMAL_INDEFINITE, fromDecimal, integer80, loadFlags, narrow, toDecimal, toInteger, widen } from './memory-format.ts';
import type { Stored } from './memory-format.ts';
import { row } from './row.ts';
import type { X87Row } from './row.ts';
import { f80, INDEFINITE } from './state.ts';
import type { F80 } from './state.ts';
import type { X87Step } from './step.ts';

const loadFloat = (name: string, bytes: number, read: (v: DataView) => Unpacked): X87Row => row(name, (step) => {
  const v = read(step.operand);
  step.load(widen(v), loadFlags(v));
}, bytes);
export const fld_m32 = loadFloat('fld_m32', 4, (v) => unpack32(v.getUint32(0, true)));
export const fld_m64 = loadFloat('fld_m64', 8, (v) => unpack64(v.getBigUint64(0, true)));

export const fild = (form: SourceForm): X87Row => row(`fild_${form}`, (step) => {
  const v = SOURCES[form].read(step.operand);
  step.load(integer80(v.sign, v.significand));
}, SOURCES[form].bytes);

export const readF80 = (v: DataView, at = 0): F80 => f80(v.getUint16(at + 8, true), v.getBigUint64(at, true));
export function writeF80(v: DataView, at: number, value: F80): void {
  v.setBigUint64(at, value.significand, true);
  v.setUint16(at + 8, value.se, true);
}
export const fld_m80 = row('fld_m80', (step) => step.load(readF80(step.operand)), 10);
export const fbld = row('fbld_m80', (step) => step.load(fromDecimal(step.operand.getBigUint64(0, true) | (BigInt(step.operand.getUint16(8, true)) << 64n))), 10);

export const fld_sti = row('fld_sti', (step) => {
  const { state } = step;
  // An empty operand hides a full stack.
  if (state.isEmpty(step.i)) { if (step.underflow()) state.push(INDEFINITE); return; }
  step.load(state.read(step.i));
});

export const pushConstant = (name: string, value: (step: X87Step) => F80): X87Row => row(name, (step) => step.load(value(step)));

function writeStore(step: X87Step, bytes: number, value: bigint): void {
  const out = step.output(bytes);
  if (bytes === 2) out.setUint16(0, Number(value), true);
  else if (bytes === 4) out.setUint32(0, Number(value), true);
  else out.setBigUint64(0, BigInt.asUintN(64, value), true);
  if (bytes === 10) out.setUint16(8, Number(value >> 64n), true);
}

/** A store that converts: nothing is written or popped when an unmasked exception (but PE) is raised. */
function store(name: string, bytes: number, indefinite: bigint, convert: (v: Unpacked, step: X87Step) => Stored, pop: boolean): X87Row {
  return row(name, (step) => {
    const { state } = step;
    if (state.isEmpty(0)) {
      if (!step.underflow()) return;
      writeStore(step, bytes, indefinite);
    } else {
      const result = convert(state.readUnpacked(0), step);
      if (!step.accept(result.flags, result.up)) return;
      if (state.unmasked(result.flags & (OE | UE))) return;
      writeStore(step, bytes, result.value);
    }
    if (pop) state.pop();
  }, 0, bytes);
}

export const fst_m32 = (pop: boolean): X87Row => store(pop ? 'fstp_m32' : 'fst_m32', 4, 0xffc00000n, (v, s) => narrow(v, 32, s.environment), pop);
export const fst_m64 = (pop: boolean): X87Row => store(pop ? 'fstp_m64' : 'fst_m64', 8, 0xfff8000000000000n, (v, s) => narrow(v, 64, s.environment), pop);
export const fist = (bits: 16 | 32 | 64, pop: boolean): X87Row =>
  store(`fist${pop ? 'p' : ''}_m${bits}int`, bits / 8, pow2(bits - 1), (v, s) => toInteger(v, bits, s.environment.mode), pop);
export const fisttp = (bits: 16 | 32 | 64): X87Row =>
  store(`fisttp_m${bits}int`, bits / 8, pow2(bits - 1), (v) => toInteger(v, bits, TRUNCATE), true);
export const fbstp = store('fbstp_m80', 10, DECIMAL_INDEFINITE, (v, s) => toDecimal(v, s.environment.mode), true);

export const fstp_m80 = row('fstp_m80', (step) => {
  const { state } = step;
  if (state.isEmpty(0)) {
    if (!step.underflow()) return;
    writeF80(step.output(10), 0, INDEFINITE);
  } else {
    state.c1 = false;
    writeF80(step.output(10), 0, state.read(0));
  }
  state.pop();
}, 0, 10);

export const fst_sti = (pop: boolean): X87Row => row(pop ? 'fstp_sti' : 'fst_sti', (step) => {
  const { state } = step;
  if (state.isEmpty(0)) {
    if (!step.underflowInto(step.i)) return;
  } else {
    state.c1 = false;
    state.write(step.i, state.read(0));
  }
  if (pop) state.pop();
});

/** D9 D8+i, not in the manuals: FSTP that pops an empty ST(0) without an exception, and then stores nothing. */
export const fstpnce = row('fstpnce_sti', (step) => {
  const { state } = step;
  state.c1 = false;
  if (!state.isEmpty(0)) state.write(step.i, state.read(0));
  state.pop();
});

export const fxch = row('fxch_sti', (step) => {
  const { state, i } = step;
  const empty0 = state.isEmpty(0), emptyI = state.isEmpty(i);
  if (empty0 || emptyI) {
    if (!step.underflow()) return;
    if (empty0) state.write(0, INDEFINITE);
    if (emptyI) state.write(i, INDEFINITE);
  } else state.c1 = false;
  const top = state.read(0);
  state.write(0, state.read(i));
  state.write(i, top);
});

/** FCHS and FABS touch the sign of anything, NaNs and unsupported formats included. */
const signOperation = (name: string, change: (se: number) => number): X87Row => row(name, (step) => {
  const { state } = step;
  if (state.isEmpty(0)) { step.underflowInto(0); return; }
  state.c1 = false;
  const v = state.read(0);
  state.write(0, f80(change(v.se), v.significand));
});
export const fchs = signOperation('fchs', (se) => se ^ 0x8000);
export const fabs = signOperation('fabs', (se) => se & 0x7fff);

function classOf(v: Unpacked): number {
  if (isNaNKind(v)) return SW.C0;
  switch (v.kind) {
    case KIND.normal: return SW.C2;
    case KIND.infinity: return SW.C2 | SW.C0;
    case KIND.zero: return SW.C3;
    case KIND.denormal: return SW.C3 | SW.C2;
    default: return 0;
  }
}
export const fxam = row('fxam', (step) => {
  const { state } = step;
  const v = state.readUnpacked(0);
  state.conditions(state.isEmpty(0) ? SW.C3 | SW.C0 : classOf(v));
  state.c1 = v.sign === 1;
});

