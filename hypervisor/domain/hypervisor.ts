// What one thread holds to act as the hypervisor: the shared state and its view of the memories.
import { breakLock } from '../lib/lock.ts';
import { D, DOMAIN_STATE, H, type HypervisorState, LOCKS, MAX_SLOTS, V } from './state.ts';
import { type Memories, raiseAttention } from './memories.ts';
import { SHUTDOWN_suspend } from '../public/sched.ts';
import { appendConsole } from '../trace/console.ts';

export interface Hypervisor { readonly state: HypervisorState; readonly memories: Memories }

/** Wakes a vCPU's thread, parked or running. */
export function kick(hv: Hypervisor, slot: number, vcpu: number): void {
  const { state } = hv, m = slot === 0 ? undefined : hv.memories.get(slot, state.dget(slot, D.domid));
  if (m) raiseAttention(m, vcpu);
  const bell = state.vcpu(slot, vcpu) + V.bell;
  Atomics.add(state.words, bell, 1);
  Atomics.notify(state.words, bell);
}
export function kickDomain(hv: Hypervisor, slot: number): void {
  for (let v = 0; v < hv.state.dget(slot, D.vcpus); v++) kick(hv, slot, v);
}

/** Frees the locks that a thread held when it was ended. */
export function cleanUpAfter(hv: Hypervisor, thread: number): void {
  for (const lock of LOCKS) breakLock(hv.state.words, lock, thread);
  for (let s = 0; s < MAX_SLOTS; s++) breakLock(hv.state.words, hv.state.domain(s) + D.grantLock, thread);
}

const LINES_PER_WINDOW = 50, WINDOW_MS = 5000;
/** A line about a domain in the xl dmesg ring; a domain may cause so many in a while, no more. */
export function logDomain(hv: Hypervisor, slot: number, line: string): void {
  const { state } = hv, now = Number(state.now() / 1_000_000n) | 0;
  if (now - state.dget(slot, D.logWindow) > WINDOW_MS) { state.dset(slot, D.logWindow, now); state.dset(slot, D.logLines, 0); }
  const n = Atomics.add(state.words, state.domain(slot) + D.logLines, 1);
  if (n > LINES_PER_WINDOW) return;
  appendConsole(state, n === LINES_PER_WINDOW ? `d${state.dget(slot, D.domid)}: more lines follow; they are dropped for a while` : line);
}

/** Tells Dom0 that some domain changed (VIRQ_DOM_EXC). */
export function domainChanged(hv: Hypervisor): void {
  Atomics.add(hv.state.words, H.dom0Exc, 1);
  Atomics.add(hv.state.words, H.dom0Bell, 1);
  Atomics.notify(hv.state.words, H.dom0Bell);
}

/** The domain stops running with a SHUTDOWN_* reason; it stays until the toolstack destroys or resumes it. First reason wins. */
export function shutdownDomain(hv: Hypervisor, slot: number, reason: number): void {
  const { state } = hv;
  if (state.dget(slot, D.state) !== DOMAIN_STATE.live) return;
  if (Atomics.compareExchange(state.words, state.domain(slot) + D.shutdown, 0, reason + 1) !== 0) return;
  kickDomain(hv, slot);
  domainChanged(hv);
}
/** A domain that is suspended goes on where it was. @returns whether it was */
export function resumeDomain(hv: Hypervisor, slot: number): boolean {
  const { state } = hv;
  if (Atomics.compareExchange(state.words, state.domain(slot) + D.shutdown, SHUTDOWN_suspend + 1, 0) !== SHUTDOWN_suspend + 1) return false;
  kickDomain(hv, slot);
  return true;
}
/** SHUTDOWN_*, or undefined while it has not shut down. */
export function shutdownReason(hv: Hypervisor, slot: number): number | undefined {
  const word = hv.state.dget(slot, D.shutdown);
  return word === 0 ? undefined : word - 1;
}
