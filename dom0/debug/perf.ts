// A measurement of a domain: its counters before and after, and where its guest code was in between.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { PerfCount, PerfReading } from '../../hypervisor/public/perf.ts';
import type { Domid } from '../../hypervisor/public/types.ts';

/** What happened in the interval. Times in ms of all vCPUs together. */
export interface PerfReport {
  readonly seconds: number;
  readonly guestMs: number;
  /** Looks at the vCPUs while they ran, and how many of them met a page walk (a TLB miss). */
  readonly looks: number; readonly walking: number;
  readonly exits: Readonly<Record<string, PerfCount>>;
  readonly hypercalls: Readonly<Record<string, PerfCount>>;
  readonly processor: Readonly<Record<string, number>>;
  /** By address (hexadecimal, without 0x) and mode; `translated` of `count` were met in translated code. */
  readonly samples: readonly { readonly address: string; readonly kernelMode: boolean; readonly count: number; readonly translated: number }[];
}

type Counts = Readonly<Record<string, PerfCount>>;
const DRAIN_MS = 50, SETTLE_MS = 20;
/** How many there are, not how often something happened. */
const LEVELS = new Set(['jit_live', 'native_bytes']);

/** Measures for so long, asking `hertz` times a second where the guest is: a report, or -ESRCH, -EBUSY. `signal` ends it early. */
export async function measure(hypercalls: Pick<Dom0Hypercalls, 'perfSwitch' | 'perfAsk' | 'perfRead'>, dom: Domid, seconds: number, hertz: number, signal?: AbortSignal): Promise<PerfReport | number> {
  const error = hypercalls.perfSwitch(dom, true);
  if (error !== 0) return error;
  const samples = new Map<string, { address: string; kernelMode: boolean; count: number; translated: number }>();
  // The vCPUs say first where their processors' counters stand.
  await new Promise(resolve => { setTimeout(resolve, SETTLE_MS); });
  const first = hypercalls.perfRead(dom), begin = performance.now();
  let last = first;
  const read = (): void => {
    last = hypercalls.perfRead(dom);
    if (typeof last === 'number') return;
    for (const { address, kernelMode, translated } of last.flatMap(r => r.samples)) {
      const key = `${kernelMode}${address}`, known = samples.get(key) ?? { address: address.toString(16).padStart(16, '0'), kernelMode, count: 0, translated: 0 };
      known.count++;
      if (translated) known.translated++;
      samples.set(key, known);
    }
  };
  const asking = setInterval(() => { hypercalls.perfAsk(dom); }, 1000 / hertz), reading = setInterval(read, DRAIN_MS);
  await new Promise<void>(resolve => {
    const end = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener('abort', () => { clearTimeout(end); resolve(); }, { once: true });
  });
  clearInterval(asking);
  clearInterval(reading);
  read();
  hypercalls.perfSwitch(dom, false);
  if (typeof first === 'number') return first;
  return typeof last === 'number' ? last : { seconds: (performance.now() - begin) / 1000, ...between(first, last), samples: [...samples.values()].sort((a, b) => b.count - a.count) };
}

/** What came between two readings, all vCPUs added up. */
export function between(from: readonly PerfReading[], to: readonly PerfReading[]): Omit<PerfReport, 'seconds' | 'samples'> {
  const counts = (pick: (r: PerfReading) => Counts): Counts => {
    const sum: Record<string, { count: number; ms: number }> = {};
    const add = (all: Counts, sign: number): void => {
      for (const [name, { count, ms }] of Object.entries(all)) { const s = sum[name] ??= { count: 0, ms: 0 }; s.count += sign * count; s.ms += sign * ms; }
    };
    for (const r of from) add(pick(r), -1);
    for (const r of to) add(pick(r), 1);
    return Object.fromEntries(Object.entries(sum).filter(([, s]) => s.count > 0));
  };
  const number = (pick: (r: PerfReading) => number, level = false): number => to.reduce((s, r) => s + pick(r), 0) - (level ? 0 : from.reduce((s, r) => s + pick(r), 0));
  const names = new Set(to.flatMap(r => Object.keys(r.counters.processor)));
  return {
    guestMs: number(r => r.counters.guestMs), looks: number(r => r.counters.looks), walking: number(r => r.counters.walking), exits: counts(r => r.counters.exits), hypercalls: counts(r => r.counters.hypercalls),
    processor: Object.fromEntries([...names].map(name => [name, number(r => r.counters.processor[name] ?? 0, LEVELS.has(name))])),
  };
}
