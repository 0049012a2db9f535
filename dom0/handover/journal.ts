// What a Dom0 that is started again after a crash must know: a list of records in memory that outlives the thread.
//
//   head   | half (1 bit) | bytes that count (30 bits) |
//   half   [records of one unit]\n [records of one unit]\n ...        as JSON
//
// Invariant: a unit counts once the head covers it. So a thread that ends anywhere leaves whole units only, and a
// compaction (a snapshot in the other half) that was cut off has not happened.
import type { Handover } from '../../hypervisor/public/handover.ts';

export type JournalRecord = readonly [kind: string, ...values: (string | number | boolean | null | object)[]];

const HALF_BIT = 1 << 30, LENGTH_MASK = HALF_BIT - 1;
const GROW_BYTES = 64 * 1024;
/** A journal is written anew when it is so many times as long as what it says, but not below the minimum. */
const SLACK = 4, COMPACT_MIN_BYTES = 512 * 1024;

export class Journal {
  readonly #head: Int32Array<SharedArrayBuffer>;
  readonly #halves: readonly SharedArrayBuffer[];
  readonly #snapshot: () => Iterable<JournalRecord>;
  #pending: JournalRecord[] = [];
  #compactAt = COMPACT_MIN_BYTES;
  #scheduled = false;

  /** @param snapshot records that say the same as the whole journal */
  constructor(area: Handover, snapshot: () => Iterable<JournalRecord>) {
    this.#head = new Int32Array(area.head);
    this.#halves = area.halves;
    this.#snapshot = snapshot;
  }

  /** All records so far, in order. */
  read(): JournalRecord[] {
    const { half, length } = this.#where();
    const text = Buffer.from(new Uint8Array(this.#halves[half]!, 0, length)).toString('utf8');
    return text.split('\n').filter(Boolean).flatMap(line => JSON.parse(line) as JournalRecord[]);
  }

  /** Remembers a record. What is noted up to flush(), or up to the end of the running callback, is one unit. */
  note(record: JournalRecord): void {
    this.#pending.push(record);
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => { this.#scheduled = false; this.flush(); });
  }

  /** To be called before what was noted has effects outside. */
  flush(): void {
    if (this.#pending.length === 0) return;
    const unit = this.#pending, { half, length } = this.#where();
    this.#pending = [];
    const end = this.#put(half, length, unit);
    this.#publish(half, end);
    if (end > this.#compactAt) this.compact();
  }

  /** Writes a snapshot in place of everything. */
  compact(): void {
    const half = 1 - this.#where().half, unit = [...this.#snapshot()];
    const end = this.#put(half, 0, unit);
    this.#pending = [];
    this.#publish(half, end);
    this.#compactAt = Math.max(COMPACT_MIN_BYTES, end * SLACK);
  }

  #where(): { half: number; length: number } {
    const head = Atomics.load(this.#head, 0);
    return { half: head & HALF_BIT ? 1 : 0, length: head & LENGTH_MASK };
  }
  #publish(half: number, length: number): void { Atomics.store(this.#head, 0, (half ? HALF_BIT : 0) | length); }

  /** @returns where the unit ends @throws RangeError the half is full */
  #put(half: number, at: number, unit: readonly JournalRecord[]): number {
    const bytes = Buffer.from(`${JSON.stringify(unit)}\n`, 'utf8'), buffer = this.#halves[half]!, end = at + bytes.length;
    if (end > buffer.byteLength) buffer.grow(Math.min(buffer.maxByteLength, Math.ceil(end / GROW_BYTES) * GROW_BYTES));
    new Uint8Array(buffer).set(bytes, at);
    return end;
  }
}
