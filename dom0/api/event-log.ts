// Changes of domains and devices, numbered, the last ones kept so that a reader that was cut off misses none.
// What is compared is a domain as it was known with what is told of it (changed), and the list of all with the last one
// (refresh): whoever changes something tells it at once, so that what is changed back right afterwards is seen too.
import { createHash } from 'node:crypto';
import type { ManagementEvent } from '../management/index.ts';
import type { DomainView } from '../toolstack/action.ts';

export interface ApiEvent {
  /** `EPOCH-NUMBER`: the epoch is the host's, numbers rise by one. */
  readonly id: string;
  readonly type: 'domain-created' | 'domain-changed' | 'domain-destroyed' | 'events-lost' | ManagementEvent['type'];
  /** What has changed, as it is now; absent for events-lost. */
  readonly data?: DomainView | ManagementEvent['data'];
}

const KEPT_EVENTS = 1024, KEPT_ENDED = 1024;
/** Readers that are told before others on this thread, the guests' disks first of all, have their turn. */
const TOLD_TOGETHER = 32;

interface Reader { readonly tell: (events: readonly ApiEvent[]) => void; /** Number of the last event it was told. */ seen: number }

export class EventLog {
  readonly #list: () => Promise<readonly DomainView[]>;
  readonly #epoch: string;
  readonly #events: ApiEvent[] = [];
  readonly #readers = new Set<Reader>();
  /** Those who have not been told all. */
  readonly #behind = new Set<Reader>();
  readonly #known = new Map<number, { readonly key: string; readonly view: DomainView }>();
  /** Gone lately: what is told late of one of them does not bring it back. Numbers are not used again so soon. */
  readonly #ended = new Set<number>();
  #last = 0;
  #telling = false;
  /** What was told last: most readers get the same. */
  #told: { readonly after: number; readonly last: number; readonly events: readonly ApiEvent[] } | undefined;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(list: () => Promise<readonly DomainView[]>, startedMs: number) {
    this.#list = list;
    this.#epoch = createHash('sha256').update(String(startedMs)).digest('hex').slice(0, 8);
  }
  get readers(): number { return this.#readers.size; }

  /** Looks what has changed; calls while it looks end in one more look. */
  refresh(): Promise<void> {
    if (this.#running) { this.#again = true; return this.#running; }
    return this.#running = this.#look().finally(() => { this.#running = undefined; });
  }

  /** One domain as it is now. */
  changed(view: DomainView): void {
    if (view.domid === 0) return;
    const key = stateKey(view), before = this.#known.get(view.domid);
    if (this.#ended.has(view.domid)) return;
    this.#known.set(view.domid, { key, view });
    if (before?.key !== key) this.#add(before ? 'domain-changed' : 'domain-created', view);
  }

  /**
   * @param since the last id seen: what came after it comes first
   * @param tell gets what came in the same instant at once; readers get the same list
   * @returns ends it
   */
  subscribe(since: string | undefined, tell: Reader['tell']): () => void {
    const reader: Reader = { tell, seen: this.#last }, match = /^([0-9a-f]{8})-(\d{1,15})$/.exec(since ?? '');
    if (since !== undefined) {
      const missed = this.#after(match?.[1] === this.#epoch ? Number(match[2]) : -1);
      if (missed.length > 0) tell(missed);
    }
    this.#readers.add(reader);
    return () => { this.#readers.delete(reader); this.#behind.delete(reader); };
  }

  #after(seen: number): readonly ApiEvent[] {
    const oldest = this.#last - this.#events.length;
    if (seen >= oldest && seen <= this.#last) return this.#events.slice(seen - oldest);
    return [{ id: `${this.#epoch}-${this.#last}`, type: 'events-lost' }];
  }

  #tellSome(): void {
    let left = TOLD_TOGETHER;
    for (const reader of this.#behind) {
      if (left-- === 0) break;
      this.#behind.delete(reader);
      if (this.#told?.after !== reader.seen || this.#told.last !== this.#last) this.#told = { after: reader.seen, last: this.#last, events: this.#after(reader.seen) };
      reader.seen = this.#last;
      reader.tell(this.#told.events);
    }
    this.#telling = this.#behind.size > 0;
    if (this.#telling) setImmediate(() => this.#tellSome());
  }

  async #look(): Promise<void> {
    do {
      this.#again = false;
      const known = new Set(this.#known.keys()), views = await this.#list(), there = new Set(views.map(view => view.domid));
      for (const view of views) this.changed(view);
      // One that was told of while the list was made may be missing there.
      for (const domid of known) if (!there.has(domid)) this.#gone(domid);
    } while (this.#again);
  }

  #gone(domid: number): void {
    const last = this.#known.get(domid);
    if (!last) return;
    this.#known.delete(domid);
    this.#ended.add(domid);
    if (this.#ended.size > KEPT_ENDED) this.#ended.delete(this.#ended.values().next().value!);
    this.#add('domain-destroyed', last.view);
  }

  /** What is known otherwise than by looking. */
  publish({ type, data }: ManagementEvent): void { this.#add(type, data); }

  #add(type: ApiEvent['type'], data: ApiEvent['data'] & object): void {
    const event: ApiEvent = { id: `${this.#epoch}-${++this.#last}`, type, data };
    this.#events.push(event);
    if (this.#events.length > KEPT_EVENTS) this.#events.shift();
    for (const reader of this.#readers) this.#behind.add(reader);
    if (this.#telling || this.#behind.size === 0) return;
    this.#telling = true;
    setImmediate(() => this.#tellSome());
  }
}

/** What makes a change; running and blocked alternate all the time, counters too. */
function stateKey({ name, uuid, paused, shutdown, crashed, dying, shutdownReason, vcpusOnline, memoryTargetKib, weight, cap, disks, vifs }: DomainView): string {
  return JSON.stringify([name, uuid, paused, shutdown, crashed, dying, shutdownReason, vcpusOnline, memoryTargetKib, weight, cap, disks.map(d => [d.devid, d.target, d.state]), vifs.map(v => [v.devid, v.mac, v.bridge, v.state, v.addresses, v.carrier])]);
}
