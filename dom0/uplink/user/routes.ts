// Where a guest's packets to an address lead: the gateway's services, the host's loopback, the world, or nowhere.
import { sameBytes } from '../../../net/packet/bytes.ts';
import { DNS_PORT } from '../../../net/packet/dns.ts';
import type { HostTarget } from './link.ts';
import { addressText, inNetwork, inPrefix6, type UserSettings } from './settings.ts';

const same = (a: Uint8Array, b: Uint8Array | undefined): boolean => b !== undefined && a.length === b.length && sameBytes(a, 0, b, 0, a.length);

/**
 * The host's loopback is reached through the gateway's address alone, never through addresses that happen to mean it.
 * @param resolver the host's first resolver, for DNS over TCP
 */
export function routeOf(s: UserSettings, protocol: 'tcp' | 'udp', address: Uint8Array, port: number, resolver: HostTarget | undefined): HostTarget | undefined {
  const text = addressText(address), forward = s.guestForwards.find(f => f.protocol === protocol && f.address === text && f.port === port);
  if (forward) return { host: forward.toAddress!, port: forward.toPort };
  if (same(address, s.dns) || same(address, s.dns6)) return port === DNS_PORT ? resolver : undefined;
  if (s.restrict) return undefined;
  if (same(address, s.gateway)) return s.hostLoopback ? { host: '127.0.0.1', port } : undefined;
  if (same(address, s.gateway6)) return s.hostLoopback ? { host: '::1', port } : undefined;
  return isWorld(s, address) ? { host: text, port } : undefined;
}

/** Whether the address is one single machine's, outside the network and outside the host itself. */
export function isWorld(s: UserSettings, a: Uint8Array): boolean {
  if (a.length === 4) return a[0] !== 0 && a[0] !== 127 && a[0]! < 224 && !(a[0] === 169 && a[1] === 254) && !inNetwork(a, 0, s.network, s.networkBits);
  // Global unicast and unique local addresses only: what is mapped, translated or scoped would lead elsewhere.
  const globalUnicast = a[0]! >> 5 === 1, uniqueLocal = (a[0]! & 0xfe) === 0xfc;
  return (globalUnicast || uniqueLocal) && !(s.prefix6 && inPrefix6(a, 0, s.prefix6)) && !(a[0] === 0x20 && a[1] === 0x02);
}
