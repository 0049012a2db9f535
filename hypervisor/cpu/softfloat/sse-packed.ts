// Whole-register SSE operations whose elements depend on each other: DPPS, DPPD, HADD/HSUB/ADDSUB are sums of
// sseBinary; only the dot products have an order of their own.

import { packedFlags, sseBinary } from './sse.ts';
import type { SseFormat, SseResult } from './sse.ts';
import { unmasked } from './mxcsr.ts';

/** Several element operations that end at the first unmasked exception, as the dot products' steps do. */
function step(mxcsr: number, flags: number, results: readonly SseResult[]): { flags: number; stop: boolean } {
  const all = flags | packedFlags(mxcsr, results.map((r) => r.flags));
  return { flags: all, stop: unmasked(mxcsr, all) !== 0 };
}

/**
 * DPPS/DPPD: a and b hold the register's elements, lowest first; imm bits 4.. select products, bits 0.. targets.
 * Products are rounded, then summed pairwise: (p0 + p1) + (p2 + p3).
 */
export function sseDotProduct(fmt: SseFormat, a: readonly bigint[], b: readonly bigint[], imm: number, mxcsr: number): { values: bigint[]; flags: number } {
  const zeros = a.map(() => 0n);
  const products = a.map((x, i) => (imm & (16 << i) ? sseBinary('mul', fmt, x, b[i] ?? 0n, mxcsr) : { value: 0n, flags: 0 }));
  let state = step(mxcsr, 0, products);
  let level: SseResult[] = products;
  while (level.length > 1) {
    if (state.stop) return { values: zeros, flags: state.flags };
    const sums: SseResult[] = [];
    for (let i = 0; i + 1 < level.length; i += 2) sums.push(sseBinary('add', fmt, level[i]!.value, level[i + 1]!.value, mxcsr));
    state = step(mxcsr, state.flags, sums);
    level = sums;
  }
  const sum = level[0]?.value ?? 0n;
  return { values: a.map((_, i) => (imm & (1 << i) ? sum : 0n)), flags: state.flags };
}
