// The back end of a blkif ring in granted pages (io/ring.h), one page or several. Indexes are free-running u32.
// Entries of a multi-page ring may straddle two pages, which need not be neighbours.
import { REQUEST_BYTES } from '../../hypervisor/public/io/blkif.ts';
import { sring } from '../../hypervisor/public/io/ring.ts';
import type { BackRing } from './ring.ts';

/** Word indexes of the shared header's fields. */
const REQ_PROD = sring.req_prod / 4, REQ_EVENT = sring.req_event / 4, RSP_PROD = sring.rsp_prod / 4, RSP_EVENT = sring.rsp_event / 4;
const HEADER_BYTES = sring.ring;
const PAGE_BYTES = 4096;

/** __RING_SIZE: entries that fit, rounded down to a power of two. */
export const ringEntries = (pageCount: number): number => 2 ** Math.floor(Math.log2((pageCount * PAGE_BYTES - HEADER_BYTES) / REQUEST_BYTES));

export class SharedRing implements BackRing {
  readonly entryCount: number;
  readonly #pages: readonly Uint8Array<SharedArrayBuffer>[];
  readonly #indexes: Int32Array<SharedArrayBuffer>;
  #reqCons: number;
  #rspProd: number;

  /** Takes up where a backend before left: answered requests are not run again. @throws if the indexes make no sense */
  constructor(pages: readonly Uint8Array<SharedArrayBuffer>[]) {
    const first = pages[0]!;
    this.#pages = pages;
    this.entryCount = ringEntries(pages.length);
    this.#indexes = new Int32Array(first.buffer, first.byteOffset, 4);
    this.#rspProd = this.#load(RSP_PROD);
    this.#reqCons = this.#rspProd;
    this.#pending();
  }

  take(): Uint8Array | undefined {
    if (this.#pending() === 0) return undefined;
    const entry = new Uint8Array(REQUEST_BYTES);
    this.#copy(this.#reqCons, (page, at) => { entry.set(page, at); }, REQUEST_BYTES);
    this.#reqCons = (this.#reqCons + 1) >>> 0;
    return entry;
  }

  finalCheck(): boolean {
    if (this.#pending() > 0) return true;
    Atomics.store(this.#indexes, REQ_EVENT, (this.#reqCons + 1) | 0);
    return this.#pending() > 0;
  }

  respond(response: Uint8Array): void {
    this.#copy(this.#rspProd, (page, at) => { page.set(response.subarray(at, at + page.length)); }, response.length);
    this.#rspProd = (this.#rspProd + 1) >>> 0;
  }

  push(): boolean {
    const old = this.#load(RSP_PROD), now = this.#rspProd;
    Atomics.store(this.#indexes, RSP_PROD, now | 0);
    return ((now - this.#load(RSP_EVENT)) >>> 0) < ((now - old) >>> 0);
  }

  /** Requests not taken yet. @throws if the frontend claims more than the ring holds */
  #pending(): number {
    const produced = this.#load(REQ_PROD);
    if (((produced - this.#rspProd) >>> 0) > this.entryCount) throw new Error(`req_prod ${produced} is more than ${this.entryCount} ahead of rsp_prod ${this.#rspProd}`);
    return (produced - this.#reqCons) >>> 0;
  }

  #load(index: number): number { return Atomics.load(this.#indexes, index) >>> 0; }

  /** Gives `use` the one or two pieces of the slot of `index`, each with its offset in the slot. */
  #copy(index: number, use: (piece: Uint8Array<SharedArrayBuffer>, at: number) => void, byteCount: number): void {
    const start = HEADER_BYTES + (index & (this.entryCount - 1)) * REQUEST_BYTES;
    for (let done = 0; done < byteCount;) {
      const at = start + done, within = at % PAGE_BYTES;
      const size = Math.min(byteCount - done, PAGE_BYTES - within);
      use(this.#pages[Math.floor(at / PAGE_BYTES)]!.subarray(within, within + size), done);
      done += size;
    }
  }
}
