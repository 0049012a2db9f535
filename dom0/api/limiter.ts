/** Counts what each of many may do in a window: so many at once, refilled steadily. Bounded: the oldest are forgotten. */
export class Limiter {
  readonly #most: number;
  readonly #perMs: number;
  readonly #nowMs: () => number;
  readonly #left = new Map<string, { left: number; atMs: number }>();

  constructor(most: number, windowMs: number, nowMs: () => number = () => performance.now()) { this.#most = most; this.#perMs = most / windowMs; this.#nowMs = nowMs; }

  /** @returns seconds until there is another; 0: there is one now */
  waitSec(who: string): number {
    const left = this.#of(who);
    return left >= 1 ? 0 : Math.ceil((1 - left) / this.#perMs / 1000);
  }
  take(who: string): void {
    const left = this.#of(who) - 1;
    this.#left.delete(who);
    this.#left.set(who, { left: Math.max(0, left), atMs: this.#nowMs() });
    if (this.#left.size > MAX_REMEMBERED) this.#left.delete(this.#left.keys().next().value!);
  }
  #of(who: string): number {
    const known = this.#left.get(who);
    return known ? Math.min(this.#most, known.left + (this.#nowMs() - known.atMs) * this.#perMs) : this.#most;
  }
}
const MAX_REMEMBERED = 10_000;
