// The front end of a shared ring (public/io/ring.h). Our own indexes are kept here and only published there; the
// backend's is read, checked, and used. Ordering: an entry is written before the index that makes it visible.
import { sring } from '../../hypervisor/public/io/ring.ts';
import { PAGE_BYTES } from '../kernel/heap.ts';

export class RingError extends Error {}

export class FrontRing {
  readonly entryCount: number;
  readonly #pages: readonly Uint8Array<SharedArrayBuffer>[]; readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #slotBytes: number;
  #requestProduced = 0;
  #responseConsumed = 0;

  /** @param requestBytes of a request, the larger of the two @param responseBytes of a response */
  constructor(pages: readonly Uint8Array<SharedArrayBuffer>[], requestBytes: number) {
    this.#pages = pages;
    this.#slotBytes = requestBytes;
    this.#words = new Int32Array(pages[0]!.buffer, pages[0]!.byteOffset, PAGE_BYTES / 4);
    this.entryCount = 2 ** Math.floor(Math.log2((pages.length * PAGE_BYTES - sring.ring) / requestBytes));
    this.#store(sring.req_prod, 0);
    this.#store(sring.rsp_prod, 0);
    this.#store(sring.req_event, 1);
    this.#store(sring.rsp_event, 1);
  }
  get free(): number { return this.entryCount - (this.#requestProduced - this.#responseConsumed >>> 0); }
  get inFlight(): number { return this.entryCount - this.free; }

  /** There is something to take(). */
  get hasResponse(): boolean { return this.#load(sring.rsp_prod) >>> 0 !== this.#responseConsumed; }

  /** Writes a request; push() makes it visible. */
  put(request: Uint8Array): void {
    this.#copy(this.#requestProduced, request, true);
    this.#requestProduced = this.#requestProduced + 1 >>> 0;
  }
  /** @returns whether the backend wants an event */
  push(): boolean {
    const before = this.#load(sring.req_prod) >>> 0, now = this.#requestProduced;
    this.#store(sring.req_prod, now);
    const event = this.#load(sring.req_event) >>> 0;
    return (now - event >>> 0) < (now - before >>> 0);
  }
  /** A copy of the next response, or undefined. @throws RingError where the backend's index makes no sense */
  take(responseBytes: number): Uint8Array | undefined {
    const produced = this.#load(sring.rsp_prod) >>> 0, waiting = produced - this.#responseConsumed >>> 0;
    if (waiting > this.inFlight) throw new RingError(`the backend's index is ${produced}, ours ${this.#responseConsumed}`);
    if (waiting === 0) return undefined;
    const response = new Uint8Array(responseBytes);
    this.#copy(this.#responseConsumed, response, false);
    this.#responseConsumed = this.#responseConsumed + 1 >>> 0;
    return response;
  }
  /** Asks for an event with the next response, or, for who has enough to do, when half of what is under way has come. @returns true if one has come meanwhile */
  finalCheck(halfway = false): boolean {
    this.#store(sring.rsp_event, this.#responseConsumed + (halfway ? Math.max(1, this.inFlight >>> 1) : 1));
    return this.hasResponse;
  }

  /** A slot may lie across two pages. Byte by byte: a view costs more than it saves. */
  #copy(index: number, data: Uint8Array, into: boolean): void {
    let at = sring.ring + (index & this.entryCount - 1) * this.#slotBytes;
    for (let done = 0; done < data.length;) {
      const page = this.#pages[Math.floor(at / PAGE_BYTES)]!, within = at % PAGE_BYTES, count = Math.min(data.length - done, PAGE_BYTES - within);
      if (into) for (let i = 0; i < count; i++) page[within + i] = data[done + i]!; else for (let i = 0; i < count; i++) data[done + i] = page[within + i]!;
      done += count;
      at += count;
    }
  }
  #load(offset: number): number { return Atomics.load(this.#words, offset / 4); }
  #store(offset: number, value: number): void { Atomics.store(this.#words, offset / 4, value | 0); }
}
