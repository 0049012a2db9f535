// A modest run of the differential tester; XENOLITH_DIFF_CASES and XENOLITH_DIFF_SEED make it another.
import { expect, test } from 'vitest';
import { nearlyEqual } from './differential/masks.ts';
import { runTester } from './differential/run.ts';

const count = Number(process.env['XENOLITH_DIFF_CASES'] ?? 1_000_000), seed = Number(process.env['XENOLITH_DIFF_SEED'] ?? 20261123);

test(`${count} cases agree with the host's processor`, { timeout: 60_000 + count / 5 }, async context => {
  const r = await runTester(['--count', String(count), '--seed', String(seed)], { XENOLITH_JIT: 'off' });
  if (typeof r === 'string') { console.warn(`SKIPPED differential test: ${r}`); context.skip(); return; }
  expect(r.cases).toBe(count);
  expect(r.samples.slice(0, 5).join('\n\n')).toBe('');
  expect(r.differing).toBe(0);
  // A tester that only ever compares faults would agree with anything.
  expect(r.traps[1]! + r.traps[3]!).toBeGreaterThan(count * 0.7);
  if (count >= 1_000_000) expect(r.missing).toEqual([]);
});

test('results of x87 functions may be one unit off, into the next binade too, and no further', () => {
  const ST0 = 8, words = (se: number, high: number, low: number): Uint32Array => { const w = new Uint32Array(40); w.set([low, high, se], ST0); return w; };
  const near = (a: Uint32Array, b: Uint32Array): boolean => [0, 1, 2].every(word => a[ST0 + word] === b[ST0 + word] || nearlyEqual(a, b, 0, ST0 + word));
  // FPTAN of this very number, rounding upwards: processors return it, the exact result lies above.
  const below = words(0x3fd3, 0xffffffff, 0xffffffff), next = words(0x3fd4, 0x80000000, 0);
  expect([near(below, next), near(next, below), near(below, words(0x3fd3, 0xffffffff, 0xfffffffe))]).toEqual([true, true, true]);
  expect([near(below, words(0x3fd4, 0x80000000, 1)), near(below, words(0xbfd4, 0x80000000, 0)), near(next, words(0x3fd5, 0x80000000, 0)), near(next, words(0x3fd4, 0, 0))]).toEqual([false, false, false, false]);
});
