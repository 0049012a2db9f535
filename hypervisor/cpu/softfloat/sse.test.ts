import { describe, expect, test } from 'vitest';
import { DAZ, DE, FTZ, IE, OE, PE, packedFlags, RELATION, sseBinary, sseCompare, sseConvert, sseDotProduct, sseFromInteger, ssePredicate, sseRound, sseSqrt, sseToInteger, UE, ZE } from './index.ts';
import type { SseOperation } from './index.ts';
import { hard32, hard64, Random } from '../../../test/cpu/native-fpu/operands.ts';

const MASKED = 0x1f80;
const scratch = new DataView(new ArrayBuffer(8));
const bits64 = (x: number): bigint => { scratch.setFloat64(0, x); return scratch.getBigUint64(0); };
const value64 = (b: bigint): number => { scratch.setBigUint64(0, b); return scratch.getFloat64(0); };
const bits32 = (x: number): bigint => { scratch.setFloat32(0, x); return BigInt(scratch.getUint32(0)); };
const value32 = (b: bigint): number => { scratch.setUint32(0, Number(b)); return scratch.getFloat32(0); };
const MODE = { nearest: MASKED, down: MASKED | 0x2000, up: MASKED | 0x4000, truncate: MASKED | 0x6000 };

describe('nearest-even arithmetic is that of JavaScript numbers', () => {
  const compute: Partial<Record<SseOperation, (a: number, b: number) => number>> = { add: (a, b) => a + b, sub: (a, b) => a - b, mul: (a, b) => a * b, div: (a, b) => a / b };
  test.each(Object.entries(compute))('%s', (name, f) => {
    const r = new Random(11);
    for (let n = 0; n < 4000; n++) {
      const a = value64(hard64(r)), b = value64(hard64(r)), x = value32(hard32(r)), y = value32(hard32(r));
      const expected = f(a, b), got = value64(sseBinary(name as SseOperation, 64, bits64(a), bits64(b), MASKED).value);
      expect(Object.is(got, expected), `${a} ${name} ${b}: ${got}, not ${expected}`).toBe(true);
      // Rounding a double result to single is exact rounding for these four operations.
      const single = Math.fround(f(x, y)), got32 = value32(sseBinary(name as SseOperation, 32, bits32(x), bits32(y), MASKED).value);
      expect(Object.is(got32, single), `${x} ${name} ${y} single: ${got32}, not ${single}`).toBe(true);
    }
  });
  test('sqrt', () => {
    const r = new Random(12);
    for (let n = 0; n < 4000; n++) {
      const a = value64(hard64(r));
      expect(Object.is(value64(sseSqrt(64, bits64(a), MASKED).value), Math.sqrt(a)), `sqrt ${a}`).toBe(true);
    }
  });
});

describe('rounding modes and flags', () => {
  const third = (mxcsr: number): bigint => sseBinary('div', 64, bits64(1), bits64(3), mxcsr).value;
  test('the two directed results of 1/3 are neighbours', () => {
    expect(third(MODE.up) - third(MODE.down)).toBe(1n);
    expect(third(MODE.truncate)).toBe(third(MODE.down));
    expect(third(MODE.nearest)).toBe(bits64(1 / 3));
  });
  test('x - x is -0 only when rounding down', () => {
    expect(sseBinary('sub', 64, bits64(1), bits64(1), MODE.down).value).toBe(bits64(-0));
    expect(sseBinary('sub', 64, bits64(1), bits64(1), MODE.up).value).toBe(0n);
  });
  test.each([
    ['inexact', 'div', 1, 3, PE], ['exact', 'add', 1, 2, 0], ['by zero', 'div', 1, 0, ZE], ['0/0', 'div', 0, 0, IE], ['overflow', 'mul', 1e308, 1e308, OE | PE],
    ['underflow', 'mul', 3e-308, 1e-10, UE | PE], ['denormal operand', 'add', 5e-324, 5e-324, DE], ['inf - inf', 'sub', Infinity, Infinity, IE], ['0 * inf', 'mul', 0, Infinity, IE],
  ] as const)('%s', (_, op, a, b, flags) => expect(sseBinary(op, 64, bits64(a), bits64(b), MASKED).flags).toBe(flags));
  test('tininess is judged after rounding', () => {
    // (1 - 2^-53) * 2^-1022 fits 53 bits: tiny whatever it rounds to. Closer to 2^-1022 it is not tiny any more.
    const nearly = bits64(1 - 2 ** -53), smallest = bits64(2 ** -1022);
    expect(sseBinary('mul', 64, nearly, smallest, MASKED)).toEqual({ value: smallest, flags: UE | PE });
    expect(sseConvert(64, 32, bits64(2 ** -126 * (1 - 2 ** -30)), MASKED)).toEqual({ value: 0x00800000n, flags: PE });
    expect(sseConvert(64, 32, bits64(2 ** -126 * (1 - 2 ** -24)), MODE.down).flags).toBe(UE | PE);
  });
  test('DAZ takes denormals for zeros, FTZ flushes tiny results', () => {
    expect(sseBinary('add', 64, 1n, bits64(1), MASKED | DAZ)).toEqual({ value: bits64(1), flags: 0 });
    expect(sseBinary('div', 64, bits64(-(2 ** -1022)), bits64(2), MASKED | FTZ)).toEqual({ value: bits64(-0), flags: UE | PE });
  });
  test('an unmasked early exception hides late ones, in all elements', () => {
    expect(sseBinary('div', 64, 3n, bits64(3e300), MASKED & ~0x100).flags).toBe(DE);
    expect(packedFlags(MASKED & ~0x80, [IE, PE | UE, DE])).toBe(IE | DE);
    expect(packedFlags(MASKED, [IE, PE])).toBe(IE | PE);
  });
});

describe('NaNs', () => {
  const quiet = 0x7ff8000000000123n, signalling = 0xfff0000000000456n;
  test('the first operand, quieted, unless only the second is a NaN', () => {
    expect(sseBinary('add', 64, quiet, signalling, MASKED)).toEqual({ value: quiet, flags: IE });
    expect(sseBinary('add', 64, signalling, quiet, MASKED)).toEqual({ value: 0xfff8000000000456n, flags: IE });
    expect(sseBinary('mul', 64, bits64(1), quiet, MASKED)).toEqual({ value: quiet, flags: 0 });
  });
  test('min and max return the second operand for NaNs and zeros', () => {
    expect(sseBinary('min', 64, quiet, bits64(1), MASKED)).toEqual({ value: bits64(1), flags: IE });
    expect(sseBinary('max', 64, bits64(1), signalling, MASKED)).toEqual({ value: signalling, flags: IE });
    expect(sseBinary('max', 64, 0n, bits64(-0), MASKED).value).toBe(bits64(-0));
  });
  test('compares', () => {
    expect(sseCompare(64, quiet, bits64(1), false, MASKED)).toEqual({ relation: RELATION.unordered, flags: 0 });
    expect(sseCompare(64, quiet, bits64(1), true, MASKED).flags).toBe(IE);
    expect(sseCompare(64, bits64(-1), bits64(1), true, MASKED).relation).toBe(RELATION.less);
    expect(ssePredicate(32, bits32(2), bits32(1), 6, MASKED)).toEqual({ value: true, flags: 0 });
  });
  test('conversion keeps the payload', () => expect(sseConvert(32, 64, 0x7f800001n, MASKED)).toEqual({ value: 0x7ff8000020000000n, flags: IE }));
});

describe('conversions', () => {
  test.each([
    [2 ** 31, 32, false, 0x80000000n, IE], [-(2 ** 31), 32, false, 0x80000000n, 0], [2.5, 32, false, 2n, PE], [3.5, 32, false, 4n, PE], [-1.5, 32, true, 0xffffffffn, PE],
    [2 ** 62, 64, false, 1n << 62n, 0], [NaN, 64, false, 1n << 63n, IE], [5e-324, 32, true, 0n, PE],
  ] as const)('%d to %d bits', (x, bits, truncate, value, flags) => expect(sseToInteger(64, bits64(x), bits, truncate, MASKED)).toEqual({ value, flags }));
  test('from integers', () => {
    expect(sseFromInteger(64, -3n, MASKED)).toEqual({ value: bits64(-3), flags: 0 });
    expect(sseFromInteger(32, (1n << 24n) + 1n, MASKED)).toEqual({ value: bits32(2 ** 24), flags: PE });
  });
  test('ROUNDSD: mode from the immediate, PE suppressed by bit 3', () => {
    expect(sseRound(64, bits64(-0.5), 1, MASKED)).toEqual({ value: bits64(-1), flags: PE });
    expect(sseRound(64, bits64(-0.5), 2 | 8, MASKED)).toEqual({ value: bits64(-0), flags: 0 });
    expect(sseRound(64, bits64(2.5), 4, MODE.up)).toEqual({ value: bits64(3), flags: PE });
  });
  test('DPPS sums pairs of rounded products', () => {
    const a = [1e8, 1, -1e8, 1].map(bits32), ones = [1, 1, 1, 1].map(bits32);
    expect(sseDotProduct(32, a, ones, 0xf1, MASKED)).toEqual({ values: [bits32(0), 0n, 0n, 0n], flags: PE });
  });
});
