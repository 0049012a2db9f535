// MXCSR: SSE control and status.

import { ALL_FLAGS } from './flags.ts';
import type { RoundingMode } from './flags.ts';

export const DAZ = 0x0040;
export const FTZ = 0x8000;
export const MASK_SHIFT = 7;
export const RC_SHIFT = 13;
export const MXCSR_DEFAULT = 0x1f80;
/** Bits that may be set; the rest is reserved and raises #GP(0). */
export const MXCSR_MASK = 0xffff;

/** Those of `flags` whose exception is not masked. */
export const unmasked = (mxcsr: number, flags: number): number => flags & ~(mxcsr >>> MASK_SHIFT) & ALL_FLAGS;
export const roundingMode = (mxcsr: number): RoundingMode => ((mxcsr >>> RC_SHIFT) & 3) as RoundingMode;
/** False: LDMXCSR or FXRSTOR of this value raises #GP(0). */
export const isValidMxcsr = (value: number): boolean => (value & ~MXCSR_MASK) === 0;
