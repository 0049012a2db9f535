// Physical CPUs: a vCPU's thread runs guest code only while it holds one of a limited number of slots. In the manner
// of credit2: credit burns with time run, faster for a small weight; whoever waits with the most credit is next, and
// when the best has run dry everybody gets a fresh allowance. Time run while nobody waits costs nothing, or a vCPU that
// had the host to itself would be shut out for as long when another comes. All under the sched lock.
//
// Invariants
//   - freePcpus + granted vCPUs = pcpus. While somebody is queued, freePcpus is 0.
//   - A vCPU is queued or granted or neither. Only its own thread leaves; whoever leaves hands over to one that is queued.
//   - Who is granted a pCPU while it sleeps gets a bell afterwards, and looks at `granted` before it sleeps again.
import { D, DOMAIN_STATE, H, MAX_SLOTS, V } from '../domain/state.ts';
import { type Hypervisor, kick } from '../domain/hypervisor.ts';
import { locked } from '../lib/lock.ts';

/** How long a vCPU may run while others wait: credit2's longest slice, or its rate limit when one with more credit waits. */
export const RATE_LIMIT_US = 1000;
const SLICE_NS = 10_000_000n, RATE_LIMIT_NS = BigInt(RATE_LIMIT_US) * 1000n;
const ALLOWANCE_US = 10_500, CREDIT_MIN = -10_000_000;
const WEIGHT_DEFAULT = 256;

/** Asks for a pCPU: true when it was free; otherwise the vCPU is queued and its bell rings when it is its turn. */
export function requestPcpu(hv: Hypervisor, slot: number, vcpu: number): boolean {
  const { state } = hv, at = state.vcpu(slot, vcpu);
  const got = locked(state.words, H.schedLock, () => {
    if (state.words[H.freePcpus]! === 0) {
      state.words[at + V.queued] = 1;
      if (state.words[H.waiting]!++ === 0) Atomics.store(state.longs, H.contendedSince / 2, state.now());
      return false;
    }
    state.words[H.freePcpus]!--;
    state.words[at + V.granted] = 1;
    state.setVlong(slot, vcpu, V.ranSince, state.now());
    return true;
  });
  if (!got) ringTicker(hv);
  return got;
}
export const holdsPcpu = (hv: Hypervisor, slot: number, vcpu: number): boolean => hv.state.vget(slot, vcpu, V.granted) === 1;

/** Credit that a vCPU has burnt since it got its pCPU, in microseconds. */
function burntUs(hv: Hypervisor, slot: number, vcpu: number): number {
  const { state } = hv;
  if (Atomics.load(state.words, H.waiting) === 0) return 0;
  const since = state.vlong(slot, vcpu, V.ranSince), contended = Atomics.load(state.longs, H.contendedSince / 2);
  return Math.round(Number((state.now() - (since > contended ? since : contended)) / 1000n) * WEIGHT_DEFAULT / (state.dget(slot, D.weight) || WEIGHT_DEFAULT));
}
/** The queued vCPU with the most credit. */
function bestWaiter(hv: Hypervisor): { slot: number; vcpu: number; credit: number } | undefined {
  const { state } = hv;
  let best: { slot: number; vcpu: number; credit: number } | undefined;
  forEachVcpu(hv, (slot, vcpu) => {
    const credit = state.vget(slot, vcpu, V.credit);
    if (state.vget(slot, vcpu, V.queued) && (!best || credit > best.credit)) best = { slot, vcpu, credit };
  });
  return best;
}

/** Gives the pCPU (or the place in the queue) back, and hands it to the next. */
export function leavePcpu(hv: Hypervisor, slot: number, vcpu: number): void {
  const { state } = hv, { words } = state, at = state.vcpu(slot, vcpu);
  const next = locked(words, H.schedLock, () => {
    if (words[at + V.queued]) { words[at + V.queued] = 0; words[H.waiting]!--; }
    if (!words[at + V.granted]) return undefined;
    words[at + V.granted] = 0;
    state.setVlong(slot, vcpu, V.cpuTime, state.vlong(slot, vcpu, V.cpuTime) + state.now() - state.vlong(slot, vcpu, V.ranSince));
    words[at + V.credit] = Math.max(CREDIT_MIN, words[at + V.credit]! - burntUs(hv, slot, vcpu));
    const best = words[H.waiting]! > 0 ? bestWaiter(hv) : undefined;
    if (!best) { words[H.freePcpus]!++; return undefined; }
    if (best.credit < 0) forEachVcpu(hv, (s, v) => { const w = state.vcpu(s, v); words[w + V.credit] = Math.min(ALLOWANCE_US, words[w + V.credit]! + ALLOWANCE_US); });
    const w = state.vcpu(best.slot, best.vcpu);
    words[w + V.queued] = 0;
    words[H.waiting]!--;
    state.setVlong(best.slot, best.vcpu, V.ranSince, state.now());
    words[w + V.granted] = 1;
    return best;
  });
  if (next) kick(hv, next.slot, next.vcpu);
}
/** When the slice of a running vCPU ends (system time in ns); undefined while nobody waits for its pCPU. */
export function sliceEndNs(hv: Hypervisor, slot: number, vcpu: number): bigint | undefined {
  const best = Atomics.load(hv.state.words, H.waiting) > 0 ? bestWaiter(hv) : undefined;
  if (!best) return undefined;
  const since = hv.state.vlong(slot, vcpu, V.ranSince), credit = hv.state.vget(slot, vcpu, V.credit) - burntUs(hv, slot, vcpu);
  return since + (best.credit > credit ? RATE_LIMIT_NS : SLICE_NS);
}
/** Whether the running vCPU should step aside. */
export function sliceOver(hv: Hypervisor, slot: number, vcpu: number): boolean {
  const end = sliceEndNs(hv, slot, vcpu);
  return end !== undefined && end <= hv.state.now();
}
export function forEachVcpu(hv: Hypervisor, visit: (slot: number, vcpu: number) => void): void {
  const { state } = hv;
  for (let s = 1; s < MAX_SLOTS; s++) {
    if (state.dget(s, D.state) === DOMAIN_STATE.free) continue;
    for (let v = 0, n = state.dget(s, D.vcpus); v < n; v++) visit(s, v);
  }
}
/** A deadline is new: the ticker looks again, unless it is going to in time. */
export function newDeadline(hv: Hypervisor, deadline: bigint): void {
  const next = Atomics.load(hv.state.longs, H.tickNext / 2);
  if (next === 0n || deadline < next) ringTicker(hv);
}
/** The ticker looks again: a deadline or a waiter is new. */
export function ringTicker(hv: Hypervisor): void {
  Atomics.add(hv.state.words, H.tickBell, 1);
  Atomics.notify(hv.state.words, H.tickBell);
}
