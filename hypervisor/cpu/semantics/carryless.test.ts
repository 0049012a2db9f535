import { describe, expect, test } from 'vitest';
import type { JitMode } from '../jit/mode.ts';
import { EXIT } from '../processor-api.ts';
import { FX, S } from '../state.ts';
import { DATA_VA, machine } from '../test-machine.ts';

const HALF = (1n << 64n) - 1n;
/** PCLMULQDQ xmm0, xmm1 or [rdi], imm. */
function multiply(a: bigint, b: bigint, imm: number, jit: JitMode, memory = false): bigint {
  const { cpu, dataAt } = machine([0x66, 0x0f, 0x3a, 0x44, memory ? 0x07 : 0xc1, imm, 0xcc], { jit }), at = cpu.area + S.fx + FX.xmm;
  const put = (place: number, v: bigint): void => { cpu.view.setBigUint64(place, v & HALF, true); cpu.view.setBigUint64(place + 8, v >> 64n, true); };
  put(at, a);
  put(memory ? dataAt : at + 16, b);
  cpu.gpr[7] = DATA_VA;
  expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  return cpu.view.getBigUint64(at + 8, true) << 64n | cpu.view.getBigUint64(at, true);
}
/** The same bit by bit. */
function product(a: bigint, b: bigint, imm: number): bigint {
  const p = imm & 1 ? a >> 64n : a & HALF, q = imm & 16 ? b >> 64n : b & HALF;
  let sum = 0n;
  for (let bit = 0n; bit < 64n; bit++) if (q >> bit & 1n) sum ^= p << bit;
  return sum;
}
const A = 0x7b5b5465_73745665_63746f72_5d53475dn, B = 0x48692853_68617929_5b477565_726f6e5dn, ONES = (1n << 128n) - 1n;

describe.each<JitMode>(['off', 'force', 'native-force'])('translations: %s', jit => {
  test.each([[0x00, 0x1d4d84c8_5c3440c0_929633d5_d36f0451n], [0x01, 0x1a2bf6db_3a30862f_babf262d_f4b7d5c9n], [0x10, 0x1bd17c8d_556ab5a1_7fa540ac_2a281315n], [0x11, 0x1d1e1f2c_592e7c45_d66ee03e_410fd4edn]])('Intel\'s example, immediate %i', (imm, expected) => {
    expect(multiply(A, B, imm, jit)).toBe(expected);
    expect(multiply(A, B, imm, jit, true)).toBe(expected);
    // The other bits of the immediate do not count.
    expect(multiply(A, B, imm | 0xee, jit)).toBe(expected);
  });
  test('all ones, where most come together at one place, and single bits', () => {
    for (const [a, b] of [[ONES, ONES], [ONES, 1n], [1n, ONES], [1n << 63n, 1n << 63n], [0x1111_1111_1111_1111n, HALF], [HALF, 0x8888_8888_8888_8888n]] as const) expect(multiply(a, b, 0, jit)).toBe(product(a, b, 0));
  });
});
