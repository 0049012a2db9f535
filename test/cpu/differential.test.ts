// A modest run of the differential tester; XENOLITH_DIFF_CASES and XENOLITH_DIFF_SEED make it another.
import { expect, test } from 'vitest';
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
