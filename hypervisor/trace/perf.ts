// Counters of one vCPU in shared memory: its thread writes them, Dom0 reads them.
//
//   0   exits by kind: count        32  hypercalls by number: count       160  guest time   161  samples written
//   16  exits by kind: ms           96  hypercalls by number: ms          176  processor counters (PROCESSOR_COUNTERS)
//   256 ring of samples {address as a 64-bit integer, bits of MODE}
//   162 Dom0's looks at the vCPU while it ran                             163  of them, those during a page walk
//
// A number is written by one thread and torn for nobody: 64-bit stores of aligned numbers are whole on every host that
// Node runs on. Samples are read behind the count that is raised after they are written.
import { areaOf, S } from '../cpu/state.ts';
import { D, HYPERCALL_NUMBERS, type HypervisorState, V } from '../domain/state.ts';
import { type Hypervisor, kick, kickDomain } from '../domain/hypervisor.ts';
import { RUNSTATE_running } from '../public/vcpu.ts';
import { EXIT_KINDS, type ExitKind, type PerfCount, type PerfCounters, type PerfReading, type PerfSample } from '../public/perf.ts';

const P = { exits: 0, exitMs: 16, calls: 32, callMs: 96, guestMs: 160, samplesWritten: 161, looks: 162, walking: 163, processor: 176, samples: 256 } as const;
const SAMPLES = 128;
const MODE = { kernel: 1, translated: 2 } as const;
/** Of Processor.counters(), those that are handed on. */
export const PROCESSOR_COUNTERS = [
  'tlb_walks', 'lookups', 'blocks_decoded', 'blocks_revived', 'blocks_dropped', 'cache_emptied', 'jit_translations', 'jit_adopted', 'jit_live', 'jit_dropped', 'jit_refused', 'jit_compile_us', 'jit_helper_us',
  'native_blocks', 'native_dropped', 'native_refused', 'native_entries', 'native_links', 'native_jumps', 'native_misses', 'native_walks_failed', 'native_left', 'native_bytes', 'native_emptied', 'native_us',
] as const;
/** Index of a kind of exit. */
export const KIND = Object.fromEntries(EXIT_KINDS.map((name, n) => [name, n])) as Readonly<Record<ExitKind, number>>;

/** A vCPU thread's hand on its own numbers. */
export class PerfWriter {
  /** Times are taken. */
  timed = false;
  /** Spent in hypercalls within the one that runs. */
  #innerMs = 0;
  readonly #numbers: Float64Array;
  readonly #addresses: BigUint64Array;
  readonly #state: HypervisorState; readonly #slot: number; readonly #vcpu: number;

  constructor(state: HypervisorState, slot: number, vcpu: number) {
    this.#state = state; this.#slot = slot; this.#vcpu = vcpu;
    const from = state.perf.byteOffset + state.perfOf(slot, vcpu) * 8;
    this.#numbers = new Float64Array(state.buffer, from, P.samples + 2 * SAMPLES);
    this.#addresses = new BigUint64Array(state.buffer, from, P.samples + 2 * SAMPLES);
  }
  exit(kind: number): void { this.#numbers[P.exits + kind]!++; }
  exitTook(kind: number, ms: number): void { this.#numbers[P.exitMs + kind]! += ms; }
  guestTook(ms: number): void { this.#numbers[P.guestMs]! += ms; }
  called(number: number): void { this.#numbers[P.calls + number]!++; }
  /** Runs a hypercall's handler; time in calls within it is theirs. */
  time<T>(number: number, run: () => T): T {
    const begin = performance.now(), outer = this.#innerMs;
    this.#innerMs = 0;
    const result = run(), took = performance.now() - begin;
    this.#numbers[P.callMs + number]! += took - this.#innerMs;
    this.#innerMs = outer + took;
    return result;
  }
  /** Outside guest code: the processor's counters when a measurement begins, a sample, if one is wanted, and whether to take times from now on. */
  lookAround(address: bigint, kernelMode: boolean, translated: boolean, counters: () => Readonly<Record<string, number>>): void {
    const state = this.#state;
    const before = this.timed;
    this.timed = state.dget(this.#slot, D.perf) !== 0;
    if (this.timed && !before) this.#publish(counters());
    if (!this.timed || Atomics.exchange(state.words, state.vcpu(this.#slot, this.#vcpu) + V.sample, 0) === 0) return;
    const n = this.#numbers[P.samplesWritten]!, at = P.samples + n % SAMPLES * 2;
    this.#addresses[at] = address;
    this.#numbers[at + 1] = (kernelMode ? MODE.kernel : 0) | (translated ? MODE.translated : 0);
    this.#numbers[P.samplesWritten] = n + 1;
    this.#publish(counters());
  }
  #publish(counters: Readonly<Record<string, number>>): void {
    PROCESSOR_COUNTERS.forEach((name, i) => { this.#numbers[P.processor + i] = counters[name] ?? 0; });
  }
}

/** Switches taking times; false when it is as asked already. */
export function switchPerf(hv: Hypervisor, slot: number, on: boolean): boolean {
  if (Atomics.exchange(hv.state.words, hv.state.domain(slot) + D.perf, on ? 1 : 0) === (on ? 1 : 0)) return false;
  kickDomain(hv, slot);
  return true;
}
/**
 * Asks the vCPUs that run where they are, which they say when they next look around. Whether one is in a page walk is seen from here at
 * once: no walk looks around.
 */
export function askSamples(hv: Hypervisor, slot: number): void {
  const { state } = hv, memory = hv.memories.get(slot, state.dget(slot, D.domid));
  for (let v = 0, n = state.dget(slot, D.vcpus); v < n; v++) {
    if (state.vget(slot, v, V.runstate) !== RUNSTATE_running) continue;
    const at = state.perfOf(slot, v);
    state.perf[at + P.looks]!++;
    if (memory && Atomics.load(memory.words, (areaOf(v) + S.walking) / 4) !== 0) state.perf[at + P.walking]!++;
    state.vset(slot, v, V.sample, 1);
    kick(hv, slot, v);
  }
}
/** What a vCPU's numbers say. `seen`: samples read before. */
export function readPerf(state: HypervisorState, slot: number, vcpu: number, seen: number, nameOf: (hypercall: number) => string): PerfReading & { readonly written: number } {
  const at = state.perfOf(slot, vcpu), n = (index: number): number => state.perf[at + index]!;
  const addresses = new BigUint64Array(state.buffer, state.perf.byteOffset + at * 8, P.samples + 2 * SAMPLES);
  const written = n(P.samplesWritten), samples: PerfSample[] = [];
  // More seen than written: another vCPU's, in the same place.
  for (let i = Math.max(seen > written ? 0 : seen, written - SAMPLES); i < written; i++) {
    const sample = P.samples + i % SAMPLES * 2;
    const mode = n(sample + 1);
    samples.push({ address: addresses[sample]!, kernelMode: (mode & MODE.kernel) !== 0, translated: (mode & MODE.translated) !== 0 });
  }
  return { vcpu, written, samples, counters: readCounters(state, slot, vcpu, nameOf) };
}
export function readCounters(state: HypervisorState, slot: number, vcpu: number, nameOf: (hypercall: number) => string): PerfCounters {
  const at = state.perfOf(slot, vcpu), n = (index: number): number => state.perf[at + index]!;
  const named = (length: number, name: (i: number) => string, counts: number, ms: number): Record<string, PerfCount> => {
    const found: Record<string, PerfCount> = {};
    for (let i = 0; i < length; i++) if (n(counts + i) > 0) found[name(i)] = { count: n(counts + i), ms: n(ms + i) };
    return found;
  };
  return {
    exits: named(EXIT_KINDS.length, i => EXIT_KINDS[i]!, P.exits, P.exitMs), hypercalls: named(HYPERCALL_NUMBERS, nameOf, P.calls, P.callMs),
    guestMs: n(P.guestMs), looks: n(P.looks), walking: n(P.walking), processor: Object.fromEntries(PROCESSOR_COUNTERS.map((name, i) => [name, n(P.processor + i)])),
  };
}
