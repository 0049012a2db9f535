// Addresses as text and as bytes.
import { isIPv4, isIPv6 } from 'node:net';
import { put16, u16 } from './bytes.ts';

/** `00:16:3e:00:00:01`. */
export const formatMac = (b: Uint8Array, at = 0): string => Array.from({ length: 6 }, (_, i) => b[at + i]!.toString(16).padStart(2, '0')).join(':');
/** @returns six bytes; undefined if it is none */
export function parseMac(text: string): Uint8Array | undefined {
  return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text) ? Uint8Array.from(text.split(':'), part => parseInt(part, 16)) : undefined;
}

export const formatIpv4 = (b: Uint8Array, at = 0): string => `${b[at]}.${b[at + 1]}.${b[at + 2]}.${b[at + 3]}`;

/** As RFC 5952: the longest run of zeros is `::`. */
export function formatIpv6(b: Uint8Array, at = 0): string {
  const words = Array.from({ length: 8 }, (_, i) => u16(b, at + 2 * i));
  let best = -1, bestCount = 1;
  for (let i = 0; i < 8; i++) {
    let n = 0;
    while (i + n < 8 && words[i + n] === 0) n++;
    if (n > bestCount) { best = i; bestCount = n; }
  }
  const hex = (from: number, to: number): string => words.slice(from, to).map(w => w.toString(16)).join(':');
  return best < 0 ? hex(0, 8) : `${hex(0, best)}::${hex(best + bestCount, 8)}`;
}

/** @param byteCount 4 or 16 */
export const formatAddress = (b: Uint8Array, at: number, byteCount: number): string => byteCount === 4 ? formatIpv4(b, at) : formatIpv6(b, at);

/** @returns 4 or 16 bytes; undefined if the text is no address */
export function parseAddress(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return Uint8Array.from(text.split('.'), Number);
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const plain = dotted ? `${dotted[1]}${(Number(dotted[2]) << 8 | Number(dotted[3])).toString(16)}:${(Number(dotted[4]) << 8 | Number(dotted[5])).toString(16)}` : text;
  const [head = '', tail] = plain.split('::');
  const words = (part: string): number[] => part === '' ? [] : part.split(':').map(w => parseInt(w, 16));
  const front = words(head), back = tail === undefined ? [] : words(tail);
  const out = new Uint8Array(16);
  front.forEach((w, i) => put16(out, 2 * i, w));
  back.forEach((w, i) => put16(out, 16 - 2 * (back.length - i), w));
  return out;
}
