// Exception flags and rounding modes, with the bit positions that MXCSR and the x87 status word share.

export const IE = 0x01;
export const DE = 0x02;
export const ZE = 0x04;
export const OE = 0x08;
export const UE = 0x10;
export const PE = 0x20;
export const ALL_FLAGS = 0x3f;
/** Found before the operation is carried out: unmasked, they keep it from being carried out at all. */
export const BEFORE = IE | DE | ZE;

/** Rounding control. */
export const NEAREST = 0;
export const DOWN = 1;
export const UP = 2;
export const TRUNCATE = 3;
export type RoundingMode = 0 | 1 | 2 | 3;
