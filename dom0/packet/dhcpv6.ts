// DHCPv6 (RFC 8415), the stateless half: a client asks for parameters, addresses come from router advertisements.
import { put16, u16 } from './bytes.ts';

export const DHCPV6_SERVER_PORT = 547, DHCPV6_CLIENT_PORT = 546;
export const DHCPV6_REPLY = 7, DHCPV6_INFORMATION_REQUEST = 11;
export const OPTION_CLIENTID = 1, OPTION_SERVERID = 2, OPTION_DNS_SERVERS = 23;
const HEADER_BYTES = 4;

export interface Dhcpv6 { readonly type: number; /** Three bytes. */ readonly transaction: Uint8Array; readonly options: ReadonlyMap<number, Uint8Array> }

/** @returns undefined: malformed */
export function parseDhcpv6(b: Uint8Array): Dhcpv6 | undefined {
  if (b.length < HEADER_BYTES) return undefined;
  const options = new Map<number, Uint8Array>();
  for (let at = HEADER_BYTES; at < b.length;) {
    if (at + 4 > b.length) return undefined;
    const end = at + 4 + u16(b, at + 2);
    if (end > b.length) return undefined;
    options.set(u16(b, at), b.slice(at + 4, end));
    at = end;
  }
  return { type: b[0]!, transaction: b.slice(1, 4), options };
}

export function dhcpv6Message(type: number, transaction: Uint8Array, options: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  const b = new Uint8Array(HEADER_BYTES + options.reduce((n, [, value]) => n + 4 + value.length, 0));
  b[0] = type;
  b.set(transaction, 1);
  let at = HEADER_BYTES;
  for (const [code, value] of options) { put16(b, at, code); put16(b, at + 2, value.length); b.set(value, at + 4); at += 4 + value.length; }
  return b;
}

/** A DUID of type 3 (link-layer address). */
export const duidOf = (mac: Uint8Array): Uint8Array => Uint8Array.of(0, 3, 0, 1, ...mac);
