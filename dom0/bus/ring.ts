// Shared producer-consumer rings (io/ring.h), seen from either end. The pages belong to the frontend's domain: what
// is read from them is copied once and checked. Indexes are free-running uint32; entries may straddle two pages.
import { sring } from '../../hypervisor/public/io/ring.ts';

/** The peer's indexes make no sense: the ring is of no more use. */
export class RingError extends Error {}

type Page = Uint8Array<SharedArrayBuffer>;
const PAGE_BYTES = 4096, PAGE_WORDS = PAGE_BYTES / 4;

/** Entries that fit: a power of two, so that an index is reduced by a mask. */
export function ringSize(byteCount: number, entryBytes: number): number {
  const fit = Math.floor((byteCount - sring.ring) / entryBytes);
  return fit < 1 ? 0 : 2 ** Math.floor(Math.log2(fit));
}

/** Distance between two free-running indexes. */
const distance = (ahead: number, behind: number): number => (ahead - behind) >>> 0;

class SharedRing {
  readonly entryCount: number;
  readonly entryBytes: number;
  readonly #pages: readonly Page[];
  readonly #words: readonly Int32Array<SharedArrayBuffer>[];
  readonly #header: Int32Array<SharedArrayBuffer>;

  /** @throws RingError */
  constructor(pages: readonly Page[], entryBytes: number) {
    const first = pages[0];
    if (!first || pages.some(p => p.length !== PAGE_BYTES)) throw new RingError('a ring consists of whole pages');
    this.#pages = pages;
    this.#words = pages.map(p => new Int32Array(p.buffer, p.byteOffset, PAGE_BYTES / 4));
    this.#header = this.#words[0]!;
    this.entryBytes = entryBytes;
    this.entryCount = ringSize(pages.length * PAGE_BYTES, entryBytes);
    if (this.entryCount === 0 || entryBytes % 4 !== 0) throw new RingError(`an entry of ${entryBytes} bytes does not fit the ring`);
  }

  load(offset: number): number { return Atomics.load(this.#header, offset >> 2) >>> 0; }
  store(offset: number, value: number): void { Atomics.store(this.#header, offset >> 2, value | 0); }

  /** A private copy of the entry, into `entry`. */
  copyOut(index: number, entry: Uint8Array): void { this.#copy(index, entry, false); }
  copyIn(index: number, entry: Uint8Array, byteCount = entry.length): void {
    if (byteCount > this.entryBytes) throw new RangeError(`${byteCount} bytes do not fit an entry of ${this.entryBytes}`);
    this.#copy(index, entry, true, byteCount);
  }
  /** A whole entry into words of the caller's: a quarter of the steps. */
  copyOutWords(index: number, entry: Int32Array): void {
    const at = (sring.ring + (index & (this.entryCount - 1)) * this.entryBytes) >> 2;
    let page = this.#words[Math.floor(at / PAGE_WORDS)]!, inPage = at % PAGE_WORDS;
    for (let i = 0; i < entry.length; i++, inPage++) {
      if (inPage === PAGE_WORDS) { page = this.#words[Math.floor((at + i) / PAGE_WORDS)]!; inPage = 0; }
      entry[i] = page[inPage]!;
    }
  }

  /** Byte by byte: a view costs more than it saves. */
  #copy(index: number, entry: Uint8Array, into: boolean, byteCount = entry.length): void {
    let at = sring.ring + (index & (this.entryCount - 1)) * this.entryBytes;
    for (let from = 0; from < byteCount;) {
      const page = this.#pages[Math.floor(at / PAGE_BYTES)]!, inPage = at % PAGE_BYTES, count = Math.min(byteCount - from, PAGE_BYTES - inPage);
      if (into) for (let i = 0; i < count; i++) page[inPage + i] = entry[from + i]!; else for (let i = 0; i < count; i++) entry[from + i] = page[inPage + i]!;
      from += count;
      at += count;
    }
  }
}

/** A request taken off the ring, and the same memory as words. */
interface Copy { readonly bytes: Uint8Array; readonly words: Int32Array }
function newCopy(entryBytes: number): Copy {
  const bytes = new Uint8Array(entryBytes);
  return { bytes, words: new Int32Array(bytes.buffer) };
}

/** The backend's end: takes requests, gives responses. */
export class BackRing {
  readonly #ring: SharedRing;
  #reqCons: number;
  /** Requests before this index are known to be there. */
  #seen: number;
  #rspProdPvt: number;
  /** By place in the ring: private copies of the requests taken and not yet answered; those of others are used again. */
  readonly #copies: Copy[];
  /** Copies of requests over whose beginning the response has been written, until push(). */
  readonly #answers: Uint8Array[] = [];
  #answerCount = 0;
  #answerBytes = 0;

  /**
   * Goes on where a backend before left off, if that one answered in order or by answer(): from the last response on
   * the ring holds exactly what is not answered.
   * @param pages mapped from the frontend's grants, in order @param entryBytes size of the request/response union
   * @throws RingError
   */
  constructor(pages: readonly Page[], entryBytes: number) {
    this.#ring = new SharedRing(pages, entryBytes);
    const start = this.#ring.load(sring.rsp_prod), produced = this.#ring.load(sring.req_prod);
    if (distance(produced, start) > this.#ring.entryCount) throw new RingError(`the ring starts with req_prod ${produced} and rsp_prod ${start}`);
    this.#reqCons = this.#rspProdPvt = this.#seen = start;
    this.#copies = Array.from({ length: this.#ring.entryCount }, () => newCopy(entryBytes));
  }
  #placeOf(index: number): number { return index & (this.#ring.entryCount - 1); }

  get entryCount(): number { return this.#ring.entryCount; }
  /** Requests taken and not yet answered. */
  get inFlight(): number { return distance(this.#reqCons, this.#rspProdPvt); }
  /** Requests that take() would give. @throws RingError */
  get unconsumed(): number { return distance(this.#produced(), this.#reqCons); }

  /** A private copy of the next request, the caller's until it is answered. @throws RingError the frontend claims more requests than fit */
  take(): Uint8Array | undefined {
    if (this.#reqCons === this.#seen && (this.#seen = this.#produced()) === this.#reqCons) return undefined;
    const copy = this.#copies[this.#placeOf(this.#reqCons)]!;
    this.#ring.copyOutWords(this.#reqCons, copy.words);
    this.#reqCons = (this.#reqCons + 1) >>> 0;
    return copy.bytes;
  }

  /**
   * To be called when fewer than `wanted` requests are there and the backend is about to wait: asks for an event when
   * they are.
   * @returns true if they came meanwhile, so that there is no event to wait for
   */
  finalCheck(wanted = 1): boolean {
    if (this.unconsumed >= wanted) return true;
    this.#ring.store(sring.req_event, this.#reqCons + wanted);
    return this.unconsumed >= wanted;
  }

  /** Puts the response to the oldest of the requests taken; the frontend sees it after push(). */
  respond(response: Uint8Array): void { this.#respond(response, response.length); }
  #respond(response: Uint8Array, byteCount: number): void {
    if (this.inFlight === 0) throw new RangeError('a response without a request');
    this.#ring.copyIn(this.#rspProdPvt, response, byteCount);
    this.#rspProdPvt = (this.#rspProdPvt + 1) >>> 0;
  }

  /**
   * Puts the response to `request`, as take() gave it, whatever has been taken before or after it; push() shows it. Responses
   * of one ring are of one length. The request's copy ends with this: the response waits in it.
   */
  answer(request: Uint8Array, response: Uint8Array): void {
    for (let i = 0; i < response.length; i++) request[i] = response[i]!;
    this.#answerBytes = response.length;
    this.#answers[this.#answerCount++] = request;
  }

  /**
   * A response takes the place of the oldest request, which moves to where the answered one was. So a backend that is
   * started anew finds all that is unanswered, and nothing else, behind the last response.
   */
  #place(request: Uint8Array): void {
    let at = this.#rspProdPvt;
    while (at !== this.#reqCons && this.#copies[this.#placeOf(at)]!.bytes !== request) at = (at + 1) >>> 0;
    if (at === this.#reqCons) throw new RangeError('an answer to a request that was not taken');
    if (at !== this.#rspProdPvt) {
      const place = this.#placeOf(this.#rspProdPvt), oldest = this.#copies[place]!, answered = this.#copies[this.#placeOf(at)]!;
      this.#ring.copyIn(at, oldest.bytes);
      this.#copies[this.#placeOf(at)] = oldest;
      this.#copies[place] = answered;
    }
    this.#respond(request, this.#answerBytes);
  }

  /** Shows the frontend all responses. @returns true if it wants an event for them */
  push(): boolean {
    // The array keeps its length: setting that takes longer than all else here.
    for (let i = 0; i < this.#answerCount; i++) this.#place(this.#answers[i]!);
    this.#answerCount = 0;
    const old = this.#ring.load(sring.rsp_prod), now = this.#rspProdPvt;
    this.#ring.store(sring.rsp_prod, now);
    return distance(now, this.#ring.load(sring.rsp_event)) < distance(now, old);
  }

  #produced(): number {
    const produced = this.#ring.load(sring.req_prod), unanswered = distance(produced, this.#rspProdPvt);
    if (unanswered > this.#ring.entryCount) throw new RingError(`req_prod is ${produced}, more than ${this.#ring.entryCount} beyond the last response at ${this.#rspProdPvt}`);
    if (unanswered < this.inFlight) throw new RingError(`req_prod went back to ${produced}; requests up to ${this.#reqCons} have been taken`);
    return produced;
  }
}

/** The frontend's end: gives requests, takes responses. */
export class FrontRing {
  readonly #ring: SharedRing;
  #reqProdPvt = 0;
  #rspCons = 0;

  /** Makes the shared part anew. @throws RingError */
  constructor(pages: readonly Page[], entryBytes: number) {
    this.#ring = new SharedRing(pages, entryBytes);
    for (const index of [sring.req_prod, sring.rsp_prod]) this.#ring.store(index, 0);
    for (const event of [sring.req_event, sring.rsp_event]) this.#ring.store(event, 1);
  }

  get entryCount(): number { return this.#ring.entryCount; }
  get free(): number { return this.#ring.entryCount - distance(this.#reqProdPvt, this.#rspCons); }

  request(entry: Uint8Array): void {
    if (this.free === 0) throw new RangeError('the ring is full');
    this.#ring.copyIn(this.#reqProdPvt, entry);
    this.#reqProdPvt = (this.#reqProdPvt + 1) >>> 0;
  }
  /** @returns true if the backend wants an event */
  push(): boolean {
    const old = this.#ring.load(sring.req_prod), now = this.#reqProdPvt;
    this.#ring.store(sring.req_prod, now);
    return distance(now, this.#ring.load(sring.req_event)) < distance(now, old);
  }
  /** A private copy of the next response. @throws RingError the backend claims more responses than requests */
  take(): Uint8Array | undefined {
    const produced = this.#ring.load(sring.rsp_prod);
    if (distance(produced, this.#rspCons) > distance(this.#reqProdPvt, this.#rspCons)) throw new RingError(`rsp_prod is ${produced}, beyond the last request`);
    if (produced === this.#rspCons) return undefined;
    const entry = new Uint8Array(this.#ring.entryBytes);
    this.#ring.copyOut(this.#rspCons, entry);
    this.#rspCons = (this.#rspCons + 1) >>> 0;
    return entry;
  }
  /** @returns true if a response came meanwhile */
  finalCheck(): boolean {
    if (this.#ring.load(sring.rsp_prod) !== this.#rspCons) return true;
    this.#ring.store(sring.rsp_event, this.#rspCons + 1);
    return this.#ring.load(sring.rsp_prod) !== this.#rspCons;
  }
}
