// The user-mode network: a gateway with its services, whose other side are ordinary sockets of the host's. Guests are
// behind it as behind a NAT; nothing needs a right the person does not have.
import { arpFrame, ARPOP_REPLY, ARPOP_REQUEST, parseArp } from '../../../net/packet/arp.ts';
import { formatAddress, formatMac, parseAddress } from '../../../net/packet/address.ts';
import { sameBytes } from '../../../net/packet/bytes.ts';
import { DHCP_CLIENT_PORT, DHCP_SERVER_PORT } from '../../../net/packet/dhcp.ts';
import { DNS_PORT } from '../../../net/packet/dns.ts';
import { BROADCAST_MAC, ETH_P_ARP, parseEthernet } from '../../../net/packet/ethernet.ts';
import { echoReply, ICMP_ECHO, ICMPV6_ECHO_REQUEST, parseIcmp } from '../../../net/packet/icmp.ts';
import { IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP, IPPROTO_UDP, parseIp, type Ip } from '../../../net/packet/ip.ts';
import { parseUdp, udpFrame, type Ends, type Udp } from '../../../net/packet/udp.ts';
import type { Attachment, Frame, SwitchPort } from '../../switch/port.ts';
import type { LeaseView, Uplink } from '../uplink.ts';
import { DhcpServer } from './dhcp-server.ts';
import { DnsForwarder } from './dns-forwarder.ts';
import { Echo } from './echo.ts';
import { Forwards } from './forwards.ts';
import { sendBytes, sendUdp, type HostTarget, type Link } from './link.ts';
import { Neighbours } from './neighbours.ts';
import { Reassembly } from './reassembly.ts';
import { Router6 } from './router6.ts';
import { isWorld, routeOf } from './routes.ts';
import { addressText, inNetwork, type UserSettings } from './settings.ts';
import { TcpTable } from './tcp.ts';
import { UdpFlows } from './udp.ts';

/** Locally administered; the same on every bridge, which share nothing. */
const GATEWAY_MAC = Uint8Array.of(0x52, 0x55, 0x0a, 0x00, 0x02, 0x02);
const BROADCAST_IP = Uint8Array.of(255, 255, 255, 255);

/** What the uplink is plugged into. */
export interface Bridge { attach(port: SwitchPort): Attachment }

export class UserUplink implements Uplink, Link {
  readonly kind = 'user';
  readonly settings: UserSettings;
  readonly mac: Uint8Array = GATEWAY_MAC;
  readonly neighbours: Neighbours = new Neighbours();
  readonly log: (line: string) => void;
  readonly tcp: TcpTable;
  readonly udp: UdpFlows;
  readonly dhcp: DhcpServer;
  readonly dns: DnsForwarder;
  readonly #attachment: Attachment;
  readonly #forwards: Forwards;
  readonly #reassembly = new Reassembly();
  readonly #echo = new Echo();
  readonly #router6: Router6 | undefined;
  /** Ports of the host's that the forwards really have, in the settings' order. */
  forwardedPorts: readonly number[] = [];

  private constructor(bridge: Bridge, settings: UserSettings, log: (line: string) => void) {
    this.settings = settings;
    this.log = log;
    this.tcp = new TcpTable(this);
    this.udp = new UdpFlows(this);
    this.dhcp = new DhcpServer(settings, this.neighbours);
    this.dns = new DnsForwarder(settings.resolvers);
    this.#forwards = new Forwards(this, this.tcp);
    this.#router6 = settings.prefix6 && new Router6(this);
    this.#attachment = bridge.attach({
      name: 'user', abilities: () => ({ blankChecksum: true, gsoV4: true, gsoV6: true }),
      deliver: frame => this.#deliver(frame),
    });
  }

  /** Resolves once the forwards are open. @throws UplinkError if one cannot be */
  static async open(bridge: Bridge, settings: UserSettings, log: (line: string) => void = () => {}): Promise<UserUplink> {
    const uplink = new UserUplink(bridge, settings, log);
    try { uplink.forwardedPorts = await uplink.#forwards.open(settings.hostForwards); } catch (error) { uplink.close(); throw error; }
    return uplink;
  }

  leases(): ReadonlyMap<string, LeaseView> {
    const all = new Map<string, LeaseView>([...this.dhcp.leases()].map(([mac, { address, hostname, expiresMs }]) => [mac, { addresses: [address], hostname, expiresMs }]));
    for (const [mac, { address, expiresMs }] of this.#router6?.dhcp.leases() ?? []) {
      const four = all.get(mac);
      all.set(mac, { addresses: [...four?.addresses ?? [], address], hostname: four?.hostname, expiresMs: Math.min(expiresMs, four?.expiresMs ?? Infinity) });
    }
    return all;
  }
  onLease(callback: (mac: string, lease: LeaseView | undefined) => void): void {
    const changed = (mac: string): void => callback(mac, this.leases().get(mac));
    this.dhcp.onChange = changed;
    if (this.#router6) this.#router6.dhcp.onChange = changed;
  }
  remember(mac: string, addresses: readonly string[]): void {
    for (const address of addresses.map(parseAddress)) {
      if (address?.length === 4) this.dhcp.remember(mac, address);
      if (address?.length === 16) this.#router6?.dhcp.remember(mac, address);
    }
  }
  addressesOf(mac: string): string[] { return this.neighbours.addressesOf(mac); }
  forgetGuest(mac: string): void { this.tcp.forgetGuest(mac); this.udp.forgetGuest(mac); }

  close(): void {
    this.#forwards.close();
    this.tcp.close();
    this.udp.close();
    this.dns.close();
    this.#echo.close();
    this.#router6?.close();
    this.#attachment.detach();
  }

  // Link: what the services need.

  nowMs(): number { return performance.now(); }
  send(frame: Frame): void { this.#attachment.send(frame); }
  room(mac: Uint8Array): number { return this.#attachment.room(mac); }
  whenRoom(callback: () => void): void { this.#attachment.whenRoom(callback); }
  route(protocol: 'tcp' | 'udp', address: Uint8Array, port: number): HostTarget | undefined {
    return routeOf(this.settings, protocol, address, port, port === DNS_PORT ? this.dns.resolvers()[0] : undefined);
  }
  solicit(address: Uint8Array): void {
    if (address.length === 16) { this.#router6?.solicit(address); return; }
    sendBytes(this, arpFrame(BROADCAST_MAC, { operation: ARPOP_REQUEST, senderMac: this.mac, senderIp: this.settings.gateway, targetMac: new Uint8Array(6), targetIp: address }));
  }

  // From guests.

  #deliver(frame: Frame): void {
    const b = frame.bytes, ethernet = parseEthernet(b);
    if (!ethernet || ethernet.vlan !== 0) return;
    if (ethernet.type === ETH_P_ARP) { this.#arp(b, ethernet.at); return; }
    // Between guests: not the gateway's, the switch only did not know where it goes.
    if (!sameBytes(b, 0, this.mac, 0, 6) && (b[0]! & 1) === 0) return;
    const ip = parseIp(b, ethernet.at, ethernet.type);
    if (!ip || (ip.version === 6 && !this.#router6)) return;
    if (!ip.fragment) { this.#packet(frame, ip); return; }
    const whole = this.#reassembly.add(b, ip, this.nowMs());
    if (whole) this.#packet({ bytes: whole.bytes, checksum: 'complete' }, whole.ip);
  }

  #packet(frame: Frame, ip: Ip): void {
    const b = frame.bytes;
    const unicast = (b[0]! & 1) === 0;
    if (ip.protocol === IPPROTO_TCP) { if (unicast && this.#fromGuest(b, ip)) this.tcp.deliver(frame, ip); return; }
    if (ip.protocol === IPPROTO_UDP) { const udp = parseUdp(b, ip, frame.checksum === 'complete'); if (udp) this.#datagram(b, ip, udp, unicast); return; }
    if (ip.protocol === (ip.version === 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6)) this.#icmp(b, ip, unicast);
  }

  /** Answers go only to addresses guests can have. */
  #fromGuest(b: Uint8Array, ip: Ip): boolean {
    const { network, networkBits, gateway, dns } = this.settings;
    if (ip.version === 4) return inNetwork(b, ip.sourceAt, network, networkBits) && !sameBytes(b, ip.sourceAt, gateway, 0, 4) && !sameBytes(b, ip.sourceAt, dns, 0, 4);
    const first = b[ip.sourceAt]!;
    return first !== 0 && first !== 0xff && !this.#router6!.owns(b, ip.sourceAt);
  }

  #arp(b: Uint8Array, at: number): void {
    const arp = parseArp(b, at), { gateway, dns, network, networkBits, guestForwards } = this.settings;
    if (!arp) return;
    const own = [gateway, dns].find(address => sameBytes(address, 0, arp.targetIp, 0, 4))
      ?? (guestForwards.some(f => f.address === addressText(arp.targetIp)) ? arp.targetIp : undefined);
    if (inNetwork(arp.senderIp, 0, network, networkBits) && !sameBytes(arp.senderIp, 0, gateway, 0, 4) && !sameBytes(arp.senderIp, 0, dns, 0, 4)) this.neighbours.learn(arp.senderIp, arp.senderMac);
    if (own && arp.operation === ARPOP_REQUEST) sendBytes(this, arpFrame(arp.senderMac, { operation: ARPOP_REPLY, senderMac: this.mac, senderIp: own, targetMac: arp.senderMac, targetIp: arp.senderIp }));
  }

  #datagram(b: Uint8Array, ip: Ip, udp: Udp, unicast: boolean): void {
    const payload = b.subarray(udp.at, udp.end);
    if (ip.version === 4 && udp.destinationPort === DHCP_SERVER_PORT) { this.#dhcp(b, payload); return; }
    if (ip.version === 6 && this.#router6!.datagram(b, ip, udp.destinationPort, payload)) return;
    if (!unicast || !this.#fromGuest(b, ip)) return;
    const source = formatAddress(b, ip.sourceAt, ip.addressBytes);
    if (udp.destinationPort === DNS_PORT && this.#isDns(b, ip)) {
      const ends = this.#back(b, ip), { sourcePort } = udp;
      this.neighbours.learn(ends.destination, ends.destinationMac);
      this.dns.forward(payload, formatMac(b, 6), answer => sendUdp(this, ends, DNS_PORT, sourcePort, answer));
      return;
    }
    if (this.#isGateway(b, ip) && this.#forwards.answer(source, udp.sourcePort, udp.destinationPort, payload)) return;
    this.udp.deliver(b, ip, udp);
  }

  #dhcp(b: Uint8Array, payload: Uint8Array): void {
    const answer = this.dhcp.answer(payload, b.subarray(6, 12));
    if (!answer) return;
    const ends = answer.broadcast ? { destinationMac: BROADCAST_MAC, destination: BROADCAST_IP } : { destinationMac: b.slice(6, 12), destination: answer.to };
    sendBytes(this, udpFrame({ sourceMac: this.mac, source: this.settings.gateway, ...ends }, DHCP_SERVER_PORT, DHCP_CLIENT_PORT, answer.payload));
  }

  #icmp(b: Uint8Array, ip: Ip, unicast: boolean): void {
    const icmp = parseIcmp(b, ip);
    if (!icmp || (ip.version === 6 && this.#router6!.deliver(b, ip, icmp))) return;
    if (!unicast || icmp.type !== (ip.version === 4 ? ICMP_ECHO : ICMPV6_ECHO_REQUEST) || icmp.code !== 0 || !this.#fromGuest(b, ip)) return;
    const ends = this.#back(b, ip), request = b.slice(ip.at, ip.end), answer = (): void => sendBytes(this, echoReply(ends, request));
    this.neighbours.learn(ends.destination, ends.destinationMac);
    if (this.#isGateway(b, ip) || this.#isDns(b, ip)) { answer(); return; }
    if (!this.settings.restrict && isWorld(this.settings, ends.source)) this.#echo.ask(addressText(ends.source), icmp.end - icmp.at, formatMac(b, 6), answer);
  }

  /** The way a packet's answer takes. */
  #back(b: Uint8Array, ip: Ip): Ends {
    return { sourceMac: this.mac, destinationMac: b.slice(6, 12), source: b.slice(ip.destinationAt, ip.destinationAt + ip.addressBytes), destination: b.slice(ip.sourceAt, ip.sourceAt + ip.addressBytes) };
  }
  #isGateway(b: Uint8Array, ip: Ip): boolean {
    const { gateway, gateway6 } = this.settings;
    return ip.version === 4 ? sameBytes(b, ip.destinationAt, gateway, 0, 4) : sameBytes(b, ip.destinationAt, gateway6!, 0, 16) || sameBytes(b, ip.destinationAt, this.#router6!.linkLocal, 0, 16);
  }
  #isDns(b: Uint8Array, ip: Ip): boolean {
    const { dns, dns6 } = this.settings;
    return ip.version === 4 ? sameBytes(b, ip.destinationAt, dns, 0, 4) : sameBytes(b, ip.destinationAt, dns6!, 0, 16);
  }
}
