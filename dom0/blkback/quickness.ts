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

  /** @param call moves the bytes and says how many @returns whether all have been moved */
  attempt(buffers: readonly Uint8Array[], call: () => number): boolean {
    if (this.#slow > 0) { this.#slow--; return false; }
    let wanted = 0;
    for (const buffer of buffers) wanted += buffer.length;
    if (wanted > BYTES_MAX) return false;
    const start = performance.now();
    let moved: number;
    // The pool meets the same error, and reports it.
    try { moved = call(); } catch { return false; }
    if (performance.now() - start <= QUICK_MS + wanted * QUICK_MS_PER_BYTE) this.#next = SLOW_COUNT_MIN;
    else {
      this.#slow = this.#next;
      this.#next = Math.min(SLOW_COUNT_MAX, this.#next * 2);
    }
    return moved === wanted;
  }
}
