// UDP (RFC 768), and what UDP and ICMP share: whole packets with finished checksums.
import { put16, u16 } from './bytes.ts';
import { foldSum, pseudoSum, sumBytes } from './checksum.ts';
import { ETH_HLEN, writeEthernet } from './ethernet.ts';
import { etherTypeOf, IPPROTO_ICMP, IPPROTO_UDP, ipHeaderBytes, writeIp, type Ip } from './ip.ts';

export const UDP_HLEN = 8;

/** Payload from `at` to `end`. */
export interface Udp { readonly sourcePort: number; readonly destinationPort: number; readonly at: number; readonly end: number }

/** @param verify the checksum is there and has to be right @returns undefined: malformed */
export function parseUdp(b: Uint8Array, ip: Ip, verify: boolean): Udp | undefined {
  if (ip.at + UDP_HLEN > ip.end) return undefined;
  const byteCount = u16(b, ip.at + 4);
  if (byteCount < UDP_HLEN || ip.at + byteCount > ip.end) return undefined;
  const checksum = u16(b, ip.at + 6);
  if (checksum === 0 && ip.version === 6 && verify) return undefined;
  if (verify && checksum !== 0 && !upperChecksumRight(b, ip, ip.at + byteCount)) return undefined;
  return { sourcePort: u16(b, ip.at), destinationPort: u16(b, ip.at + 2), at: ip.at + UDP_HLEN, end: ip.at + byteCount };
}

/** Whether the checksum over pseudo-header and payload up to `end` comes out. */
export const upperChecksumRight = (b: Uint8Array, ip: Ip, end: number): boolean =>
  foldSum(sumBytes(b, ip.at, end, pseudoSum(b, ip.sourceAt, ip.destinationAt, ip.addressBytes, ip.protocol, end - ip.at))) === 0xffff;

export interface Ends { readonly sourceMac: Uint8Array; readonly destinationMac: Uint8Array; readonly source: Uint8Array; readonly destination: Uint8Array }

/** A whole frame around an upper-layer packet, whose checksum (two bytes at `checksumOffset`) is filled in. */
export function ipFrame(ends: Ends, protocol: number, packet: Uint8Array, checksumOffset: number, hopLimit = 64): Uint8Array {
  const { source, destination } = ends, headerBytes = ipHeaderBytes(source), at = ETH_HLEN + headerBytes;
  const b = new Uint8Array(at + packet.length);
  writeEthernet(b, ends.destinationMac, ends.sourceMac, etherTypeOf(source));
  writeIp(b, ETH_HLEN, { source, destination, protocol, payloadBytes: packet.length, hopLimit });
  b.set(packet, at);
  put16(b, at + checksumOffset, 0);
  // ICMP alone has no pseudo-header.
  const start = protocol === IPPROTO_ICMP ? 0 : pseudoSum(b, at - 2 * source.length, at - source.length, source.length, protocol, packet.length);
  const value = ~foldSum(sumBytes(b, at, b.length, start)) & 0xffff;
  put16(b, at + checksumOffset, value === 0 && protocol === IPPROTO_UDP ? 0xffff : value);
  return b;
}

/** Header and payload; ipFrame() fills the checksum in. */
export function udpPacket(sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const b = new Uint8Array(UDP_HLEN + payload.length);
  put16(b, 0, sourcePort);
  put16(b, 2, destinationPort);
  put16(b, 4, b.length);
  b.set(payload, UDP_HLEN);
  return b;
}
export const UDP_CHECKSUM_AT = 6;
export const udpFrame = (ends: Ends, sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array =>
  ipFrame(ends, IPPROTO_UDP, udpPacket(sourcePort, destinationPort, payload), UDP_CHECKSUM_AT);
