// Where x87, MMX and SSE state lies: 512 bytes shaped like the FXSAVE image, so that FXSAVE is nearly a copy.
//
//   0        2        4    5    6        8                16               24       28
//   +--------+--------+----+----+--------+----------------+----------------+--------+--------+
//   | FCW    | FSW    |FTW | -  | FOP    | FIP (64 bits)  | FDP (64 bits)  | MXCSR  | MASK   |
//   +--------+--------+----+----+--------+----------------+----------------+--------+--------+
//   32   R0: significand (8 bytes), sign and exponent (2), padding (6) ... R7 at 144
//   160  XMM0 ... XMM15, 16 bytes each
//   416  reserved, available to software
//
// One difference: registers lie in PHYSICAL order R0..R7 (the image has ST0..ST7), so MMn is always the 8 bytes
// at REGISTERS + 16 * n and a push moves no data. FTW is the abridged tag word: bit n set means Rn is in use.

export const FCW = 0;
export const FSW = 2;
export const FTW = 4;
export const FOP = 6;
export const FIP = 8;
export const FDP = 16;
export const MXCSR = 24;
export const MXCSR_MASK_FIELD = 28;
export const REGISTERS = 32;
export const REGISTER_STRIDE = 16;
/** Within a register: the 16-bit sign and exponent. */
export const SIGN_EXPONENT = 8;
export const XMM = 160;
export const XMM_STRIDE = 16;
export const SOFTWARE = 416;
export const STATE_BYTES = 512;

export const FCW_INITIAL = 0x037f;
/** Control word bit 6 always reads as 1; bits 7 and 13-15 as 0. */
export const FCW_FIXED = 0x0040;
export const FCW_WRITABLE = 0x1f3f;

/** Status word bits above the six exception flags. */
export const SW = { SF: 0x0040, ES: 0x0080, C0: 0x0100, C1: 0x0200, C2: 0x0400, TOP: 0x3800, C3: 0x4000, B: 0x8000 } as const;
export const CONDITIONS = SW.C0 | SW.C1 | SW.C2 | SW.C3;
