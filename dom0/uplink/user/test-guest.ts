// A guest's network stack for tests: addresses, and a small TCP of its own, written for clarity, not for speed. Frames
// from and to it may be lost or change places, by a seeded source of chance.
import { arpFrame, ARPOP_REPLY, ARPOP_REQUEST, parseArp } from '../../../net/packet/arp.ts';
import { put16, put32, sameBytes } from '../../../net/packet/bytes.ts';
import { ETH_P_ARP, parseEthernet } from '../../../net/packet/ethernet.ts';
import { IPPROTO_TCP, IPPROTO_UDP, parseIp, type Ip } from '../../../net/packet/ip.ts';
import { ACK, FIN, parseTcp, parseTcpOptions, RST, SYN, synOptions, TCP_HLEN, type Tcp } from '../../../net/packet/tcp.ts';
import { ipFrame, parseUdp, udpFrame } from '../../../net/packet/udp.ts';
import type { Attachment, Frame, PortAbilities, SwitchPort } from '../../switch/port.ts';

export interface GuestOptions {
  readonly mac: Uint8Array; readonly address: Uint8Array; readonly gatewayMac: Uint8Array;
  readonly abilities?: PortAbilities;
  /** Of frames to and from it: what is done with each. */
  readonly fate?: () => 'pass' | 'lose' | 'delay';
}

export class TestGuest implements SwitchPort {
  readonly name = 'guest';
  readonly options: GuestOptions;
  attachment!: Attachment;
  readonly connections = new Map<string, TestTcp>();
  onFrame: (b: Uint8Array, ip: Ip | undefined, frame: Frame) => void = () => {};
  onUdp: (b: Uint8Array, ip: Ip, payload: Uint8Array) => void = () => {};
  onCall: (connection: TestTcp) => void = () => {};
  #nextPort = 33_000;

  constructor(options: GuestOptions) { this.options = options; }
  abilities(): PortAbilities { return this.options.abilities ?? { blankChecksum: true, gsoV4: true, gsoV6: true }; }

  send(bytes: Uint8Array): void { this.#pass(() => this.attachment.send({ bytes, checksum: 'complete' })); }
  deliver(frame: Frame): void {
    if (!sameBytes(frame.bytes, 0, this.options.mac, 0, 6) && (frame.bytes[0]! & 1) === 0) return;
    const copy: Frame = { ...frame, bytes: frame.bytes.slice() };
    this.#pass(() => this.#receive(copy));
  }
  #pass(go: () => void): void {
    const fate = this.options.fate?.() ?? 'pass';
    if (fate === 'pass') queueMicrotask(go); else if (fate === 'delay') setTimeout(go, 3);
  }

  sendUdp(destination: Uint8Array, sourcePort: number, port: number, payload: Uint8Array): void {
    const { mac, address, gatewayMac } = this.options;
    this.send(udpFrame({ sourceMac: mac, destinationMac: gatewayMac, source: address, destination }, sourcePort, port, payload));
  }
  connect(destination: Uint8Array, port: number): TestTcp {
    const connection = new TestTcp(this, destination, port, this.#nextPort++);
    this.connections.set(`${connection.ownPort} ${port}`, connection);
    connection.start();
    return connection;
  }

  #receive(frame: Frame): void {
    const b = frame.bytes, ethernet = parseEthernet(b)!;
    if (ethernet.type === ETH_P_ARP) {
      const arp = parseArp(b, ethernet.at)!, { mac, address } = this.options;
      if (arp.operation === ARPOP_REQUEST && sameBytes(arp.targetIp, 0, address, 0, 4)) this.send(arpFrame(arp.senderMac, { operation: ARPOP_REPLY, senderMac: mac, senderIp: address, targetMac: arp.senderMac, targetIp: arp.senderIp }));
    }
    const ip = parseIp(b, ethernet.at, ethernet.type);
    this.onFrame(b, ip, frame);
    if (ip?.protocol === IPPROTO_UDP && !ip.fragment) { const udp = parseUdp(b, ip, frame.checksum === 'complete'); if (udp) this.onUdp(b, ip, b.subarray(udp.at, udp.end)); }
    if (ip?.protocol !== IPPROTO_TCP) return;
    const tcp = parseTcp(b, ip, frame.checksum === 'complete');
    if (!tcp) throw new Error('a malformed segment came from the network');
    const key = `${tcp.destinationPort} ${tcp.sourcePort}`;
    let connection = this.connections.get(key);
    if (!connection && tcp.flags & SYN && !(tcp.flags & ACK)) {
      connection = new TestTcp(this, b.slice(ip.sourceAt, ip.sourceAt + ip.addressBytes), tcp.sourcePort, tcp.destinationPort);
      this.connections.set(key, connection);
      connection.accept(tcp, b);
      this.onCall(connection);
      return;
    }
    connection?.segment(b, tcp);
  }
}

const MSS = 1460, SHIFT = 4, RTO_MS = 40;
const diff = (a: number, b: number): number => (a - b) | 0;

/** Go-back-N with a fixed timer. `window` is what it says it can take. */
export class TestTcp {
  readonly guest: TestGuest; readonly remote: Uint8Array; readonly port: number; readonly ownPort: number;
  state: 'calling' | 'answering' | 'open' | 'reset' = 'calling';
  window = 256 * 1024;
  received: Uint8Array[] = [];
  receivedBytes = 0;
  remoteEnded = false;
  ended = false;
  endTaken = false;
  opened: Promise<void>;
  #opened!: () => void;
  closed: Promise<void>;
  #closed!: () => void;
  #una = 1000; #nxt = 1000; #rcv = 0; #peerWindow = 0; #peerShift = 0;
  #queue: Uint8Array = new Uint8Array(0);
  #timer: NodeJS.Timeout | undefined;
  #drained: () => void = () => {};

  constructor(guest: TestGuest, remote: Uint8Array, port: number, ownPort: number) {
    this.guest = guest; this.remote = remote; this.port = port; this.ownPort = ownPort;
    this.opened = new Promise(resolve => { this.#opened = resolve; });
    this.closed = new Promise(resolve => { this.#closed = resolve; });
  }

  start(): void { this.#emit(SYN, this.#una, undefined, synOptions(MSS, SHIFT)); this.#nxt = this.#una + 1; this.#arm(); }
  accept(tcp: Tcp, b: Uint8Array): void {
    this.state = 'answering';
    this.#rcv = (tcp.sequence + 1) >>> 0;
    this.#peerShift = parseTcpOptions(b, tcp.optionsAt, tcp.at).windowShift ?? 0;
    this.#emit(SYN | ACK, this.#una, undefined, synOptions(MSS, SHIFT));
    this.#nxt = this.#una + 1;
    this.#arm();
  }
  write(bytes: Uint8Array): void { this.#queue = Buffer.concat([this.#queue, bytes]); this.#pump(); }
  /** Resolves once all is acknowledged. */
  drained(): Promise<void> { return new Promise(resolve => { this.#drained = resolve; this.#check(); }); }
  end(): void { this.ended = true; this.#pump(); }
  reset(): void { this.#emit(RST | ACK, this.#nxt); this.#stop(); }
  /** Falls silent. */
  abandon(): void { this.#stop(); }
  /** Says its window anew. */
  update(): void { this.#emit(ACK, this.#nxt); }
  text(): string { return Buffer.concat(this.received).toString(); }
  /** Resolves when so many bytes have come, or the connection is over. */
  async got(byteCount: number): Promise<void> { while (this.receivedBytes < byteCount && this.state !== 'reset' && !this.remoteEnded) await new Promise(resolve => { setTimeout(resolve, 2); }); }

  segment(b: Uint8Array, tcp: Tcp): void {
    if (tcp.flags & RST) { this.state = 'reset'; this.#stop(); this.#opened(); return; }
    if (tcp.flags & SYN) {
      if (this.state === 'calling') {
        this.state = 'open';
        this.#rcv = (tcp.sequence + 1) >>> 0;
        this.#peerShift = parseTcpOptions(b, tcp.optionsAt, tcp.at).windowShift ?? 0;
        this.#una = this.#nxt;
        this.#peerWindow = tcp.window;
        this.#opened();
      }
      this.#emit(ACK, this.#nxt);
      this.#pump();
      return;
    }
    if (this.state === 'answering') { this.state = 'open'; this.#una = this.#nxt; this.#opened(); }
    const fresh = diff(tcp.acknowledgement, this.#una);
    if (fresh >= 0) this.#peerWindow = tcp.window << this.#peerShift;
    if (fresh > 0) {
      const bytes = Math.min(fresh, this.#queue.length);
      if (fresh > this.#queue.length && this.ended) this.endTaken = true;
      this.#queue = this.#queue.subarray(bytes);
      this.#una = tcp.acknowledgement;
      if (diff(this.#nxt, this.#una) < 0) this.#nxt = this.#una;
    }
    const count = tcp.end - tcp.at, skip = diff(this.#rcv, tcp.sequence);
    if (count > 0 || tcp.flags & FIN) {
      if (skip >= 0 && (skip < count || (skip === count && tcp.flags & FIN && !this.remoteEnded))) {
        const take = Math.min(count - skip, this.window);
        if (take > 0) { this.received.push(b.slice(tcp.at + skip, tcp.at + skip + take)); this.receivedBytes += take; this.#rcv = (this.#rcv + take) >>> 0; }
        if (tcp.flags & FIN && take === count - skip) { this.remoteEnded = true; this.#rcv = (this.#rcv + 1) >>> 0; }
      }
      this.#emit(ACK, this.#nxt);
    }
    this.#pump();
    this.#check();
    if (this.remoteEnded && this.endTaken) this.#stop();
  }

  #check(): void { if (this.#queue.length === 0) this.#drained(); }
  #stop(): void { clearTimeout(this.#timer); this.#closed(); if (this.state !== 'reset') this.state = 'reset'; }
  #arm(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.state === 'reset') return;
      if (this.state === 'calling') this.#emit(SYN, this.#una, undefined, synOptions(MSS, SHIFT));
      else if (this.state === 'answering') this.#emit(SYN | ACK, this.#una, undefined, synOptions(MSS, SHIFT));
      else this.#nxt = this.#una;
      this.#pump();
      if (this.state !== 'open' || diff(this.#nxt, this.#una) > 0) this.#arm();
    }, RTO_MS);
  }
  #pump(): void {
    if (this.state !== 'open') return;
    for (;;) {
      const offset = diff(this.#nxt, this.#una), count = Math.min(MSS, this.#queue.length - offset, this.#peerWindow - offset);
      if (count <= 0) break;
      this.#emit(ACK, this.#nxt, this.#queue.subarray(offset, offset + count));
      this.#nxt = (this.#nxt + count) >>> 0;
      this.#arm();
    }
    if (this.ended && !this.endTaken && diff(this.#nxt, this.#una) === this.#queue.length) {
      this.#emit(FIN | ACK, this.#nxt);
      this.#nxt = (this.#nxt + 1) >>> 0;
      this.#arm();
    }
  }
  #emit(flags: number, sequence: number, payload: Uint8Array = new Uint8Array(0), options: Uint8Array = new Uint8Array(0)): void {
    const { mac, address, gatewayMac } = this.guest.options, b = new Uint8Array(TCP_HLEN + options.length + payload.length);
    put16(b, 0, this.ownPort);
    put16(b, 2, this.port);
    put32(b, 4, sequence);
    put32(b, 8, flags & ACK ? this.#rcv : 0);
    b[12] = (TCP_HLEN + options.length) / 4 << 4;
    b[13] = flags;
    put16(b, 14, flags & SYN ? Math.min(65_535, this.window) : Math.min(65_535, this.window >> SHIFT));
    b.set(options, TCP_HLEN);
    b.set(payload, TCP_HLEN + options.length);
    this.guest.send(ipFrame({ sourceMac: mac, destinationMac: gatewayMac, source: address, destination: this.remote }, IPPROTO_TCP, b, 16));
  }
}
