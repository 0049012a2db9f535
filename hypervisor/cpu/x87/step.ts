// One x87 instruction being carried out: its operands, the state it changes, and how outcomes are committed.

import { BEFORE, DE, IE } from '../softfloat/flags.ts';
import type { Unpacked } from '../softfloat/unpacked.ts';
import { SW } from './layout.ts';
import { blocks } from './numeric.ts';
import type { BinaryOperation, Environment, Outcome } from './numeric.ts';
import { INDEFINITE } from './state.ts';
import type { F80, X87State } from './state.ts';

export class X87Step {
  readonly state: X87State;
  /** ModRM bits 0-2: the register operand. */
  readonly i: number;
  /** Bytes read from memory, or null. */
  readonly source: DataView | null;
  /** Bytes of the processor's flags the FCMOVcc conditions look at. */
  readonly eflags: number;
  /** 14/94-byte environment formats instead of 28/108. */
  readonly operand16: boolean;
  readonly environment: Environment;
  /** What the instruction wants written to memory; stays undefined when an unmasked exception forbids it. */
  store: Uint8Array | undefined = undefined;
  /** ZF, PF, CF from FCOMI and its kin. */
  newEflags: number | undefined = undefined;
  ax: number | undefined = undefined;

  constructor(state: X87State, modrm: number, source: DataView | null, eflags: number, operand16: boolean) {
    this.state = state;
    this.i = modrm & 7;
    this.source = source;
    this.eflags = eflags;
    this.operand16 = operand16;
    const control = state.control;
    this.environment = { mode: state.roundingMode, target: state.target, masks: control & 0x3f };
  }

  /** The memory operand; the caller promised its bytes. */
  get operand(): DataView {
    if (!this.source) throw new Error('x87 memory operand not loaded');
    return this.source;
  }
  /** Room for `bytes` of result. */
  output(bytes: number): DataView {
    this.store = new Uint8Array(bytes);
    return new DataView(this.store.buffer);
  }

  /** Sets C1 and the flags; false when an unmasked one forbids delivering a result. */
  accept(flags: number, up: boolean): boolean {
    const allowed = !blocks(flags, this.environment.masks);
    this.state.c1 = up && allowed;
    // An operation that is not carried out has no result to overflow, underflow or be inexact.
    this.state.raise(allowed ? flags : flags & BEFORE);
    return allowed;
  }
  /** Delivers a result to ST(i). */
  commit(i: number, outcome: Outcome): boolean {
    if (!this.accept(outcome.flags, outcome.up)) return false;
    this.state.write(i, outcome.value);
    return true;
  }

  /** An operand register is empty. True when the exception is masked and the default response is to be given. */
  underflow(): boolean {
    this.state.c1 = false;
    return this.state.raise(IE | SW.SF) === 0;
  }
  /** No room to push. */
  overflow(): boolean {
    this.state.c1 = true;
    return this.state.raise(IE | SW.SF) === 0;
  }

  /**
   * Pushes a loaded value; `flags` are those its conversion raised. A denormal (DE) is exact in a register, so it is
   * loaded even where its exception is unmasked.
   */
  load(value: F80, flags = 0): void {
    if (!this.state.isEmpty(7)) {
      if (this.overflow()) this.state.push(INDEFINITE);
      return;
    }
    if (!this.accept(flags & ~DE, false)) return;
    this.state.raise(flags & DE);
    this.state.push(value);
  }

  /** ST(i) := operation(ST(i), b). */
  binary(i: number, b: Unpacked, operation: BinaryOperation): boolean {
    return this.commit(i, operation(this.state.readUnpacked(i), b, this.environment));
  }
  /** The stack-underflow response of an operation with a register result. True: go on with pops. */
  underflowInto(i: number): boolean {
    if (!this.underflow()) return false;
    this.state.write(i, INDEFINITE);
    return true;
  }
}
