// Ethernet frames in a byte stream, each behind its length in four big-endian bytes: what passt and QEMU's stream
// netdev speak.
import { MAX_FRAME_BYTES } from '../../switch/port.ts';
import { put32, u32 } from '../../../net/packet/bytes.ts';

export const LENGTH_BYTES = 4;

/** Cuts frames out of a stream. Holds at most one frame that is not whole yet. */
export class FrameReader {
  #rest: Uint8Array = new Uint8Array(0);
  readonly #onFrame: (bytes: Uint8Array) => void;

  /** @param onFrame is handed bytes that are its own until it returns */
  constructor(onFrame: (bytes: Uint8Array) => void) { this.#onFrame = onFrame; }

  /** @returns false: a length no frame has; the stream cannot be followed any further */
  feed(chunk: Uint8Array): boolean {
    const b = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at + LENGTH_BYTES <= b.length) {
      const count = u32(b, at);
      if (count === 0 || count > MAX_FRAME_BYTES) return false;
      if (at + LENGTH_BYTES + count > b.length) break;
      this.#onFrame(b.subarray(at + LENGTH_BYTES, at + LENGTH_BYTES + count));
      at += LENGTH_BYTES + count;
    }
    this.#rest = at === b.length ? new Uint8Array(0) : b.slice(at);
    return true;
  }
}

/** A frame as the stream carries it. */
export function framed(bytes: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(LENGTH_BYTES + bytes.length);
  put32(out, 0, bytes.length);
  out.set(bytes, LENGTH_BYTES);
  return out;
}
