// A socket as a descriptor has it: unbound, listening, connected, or of datagrams. Calls wait unless it is not to block.
import { FileNode, FsError } from '../fs/node.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Stack } from '../net/stack.ts';
import { SocketError, type SocketFailure } from '../net/socket-error.ts';
import type { TcpListener } from '../net/tcp.ts';
import type { TcpSocket } from '../net/tcp-socket.ts';
import type { UdpSocket } from '../net/udp.ts';
import { ERRNO } from './errno.ts';

export type SocketType = 'stream' | 'datagram';
export interface SocketAddress { readonly address: number; readonly port: number }
export interface Received extends Partial<SocketAddress> { readonly data: Uint8Array; readonly isCut: boolean }
const ERRNO_OF: Readonly<Record<SocketFailure, number>> = {
  refused: ERRNO.CONNREFUSED, reset: ERRNO.CONNRESET, timedOut: ERRNO.TIMEDOUT, unreachable: ERRNO.HOSTUNREACH, inUse: ERRNO.ADDRINUSE, full: ERRNO.NFILE, tooLong: ERRNO.MSGSIZE,
  notConnected: ERRNO.NOTCONN, closed: ERRNO.PIPE, noName: ERRNO.NOENT, noPort: ERRNO.INVAL, interrupted: ERRNO.INTR,
};
/** Runs what a socket does; its refusals become error numbers. */
export function asErrno<T>(work: () => T): T {
  try { return work(); } catch (error) {
    if (error instanceof SocketError) throw new FsError(ERRNO_OF[error.failure]);
    throw error;
  }
}
const refuse = (errno: number): never => { throw new FsError(errno); };

export class SocketNode extends FileNode {
  readonly kind = 'socket'; readonly id = 0n; readonly size = 0;
  readonly type: SocketType;
  nonBlocking = false;
  /** 0: none. */
  receiveTimeoutNs = 0n; sendTimeoutNs = 0n;
  readonly #kernel: Kernel; readonly #stack: Stack;
  #ownPort = 0;
  #peer: SocketAddress | undefined;
  #tcp: TcpSocket | undefined; #listener: TcpListener | undefined; #udp: UdpSocket | undefined;

  constructor(kernel: Kernel, stack: Stack, type: SocketType) { super(); this.#kernel = kernel; this.#stack = stack; this.type = type; }
  get isListening(): boolean { return this.#listener !== undefined; }
  get local(): SocketAddress { return { address: this.#stack.lease?.address ?? 0, port: this.#listener?.port ?? this.#udp?.port ?? this.#tcp?.connection.ends.ownPort ?? this.#ownPort }; }
  get peer(): SocketAddress { return this.#peer ?? refuse(ERRNO.NOTCONN); }
  takeError(): number { const failure = this.#tcp?.takeFailure(); return failure ? ERRNO_OF[failure] : 0; }

  bind(port: number): void {
    if (this.#tcp || this.#listener || this.#udp) refuse(ERRNO.INVAL);
    if (this.type === 'datagram') this.#udp = asErrno(() => this.#stack.udp.open(port)); else this.#ownPort = port;
  }
  listen(backlog: number): void {
    if (this.type === 'datagram') refuse(ERRNO.NOTSUP);
    if (this.#tcp) refuse(ERRNO.ISCONN);
    this.#listener ??= asErrno(() => this.#stack.tcp.listen(this.#ownPort, backlog));
  }
  accept(): SocketNode {
    const listener = this.#listener ?? refuse(ERRNO.INVAL);
    this.#wait(() => listener.hasConnection, this.receiveTimeoutNs);
    const node = new SocketNode(this.#kernel, this.#stack, 'stream'), tcp = listener.accept()!, { ends } = tcp.connection;
    node.#tcp = tcp;
    node.#peer = { address: new DataView(ends.peer.buffer, ends.peer.byteOffset).getUint32(0), port: ends.peerPort };
    return node;
  }
  connect(to: SocketAddress): void {
    if (this.type === 'datagram') {
      this.#peer = to;
      this.#ownUdp().peer = to;
      return;
    }
    if (this.#listener) refuse(ERRNO.INVAL);
    if (this.#tcp) {
      const errno = this.takeError();
      if (errno) refuse(errno);
      refuse(this.#tcp.connected ? ERRNO.ISCONN : ERRNO.ALREADY);
    }
    const tcp = this.#tcp = asErrno(() => this.#stack.tcp.connect(to.address, to.port, this.#ownPort));
    this.#peer = to;
    if (this.nonBlocking) refuse(ERRNO.INPROGRESS);
    this.#wait(() => tcp.connected || tcp.destroyed, this.sendTimeoutNs);
    asErrno(() => tcp.throwFailure());
  }
  #ownUdp(): UdpSocket { return this.#udp ??= asErrno(() => this.#stack.udp.open(0)); }
  #wait(isReady: () => boolean, timeoutNs: bigint): void {
    if (isReady()) return;
    if (this.nonBlocking) refuse(ERRNO.AGAIN);
    if (!this.#kernel.events.waitFor(isReady, timeoutNs > 0n ? this.#kernel.clock.systemNs() + timeoutNs : undefined)) refuse(ERRNO.AGAIN);
  }

  /** Up to so many bytes, or the next datagram; nothing: the other side has ended. @param whole waits for all of them */
  receive(byteCount: number, peek: boolean, whole: boolean): Received {
    if (this.type === 'datagram') {
      const udp = this.#ownUdp();
      this.#wait(() => udp.hasInput, this.receiveTimeoutNs);
      const { data, address, port } = (peek ? udp.peek() : udp.take())!;
      return { data: data.subarray(0, byteCount), address, port, isCut: data.length > byteCount };
    }
    const tcp = this.#tcp ?? refuse(ERRNO.NOTCONN);
    if (byteCount > 0) this.#wait(() => whole ? tcp.unreadBytes >= byteCount || tcp.hungUp || tcp.atEnd : tcp.canRead, this.receiveTimeoutNs);
    const data = new Uint8Array(Math.min(byteCount, tcp.unreadBytes));
    asErrno(() => tcp.read(data, peek));
    return { data, ...this.peer, isCut: false };
  }
  /** All of it, unless it is not to block. @returns bytes taken */
  send(data: Uint8Array): number {
    if (this.type === 'datagram') { this.sendTo(this.#peer ?? refuse(ERRNO.DESTADDRREQ), data); return data.length; }
    const tcp = this.#tcp ?? refuse(ERRNO.NOTCONN);
    let done = 0;
    while (done < data.length) {
      const count = asErrno(() => tcp.send(data.subarray(done)));
      done += count;
      if (count > 0) continue;
      if (this.nonBlocking && done > 0) break;
      this.#wait(() => tcp.canWrite, this.sendTimeoutNs);
    }
    return done;
  }
  sendTo(to: SocketAddress, data: Uint8Array): void { if (this.type === 'stream') this.send(data); else asErrno(() => this.#ownUdp().send(to.address, to.port, data)); }
  shutdown(reading: boolean, writing: boolean): void {
    const tcp = this.#tcp ?? refuse(ERRNO.NOTCONN);
    if (writing) tcp.endWriting();
    if (reading) tcp.endReading();
  }

  /** Of poll_oneoff. */
  get canRead(): boolean { return this.#listener?.hasConnection ?? this.#udp?.hasInput ?? this.#tcp?.canRead ?? false; }
  get canWrite(): boolean { return this.type === 'datagram' || (this.#tcp?.canWrite ?? false); }
  get readableBytes(): number { return this.#udp?.nextBytes ?? this.#tcp?.unreadBytes ?? 0; }
  get hungUp(): boolean { return this.#tcp?.hungUp ?? false; }

  override read(_position: number, into: Uint8Array): number { const { data } = this.receive(into.length, false, false); into.set(data); return data.length; }
  override write(_position: number, data: Uint8Array): number { return this.send(data); }
  override closed(): void {
    this.#listener?.close();
    this.#udp?.close();
    if (this.#tcp) this.#stack.tcp.orphan(this.#tcp);
  }
}
