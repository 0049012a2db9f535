// SSE against the host's processor. FPU_SEED and FPU_CASES choose the run (default short).

import { afterAll, expect, test } from 'vitest';
import { openNativeFpu } from '../../../test/cpu/native-fpu/native.ts';
import { Random } from '../../../test/cpu/native-fpu/operands.ts';
import { describeSseCase, randomSseCase, SSE_INSTRUCTIONS, sseDifferences } from '../../../test/cpu/native-fpu/sse-cases.ts';

const fpu = openNativeFpu();
if (typeof fpu === 'string') console.warn(`SKIPPED: SSE is not compared with a real processor: ${fpu}`);
afterAll(() => { if (typeof fpu !== 'string') fpu.close(); });
const seed = Number(process.env['FPU_SEED'] ?? 1), count = Number(process.env['FPU_CASES'] ?? 20_000);
const BATCH = 20_000;

test.skipIf(typeof fpu === 'string')(`${count} cases of ${SSE_INSTRUCTIONS.length} instructions agree on value and MXCSR`, { timeout: 60_000 + count }, () => {
  if (typeof fpu === 'string') return;
  const random = new Random(seed);
  for (let left = count; left > 0; left -= BATCH) {
    const cases = Array.from({ length: Math.min(BATCH, left) }, () => randomSseCase(random, SSE_INSTRUCTIONS, true));
    const bad = fpu.run(cases).flatMap((host, n) => sseDifferences(cases[n]!, host).map((d) => `${describeSseCase(cases[n]!)}: ${d}`));
    expect(bad.slice(0, 10)).toEqual([]);
  }
});
