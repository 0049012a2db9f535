// MMX: register n is the significand of physical register n, at layout REGISTERS + REGISTER_STRIDE * n.

import { FSW, FTW, REGISTERS, REGISTER_STRIDE, SIGN_EXPONENT, SW } from './layout.ts';
import type { X87State } from './state.ts';

/** Byte offset of MMn's 8 bytes within the state. */
export const mmxOffset = (n: number): number => REGISTERS + REGISTER_STRIDE * n;

/** Every MMX instruction but EMMS: TOP becomes 0, all registers are in use. Check state.pending (#MF) before. */
export function mmxEnter(state: X87State): void {
  state.view.setUint16(state.base + FSW, state.status & ~SW.TOP, true);
  state.view.setUint8(state.base + FTW, 0xff);
}

/** Writes MMn as MMX instructions do: sign and exponent become all ones. */
export function mmxWrite(state: X87State, n: number, value: bigint): void {
  const at = state.base + mmxOffset(n);
  state.view.setBigUint64(at, BigInt.asUintN(64, value), true);
  state.view.setUint16(at + SIGN_EXPONENT, 0xffff, true);
}

export const mmxRead = (state: X87State, n: number): bigint => state.view.getBigUint64(state.base + mmxOffset(n), true);

/** EMMS: all registers empty. TOP becomes 0 too. */
export function emms(state: X87State): void {
  state.view.setUint16(state.base + FSW, state.status & ~SW.TOP, true);
  state.view.setUint8(state.base + FTW, 0);
}
