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
  ['4c 66 67 65 65 66 c4 e2 23 f5 9c 26 b6 00 00 00', 13], ['66 67 65 65 66 c4 e2 23 f5 9c 26 b6 00 00 00', 6], ['66 67 65 65 65 66 c4 e3 7b f0 9c 26 b6 00 00 00 00', 13],
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

const decoded = (hex: string, compat = false) => {
  const d = newDecoded(), bytes = new Uint8Array(32);
  bytes.set(hex.split(' ').map(b => parseInt(b, 16)));
  expect(decode(bytes, 0, 32, 0, compat, d)).toBe(true);
  return d.handler === SPECIAL.undefined ? 'undefined' : `${d.mnemonic} ${d.length}`;
};
test.each([
  ['c4 e2 70 f2 c3', 'andn 5', 'andn 5'], ['c4 e2 f0 f2 84 cb 00 01 00 00', 'andn 10', 'andn 10'], ['64 67 c4 e2 70 f2 03', 'andn 7', 'undefined'], ['c4 43 fb f0 c9 07', 'rorx 6', 'les 3'], ['c4 e3 7b f0 c9 07', 'rorx 6', 'rorx 6'],
  ['c4 e2 78 f3 c9', 'blsr 5', 'blsr 5'], ['c4 e2 7b f7 c3', 'shrx 5', 'shrx 5'],
  // VEX.L, a map that is none, VEX.vvvv without an operand, opcodes that are other extensions'.
  ['c4 e2 74 f2 c3', 'undefined', 'undefined'], ['c4 e0 70 f2 c3', 'undefined', 'undefined'], ['c4 e4 70 f2 c3', 'undefined', 'undefined'], ['c4 f2 70 f2 c3', 'undefined', 'undefined'],
  ['c4 e3 73 f0 c9 07', 'undefined', 'undefined'], ['c4 e3 3b f0 c9 07', 'undefined', 'undefined'], ['c4 e2 78 f3 c1', 'undefined', 'undefined'], ['c4 e2 71 f2 c3', 'undefined', 'undefined'], ['c4 e2 79 00 c0', 'undefined', 'undefined'],
  ['c5 f8 28 c1', 'undefined', 'undefined'], ['c5 f8 77', 'undefined', 'undefined'], ['62 f1 7c 48 28 c1', 'undefined', 'undefined'],
  // Prefixes that do not go with it.
  ['66 c4 e2 70 f2 c3', 'undefined', 'undefined'], ['f2 c4 e2 70 f2 c3', 'undefined', 'undefined'], ['f3 c4 e2 70 f2 c3', 'undefined', 'undefined'], ['f0 c4 e2 70 f2 03', 'undefined', 'undefined'], ['48 c4 e2 70 f2 c3', 'undefined', 'dec 1'],
  // Further registers, or LES in compatibility mode.
  ['c4 02 70 f2 c3', 'andn 5', 'les 2'], ['f3 0f bc c3', 'tzcnt 4', 'tzcnt 4'], ['f2 0f bc c3', 'bsf 4', 'bsf 4'], ['66 f3 0f bd c3', 'lzcnt 5', 'lzcnt 5'],
])('a VEX prefix, or one that selects: %s', (hex, long, compat) => {
  expect([decoded(hex), decoded(hex, true)]).toEqual([long, compat]);
});

test('whatever follows a VEX prefix is an instruction on general registers, or none', () => {
  let seed = 1;
  const byte = (): number => { seed = Math.imul(seed, 1664525) + 1013904223 | 0; return seed >>> 24; };
  const names = new Set<string>(), bytes = new Uint8Array(48), d = newDecoded(), maps = [0xe1, 0xe2, 0xe3];
  for (let n = 0; n < 200_000; n++) {
    for (let k = 0; k < bytes.length; k++) bytes[k] = byte();
    const prefixes = n % 3 ? 0 : byte() % 4, compat = n % 2 === 0, limit = 15 + byte() % 20;
    for (let k = 0; k < prefixes; k++) bytes[k] = [0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e, 0x64, 0x48][byte() & 7]!;
    bytes[prefixes] = byte() & 1 ? 0xc4 : 0xc5;
    // Mostly the maps and opcodes where there are some.
    if (n % 5) { bytes[prefixes + 1] = maps[byte() % 3]! ^ (compat ? 0 : byte() & 0xe0); bytes[prefixes + 3] = 0xf0 | byte() & 7; }
    if (compat && bytes[prefixes + 1]! < 0xc0) continue;
    if (!decode(bytes, 0, limit, 0, compat, d)) { expect(limit).toBeLessThan(prefixes + 15); continue; }
    expect(d.length).toBeLessThanOrEqual(15);
    if (bytes.subarray(0, prefixes).includes(0x48) && compat) continue; // DEC
    if (d.handler !== SPECIAL.undefined) names.add(d.mnemonic);
  }
  expect([...names].sort()).toEqual(['andn', 'bextr', 'blsi', 'blsmsk', 'blsr', 'bzhi', 'mulx', 'pdep', 'pext', 'rorx', 'sarx', 'shlx', 'shrx']);
});
