// A lock in shared memory: spin a little, then sleep. 0 free, 1 held, 2 held with sleepers.

const SPINS = 200;

export function acquire(words: Int32Array, index: number): void {
  for (let i = 0; i < SPINS; i++) if (Atomics.compareExchange(words, index, 0, 1) === 0) return;
  while (Atomics.exchange(words, index, 2) !== 0) Atomics.wait(words, index, 2, 50);
}
export function release(words: Int32Array, index: number): void {
  if (Atomics.exchange(words, index, 0) === 2) Atomics.notify(words, index, 1);
}
/** Runs `work` under the lock; `work` must not wait for anything. */
export function locked<T>(words: Int32Array, index: number, work: () => T): T {
  acquire(words, index);
  try { return work(); } finally { release(words, index); }
}
