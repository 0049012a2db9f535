// The trace ring: what domains that are being traced do, one record each, oldest overwritten. Writers take a place by
// one atomic addition; a record that is being overwritten while it is read may come out mixed, which a trace can bear.
import { D, type HypervisorState, MAX_SLOTS, TRACE_RECORDS } from '../domain/state.ts';
import type { Hypervisor } from '../domain/hypervisor.ts';
import { H } from '../domain/state.ts';

/** What a record says; a, b and c depend on it. */
export const TRACE = {
  /** a: number, b: first argument, c: second argument's low half */
  hypercall: 1,
  /** a: number, b: result */
  hypercallDone: 2,
  /** An event became pending. a: port */
  event: 3,
  /** a: VIRQ, b: port */
  virq: 4,
  /** a: RUNSTATE_* it changed to */
  runstate: 5,
} as const;
type Kind = (typeof TRACE)[keyof typeof TRACE];

/** Words of a record. Time is in ns of system time, as two halves. */
const R = { kind: 0, timeLow: 1, timeHigh: 2, who: 3, a: 4, b: 5, c: 6 } as const;
const U32 = 0x1_0000_0000;

export const traced = (state: HypervisorState, slot: number): boolean => state.dget(slot, D.trace) !== 0;

export function trace(hv: Hypervisor, kind: Kind, slot: number, vcpu: number, a: number, b = 0, c = 0): void {
  const { state } = hv, at = state.traceRecord(Atomics.add(state.words, H.traceHead, 1)), now = Number(state.now());
  state.words[at + R.kind] = kind;
  state.words[at + R.timeLow] = now % U32 | 0;
  state.words[at + R.timeHigh] = now / U32 | 0;
  state.words[at + R.who] = state.dget(slot, D.domid) << 16 | vcpu;
  state.words[at + R.a] = a;
  state.words[at + R.b] = b;
  state.words[at + R.c] = c;
}

/** Switches tracing of one domain, or (slot -1) of all that there are now. */
export function setTrace(state: HypervisorState, slot: number, on: boolean): void {
  for (let s = 0; s < MAX_SLOTS; s++) if (slot < 0 || s === slot) state.dset(s, D.trace, on ? 1 : 0);
}

const RUNSTATES = ['running', 'runnable', 'blocked', 'offline'];
const hex = (n: number): string => `0x${(n >>> 0).toString(16)}`;

/**
 * The ring as lines, oldest first: time in seconds, vCPU, what happened. `nameOf` names a hypercall by its number;
 * `wanted` leaves records out.
 */
export function readTrace(state: HypervisorState, nameOf: (hypercall: number) => string, wanted: (domid: number, kind: number) => boolean = () => true): string[] {
  const head = state.words[H.traceHead]! >>> 0, count = Math.min(head, TRACE_RECORDS), lines: string[] = [];
  for (let i = head - count; i < head; i++) {
    const at = state.traceRecord(i), w = (n: number): number => state.words[at + n]!;
    if (!wanted(w(R.who) >>> 16, w(R.kind))) continue;
    const seconds = ((w(R.timeHigh) * U32 + (w(R.timeLow) >>> 0)) / 1e9).toFixed(6);
    lines.push(`${seconds.padStart(12)} d${w(R.who) >>> 16}v${w(R.who) & 0xffff} ${describe(w(R.kind), w(R.a), w(R.b), w(R.c), nameOf)}`);
  }
  return lines;
}
function describe(kind: number, a: number, b: number, c: number, nameOf: (hypercall: number) => string): string {
  switch (kind) {
    case TRACE.hypercall: return `${nameOf(a)}(${hex(b)}, ${hex(c)})`;
    case TRACE.hypercallDone: return `${nameOf(a)} = ${b}`;
    case TRACE.event: return `event on port ${a}`;
    case TRACE.virq: return `VIRQ ${a} on port ${b}`;
    case TRACE.runstate: return RUNSTATES[a] ?? 'unknown';
    default: return 'nothing';
  }
}
