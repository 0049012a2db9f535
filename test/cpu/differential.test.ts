// A modest run of the differential tester; XENOLITH_DIFF_CASES and XENOLITH_DIFF_SEED make it another.
import { expect, test } from 'vitest';
import { runCampaign } from './differential/campaign.ts';
import { NativeHost } from './differential/native.ts';
import { describeSample } from './differential/report.ts';

const count = Number(process.env['XENOLITH_DIFF_CASES'] ?? 400_000), seed = Number(process.env['XENOLITH_DIFF_SEED'] ?? 20261123);

test(`${count} cases agree with the host's processor`, { timeout: 60_000 + count / 5 }, async context => {
  const host = NativeHost.open();
  if (typeof host === 'string') { console.warn(`SKIPPED differential test: ${host}`); context.skip(); return; }
  try {
    const r = await runCampaign(host, { seed, count });
    expect(r.cases).toBe(count);
    expect(r.samples.slice(0, 5).map(describeSample).join('\n\n')).toBe('');
    // A tester that only ever compares faults would agree with anything.
    expect(r.traps.get(1)! + r.traps.get(3)!).toBeGreaterThan(count * 0.7);
    expect(r.coverage.filter(n => n > 0).length).toBeGreaterThan(r.coverage.length * 0.8);
  } finally { host.close(); }
});
