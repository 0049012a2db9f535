// The Internet checksum (RFC 1071). Sums are taken of 32-bit words, which fold to the same value as those of 16 bits:
// 2^16 is 1 modulo 0xffff. A double holds the sum of 2^21 of them exactly, far more than a packet has.

/** Ones' complement sum of the bytes before folding; `from` is taken as an even offset of the packet. */
export function sumBytes(b: Uint8Array, from: number, to: number, start = 0): number {
  let total = start, at = from;
  for (const end = to - 15; at < end; at += 16) {
    total += ((b[at]! << 24 | b[at + 1]! << 16 | b[at + 2]! << 8 | b[at + 3]!) >>> 0)
      + ((b[at + 4]! << 24 | b[at + 5]! << 16 | b[at + 6]! << 8 | b[at + 7]!) >>> 0)
      + ((b[at + 8]! << 24 | b[at + 9]! << 16 | b[at + 10]! << 8 | b[at + 11]!) >>> 0)
      + ((b[at + 12]! << 24 | b[at + 13]! << 16 | b[at + 14]! << 8 | b[at + 15]!) >>> 0);
  }
  for (; at + 1 < to; at += 2) total += b[at]! << 8 | b[at + 1]!;
  return at < to ? total + (b[at]! << 8) : total;
}

/** @returns 16 bits, not complemented */
export function foldSum(total: number): number {
  let value = total % 0x1_0000_0000 + Math.floor(total / 0x1_0000_0000);
  while (value > 0xffff) value = value % 0x10000 + Math.floor(value / 0x10000);
  return value;
}

export const checksumOf = (b: Uint8Array, from: number, to: number, start = 0): number => ~foldSum(sumBytes(b, from, to, start)) & 0xffff;

/** Sum of the pseudo-header of IPv4 and IPv6. @param byteCount of header and payload of the upper protocol */
export const pseudoSum = (b: Uint8Array, sourceAt: number, destinationAt: number, addressBytes: number, protocol: number, byteCount: number): number =>
  sumBytes(b, sourceAt, sourceAt + addressBytes, sumBytes(b, destinationAt, destinationAt + addressBytes, protocol + byteCount));
