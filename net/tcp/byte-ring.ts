// Bytes that wait to be acknowledged: a ring that grows with what is in it and lets its memory go when it is empty.
const MIN_BYTES = 4096;
/** An empty ring larger than this is given back. */
const KEPT_BYTES = 16_384;

export class ByteRing {
  #bytes: Uint8Array = new Uint8Array(0);
  #head = 0;
  #size = 0;

  get size(): number { return this.#size; }
  get capacity(): number { return this.#bytes.length; }

  write(source: Uint8Array): void {
    if (this.#size + source.length > this.#bytes.length) this.#grow(this.#size + source.length);
    const at = (this.#head + this.#size) % this.#bytes.length, first = Math.min(source.length, this.#bytes.length - at);
    this.#bytes.set(first === source.length ? source : source.subarray(0, first), at);
    if (first < source.length) this.#bytes.set(source.subarray(first), 0);
    this.#size += source.length;
  }

  /** Copies bytes `offset` to `offset + count`, which have to be there. */
  copyTo(target: Uint8Array, at: number, offset: number, count: number): void {
    if (count === 0) return;
    const from = (this.#head + offset) % this.#bytes.length, first = Math.min(count, this.#bytes.length - from);
    target.set(this.#bytes.subarray(from, from + first), at);
    if (first < count) target.set(this.#bytes.subarray(0, count - first), at + first);
  }

  consume(count: number): void {
    this.#size -= count;
    this.#head = this.#size === 0 ? 0 : (this.#head + count) % this.#bytes.length;
    if (this.#size === 0 && this.#bytes.length > KEPT_BYTES) this.#bytes = new Uint8Array(0);
  }

  #grow(needed: number): void {
    let capacity = Math.max(MIN_BYTES, this.#bytes.length);
    while (capacity < needed) capacity *= 2;
    const grown = new Uint8Array(capacity);
    this.copyTo(grown, 0, 0, this.#size);
    this.#bytes = grown;
    this.#head = 0;
  }
}
