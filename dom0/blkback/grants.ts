// Granted data frames of one ring: mapped for one request, or kept mapped (persistent grants) up to a bound.
// Invariant: a mapping is unmapped only when no request uses it.
import type { Dom0Hypercalls, GrantMapping } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { Domid, GrantRef } from '../../hypervisor/public/types.ts';

/** As Linux's blkback: ring size times the segments of a request, times three. */
export const MAX_PERSISTENT_GRANTS = 1056;

/** A frame in use, or kept. Where its bytes are is looked up once. */
export class BorrowedFrame {
  readonly mapping: GrantMapping; readonly isKept: boolean;
  readonly buffer: SharedArrayBuffer; readonly at: number;
  users = 1;
  lastUse: number;
  constructor(mapping: GrantMapping, isKept: boolean, lastUse: number) {
    this.mapping = mapping; this.isKept = isKept; this.lastUse = lastUse;
    this.buffer = mapping.bytes.buffer; this.at = mapping.bytes.byteOffset;
  }
}

export class GrantCache {
  readonly #hypercalls: Pick<Dom0Hypercalls, 'gnttabMap' | 'gnttabUnmap'>;
  readonly #dom: Domid;
  readonly #persistent: boolean;
  readonly #limit: number;
  readonly #kept = new Map<GrantRef, BorrowedFrame>();
  #uses = 0;

  constructor(hypercalls: Pick<Dom0Hypercalls, 'gnttabMap' | 'gnttabUnmap'>, dom: Domid, persistent: boolean, limit = MAX_PERSISTENT_GRANTS) {
    this.#hypercalls = hypercalls; this.#dom = dom; this.#persistent = persistent; this.#limit = limit;
  }

  get keptCount(): number { return this.#kept.size; }

  /** @param readOnly the backend only reads the frame @returns -errno if the grant does not allow it */
  borrow(ref: GrantRef, readOnly: boolean): BorrowedFrame | number {
    const kept = this.#kept.get(ref);
    if (kept) {
      kept.users++;
      kept.lastUse = this.#uses++;
      return kept;
    }
    // A kept frame serves reads and writes alike, so the frontend grants it writable.
    const keep = this.#persistent && this.#makeRoom();
    const mapping = this.#hypercalls.gnttabMap(this.#dom, ref, keep ? false : readOnly);
    if (typeof mapping === 'number') return mapping;
    const frame = new BorrowedFrame(mapping, keep, this.#uses++);
    if (keep) this.#kept.set(ref, frame);
    return frame;
  }

  giveBack(frame: BorrowedFrame): void {
    if (frame.isKept) frame.users--; else this.#hypercalls.gnttabUnmap(frame.mapping);
  }

  /** Unmaps everything kept; only when no request is in flight. */
  clear(): void {
    for (const { mapping } of this.#kept.values()) this.#hypercalls.gnttabUnmap(mapping);
    this.#kept.clear();
  }

  /** Drops the frame unused for longest once the bound is reached. @returns false if all are in use */
  #makeRoom(): boolean {
    if (this.#kept.size < this.#limit) return true;
    let oldest: GrantRef | undefined, lastUse = Infinity;
    for (const [ref, kept] of this.#kept) if (kept.users === 0 && kept.lastUse < lastUse) { oldest = ref; ({ lastUse } = kept); }
    if (oldest === undefined) return false;
    this.#hypercalls.gnttabUnmap(this.#kept.get(oldest)!.mapping);
    this.#kept.delete(oldest);
    return true;
  }
}
