// UDP flows: one connected socket of the host's per pair of ends, so that answers come from whom was asked.
// Invariant: at most MAX_FLOWS, of one guest at most MAX_PER_GUEST, fewer where the process may have fewer descriptors;
// the longest idle go first.
import { createSocket, type Socket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { formatAddress, formatMac } from '../../../net/packet/address.ts';
import { ICMP_DEST_UNREACH, ICMPV6_DEST_UNREACH, icmpError } from '../../../net/packet/icmp.ts';
import type { Ip } from '../../../net/packet/ip.ts';
import type { Udp } from '../../../net/packet/udp.ts';
import { descriptorShares } from './descriptors.ts';
import { sendBytes, sendUdp, type HostTarget, type Link } from './link.ts';

export const MAX_FLOWS = 1024, MAX_PER_GUEST = 512;
const IDLE_MS = 60_000, SWEEP_MS = 5000;
/** Datagrams that wait for the socket. */
const MAX_EARLY = 16;
const PORT_UNREACHABLE = { 4: [ICMP_DEST_UNREACH, 3], 6: [ICMPV6_DEST_UNREACH, 4] } as const;

interface Flow { readonly key: string; readonly macText: string; readonly socket: Socket; usedMs: number; connected: boolean; early: Buffer[]; first: { readonly b: Uint8Array; readonly ip: Ip } | undefined }
export interface UdpEnds { readonly guest: Uint8Array; readonly guestPort: number; readonly remote: Uint8Array; readonly remotePort: number; readonly guestMac: Uint8Array }

export class UdpFlows {
  readonly #link: Link;
  /** In order of use. */
  readonly #flows = new Map<string, Flow>();
  readonly #counts = new Map<string, number>();
  #sweeper: NodeJS.Timeout | undefined;
  readonly #limit = Math.min(MAX_FLOWS, descriptorShares().flows);

  constructor(link: Link) { this.#link = link; }
  get count(): number { return this.#flows.size; }

  deliver(b: Uint8Array, ip: Ip, udp: Udp): void {
    const key = `${formatAddress(b, ip.sourceAt, ip.addressBytes)} ${udp.sourcePort} ${formatAddress(b, ip.destinationAt, ip.addressBytes)} ${udp.destinationPort}`;
    const flow = this.#flows.get(key) ?? this.#open(key, b, ip, udp);
    if (!flow) return;
    this.#flows.delete(key);
    this.#flows.set(key, flow);
    flow.usedMs = this.#link.nowMs();
    const payload = Buffer.from(b.subarray(udp.at, udp.end));
    if (flow.connected) this.#send(flow, payload); else if (flow.early.length < MAX_EARLY) flow.early.push(payload);
  }

  close(): void {
    for (const flow of [...this.#flows.values()]) this.#close(flow);
    clearInterval(this.#sweeper);
  }
  /** @param mac `00:16:3e:00:00:01` */
  forgetGuest(mac: string): void { for (const flow of [...this.#flows.values()]) if (flow.macText === mac) this.#close(flow); }

  #open(key: string, b: Uint8Array, ip: Ip, udp: Udp): Flow | undefined {
    const guestMac = b.slice(6, 12), macText = formatMac(guestMac);
    const ends: UdpEnds = { guest: b.slice(ip.sourceAt, ip.sourceAt + ip.addressBytes), guestPort: udp.sourcePort, remote: b.slice(ip.destinationAt, ip.destinationAt + ip.addressBytes), remotePort: udp.destinationPort, guestMac };
    const target = this.#link.route('udp', ends.remote, ends.remotePort);
    if (!target) { this.#unreachable(b, ip); return undefined; }
    this.#link.neighbours.learn(ends.guest, guestMac);
    if ((this.#counts.get(macText) ?? 0) >= Math.min(MAX_PER_GUEST, Math.ceil(this.#limit / 2))) for (const flow of this.#flows.values()) if (flow.macText === macText) { this.#close(flow); break; }
    if (this.#flows.size >= this.#limit) this.#close(this.#flows.values().next().value!);
    const flow: Flow = { key, macText, socket: createSocket(isIPv6(target.host) ? 'udp6' : 'udp4'), usedMs: 0, connected: false, early: [], first: { b: b.slice(0, Math.min(b.length, ip.at + 8)), ip: { ...ip, end: Math.min(ip.end, ip.at + 8) } } };
    this.#follow(flow, ends, target);
    this.#flows.set(key, flow);
    this.#counts.set(macText, (this.#counts.get(macText) ?? 0) + 1);
    this.#sweeper ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
    return flow;
  }

  #follow(flow: Flow, ends: UdpEnds, target: HostTarget): void {
    const { socket } = flow;
    socket.on('message', data => {
      flow.usedMs = this.#link.nowMs();
      if (this.#link.room(ends.guestMac) < data.length + 100) return;
      sendUdp(this.#link, { sourceMac: this.#link.mac, destinationMac: ends.guestMac, source: ends.remote, destination: ends.guest }, ends.remotePort, ends.guestPort, data);
    });
    socket.on('connect', () => {
      flow.connected = true;
      for (const payload of flow.early.splice(0)) this.#send(flow, payload);
    });
    // Nobody there: the guest hears it as it would from the far end itself.
    socket.on('error', () => { this.#refused(flow); this.#close(flow); });
    socket.connect(target.port, target.host);
  }

  #send(flow: Flow, payload: Buffer): void { flow.socket.send(payload, error => { if (error) this.#refused(flow); }); }
  #refused(flow: Flow): void {
    if (!flow.first || !this.#flows.has(flow.key)) return;
    this.#unreachable(flow.first.b, flow.first.ip);
  }
  #unreachable(b: Uint8Array, ip: Ip): void {
    const [type, code] = PORT_UNREACHABLE[ip.version];
    const destination = b.slice(ip.sourceAt, ip.sourceAt + ip.addressBytes), source = b.slice(ip.destinationAt, ip.destinationAt + ip.addressBytes);
    // Of what was sent to many, nothing is said (RFC 1122).
    if (source[0]! >= 224) return;
    sendBytes(this.#link, icmpError({ sourceMac: this.#link.mac, destinationMac: b.slice(6, 12), source, destination }, type, code, b, ip));
  }

  #sweep(): void {
    const nowMs = this.#link.nowMs();
    for (const flow of [...this.#flows.values()]) if (nowMs - flow.usedMs > IDLE_MS) this.#close(flow);
    if (this.#flows.size > 0) return;
    clearInterval(this.#sweeper);
    this.#sweeper = undefined;
  }

  #close(flow: Flow): void {
    if (!this.#flows.delete(flow.key)) return;
    const count = this.#counts.get(flow.macText)! - 1;
    if (count === 0) this.#counts.delete(flow.macText); else this.#counts.set(flow.macText, count);
    flow.socket.close();
  }
}
