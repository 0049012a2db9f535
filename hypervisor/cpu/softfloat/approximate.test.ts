import { expect, test } from 'vitest';
import { reciprocal, reciprocalRoot } from './approximate.ts';
import { hard32, Random } from '../../../test/cpu/native-fpu/operands.ts';

const scratch = new DataView(new ArrayBuffer(4));
const value = (bits: number): number => { scratch.setUint32(0, bits); return scratch.getFloat32(0); };
const bits = (x: number): number => { scratch.setFloat32(0, x); return scratch.getUint32(0); };
const BOUND = 1.5 * 2 ** -12;
const SMALLEST = 2 ** -126;

test('relative error stays within the architecture\'s bound', () => {
  const r = new Random(21);
  for (let n = 0; n < 100_000; n++) {
    const operand = n & 1 ? Number(hard32(r)) : r.u32();
    const x = value(operand);
    if (!Number.isFinite(x) || Math.abs(x) < SMALLEST) continue;
    const exact = 1 / x, got = value(reciprocal(operand));
    if (Math.abs(exact) >= SMALLEST * (1 + BOUND)) expect(Math.abs(got / exact - 1)).toBeLessThanOrEqual(BOUND);
    else expect(Object.is(got, exact < 0 ? -0 : 0) || Math.abs(got / exact - 1) <= BOUND).toBe(true);
    if (x > 0) expect(Math.abs(value(reciprocalRoot(operand)) * Math.sqrt(x) - 1)).toBeLessThanOrEqual(BOUND);
  }
});

test.each([
  [0, Infinity, Infinity], [-0, -Infinity, -Infinity], [Infinity, 0, 0], [-Infinity, -0, NaN], [1e-45, Infinity, Infinity], [-1, -1, NaN], [4, 0.25, 0.5], [NaN, NaN, NaN],
  [2 ** 126, SMALLEST, 2 ** -63],
])('special operand %d', (x, inverse, root) => {
  expect(value(reciprocal(bits(x)))).toBe(inverse);
  expect(value(reciprocalRoot(bits(x)))).toBe(root);
});

test('an inverse that would round up to the smallest normal number is still zero', () => {
  expect(value(reciprocal(bits(2 ** 126 + 2 ** 110)))).toBe(0);
  expect(value(reciprocal(bits(-(2 ** 126) - 2 ** 110)))).toBe(-0);
});

test('the bounds of the range where the implementation chooses (SDM, RCPPS)', () => {
  expect(value(reciprocal(0x7e7fe800))).toBeGreaterThanOrEqual(SMALLEST); // 1.111111111101b * 2^125: never tiny
  for (const sign of [0, 0x80000000]) expect(reciprocal((sign | 0x7e800c01) >>> 0)).toBe(sign); // 1.00000000000110000000001b * 2^126: always
});
