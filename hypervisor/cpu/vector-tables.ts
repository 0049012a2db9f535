// Tables of 16 bytes for vector lookups, in each vCPU's area: loading one is one instruction, where a constant is four.
import type { Insn } from './insn.ts';
import { S } from './state.ts';
import { ld128, type V128 } from './wasm/builder.ts';
import { i16x8 } from './wasm/lanes.ts';

const upTo = (count: number, of: (n: number) => number): number[] => Array.from({ length: count }, (_, n) => of(n));
const mirrored = (n: number): number => (n & 1) << 3 | (n & 2) << 1 | n >> 1 & 2 | n >> 3;
const all: Readonly<Record<string, readonly number[]>> = {
  fifteen: upTo(16, () => 15),
  // Bits in reverse order: of half bytes as the low and as the high one, and bytes of 64-bit lanes.
  'mirror.low': upTo(16, mirrored), 'mirror.high': upTo(16, n => mirrored(n) << 4), 'mirror.bytes': upTo(16, n => n ^ 7),
};
const names = Object.keys(all);
/** What stands at S.vectorTables. */
export const vectorTables = Uint8Array.from(names.flatMap(n => all[n]!));
export function vectorTable(x: Insn, name: string): V128 {
  const n = names.indexOf(name);
  if (n < 0) throw new Error(`no table ${name}`);
  return ld128(x.area, S.vectorTables + 16 * n);
}
/** Half bytes, as indexes. */
export const lowHalves = (x: Insn, v: V128): V128 => x.f.let(v.and(vectorTable(x, 'fifteen')));
export const highHalves = (x: Insn, v: V128): V128 => x.f.let(v.shift(i16x8.shrU, 4).and(vectorTable(x, 'fifteen')));
