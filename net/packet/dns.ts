// DNS messages (RFC 1035), as far as a forwarder has to understand them.
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
