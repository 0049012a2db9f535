// Whether a file's data comes from the page cache: the thread pool costs several times what such a read takes, and a read
// that waits for the medium holds up all of Dom0. Node has no preadv2(RWF_NOWAIT), so it is tried: after one that took
// longer than copying does, the next ones go through the pool, twice as many after each further one.

/** A read of a page takes two to five microseconds, of a megabyte a hundred and more; a solid-state disk takes a hundred before it begins. */
const QUICK_MS = 0.08, QUICK_MS_PER_BYTE = 0.4 / 2 ** 20;
const SLOW_COUNT_MIN = 32, SLOW_COUNT_MAX = 4096;
/** Larger ones would hold up others. */
const BYTES_MAX = 1 << 20;

export class Quickness {
  /** Requests that are not tried. */
  #slow = 0;
  #next = SLOW_COUNT_MIN;

  /** Whether to try one of so many bytes: took() is due then, unless it failed. */
  mayTry(byteCount: number): boolean {
    if (this.#slow > 0) { this.#slow--; return false; }
    return byteCount <= BYTES_MAX;
  }
  took(ms: number, byteCount: number): void {
    if (ms <= QUICK_MS + byteCount * QUICK_MS_PER_BYTE) { this.#next = SLOW_COUNT_MIN; return; }
    this.#slow = this.#next;
    this.#next = Math.min(SLOW_COUNT_MAX, this.#next * 2);
  }
}
