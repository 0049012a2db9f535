import { expect, test } from 'vitest';
import type { Hypervisor } from '../domain/hypervisor.ts';
import { D, HypervisorState, V } from '../domain/state.ts';
import { RUNSTATE_blocked, RUNSTATE_running } from '../public/vcpu.ts';
import { areaOf, S } from '../cpu/state.ts';
import { askSamples, KIND, PerfWriter, readPerf, switchPerf } from './perf.ts';

const SLOT = 3, nameOf = (n: number): string => `call ${n}`;
function setUp() {
  const state = HypervisorState.create(1), hv = { state, memories: {} } as unknown as Hypervisor, writer = new PerfWriter(state, SLOT, 1);
  return { state, hv, writer, read: (seen = 0) => readPerf(state, SLOT, 1, seen, nameOf) };
}
const look = (w: PerfWriter, address: bigint, translated = false): void => w.lookAround(address, true, translated, () => ({ tlb_walks: 7 }));

test('exits and calls are counted by name, and for their own vCPU', () => {
  const { state, writer, read } = setUp();
  writer.exit(KIND['page fault']);
  writer.exit(KIND['page fault']);
  writer.exitTook(KIND['page fault'], 0.5);
  writer.called(26);
  expect(read().counters.exits).toEqual({ 'page fault': { count: 2, ms: 0.5 } });
  expect(read().counters.hypercalls).toEqual({ 'call 26': { count: 1, ms: 0 } });
  expect(readPerf(state, SLOT, 0, 0, nameOf).counters.exits).toEqual({});
  state.clearSlot(SLOT);
  expect(read().counters.exits).toEqual({});
});
test('a call within a call takes its time from the outer one', () => {
  const { writer, read } = setUp(), spin = (ms: number): void => { const end = performance.now() + ms; while (performance.now() < end); };
  const begin = performance.now();
  writer.called(13);
  writer.time(13, () => { writer.called(1); writer.time(1, () => spin(20)); });
  const all = performance.now() - begin, { hypercalls } = read().counters;
  expect(hypercalls['call 1']!.ms).toBeGreaterThanOrEqual(20);
  expect(hypercalls['call 13']!.ms + hypercalls['call 1']!.ms).toBeLessThanOrEqual(all);
});
test('samples are written when asked for while the domain is measured, and read once', () => {
  const { state, hv, writer, read } = setUp();
  const ask = (): void => { state.vset(SLOT, 1, V.sample, 1); };
  ask();
  look(writer, 1n);
  expect(read().samples).toEqual([]);
  expect(switchPerf(hv, SLOT, true)).toBe(true);
  expect(switchPerf(hv, SLOT, true)).toBe(false);
  expect(state.dget(SLOT, D.perf)).toBe(1);
  look(writer, 0xffff_ffff_8100_0000n);
  look(writer, 2n);
  const { samples, written, counters } = read();
  expect(samples).toEqual([{ address: 0xffff_ffff_8100_0000n, kernelMode: true, translated: false }]);
  expect(counters.processor['tlb_walks']).toBe(7);
  ask();
  look(writer, 3n, true);
  expect(read(written).samples).toEqual([{ address: 3n, kernelMode: true, translated: true }]);
});
test('the processor\'s counters are there as soon as a measurement begins', () => {
  const { hv, writer, read } = setUp();
  look(writer, 1n);
  expect(read().counters.processor['tlb_walks']).toBe(0);
  switchPerf(hv, SLOT, true);
  look(writer, 1n);
  expect(read().counters.processor['tlb_walks']).toBe(7);
  expect(read().samples).toEqual([]);
});
test('of too many samples the last are kept', () => {
  const { state, hv, writer, read } = setUp();
  switchPerf(hv, SLOT, true);
  for (let i = 0n; i < 200n; i++) { state.vset(SLOT, 1, V.sample, 1); look(writer, i); }
  const { samples } = read();
  expect(samples.length).toBeLessThan(200);
  expect(samples.at(-1)!.address).toBe(199n);
  expect(new Set(samples.map(s => s.address)).size).toBe(samples.length);
});
test('a vCPU that runs is looked at when it is asked, and whether it walks a page table is seen', () => {
  const { state, read } = setUp(), words = new Int32Array(new SharedArrayBuffer(areaOf(2)));
  const hv = { state, memories: { get: () => ({ words }) } } as unknown as Hypervisor;
  state.dset(SLOT, D.vcpus, 2);
  for (const v of [0, 1]) state.vset(SLOT, v, V.runstate, RUNSTATE_blocked);
  const sum = () => { const { looks, walking } = read().counters; return [looks, walking]; };
  askSamples(hv, SLOT);
  expect(sum()).toEqual([0, 0]);
  state.vset(SLOT, 1, V.runstate, RUNSTATE_running);
  askSamples(hv, SLOT);
  expect(sum()).toEqual([1, 0]);
  words[(areaOf(1) + S.walking) / 4] = 1;
  askSamples(hv, SLOT);
  expect(sum()).toEqual([2, 1]);
});
