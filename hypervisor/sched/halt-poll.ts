// A vCPU that blocks is looked for work for a moment before its thread sleeps, as KVM does (halt_poll_ns): waking a thread costs
// who wakes it some microseconds, and it is back many later. How long is what would have been enough lately. A vCPU that
// sleeps for longer than the most is not looked for at all, so what is idle costs nothing; nor is one whose processor others
// want, which shows in that the looking was interrupted.
import { H } from '../domain/state.ts';

const MAX_MS = 0.1, START_MS = 0.02, LOOKS_A_TIME = 16;
/** The pCPU that the vCPU has just left, and one for Dom0's thread, which it waits for. */
const FREE_PCPUS = 2;
/** A round of looks takes a microsecond; after one that took so long, so many blocks go without. */
const INTERRUPTED_MS = 0.02, LEFT_OUT = 256;

export class HaltPoll {
  #budgetMs = 0;
  #leftOut = 0;
  readonly #words: Int32Array; readonly #bell: number;
  readonly #now: () => number;
  constructor(words: Int32Array, bell: number, now = (): number => performance.now()) { this.#words = words; this.#bell = bell; this.#now = now; }

  /** How long the next block is looked for work. */
  get budgetMs(): number { return this.#leftOut > 0 ? 0 : this.#budgetMs; }
  /** Atomics.wait() for the bell, which was `seen`, to ring. @param ms how long at most */
  wait(seen: number, ms?: number): void {
    const begin = this.#now();
    if (this.budgetMs > 0 && this.#poll(seen, begin, begin + Math.min(this.#budgetMs, ms ?? Infinity))) return;
    if (this.#leftOut > 0) this.#leftOut--;
    Atomics.wait(this.#words, this.#bell, seen, ms);
    const blockedMs = this.#now() - begin;
    if (blockedMs > MAX_MS) this.#budgetMs = 0;
    else if (blockedMs > this.#budgetMs) this.#budgetMs = Math.min(MAX_MS, Math.max(START_MS, this.#budgetMs * 2));
  }
  #poll(seen: number, begin: number, end: number): boolean {
    for (let last = begin, now = begin; now < end; last = now) {
      // Others have more use for the processor.
      if (Atomics.load(this.#words, H.freePcpus) < FREE_PCPUS) return false;
      for (let i = 0; i < LOOKS_A_TIME; i++) {
        if (Atomics.load(this.#words, this.#bell) !== seen) return true;
        Atomics.pause();
      }
      now = this.#now();
      if (now - last > INTERRUPTED_MS) { this.#leftOut = LEFT_OUT; return false; }
    }
    return false;
  }
}
