// One TCP connection: segments from and to a peer, bytes from and to who uses it here.
//
//   peer  <- segments ->  TcpConnection  <- bytes ->  TcpUser: a socket of the host's, or of a guest's program
//
// A whole TCP sender and receiver (RFC 9293, 5681, 6298, 7323's window scaling): what lies between may drop.
// Invariants: #toPeer holds the bytes from #una on, all that is not acknowledged; the window's right edge never moves
// back; memory is bounded by the limits the table gives, both ways.
import { put16, put32, sameBytes } from '../packet/bytes.ts';
import { foldSum, sumBytes } from '../packet/checksum.ts';
import { ETH_HLEN, writeEthernet } from '../packet/ethernet.ts';
import { etherTypeOf, IPPROTO_TCP, IPV4_HLEN, ipHeaderBytes, writeIp } from '../packet/ip.ts';
import { ACK, FIN, parseTcpOptions, PSH, RST, SYN, synOptions, TCP_HLEN, type Tcp } from '../packet/tcp.ts';
import type { Frame } from '../packet/frame.ts';
import { ByteRing } from './byte-ring.ts';
import { Reorder } from './reorder.ts';

/** Who uses a connection on this side: node:net's Socket is one. */
export interface TcpUser {
  /** Takes bytes from the peer. @param taken called when they are no longer held */
  write(bytes: Uint8Array, taken: (error?: Error | null) => void): unknown;
  /** The peer sends no more. */
  end(): unknown;
  readonly writableEnded: boolean;
  /** Bytes that it has been given and not taken. */
  readonly writableLength: number;
  /** There will be several writes. */
  cork(): void;
  uncork(): void;
  /** It may give bytes: connected, or there is room again. */
  resume(): unknown;
  /** The connection has failed. */
  resetAndDestroy(): unknown;
  readonly destroyed: boolean;
  /** The connection is no more. */
  destroy(): unknown;
}

/** What a connection needs of the table it is in. */
export interface TcpHost {
  readonly mac: Uint8Array;
  readonly mtu: number;
  /** Of a packet over IP: more than `mtu` where large segments are cut elsewhere. */
  readonly largestPacketBytes: number;
  /**
   * Bytes for a user that is behind are gathered into pieces of some size, in memory of the connection's own: many small
   * ones would hold far more memory than they count for. A user that looks at what it has not taken yet has them at once.
   */
  readonly gathers: boolean;
  nowMs(): number;
  send(frame: Frame): void;
  room(mac: Uint8Array): number;
  /** Bytes a connection may hold per direction, at present. */
  limit(): number;
  /** flush() will be called at the end of this turn. */
  touch(connection: TcpConnection): void;
  /** flush() will be called when there is room for the peer. */
  block(connection: TcpConnection): void;
  /** tick() will be called until the deadline is Infinity. */
  arm(connection: TcpConnection): void;
  /** A copy of the peer's bytes that lasts until the user has taken it. */
  keep(b: Uint8Array, from: number, to: number): Uint8Array<ArrayBuffer>;
  remove(connection: TcpConnection): void;
}
export interface TcpEnds {
  readonly peer: Uint8Array; readonly peerPort: number; readonly own: Uint8Array; readonly ownPort: number;
  peerMac: Uint8Array;
}

/**
 * opening: the peer called, the user is not ready yet. answering: SYN-ACK sent. calling: a SYN of ours is sent.
 * open: until both directions ended. lingering: acknowledges late repetitions. closed: no more in the table.
 */
export type TcpState = 'opening' | 'answering' | 'calling' | 'open' | 'lingering' | 'closed';

const WINDOW_SHIFT = 7, MAX_WINDOW = 0xffff;
const DEFAULT_MSS = 536, MIN_MSS = 88;
/** Of a large packet's whole IP length. */
export const MAX_IP_BYTES = 65_535;
const RTO_START_MS = 1000, RTO_MIN_MS = 300, RTO_MAX_MS = 60_000, LINGER_MS = 2000, CONNECT_MS = 75_000;
const MAX_RETRIES = 10, MAX_SYN_RETRIES = 5;
const DUPLICATES = 3;
/** What is gathered for a user that is behind; pieces of a quarter of that have memory of their own. */
const GATHERED_BYTES = 8192;

/** Where segments are made; whoever is handed a frame copies it. */
const scratch = new Uint8Array(ETH_HLEN + MAX_IP_BYTES);

const EMPTY = new Uint8Array(0);

/** a - b of sequence numbers, signed. */
const diff = (a: number, b: number): number => (a - b) | 0;

export class TcpConnection {
  readonly ends: TcpEnds;
  state: TcpState;
  /** For tick(); Infinity: nothing is waited for. */
  deadlineMs = Infinity;
  lastHeardMs: number;
  readonly #host: TcpHost;
  readonly #user: TcpUser;
  readonly #headers: Uint8Array;
  readonly #headerBytes: number;
  readonly #ipSum: number;
  readonly #pseudo: number;
  // Towards the peer.
  readonly #toPeer = new ByteRing();
  #una: number;
  #nxt: number;
  #max: number;
  #window = 0;
  #largestWindow = 0;
  #windowShift = 0;
  #scaling = false;
  #mss = DEFAULT_MSS;
  #congestion = Infinity;
  #threshold = Infinity;
  #duplicates = 0;
  #recover: number | undefined;
  #userEnded = false;
  #paused = false;
  #ipId = 1;
  // From the peer.
  #rcvNxt = 0;
  #rcvEdge = 0;
  readonly #early = new Reorder();
  #pending: Uint8Array<ArrayBuffer>[] = [];
  #pendingBytes = 0;
  #gathered: Uint8Array<ArrayBuffer> = EMPTY;
  #gatheredAt = 0;
  #peerEnded = false;
  #ackNow = false;
  // Time.
  #rtoMs = RTO_START_MS;
  #smoothedMs: number | undefined;
  #varianceMs = 0;
  #timed: { readonly sequence: number; readonly atMs: number } | undefined;
  #retries = 0;

  constructor(host: TcpHost, ends: TcpEnds, user: TcpUser, state: 'opening' | 'calling', initialSequence: number) {
    this.#host = host;
    this.ends = ends;
    this.#user = user;
    this.state = state;
    this.#una = this.#nxt = this.#max = initialSequence;
    this.lastHeardMs = host.nowMs();
    const ipBytes = ipHeaderBytes(ends.peer);
    this.#headerBytes = ETH_HLEN + ipBytes + TCP_HLEN;
    this.#headers = new Uint8Array(this.#headerBytes);
    writeEthernet(this.#headers, ends.peerMac, host.mac, etherTypeOf(ends.peer));
    writeIp(this.#headers, ETH_HLEN, { source: ends.own, destination: ends.peer, protocol: IPPROTO_TCP, payloadBytes: 0 });
    if (ipBytes === IPV4_HLEN) put16(this.#headers, ETH_HLEN + 10, 0);
    put16(this.#headers, ETH_HLEN + ipBytes, ends.ownPort);
    put16(this.#headers, ETH_HLEN + ipBytes + 2, ends.peerPort);
    this.#ipSum = sumBytes(this.#headers, ETH_HLEN, ETH_HLEN + IPV4_HLEN) - (this.#headers[ETH_HLEN + 2]! << 8 | this.#headers[ETH_HLEN + 3]!);
    this.#pseudo = sumBytes(ends.peer, 0, ends.peer.length, sumBytes(ends.own, 0, ends.own.length, IPPROTO_TCP));
    if (state === 'opening') this.#deadline(CONNECT_MS);
  }

  get #largestSegment(): number { return this.#host.mtu - (this.#headerBytes - ETH_HLEN); }
  get heldBytes(): number { return this.#toPeer.capacity + this.#pendingBytes + this.#early.byteCount + this.#user.writableLength; }

  // The user's side.

  /** The peer's SYN, taken once. */
  called(b: Uint8Array, tcp: Tcp): void {
    this.#rcvNxt = (tcp.sequence + 1) >>> 0;
    this.#takeOptions(b, tcp);
    this.#window = this.#largestWindow = tcp.window;
  }

  /** The user is ready: the peer gets its SYN-ACK. */
  connected(): void {
    if (this.state !== 'opening') return;
    this.state = 'answering';
    this.#rcvEdge = this.#rcvNxt;
    this.#sendSyn();
  }

  /** The first SYN; also to be called when the peer's Ethernet address has become known. */
  call(peerMac: Uint8Array): void {
    this.ends.peerMac = peerMac;
    this.#headers.set(peerMac, 0);
    this.#sendSyn();
  }

  /** Bytes of the user's for the peer. */
  fromUser(bytes: Uint8Array): void {
    if (this.state === 'closed' || this.state === 'lingering') return;
    this.#toPeer.write(bytes);
    this.#host.touch(this);
  }
  /** What the user gave, its end included, is not all acknowledged. */
  get isSending(): boolean { return this.state !== 'closed' && (this.#toPeer.size > 0 || this.#userEnded && !this.#finTaken); }
  /** Bytes that the user may give now. */
  get roomBytes(): number { return Math.max(0, this.#host.limit() - this.#toPeer.size); }
  /** @returns whether the user is to be paused; it is resumed here */
  pauseUser(): boolean {
    this.#paused ||= this.#toPeer.size >= this.#host.limit();
    return this.#paused;
  }
  userEnded(): void {
    this.#userEnded = true;
    this.#host.touch(this);
  }
  /** The user failed: the peer is told by a reset. */
  userFailed(): void {
    if (this.state === 'closed') return;
    if (this.state !== 'lingering' && this.state !== 'calling') this.#emit(this.#nxt, 0, RST | ACK);
    this.#close();
  }
  /** The user has taken something: the peer's window may grow again. */
  userTook(): void {
    if (this.state !== 'open' || this.#peerEnded) return;
    const advertised = diff(this.#rcvEdge, this.#rcvNxt), limit = this.#host.limit();
    if (advertised < limit / 2 && this.#freeBytes() - advertised >= Math.min(limit / 4, 2 * this.#mss)) { this.#ackNow = true; this.#host.touch(this); }
  }

  // The peer's side.

  segment(b: Uint8Array, tcp: Tcp): void {
    this.lastHeardMs = this.#host.nowMs();
    if (tcp.flags & RST) { this.#reset(tcp); return; }
    switch (this.state) {
      case 'opening': case 'closed': return;
      case 'calling': this.#answered(b, tcp); return;
      case 'answering':
        if (tcp.flags & SYN) { this.#sendSyn(); return; }
        if (!(tcp.flags & ACK)) return;
        // Of an older connection with these ends: the peer is told, and calls anew.
        if (tcp.acknowledgement !== this.#max) { this.#emit(tcp.acknowledgement, 0, RST); return; }
        this.#open(tcp);
        break;
      // Repetitions only: the other end may linger too, and acknowledgements of acknowledgements never end.
      case 'lingering': if (tcp.end > tcp.at || tcp.flags & FIN) this.#emit(this.#nxt, 0, ACK); return;
      case 'open': if (tcp.flags & SYN) { this.#ackNow = true; this.#host.touch(this); return; }
    }
    if (!(tcp.flags & ACK) || !this.#acknowledged(tcp)) return;
    this.#takeData(b, tcp);
    this.#host.touch(this);
  }

  #reset(tcp: Tcp): void {
    const right = this.state === 'calling' ? (tcp.flags & ACK) !== 0 && tcp.acknowledgement === this.#max
      : this.state === 'opening' || (diff(tcp.sequence, this.#rcvNxt) >= 0 && diff(tcp.sequence, this.#rcvNxt) <= Math.max(0, diff(this.#rcvEdge, this.#rcvNxt)));
    if (!right) return;
    this.#user.resetAndDestroy();
    this.#close();
  }

  #answered(b: Uint8Array, tcp: Tcp): void {
    if (!(tcp.flags & ACK) || !(tcp.flags & SYN) || tcp.acknowledgement !== this.#max) return;
    this.#rcvNxt = this.#rcvEdge = (tcp.sequence + 1) >>> 0;
    this.#takeOptions(b, tcp);
    this.#open(tcp);
    this.#window = this.#largestWindow = tcp.window;
    this.#ackNow = true;
    this.#user.resume();
    this.#host.touch(this);
  }

  #open(tcp: Tcp): void {
    this.state = 'open';
    this.#una = this.#nxt = tcp.acknowledgement;
    this.#retries = 0;
    this.deadlineMs = Infinity;
    if (this.#timed) this.#measure(tcp.acknowledgement);
  }

  #takeOptions(b: Uint8Array, tcp: Tcp): void {
    const { mss = DEFAULT_MSS, windowShift } = parseTcpOptions(b, tcp.optionsAt, tcp.at);
    this.#mss = Math.max(MIN_MSS, Math.min(mss, this.#largestSegment));
    this.#scaling = windowShift !== undefined;
    this.#windowShift = windowShift ?? 0;
  }

  /** @returns false if the segment is not to be looked at further */
  #acknowledged(tcp: Tcp): boolean {
    const ack = tcp.acknowledgement;
    if (diff(ack, this.#max) > 0) { this.#ackNow = true; this.#host.touch(this); return false; }
    const fresh = diff(ack, this.#una);
    if (fresh < 0) return true;
    const window = tcp.window << this.#windowShift, sameWindow = window === this.#window;
    // What was sent against the closed window as a probe was most likely not taken.
    if (this.#window === 0 && window > 0 && fresh === 0) this.#nxt = this.#una;
    this.#window = window;
    if (window > this.#largestWindow) this.#largestWindow = window;
    if (fresh > 0) this.#take(ack, fresh);
    else if (sameWindow && tcp.at === tcp.end && !(tcp.flags & FIN) && diff(this.#max, this.#una) > 0) this.#duplicate();
    return true;
  }

  #take(ack: number, fresh: number): void {
    const bytes = Math.min(fresh, this.#toPeer.size), finTaken = fresh > this.#toPeer.size;
    this.#toPeer.consume(bytes);
    this.#una = ack;
    if (diff(this.#nxt, ack) < 0) this.#nxt = ack;
    this.#measure(ack);
    this.#retries = 0;
    this.#duplicates = 0;
    if (this.#recover !== undefined) {
      if (diff(ack, this.#recover) >= 0) { this.#recover = undefined; this.#congestion = this.#threshold; }
      else this.#resendFirst();
    } else if (this.#congestion !== Infinity) {
      this.#congestion += this.#congestion < this.#threshold ? bytes : Math.max(1, Math.floor(this.#mss * bytes / this.#congestion));
      if (this.#congestion > this.#host.limit() * 2) this.#congestion = Infinity;
    }
    if (diff(this.#max, ack) > 0) this.#deadline(this.#rtoMs); else this.deadlineMs = Infinity;
    if (this.#paused && this.#toPeer.size <= this.#host.limit() / 2) { this.#paused = false; this.#user.resume(); }
    if (finTaken) this.#ownEndTaken();
  }

  #duplicate(): void {
    if (++this.#duplicates < DUPLICATES || this.#recover !== undefined) return;
    const inFlight = diff(this.#max, this.#una);
    this.#threshold = Math.max(2 * this.#mss, Math.floor(inFlight / 2));
    this.#congestion = this.#threshold;
    this.#recover = this.#max;
    this.#resendFirst();
  }
  #resendFirst(): void {
    this.#timed = undefined;
    const count = Math.min(this.#mss, this.#toPeer.size);
    if (count > 0) this.#emit(this.#una, count, ACK); else if (this.#userEnded) this.#emit(this.#una, 0, FIN | ACK);
    this.#deadline(this.#rtoMs);
  }

  #takeData(b: Uint8Array, tcp: Tcp): void {
    const fin = (tcp.flags & FIN) !== 0, byteCount = tcp.end - tcp.at;
    if (byteCount === 0 && !fin) return;
    this.#ackNow = true;
    const ahead = diff(tcp.sequence, this.#rcvNxt);
    if (ahead > 0) {
      if (!this.#peerEnded && ahead + byteCount <= diff(this.#rcvEdge, this.#rcvNxt)) this.#early.add(tcp.sequence, b.slice(tcp.at, tcp.end), fin);
      // One answer for each, so that the peer can count them.
      this.#emit(this.#nxt, 0, ACK);
      return;
    }
    if (this.#peerEnded || -ahead > byteCount || (-ahead === byteCount && !fin)) return;
    this.#accept(b, tcp.at - ahead, tcp.end, fin);
    for (let next = this.#early.take(this.#rcvNxt); next; next = this.#early.take(this.#rcvNxt)) this.#accept(next.bytes, next.from, next.bytes.length, next.fin);
  }

  #accept(b: Uint8Array, from: number, to: number, fin: boolean): void {
    if (this.#peerEnded) return;
    const count = Math.min(to - from, diff(this.#rcvEdge, this.#rcvNxt));
    if (count > 0) {
      const kept = this.#keep(b, from, from + count), last = this.#pending.at(-1);
      // Copies that lie one behind the other are one write.
      if (last && last.buffer === kept.buffer && last.byteOffset + last.length === kept.byteOffset) this.#pending[this.#pending.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.length + count);
      else this.#pending.push(kept);
      this.#pendingBytes += count;
      this.#rcvNxt = (this.#rcvNxt + count) >>> 0;
    }
    if (fin && from + Math.max(count, 0) === to) { this.#peerEnded = true; this.#rcvNxt = (this.#rcvNxt + 1) >>> 0; this.#early.clear(); }
  }

  #keep(b: Uint8Array, from: number, to: number): Uint8Array<ArrayBuffer> {
    const count = to - from, waits = this.#user.writableLength > 0 || this.#pending.length > 0;
    if (!this.#host.gathers || !waits || count >= GATHERED_BYTES / 4) return this.#host.keep(b, from, to);
    if (this.#gatheredAt + count > this.#gathered.length) { this.#gathered = new Uint8Array(GATHERED_BYTES); this.#gatheredAt = 0; }
    const kept = this.#gathered.subarray(this.#gatheredAt, this.#gatheredAt += count);
    kept.set(b.subarray(from, to));
    return kept;
  }

  // Once per turn.

  /** Hands on what has come from the peer, and sends what may be sent. */
  flush(): void {
    if (this.state === 'closed') return;
    if (this.state === 'open') { this.#writeUser(); this.#sendData(); }
    if (this.#ackNow && (this.state === 'open' || this.state === 'lingering')) this.#emit(this.#nxt, 0, ACK);
  }

  #writeUser(): void {
    const pieces = this.#pending, gathering = this.#host.gathers && this.#user.writableLength > 0 && this.#pendingBytes < GATHERED_BYTES && !this.#peerEnded;
    if (pieces.length > 0 && !gathering) {
      this.#pending = [];
      this.#pendingBytes = 0;
      if (pieces.length > 1) this.#user.cork();
      for (const piece of pieces) this.#user.write(piece, this.#wrote);
      if (pieces.length > 1) this.#user.uncork();
    }
    if (this.#peerEnded && !this.#user.writableEnded) { this.#user.end(); this.#lingerIfDone(); }
  }
  readonly #wrote = (error?: Error | null): void => {
    if (error) return;
    this.userTook();
    if (this.#pending.length > 0) this.#host.touch(this); else if (this.#user.writableLength === 0) this.#gathered = EMPTY;
  };

  #sendData(): void {
    for (;;) {
      const inFlight = diff(this.#nxt, this.#una), left = this.#toPeer.size - inFlight;
      if (left <= 0) break;
      const usable = Math.min(this.#window, this.#congestion) - inFlight;
      let count = Math.min(left, usable, this.#largestPacket);
      if (count <= 0) { if (inFlight === 0 && this.deadlineMs === Infinity) this.#deadline(this.#rtoMs); break; }
      // Part of a segment only as the last, or if the peer's window was never larger.
      if (count < this.#mss && count < left && inFlight > 0 && count < this.#largestWindow / 2) break;
      if (count > this.#mss && count < left) count -= count % this.#mss;
      const room = this.#host.room(this.ends.peerMac);
      if (room < this.#headerBytes + count) {
        count = Math.floor((room - this.#headerBytes) / this.#mss) * this.#mss;
        if (count <= 0) { this.#host.block(this); break; }
      }
      this.#timed ??= this.#nxt === this.#max ? { sequence: (this.#nxt + count) >>> 0, atMs: this.#host.nowMs() } : undefined;
      this.#emit(this.#nxt, count, count === left ? ACK | PSH : ACK);
      this.#nxt = (this.#nxt + count) >>> 0;
      this.#sent();
    }
    if (this.#userEnded && !this.#finTaken && diff(this.#nxt, this.#una) === this.#toPeer.size) {
      this.#emit(this.#nxt, 0, FIN | ACK);
      this.#nxt = (this.#nxt + 1) >>> 0;
      this.#sent();
    }
  }
  #sent(): void {
    if (diff(this.#nxt, this.#max) > 0) this.#max = this.#nxt;
    if (this.deadlineMs === Infinity) this.#deadline(this.#rtoMs);
  }
  /** Payload of the largest packet handed on at once: whole segments, a third of the window so that they follow each other. */
  get #largestPacket(): number {
    const bytes = Math.min(this.#host.largestPacketBytes - (this.#headerBytes - ETH_HLEN), this.#largestWindow / 3);
    return Math.max(1, Math.floor(bytes / this.#mss)) * this.#mss;
  }

  #ownEndTaken(): void { this.#finTaken = true; this.#lingerIfDone(); }
  #finTaken = false;
  /** Not before the user has been told of the peer's end, and so has all that came before it: that is at the turn's end. */
  #lingerIfDone(): void {
    if (!this.#finTaken || !this.#peerEnded || !this.#user.writableEnded || this.state !== 'open') return;
    this.state = 'lingering';
    this.#deadline(LINGER_MS);
  }

  // Time.

  tick(nowMs: number): void {
    if (nowMs < this.deadlineMs) return;
    this.deadlineMs = Infinity;
    if (this.state === 'lingering') { this.#close(); return; }
    if (this.state === 'opening') { this.#user.destroy(); this.userFailed(); return; }
    if (this.state === 'answering' || this.state === 'calling') {
      if (++this.#retries > MAX_SYN_RETRIES) { this.#user.resetAndDestroy(); this.#close(); return; }
      this.#backOff();
      this.#sendSyn();
      return;
    }
    if (this.#window === 0 && this.#toPeer.size > 0) { this.#probe(); return; }
    if (diff(this.#max, this.#una) === 0) return;
    if (++this.#retries > MAX_RETRIES) { this.#emit(this.#nxt, 0, RST | ACK); this.#user.resetAndDestroy(); this.#close(); return; }
    this.#threshold = Math.max(2 * this.#mss, Math.floor(diff(this.#max, this.#una) / 2));
    this.#congestion = this.#mss;
    this.#recover = undefined;
    this.#duplicates = 0;
    this.#timed = undefined;
    this.#nxt = this.#una;
    this.#backOff();
    this.#host.touch(this);
  }
  #backOff(): void { this.#rtoMs = Math.min(this.#rtoMs * 2, RTO_MAX_MS); }

  /** One byte against a closed window; a peer that answers, though with no window, keeps the connection. */
  #probe(): void {
    if (this.#host.nowMs() - this.lastHeardMs > RTO_MAX_MS * 5) { this.#user.resetAndDestroy(); this.#close(); return; }
    this.#emit(this.#una, 1, ACK);
    if (diff((this.#una + 1) >>> 0, this.#max) > 0) this.#max = (this.#una + 1) >>> 0;
    if (diff(this.#nxt, this.#max) < 0) this.#nxt = this.#max;
    this.#timed = undefined;
    this.#backOff();
    this.#deadline(this.#rtoMs);
  }

  #measure(ack: number): void {
    const timed = this.#timed;
    if (!timed || diff(ack, timed.sequence) < 0) return;
    this.#timed = undefined;
    const tookMs = this.#host.nowMs() - timed.atMs;
    if (this.#smoothedMs === undefined) { this.#smoothedMs = tookMs; this.#varianceMs = tookMs / 2; }
    else {
      this.#varianceMs += (Math.abs(this.#smoothedMs - tookMs) - this.#varianceMs) / 4;
      this.#smoothedMs += (tookMs - this.#smoothedMs) / 8;
    }
    this.#rtoMs = Math.min(RTO_MAX_MS, Math.max(RTO_MIN_MS, this.#smoothedMs + 4 * this.#varianceMs));
  }

  #deadline(afterMs: number): void {
    this.deadlineMs = this.#host.nowMs() + afterMs;
    this.#host.arm(this);
  }

  /** Ends the connection from outside: a reset both ways. */
  abort(): void {
    if (this.state === 'closed') return;
    if (this.state === 'open' || this.state === 'answering') this.#emit(this.#nxt, 0, RST | ACK);
    this.#user.resetAndDestroy();
    this.#close();
  }
  #close(): void {
    this.state = 'closed';
    this.deadlineMs = Infinity;
    this.#pending = [];
    this.#early.clear();
    this.#toPeer.consume(this.#toPeer.size);
    if (!this.#user.destroyed) this.#user.destroy();
    this.#host.remove(this);
  }

  // Segments.

  #freeBytes(): number { return Math.max(0, this.#host.limit() - this.#user.writableLength - this.#pendingBytes - this.#early.byteCount); }

  #sendSyn(): void {
    const flags = this.state === 'calling' ? SYN : SYN | ACK;
    const shift = this.state === 'calling' || this.#scaling ? WINDOW_SHIFT : undefined;
    this.#timed ??= this.#nxt === this.#max && this.#retries === 0 ? { sequence: (this.#una + 1) >>> 0, atMs: this.#host.nowMs() } : undefined;
    if (this.#retries > 0) this.#timed = undefined;
    this.#emit(this.#una, 0, flags, synOptions(this.#largestSegment, shift));
    this.#nxt = this.#max = (this.#una + 1) >>> 0;
    this.#deadline(this.#rtoMs);
  }

  /** @param count bytes of #toPeer from `sequence` on */
  #emit(sequence: number, count: number, flags: number, options?: Uint8Array): void {
    const b = scratch, headers = this.#headers, optionBytes = options?.length ?? 0, at = this.#headerBytes - TCP_HLEN;
    const length = this.#headerBytes + optionBytes + count, tcpBytes = length - at;
    b.set(headers);
    if (at === ETH_HLEN + IPV4_HLEN) {
      const id = this.#ipId;
      this.#ipId = (id + Math.max(1, Math.ceil(count / this.#mss))) & 0xffff;
      put16(b, ETH_HLEN + 2, IPV4_HLEN + tcpBytes);
      put16(b, ETH_HLEN + 4, id);
      put16(b, ETH_HLEN + 10, ~foldSum(this.#ipSum + IPV4_HLEN + tcpBytes + id) & 0xffff);
    } else put16(b, ETH_HLEN + 4, tcpBytes);
    put32(b, at + 4, sequence);
    put32(b, at + 8, flags & ACK ? this.#rcvNxt : 0);
    b[at + 12] = (TCP_HLEN + optionBytes) / 4 << 4;
    b[at + 13] = flags;
    put16(b, at + 14, this.#advertise((flags & SYN) !== 0));
    put16(b, at + 16, foldSum(this.#pseudo + tcpBytes));
    put16(b, at + 18, 0);
    if (options) b.set(options, at + TCP_HLEN);
    if (count > 0) this.#toPeer.copyTo(b, this.#headerBytes + optionBytes, diff(sequence, this.#una), count);
    this.#ackNow = false;
    const bytes = b.subarray(0, length);
    this.#host.send(count > this.#mss ? { bytes, checksum: 'blank', gso: { type: this.ends.peer.length === 4 ? 'tcpv4' : 'tcpv6', size: this.#mss } } : { bytes, checksum: 'blank' });
  }

  /** The window field, and with it the promise it makes. */
  #advertise(syn: boolean): number {
    const shift = syn || !this.#scaling ? 0 : WINDOW_SHIFT;
    const promised = Math.max(0, diff(this.#rcvEdge, this.#rcvNxt)), free = Math.max(this.#freeBytes(), promised);
    const field = Math.min(MAX_WINDOW, free >> shift);
    const edge = (this.#rcvNxt + (field << shift)) >>> 0;
    if (diff(edge, this.#rcvEdge) > 0) this.#rcvEdge = edge;
    return field;
  }
}

/** Whether a segment belongs to these ends. */
export const sameEnds = (e: TcpEnds, b: Uint8Array, peerAt: number, ownAt: number, addressBytes: number): boolean =>
  e.peer.length === addressBytes && sameBytes(e.peer, 0, b, peerAt, addressBytes) && sameBytes(e.own, 0, b, ownAt, addressBytes);
