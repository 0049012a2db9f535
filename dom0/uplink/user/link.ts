// What the services of the user-mode network have in common: the way back to guests, and who is where.
import type { Frame } from '../../switch/port.ts';
import { ipFrame, udpPacket, UDP_CHECKSUM_AT, UDP_HLEN, type Ends } from '../../../net/packet/udp.ts';
import { ETH_HLEN, writeEthernet } from '../../../net/packet/ethernet.ts';
import { etherTypeOf, IPPROTO_FRAGMENT, IPPROTO_UDP, IPV4_HLEN, IPV6_HLEN, writeFragmentHeader, writeIp } from '../../../net/packet/ip.ts';
import type { Neighbours } from './neighbours.ts';
import type { UserSettings } from './settings.ts';

export interface Link {
  readonly settings: UserSettings;
  /** The gateway's Ethernet address: all addresses that are not guests' are behind it. */
  readonly mac: Uint8Array;
  readonly neighbours: Neighbours;
  readonly log: (line: string) => void;
  nowMs(): number;
  send(frame: Frame): void;
  /** Bytes that may be sent to a guest now without loss. */
  room(mac: Uint8Array): number;
  /** Calls back once when room has grown. */
  whenRoom(callback: () => void): void;
  /** Asks the network who has the address; the neighbours hear the answer. */
  solicit(address: Uint8Array): void;
  /** Where a guest's packet goes: an address of the host's world. undefined: nowhere. */
  route(protocol: 'tcp' | 'udp', address: Uint8Array, port: number): HostTarget | undefined;
}
export interface HostTarget { readonly host: string; readonly port: number }

export const sendBytes = (link: Link, bytes: Uint8Array): void => link.send({ bytes, checksum: 'valid' });

let nextId = 1;
/** A datagram to a guest, in parts if it is larger than the link takes. */
export function sendUdp(link: Link, ends: Ends, sourcePort: number, destinationPort: number, payload: Uint8Array): void {
  const headerBytes = ends.source.length === 4 ? IPV4_HLEN : IPV6_HLEN;
  const whole = ipFrame(ends, IPPROTO_UDP, udpPacket(sourcePort, destinationPort, payload), UDP_CHECKSUM_AT);
  if (headerBytes + UDP_HLEN + payload.length <= link.settings.mtu) { sendBytes(link, whole); return; }
  const version6 = ends.source.length === 16, extra = version6 ? 8 : 0, id = nextId++ & 0xffff;
  const packet = whole.subarray(ETH_HLEN + headerBytes), step = (link.settings.mtu - headerBytes - extra) & ~7;
  for (let offsetBytes = 0; offsetBytes < packet.length; offsetBytes += step) {
    const part = packet.subarray(offsetBytes, offsetBytes + step), more = offsetBytes + step < packet.length, at = ETH_HLEN + headerBytes;
    const b = new Uint8Array(at + extra + part.length);
    writeEthernet(b, ends.destinationMac, ends.sourceMac, etherTypeOf(ends.source));
    writeIp(b, ETH_HLEN, { source: ends.source, destination: ends.destination, protocol: version6 ? IPPROTO_FRAGMENT : IPPROTO_UDP, payloadBytes: extra + part.length, id, fragment: { offsetBytes, more } });
    if (version6) writeFragmentHeader(b, at, IPPROTO_UDP, { id, offsetBytes, more });
    b.set(part, at + extra);
    link.send({ bytes: b, checksum: 'complete' });
  }
}
