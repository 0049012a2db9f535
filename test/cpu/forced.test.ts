// The differential tester with every block translated at its first run.
import { expect, test } from 'vitest';
import { NativeHost } from './differential/native.ts';
import { describeSample } from './differential/report.ts';

const count = Number(process.env['XENOLITH_DIFF_FORCED_CASES'] ?? 20_000), seed = Number(process.env['XENOLITH_DIFF_SEED'] ?? 20261123);

test(`${count} cases agree with the host's processor when they are translated`, { timeout: 120_000 + count }, async context => {
  process.env['XENOLITH_JIT'] = 'force';
  const { runCampaign } = await import('./differential/campaign.ts'), host = NativeHost.open();
  if (typeof host === 'string') { console.warn(`SKIPPED differential test: ${host}`); context.skip(); return; }
  try {
    const r = await runCampaign(host, { seed, count, sequences: 1 });
    expect(r.cases).toBe(count);
    expect(r.samples.slice(0, 5).map(describeSample).join('\n\n')).toBe('');
    // Cases of one instruction are single-stepped, so these are all sequences, each run with several inputs.
    expect(r.counters['jit_translations']).toBeGreaterThan(r.counters['blocks_decoded']! * 0.9);
  } finally { host.close(); }
});
