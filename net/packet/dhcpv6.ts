// DHCPv6 (RFC 8415): messages, options, and the identity association of one address.
import { put16, put32, u16, u32 } from './bytes.ts';

export const DHCPV6_SERVER_PORT = 547, DHCPV6_CLIENT_PORT = 546;
export const DHCPV6_SOLICIT = 1, DHCPV6_ADVERTISE = 2, DHCPV6_REQUEST = 3, DHCPV6_CONFIRM = 4, DHCPV6_RENEW = 5, DHCPV6_REBIND = 6, DHCPV6_REPLY = 7, DHCPV6_RELEASE = 8, DHCPV6_DECLINE = 9, DHCPV6_INFORMATION_REQUEST = 11;
export const OPTION_CLIENTID = 1, OPTION_SERVERID = 2, OPTION_IA_NA = 3, OPTION_IAADDR = 5, OPTION_STATUS_CODE = 13, OPTION_RAPID_COMMIT = 14, OPTION_DNS_SERVERS = 23;
export const STATUS_SUCCESS = 0, STATUS_NOT_ON_LINK = 4;
const HEADER_BYTES = 4;

export type Option = readonly [code: number, value: Uint8Array];

export interface Dhcpv6 { readonly type: number; /** Three bytes. */ readonly transaction: Uint8Array; readonly options: ReadonlyMap<number, Uint8Array> }

/** @returns undefined: malformed */
export function parseDhcpv6(b: Uint8Array): Dhcpv6 | undefined {
  if (b.length < HEADER_BYTES) return undefined;
  const options = parseOptions(b, HEADER_BYTES);
  return options && { type: b[0]!, transaction: b.slice(1, 4), options };
}

/** Of several of one kind the last. @returns undefined: malformed */
function parseOptions(b: Uint8Array, from: number): Map<number, Uint8Array> | undefined {
  const options = new Map<number, Uint8Array>();
  for (let at = from; at < b.length;) {
    if (at + 4 > b.length) return undefined;
    const end = at + 4 + u16(b, at + 2);
    if (end > b.length) return undefined;
    options.set(u16(b, at), b.slice(at + 4, end));
    at = end;
  }
  return options;
}

/** @property address that the client names, if any */
export interface IdentityAssociation { readonly id: number; readonly address: Uint8Array | undefined }
const IA_NA_BYTES = 12, IAADDR_BYTES = 24;

/** The value of an option IA_NA. @returns undefined: malformed */
export function parseIdentityAssociation(b: Uint8Array): IdentityAssociation | undefined {
  const options = b.length < IA_NA_BYTES ? undefined : parseOptions(b, IA_NA_BYTES), address = options?.get(OPTION_IAADDR);
  if (!options || (address && address.length < IAADDR_BYTES)) return undefined;
  return { id: u32(b, 0), address: address?.slice(0, 16) };
}

/** An IA_NA of one address, to be renewed after half its life. */
export function identityAssociation(id: number, address: Uint8Array, lifetimeSeconds: number): Option {
  const value = new Uint8Array(IA_NA_BYTES), one = new Uint8Array(IAADDR_BYTES);
  put32(value, 0, id);
  put32(value, 4, lifetimeSeconds / 2);
  put32(value, 8, lifetimeSeconds * 4 / 5);
  one.set(address);
  put32(one, 16, lifetimeSeconds);
  put32(one, 20, lifetimeSeconds);
  return [OPTION_IA_NA, Buffer.concat([value, encoded([[OPTION_IAADDR, one]])])];
}
export const statusCode = (status: number): Option => [OPTION_STATUS_CODE, Uint8Array.of(0, status)];

export function dhcpv6Message(type: number, transaction: Uint8Array, options: readonly Option[]): Uint8Array {
  return Buffer.concat([Uint8Array.of(type, ...transaction), encoded(options)]);
}
function encoded(options: readonly Option[]): Uint8Array {
  const b = new Uint8Array(options.reduce((n, [, value]) => n + 4 + value.length, 0));
  let at = 0;
  for (const [code, value] of options) { put16(b, at, code); put16(b, at + 2, value.length); b.set(value, at + 4); at += 4 + value.length; }
  return b;
}

/** A DUID of type 3 (link-layer address). */
export const duidOf = (mac: Uint8Array): Uint8Array => Uint8Array.of(0, 3, 0, 1, ...mac);
