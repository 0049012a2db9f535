// How long a ring that has just been served is looked at before its frontend has to send an event for what comes next. An event
// costs both sides more than small requests do: the frontend calls the hypervisor, which wakes Dom0's thread, which goes to sleep
// before. So a busy frontend finds the ring looked at; one that takes its time is looked for in vain a few times, then rarely.
import { performance as clock } from 'node:perf_hooks';

/** Others wait as long: about what it takes to wake a thread. */
const LOOK_MS = 0.03, LOOKS_A_TIME = 16;
/** In vain so many times in a row, then the next ones are left out, twice as many each time. */
const VAIN_MAX = 4, LEFT_OUT_MIN = 32, LEFT_OUT_MAX = 512;

export class Patience {
  #vain = 0;
  #leftOut = 0;
  #next = LEFT_OUT_MIN;
  readonly #now: () => number;
  constructor(now = (): number => clock.now()) { this.#now = now; }

  /** @param look whether it has come @param busy whether somebody else waits for this thread */
  wait(look: () => boolean, busy: () => boolean): boolean {
    if (this.#leftOut > 0) { this.#leftOut--; return false; }
    const end = this.#now() + LOOK_MS;
    do {
      for (let i = 0; i < LOOKS_A_TIME; i++) if (look()) { this.#vain = 0; this.#next = LEFT_OUT_MIN; return true; }
      // No answer to whether it would have come.
      if (busy()) return false;
    } while (this.#now() < end);
    if (++this.#vain === VAIN_MAX) {
      this.#vain = 0;
      this.#leftOut = this.#next;
      this.#next = Math.min(LEFT_OUT_MAX, this.#next * 2);
    }
    return false;
  }
}
