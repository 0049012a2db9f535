// ARP for IPv4 over Ethernet (RFC 826).
import { put16, u16 } from './bytes.ts';
import { ETH_HLEN, ETH_P_ARP, ETH_P_IP, writeEthernet } from './ethernet.ts';

export const ARPOP_REQUEST = 1, ARPOP_REPLY = 2;
const ARPHRD_ETHER = 1, ARP_BYTES = 28;

/** Addresses are copies: six and four bytes. */
export interface Arp { readonly operation: number; readonly senderMac: Uint8Array; readonly senderIp: Uint8Array; readonly targetMac: Uint8Array; readonly targetIp: Uint8Array }

/** @param at behind the Ethernet header @returns undefined: not of this kind, or cut short */
export function parseArp(b: Uint8Array, at: number): Arp | undefined {
  if (b.length < at + ARP_BYTES || u16(b, at) !== ARPHRD_ETHER || u16(b, at + 2) !== ETH_P_IP || b[at + 4] !== 6 || b[at + 5] !== 4) return undefined;
  return {
    operation: u16(b, at + 6), senderMac: b.slice(at + 8, at + 14), senderIp: b.slice(at + 14, at + 18),
    targetMac: b.slice(at + 18, at + 24), targetIp: b.slice(at + 24, at + 28),
  };
}

/** @returns a whole frame */
export function arpFrame(destination: Uint8Array, arp: Arp): Uint8Array {
  const b = new Uint8Array(ETH_HLEN + ARP_BYTES), at = ETH_HLEN;
  writeEthernet(b, destination, arp.senderMac, ETH_P_ARP);
  put16(b, at, ARPHRD_ETHER);
  put16(b, at + 2, ETH_P_IP);
  b[at + 4] = 6;
  b[at + 5] = 4;
  put16(b, at + 6, arp.operation);
  b.set(arp.senderMac, at + 8);
  b.set(arp.senderIp, at + 14);
  b.set(arp.targetMac, at + 18);
  b.set(arp.targetIp, at + 24);
  return b;
}
