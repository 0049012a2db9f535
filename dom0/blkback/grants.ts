// Granted data frames of one ring: mapped for one request, or kept mapped (persistent grants) up to a bound.
// Invariant: a mapping is unmapped only when no request uses it; `#kept` is in order of last use.
import type { Dom0Hypercalls, GrantMapping } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { Domid, GrantRef } from '../../hypervisor/public/types.ts';

/** As Linux's blkback: ring size times the segments of a request, times three. */
export const MAX_PERSISTENT_GRANTS = 1056;

interface Kept { readonly mapping: GrantMapping; users: number }
export interface BorrowedFrame { readonly mapping: GrantMapping; readonly kept: Kept | undefined }

export class GrantCache {
  readonly #hypercalls: Pick<Dom0Hypercalls, 'gnttabMap' | 'gnttabUnmap'>;
  readonly #dom: Domid;
  readonly #persistent: boolean;
  readonly #limit: number;
  readonly #kept = new Map<GrantRef, Kept>();

  constructor(hypercalls: Pick<Dom0Hypercalls, 'gnttabMap' | 'gnttabUnmap'>, dom: Domid, persistent: boolean, limit = MAX_PERSISTENT_GRANTS) {
    this.#hypercalls = hypercalls; this.#dom = dom; this.#persistent = persistent; this.#limit = limit;
  }

  get keptCount(): number { return this.#kept.size; }

  /** @param readOnly the backend only reads the frame @returns -errno if the grant does not allow it */
  borrow(ref: GrantRef, readOnly: boolean): BorrowedFrame | number {
    const kept = this.#kept.get(ref);
    if (kept) {
      kept.users++;
      this.#kept.delete(ref);
      this.#kept.set(ref, kept);
      return { mapping: kept.mapping, kept };
    }
    // A kept frame serves reads and writes alike, so the frontend grants it writable.
    const keep = this.#persistent && this.#makeRoom();
    const mapping = this.#hypercalls.gnttabMap(this.#dom, ref, keep ? false : readOnly);
    if (typeof mapping === 'number') return mapping;
    if (!keep) return { mapping, kept: undefined };
    const entry: Kept = { mapping, users: 1 };
    this.#kept.set(ref, entry);
    return { mapping, kept: entry };
  }

  giveBack(frame: BorrowedFrame): void {
    if (frame.kept) frame.kept.users--; else this.#hypercalls.gnttabUnmap(frame.mapping);
  }

  /** Unmaps everything kept; only when no request is in flight. */
  clear(): void {
    for (const { mapping } of this.#kept.values()) this.#hypercalls.gnttabUnmap(mapping);
    this.#kept.clear();
  }

  /** Drops the frame unused for longest once the bound is reached. @returns false if all are in use */
  #makeRoom(): boolean {
    if (this.#kept.size < this.#limit) return true;
    for (const [ref, kept] of this.#kept) {
      if (kept.users > 0) continue;
      this.#hypercalls.gnttabUnmap(kept.mapping);
      this.#kept.delete(ref);
      return true;
    }
    return false;
  }
}
