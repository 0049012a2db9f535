// DNS messages (RFC 1035), as far as a forwarder and a client have to understand them.
import { put16, sameBytes, u16 } from './bytes.ts';

export const DNS_PORT = 53, DNS_HLEN = 12, RCODE_SERVFAIL = 2;
const QR = 0x80, RD = 0x01, RA = 0x80, OPCODE = 0x78;
const MAX_NAME_BYTES = 255;

/** @property questionEnd behind the first question */
export interface DnsQuery { readonly id: number; readonly questionEnd: number }

/** @returns undefined: no query with one question, or malformed */
export function parseDnsQuery(b: Uint8Array): DnsQuery | undefined {
  if (b.length < DNS_HLEN || (b[2]! & (QR | OPCODE)) !== 0 || u16(b, 4) !== 1) return undefined;
  const questionEnd = endOfQuestion(b);
  return questionEnd === undefined ? undefined : { id: u16(b, 0), questionEnd };
}

function endOfQuestion(b: Uint8Array): number | undefined {
  let at = DNS_HLEN;
  for (;;) {
    const length = b[at];
    // In a question there is nothing yet that a compressed name could point at.
    if (length === undefined || length > 63 || at - DNS_HLEN > MAX_NAME_BYTES) return undefined;
    at += 1 + length;
    if (length === 0) break;
  }
  return at + 4 <= b.length ? at + 4 : undefined;
}

/** Whether the message answers this question under this id. Names' letters come back as they were sent. */
export function answers(b: Uint8Array, id: number, query: Uint8Array, questionEnd: number): boolean {
  if (b.length < DNS_HLEN || u16(b, 0) !== id || (b[2]! & QR) === 0) return false;
  // A resolver that fails may leave the question out.
  if (u16(b, 4) === 0) return (b[3]! & 15) !== 0;
  return b.length >= questionEnd && sameBytes(b, DNS_HLEN, query, DNS_HLEN, questionEnd - DNS_HLEN);
}

/** "The server could not": header and question. */
export function dnsFailure(query: Uint8Array, questionEnd: number, rcode: number): Uint8Array {
  const b = query.slice(0, questionEnd);
  b[2] = QR | (b[2]! & RD);
  b[3] = RA | rcode;
  for (let at = 6; at < DNS_HLEN; at += 2) put16(b, at, 0);
  return b;
}

const TYPE_A = 1, CLASS_IN = 1, MAX_LABEL_BYTES = 63, MAX_ANSWERS = 32;
/** A question for a name's IPv4 addresses. @returns undefined: no name */
export function dnsQuestion(id: number, name: string): Uint8Array | undefined {
  const labels = name.replace(/\.$/, '').split('.').map(l => new TextEncoder().encode(l));
  if (labels.some(l => l.length === 0 || l.length > MAX_LABEL_BYTES) || labels.reduce((n, l) => n + 1 + l.length, 1) > MAX_NAME_BYTES) return undefined;
  const b = Uint8Array.from([0, 0, RD, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...labels.flatMap(l => [l.length, ...l]), 0, 0, TYPE_A, 0, CLASS_IN]);
  put16(b, 0, id);
  return b;
}
/** IPv4 addresses of a message that answers(): whatever name they are given for, as aliases lead there. Four bytes each. */
export function dnsAddresses(b: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  let at: number | undefined = u16(b, 4) === 0 ? DNS_HLEN : endOfQuestion(b);
  for (let n = Math.min(u16(b, 6), MAX_ANSWERS); n > 0 && at !== undefined; n--) {
    at = endOfName(b, at);
    if (at === undefined || at + 10 > b.length) break;
    const type = u16(b, at), kind = u16(b, at + 2), length = u16(b, at + 8), from: number = at + 10;
    if (from + length > b.length) break;
    if (type === TYPE_A && kind === CLASS_IN && length === 4) found.push(b.slice(from, from + 4));
    at = from + length;
  }
  return found;
}
/** Behind a name that may end in a pointer. */
function endOfName(b: Uint8Array, from: number): number | undefined {
  for (let at = from; at < b.length;) {
    const length = b[at]!;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2;
    if (length > MAX_LABEL_BYTES) return undefined;
    at += 1 + length;
  }
  return undefined;
}
