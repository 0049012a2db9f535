// One row per instruction form. execute.ts lays the rows out by opcode.

import type { X87Step } from './step.ts';

export interface X87Row {
  /** Mnemonic and operand forms. */
  readonly name: string;
  /** Bytes read from memory; 'environment' is 28 (14 with a 16-bit operand size), 'all' 108 (94). */
  readonly load: number | 'environment' | 'all';
  readonly store: number | 'environment' | 'all';
  /** Delivers a pending exception before it runs. */
  readonly waits: boolean;
  /** Leaves a trace in the last-instruction pointers. */
  readonly traced: boolean;
  readonly run: (step: X87Step) => void;
}

export const row = (name: string, run: (step: X87Step) => void, load: X87Row['load'] = 0, store: X87Row['store'] = 0): X87Row =>
  ({ name, run, load, store, waits: true, traced: true });

/** A control instruction: not traced. */
export const control = (name: string, waits: boolean, run: (step: X87Step) => void, load: X87Row['load'] = 0, store: X87Row['store'] = 0): X87Row =>
  ({ name, run, load, store, waits, traced: false });
