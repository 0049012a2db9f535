import { expect, test } from 'vitest';
import { between } from '../../dom0/debug/perf.ts';
import type { PerfReading } from '../../hypervisor/public/perf.ts';
import { flameSvg, folded } from './flame.ts';
import { byFunction, formatReport } from './perf.ts';
import { parseSymbolMap } from './symbols.ts';

const reading = (vcpu: number, calls: number, ms: number, live: number): PerfReading => ({
  vcpu, samples: [], counters: { exits: { hypercall: { count: calls, ms: 2 * ms } }, hypercalls: { iret: { count: calls, ms } }, guestMs: 10 * ms, looks: 2 * calls, walking: calls / 5, processor: { tlb_walks: calls * 3, jit_live: live, jit_helper_us: 100 * calls, jit_compile_us: 0 } },
});
const report = {
  seconds: 2, ...between([reading(0, 10, 1, 5), reading(1, 0, 0, 1)], [reading(0, 30, 4, 6), reading(1, 5, 1, 2)]),
  samples: [
    { address: 'ffffffff81000010', kernelMode: true, count: 5, translated: 5 }, { address: 'ffffffff81000020', kernelMode: true, count: 2, translated: 0 },
    { address: '0000000000401234', kernelMode: false, count: 2, translated: 1 }, { address: '0000000000401238', kernelMode: false, count: 1, translated: 0 },
  ],
};
const symbols = parseSymbolMap('ffffffff81000000 T do_<things>\nffffffff81000100 T other\n');

test('what lies between two readings, over all vCPUs', () => {
  expect(report.hypercalls).toEqual({ iret: { count: 25, ms: 4 } });
  expect(report.exits).toEqual({ hypercall: { count: 25, ms: 8 } });
  expect(report.guestMs).toBe(40);
  // A level is not subtracted.
  expect(report.processor).toEqual({ tlb_walks: 75, jit_live: 8, jit_helper_us: 2500, jit_compile_us: 0 });
  expect([report.looks, report.walking]).toEqual([50, 5]);
});
test('samples of one function, or of one page without a name, are one line', () => {
  expect(byFunction(report, symbols)).toEqual([{ path: ['kernel', 'do_<things>'], count: 7 }, { path: ['user', 'page 0000000000401000'], count: 3 }]);
});
test('the report gives shares of the interval', () => {
  const text = formatReport(report, byFunction(report, symbols));
  expect(text).toContain('2.0 s: guest code 2.0%, hypervisor 0.4%, neither (waiting) 97.6%');
  // 40 ms of guest code: 6 of 10 samples, and 5 of 50 looks.
  expect(text).toContain('guest code: translated 1.2%, interpreted 0.8%; TLB misses in both 0.2%');
  expect(text).toContain("translating: 0.0% in the vCPUs' time, 0.1% of another processor");
  expect(formatReport({ ...report, processor: { native_us: 20_000 } }, [])).toContain("translating: 1.0% in the vCPUs' time, 0.0%");
  expect(text).toMatch(/^iret +25 +4\.0 +160\.00 +0\.2%$/m);
  expect(text).toMatch(/^ +70\.0% {2}kernel do_<things>$/m);
});
test('folded stacks and an image', () => {
  const met = byFunction(report, symbols), svg = flameSvg('a & b', met);
  expect(folded(met)).toBe('kernel;do_<things> 7\nuser;page 0000000000401000 3\n');
  expect(svg).toContain('<title>do_&lt;things&gt;: 7 samples, 70.00%</title>');
  expect(svg).toContain('a &amp; b');
  expect(svg).not.toContain('do_<');
});
