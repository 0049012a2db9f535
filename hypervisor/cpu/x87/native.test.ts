// The x87 unit against the host's processor, whole state by whole state. FPU_SEED and FPU_CASES choose the run.

import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from 'vitest';
import { openNativeFpu } from '../../../test/cpu/native-fpu/native.ts';
import { Random } from '../../../test/cpu/native-fpu/operands.ts';
import { allInstructions, describeCase, differences, isPromised, randomCase, runHere, toleranceOf } from '../../../test/cpu/native-fpu/x87-cases.ts';
import type { Vendor, X87Options } from '../../../test/cpu/native-fpu/x87-cases.ts';

const fpu = openNativeFpu();
if (typeof fpu === 'string') console.warn(`SKIPPED: x87 is not compared with a real processor: ${fpu}`);
afterAll(() => { if (typeof fpu !== 'string') fpu.close(); });
const vendor: Vendor = typeof fpu !== 'string' && readFileSync('/proc/cpuinfo', 'latin1').includes('AuthenticAMD') ? 'amd' : 'other';
const seed = Number(process.env['FPU_SEED'] ?? 1), count = Number(process.env['FPU_CASES'] ?? 20_000);
const BATCH = 20_000;

function compare(options: X87Options, cases: number): void {
  if (typeof fpu === 'string') return;
  const random = new Random(seed);
  for (let left = cases; left > 0; left -= BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, left) }, () => randomCase(random, options));
    const bad = fpu.run(batch).flatMap((host, n) => {
      const c = batch[n]!;
      if (!isPromised(c, vendor)) return [];
      return differences(c, host, runHere(c), toleranceOf(c, vendor)).map((d) => `${describeCase(c)}: ${d}`);
    });
    expect(bad.slice(0, 10)).toEqual([]);
  }
}

describe.skipIf(typeof fpu === 'string')('x87 and the host agree', () => {
  const limit = { timeout: 60_000 + count };
  test('masked exceptions, operands in use', limit, () => compare({ instructions: allInstructions(true), unmaskedPercent: 0, tagsPercent: 0 }, count));
  test('stack faults', limit, () => compare({ instructions: allInstructions(true), unmaskedPercent: 0, tagsPercent: 100 }, count));
  test('unmasked and pending exceptions', limit, () => compare({ instructions: allInstructions(true), unmaskedPercent: 100, tagsPercent: 20 }, vendor === 'amd' ? count : 0));
  test('undefined encodings', limit, () => compare({ instructions: allInstructions(false) }, Math.min(count, 10_000)));
});
