// Addresses as text and as bytes.
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

function parseIpv4(text: string): Uint8Array | undefined {
  const parts = text.split('.');
  return parts.length === 4 && parts.every(p => /^(0|[1-9]\d{0,2})$/.test(p) && Number(p) < 256) ? Uint8Array.from(parts, Number) : undefined;
}
/** @returns 4 or 16 bytes; undefined if the text is no address */
export function parseAddress(text: string): Uint8Array | undefined {
  const v4 = parseIpv4(text);
  if (v4 || !text.includes(':')) return v4;
  const colon = text.lastIndexOf(':'), dotted = parseIpv4(text.slice(colon + 1));
  const plain = dotted ? `${text.slice(0, colon + 1)}${u16(dotted, 0).toString(16)}:${u16(dotted, 2).toString(16)}` : text;
  const [head = '', tail, more] = plain.split('::');
  const words = (part: string): number[] => part === '' ? [] : part.split(':').map(w => /^[0-9a-f]{1,4}$/i.test(w) ? parseInt(w, 16) : NaN);
  const front = words(head), back = tail === undefined ? [] : words(tail), count = front.length + back.length;
  if (more !== undefined || [...front, ...back].some(Number.isNaN) || (tail === undefined ? count !== 8 : count > 7)) return undefined;
  const out = new Uint8Array(16);
  front.forEach((w, i) => put16(out, 2 * i, w));
  back.forEach((w, i) => put16(out, 16 - 2 * (back.length - i), w));
  return out;
}
