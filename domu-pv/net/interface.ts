// A network interface with its address: frames in, sorted by what they carry; frames out; who is where (ARP).
// Frames come in upcalls and are looked at when nothing is half done; sending never waits, what finds no room is lost,
// as on any wire. Invariant: at most MAX_NEIGHBOURS are known, and MAX_WAITING wait for one's address.
import { ARPOP_REPLY, ARPOP_REQUEST, arpFrame, parseArp } from '../../net/packet/arp.ts';
import { BROADCAST_MAC, ETH_P_ARP, ETH_P_IP, parseEthernet } from '../../net/packet/ethernet.ts';
import type { Frame } from '../../net/packet/frame.ts';
import { parseIpv4, type Ip } from '../../net/packet/ip.ts';
import type { Ends } from '../../net/packet/udp.ts';
import { sameBytes } from '../../net/packet/bytes.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { BROADCAST, bytesOf, numberOf } from './ipv4.ts';

const MAX_NEIGHBOURS = 1024, MAX_WAITING = 64, ARP_TRIES = 3, ARP_MS = 1000, DEFAULT_MTU = 1500, MAX_LOOPED = 256;

export interface Lease {
  readonly address: number; readonly mask: number;
  /** 0: none. */
  readonly router: number;
  readonly resolvers: readonly number[];
  readonly mtu: number;
}
/** What frames go through: front/network-card.ts. */
export interface Device {
  readonly mac: Uint8Array;
  /** Frames that may be sent now. */
  readonly room: number;
  /** Drops it where there is no room. */
  send(frame: Frame): void;
  /** Hands over what has come since. */
  take(handle: (frame: Frame) => void): void;
  onReceive: () => void;
  /** There is room again after there was none. */
  onRoom: () => void;
  /** The wire has gone, or another has come; when nothing is half done. */
  onLink: (isUp: boolean) => void;
}
/** Takes a packet, and copies what it keeps of the frame. */
export type Protocol = (frame: Frame, ip: Ip) => void;

export class Interface {
  lease: Lease | undefined;
  readonly kernel: Kernel;
  /** By the number in the IP header. */
  readonly protocols = new Map<number, Protocol>();
  /** After frames have been taken. */
  onTurn: () => void = () => {};
  readonly #device: Device;
  readonly #neighbours = new Map<number, Uint8Array>();
  readonly #waiting = new Map<number, ((mac: Uint8Array | undefined) => void)[]>();
  readonly #looped: Frame[] = [];
  #scheduled = false;

  constructor(kernel: Kernel, device: Device) {
    this.kernel = kernel;
    this.#device = device;
    device.onReceive = () => this.#schedule();
  }
  get mac(): Uint8Array { return this.#device.mac; }
  get mtu(): number { return this.lease?.mtu ?? DEFAULT_MTU; }
  /** Frames that may be sent now. */
  get room(): number { return this.#device.room; }
  whenRoom(work: () => void): void { this.#device.onRoom = () => this.kernel.events.later(work); }

  /** What was known of who is where. */
  forgetNeighbours(): void { this.#neighbours.clear(); }

  // ---- out
  send(frame: Frame): void {
    if (!sameBytes(frame.bytes, 0, this.mac, 0, 6)) { this.#device.send(frame); return; }
    // To ourselves. Its checksum need not be looked at.
    if (this.#looped.length < MAX_LOOPED) this.#looped.push({ bytes: frame.bytes.slice(), checksum: 'valid' });
    this.#schedule();
  }
  /** The ends of a packet of ours. */
  ends(destination: number, mac: Uint8Array): Ends { return { sourceMac: this.mac, destinationMac: mac, source: bytesOf(this.lease?.address ?? 0), destination: bytesOf(destination) }; }
  #hop(target: number): number | undefined {
    if (!this.lease) return undefined;
    const { address, mask, router } = this.lease;
    return ((target ^ address) & mask) === 0 ? target : router || undefined;
  }
  /** The Ethernet address behind which the target is, at once if it is known; undefined where nobody says. */
  resolve(target: number, done: (mac: Uint8Array | undefined) => void): void {
    const hop = this.#hop(target), { lease } = this;
    if (!lease || hop === undefined) { done(undefined); return; }
    if (target === BROADCAST || target === (lease.address | ~lease.mask) >>> 0) { done(BROADCAST_MAC); return; }
    const known = hop === lease.address ? this.mac : this.#neighbours.get(hop), waiting = this.#waiting.get(hop);
    if (known) { done(known); return; }
    if (waiting) { if (waiting.length < MAX_WAITING) waiting.push(done); else done(undefined); return; }
    this.#waiting.set(hop, [done]);
    this.#ask(hop, ARP_TRIES);
  }
  #ask(hop: number, tries: number): void {
    if (!this.#waiting.has(hop)) return;
    if (tries === 0) { this.#settle(hop, undefined); return; }
    this.#arp(ARPOP_REQUEST, BROADCAST_MAC, new Uint8Array(6), hop);
    this.kernel.alarms.after(ARP_MS, () => this.#ask(hop, tries - 1));
  }
  #settle(hop: number, mac: Uint8Array | undefined): void {
    const waiting = this.#waiting.get(hop) ?? [];
    this.#waiting.delete(hop);
    for (const done of waiting) done(mac);
  }
  #arp(operation: number, to: Uint8Array, targetMac: Uint8Array, target: number): void {
    this.send({ bytes: arpFrame(to, { operation, senderMac: this.mac, senderIp: bytesOf(this.lease?.address ?? 0), targetMac, targetIp: bytesOf(target) }), checksum: 'complete' });
  }

  // ---- in
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.kernel.events.later(() => {
      this.#scheduled = false;
      this.#device.take(frame => this.#take(frame));
      for (const frame of this.#looped.splice(0)) this.#take(frame);
      this.onTurn();
    });
  }
  #take(frame: Frame): void {
    const b = frame.bytes, ethernet = parseEthernet(b);
    if (!ethernet || ethernet.vlan !== 0) return;
    if (ethernet.type === ETH_P_ARP) { this.#takeArp(b, ethernet.at); return; }
    const ip = ethernet.type === ETH_P_IP ? parseIpv4(b, ethernet.at) : undefined;
    if (!ip || ip.fragment) return;
    const destination = numberOf(b, ip.destinationAt), { lease } = this;
    if (lease && destination !== lease.address && destination !== BROADCAST && destination !== (lease.address | ~lease.mask) >>> 0) return;
    this.protocols.get(ip.protocol)?.(frame, ip);
  }
  #takeArp(b: Uint8Array, at: number): void {
    const arp = parseArp(b, at), { lease } = this;
    if (!arp || !lease || numberOf(arp.targetIp) !== lease.address) return;
    const sender = numberOf(arp.senderIp);
    if (sender === 0 || sender === lease.address) return;
    if (this.#neighbours.size >= MAX_NEIGHBOURS) this.#neighbours.delete(this.#neighbours.keys().next().value!);
    this.#neighbours.delete(sender);
    this.#neighbours.set(sender, arp.senderMac);
    if (arp.operation === ARPOP_REQUEST) this.#arp(ARPOP_REPLY, arp.senderMac, arp.senderMac, sender);
    this.#settle(sender, arp.senderMac);
  }
}
