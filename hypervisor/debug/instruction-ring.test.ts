import { expect, test } from 'vitest';
import type { Processor } from '../cpu/processor-api.ts';
import { TRACE_ENTRY, TRACE_ENTRY_BYTES } from '../public/debug.ts';
import { InstructionRing } from './instruction-ring.ts';

const processor = (): Processor => ({ gpr: new BigUint64Array(16), rip: 0n, rflags: 2n }) as unknown as Processor;
/** rips of the answer. */
const rips = (ring: InstructionRing, last: number, skip = 0, room = 4096): number[] => {
  const out = new Uint8Array(room), bytes = ring.read(last, skip, out), view = new DataView(out.buffer);
  return Array.from({ length: bytes / TRACE_ENTRY_BYTES }, (_, i) => Number(view.getBigUint64(i * TRACE_ENTRY_BYTES + TRACE_ENTRY.rip, true)));
};

test('keeps the last, oldest first, in parts that fit', () => {
  const p = processor(), ring = new InstructionRing(p, 8);
  expect(rips(ring, 5)).toEqual([]);
  for (let i = 0; i < 20; i++) { p.rip = BigInt(i); ring.note(p, true); }
  expect(rips(ring, 3)).toEqual([17, 18, 19]);
  expect(rips(ring, 100)).toEqual([12, 13, 14, 15, 16, 17, 18, 19]);
  expect(rips(ring, 100, 0, 3 * TRACE_ENTRY_BYTES + 5)).toEqual([12, 13, 14]);
  expect(rips(ring, 100, 6)).toEqual([18, 19]);
  expect(rips(ring, 100, 0xffffffff)).toEqual([]);
});
test('the digest tells apart every register and the flags', () => {
  const digests = new Set<number>(), out = new Uint8Array(TRACE_ENTRY_BYTES);
  const add = (change: (p: { gpr: BigUint64Array; rflags: bigint }) => void): void => {
    const p = processor(), ring = new InstructionRing(p, 1);
    change(p as unknown as { gpr: BigUint64Array; rflags: bigint });
    ring.note(p, false);
    ring.read(1, 0, out);
    digests.add(new DataView(out.buffer).getUint32(TRACE_ENTRY.digest, true));
  };
  add(() => {});
  for (let n = 0; n < 16; n++) { add(p => { p.gpr[n] = 1n; }); add(p => { p.gpr[n] = 1n << 63n; }); }
  add(p => { p.rflags = 3n; });
  expect(digests.size).toBe(34);
});
