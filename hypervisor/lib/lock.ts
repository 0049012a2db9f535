// A lock in shared memory: spin a little, then sleep. The word says who holds it, so that a thread that was ended
// inside a section does not take the others with it: whoever ends threads breaks the locks they leave behind.
//
//   31 ........ 1        0
//   holder's thread + 1  somebody sleeps      (0: free)
import { threadId } from 'node:worker_threads';

const SPINS = 200, WAIT_MS = 50;
const SLEEPERS = 1;
const holderOf = (thread: number): number => thread + 1 << 1;
const me = holderOf(threadId);

export function acquire(words: Int32Array, index: number): void {
  for (let i = 0; i < SPINS; i++) if (Atomics.compareExchange(words, index, 0, me) === 0) return;
  for (;;) {
    // Whoever slept does not know who else still does: it takes the lock as one with sleepers.
    const seen = Atomics.compareExchange(words, index, 0, me | SLEEPERS);
    if (seen === 0) return;
    const marked = seen | SLEEPERS;
    if (seen === marked || Atomics.compareExchange(words, index, seen, marked) === seen) Atomics.wait(words, index, marked, WAIT_MS);
  }
}
export function release(words: Int32Array, index: number): void {
  if (Atomics.exchange(words, index, 0) & SLEEPERS) Atomics.notify(words, index, 1);
}
/** Runs `work` under the lock; `work` must not wait for anything. */
export function locked<T>(words: Int32Array, index: number, work: () => T): T {
  acquire(words, index);
  try { return work(); } finally { release(words, index); }
}
/** Frees a lock that a thread took with it when it ended; true when it had. */
export function breakLock(words: Int32Array, index: number, thread: number): boolean {
  if ((Atomics.load(words, index) & ~SLEEPERS) !== holderOf(thread)) return false;
  release(words, index);
  return true;
}
