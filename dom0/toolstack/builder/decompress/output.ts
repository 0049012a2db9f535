/** A sentence about damaged or refused compressed data, without naming the file (the caller knows it). */
export class DecompressError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'DecompressError';
  }
}

/** What every decoder takes: the most bytes it may produce, and how many to expect if that is known. */
export interface DecompressLimits {
  readonly maxBytes: number;
  /** First allocation, in bytes; only a hint, clipped to maxBytes. */
  readonly expectedBytes?: number;
}

/** Bytes beyond `length` that decoders may scribble over, so that inner loops need not test every byte. */
const SLACK = 64;

/** Growing output, bounded by `maxBytes`. `bytes` moves when it grows: read it again after `reserve`. */
export class Output {
  bytes: Uint8Array;
  length = 0;
  readonly maxBytes: number;

  constructor(limits: DecompressLimits) {
    this.maxBytes = limits.maxBytes;
    this.bytes = new Uint8Array(Math.min(limits.maxBytes, Math.max(limits.expectedBytes ?? 0, 0x10000)) + SLACK);
  }

  /** Makes room for `count` more bytes. Throws when that would pass the bound. */
  reserve(count: number): Uint8Array {
    const needed = this.length + count;
    if (needed > this.maxBytes) throw new DecompressError(`it unpacks to more than ${Math.floor(this.maxBytes / 0x100000)} MiB`);
    if (needed + SLACK > this.bytes.length) {
      const grown = new Uint8Array(Math.min(this.maxBytes, Math.max(needed, this.bytes.length * 2)) + SLACK);
      grown.set(this.bytes.subarray(0, this.length));
      this.bytes = grown;
    }
    return this.bytes;
  }

  finish(): Uint8Array {
    return this.bytes.subarray(0, this.length);
  }
}
