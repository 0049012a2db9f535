// IPv4 (RFC 791) and IPv6 (RFC 8200) headers.
import { put16, put32, u16, u32 } from './bytes.ts';
import { checksumOf, foldSum, sumBytes } from './checksum.ts';
import { ETH_P_IP, ETH_P_IPV6 } from './ethernet.ts';

export const IPPROTO_ICMP = 1, IPPROTO_TCP = 6, IPPROTO_UDP = 17, IPPROTO_ICMPV6 = 58;
const IPPROTO_HOPOPTS = 0, IPPROTO_ROUTING = 43, IPPROTO_FRAGMENT = 44, IPPROTO_DSTOPTS = 60;
export const IPV4_HLEN = 20, IPV6_HLEN = 40;
const IP_DF = 0x4000, IP_MF = 0x2000, IP_OFFSET = 0x1fff;
const MAX_EXTENSIONS = 8;
const DEFAULT_TTL = 64;

/** Where a packet's parts lie, in bytes from the frame's start. */
export interface Ip {
  readonly version: 4 | 6;
  readonly headerAt: number;
  readonly sourceAt: number;
  readonly destinationAt: number;
  /** 4 or 16. */
  readonly addressBytes: number;
  /** Of the payload, behind extension headers. */
  readonly protocol: number;
  readonly at: number;
  readonly end: number;
  readonly hopLimit: number;
  readonly fragment: Fragment | undefined;
}
/** @property offsetBytes of this part in the whole payload */
export interface Fragment { readonly id: number; readonly offsetBytes: number; readonly more: boolean }

/** @param type EtherType @returns undefined: neither, or malformed; the IPv4 header's checksum is checked */
export function parseIp(b: Uint8Array, at: number, type: number): Ip | undefined {
  return type === ETH_P_IP ? parseIpv4(b, at) : type === ETH_P_IPV6 ? parseIpv6(b, at) : undefined;
}

export function parseIpv4(b: Uint8Array, at: number): Ip | undefined {
  if (b.length < at + IPV4_HLEN || b[at]! >> 4 !== 4) return undefined;
  const headerBytes = (b[at]! & 15) * 4, total = u16(b, at + 2);
  if (headerBytes < IPV4_HLEN || total < headerBytes || at + total > b.length) return undefined;
  if (foldSum(sumBytes(b, at, at + headerBytes)) !== 0xffff) return undefined;
  const field = u16(b, at + 6), offsetBytes = (field & IP_OFFSET) * 8, more = (field & IP_MF) !== 0;
  return {
    version: 4, headerAt: at, sourceAt: at + 12, destinationAt: at + 16, addressBytes: 4, protocol: b[at + 9]!, at: at + headerBytes, end: at + total, hopLimit: b[at + 8]!,
    fragment: more || offsetBytes > 0 ? { id: u16(b, at + 4), offsetBytes, more } : undefined,
  };
}

export function parseIpv6(b: Uint8Array, at: number): Ip | undefined {
  if (b.length < at + IPV6_HLEN || b[at]! >> 4 !== 6) return undefined;
  const end = at + IPV6_HLEN + u16(b, at + 4);
  if (end > b.length) return undefined;
  let next = b[at + 6]!, here = at + IPV6_HLEN, fragment: Fragment | undefined;
  for (let n = 0; next === IPPROTO_HOPOPTS || next === IPPROTO_ROUTING || next === IPPROTO_DSTOPTS || next === IPPROTO_FRAGMENT; n++) {
    if (n === MAX_EXTENSIONS || here + 8 > end) return undefined;
    const isFragment = next === IPPROTO_FRAGMENT;
    if (isFragment) fragment = { id: u32(b, here + 4), offsetBytes: u16(b, here + 2) & 0xfff8, more: (b[here + 3]! & 1) !== 0 };
    next = b[here]!;
    here += isFragment ? 8 : (b[here + 1]! + 1) * 8;
    if (here > end) return undefined;
    // Behind a later fragment's header lies payload, whatever the next-header field says.
    if (fragment && fragment.offsetBytes > 0) break;
  }
  if (fragment && !fragment.more && fragment.offsetBytes === 0) fragment = undefined;
  return { version: 6, headerAt: at, sourceAt: at + 8, destinationAt: at + 24, addressBytes: 16, protocol: next, at: here, end, hopLimit: b[at + 7]!, fragment };
}

export interface IpHeader {
  /** 4 or 16 bytes each. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  readonly protocol: number;
  readonly payloadBytes: number;
  readonly hopLimit?: number;
  readonly id?: number;
  /** IPv4 only; without it the packet may not be fragmented. */
  readonly fragment?: { readonly offsetBytes: number; readonly more: boolean };
}
export const ipHeaderBytes = (address: Uint8Array): number => address.length === 4 ? IPV4_HLEN : IPV6_HLEN;
export const etherTypeOf = (address: Uint8Array): number => address.length === 4 ? ETH_P_IP : ETH_P_IPV6;

export function writeIp(b: Uint8Array, at: number, header: IpHeader): void {
  if (header.source.length === 4) writeIpv4(b, at, header); else writeIpv6(b, at, header);
}

function writeIpv4(b: Uint8Array, at: number, { source, destination, protocol, payloadBytes, hopLimit = DEFAULT_TTL, id = 0, fragment }: IpHeader): void {
  put16(b, at, 0x4500);
  put16(b, at + 2, IPV4_HLEN + payloadBytes);
  put16(b, at + 4, id);
  put16(b, at + 6, fragment ? fragment.offsetBytes / 8 | (fragment.more ? IP_MF : 0) : IP_DF);
  b[at + 8] = hopLimit;
  b[at + 9] = protocol;
  put16(b, at + 10, 0);
  b.set(source, at + 12);
  b.set(destination, at + 16);
  put16(b, at + 10, checksumOf(b, at, at + IPV4_HLEN));
}

function writeIpv6(b: Uint8Array, at: number, { source, destination, protocol, payloadBytes, hopLimit = DEFAULT_TTL }: IpHeader): void {
  put32(b, at, 0x6000_0000);
  put16(b, at + 4, payloadBytes);
  b[at + 6] = protocol;
  b[at + 7] = hopLimit;
  b.set(source, at + 8);
  b.set(destination, at + 24);
}

/** The header that makes one packet of IPv6 a part. Eight bytes. */
export function writeFragmentHeader(b: Uint8Array, at: number, next: number, { id, offsetBytes, more }: Fragment): void {
  b[at] = next;
  b[at + 1] = 0;
  put16(b, at + 2, offsetBytes | (more ? 1 : 0));
  put32(b, at + 4, id);
}
export { IPPROTO_FRAGMENT };
