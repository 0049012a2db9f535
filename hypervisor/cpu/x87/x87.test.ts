import { beforeEach, describe, expect, test } from 'vitest';
import { emms, FCW_INITIAL, fxrstor, fxsave, mmxEnter, mmxOffset, mmxRead, mmxWrite, REGISTERS, STATE_BYTES, SW, x87Execute, x87Operand, x87Pending, X87State, XMM } from './index.ts';
import type { X87Memory } from './index.ts';
import { EFLAGS } from './arithmetic-rows.ts';

const BASE = 32;
let state: X87State;
beforeEach(() => {
  state = new X87State(new DataView(new ArrayBuffer(BASE + STATE_BYTES)), BASE);
  state.reset();
});

const bytesOf = (fill: (v: DataView) => void, length: number): Uint8Array => { const b = new Uint8Array(length); fill(new DataView(b.buffer)); return b; };
const double = (x: number): X87Memory => ({ bytes: bytesOf((v) => v.setFloat64(0, x, true), 8) });
const word = (x: number): X87Memory => ({ bytes: bytesOf((v) => v.setUint16(0, x, true), 2) });
function run(opcode: number, modrm: number, mem: X87Memory | null = null, eflags = 0): Extract<ReturnType<typeof x87Execute>, { status: 'done' }> {
  const result = x87Execute(state, opcode, modrm, mem, { eflags });
  if (result.status !== 'done') throw new Error(result.status);
  return result;
}
const push = (x: number): void => { run(0xdd, 0x06, double(x)); };
const popDouble = (): number => new DataView(run(0xdd, 0x1e).store!.buffer).getFloat64(0, true);
const control = (value: number): void => { run(0xd9, 0x2e, word(value)); };

describe('stack', () => {
  test('reset is FNINIT', () => {
    expect([state.control, state.status, state.tags]).toEqual([FCW_INITIAL, 0, 0]);
  });
  test('push, arithmetic, pop', () => {
    push(3);
    push(4);
    expect(state.top).toBe(6);
    run(0xde, 0xc9); // fmulp
    expect(popDouble()).toBe(12);
    expect([state.top, state.tags]).toEqual([0, 0]);
  });
  test('the ninth push overflows: C1 set, indefinite loaded', () => {
    for (let n = 0; n < 9; n++) push(n);
    expect(state.status & 0xff).toBe(0x41);
    expect(state.status & SW.C1).toBe(SW.C1);
    expect(popDouble()).toBeNaN();
  });
  test('an empty operand underflows: C1 clear, indefinite stored', () => {
    expect(popDouble()).toBeNaN();
    expect(state.status & (SW.SF | 1 | SW.C1)).toBe(SW.SF | 1);
  });
  test('unmasked, nothing is stored, nothing popped, and the next waiting instruction ends in #MF', () => {
    control(0x37e);
    expect(run(0xdd, 0x1e).store).toBeUndefined();
    expect(state.top).toBe(0);
    expect(x87Pending(state, 0xd9, 0xe8)).toBe(true);
    expect(x87Execute(state, 0xd9, 0xe8, null).status).toBe('pending');
    expect(run(0xdf, 0xe0).ax! & 0x80).toBe(0x80);
    run(0xdb, 0xe2); // fnclex
    expect(x87Pending(state, 0xd9, 0xe8)).toBe(false);
  });
});

describe('arithmetic', () => {
  test('precision control rounds to 24 bits', () => {
    push(3);
    push(1);
    control(0x07f);
    run(0xd8, 0xf1); // fdiv st0, st1
    expect(popDouble()).toBe(Math.fround(1 / 3));
  });
  test('unmasked overflow delivers the result with its exponent wrapped by 24576', () => {
    control(0x377);
    const huge = bytesOf((v) => { v.setBigUint64(0, 1n << 63n, true); v.setUint16(8, 0x7ffe, true); }, 10);
    run(0xdb, 0x2e, { bytes: huge });
    run(0xd8, 0xc8); // fmul st0, st0
    expect(state.read(0).se).toBe(2 * 0x7ffe - 16383 - 24576);
    expect(state.status & 0x88).toBe(0x88);
  });
  test.each([[1, 2, EFLAGS.CF], [2, 2, EFLAGS.ZF], [3, 2, 0], [NaN, 2, EFLAGS.CF | EFLAGS.PF | EFLAGS.ZF]])('fucomi %d %d', (a, b, eflags) => {
    push(b);
    push(a);
    expect(run(0xdb, 0xe9).eflags).toBe(eflags);
  });
  test('fcmovb looks at CF', () => {
    push(1);
    push(2);
    run(0xda, 0xc1, null, 0);
    expect(state.read(0).se).toBe(0x4000);
    run(0xda, 0xc1, null, EFLAGS.CF);
    expect(state.read(0).se).toBe(0x3fff);
  });
  test('fprem: quotient bits, and C2 for a partial remainder', () => {
    push(3);
    push(23);
    run(0xd9, 0xf8); // 23 = 7 * 3 + 2
    expect(state.status & (SW.C0 | SW.C1 | SW.C2 | SW.C3)).toBe(SW.C0 | SW.C3 | SW.C1);
    expect(popDouble()).toBe(2);
    push(2 ** 1001);
    let steps = 1;
    for (run(0xd9, 0xf8); state.status & SW.C2; steps++) run(0xd9, 0xf8);
    expect(steps).toBeGreaterThan(10);
    expect(popDouble()).toBe(2);
  });
  test('fprem: a denormal divided by infinity stays as it is, even with underflow unmasked; by a larger number it underflows', () => {
    for (const [divisor, exponent, flags] of [[Infinity, 0x8000, 2], [1, 0xe000, 0x12]] as const) for (const modrm of [0xf8, 0xf5]) {
      state.reset();
      push(divisor);
      push(0);
      state.write(0, { se: 0x8000, significand: 0x7ffffffff0000000n });
      control(FCW_INITIAL & ~0x10);
      run(0xd9, modrm);
      expect([state.read(0).se, state.status & 0x3f]).toEqual([exponent, flags]);
    }
  });
  test('fscale: a power of zero leaves a denormal as it is, even with underflow unmasked; one that is cut to zero underflows', () => {
    for (const [power, exponent, flags] of [[0, 0x8000, 2], [-0, 0x8000, 2], [0.5, 0xe000, 0x12]] as const) {
      state.reset();
      push(power);
      push(0);
      state.write(0, { se: 0x8000, significand: 0x7ffffffff0000000n });
      control(FCW_INITIAL & ~0x10);
      run(0xd9, 0xfd);
      expect([state.read(0).se, state.status & 0x3f]).toEqual([exponent, flags]);
    }
  });
  test('packed decimal goes out as it came in', () => {
    const bytes = new Uint8Array([0x21, 0x43, 0x65, 0x87, 0x09, 0x21, 0x43, 0x65, 0x87, 0x80]);
    run(0xdf, 0x26, { bytes });
    expect(run(0xdf, 0x36).store).toEqual(bytes);
  });
  test('fist rounds by the rounding mode, fisttp truncates', () => {
    push(2.5);
    push(3.5);
    expect(run(0xdb, 0x16).store).toEqual(new Uint8Array([4, 0, 0, 0]));
    expect(run(0xdb, 0x0e).store).toEqual(new Uint8Array([3, 0, 0, 0]));
    expect(run(0xdf, 0x16).store).toEqual(new Uint8Array([2, 0]));
  });
});

describe('elementary functions, against doubles', () => {
  const close = (a: number, b: number): void => expect(Math.abs(a - b)).toBeLessThanOrEqual(Math.abs(b) * 2 ** -51);
  test.each([0.1, 1, 3, -2.5, 100, 12345.678])('sin, cos and tan of %d', (x) => {
    push(x);
    run(0xd9, 0xfb);
    close(popDouble(), Math.cos(x));
    close(popDouble(), Math.sin(x));
    push(x);
    run(0xd9, 0xf2);
    expect(popDouble()).toBe(1);
    close(popDouble(), Math.tan(x));
  });
  test.each([[1, 2], [-1, 2], [1, -2], [-3, -0.01], [1e-30, 7], [5, 0]])('atan2(%d, %d)', (y, x) => {
    push(y);
    push(x);
    run(0xd9, 0xf3);
    close(popDouble(), Math.atan2(y, x));
  });
  test.each([[3, 10], [0.5, 0.9999], [-2, 1e-200], [1, 1.0000001]])('%d * log2(%d)', (y, x) => {
    push(y);
    push(x);
    run(0xd9, 0xf1);
    close(popDouble(), Math.abs(x - 1) < 0.1 ? (y * Math.log1p(x - 1)) / Math.LN2 : y * Math.log2(x));
  });
  test.each([0.5, -0.5, 1e-20, -1e-5, 0.999])('2^%d - 1', (x) => {
    push(x);
    run(0xd9, 0xf0);
    close(popDouble(), Math.expm1(x * Math.LN2));
  });
  test('an argument of 2^63 or more sets C2 and changes nothing', () => {
    push(2 ** 63);
    run(0xd9, 0xfe);
    expect(state.status & SW.C2).toBe(SW.C2);
    expect(popDouble()).toBe(2 ** 63);
  });
  test('fldpi follows the rounding mode', () => {
    run(0xd9, 0xeb);
    expect(state.read(0)).toEqual({ se: 0x4000, significand: 0xc90fdaa22168c235n });
    control(0x77f);
    run(0xd9, 0xeb);
    expect(state.read(0).significand).toBe(0xc90fdaa22168c234n);
  });
});

describe('images', () => {
  test('FXSAVE shows registers in stack order; FXRSTOR puts them back', () => {
    push(1);
    push(2);
    state.view.setBigUint64(BASE + XMM + 240, 0x1234n, true);
    const image = new Uint8Array(512);
    fxsave(state, image);
    const view = new DataView(image.buffer);
    expect([view.getUint16(REGISTERS + 8, true), view.getUint16(REGISTERS + 24, true), view.getUint8(4)]).toEqual([0x4000, 0x3fff, 0xc0]);
    const other = new X87State(new DataView(new ArrayBuffer(STATE_BYTES)), 0);
    expect(fxrstor(other, image)).toBe(true);
    const again = new Uint8Array(512);
    fxsave(other, again);
    expect(again).toEqual(image);
  });
  test('reserved MXCSR bits are refused and change nothing', () => {
    push(1);
    const before = new Uint8Array(state.view.buffer.slice(0));
    const image = new Uint8Array(512);
    new DataView(image.buffer).setUint32(24, 0x10000, true);
    expect(fxrstor(state, image)).toBe(false);
    expect(new Uint8Array(state.view.buffer)).toEqual(before);
  });
  test.each([[false, 28, 108], [true, 14, 94]])('FNSAVE and FRSTOR, operand16 %s', (operand16, environment, all) => {
    expect(x87Operand(0xd9, 0x36, operand16)).toEqual({ load: 0, store: environment });
    expect(x87Operand(0xdd, 0x26, operand16)).toEqual({ load: all, store: 0 });
    push(0);
    push(Infinity);
    push(1.5);
    const { status } = state;
    const saved = run(0xdd, 0x36, { operand16 }).store!;
    expect(saved.length).toBe(all);
    const tagWord = new DataView(saved.buffer).getUint16(operand16 ? 4 : 8, true);
    expect(tagWord).toBe((1 << 14) | (2 << 12) | (0 << 10) | 0x3ff);
    expect(state.tags).toBe(0);
    run(0xdd, 0x26, { operand16, bytes: saved });
    expect([state.status, state.tags]).toEqual([status, 0xe0]);
    expect([popDouble(), popDouble(), popDouble()]).toEqual([1.5, Infinity, 0]);
  });
  test('FNSTENV masks all exceptions; pointers are in it', () => {
    control(0x340);
    x87Execute(state, 0xdd, 0x06, { ...double(1), address: 0x12345678n }, { rip: 0x401000n });
    const out = new DataView(run(0xd9, 0x36).store!.buffer);
    expect([out.getUint16(0, true), out.getUint32(12, true), out.getUint16(18, true), out.getUint32(20, true)]).toEqual([0x340, 0x401000, 0x506, 0x12345678]);
    expect(state.control).toBe(0x37f);
  });
});

describe('MMX', () => {
  test('registers are the significands of physical registers; EMMS empties them', () => {
    push(1);
    mmxEnter(state);
    mmxWrite(state, 3, 0x1122334455667788n);
    expect([state.top, state.tags]).toEqual([0, 0xff]);
    expect(state.read(3)).toEqual({ se: 0xffff, significand: 0x1122334455667788n });
    expect(mmxRead(state, 7)).toBe(1n << 63n);
    expect(mmxOffset(1) - mmxOffset(0)).toBe(16);
    emms(state);
    expect(state.tags).toBe(0);
  });
});

test.each([[0xd9, 0x0e], [0xd9, 0xd1], [0xd9, 0xe2], [0xda, 0xe0], [0xdb, 0x26], [0xdd, 0x2e], [0xdd, 0xf0], [0xde, 0xd8], [0xdf, 0xe1], [0xdf, 0xf8]])('%x %x is undefined', (opcode, modrm) => {
  expect(x87Operand(opcode, modrm)).toBeUndefined();
  expect(x87Execute(state, opcode, modrm, null).status).toBe('undefined');
});
