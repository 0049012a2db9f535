// Square root, remainders, scaling and the transcendental instructions.

import { SW } from './layout.ts';
import { squareRoot80 } from './numeric.ts';
import type { Environment, Outcome } from './numeric.ts';
import { extract, remainder, roundToIntegral, scale } from './remainder.ts';
import { row } from './row.ts';
import type { X87Row } from './row.ts';
import { INDEFINITE, ONE } from './state.ts';
import { f2xm1 as f2xm1Of, fpatan as fpatanOf, fyl2x as fyl2xOf, fyl2xp1 as fyl2xp1Of, sine, tangent } from './transcendental.ts';
import type { Unpacked } from '../softfloat/unpacked.ts';
import { isNaNKind, KIND } from '../softfloat/unpacked.ts';
import type { X87Step } from './step.ts';

/** ST(0) := f(ST(0)). */
const unary = (name: string, f: (v: Unpacked, env: Environment) => Outcome): X87Row => row(name, (step) => {
  if (step.state.isEmpty(0)) step.underflowInto(0);
  else step.commit(0, f(step.state.readUnpacked(0), step.environment));
});
export const fsqrt = unary('fsqrt', squareRoot80);
export const frndint = unary('frndint', roundToIntegral);
export const f2xm1 = unary('f2xm1', f2xm1Of);

/** ST(1) := f(ST(1), ST(0)), pop. */
const binaryPop = (name: string, f: (y: Unpacked, x: Unpacked, env: Environment) => Outcome): X87Row => row(name, (step) => {
  const { state } = step;
  const done = state.isEmpty(0) || state.isEmpty(1) ? step.underflowInto(1) : step.commit(1, f(state.readUnpacked(1), state.readUnpacked(0), step.environment));
  if (done) state.pop();
});
export const fyl2x = binaryPop('fyl2x', fyl2xOf);
export const fyl2xp1 = binaryPop('fyl2xp1', fyl2xp1Of);
export const fpatan = binaryPop('fpatan', fpatanOf);

export const fscale = row('fscale', (step) => {
  const { state } = step;
  if (state.isEmpty(0) || state.isEmpty(1)) step.underflowInto(0);
  else step.commit(0, scale(state.readUnpacked(0), state.readUnpacked(1), step.environment));
});

const remainderRow = (name: string, nearest: boolean): X87Row => row(name, (step) => {
  const { state } = step;
  clearC2(step);
  if (state.isEmpty(0) || state.isEmpty(1)) { step.underflowInto(0); return; }
  const outcome = remainder(state.readUnpacked(0), state.readUnpacked(1), nearest, step.environment);
  if (!step.commit(0, outcome)) return;
  const conditions = outcome.conditions ?? (state.status & (SW.C0 | SW.C3));
  state.conditions(conditions & ~SW.C1);
  state.c1 = (conditions & SW.C1) !== 0;
});
export const fprem = remainderRow('fprem', false);
export const fprem1 = remainderRow('fprem1', true);

/** FSIN, FCOS: C2 tells that the argument was out of range and nothing was done. */
const circular = (name: string, quarter: 0 | 1): X87Row => row(name, (step) => {
  const { state } = step;
  clearC2(step);
  if (state.isEmpty(0)) { step.underflowInto(0); return; }
  const outcome = sine(state.readUnpacked(0), quarter, step.environment);
  if (outcome) step.commit(0, outcome);
  else outOfRange(step);
});
export const fsin = circular('fsin', 0);
export const fcos = circular('fcos', 1);

function outOfRange({ state }: X87Step): void {
  state.status |= SW.C2;
  state.c1 = false;
}
/** A stack fault leaves C2 clear as well: there is nothing more to reduce. */
const clearC2 = ({ state }: X87Step): void => { state.status &= ~SW.C2; };

/** Checks the two stack conditions of an instruction that replaces ST(0) and pushes. False: it is done. */
function roomForPair(step: X87Step): boolean {
  const { state } = step;
  const empty = state.isEmpty(0);
  if (!empty && state.isEmpty(7)) return true;
  if (empty ? step.underflow() : step.overflow()) {
    state.write(0, INDEFINITE);
    state.push(INDEFINITE);
  }
  return false;
}

export const fsincos = row('fsincos', (step) => {
  clearC2(step);
  if (!roomForPair(step)) return;
  const { state } = step;
  const x = state.readUnpacked(0);
  const sin = sine(x, 0, step.environment), cos = sine(x, 1, step.environment);
  if (!sin || !cos) { outOfRange(step); return; }
  // The pair is one instruction: flags of both, C1 of the one computed last.
  if (step.commit(0, { ...sin, flags: sin.flags | cos.flags, up: cos.up })) state.push(cos.value);
});

export const fptan = row('fptan', (step) => {
  clearC2(step);
  if (!roomForPair(step)) return;
  const { state } = step;
  const x = state.readUnpacked(0);
  const tan = tangent(x, step.environment);
  if (!tan) { outOfRange(step); return; }
  const number = !isNaNKind(x) && x.kind !== KIND.unsupported && x.kind !== KIND.infinity;
  if (step.commit(0, tan)) state.push(number ? ONE : tan.value);
});

export const fxtract = row('fxtract', (step) => {
  if (!roomForPair(step)) return;
  const { exponent, significand, flags } = extract(step.state.readUnpacked(0));
  if (!step.commit(0, { value: exponent, flags, up: false })) return;
  step.state.push(significand);
});
