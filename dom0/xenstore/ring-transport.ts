// A domain's connection: the shared page of io/xs_wire.h and an event channel. All of the page is the guest's to
// write; the indexes are read once, checked, and used.
import {
  xenstore_domain_interface as page, XENSTORE_CONNECTED, XENSTORE_ERROR_COMM, XENSTORE_ERROR_NONE, XENSTORE_ERROR_PROTO,
  XENSTORE_ERROR_RINGIDX, XENSTORE_RECONNECT, XENSTORE_RING_SIZE, XENSTORE_SERVER_FEATURE_ERROR,
  XENSTORE_SERVER_FEATURE_RECONNECTION, XENSTORE_SERVER_FEATURE_WATCHDEPTH,
} from '../../hypervisor/public/io/xs_wire.ts';
import type { Connection } from './connection.ts';
import type { RingState } from './records.ts';
import { WireError, WireParser, type WireMessage } from './wire.ts';

export interface RingOptions {
  /** The whole page, 4096 bytes. */
  readonly page: Uint8Array<SharedArrayBuffer>;
  readonly connection: Connection;
  handle(message: WireMessage): void;
  /** Drops the connection's watches and transactions. */
  reset(): void;
  notify(): void;
  /** What happens to the streams, before it is to be seen in the ring. */
  readonly noted?: RingNotes;
  /** Replies queued at which no more requests are read. */
  maxOutstanding(): number;
  log(line: string): void;
}

export interface RingNotes {
  restarted(): void;
  received(part: Uint8Array, requestBytes: number): void;
  handled(requestBytes: number): void;
  queued(bytes: Uint8Array): void;
  flush(): void;
}

/** Requests handled per upcall; a guest that sends without pause must not keep Dom0 from other work. */
const BATCH = 64;
/** A guest that breaks its ring and reconnects, again and again, may not fill the log. */
const MAX_COMPLAINTS = 10;
const FEATURES = XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR | XENSTORE_SERVER_FEATURE_WATCHDEPTH;
const MASK = XENSTORE_RING_SIZE - 1;

export class RingTransport {
  readonly #o: RingOptions;
  readonly #bytes: Uint8Array<SharedArrayBuffer>;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #parser = new WireParser();
  /** Positions of the two streams, Dom0's own: what the ring says of them is the guest's to write. */
  #requestBytes = 0;
  #replyBytes = 0;
  #scheduled: NodeJS.Immediate | undefined;
  #broken = false;
  #complaints = 0;
  #running = false;

  constructor(options: RingOptions) {
    this.#o = options;
    this.#bytes = options.page;
    this.#words = new Int32Array(options.page.buffer, options.page.byteOffset, 1024);
    options.connection.onOutput = () => this.#schedule();
    options.connection.onQueued = bytes => options.noted?.queued(bytes);
    options.connection.onOverflow = () => this.#fail(XENSTORE_ERROR_COMM, 'it does not read its replies and events');
    this.#store(page.server_features, FEATURES);
  }

  /** Empties both queues, as at INTRODUCE. */
  restart(): void {
    this.#parser.reset();
    this.#o.connection.clear();
    this.#o.reset();
    this.#broken = false;
    this.#o.noted?.restarted();
    this.#o.noted?.flush();
    this.#requestBytes = this.#replyBytes = 0;
    for (const index of [page.req_cons, page.req_prod, page.rsp_cons, page.rsp_prod]) this.#store(index, 0);
    this.#store(page.error, XENSTORE_ERROR_NONE);
    this.#store(page.connection, XENSTORE_CONNECTED);
  }

  /** Positions, and what is between the two ends, as a transport that goes on from here needs it. */
  state(): RingState {
    return { requestBytes: this.#requestBytes, partial: this.#parser.partial, replyBytes: this.#replyBytes, unsent: this.#o.connection.unsent() };
  }

  /** Goes on where a transport before this one was cut off: each request is carried out once, each reply given once. */
  resume({ requestBytes, partial, replyBytes, unsent }: RingState): void {
    // Of what was queued behind `replyBytes`, the ring has had so much already.
    const given = (this.#load(page.rsp_prod) - replyBytes) >>> 0;
    if (given > unsent.length) { this.#fail(XENSTORE_ERROR_RINGIDX, `its response queue claims ${given} bytes of ${unsent.length}`); return; }
    this.#requestBytes = requestBytes;
    this.#replyBytes = (replyBytes + given) | 0;
    this.#store(page.req_cons, requestBytes);
    if (partial.length > 0) this.#parser.resume(partial);
    this.#o.connection.resume(Buffer.from(unsent.subarray(given)));
    this.#o.notify();
  }

  onEvent(): void {
    if (this.#running) return;
    this.#running = true;
    try { this.#serve(); } finally { this.#running = false; }
  }

  close(): void {
    clearImmediate(this.#scheduled);
    this.#broken = true;
    this.#o.connection.onOutput = () => {};
    this.#o.connection.onQueued = () => {};
    this.#o.connection.onOverflow = () => {};
  }

  #serve(): void {
    if (this.#load(page.connection) === XENSTORE_RECONNECT) { this.restart(); this.#o.notify(); return; }
    if (this.#broken) return;
    try {
      let moved = this.#send(), more = false;
      for (let done = 0; !this.#broken && this.#hasRoom;) {
        const byteCount = this.#receive();
        if (byteCount === 0) break;
        moved += byteCount;
        if (!this.#parser.midMessage && ++done >= BATCH) { more = true; break; }
      }
      moved += this.#send();
      if (moved > 0) this.#o.notify();
      // A guest may say that it has taken answers only where it found their queue full.
      if (more || !this.#broken && this.#hasRoom && this.#load(page.req_prod) !== this.#requestBytes) this.#defer();
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      this.#fail(error instanceof RingIndexError ? XENSTORE_ERROR_RINGIDX : XENSTORE_ERROR_PROTO, error.message);
    }
  }

  get #hasRoom(): boolean { return this.#o.connection.outstanding < this.#o.maxOutstanding(); }

  /** Takes what is there of one message. @returns bytes taken */
  #receive(): number {
    const cons = this.#requestBytes, prod = this.#load(page.req_prod);
    const available = checkedDistance(prod, cons, 'request');
    const at = cons & MASK, byteCount = Math.min(available, this.#parser.wanted, XENSTORE_RING_SIZE - at);
    if (byteCount === 0) return 0;
    const part = this.#bytes.slice(page.req + at, page.req + at + byteCount), message = this.#parser.push(part);
    this.#requestBytes = (cons + byteCount) | 0;
    if (!message) this.#o.noted?.received(part, this.#requestBytes);
    else if (this.#handle(message)) return byteCount;
    this.#o.noted?.flush();
    this.#store(page.req_cons, this.#requestBytes);
    return byteCount;
  }

  /** @returns true if the ring was restarted or broke meanwhile */
  #handle(message: WireMessage): boolean {
    this.#o.handle(message);
    this.#o.noted?.handled(this.#requestBytes);
    return this.#broken;
  }

  #send(): number {
    let total = 0;
    if (this.#o.connection.outstanding > 0) this.#o.noted?.flush();
    for (let chunk = this.#o.connection.peek(); chunk; chunk = this.#o.connection.peek()) {
      const cons = this.#load(page.rsp_cons), prod = this.#replyBytes;
      const free = XENSTORE_RING_SIZE - checkedDistance(prod, cons, 'response');
      const at = prod & MASK, byteCount = Math.min(free, chunk.length, XENSTORE_RING_SIZE - at);
      if (byteCount === 0) break;
      this.#bytes.set(chunk.subarray(0, byteCount), page.rsp + at);
      this.#replyBytes = (prod + byteCount) | 0;
      this.#store(page.rsp_prod, this.#replyBytes);
      this.#o.connection.sent(byteCount);
      total += byteCount;
    }
    return total;
  }

  #schedule(): void {
    if (!this.#broken && !this.#running) this.#defer();
  }
  #defer(): void {
    this.#scheduled ??= setImmediate(() => { this.#scheduled = undefined; this.onEvent(); });
  }

  #fail(code: number, why: string): void {
    this.#broken = true;
    if (this.#complaints++ < MAX_COMPLAINTS) this.#o.log(`xenstore: no more requests of ${this.#o.connection.name} are read: ${why}`);
    this.#o.connection.clear();
    this.#o.reset();
    this.#o.noted?.restarted();
    this.#store(page.error, code);
    this.#o.notify();
  }

  #load(offset: number): number { return Atomics.load(this.#words, offset >> 2); }
  #store(offset: number, value: number): void { Atomics.store(this.#words, offset >> 2, value | 0); }
}

class RingIndexError extends WireError {}

function checkedDistance(prod: number, cons: number, queue: string): number {
  const distance = (prod - cons) >>> 0;
  if (distance > XENSTORE_RING_SIZE) throw new RingIndexError(`the ${queue} queue's indexes are ${cons >>> 0} and ${prod >>> 0}`);
  return distance;
}
