// Messages as bytes (io/xs_wire.h). Clients are hostile: lengths are checked before anything is kept.
import { XENSTORE_PAYLOAD_MAX, xsd_sockmsg } from '../../hypervisor/public/io/xs_wire.ts';

export interface WireMessage {
  readonly type: number; readonly reqId: number; readonly txId: number;
  /** One character per octet. */
  readonly payload: string;
}

/** The peer broke the protocol so that message borders are lost; the connection is of no more use. */
export class WireError extends Error {}

const HEADER_BYTES = xsd_sockmsg.sizeof;

/** Puts messages together from a byte stream cut anywhere. */
export class WireParser {
  readonly #buffer = Buffer.alloc(HEADER_BYTES + XENSTORE_PAYLOAD_MAX);
  #used = 0;
  #needed: number = HEADER_BYTES;

  /** Bytes that the message in hand still lacks, as far as known: what to read next, and no more. Never 0. */
  get wanted(): number { return this.#needed - this.#used; }
  get midMessage(): boolean { return this.#used > 0; }

  /**
   * @param chunk at most `wanted` bytes; copied
   * @returns the message that it completes
   * @throws WireError payload longer than XENSTORE_PAYLOAD_MAX
   */
  push(chunk: Uint8Array): WireMessage | undefined {
    this.#buffer.set(chunk, this.#used);
    this.#used += chunk.length;
    if (this.#used < this.#needed) return undefined;
    if (this.#needed === HEADER_BYTES) {
      const len = this.#buffer.readUInt32LE(xsd_sockmsg.len);
      if (len > XENSTORE_PAYLOAD_MAX) throw new WireError(`a payload of ${len} bytes is announced; at most ${XENSTORE_PAYLOAD_MAX} are allowed`);
      this.#needed = HEADER_BYTES + len;
      if (len > 0) return undefined;
    }
    const message: WireMessage = {
      type: this.#buffer.readUInt32LE(xsd_sockmsg.type), reqId: this.#buffer.readUInt32LE(xsd_sockmsg.req_id),
      txId: this.#buffer.readUInt32LE(xsd_sockmsg.tx_id), payload: this.#buffer.toString('latin1', HEADER_BYTES, this.#needed),
    };
    this.reset();
    return message;
  }

  /** What has come of a message in part. */
  get partial(): Uint8Array { return this.#buffer.subarray(0, this.#used); }
  /** Goes on with what another parser had of a message. */
  resume(partial: Uint8Array): void {
    for (let at = 0; at < partial.length;) {
      const chunk = partial.subarray(at, at + this.wanted);
      at += chunk.length;
      this.push(chunk);
    }
  }
  /** Forgets a message received in part. */
  reset(): void { this.#used = 0; this.#needed = HEADER_BYTES; }
}

export function encodeMessage({ type, reqId, txId, payload }: WireMessage): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + payload.length);
  bytes.writeUInt32LE(type, xsd_sockmsg.type);
  bytes.writeUInt32LE(reqId, xsd_sockmsg.req_id);
  bytes.writeUInt32LE(txId, xsd_sockmsg.tx_id);
  bytes.writeUInt32LE(payload.length, xsd_sockmsg.len);
  bytes.write(payload, HEADER_BYTES, 'latin1');
  return bytes;
}

/** The NUL-terminated strings of a payload; what follows the last NUL is ignored. */
export function stringsOf(payload: string): string[] {
  const strings = payload.split('\0');
  strings.pop();
  return strings;
}

/** The one string of a payload whose only NUL is its last octet; undefined otherwise. */
export const oneString = (payload: string): string | undefined =>
  payload.length > 0 && payload.indexOf('\0') === payload.length - 1 ? payload.slice(0, -1) : undefined;
