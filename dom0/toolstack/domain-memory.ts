// What the toolstack must still know of its domains when Dom0 has crashed and is started again.
import type { Handover } from '../../hypervisor/public/handover.ts';
import { Journal } from '../handover/journal.ts';
import type { DomainConfig } from './config/schema.ts';
import type { ConsoleRing, DomainRecord } from './domain-record.ts';

export interface SavedDomain {
  readonly domid: number; readonly config: DomainConfig; readonly createdMs: number; readonly console: ConsoleRing;
  /** It has shut down and is preserved. */
  readonly ended: boolean;
}

export class DomainMemory {
  readonly #journal: Journal;
  readonly #domains = new Map<number, SavedDomain>();
  /** Domains that were to be made again, by name. */
  readonly #successors = new Map<string, DomainConfig>();

  constructor(area: Handover) {
    this.#journal = new Journal(area, () => [
      ...[...this.#domains.values()].map(saved => ['domain', saved] as const),
      ...[...this.#successors.values()].map(config => ['successor', config] as const),
    ]);
    for (const record of this.#journal.read()) this.#replay(record as readonly [string, never]);
  }

  get domains(): readonly SavedDomain[] { return [...this.#domains.values()]; }
  get successors(): readonly DomainConfig[] { return [...this.#successors.values()]; }

  /** Remembers the domain as it is now. */
  save({ domid, config, createdMs, console, state }: DomainRecord): void {
    this.#note(['domain', { domid, config, createdMs, console, ended: state === 'ended' } satisfies SavedDomain]);
  }
  /** The domain is gone; `successor` is to be made in its place. */
  forget(domid: number, successor?: DomainConfig): void {
    this.#note(['gone', domid]);
    if (successor) this.#note(['successor', successor]);
    this.#journal.flush();
  }
  /** The successor of that name is there, or cannot be made. */
  settle(name: string): void { if (this.#successors.has(name)) this.#note(['settled', name]); }

  #note(record: readonly [string, object | number | string]): void {
    this.#replay(record as readonly [string, never]);
    this.#journal.note(record);
  }
  #replay([kind, value]: readonly [string, never]): void {
    const saved: SavedDomain = value, config: DomainConfig = value;
    switch (kind) {
      case 'domain': this.#domains.set(saved.domid, saved); break;
      case 'gone': this.#domains.delete(value); break;
      case 'successor': this.#successors.set(config.name, config); break;
      case 'settled': this.#successors.delete(value); break;
    }
  }
}
