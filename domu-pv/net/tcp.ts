// TCP: connections by their ends, listeners by port. The connections themselves are net/tcp's.
// Invariants: at most MAX_CONNECTIONS; a listener has at most its backlog waiting, half open or not taken yet; what all
// connections hold stays below MEMORY_BYTES each way.
import { u32 } from '../../net/packet/bytes.ts';
import { ETH_HLEN } from '../../net/packet/ethernet.ts';
import type { Frame } from '../../net/packet/frame.ts';
import { IPPROTO_TCP, type Ip } from '../../net/packet/ip.ts';
import { ACK, FIN, parseTcp, RST, SYN, type Tcp } from '../../net/packet/tcp.ts';
import { TcpConnection, type TcpEnds, type TcpHost } from '../../net/tcp/connection.ts';
import { refusal } from '../../net/tcp/refusal.ts';
import type { Interface } from './interface.ts';
import { bytesOf, numberOf } from './ipv4.ts';
import { EphemeralPorts } from './ports.ts';
import { SocketError } from './socket-error.ts';
import { TcpSocket } from './tcp-socket.ts';

const MAX_CONNECTIONS = 1024, MAX_BACKLOG = 128, MEMORY_BYTES = 32 << 20, LIMIT_MAX_BYTES = 512 << 10, LIMIT_MIN_BYTES = 16 << 10;
const TICK_MS = 100, NS_PER_MS = 1e6;
/** How long a connection that the program has closed waits for the other side to close it. */
const ORPHAN_MS = 60_000;

export class TcpListener {
  readonly port: number;
  readonly #table: TcpTable;
  readonly #backlog: number;
  readonly #ready: TcpSocket[] = [];
  readonly #half = new Set<TcpSocket>();
  constructor(table: TcpTable, port: number, backlog: number) { this.#table = table; this.port = port; this.#backlog = Math.max(1, Math.min(MAX_BACKLOG, backlog)); }

  get hasConnection(): boolean { return this.#ready.length > 0; }
  /** The next one that called; undefined where none has. */
  accept(): TcpSocket | undefined { return this.#ready.shift(); }
  close(): void {
    this.#table.forget(this);
    for (const socket of [...this.#half, ...this.#ready]) socket.connection.abort();
  }
  get hasRoom(): boolean { return this.#half.size + this.#ready.length < this.#backlog; }
  opening(socket: TcpSocket): void { this.#half.add(socket); }
  opened(socket: TcpSocket): void { if (this.#half.delete(socket)) this.#ready.push(socket); }
  gone(socket: TcpSocket): void { this.#half.delete(socket); }
}

interface Entry { readonly connection: TcpConnection; readonly socket: TcpSocket; readonly listener: TcpListener | undefined }
const keyOf = (peer: number, peerPort: number, ownPort: number): string => `${peer}:${peerPort}:${ownPort}`;

export class TcpTable implements TcpHost {
  readonly #interface: Interface;
  readonly #entries = new Map<string, Entry>();
  readonly #listeners = new Map<number, TcpListener>();
  readonly #ports: EphemeralPorts;
  readonly #touched = new Set<TcpConnection>();
  readonly #blocked = new Set<TcpConnection>();
  readonly #armed = new Set<TcpConnection>();
  #flushing = false;
  #ticking = false;

  constructor(net: Interface) {
    this.#interface = net;
    this.#ports = new EphemeralPorts(net.kernel.vcpu);
    net.protocols.set(IPPROTO_TCP, (frame, ip) => this.#deliver(frame, ip));
    net.onTurn = () => this.#flush();
    net.whenRoom(() => { const turn = [...this.#blocked]; this.#blocked.clear(); for (const c of turn) c.flush(); });
  }
  get count(): number { return this.#entries.size; }

  // ---- what programs ask for
  /** A connection that is being made: `connected` or `destroyed` says how that went. @param ownPort 0: any @throws SocketError */
  connect(address: number, port: number, ownPort: number): TcpSocket {
    const net = this.#interface, { lease } = net;
    if (!lease) throw new SocketError('unreachable');
    if (this.#entries.size >= MAX_CONNECTIONS) throw new SocketError('full');
    const own = ownPort || this.#ports.next(p => !this.#entries.has(keyOf(address, port, p)));
    if (this.#entries.has(keyOf(address, port, own))) throw new SocketError('inUse');
    const { connection, socket } = this.#add({ peer: bytesOf(address), peerPort: port, own: bytesOf(lease.address), ownPort: own, peerMac: new Uint8Array(6) }, 'calling', undefined);
    net.resolve(address, mac => {
      if (connection.state !== 'calling') return;
      if (mac) connection.call(mac); else { socket.failure = 'unreachable'; connection.userFailed(); }
    });
    return socket;
  }
  /** @param port 0: any @throws SocketError */
  listen(port: number, backlog: number): TcpListener {
    const own = port || this.#ports.next(p => !this.#listeners.has(p));
    if (this.#listeners.has(own)) throw new SocketError('inUse');
    const listener = new TcpListener(this, own, backlog);
    this.#listeners.set(own, listener);
    return listener;
  }
  forget(listener: TcpListener): void { this.#listeners.delete(listener.port); }
  /** To be called when a program has closed its socket: it does not wait for the other side for ever. */
  orphan(socket: TcpSocket): void {
    socket.close();
    if (!socket.destroyed) this.#interface.kernel.alarms.after(ORPHAN_MS, () => socket.connection.abort());
  }

  /** Their address is another's now: nothing that is sent to them arrives. */
  resetAll(): void { for (const { connection } of [...this.#entries.values()]) connection.abort(); }
  /** All that programs have, as if they closed it. */
  endAll(): void { for (const { socket } of [...this.#entries.values()]) socket.close(); }
  /** Something is not acknowledged yet. */
  get isSending(): boolean { return [...this.#entries.values()].some(({ connection }) => connection.isSending); }

  // ---- segments
  #deliver(frame: Frame, ip: Ip): void {
    const b = frame.bytes, tcp = parseTcp(b, ip, frame.checksum === 'complete'), { lease } = this.#interface;
    if (!tcp || !lease || numberOf(b, ip.destinationAt) !== lease.address) return;
    const found = this.#entries.get(keyOf(numberOf(b, ip.sourceAt), tcp.sourcePort, tcp.destinationPort)), calls = (tcp.flags & (SYN | ACK | RST | FIN)) === SYN;
    if (found && !(calls && found.connection.state === 'lingering')) {
      const { connection, socket, listener } = found, before = connection.state;
      connection.segment(b, tcp);
      if (before === 'answering' && connection.state === 'open') { socket.connected = true; listener?.opened(socket); }
      return;
    }
    found?.connection.abort();
    const listener = calls ? this.#listeners.get(tcp.destinationPort) : undefined;
    if (!listener) { if (!(tcp.flags & RST)) this.#interface.send({ bytes: refusal(b, ip, tcp, this.mac), checksum: 'valid' }); return; }
    // Who is not heard now calls again.
    if (!listener.hasRoom || this.#entries.size >= MAX_CONNECTIONS) return;
    this.#answer(listener, b, ip, tcp);
  }
  #answer(listener: TcpListener, b: Uint8Array, ip: Ip, tcp: Tcp): void {
    const { connection, socket } = this.#add({
      peer: b.slice(ip.sourceAt, ip.sourceAt + 4), peerPort: tcp.sourcePort, own: b.slice(ip.destinationAt, ip.destinationAt + 4), ownPort: tcp.destinationPort, peerMac: b.slice(6, 12),
    }, 'opening', listener);
    listener.opening(socket);
    connection.called(b, tcp);
    connection.connected();
  }
  #add(ends: TcpEnds, state: 'opening' | 'calling', listener: TcpListener | undefined): Entry {
    const { vcpu, events } = this.#interface.kernel, random = new Uint8Array(4), socket = new TcpSocket(events);
    vcpu.randomBytes(random);
    const connection = new TcpConnection(this, ends, socket, state, u32(random, 0)), entry = { connection, socket, listener };
    socket.connection = connection;
    socket.openedMs = connection.lastHeardMs;
    this.#entries.set(keyOf(numberOf(ends.peer), ends.peerPort, ends.ownPort), entry);
    return entry;
  }

  // ---- what connections ask for
  get mac(): Uint8Array { return this.#interface.mac; }
  get mtu(): number { return this.#interface.mtu; }
  get largestPacketBytes(): number { return this.#interface.mtu; }
  get gathers(): boolean { return false; }
  nowMs(): number { return Number(this.#interface.kernel.clock.systemNs()) / NS_PER_MS; }
  send(frame: Frame): void { this.#interface.send(frame); }
  room(): number { return this.#interface.room * (ETH_HLEN + this.mtu); }
  limit(): number { return Math.max(LIMIT_MIN_BYTES, Math.min(LIMIT_MAX_BYTES, Math.floor(MEMORY_BYTES / (this.#entries.size + 1)))); }
  touch(connection: TcpConnection): void {
    this.#touched.add(connection);
    if (this.#flushing) return;
    this.#flushing = true;
    this.#interface.kernel.events.later(() => this.#flush());
  }
  #flush(): void {
    this.#flushing = false;
    const turn = [...this.#touched];
    this.#touched.clear();
    for (const connection of turn) connection.flush();
  }
  block(connection: TcpConnection): void { this.#blocked.add(connection); }
  arm(connection: TcpConnection): void {
    this.#armed.add(connection);
    if (this.#ticking) return;
    this.#ticking = true;
    this.#interface.kernel.alarms.after(TICK_MS, () => this.#tick());
  }
  #tick(): void {
    this.#ticking = false;
    const nowMs = this.nowMs();
    for (const connection of [...this.#armed]) {
      this.#armed.delete(connection);
      connection.tick(nowMs);
      if (connection.deadlineMs !== Infinity) this.arm(connection);
    }
  }
  keep(b: Uint8Array, from: number, to: number): Uint8Array<ArrayBuffer> {
    const kept = new Uint8Array(to - from);
    kept.set(b.subarray(from, to));
    return kept;
  }
  remove(connection: TcpConnection): void {
    const { ends } = connection, key = keyOf(numberOf(ends.peer), ends.peerPort, ends.ownPort), entry = this.#entries.get(key);
    for (const set of [this.#touched, this.#blocked, this.#armed]) set.delete(connection);
    if (entry?.connection !== connection) return;
    this.#entries.delete(key);
    entry.listener?.gone(entry.socket);
  }
}
