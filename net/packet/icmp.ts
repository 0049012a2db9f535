// ICMP (RFC 792) and ICMPv6 (RFC 4443): echo and errors.
import { u16 } from './bytes.ts';
import { foldSum, sumBytes } from './checksum.ts';
import { IPPROTO_ICMP, IPPROTO_ICMPV6, type Ip } from './ip.ts';
import { ipFrame, upperChecksumRight, type Ends } from './udp.ts';

export const ICMP_ECHO_REPLY = 0, ICMP_DEST_UNREACH = 3, ICMP_ECHO = 8, ICMP_TIME_EXCEEDED = 11;
export const ICMPV6_DEST_UNREACH = 1, ICMPV6_TIME_EXCEEDED = 3, ICMPV6_ECHO_REQUEST = 128, ICMPV6_ECHO_REPLY = 129;
export const ICMP_HLEN = 8;

export interface Icmp { readonly type: number; readonly code: number; readonly id: number; readonly sequence: number; readonly at: number; readonly end: number }

/** Both kinds; the checksum is checked. @returns undefined: malformed */
export function parseIcmp(b: Uint8Array, ip: Ip): Icmp | undefined {
  if (ip.at + ICMP_HLEN > ip.end) return undefined;
  const right = ip.version === 4 ? foldSum(sumBytes(b, ip.at, ip.end)) === 0xffff : upperChecksumRight(b, ip, ip.end);
  return right ? { type: b[ip.at]!, code: b[ip.at + 1]!, id: u16(b, ip.at + 4), sequence: u16(b, ip.at + 6), at: ip.at + ICMP_HLEN, end: ip.end } : undefined;
}

export const icmpFrame = (ends: Ends, packet: Uint8Array, hopLimit = 64): Uint8Array =>
  ipFrame(ends, ends.source.length === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, packet, 2, hopLimit);

/** The answer to an echo request. @param request its ICMP packet, from the type on */
export function echoReply(ends: Ends, request: Uint8Array): Uint8Array {
  const reply = request.slice();
  reply[0] = ends.source.length === 4 ? ICMP_ECHO_REPLY : ICMPV6_ECHO_REPLY;
  return icmpFrame(ends, reply);
}

/** Bytes of the offending packet an error quotes: enough for its headers and ports. */
const QUOTED_BYTES = { 4: 28 + 60, 6: 1232 } as const;

/** An error about the packet whose IP header starts at `headerAt`. */
export function icmpError(ends: Ends, type: number, code: number, b: Uint8Array, ip: Ip): Uint8Array {
  const quoted = b.subarray(ip.headerAt, Math.min(ip.end, ip.headerAt + QUOTED_BYTES[ip.version]));
  const packet = new Uint8Array(ICMP_HLEN + quoted.length);
  packet[0] = type;
  packet[1] = code;
  packet.set(quoted, ICMP_HLEN);
  return icmpFrame(ends, packet);
}
