// All TCP connections of the user-mode network: finding the one a segment belongs to, opening new ones, limits and
// fair shares.
// Invariants: at most MAX_CONNECTIONS, of one guest at most MAX_PER_GUEST, of which MAX_OPENING wait for the host; fewer
// where the process may have fewer descriptors; what connections may hold together stays below MEMORY_BYTES each way.
import { randomInt } from 'node:crypto';
import { connect, type Socket } from 'node:net';
import { formatMac } from '../../../net/packet/address.ts';
import type { Ip } from '../../../net/packet/ip.ts';
import { ACK, FIN, parseTcp, RST, SYN, type Tcp } from '../../../net/packet/tcp.ts';
import { refusal } from '../../../net/tcp/refusal.ts';
import type { Frame } from '../../switch/port.ts';
import { descriptorShares, type DescriptorShares } from './descriptors.ts';
import { sendBytes, type Link } from './link.ts';
import { MAX_IP_BYTES, sameEnds, TcpConnection, type TcpEnds, type TcpHost } from '../../../net/tcp/connection.ts';

export const MAX_CONNECTIONS = 16_384, MAX_PER_GUEST = 12_288, MAX_OPENING = 512;
const MEMORY_BYTES = 256 * 1024 * 1024, MAX_LIMIT_BYTES = 1024 * 1024, MIN_LIMIT_BYTES = 16 * 1024;
const TICK_MS = 100;
/** Guest bytes wait in slabs of this size for their socket; larger pieces have their own. What a stuck socket holds of one it holds whole. */
const SLAB_BYTES = 8 * 1024, OWN_BYTES = 2 * 1024;
const FIRST_EPHEMERAL = 49_152;

export interface TcpCounters { opened: number; refused: number; evicted: number; resetsSent: number }

/**
 * Sockets of the host's side are read through one buffer: what they give is copied before the call returns. A full one is
 * one large packet of 44 segments, without a rest that would be a packet of its own.
 */
const readBuffer = Buffer.allocUnsafeSlow(44 * 1460);

export class TcpTable implements TcpHost {
  readonly counters: TcpCounters = { opened: 0, refused: 0, evicted: 0, resetsSent: 0 };
  readonly #link: Link;
  /** By both ports; those that share them differ in addresses. */
  readonly #byPorts = new Map<number, TcpConnection[]>();
  /** By guest's Ethernet address, each in order of opening. */
  readonly #byGuest = new Map<string, Set<TcpConnection>>();
  #count = 0;
  /** Of all bridges, which share the process' descriptors. */
  static #everywhere = 0;
  readonly #limit: number;
  readonly #touched = new Set<TcpConnection>();
  #flushing = false;
  readonly #blocked = new Set<TcpConnection>();
  #waitingForRoom = false;
  readonly #armed = new Set<TcpConnection>();
  #ticker: NodeJS.Timeout | undefined;
  #slab = Buffer.alloc(0);
  #slabAt = 0;
  #nextPort = FIRST_EPHEMERAL;

  constructor(link: Link, shares: DescriptorShares = descriptorShares()) {
    this.#link = link;
    this.#limit = Math.min(MAX_CONNECTIONS, shares.connections);
  }

  get count(): number { return this.#count; }
  get heldBytes(): number { let n = 0; for (const set of this.#byGuest.values()) for (const c of set) n += c.heldBytes; return n; }

  /** A TCP packet from a guest. */
  deliver(frame: Frame, ip: Ip): void {
    const b = frame.bytes, tcp = parseTcp(b, ip, frame.checksum === 'complete');
    if (!tcp) return;
    const connection = this.#find(b, ip, tcp);
    const calls = (tcp.flags & (SYN | ACK | RST | FIN)) === SYN;
    if (connection && !(calls && connection.state === 'lingering')) { connection.segment(b, tcp); return; }
    if (connection) connection.abort();
    if (calls) this.#open(b, ip, tcp); else if (!(tcp.flags & RST)) this.#refuse(b, ip, tcp);
  }

  /** A connection of the host's to a guest, through a forward. @param source who the guest believes calls */
  call(socket: Socket, source: Uint8Array, guest: Uint8Array, guestPort: number): void {
    const mac = this.#link.neighbours.macOf(guest);
    const ends: TcpEnds = { peer: guest, peerPort: guestPort, own: source, ownPort: this.#freePort(guest, guestPort, source), peerMac: mac ?? new Uint8Array(6) };
    if (!this.#makeRoom(formatMac(ends.peerMac))) { socket.resetAndDestroy(); return; }
    const connection = new TcpConnection(this, ends, socket, 'calling', randomInt(2 ** 32));
    this.#add(connection);
    socket.pause();
    this.#follow(socket, connection);
    socket.on('data', (data: Buffer) => { connection.fromUser(data); if (connection.pauseUser()) socket.pause(); });
    if (mac) { connection.call(mac); return; }
    const forget = this.#link.neighbours.whenKnown(guest, () => {
      if (connection.state !== 'calling') return;
      const known = this.#link.neighbours.macOf(guest)!;
      this.#unlist(connection);
      connection.ends.peerMac = known;
      this.#list(connection);
      connection.call(known);
    });
    socket.on('close', forget);
    // Asks as often as a SYN would be repeated; nobody answering ends it as a call would end.
    let asked = 0;
    const ask = (): void => {
      if (connection.state !== 'calling' || this.#link.neighbours.macOf(guest)) return;
      if (asked++ === 5) { connection.abort(); return; }
      this.#link.solicit(guest);
      setTimeout(ask, 1000).unref();
    };
    ask();
  }

  /** A guest's interface is gone. @param mac `00:16:3e:00:00:01` */
  forgetGuest(mac: string): void { for (const connection of [...this.#byGuest.get(mac) ?? []]) connection.abort(); }

  close(): void {
    for (const set of [...this.#byGuest.values()]) for (const connection of [...set]) connection.abort();
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  // What connections ask for.

  get mac(): Uint8Array { return this.#link.mac; }
  get mtu(): number { return this.#link.settings.mtu; }
  get largestPacketBytes(): number { return MAX_IP_BYTES; }
  get gathers(): boolean { return true; }
  nowMs(): number { return this.#link.nowMs(); }
  send(frame: Frame): void { this.#link.send(frame); }
  room(mac: Uint8Array): number { return this.#link.room(mac); }
  limit(): number { return Math.max(MIN_LIMIT_BYTES, Math.min(MAX_LIMIT_BYTES, Math.floor(MEMORY_BYTES / (this.#count + 1)))); }

  touch(connection: TcpConnection): void {
    this.#touched.add(connection);
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => this.#flush());
  }
  #flush(): void {
    this.#flushing = false;
    const turn = [...this.#touched];
    this.#touched.clear();
    for (const connection of turn) connection.flush();
  }

  block(connection: TcpConnection): void {
    this.#blocked.add(connection);
    if (this.#waitingForRoom) return;
    this.#waitingForRoom = true;
    this.#link.whenRoom(() => {
      this.#waitingForRoom = false;
      const turn = [...this.#blocked];
      this.#blocked.clear();
      // Each in turn comes first: one that found no room goes to the end of the line.
      for (const blocked of turn) blocked.flush();
    });
  }

  arm(connection: TcpConnection): void {
    this.#armed.add(connection);
    this.#ticker ??= setInterval(() => this.#tick(), TICK_MS).unref();
  }
  #tick(): void {
    const nowMs = this.nowMs();
    for (const connection of this.#armed) if (connection.deadlineMs === Infinity) this.#armed.delete(connection); else connection.tick(nowMs);
    if (this.#armed.size > 0) return;
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  keep(b: Uint8Array, from: number, to: number): Uint8Array<ArrayBuffer> {
    const count = to - from;
    if (count >= OWN_BYTES) { const own = Buffer.allocUnsafeSlow(count); own.set(b.subarray(from, to)); return own; }
    if (this.#slabAt + count > this.#slab.length) { this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES); this.#slabAt = 0; }
    const kept = this.#slab.subarray(this.#slabAt, this.#slabAt += count);
    kept.set(b.subarray(from, to));
    return kept;
  }

  remove(connection: TcpConnection): void {
    this.#touched.delete(connection);
    this.#blocked.delete(connection);
    this.#armed.delete(connection);
    const key = keyOf(connection.ends.peerPort, connection.ends.ownPort), bucket = this.#byPorts.get(key);
    const at = bucket?.indexOf(connection) ?? -1;
    if (at < 0) return;
    if (bucket!.length === 1) this.#byPorts.delete(key); else bucket!.splice(at, 1);
    this.#unlist(connection);
    this.#count--;
    TcpTable.#everywhere--;
  }

  // Opening.

  #open(b: Uint8Array, ip: Ip, tcp: Tcp): void {
    const guestMac = b.slice(6, 12), guest = b.slice(ip.sourceAt, ip.sourceAt + ip.addressBytes), remote = b.slice(ip.destinationAt, ip.destinationAt + ip.addressBytes);
    const target = this.#link.route('tcp', remote, tcp.destinationPort);
    this.#link.neighbours.learn(guest, guestMac);
    const key = formatMac(guestMac);
    if (!target) { this.#refuse(b, ip, tcp); return; }
    if (this.#openingOf(key) >= MAX_OPENING) return;
    if (!this.#makeRoom(key)) { this.#refuse(b, ip, tcp); return; }
    let connection: TcpConnection | undefined;
    const socket = connect({
      host: target.host, port: target.port, allowHalfOpen: true, noDelay: true,
      onread: { buffer: readBuffer, callback: (count, buffer) => { connection!.fromUser(buffer.subarray(0, count)); return !connection!.pauseUser(); } },
    });
    connection = new TcpConnection(this, { peer: guest, peerPort: tcp.sourcePort, own: remote, ownPort: tcp.destinationPort, peerMac: guestMac }, socket, 'opening', randomInt(2 ** 32));
    connection.called(b, tcp);
    this.#add(connection);
    this.#opening.set(key, this.#openingOf(key) + 1);
    let opening = true;
    const opened = (): void => {
      if (!opening) return;
      opening = false;
      const left = this.#openingOf(key) - 1;
      if (left > 0) this.#opening.set(key, left); else this.#opening.delete(key);
    };
    socket.on('connect', () => { opened(); connection.connected(); });
    socket.on('close', opened);
    this.#follow(socket, connection);
  }
  readonly #opening = new Map<string, number>();
  #openingOf(key: string): number { return this.#opening.get(key) ?? 0; }

  #follow(socket: Socket, connection: TcpConnection): void {
    socket.on('end', () => connection.userEnded());
    socket.on('error', () => connection.userFailed());
  }

  /** @returns false if the guest has all it may have */
  #makeRoom(key: string): boolean {
    const mine = this.#byGuest.get(key)?.size ?? 0;
    if (mine >= Math.min(MAX_PER_GUEST, Math.ceil(this.#limit * 3 / 4))) { this.counters.refused++; return false; }
    if (TcpTable.#everywhere < this.#limit) return true;
    // The table is full: who has most gives one up, unless that is the one that asks.
    let largest: Set<TcpConnection> | undefined;
    for (const set of this.#byGuest.values()) if (!largest || set.size > largest.size) largest = set;
    if (!largest || largest.size <= mine) { this.counters.refused++; return false; }
    let idlest: TcpConnection | undefined;
    for (const c of largest) if (!idlest || c.lastHeardMs < idlest.lastHeardMs) idlest = c;
    idlest!.abort();
    this.counters.evicted++;
    return true;
  }

  #add(connection: TcpConnection): void {
    const key = keyOf(connection.ends.peerPort, connection.ends.ownPort), bucket = this.#byPorts.get(key);
    if (bucket) bucket.push(connection); else this.#byPorts.set(key, [connection]);
    this.#list(connection);
    this.#count++;
    TcpTable.#everywhere++;
    this.counters.opened++;
  }
  #list(connection: TcpConnection): void {
    const key = formatMac(connection.ends.peerMac), set = this.#byGuest.get(key) ?? new Set();
    this.#byGuest.set(key, set.add(connection));
  }
  #unlist(connection: TcpConnection): void {
    const key = formatMac(connection.ends.peerMac), set = this.#byGuest.get(key);
    set?.delete(connection);
    if (set?.size === 0) this.#byGuest.delete(key);
  }

  #find(b: Uint8Array, ip: Ip, tcp: Tcp): TcpConnection | undefined {
    const bucket = this.#byPorts.get(keyOf(tcp.sourcePort, tcp.destinationPort));
    return bucket?.find(c => sameEnds(c.ends, b, ip.sourceAt, ip.destinationAt, ip.addressBytes));
  }

  #freePort(guest: Uint8Array, guestPort: number, source: Uint8Array): number {
    for (let tries = 65_536 - FIRST_EPHEMERAL; ; tries--) {
      const port = this.#nextPort++;
      if (this.#nextPort > 65_535) this.#nextPort = FIRST_EPHEMERAL;
      const taken = this.#byPorts.get(keyOf(guestPort, port))?.some(c => sameEnds(c.ends, Buffer.concat([guest, source]), 0, guest.length, guest.length));
      if (!taken || tries === 0) return port;
    }
  }

  #refuse(b: Uint8Array, ip: Ip, tcp: Tcp): void {
    this.counters.resetsSent++;
    sendBytes(this.#link, refusal(b, ip, tcp, this.#link.mac));
  }
}

const keyOf = (guestPort: number, remotePort: number): number => guestPort * 65_536 + remotePort;
