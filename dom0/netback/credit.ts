// The rate limit of one interface, `rate=10Mb/s@50ms`: so many bytes of what the guest sends per interval. A packet is
// sent whole once the credit covers it; one larger than an interval's credit waits for as many as it takes.
import { MAX_FRAME_BYTES } from '../switch/port.ts';

export interface Rate { readonly bytesPerInterval: number; readonly intervalUsec: number }

export class Credit {
  readonly #rate: Rate;
  readonly #nowMs: () => number;
  #bytes: number;
  #filledMs: number;

  constructor(rate: Rate, nowMs: () => number = () => performance.now()) {
    this.#rate = rate;
    this.#nowMs = nowMs;
    this.#bytes = rate.bytesPerInterval;
    this.#filledMs = nowMs();
  }

  /** @returns milliseconds until something may be sent, 0 if now */
  waitMs(): number {
    this.#fill();
    if (this.#bytes > 0) return 0;
    const { bytesPerInterval, intervalUsec } = this.#rate;
    return Math.max(1, Math.ceil((Math.floor(-this.#bytes / bytesPerInterval) + 1) * intervalUsec / 1000 - (this.#nowMs() - this.#filledMs)));
  }
  /** A packet went out: the balance may fall below zero, and what follows waits until it is made up. */
  spend(byteCount: number): void { this.#bytes -= byteCount; }

  #fill(): void {
    const { bytesPerInterval, intervalUsec } = this.#rate, intervalMs = intervalUsec / 1000;
    const passed = Math.floor((this.#nowMs() - this.#filledMs) / intervalMs);
    if (passed < 1) return;
    this.#filledMs += passed * intervalMs;
    // Unused credit is not saved up, beyond what a single large packet needs.
    this.#bytes = Math.min(Math.max(bytesPerInterval, Math.min(MAX_FRAME_BYTES, 2 * bytesPerInterval)), this.#bytes + passed * bytesPerInterval);
  }
}
