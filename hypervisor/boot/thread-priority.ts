// What this host's scheduler is told of a thread. Dom0 serves all guests' rings in short turns: woken, it should go on at
// once, not when a vCPU's turn is over; on a machine whose processors the guests use up those are milliseconds.
import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';

/** Nice value of vCPUs' threads (setpriority(2)); Dom0's stays the process's. */
const BELOW_DOM0 = 5;

/** Puts the calling thread below Dom0's (programs' stay beside it: their start is worth more than their place); where the host does not let it, it stays as it is. */
export function runBelowDom0(): void {
  // PID/task/TID, of whoever reads it: Linux gives each thread a priority of its own.
  try { setPriority(Number(readlinkSync('/proc/thread-self').split('/')[2]), BELOW_DOM0); } catch { /* no Linux, no /proc */ }
}
