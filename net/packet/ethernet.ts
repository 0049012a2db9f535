// Ethernet II and 802.1Q.
import { put16, u16 } from './bytes.ts';

export const ETH_HLEN = 14, VLAN_HLEN = 4, ETH_ALEN = 6;
export const ETH_P_IP = 0x0800, ETH_P_ARP = 0x0806, ETH_P_8021Q = 0x8100, ETH_P_IPV6 = 0x86dd;
export const BROADCAST_MAC: Uint8Array = new Uint8Array(6).fill(0xff);

/** @property type of what follows the header and its tag @property at where that starts @property vlan 0: none */
export interface Ethernet { readonly type: number; readonly at: number; readonly vlan: number }

/** @returns undefined: shorter than its header */
export function parseEthernet(b: Uint8Array): Ethernet | undefined {
  if (b.length < ETH_HLEN) return undefined;
  const type = u16(b, 12);
  if (type !== ETH_P_8021Q) return { type, at: ETH_HLEN, vlan: 0 };
  return b.length < ETH_HLEN + VLAN_HLEN ? undefined : { type: u16(b, 16), at: ETH_HLEN + VLAN_HLEN, vlan: u16(b, 14) & 0xfff };
}

export function writeEthernet(b: Uint8Array, destination: Uint8Array, source: Uint8Array, type: number): void {
  b.set(destination, 0);
  b.set(source, 6);
  put16(b, 12, type);
}
