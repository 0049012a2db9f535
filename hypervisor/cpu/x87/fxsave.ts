// FXSAVE and FXRSTOR images. State and image have one shape; only the registers change order, physical to ST(i).

import { isValidMxcsr, MXCSR_MASK } from '../softfloat/mxcsr.ts';
import { FCW, FDP, FIP, FOP, FSW, FTW, MXCSR, MXCSR_MASK_FIELD, REGISTERS, REGISTER_STRIDE, SIGN_EXPONENT, XMM, XMM_STRIDE } from './layout.ts';
import type { X87State } from './state.ts';

export const FXSAVE_BYTES = 512;
/** Bytes FXSAVE writes in 64-bit and in 32-bit mode (XMM0-7 only); the rest of the area is left alone. */
const WRITTEN_64 = XMM + 16 * XMM_STRIDE;
const WRITTEN_32 = XMM + 8 * XMM_STRIDE;
const POINTER_MASK = 0xffffffffn;

export interface FxFormat {
  /** REX.W: 64-bit instruction and data pointers. Otherwise 32 bits and (zero) selectors. */
  readonly wide: boolean;
  /** 64-bit mode: XMM8-15 too. */
  readonly longMode: boolean;
}
export const FX64: FxFormat = { wide: true, longMode: true };

/** Writes the image into `out` (512 bytes); bytes FXSAVE does not define keep what they had. */
export function fxsave(state: X87State, out: Uint8Array, format: FxFormat = FX64): void {
  const image = new DataView(out.buffer, out.byteOffset, FXSAVE_BYTES);
  const pointers = format.wide ? 0xffffffffffffffffn : POINTER_MASK;
  image.setUint16(FCW, state.control, true);
  image.setUint16(FSW, state.status, true);
  image.setUint16(FTW, state.tags, true);
  image.setUint16(FOP, state.opcode, true);
  image.setBigUint64(FIP, state.instructionPointer & pointers, true);
  image.setBigUint64(FDP, state.dataPointer & pointers, true);
  image.setUint32(MXCSR, state.mxcsr, true);
  image.setUint32(MXCSR_MASK_FIELD, MXCSR_MASK, true);
  for (let i = 0; i < 8; i++) {
    const { se, significand } = state.read(i);
    image.setBigUint64(REGISTERS + REGISTER_STRIDE * i, significand, true);
    image.setBigUint64(REGISTERS + REGISTER_STRIDE * i + SIGN_EXPONENT, BigInt(se), true);
  }
  const end = format.longMode ? WRITTEN_64 : WRITTEN_32;
  for (let at = XMM; at < end; at += 8) image.setBigUint64(at, state.view.getBigUint64(state.base + at, true), true);
}

/** Loads an image (512 bytes). False: reserved MXCSR bits are set, #GP(0), nothing changed. */
export function fxrstor(state: X87State, source: Uint8Array, format: FxFormat = FX64): boolean {
  const image = new DataView(source.buffer, source.byteOffset, FXSAVE_BYTES);
  const mxcsr = image.getUint32(MXCSR, true);
  if (!isValidMxcsr(mxcsr)) return false;
  const pointers = format.wide ? 0xffffffffffffffffn : POINTER_MASK;
  state.control = image.getUint16(FCW, true);
  state.status = image.getUint16(FSW, true);
  state.opcode = image.getUint16(FOP, true);
  state.instructionPointer = image.getBigUint64(FIP, true) & pointers;
  state.dataPointer = image.getBigUint64(FDP, true) & pointers;
  state.mxcsr = mxcsr;
  for (let i = 0; i < 8; i++) {
    const at = REGISTERS + REGISTER_STRIDE * i;
    state.write(i, { se: image.getUint16(at + SIGN_EXPONENT, true), significand: image.getBigUint64(at, true) });
  }
  state.tags = image.getUint8(FTW);
  state.summarise();
  const end = format.longMode ? WRITTEN_64 : WRITTEN_32;
  for (let at = XMM; at < end; at += 8) state.view.setBigUint64(state.base + at, image.getBigUint64(at, true), true);
  return true;
}
