// The differential tester with every block translated at its first run (into WebAssembly, and again at its third, or into native
// code); each runs with 64 or 256 states.
import { expect, test } from 'vitest';
import { RUNS_NATIVELY } from '../../hypervisor/cpu/test-machine.ts';
import { runTester } from './differential/run.ts';

const count = Number(process.env['XENOLITH_DIFF_FORCED_CASES'] ?? 400_000), seed = Number(process.env['XENOLITH_DIFF_SEED'] ?? 20261123);

for (const [mode, what, counted] of [['force', 'translated', 'jit_translations'], ['native-force', 'translated into native code', 'native_blocks']] as const) {
  test(`${count} cases agree with the host's processor when they are ${what}`, { timeout: 120_000 + count / 5 }, async context => {
    const r = await runTester(['--count', String(count), '--seed', String(seed), '--sequences', '0.5', '--states', '64'], { XENOLITH_JIT: mode });
    if (typeof r === 'string') { console.warn(`SKIPPED differential test: ${r}`); context.skip(); return; }
    expect(r.cases).toBe(count);
    expect(r.samples.slice(0, 5).join('\n\n')).toBe('');
    expect(r.differing).toBe(0);
    // Of native code each block is made when it has run once; what it cannot take is the other tier's.
    if (mode === 'native-force' && !RUNS_NATIVELY) { context.skip(); return; }
    expect(r.counters[counted]).toBeGreaterThan(r.counters['blocks_decoded']! * (mode === 'force' ? 0.9 : 0.3));
  });
}
