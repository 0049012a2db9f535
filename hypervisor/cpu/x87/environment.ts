// FNSTENV, FLDENV, FNSAVE, FRSTOR: protected-mode images of 28 or 14 bytes, followed by ST(0)..ST(7) for the latter two.

import { REGISTERS, REGISTER_STRIDE, SIGN_EXPONENT } from './layout.ts';
import { readF80, writeF80 } from './transfer-rows.ts';
import type { X87State } from './state.ts';
import { unpack80, KIND } from '../softfloat/unpacked.ts';

export const ENVIRONMENT_BYTES = 28;
export const ENVIRONMENT_16_BYTES = 14;
const EMPTY = 3;

/** Two bits a physical register: 0 number, 1 zero, 2 special, 3 empty. */
export function fullTagWord(state: X87State): number {
  let word = 0;
  for (let r = 0; r < 8; r++) {
    const at = state.base + REGISTERS + REGISTER_STRIDE * r;
    const { kind } = unpack80(state.view.getUint16(at + SIGN_EXPONENT, true), state.view.getBigUint64(at, true));
    const tag = !(state.tags & (1 << r)) ? EMPTY : kind === KIND.normal ? 0 : kind === KIND.zero ? 1 : 2;
    word |= tag << (2 * r);
  }
  return word;
}

function abridge(tagWord: number): number {
  let tags = 0;
  for (let r = 0; r < 8; r++) if (((tagWord >> (2 * r)) & 3) !== EMPTY) tags |= 1 << r;
  return tags;
}

/** Writes the environment at the start of `out`; selectors are not kept and read as 0. */
export function storeEnvironment(state: X87State, out: DataView, operand16: boolean): void {
  const ip = Number(state.instructionPointer & 0xffffffffn), dp = Number(state.dataPointer & 0xffffffffn);
  const words = [state.control, state.status, fullTagWord(state)];
  if (operand16) {
    [...words, ip & 0xffff, 0, dp & 0xffff, 0].forEach((w, n) => out.setUint16(2 * n, w, true));
    return;
  }
  words.forEach((w, n) => out.setUint32(4 * n, (w | 0xffff0000) >>> 0, true));
  [ip, (state.opcode << 16) >>> 0, dp, 0xffff0000].forEach((d, n) => out.setUint32(12 + 4 * n, d, true));
}

export function loadEnvironment(state: X87State, image: DataView, operand16: boolean): void {
  const stride = operand16 ? 2 : 4;
  state.control = image.getUint16(0, true);
  state.status = image.getUint16(stride, true);
  state.tags = abridge(image.getUint16(2 * stride, true));
  state.instructionPointer = BigInt(operand16 ? image.getUint16(6, true) : image.getUint32(12, true));
  state.opcode = operand16 ? 0 : image.getUint16(18, true);
  state.dataPointer = BigInt(operand16 ? image.getUint16(10, true) : image.getUint32(20, true));
  state.summarise();
}

export function storeRegisters(state: X87State, out: DataView, at: number): void {
  for (let i = 0; i < 8; i++) writeF80(out, at + 10 * i, state.read(i));
}

/** Loads ST(0)..ST(7) without touching the tags. */
export function loadRegisters(state: X87State, image: DataView, at: number): void {
  const { tags } = state;
  for (let i = 0; i < 8; i++) state.write(i, readF80(image, at + 10 * i));
  state.tags = tags;
}
