// The differential tester with every block translated at its first run, and again at its third; each runs with 64 or 256 states.
import { expect, test } from 'vitest';
import { runTester } from './differential/run.ts';

const count = Number(process.env['XENOLITH_DIFF_FORCED_CASES'] ?? 400_000), seed = Number(process.env['XENOLITH_DIFF_SEED'] ?? 20261123);

test(`${count} cases agree with the host's processor when they are translated`, { timeout: 120_000 + count / 5 }, async context => {
  const r = await runTester(['--count', String(count), '--seed', String(seed), '--sequences', '0.5', '--states', '64'], { XENOLITH_JIT: 'force' });
  if (typeof r === 'string') { console.warn(`SKIPPED differential test: ${r}`); context.skip(); return; }
  expect(r.cases).toBe(count);
  expect(r.samples.slice(0, 5).join('\n\n')).toBe('');
  expect(r.differing).toBe(0);
  expect(r.counters['jit_translations']).toBeGreaterThan(r.counters['blocks_decoded']! * 0.9);
});
