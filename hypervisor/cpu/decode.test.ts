import { expect, test } from 'vitest';
import { decode, newDecoded, privilegedInstructions, SPECIAL } from './decode.ts';

const privileged = (hex: string, compat = false) => {
  const bytes = new Uint8Array(32), d = newDecoded();
  bytes.set(hex.split(' ').map(b => parseInt(b, 16)));
  expect(decode(bytes, 0, 32, 0, compat, d)).toBe(true);
  expect(d.mnemonic).toMatch(/^(privileged|rdtscp?)$/);
  return privilegedInstructions[d.imm]!;
};

test('describes privileged instructions', () => {
  expect(privileged('0f 22 d8')).toMatchObject({ name: 'mov_to_cr', system: 3, reg: 0, length: 3 });
  expect(privileged('41 0f 20 d7')).toMatchObject({ name: 'mov_from_cr', system: 2, reg: 15, length: 4 });
  expect(privileged('44 0f 22 c1')).toMatchObject({ name: 'mov_to_cr', system: 8, reg: 1 });
  expect(privileged('0f 23 f8')).toMatchObject({ name: 'mov_to_dr', system: 7, reg: 0 });
  expect(privileged('e4 70')).toMatchObject({ name: 'in', bits: 8, port: 0x70, length: 2 });
  expect(privileged('e6 ff')).toMatchObject({ name: 'out', bits: 8, port: 0xff });
  expect(privileged('66 ed')).toMatchObject({ name: 'in', bits: 16, port: -1, length: 2 });
  expect(privileged('ef')).toMatchObject({ name: 'out', bits: 32, port: -1 });
  expect(privileged('f3 6c')).toMatchObject({ name: 'ins', bits: 8, rep: true, length: 2 });
  expect(privileged('0f a2')).toMatchObject({ name: 'cpuid', length: 2 });
  expect(privileged('0f 01 f9')).toMatchObject({ name: 'rdtscp', length: 3 });
  expect(privileged('0f 01 38')).toMatchObject({ name: 'invlpg', length: 3 });
  expect(privileged('0f 20 c0', true)).toMatchObject({ name: 'mov_from_cr', bits: 32 });
});

test('bytes that are not there are asked for, bytes that cannot be are refused', () => {
  const d = newDecoded();
  // mov eax, imm32 with two of its bytes before the limit.
  expect(decode(Uint8Array.of(0xb8, 1, 2), 0, 3, 4093, false, d)).toBe(false);
  // Fifteen prefixes: #GP, told by the immediate.
  expect(decode(new Uint8Array(32).fill(0x66), 0, 32, 0, false, d)).toBe(true);
  expect([d.handler, d.imm]).toEqual([SPECIAL.undefined, 13]);
  expect(decode(Uint8Array.of(0x0f, 0xff, 0xc0, ...Array<number>(20).fill(0)), 0, 20, 0, false, d)).toBe(true);
  expect(d.mnemonic).toBe('ud');
});

test.each([
  ['67 64 67 f3 66 4e 0f 3a 62 8c 70 93 f2 76 61 e5', 13], ['49 67 36 36 f3 66 4b 0f 38 31 14 ad a0 c2 68 24', 13],
  ['67 36 f3 66 4b 0f 38 31 14 ad a0 c2 68 24', 6], ['f3 66 0f 38 31 c1', 6],
])('an instruction whose prefixes do not go together, %s: exception %d, by its length first', (hex, vector) => {
  const d = newDecoded(), bytes = new Uint8Array(32);
  bytes.set(hex.split(' ').map(b => parseInt(b, 16)));
  expect(decode(bytes, 0, 32, 0, false, d)).toBe(true);
  expect([d.handler, d.imm]).toEqual([SPECIAL.undefined, vector]);
});

test.each(['67 a4', '67 f3 ab', '67 e3 10', '67 e2 10', '67 d7', '67 a1 00 10', '67 8b 07'])('16-bit addressing in compatibility mode, %s, is refused, not done wrongly', hex => {
  const d = newDecoded(), bytes = new Uint8Array(32);
  bytes.set(hex.split(' ').map(b => parseInt(b, 16)));
  expect(decode(bytes, 0, 32, 0, true, d)).toBe(true);
  expect([d.handler, d.imm]).toEqual([SPECIAL.undefined, 6]);
  expect(decode(bytes, 0, 32, 0, false, d)).toBe(true);
  expect(d.handler).not.toBe(SPECIAL.undefined);
});
