// Physical CPUs: a vCPU's thread runs guest code only while it holds one of a limited number of slots. In the manner
// of credit2: credit burns with time run, faster for a small weight; whoever waits with the most credit is next, and
// when the best has run dry everybody gets a fresh allowance. All under the sched lock.
import { D, DOMAIN_STATE, H, MAX_SLOTS, V } from '../domain/state.ts';
import { type Hypervisor, kick } from '../domain/hypervisor.ts';
import { acquire as lock, release as unlock } from '../lib/lock.ts';

/** How long a vCPU may run while others wait (credit2's default rate limit is 1 ms, its longest slice 10 ms). */
export const SLICE_NS = 10_000_000n;
const ALLOWANCE_US = 10_500, CREDIT_MIN = -10_000_000;
const WEIGHT_DEFAULT = 256;

/** Asks for a pCPU: true when it was free; otherwise the vCPU is queued and its bell rings when it is its turn. */
export function requestPcpu(hv: Hypervisor, slot: number, vcpu: number): boolean {
  const { state } = hv, at = state.vcpu(slot, vcpu);
  lock(state.words, H.schedLock);
  const got = state.words[H.freePcpus]! > 0;
  if (got) { state.words[H.freePcpus]!--; state.words[at + V.granted] = 1; }
  else { state.words[at + V.queued] = 1; state.words[H.waiting]!++; }
  unlock(state.words, H.schedLock);
  if (got) state.setVlong(slot, vcpu, V.ranSince, state.now());
  else ringTicker(hv);
  return got;
}
export const holdsPcpu = (hv: Hypervisor, slot: number, vcpu: number): boolean => hv.state.vget(slot, vcpu, V.granted) === 1;

/** Gives the pCPU (or the place in the queue) back, and hands it to the next. */
export function leavePcpu(hv: Hypervisor, slot: number, vcpu: number): void {
  const { state } = hv, { words } = state, at = state.vcpu(slot, vcpu);
  let nextSlot = -1, nextVcpu = -1;
  lock(words, H.schedLock);
  if (words[at + V.queued]) { words[at + V.queued] = 0; words[H.waiting]!--; }
  if (words[at + V.granted]) {
    words[at + V.granted] = 0;
    const ranNs = state.now() - state.vlong(slot, vcpu, V.ranSince);
    state.setVlong(slot, vcpu, V.cpuTime, state.vlong(slot, vcpu, V.cpuTime) + ranNs);
    const weight = state.dget(slot, D.weight) || WEIGHT_DEFAULT;
    words[at + V.credit] = Math.max(CREDIT_MIN, words[at + V.credit]! - Math.round(Number(ranNs / 1000n) * WEIGHT_DEFAULT / weight));
    if (words[H.waiting]! > 0) {
      let best = -Infinity;
      forEachVcpu(hv, (s, v) => {
        const w = state.vcpu(s, v);
        if (words[w + V.queued] && words[w + V.credit]! > best) { best = words[w + V.credit]!; nextSlot = s; nextVcpu = v; }
      });
      if (nextSlot >= 0) {
        if (best < 0) forEachVcpu(hv, (s, v) => { const w = state.vcpu(s, v); words[w + V.credit] = Math.min(ALLOWANCE_US, words[w + V.credit]! + ALLOWANCE_US); });
        const w = state.vcpu(nextSlot, nextVcpu);
        words[w + V.queued] = 0;
        words[H.waiting]!--;
        words[w + V.granted] = 1;
        state.setVlong(nextSlot, nextVcpu, V.ranSince, state.now());
      } else words[H.freePcpus]!++;
    } else words[H.freePcpus]!++;
  }
  unlock(words, H.schedLock);
  if (nextSlot >= 0) kick(hv, nextSlot, nextVcpu);
}
/** Whether the running vCPU should step aside: its slice is over and somebody waits. */
export function sliceOver(hv: Hypervisor, slot: number, vcpu: number): boolean {
  return hv.state.words[H.waiting]! > 0 && hv.state.now() - hv.state.vlong(slot, vcpu, V.ranSince) >= SLICE_NS;
}
export function forEachVcpu(hv: Hypervisor, visit: (slot: number, vcpu: number) => void): void {
  const { state } = hv;
  for (let s = 1; s < MAX_SLOTS; s++) {
    if (state.dget(s, D.state) === DOMAIN_STATE.free) continue;
    for (let v = 0, n = state.dget(s, D.vcpus); v < n; v++) visit(s, v);
  }
}
/** The ticker looks again: a deadline or a waiter is new. */
export function ringTicker(hv: Hypervisor): void {
  Atomics.add(hv.state.words, H.tickBell, 1);
  Atomics.notify(hv.state.words, H.tickBell);
}
