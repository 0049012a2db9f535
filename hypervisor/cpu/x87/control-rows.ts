// Control instructions: they trace no pointers, and the FN forms do not wait for pending exceptions.

import { ENVIRONMENT_16_BYTES, ENVIRONMENT_BYTES, loadEnvironment, loadRegisters, storeEnvironment, storeRegisters } from './environment.ts';
import { ALL_FLAGS } from '../softfloat/flags.ts';
import { SW } from './layout.ts';
import { control, row } from './row.ts';
import type { X87Step } from './step.ts';

const environmentBytes = (step: X87Step): number => (step.operand16 ? ENVIRONMENT_16_BYTES : ENVIRONMENT_BYTES);

export const fldenv = control('fldenv', true, (step) => loadEnvironment(step.state, step.operand, step.operand16), 'environment');
export const fnstenv = control('fnstenv', false, (step) => {
  const { state } = step;
  storeEnvironment(state, step.output(environmentBytes(step)), step.operand16);
  state.control |= ALL_FLAGS;
  state.summarise();
}, 0, 'environment');
export const frstor = control('frstor', true, (step) => {
  loadEnvironment(step.state, step.operand, step.operand16);
  loadRegisters(step.state, step.operand, environmentBytes(step));
}, 'all');
export const fnsave = control('fnsave', false, (step) => {
  const bytes = environmentBytes(step);
  const out = step.output(bytes + 80);
  storeEnvironment(step.state, out, step.operand16);
  storeRegisters(step.state, out, bytes);
  step.state.init();
}, 0, 'all');
export const fldcw = control('fldcw', true, (step) => {
  step.state.control = step.operand.getUint16(0, true);
  step.state.summarise();
}, 2);
export const fnstcw = control('fnstcw', false, (step) => step.output(2).setUint16(0, step.state.control, true), 0, 2);
export const fnstsw_m16 = control('fnstsw_m16', false, (step) => step.output(2).setUint16(0, step.state.status, true), 0, 2);
export const fnstsw_ax = control('fnstsw_ax', false, (step) => { step.ax = step.state.status; });
export const fninit = control('fninit', false, (step) => step.state.init());
export const fnclex = control('fnclex', false, (step) => { step.state.status &= ~(ALL_FLAGS | SW.SF | SW.ES | SW.B); });
/** FNENI, FNDISI, FNSETPM: coprocessor housekeeping of old, without effect. */
export const historic = control('fneni_fndisi_fnsetpm', false, () => {});
export const fnop = row('fnop', () => {});
export const fincstp = row('fincstp', ({ state }) => { state.top = state.top + 1; state.c1 = false; });
export const fdecstp = row('fdecstp', ({ state }) => { state.top = state.top - 1; state.c1 = false; });
export const ffree = row('ffree_sti', ({ state, i }) => { state.free(i); state.c1 = false; });
export const ffreep = row('ffreep_sti', ({ state, i }) => { state.free(i); state.pop(); state.c1 = false; });
