// Neighbour discovery (RFC 4861) with router advertisements and the DNS option of RFC 8106.
import { put16, put32 } from './bytes.ts';
import type { Icmp } from './icmp.ts';
import type { Ip } from './ip.ts';

export const ND_ROUTER_SOLICIT = 133, ND_ROUTER_ADVERT = 134, ND_NEIGHBOR_SOLICIT = 135, ND_NEIGHBOR_ADVERT = 136;
const OPT_SOURCE_LINKADDR = 1, OPT_TARGET_LINKADDR = 2, OPT_PREFIX_INFORMATION = 3, OPT_MTU = 5, OPT_RDNSS = 25;
/** Messages that crossed a router are forged. */
const HOP_LIMIT = 255;

/** @property target 16 bytes; absent in solicitations and advertisements of routers @property linkAddress six bytes */
export interface Ndp { readonly type: number; readonly target: Uint8Array | undefined; readonly linkAddress: Uint8Array | undefined }

/** @returns undefined: another ICMPv6 message, or malformed */
export function parseNdp(b: Uint8Array, ip: Ip, icmp: Icmp): Ndp | undefined {
  if (ip.hopLimit !== HOP_LIMIT || icmp.code !== 0) return undefined;
  const neighbour = icmp.type === ND_NEIGHBOR_SOLICIT || icmp.type === ND_NEIGHBOR_ADVERT;
  if (!neighbour && icmp.type !== ND_ROUTER_SOLICIT) return undefined;
  if (neighbour && icmp.at + 16 > icmp.end) return undefined;
  let linkAddress: Uint8Array | undefined;
  for (let at = icmp.at + (neighbour ? 16 : 0); at + 8 <= icmp.end;) {
    const units = b[at + 1]!;
    if (units === 0 || at + units * 8 > icmp.end) return undefined;
    if ((b[at] === OPT_SOURCE_LINKADDR || b[at] === OPT_TARGET_LINKADDR) && units === 1) linkAddress = b.slice(at + 2, at + 8);
    at += units * 8;
  }
  return { type: icmp.type, target: neighbour ? b.slice(icmp.at, icmp.at + 16) : undefined, linkAddress };
}

const NA_ROUTER = 0x8000_0000, NA_SOLICITED = 0x4000_0000, NA_OVERRIDE = 0x2000_0000;

/** "The target has this link address", said by a router. */
export function neighborAdvertisement(target: Uint8Array, mac: Uint8Array, solicited: boolean): Uint8Array {
  const b = new Uint8Array(32);
  b[0] = ND_NEIGHBOR_ADVERT;
  put32(b, 4, (NA_ROUTER | NA_OVERRIDE | (solicited ? NA_SOLICITED : 0)) >>> 0);
  b.set(target, 8);
  b.set([OPT_TARGET_LINKADDR, 1, ...mac], 24);
  return b;
}

export function neighborSolicitation(target: Uint8Array, mac: Uint8Array): Uint8Array {
  const b = new Uint8Array(32);
  b[0] = ND_NEIGHBOR_SOLICIT;
  b.set(target, 8);
  b.set([OPT_SOURCE_LINKADDR, 1, ...mac], 24);
  return b;
}

/** Flags: DHCPv6 has addresses, and more. */
const MANAGED = 0x80, OTHER = 0x40;

export interface RouterAdvertisement { readonly prefix: Uint8Array; readonly prefixBits: number; readonly mtu: number; readonly dns: Uint8Array; readonly mac: Uint8Array; readonly lifetimeSeconds: number }

/** Hosts make their own addresses in the prefix, and may ask for another by DHCPv6. */
export function routerAdvertisement({ prefix, prefixBits, mtu, dns, mac, lifetimeSeconds }: RouterAdvertisement): Uint8Array {
  const b = new Uint8Array(16 + 8 + 8 + 32 + 24);
  b[0] = ND_ROUTER_ADVERT;
  b[4] = 64;
  b[5] = MANAGED | OTHER;
  put16(b, 6, lifetimeSeconds);
  b.set([OPT_SOURCE_LINKADDR, 1, ...mac], 16);
  b.set([OPT_MTU, 1], 24);
  put32(b, 28, mtu);
  b.set([OPT_PREFIX_INFORMATION, 4, prefixBits, 0xc0], 32);
  put32(b, 36, 86_400);
  put32(b, 40, 14_400);
  b.set(prefix, 48);
  b.set([OPT_RDNSS, 3], 64);
  put32(b, 68, lifetimeSeconds);
  b.set(dns, 72);
  return b;
}
export { HOP_LIMIT as ND_HOP_LIMIT };

/** ff02::1:ffXX:XXXX, where solicitations for the address go. */
export function solicitedNode(address: Uint8Array): Uint8Array {
  const b = new Uint8Array(16);
  b.set([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, address[13]!, address[14]!, address[15]!]);
  return b;
}
/** The Ethernet address of an IPv6 multicast group. */
export const multicastMac = (group: Uint8Array): Uint8Array => Uint8Array.of(0x33, 0x33, group[12]!, group[13]!, group[14]!, group[15]!);
