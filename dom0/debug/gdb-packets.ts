// Packets of GDB's remote serial protocol: `$data#checksum`, with '}' escapes, acknowledgements and the lone 0x03 of
// an interrupt. The other end is not trusted: a packet that grows too long or does not parse is dropped.

/** Longest packet taken, and what is announced. */
export const PACKET_BYTES = 0x4000;

export type GdbInput = { readonly kind: 'packet'; readonly data: Buffer } | { readonly kind: 'interrupt' | 'ack' | 'nak' | 'bad' };

const CODE = { interrupt: 3, hash: 0x23, dollar: 0x24, plus: 0x2b, minus: 0x2d, escape: 0x7d } as const;
const ESCAPED_BIT = 0x20;
const hexValue = (c: number): number => {
  const text = String.fromCharCode(c);
  return /[0-9a-fA-F]/.test(text) ? parseInt(text, 16) : -1;
};
const sum = (data: Uint8Array): number => data.reduce((total, byte) => total + byte & 0xff, 0);

/** Cuts a byte stream into what it says. */
export class PacketReader {
  readonly #raw = Buffer.alloc(PACKET_BYTES);
  #length = 0;
  #state: 'outside' | 'data' | 'overlong' | 'first' | 'second' = 'outside';
  #checksum = 0;

  feed(bytes: Uint8Array): GdbInput[] {
    const out: GdbInput[] = [];
    for (const byte of bytes) {
      const input = this.#take(byte);
      if (input) out.push(input);
    }
    return out;
  }
  #take(byte: number): GdbInput | undefined {
    switch (this.#state) {
      case 'outside':
        if (byte === CODE.dollar) { this.#state = 'data'; this.#length = 0; }
        return byte === CODE.interrupt ? { kind: 'interrupt' } : byte === CODE.plus ? { kind: 'ack' } : byte === CODE.minus ? { kind: 'nak' } : undefined;
      case 'overlong':
        if (byte !== CODE.hash) return undefined;
        this.#state = 'outside';
        return { kind: 'bad' };
      case 'data':
        if (byte === CODE.dollar) this.#length = 0;
        else if (byte === CODE.hash) this.#state = 'first';
        else if (this.#length === PACKET_BYTES) this.#state = 'overlong';
        else this.#raw[this.#length++] = byte;
        return undefined;
      case 'first':
        this.#checksum = hexValue(byte);
        this.#state = 'second';
        return undefined;
      case 'second': {
        const low = hexValue(byte), raw = this.#raw.subarray(0, this.#length);
        this.#state = 'outside';
        if (this.#checksum < 0 || low < 0 || this.#checksum * 16 + low !== sum(raw)) return { kind: 'bad' };
        return { kind: 'packet', data: unescape(raw) };
      }
    }
  }
}

function unescape(raw: Uint8Array): Buffer {
  const out = Buffer.alloc(raw.length);
  let n = 0;
  for (let i = 0; i < raw.length; i++) out[n++] = raw[i] === CODE.escape && i + 1 < raw.length ? raw[++i]! ^ ESCAPED_BIT : raw[i]!;
  return out.subarray(0, n);
}

/** A packet with this text (latin1), ready to send. */
export function framePacket(text: string): Buffer {
  const data = Buffer.from(text.replace(/[#$}*]/g, c => `}${String.fromCharCode(c.charCodeAt(0) ^ ESCAPED_BIT)}`), 'latin1');
  return Buffer.concat([Buffer.from('$'), data, Buffer.from(`#${sum(data).toString(16).padStart(2, '0')}`)]);
}
