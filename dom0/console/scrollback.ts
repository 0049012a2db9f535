/** The last bytes of a stream, addressed by their position in the whole stream. */
export class Scrollback {
  readonly #limit: number;
  #buffer: Uint8Array;
  /** Position after the last byte. */
  #end = 0;

  constructor(limitBytes: number) {
    this.#limit = Math.max(1, limitBytes);
    this.#buffer = new Uint8Array(Math.min(this.#limit, 4096));
  }

  get end(): number { return this.#end; }
  /** Position of the oldest byte kept. */
  get start(): number { return Math.max(0, this.#end - this.#buffer.length); }

  append(data: Uint8Array): void {
    this.#grow(this.#end + data.length);
    const size = this.#buffer.length;
    const kept = data.subarray(Math.max(0, data.length - size));
    const at = (this.#end + data.length - kept.length) % size, first = Math.min(kept.length, size - at);
    this.#buffer.set(kept.subarray(0, first), at);
    this.#buffer.set(kept.subarray(first), 0);
    this.#end += data.length;
  }

  /** A copy of what is kept from `position` on. */
  read(position = 0, limitBytes = Infinity): Uint8Array {
    const from = Math.min(Math.max(position, this.start), this.#end), length = Math.min(this.#end - from, limitBytes), size = this.#buffer.length;
    const copy = new Uint8Array(length), at = from % size, first = Math.min(length, size - at);
    copy.set(this.#buffer.subarray(at, at + first));
    copy.set(this.#buffer.subarray(0, length - first), first);
    return copy;
  }

  /** Most consoles say little: the buffer doubles as it fills, up to the limit. */
  #grow(needed: number): void {
    let size = this.#buffer.length;
    if (needed <= size || size === this.#limit) return;
    while (size < needed && size < this.#limit) size = Math.min(this.#limit, size * 2);
    const grown = new Uint8Array(size);
    // Nothing has wrapped yet while the buffer is below its limit.
    grown.set(this.#buffer.subarray(0, Math.min(this.#end, this.#buffer.length)));
    this.#buffer = grown;
  }
}
