// What this host's scheduler is told of a thread. Dom0 serves all guests' rings in short turns: woken, it should go on at
// once, not when a vCPU's turn is over; on a machine whose processors the guests use up those are milliseconds.
import { constants, getPriority, setPriority } from 'node:os';

/** By so much (nice values, setpriority(2)) below the thread that made it, as Dom0's is not. */
const BELOW_DOM0 = 5;

/**
 * Puts the calling thread below Dom0's, on Linux, where each thread has a priority of its own. Programs' threads stay beside
 * Dom0's: their start is worth more than their place.
 */
export function runBelowDom0(): void {
  if (process.platform !== 'linux') return;
  try { setPriority(Math.min(constants.priority.PRIORITY_LOW, getPriority() + BELOW_DOM0)); } catch { /* not let: it stays as it is */ }
}
