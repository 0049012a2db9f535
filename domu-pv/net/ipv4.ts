// IPv4 addresses as numbers, which is what tables here are keyed by.
import { put32, u32 } from '../../net/packet/bytes.ts';

export const BROADCAST = 0xffff_ffff;
export const textOf = (address: number): string => [24, 16, 8, 0].map(shift => address >>> shift & 255).join('.');
/** undefined: not four numbers. */
export function addressOf(text: string): number | undefined {
  const parts = text.split('.');
  return parts.length === 4 && parts.every(p => /^\d{1,3}$/.test(p) && Number(p) < 256) ? parts.reduce((all, p) => all * 256 + Number(p), 0) : undefined;
}
export function bytesOf(address: number): Uint8Array {
  const b = new Uint8Array(4);
  put32(b, 0, address);
  return b;
}
export const numberOf = (b: Uint8Array, at = 0): number => u32(b, at);
/** @param bits length of a network's prefix */
export const maskOf = (bits: number): number => bits === 0 ? 0 : -1 << 32 - bits >>> 0;
