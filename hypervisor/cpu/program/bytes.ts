// Reading and writing the binary format of WebAssembly. A module is hostile: whatever ends too early is said so.

/** What is wrong with a module, as a sentence for the console ring. */
export class ModuleError extends Error {}

export class Reader {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;
  constructor(bytes: Uint8Array, at = 0, end = bytes.length) { this.bytes = bytes; this.at = at; this.end = end; }

  get done(): boolean { return this.at >= this.end; }
  get left(): number { return this.end - this.at; }
  /** What is left, to be read another time. */
  again(): Reader { return new Reader(this.bytes, this.at, this.end); }
  byte(): number {
    if (this.at >= this.end) throw new ModuleError('the module ends in the middle of something');
    return this.bytes[this.at++]!;
  }
  /** Unsigned LEB128 of up to 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const b = this.byte();
      value += (b & 0x7f) * 2 ** shift;
      if (!(b & 0x80)) { if (value > 0xffff_ffff) break; return value; }
    }
    throw new ModuleError('a number of more than 32 bits');
  }
  /** Signed LEB128 of up to 32 bits. */
  s32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const b = this.byte();
      value |= (b & 0x7f) << shift;
      if (!(b & 0x80)) return shift < 28 && b & 0x40 ? value | -1 << shift + 7 : value;
    }
    throw new ModuleError('a number of more than 32 bits');
  }
  /** Goes over a LEB128 number of either kind. */
  skipNumber(): void {
    for (let n = 0; n < 10; n++) if (!(this.byte() & 0x80)) return;
    throw new ModuleError('a number of more than 64 bits');
  }
  skip(count: number): void {
    if (count > this.end - this.at) throw new ModuleError('the module ends in the middle of something');
    this.at += count;
  }
  /** The next `count` bytes as a reader of their own. */
  part(count: number): Reader {
    const at = this.at;
    this.skip(count);
    return new Reader(this.bytes, at, at + count);
  }
  name(): string {
    const { at, end } = this.part(this.u32());
    return new TextDecoder().decode(this.bytes.slice(at, end));
  }
}

export class Writer {
  #bytes = new Uint8Array(1024);
  length = 0;

  #room(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
  }
  byte(b: number): void { this.#room(1); this.#bytes[this.length++] = b; }
  bytes(data: Uint8Array | readonly number[]): void {
    this.#room(data.length);
    this.#bytes.set(data, this.length);
    this.length += data.length;
  }
  u32(value: number): void {
    this.#room(5);
    for (; value >= 0x80; value = Math.floor(value / 128)) this.#bytes[this.length++] = value % 128 | 0x80;
    this.#bytes[this.length++] = value;
  }
  s32(value: number): void {
    for (let n = value | 0; ; n >>= 7) {
      const b = n & 0x7f, rest = n >> 7;
      if (rest === 0 && !(b & 0x40) || rest === -1 && b & 0x40) { this.byte(b); return; }
      this.byte(b | 0x80);
    }
  }
  name(text: string): void { const data = new TextEncoder().encode(text); this.u32(data.length); this.bytes(data); }
  /** What lies between two places of a reader, as it is. */
  copy(r: Reader, from: number): void { this.bytes(r.bytes.subarray(from, r.at)); }
  /** What another writer holds, behind its length. */
  sized(other: Writer): void { this.u32(other.length); this.bytes(other.taken()); }
  taken(): Uint8Array<ArrayBuffer> { return this.#bytes.subarray(0, this.length); }
}
