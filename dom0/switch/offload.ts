// What network hardware does for a sender: finishing checksums and cutting large TCP segments. Here it happens where
// a frame leaves for a port that asked for plain ones. Headers come from guests: every length is checked.
import { ETHERNET_HEADER_BYTES, type Frame, type PortAbilities } from './port.ts';

const ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd, ETH_P_8021Q = 0x8100;
const IPPROTO_TCP = 6, IPPROTO_UDP = 17;
/** IPv6 extension headers that may stand before TCP: hop-by-hop, routing, destination options. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60]);
const MAX_EXTENSIONS = 8;
const FIN_PSH = 0x09, CWR = 0x80;

/** Where the headers of a TCP or UDP packet lie, in bytes from the frame's start. */
export interface L4 { readonly version: 4 | 6; readonly ip: number; readonly at: number; readonly end: number; readonly protocol: 6 | 17 }

const u16 = (b: Uint8Array, at: number): number => b[at]! << 8 | b[at + 1]!;
const put16 = (b: Uint8Array, at: number, value: number): void => { b[at] = value >> 8; b[at + 1] = value; };

/** @returns undefined if the frame holds no whole, unfragmented TCP or UDP header */
export function findL4(b: Uint8Array): L4 | undefined {
  let ip = ETHERNET_HEADER_BYTES, type = u16(b, 12);
  if (type === ETH_P_8021Q && b.length >= 18) { type = u16(b, 16); ip = 18; }
  if (type === ETH_P_IP) {
    if (b.length < ip + 20 || b[ip]! >> 4 !== 4) return undefined;
    const headerBytes = (b[ip]! & 15) * 4, end = ip + u16(b, ip + 2);
    if (headerBytes < 20 || (u16(b, ip + 6) & 0x3fff) !== 0) return undefined;
    return checkedL4(b, { version: 4, ip, at: ip + headerBytes, end: Math.min(end, b.length), protocol: b[ip + 9]! });
  }
  if (type !== ETH_P_IPV6 || b.length < ip + 40 || b[ip]! >> 4 !== 6) return undefined;
  const end = Math.min(ip + 40 + u16(b, ip + 4), b.length);
  let next = b[ip + 6]!, at = ip + 40;
  for (let n = 0; EXTENSIONS.has(next); n++) {
    if (n === MAX_EXTENSIONS || at + 8 > end) return undefined;
    next = b[at]!;
    at += (b[at + 1]! + 1) * 8;
  }
  return checkedL4(b, { version: 6, ip, at, end, protocol: next });
}

function checkedL4(b: Uint8Array, l4: Omit<L4, 'protocol'> & { protocol: number }): L4 | undefined {
  const { at, end, protocol } = l4;
  if (protocol === IPPROTO_UDP) return at + 8 <= end ? { ...l4, protocol } : undefined;
  if (protocol !== IPPROTO_TCP || at + 20 > end) return undefined;
  const headerBytes = (b[at + 12]! >> 4) * 4;
  return headerBytes >= 20 && at + headerBytes <= end ? { ...l4, protocol } : undefined;
}

/** Ones' complement sum of 16-bit words, not folded below 2^32. */
function sum(b: Uint8Array, from: number, to: number, start = 0): number {
  let total = start, at = from;
  for (; at + 1 < to; at += 2) total += b[at]! << 8 | b[at + 1]!;
  return at < to ? total + (b[at]! << 8) : total;
}
function fold(total: number): number {
  while (total > 0xffff) total = (total % 0x10000) + Math.floor(total / 0x10000);
  return total;
}

/** Sum of the pseudo-header, for `byteCount` bytes of TCP or UDP. */
function pseudoSum(b: Uint8Array, { version, ip, protocol }: L4, byteCount: number): number {
  const [from, to] = version === 4 ? [ip + 12, ip + 20] : [ip + 8, ip + 40];
  return sum(b, from, to, protocol + byteCount);
}
const checksumAt = (l4: L4): number => l4.at + (l4.protocol === IPPROTO_TCP ? 16 : 6);

function writeChecksum(b: Uint8Array, l4: L4): void {
  const at = checksumAt(l4);
  put16(b, at, 0);
  const value = ~fold(sum(b, l4.at, l4.end, pseudoSum(b, l4, l4.end - l4.at))) & 0xffff;
  put16(b, at, value === 0 && l4.protocol === IPPROTO_UDP ? 0xffff : value);
}

function writeIpv4Checksum(b: Uint8Array, l4: L4): void {
  put16(b, l4.ip + 10, 0);
  put16(b, l4.ip + 10, ~fold(sum(b, l4.ip, l4.ip + (b[l4.ip]! & 15) * 4)) & 0xffff);
}

/** Puts the pseudo-header's sum where a `blank` checksum has it. @returns false if there is no TCP or UDP header */
export function blankChecksum(b: Uint8Array): boolean {
  const l4 = findL4(b);
  if (!l4) return false;
  put16(b, checksumAt(l4), fold(pseudoSum(b, l4, l4.end - l4.at)));
  return true;
}

/** A copy whose checksum is there; frames without TCP or UDP as they are. */
export function withChecksum(frame: Frame): Frame {
  if (frame.checksum !== 'blank') return frame;
  const l4 = findL4(frame.bytes);
  if (!l4) return { ...frame, checksum: 'complete' };
  const bytes = frame.bytes.slice();
  writeChecksum(bytes, l4);
  return { ...frame, bytes, checksum: 'valid' };
}

/** Segments of a large TCP packet, with finished checksums. Nothing if it is no TCP packet of the kind it claims. */
export function segments(frame: Frame): Frame[] {
  const { bytes, gso } = frame;
  if (!gso) return [withChecksum(frame)];
  const l4 = findL4(bytes);
  if (!l4 || l4.protocol !== IPPROTO_TCP || (gso.type === 'tcpv4') !== (l4.version === 4) || gso.size < 1) return [];
  const headerBytes = l4.at + (bytes[l4.at + 12]! >> 4) * 4, payloadBytes = l4.end - headerBytes;
  const out: Frame[] = [];
  for (let from = 0, index = 0; from === 0 || from < payloadBytes; from += gso.size, index++) {
    const count = Math.min(gso.size, payloadBytes - from), last = from + count >= payloadBytes;
    out.push({ bytes: segment(bytes, l4, headerBytes, { from, count, index, last }), checksum: 'valid' });
  }
  return out;
}

function segment(bytes: Uint8Array, l4: L4, headerBytes: number, part: { from: number; count: number; index: number; last: boolean }): Uint8Array {
  const { from, count, index, last } = part, b = new Uint8Array(headerBytes + count), { ip, at } = l4;
  b.set(bytes.subarray(0, headerBytes));
  b.set(bytes.subarray(headerBytes + from, headerBytes + from + count), headerBytes);
  if (l4.version === 4) { put16(b, ip + 2, b.length - ip); put16(b, ip + 4, u16(b, ip + 4) + index); }
  else put16(b, ip + 4, b.length - ip - 40);
  const sequence = (u16(b, at + 4) * 0x10000 + u16(b, at + 6) + from) >>> 0;
  put16(b, at + 4, sequence >>> 16);
  put16(b, at + 6, sequence & 0xffff);
  if (!last) b[at + 13]! &= ~FIN_PSH;
  if (index > 0) b[at + 13]! &= ~CWR;
  const own = { ...l4, end: b.length };
  if (l4.version === 4) writeIpv4Checksum(b, own);
  writeChecksum(b, own);
  return b;
}

/** The frame as a port with these abilities takes it: itself, or plain ones made of it. */
export function plainFrames(frame: Frame, abilities: PortAbilities | undefined): readonly Frame[] {
  if (!abilities) return [frame];
  if (frame.gso && !(frame.gso.type === 'tcpv4' ? abilities.gsoV4 : abilities.gsoV6)) return segments(frame);
  if (frame.checksum !== 'blank') return [frame];
  const { blankChecksum, blankChecksumV6 = blankChecksum } = abilities;
  const left = blankChecksum === blankChecksumV6 ? blankChecksum : findL4(frame.bytes)?.version === 6 ? blankChecksumV6 : blankChecksum;
  return left ? [frame] : [withChecksum(frame)];
}
