// Changes of domains and devices, numbered, the last ones kept so that a reader that was cut off misses none.
// What is compared are two lists of domains; whoever changes something calls refresh() afterwards.
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

const KEPT_EVENTS = 1024;

export class EventLog {
  readonly #list: () => Promise<readonly DomainView[]>;
  readonly #epoch: string;
  readonly #events: ApiEvent[] = [];
  readonly #readers = new Set<(event: ApiEvent) => void>();
  #known = new Map<number, { readonly key: string; readonly view: DomainView }>();
  #last = 0;
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

  /** @param since the last id seen: what came after it comes first. @returns ends it */
  subscribe(since: string | undefined, reader: (event: ApiEvent) => void): () => void {
    for (const event of this.#after(since)) reader(event);
    this.#readers.add(reader);
    return () => { this.#readers.delete(reader); };
  }

  #after(since: string | undefined): readonly ApiEvent[] {
    if (since === undefined) return [];
    const match = /^([0-9a-f]{8})-(\d{1,15})$/.exec(since), seen = Number(match?.[2] ?? -1), oldest = this.#last - this.#events.length;
    if (match?.[1] === this.#epoch && seen >= oldest && seen <= this.#last) return this.#events.slice(seen - oldest);
    return [{ id: `${this.#epoch}-${this.#last}`, type: 'events-lost' }];
  }

  async #look(): Promise<void> {
    do {
      this.#again = false;
      const views = await this.#list(), now = new Map<number, { key: string; view: DomainView }>();
      for (const view of views) {
        if (view.domid === 0) continue;
        const key = stateKey(view), before = this.#known.get(view.domid);
        now.set(view.domid, { key, view });
        if (before?.key !== key) this.#add(before ? 'domain-changed' : 'domain-created', view);
      }
      for (const [domid, { view }] of this.#known) if (!now.has(domid)) this.#add('domain-destroyed', view);
      this.#known = now;
    } while (this.#again);
  }

  /** What is known otherwise than by looking. */
  publish({ type, data }: ManagementEvent): void { this.#add(type, data); }

  #add(type: ApiEvent['type'], data: ApiEvent['data'] & object): void {
    const event: ApiEvent = { id: `${this.#epoch}-${++this.#last}`, type, data };
    this.#events.push(event);
    if (this.#events.length > KEPT_EVENTS) this.#events.shift();
    for (const reader of this.#readers) reader(event);
  }
}

/** What makes a change; running and blocked alternate all the time, counters too. */
function stateKey({ name, uuid, paused, shutdown, crashed, dying, shutdownReason, vcpusOnline, disks, vifs }: DomainView): string {
  return JSON.stringify([name, uuid, paused, shutdown, crashed, dying, shutdownReason, vcpusOnline, disks.map(d => [d.devid, d.target, d.state]), vifs.map(v => [v.devid, v.mac, v.bridge, v.state, v.addresses])]);
}
