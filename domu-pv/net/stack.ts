// As much of IPv4 as a guest needs to be seen on its network: an address by DHCP (RFC 2131), neighbours by ARP, echo
// (ICMP) both ways. Every length that came from outside is checked before it is used.
import type { Netfront } from '../front/netfront.ts';
import type { Clock } from '../kernel/clock.ts';

const IPV4 = 0x0800, ARP = 0x0806, ICMP = 1, UDP = 17, ETHERNET = 14, IP = 20, TTL = 64, BROADCAST_MAC = Uint8Array.of(255, 255, 255, 255, 255, 255);
const MS = 1_000_000n, ARP_TRIES = 3, DHCP_TRIES = 4, TRY_NS = 1_000_000_000n;
const DHCP = { clientPort: 68, serverPort: 67, bytes: 240, magic: 0x6382_5363, discover: 1, offer: 2, request: 3, ack: 5, optionMask: 1, optionRouter: 3, optionAddress: 50, optionType: 53, optionServer: 54, optionList: 55, end: 255 } as const;

export const textOf = (address: number): string => [24, 16, 8, 0].map(shift => address >>> shift & 255).join('.');
/** undefined: not four numbers. */
export function addressOf(text: string): number | undefined {
  const parts = text.split('.').map(Number);
  return parts.length === 4 && parts.every(p => Number.isInteger(p) && p >= 0 && p < 256) ? parts.reduce((all, p) => all * 256 + p, 0) : undefined;
}
export interface Lease { readonly address: number; readonly mask: number; readonly router: number }
export interface Echo { readonly roundTripNs: bigint; readonly byteCount: number }

export class Stack {
  lease: Lease | undefined;
  readonly #device: Netfront; readonly #clock: Clock;
  readonly #neighbours = new Map<number, Uint8Array>();
  #identifier = 0x4242;
  /** What receive() looks for: true ends the wait. */
  #wanted: (protocol: number, source: number, payload: DataView) => boolean = () => false;

  constructor(device: Netfront, clock: Clock) { this.#device = device; this.#clock = clock; }

  /** Asks for an address; undefined where nobody answers. */
  configure(): Lease | undefined {
    for (let n = 0; n < DHCP_TRIES && !this.lease; n++) {
      const offer = this.#exchange(DHCP.discover, []), server = offer?.options.get(DHCP.optionServer);
      if (!offer || !server || offer.type !== DHCP.offer) continue;
      const ack = this.#exchange(DHCP.request, [DHCP.optionAddress, 4, ...bytes32(offer.address), DHCP.optionServer, 4, ...server]);
      if (ack?.type !== DHCP.ack) continue;
      const option = (code: number): number => { const v = ack.options.get(code); return v && v.length >= 4 ? (v[0]! << 24 | v[1]! << 16 | v[2]! << 8 | v[3]!) >>> 0 : 0; };
      this.lease = { address: ack.address, mask: option(DHCP.optionMask), router: option(DHCP.optionRouter) };
    }
    return this.lease;
  }
  #exchange(type: number, more: readonly number[]): { type: number; address: number; options: Map<number, Uint8Array> } | undefined {
    const transaction = Number(this.#clock.systemNs() & 0xffff_ffffn), message = new Uint8Array(DHCP.bytes + 64), v = new DataView(message.buffer);
    message.set([1, 1, 6]);
    v.setUint32(4, transaction);
    v.setUint16(10, 0x8000);
    message.set(this.#device.mac, 28);
    v.setUint32(236, DHCP.magic);
    message.set([DHCP.optionType, 1, type, ...more, DHCP.optionList, 2, DHCP.optionMask, DHCP.optionRouter, DHCP.end], DHCP.bytes);
    let answer: { type: number; address: number; options: Map<number, Uint8Array> } | undefined;
    this.#wanted = (protocol, _source, p) => {
      const at = 8;
      if (protocol !== UDP || p.byteLength < at + DHCP.bytes || p.getUint16(2) !== DHCP.clientPort || p.getUint32(at + 4) !== transaction || p.getUint32(at + 236) !== DHCP.magic) return false;
      const options = new Map<number, Uint8Array>();
      for (let o = at + DHCP.bytes; o + 1 < p.byteLength && p.getUint8(o) !== DHCP.end;) {
        if (p.getUint8(o) === 0) { o++; continue; }
        const length = p.getUint8(o + 1);
        if (o + 2 + length > p.byteLength) break;
        options.set(p.getUint8(o), new Uint8Array(p.buffer, p.byteOffset + o + 2, length));
        o += 2 + length;
      }
      answer = { type: options.get(DHCP.optionType)?.[0] ?? 0, address: p.getUint32(at + 16), options };
      return true;
    };
    const udp = new Uint8Array(8 + message.length), u = new DataView(udp.buffer);
    u.setUint16(0, DHCP.clientPort);
    u.setUint16(2, DHCP.serverPort);
    u.setUint16(4, udp.length);
    udp.set(message, 8);
    this.#sendIp(UDP, 0, 0xffff_ffff, BROADCAST_MAC, udp);
    this.#receive(TRY_NS);
    return answer;
  }

  /** One echo request; undefined where no answer comes in time. */
  ping(target: number, sequence: number, byteCount: number, timeoutMs: number): Echo | undefined {
    const mac = this.#neighbour(target);
    if (!mac || !this.lease) return undefined;
    const message = new Uint8Array(8 + byteCount), v = new DataView(message.buffer), identifier = this.#identifier;
    message[0] = 8;
    v.setUint16(4, identifier);
    v.setUint16(6, sequence);
    for (let i = 8; i < message.length; i++) message[i] = i;
    v.setUint16(2, checksum(message));
    let echo: Echo | undefined;
    const start = this.#clock.systemNs();
    this.#wanted = (protocol, source, p) => {
      if (protocol !== ICMP || source !== target || p.byteLength < 8 || p.getUint8(0) !== 0 || p.getUint16(4) !== identifier || p.getUint16(6) !== sequence) return false;
      echo = { roundTripNs: this.#clock.systemNs() - start, byteCount: p.byteLength };
      return true;
    };
    this.#sendIp(ICMP, this.lease.address, target, mac, message);
    this.#receive(BigInt(timeoutMs) * MS);
    return echo;
  }
  /** Its own hardware address, or the router's. */
  #neighbour(target: number): Uint8Array | undefined {
    if (!this.lease) return undefined;
    const { address, mask, router } = this.lease, hop = ((target ^ address) & mask) === 0 ? target : router;
    for (let n = 0; n < ARP_TRIES && !this.#neighbours.has(hop); n++) {
      this.#sendArp(1, BROADCAST_MAC, hop);
      this.#wanted = () => false;
      this.#receive(TRY_NS, () => this.#neighbours.has(hop));
    }
    return this.#neighbours.get(hop);
  }

  // ---- frames
  #receive(forNs: bigint, done: () => boolean = () => false): void {
    const end = this.#clock.systemNs() + forNs;
    while (!done()) {
      const frame = this.#device.receive(end);
      if (!frame || this.#take(frame)) break;
    }
    this.#wanted = () => false;
  }
  /** @returns true when it was what is waited for */
  #take(frame: Uint8Array): boolean {
    if (frame.length < ETHERNET + IP) return false;
    const v = new DataView(frame.buffer, frame.byteOffset, frame.length), type = v.getUint16(12);
    if (type === ARP) { this.#takeArp(v, frame); return false; }
    if (type !== IPV4 || v.getUint8(ETHERNET) >> 4 !== 4) return false;
    const header = (v.getUint8(ETHERNET) & 15) * 4, total = v.getUint16(ETHERNET + 2), destination = v.getUint32(ETHERNET + 16);
    if (header < IP || total < header || ETHERNET + total > frame.length || v.getUint16(ETHERNET + 6) & 0x3fff) return false;
    if (this.lease && destination !== this.lease.address && destination !== 0xffff_ffff) return false;
    const payload = new DataView(frame.buffer, frame.byteOffset + ETHERNET + header, total - header), source = v.getUint32(ETHERNET + 12), protocol = v.getUint8(ETHERNET + 9);
    if (protocol === ICMP && payload.byteLength >= 8 && payload.getUint8(0) === 8) this.#answerEcho(source, frame.slice(6, 12), payload);
    return this.#wanted(protocol, source, payload);
  }
  #answerEcho(to: number, mac: Uint8Array, asked: DataView): void {
    if (!this.lease) return;
    const message = new Uint8Array(asked.buffer, asked.byteOffset, asked.byteLength).slice(), v = new DataView(message.buffer);
    message[0] = 0;
    v.setUint16(2, 0);
    v.setUint16(2, checksum(message));
    this.#sendIp(ICMP, this.lease.address, to, mac, message);
  }
  #takeArp(v: DataView, frame: Uint8Array): void {
    if (frame.length < ETHERNET + 28) return;
    const operation = v.getUint16(ETHERNET + 6), sender = v.getUint32(ETHERNET + 14), target = v.getUint32(ETHERNET + 24), mac = frame.slice(ETHERNET + 8, ETHERNET + 14);
    if (!this.lease || target !== this.lease.address) return;
    this.#neighbours.set(sender, mac);
    if (operation === 1) this.#sendArp(2, mac, sender);
  }
  #sendArp(operation: number, to: Uint8Array, target: number): void {
    const frame = this.#frame(to, ARP, 28), v = new DataView(frame.buffer);
    frame.set([0, 1, 8, 0, 6, 4], ETHERNET);
    v.setUint16(ETHERNET + 6, operation);
    frame.set(this.#device.mac, ETHERNET + 8);
    v.setUint32(ETHERNET + 14, this.lease?.address ?? 0);
    if (operation === 2) frame.set(to, ETHERNET + 18);
    v.setUint32(ETHERNET + 24, target);
    this.#device.send(frame);
  }
  #sendIp(protocol: number, source: number, destination: number, mac: Uint8Array, payload: Uint8Array): void {
    const frame = this.#frame(mac, IPV4, IP + payload.length), v = new DataView(frame.buffer);
    v.setUint8(ETHERNET, 0x45);
    v.setUint16(ETHERNET + 2, IP + payload.length);
    v.setUint8(ETHERNET + 8, TTL);
    v.setUint8(ETHERNET + 9, protocol);
    v.setUint32(ETHERNET + 12, source);
    v.setUint32(ETHERNET + 16, destination);
    v.setUint16(ETHERNET + 10, checksum(frame.subarray(ETHERNET, ETHERNET + IP)));
    frame.set(payload, ETHERNET + IP);
    this.#device.send(frame);
  }
  #frame(to: Uint8Array, type: number, byteCount: number): Uint8Array<ArrayBuffer> {
    const frame = new Uint8Array(ETHERNET + byteCount);
    frame.set(to);
    frame.set(this.#device.mac, 6);
    new DataView(frame.buffer).setUint16(12, type);
    return frame;
  }
}

const bytes32 = (n: number): number[] => [n >>> 24, n >>> 16 & 255, n >>> 8 & 255, n & 255];
/** The Internet checksum (RFC 1071). */
export function checksum(data: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += data[i]! << 8 | (data[i + 1] ?? 0);
  while (sum >>> 16) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
