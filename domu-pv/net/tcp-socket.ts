// A connection as a program has it: bytes that came and were not read, and how it ended.
import type { TcpConnection, TcpUser } from '../../net/tcp/connection.ts';
import type { Events } from '../kernel/events.ts';
import { SocketError, type SocketFailure } from './socket-error.ts';

interface Piece { readonly bytes: Uint8Array; readonly taken: () => void }

export class TcpSocket implements TcpUser {
  connection!: TcpConnection;
  connected = false;
  failure: SocketFailure | undefined;
  readonly #events: Events;
  #pieces: Piece[] = [];
  #at = 0;
  #unread = 0;
  #ended = false; #destroyed = false;
  #writeEnded = false; #readEnded = false; #closed = false;

  constructor(events: Events) { this.#events = events; }

  // ---- the program's side
  get unreadBytes(): number { return this.#unread; }
  /** The other side sends no more, or there is no other side any more. */
  get atEnd(): boolean { return this.#unread === 0 && (this.#ended || this.#destroyed || this.#readEnded); }
  get canRead(): boolean { return this.#unread > 0 || this.#ended || this.#destroyed || this.#readEnded; }
  get canWrite(): boolean { return this.#destroyed || this.#writeEnded || this.connected && this.connection.roomBytes > 0; }
  get hungUp(): boolean { return this.#destroyed || this.#ended; }

  /** What is there, at most; 0 at the end. @throws SocketError */
  read(into: Uint8Array, peek = false): number {
    if (this.#unread === 0) { this.throwFailure(); return 0; }
    let done = 0, at = this.#at;
    for (let n = 0; done < into.length && n < this.#pieces.length; n++) {
      const { bytes } = this.#pieces[n]!, part = bytes.subarray(at, at + into.length - done);
      into.set(part, done);
      done += part.length;
      at = 0;
    }
    if (!peek) this.#consume(done);
    return done;
  }
  #consume(count: number): void {
    this.#unread -= count;
    for (let left = count; left > 0;) {
      const first = this.#pieces[0]!, here = Math.min(left, first.bytes.length - this.#at);
      left -= here;
      this.#at += here;
      if (this.#at < first.bytes.length) return;
      this.#at = 0;
      this.#pieces.shift();
      first.taken();
    }
  }
  /** As much as there is room for. @throws SocketError */
  send(data: Uint8Array): number {
    this.throwFailure();
    if (this.#writeEnded || this.#destroyed) throw new SocketError('closed');
    if (!this.connected) throw new SocketError('notConnected');
    const part = data.subarray(0, this.connection.roomBytes);
    if (part.length > 0) this.connection.fromUser(part);
    return part.length;
  }
  /** Told once. */
  takeFailure(): SocketFailure | undefined { const { failure } = this; this.failure = undefined; return failure; }
  throwFailure(): void { const failure = this.takeFailure(); if (failure) throw new SocketError(failure); }
  endWriting(): void {
    if (this.#writeEnded || this.#destroyed) return;
    this.#writeEnded = true;
    this.connection.userEnded();
  }
  endReading(): void { this.#readEnded = true; this.#consume(this.#unread); }
  /** No one will read or write it again: in order, or by a reset where something was not read. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#destroyed) return;
    if (this.#unread > 0 || !this.connected) this.connection.abort(); else this.endWriting();
  }

  // ---- the connection's side
  write(bytes: Uint8Array, taken: () => void): void {
    if (this.#closed) { this.#events.later(() => this.connection.abort()); return; }
    if (this.#readEnded) { this.#events.later(taken); return; }
    this.#pieces.push({ bytes, taken });
    this.#unread += bytes.length;
  }
  end(): void { this.#ended = true; }
  get writableEnded(): boolean { return this.#ended; }
  get writableLength(): number { return this.#unread; }
  cork(): void {}
  uncork(): void {}
  resume(): void { this.connected = true; }
  resetAndDestroy(): void {
    // Nothing heard since the call: nobody is there.
    this.failure ??= this.connected ? 'reset' : this.connection.lastHeardMs > this.openedMs ? 'refused' : 'timedOut';
    this.destroy();
  }
  openedMs = 0;
  get destroyed(): boolean { return this.#destroyed; }
  destroy(): void { this.#destroyed = true; }
}
