// Known answers: whole blocks hashed by the instructions, interpreted and translated.
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { JitMode } from '../jit/mode.ts';
import { EXIT } from '../processor-api.ts';
import { FX, S } from '../state.ts';
import { DATA_VA, machine } from '../test-machine.ts';

type Vector = readonly number[];
/** Runs code, with rdi at vectors in memory; XMM0 to XMM3 before and after, lowest lane first. */
function run(code: readonly number[], jit: JitMode, xmm: readonly Vector[], memory: readonly Vector[] = []): Vector[] {
  const { cpu, dataAt } = machine([...code, 0xcc], { jit }), at = (n: number): number => cpu.area + S.fx + FX.xmm + 4 * n;
  memory.flat().forEach((w, n) => cpu.view.setUint32(dataAt + 4 * n, w >>> 0, true));
  xmm.flat().forEach((w, n) => cpu.view.setUint32(at(n), w >>> 0, true));
  cpu.gpr[7] = DATA_VA;
  expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  return [0, 1, 2, 3].map(r => [0, 1, 2, 3].map(l => cpu.view.getUint32(at(4 * r + l), true)));
}
const disp = (n: number): number[] => [n & 255, n >> 8, 0, 0];
const movaps = (to: number, from: number): number[] => [0x0f, 0x28, 0xc0 | to << 3 | from];
const load = (to: number, n: number): number[] => [0x0f, 0x28, 0x87 | to << 3, ...disp(16 * n)];
/** One of the message instructions, alone: XMM1 and XMM2. */
const message = (opcode: number, a: Vector, b: Vector): Vector => run([0x0f, 0x38, opcode, 0xca], 'off', [[0, 0, 0, 0], a, b])[1]!;
const sum = (a: Vector, b: Vector): Vector => a.map((v, n) => v + b[n]! >>> 0);

function padded(text: string): number[] {
  const block = Buffer.alloc(64);
  block.write(text, 'latin1');
  block[text.length] = 0x80;
  block.writeUInt32BE(text.length * 8, 60);
  return Array.from({ length: 16 }, (_, n) => block.readUInt32BE(4 * n));
}
const hex = (words: readonly number[]): string => words.map(w => (w >>> 0).toString(16).padStart(8, '0')).join('');
const TEXTS = ['', 'abc', 'The quick brown fox jumps over the lazy dog'];

describe.each<JitMode>(['off', 'force', 'native-force'])('translations: %s', jit => {
  test.each(TEXTS)('SHA-1 of "%s"', text => {
    // The first word is in the highest lane.
    const w = padded(text), m: Vector[] = [0, 4, 8, 12].map(n => w.slice(n, n + 4).toReversed());
    for (let n = 4; n < 20; n++) m.push(message(0xca, message(0xc9, m[n - 4]!, m[n - 3]!).map((v, l) => v ^ m[n - 2]![l]!), m[n - 1]!));
    const start = [0x10325476, 0x98badcfe, 0xefcdab89, 0x67452301], e = 0xc3d2e1f0, last = [0, 0, 0, e];
    const code = [...load(2, 0), ...movaps(3, 1), 0x0f, 0x3a, 0xcc, 0xca, 0];
    for (let n = 1; n < 20; n++) code.push(0x0f, 0x38, 0xc8, 0x9f, ...disp(16 * n), ...movaps(2, 3), ...movaps(3, 1), 0x0f, 0x3a, 0xcc, 0xca, Math.floor(n / 5));
    code.push(0x0f, 0x38, 0xc8, 0x9f, ...disp(320));
    const [, abcd, , ends] = run(code, jit, [[0, 0, 0, 0], start], [sum(m[0]!, last), ...m.slice(1), last]);
    expect(hex([...sum(abcd!, start).toReversed(), ends![3]!])).toBe(createHash('sha1').update(text).digest('hex'));
  });

  test.each(TEXTS)('SHA-256 of "%s"', text => {
    const w = padded(text), m: Vector[] = [0, 4, 8, 12].map(n => w.slice(n, n + 4));
    for (let n = 4; n < 16; n++) m.push(message(0xcd, sum(message(0xcc, m[n - 4]!, m[n - 3]!), [...m[n - 2]!.slice(1), m[n - 1]![0]!]), m[n - 1]!));
    const keys = m.map((words, n) => sum(words, KEYS.slice(4 * n, 4 * n + 4)));
    const cdgh = [0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372], abef = [0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667];
    const code = keys.flatMap((_, n) => [...load(0, n), 0x0f, 0x38, 0xcb, 0xca, 0x66, 0x0f, 0x70, 0xc0, 0x0e, 0x0f, 0x38, 0xcb, 0xd1]);
    const [, second, first] = run(code, jit, [[0, 0, 0, 0], cdgh, abef], keys);
    const [f, e, b, a] = sum(first!, abef) as [number, number, number, number], [h, g, d, c] = sum(second!, cdgh) as [number, number, number, number];
    expect(hex([a, b, c, d, e, f, g, h])).toBe(createHash('sha256').update(text).digest('hex'));
  });
});

/** Fractions of the cube roots of the first 64 primes. */
const KEYS = ((): number[] => {
  const primes: number[] = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every(p => n % p)) primes.push(n);
  return primes.map(p => {
    let root = 0n;
    for (let bit = 1n << 40n; bit; bit >>= 1n) if ((root + bit) ** 3n <= BigInt(p) << 96n) root += bit;
    return Number(root & 0xffffffffn);
  });
})();
