// The IPv6 router of the user-mode network: neighbour discovery, router advertisements, and the way to DHCPv6.
import { formatAddress } from '../../../net/packet/address.ts';
import { sameBytes } from '../../../net/packet/bytes.ts';
import { DHCPV6_CLIENT_PORT, DHCPV6_SERVER_PORT } from '../../../net/packet/dhcpv6.ts';
import { icmpFrame, type Icmp } from '../../../net/packet/icmp.ts';
import type { Ip } from '../../../net/packet/ip.ts';
import { multicastMac, ND_HOP_LIMIT, ND_NEIGHBOR_SOLICIT, ND_ROUTER_SOLICIT, neighborAdvertisement, neighborSolicitation, parseNdp, routerAdvertisement, solicitedNode } from '../../../net/packet/ndp.ts';
import { udpFrame } from '../../../net/packet/udp.ts';
import { Dhcpv6Server } from './dhcpv6-server.ts';
import { sendBytes, type Link } from './link.ts';
import { inPrefix6 } from './settings.ts';

const ROUTER_LIFETIME_SECONDS = 1800, ADVERTISE_MS = 200_000;
const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

export class Router6 {
  readonly #link: Link;
  /** fe80::2, under which the router speaks. */
  readonly linkLocal: Uint8Array = Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2);
  readonly dhcp: Dhcpv6Server;
  readonly #timer: NodeJS.Timeout;

  constructor(link: Link) {
    this.#link = link;
    this.dhcp = new Dhcpv6Server({ prefix6: link.settings.prefix6!, dns6: link.settings.dns6!, mac: link.mac });
    // Guests that are up keep the route before its life ends.
    this.#timer = setInterval(() => { if (link.neighbours.size > 0) this.#advertise(ALL_NODES, multicastMac(ALL_NODES)); }, ADVERTISE_MS).unref();
  }
  close(): void { clearInterval(this.#timer); }

  /** Whether the address is one of the router's own: of its services, or of a guestfwd. */
  owns(b: Uint8Array, at: number): boolean {
    const { gateway6, dns6, guestForwards } = this.#link.settings;
    return [this.linkLocal, gateway6, dns6].some(own => own && sameBytes(own, 0, b, at, 16)) || (guestForwards.length > 0 && guestForwards.some(f => f.address === formatAddress(b, at, 16)));
  }

  /** @returns whether the message was one of neighbour discovery */
  deliver(b: Uint8Array, ip: Ip, icmp: Icmp): boolean {
    if (icmp.type < 133 || icmp.type > 137) return false;
    const ndp = parseNdp(b, ip, icmp);
    if (!ndp) return true;
    const from = b.slice(ip.sourceAt, ip.sourceAt + 16), mac = b.slice(6, 12), unspecified = from.every(byte => byte === 0);
    if (!unspecified && this.#isLocal(from)) this.#link.neighbours.learn(from, ndp.linkAddress ?? mac);
    if (ndp.type === ND_ROUTER_SOLICIT) this.#advertise(unspecified ? ALL_NODES : from, unspecified ? multicastMac(ALL_NODES) : mac);
    if (ndp.type === ND_NEIGHBOR_SOLICIT && this.owns(ndp.target!, 0)) {
      const destination = unspecified ? ALL_NODES : from;
      sendBytes(this.#link, icmpFrame({ sourceMac: this.#link.mac, destinationMac: mac, source: ndp.target!, destination }, neighborAdvertisement(ndp.target!, this.#link.mac, !unspecified), ND_HOP_LIMIT));
    }
    return true;
  }

  solicit(address: Uint8Array): void {
    const group = solicitedNode(address);
    sendBytes(this.#link, icmpFrame({ sourceMac: this.#link.mac, destinationMac: multicastMac(group), source: this.linkLocal, destination: group }, neighborSolicitation(address, this.#link.mac), ND_HOP_LIMIT));
  }

  /** @returns whether the datagram was DHCPv6 */
  datagram(b: Uint8Array, ip: Ip, port: number, payload: Uint8Array): boolean {
    if (port !== DHCPV6_SERVER_PORT) return false;
    const mac = b.slice(6, 12), reply = this.dhcp.answer(payload, mac);
    if (!reply) return true;
    sendBytes(this.#link, udpFrame({ sourceMac: this.#link.mac, destinationMac: mac, source: this.linkLocal, destination: b.slice(ip.sourceAt, ip.sourceAt + 16) }, DHCPV6_SERVER_PORT, DHCPV6_CLIENT_PORT, reply));
    return true;
  }

  #isLocal(address: Uint8Array): boolean { return (address[0] === 0xfe && address[1] === 0x80) || inPrefix6(address, 0, this.#link.settings.prefix6!); }

  #advertise(destination: Uint8Array, destinationMac: Uint8Array): void {
    const { prefix6, dns6, mtu } = this.#link.settings;
    const message = routerAdvertisement({ prefix: prefix6!, prefixBits: 64, mtu, dns: dns6!, mac: this.#link.mac, lifetimeSeconds: ROUTER_LIFETIME_SECONDS });
    sendBytes(this.#link, icmpFrame({ sourceMac: this.#link.mac, destinationMac, source: this.linkLocal, destination }, message, ND_HOP_LIMIT));
  }
}
