// What this host's scheduler is told of a thread. Dom0 serves all guests' rings in short turns: woken, it should go on at
// once, not when a vCPU's turn is over; on a machine whose processors the guests use up those are milliseconds.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';

/** By so much (nice values, setpriority(2)) below the thread that made it, as Dom0's is not. */
const BELOW_DOM0 = 5;
/** As Node names them. */
const V8_WORKER = 'node-V8Worker';

/**
 * Puts the calling thread below Dom0's, on Linux, where each thread has a priority of its own. Programs' threads stay beside
 * Dom0's: their start is worth more than their place.
 */
export function runBelowDom0(): void { lower(0); }

/** The threads that compile for V8 stand beside the vCPUs that wait for what they compile: ahead of them they take a guest's turn. */
export function putCompilersBelowDom0(): void {
  if (process.platform !== 'linux') return;
  for (const thread of readdirSync('/proc/self/task')) if (nameOf(thread) === V8_WORKER) lower(Number(thread));
}

/** Below the calling thread's own place. @param thread 0: the calling one */
function lower(thread: number): void {
  if (process.platform !== 'linux') return;
  try { setPriority(thread, Math.min(constants.priority.PRIORITY_LOW, getPriority() + BELOW_DOM0)); } catch { /* not let, or it has ended: it stays as it is */ }
}
/** As tools show the calling thread, where this host lets it have another name. */
export function nameThread(name: string): void {
  if (process.platform !== 'linux') return;
  try { writeFileSync('/proc/thread-self/comm', name); } catch { /* it keeps the one it has */ }
}
/** Of this process, on Linux. */
export const threadNames = (): string[] => readdirSync('/proc/self/task').map(nameOf);
function nameOf(thread: string): string {
  try { return readFileSync(`/proc/self/task/${thread}/comm`, 'latin1').trim(); } catch { return ''; }
}
