// Work for a time to come. The vCPU has one timer: it is set for the next of them, or for what a sleeper waits for.
import type { Clock } from './clock.ts';
import type { Events } from './events.ts';

interface Alarm { readonly atNs: bigint; readonly work: () => void }
const NS_PER_MS = 1_000_000n;

export class Alarms {
  readonly #events: Events; readonly #clock: Clock;
  readonly #set = new Set<Alarm>();

  constructor(events: Events, clock: Clock) {
    this.#events = events;
    this.#clock = clock;
    events.onTimer = () => { if (this.#set.size > 0) events.later(() => this.#ring()); };
  }
  /** Does the work then, when nothing is half done. @returns takes it back */
  after(ms: number, work: () => void): () => void {
    const alarm = { atNs: this.#clock.systemNs() + BigInt(Math.ceil(ms)) * NS_PER_MS, work };
    this.#set.add(alarm);
    this.#events.wakeBy(alarm.atNs);
    return () => { this.#set.delete(alarm); };
  }
  #ring(): void {
    const now = this.#clock.systemNs();
    for (const alarm of [...this.#set]) if (alarm.atNs <= now && this.#set.delete(alarm)) alarm.work();
    let next: bigint | undefined;
    for (const { atNs } of this.#set) if (next === undefined || atNs < next) next = atNs;
    if (next !== undefined) this.#events.wakeBy(next);
  }
}
