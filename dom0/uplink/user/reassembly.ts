// Puts fragmented packets together again (RFC 791, 8200). Overlapping parts end the packet they are of (RFC 5722).
// Invariant: at most MAX_PACKETS wait, holding at most MAX_BYTES, none longer than LIFE_MS; whose hold most lose theirs first.
import { formatMac } from '../../../net/packet/address.ts';
import { put16 } from '../../../net/packet/bytes.ts';
import type { Ip } from '../../../net/packet/ip.ts';

export const MAX_PACKETS = 64, MAX_BYTES = 1024 * 1024;
const LIFE_MS = 15_000, MAX_PAYLOAD_BYTES = 65_515;
interface Part { readonly offsetBytes: number; readonly bytes: Uint8Array }
interface Waiting { readonly sender: string; readonly parts: Part[]; totalBytes: number | undefined; heldBytes: number; readonly sinceMs: number; headers: Uint8Array | undefined }

export interface Whole { readonly bytes: Uint8Array; readonly ip: Ip }

export class Reassembly {
  readonly #packets = new Map<string, Waiting>();
  #heldBytes = 0;
  get packetCount(): number { return this.#packets.size; }
  get heldBytes(): number { return this.#heldBytes; }

  /** @returns the whole packet as one frame without extension headers, once all of it is there */
  add(b: Uint8Array, ip: Ip, nowMs: number): Whole | undefined {
    const fragment = ip.fragment!, byteCount = ip.end - ip.at;
    const sender = formatMac(b, 6);
    const key = sender + Buffer.from(b.buffer, b.byteOffset + ip.sourceAt, 2 * ip.addressBytes).toString('latin1') + `${ip.version === 4 ? ip.protocol : ''} ${fragment.id}`;
    for (const [old, w] of this.#packets) if (nowMs - w.sinceMs > LIFE_MS) this.#drop(old, w); else break;
    let waiting = this.#packets.get(key);
    const endBytes = fragment.offsetBytes + byteCount;
    if (endBytes > MAX_PAYLOAD_BYTES || byteCount === 0 || (fragment.more && byteCount % 8 !== 0)) { if (waiting) this.#drop(key, waiting); return undefined; }
    if (!waiting) this.#packets.set(key, waiting = { sender, parts: [], totalBytes: undefined, heldBytes: 0, sinceMs: nowMs, headers: undefined });
    const at = waiting.parts.findIndex(p => p.offsetBytes >= fragment.offsetBytes), index = at < 0 ? waiting.parts.length : at;
    const before = waiting.parts[index - 1], after = waiting.parts[index], last = waiting.parts.at(-1);
    if (after?.offsetBytes === fragment.offsetBytes && after.bytes.length === byteCount) return undefined;
    const wrong = (before && before.offsetBytes + before.bytes.length > fragment.offsetBytes) || (after && after.offsetBytes < endBytes)
      || (!fragment.more && last && last.offsetBytes + last.bytes.length > endBytes)
      || (!fragment.more && waiting.totalBytes !== undefined && waiting.totalBytes !== endBytes) || (waiting.totalBytes !== undefined && endBytes > waiting.totalBytes);
    if (wrong) { this.#drop(key, waiting); return undefined; }
    waiting.parts.splice(index, 0, { offsetBytes: fragment.offsetBytes, bytes: b.slice(ip.at, ip.end) });
    waiting.heldBytes += byteCount;
    this.#heldBytes += byteCount;
    if (!fragment.more) waiting.totalBytes = endBytes;
    if (fragment.offsetBytes === 0) waiting.headers = b.slice(0, ip.headerAt + (ip.version === 4 ? ip.at - ip.headerAt : 40));
    if (waiting.totalBytes !== waiting.heldBytes || !waiting.headers) { this.#bound(); return undefined; }
    this.#drop(key, waiting);
    return whole(waiting, ip);
  }

  #bound(): void {
    while (this.#packets.size > MAX_PACKETS || this.#heldBytes > MAX_BYTES) {
      const largest = this.#largestSender();
      for (const [key, waiting] of this.#packets) if (waiting.sender === largest) { this.#drop(key, waiting); break; }
    }
  }
  /** Shares of what both limits count. */
  #largestSender(): string | undefined {
    const shares = new Map<string, number>();
    for (const { sender, heldBytes } of this.#packets.values()) shares.set(sender, (shares.get(sender) ?? 0) + 1 / MAX_PACKETS + heldBytes / MAX_BYTES);
    let largest: string | undefined;
    for (const [sender, share] of shares) if (largest === undefined || share > shares.get(largest)!) largest = sender;
    return largest;
  }
  #drop(key: string, waiting: Waiting): void {
    if (this.#packets.delete(key)) this.#heldBytes -= waiting.heldBytes;
  }
}

function whole({ parts, headers, totalBytes }: Waiting, ip: Ip): Whole {
  const head = headers!, at = head.length, bytes = new Uint8Array(at + totalBytes!);
  bytes.set(head);
  for (const part of parts) bytes.set(part.bytes, at + part.offsetBytes);
  const ipAt = ip.headerAt;
  if (ip.version === 4) { put16(bytes, ipAt + 2, bytes.length - ipAt); put16(bytes, ipAt + 6, 0); }
  else put16(bytes, ipAt + 4, bytes.length - at);
  return { bytes, ip: { ...ip, headerAt: ipAt, at, end: bytes.length, fragment: undefined } };
}
