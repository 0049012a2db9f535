// The x87 unit's state in the domain's memory: registers, stack pointer, tags, flags. The only place that knows
// how a register is written down.

import { ALL_FLAGS } from '../softfloat/flags.ts';
import type { RoundingMode } from '../softfloat/flags.ts';
import { TARGET_80, TARGET_80_24, TARGET_80_53 } from '../softfloat/round.ts';
import type { Target } from '../softfloat/round.ts';
import { INTEGER_BIT, unpack80 } from '../softfloat/unpacked.ts';
import type { Unpacked } from '../softfloat/unpacked.ts';
import { FCW, FCW_FIXED, FCW_INITIAL, FCW_WRITABLE, FDP, FIP, FOP, FSW, FTW, MXCSR, MXCSR_MASK_FIELD, REGISTERS, REGISTER_STRIDE, SIGN_EXPONENT, SW } from './layout.ts';
import { MXCSR_DEFAULT, MXCSR_MASK } from '../softfloat/mxcsr.ts';

/** An 80-bit value: sign and exponent word, significand with its integer bit. */
export interface F80 { readonly se: number; readonly significand: bigint }

export const f80 = (se: number, significand: bigint): F80 => ({ se, significand });
export const zero = (sign: number): F80 => ({ se: sign << 15, significand: 0n });
export const infinity80 = (sign: number): F80 => ({ se: (sign << 15) | 0x7fff, significand: INTEGER_BIT });
export const ONE: F80 = { se: 0x3fff, significand: INTEGER_BIT };
/** The default response to an invalid operation: the negative quiet NaN "real indefinite". */
export const INDEFINITE: F80 = { se: 0xffff, significand: 0xc000000000000000n };

const TARGETS: readonly Target[] = [TARGET_80_24, TARGET_80, TARGET_80_53, TARGET_80];

export class X87State {
  readonly view: DataView;
  readonly base: number;

  /** `base`: offset in `view` of the STATE_BYTES described in layout.ts. */
  constructor(view: DataView, base: number) {
    this.view = view;
    this.base = base;
  }

  /** FNINIT: registers keep their bits but are all empty. */
  init(): void {
    this.control = FCW_INITIAL;
    this.status = 0;
    this.tags = 0;
    this.opcode = 0;
    this.instructionPointer = 0n;
    this.dataPointer = 0n;
  }

  /** Power-on state of the whole region: FNINIT, default MXCSR, registers zero. */
  reset(): void {
    for (let i = 0; i < 416; i += 8) this.view.setBigUint64(this.base + i, 0n, true);
    this.init();
    this.mxcsr = MXCSR_DEFAULT;
    this.view.setUint32(this.base + MXCSR_MASK_FIELD, MXCSR_MASK, true);
  }

  get control(): number { return this.view.getUint16(this.base + FCW, true); }
  set control(value: number) { this.view.setUint16(this.base + FCW, (value & FCW_WRITABLE) | FCW_FIXED, true); }
  get status(): number { return this.view.getUint16(this.base + FSW, true); }
  set status(value: number) { this.view.setUint16(this.base + FSW, value, true); }
  /** Bit n: physical register n is in use. */
  get tags(): number { return this.view.getUint8(this.base + FTW); }
  set tags(value: number) { this.view.setUint8(this.base + FTW, value); }
  get opcode(): number { return this.view.getUint16(this.base + FOP, true); }
  set opcode(value: number) { this.view.setUint16(this.base + FOP, value & 0x7ff, true); }
  get instructionPointer(): bigint { return this.view.getBigUint64(this.base + FIP, true); }
  set instructionPointer(value: bigint) { this.view.setBigUint64(this.base + FIP, value, true); }
  get dataPointer(): bigint { return this.view.getBigUint64(this.base + FDP, true); }
  set dataPointer(value: bigint) { this.view.setBigUint64(this.base + FDP, value, true); }
  get mxcsr(): number { return this.view.getUint32(this.base + MXCSR, true); }
  set mxcsr(value: number) { this.view.setUint32(this.base + MXCSR, value, true); }

  get top(): number { return (this.status >>> 11) & 7; }
  set top(value: number) { this.status = (this.status & ~SW.TOP) | ((value & 7) << 11); }

  get roundingMode(): RoundingMode { return ((this.control >>> 10) & 3) as RoundingMode; }
  /** Precision control's target for arithmetic results. */
  get target(): Target { return TARGETS[(this.control >>> 8) & 3]!; }
  /** Those of `flags` whose exception is not masked. */
  unmasked(flags: number): number { return flags & ~this.control & ALL_FLAGS; }

  isEmpty(i: number): boolean { return (this.tags & (1 << ((this.top + i) & 7))) === 0; }
  private offset(i: number): number { return this.base + REGISTERS + REGISTER_STRIDE * ((this.top + i) & 7); }

  read(i: number): F80 {
    const at = this.offset(i);
    return { se: this.view.getUint16(at + SIGN_EXPONENT, true), significand: this.view.getBigUint64(at, true) };
  }
  readUnpacked(i: number): Unpacked {
    const at = this.offset(i);
    return unpack80(this.view.getUint16(at + SIGN_EXPONENT, true), this.view.getBigUint64(at, true));
  }
  /** Writes ST(i) and marks it in use. */
  write(i: number, value: F80): void {
    const physical = (this.top + i) & 7;
    const at = this.base + REGISTERS + REGISTER_STRIDE * physical;
    this.view.setBigUint64(at, value.significand, true);
    this.view.setUint16(at + SIGN_EXPONENT, value.se, true);
    this.tags |= 1 << physical;
  }
  free(i: number): void { this.tags &= ~(1 << ((this.top + i) & 7)); }
  pop(): void {
    this.free(0);
    this.top = this.top + 1;
  }
  push(value: F80): void {
    this.top = this.top - 1;
    this.write(0, value);
  }

  set c1(up: boolean) { this.status = up ? this.status | SW.C1 : this.status & ~SW.C1; }
  /** C3, C2 and C0; C1 is left alone. */
  conditions(bits: number): void { this.status = (this.status & ~(SW.C0 | SW.C2 | SW.C3)) | bits; }

  /** Adds exception flags (and SW.SF) and recomputes the summary. Returns those that are unmasked. */
  raise(flags: number): number {
    if (flags === 0) return 0;
    this.status |= flags;
    const open = this.unmasked(flags);
    if (open) this.status |= SW.ES | SW.B;
    return open;
  }
  /** ES and B from flags and masks, after either was loaded. */
  summarise(): void {
    const pending = this.unmasked(this.status) !== 0;
    this.status = pending ? this.status | SW.ES | SW.B : this.status & ~(SW.ES | SW.B);
  }
  get pending(): boolean { return (this.status & SW.ES) !== 0; }
}
