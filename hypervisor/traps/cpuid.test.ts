import { expect, test } from 'vitest';
import { allRows } from '../cpu/decode.ts';
import { cpuid } from './cpuid.ts';

const subject = { vcpuId: 0, tscKhz: 1_000_000 };
const leaf = (n: number, subleaf = 0) => cpuid(n, subleaf, subject);
/** Bits of what opcodes/ says that an instruction needs. */
const BITS: Readonly<Record<string, () => boolean>> = {
  pclmulqdq: () => (leaf(1).ecx >>> 1 & 1) === 1, sha_ni: () => (leaf(7).ebx >>> 29 & 1) === 1, bmi1: () => (leaf(7).ebx >>> 3 & 1) === 1, bmi2: () => (leaf(7).ebx >>> 8 & 1) === 1, abm: () => (leaf(0x8000_0001).ecx >>> 5 & 1) === 1,
};

test('CPUID shows each extension that the processor has beyond x86-64-v2', () => {
  const needed = new Set(allRows.flatMap(r => r.flags.filter(f => f.startsWith('needs:')).map(f => f.slice(6))));
  expect([...needed].sort()).toEqual(Object.keys(BITS).sort());
  for (const [name, shown] of Object.entries(BITS)) expect([name, shown()]).toEqual([name, true]);
});
test('and none that it does not have: XSAVE and what needs it, AES, FSGSBASE, RDRAND, RDSEED, ADX', () => {
  const without = (word: number, ...bits: number[]): void => { for (const bit of bits) expect([bit, word >>> bit & 1]).toEqual([bit, 0]); };
  without(leaf(1).ecx, 12, 25, 26, 27, 28, 29, 30);
  without(leaf(7).ebx, 0, 4, 5, 11, 16, 18, 19);
  without(leaf(0x8000_0001).ecx, 11, 16);
});
