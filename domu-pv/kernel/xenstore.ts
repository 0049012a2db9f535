// The xenstore client (public/io/xs_wire.h): one request at a time over the shared page, answers by request id, watch
// events in between.
import {
  XENSTORE_CONNECTED, XENSTORE_ERROR_NONE, XENSTORE_RECONNECT, XENSTORE_RING_SIZE, XS_DIRECTORY, XS_ERROR, XS_MKDIR, XS_READ, XS_RM, XS_TRANSACTION_END, XS_TRANSACTION_START, XS_UNWATCH, XS_WATCH,
  XS_WATCH_EVENT, XS_WRITE, xenstore_domain_interface as ring, xsd_sockmsg as header,
} from '../../hypervisor/public/io/xs_wire.ts';
import type { Events } from './events.ts';

const MASK = XENSTORE_RING_SIZE - 1, PAYLOAD_MAX = 4096, NO_TRANSACTION = 0;

/** What xenstore answered: ENOENT, EACCES, EAGAIN, ... */
export class StoreError extends Error {
  readonly code: string;
  constructor(what: string, code: string) { super(`${what}: ${code}`); this.code = code; }
}
/** The same values, for nodes below a path. */
export const below = (path: string, values: Readonly<Record<string, string | number>>): Record<string, string | number> => Object.fromEntries(Object.entries(values).map(([key, value]) => [`${path}/${key}`, value]));

class Broken extends Error {}
interface Message { readonly type: number; readonly reqId: number; readonly payload: string }
const refusal = (answer: Message, payload: string): StoreError => new StoreError(payload.split('\0')[0]!, answer.payload.replace(/\0.*$/, ''));

export class XenStore {
  readonly #page: Uint8Array<SharedArrayBuffer>; readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #events: Events; readonly #port: number;
  readonly #watches = new Map<string, { readonly path: string; changed(path: string): void }>();
  #nextId = 1;
  #nextToken = 1;
  #input = new Uint8Array(0);
  #answer: Message | undefined;
  /** Requests whose answers matter only if they are errors, and the first that is. */
  readonly #sent = new Map<number, string>();
  #refused: StoreError | undefined;
  #isReconnecting = false;
  /** System time until which an answer is waited for; the connection is made anew then. For ever, where the page is not written to by anybody else. */
  deadline: () => bigint | undefined = () => undefined;

  constructor(page: Uint8Array<SharedArrayBuffer>, events: Events, port: number) {
    this.#page = page;
    this.#words = new Int32Array(page.buffer, page.byteOffset, page.length / 4);
    this.#events = events;
    this.#port = port;
    events.bind(port, () => this.#receive());
  }

  read(path: string, tx = NO_TRANSACTION): string { return this.request(XS_READ, `${path}\0`, tx); }
  /** undefined where there is no such node, or none that we may see. */
  tryRead(path: string): string | undefined {
    try { return this.read(path); } catch (error) { if (error instanceof StoreError) return undefined; throw error; }
  }
  write(path: string, value: string | number, tx = NO_TRANSACTION): void { this.request(XS_WRITE, `${path}\0${value}`, tx); }
  /** Many at once: sent one behind the other, answered together. @throws StoreError, where one of them was refused; the others are done */
  writeAll(values: Readonly<Record<string, string | number>>, tx = NO_TRANSACTION): void {
    const payloads = Object.entries(values).map(([path, value]) => `${path}\0${value}`), last = payloads.pop();
    if (last !== undefined) this.#whole(tx, last, () => this.#events.critical(() => { for (const p of payloads) this.#sent.set(this.#send(XS_WRITE, p, tx), p); return this.#ask(XS_WRITE, last, tx); }));
  }
  makeDirectory(path: string): void { this.request(XS_MKDIR, `${path}\0`); }
  remove(path: string): void { this.request(XS_RM, `${path}\0`); }
  /** Names of the children; none where there is no such node. */
  list(path: string): string[] {
    try { return this.request(XS_DIRECTORY, `${path}\0`).split('\0').filter(Boolean); } catch (error) { if (error instanceof StoreError) return []; throw error; }
  }
  /** Called (when nothing is half done) once now, and whenever the path or what is below changes. @returns ends it */
  watch(path: string, changed: (path: string) => void): () => void {
    const token = String(this.#nextToken++);
    this.#watches.set(token, { path, changed });
    this.#setWatch(path, token);
    return () => { this.#watches.delete(token); this.request(XS_UNWATCH, `${path}\0${token}\0`); };
  }
  /** Several writes at once; again from the start where another's came between, or the connection broke. */
  transaction(work: (tx: number) => void): void {
    for (;;) {
      const tx = Number(this.request(XS_TRANSACTION_START, '\0').replace(/\0$/, ''));
      try {
        work(tx);
        this.request(XS_TRANSACTION_END, 'T\0', tx);
        return;
      } catch (error) {
        if (error instanceof StoreError && error.code === 'EAGAIN') continue;
        try { this.request(XS_TRANSACTION_END, 'F\0', tx); } catch { /* It is over already. */ }
        throw error;
      }
    }
  }

  /** One request and its answer's payload. @throws StoreError; EAGAIN where a transaction was lost with the connection */
  request(type: number, payload: string, tx = NO_TRANSACTION): string { return this.#whole(tx, payload, () => this.#ask(type, payload, tx)); }
  /** Over and over, where the connection breaks meanwhile. */
  #whole(tx: number, payload: string, work: () => string): string {
    for (;;) {
      this.#sent.clear();
      this.#refused = undefined;
      try {
        const answer = work();
        if (this.#refused) throw this.#refused;
        return answer;
      } catch (error) { if (!(error instanceof Broken)) throw error; }
      this.reconnect();
      if (tx !== NO_TRANSACTION) throw new StoreError(payload.split('\0')[0]!, 'EAGAIN');
    }
  }
  #ask(type: number, payload: string, tx: number): string {
    return this.#events.critical(() => {
      this.#answer = undefined;
      const reqId = this.#send(type, payload, tx);
      this.#events.waitFor(() => this.#answer?.reqId === reqId || this.#isBroken, this.deadline());
      const answer = this.#answer as Message | undefined;
      // The other side has given the connection up, and what it had not answered with it.
      if (answer?.reqId !== reqId) throw new Broken();
      if (answer.type === XS_ERROR) throw refusal(answer, payload);
      return answer.payload;
    });
  }
  /** @returns the request's id */
  #send(type: number, payload: string, tx: number): number {
    const reqId = this.#nextId++, body = Uint8Array.from(payload, c => c.charCodeAt(0)), message = new Uint8Array(header.sizeof + body.length), v = new DataView(message.buffer);
    v.setUint32(header.type, type, true);
    v.setUint32(header.req_id, reqId, true);
    v.setUint32(header.tx_id, tx, true);
    v.setUint32(header.len, body.length, true);
    message.set(body, header.sizeof);
    this.send(message);
    return reqId;
  }
  /** A new connection where the old one has broken: watches are set again. */
  reconnect(): void {
    this.#events.critical(() => {
      // The other side sets all indexes anew: none of ours may come in between.
      this.#isReconnecting = true;
      do {
        this.#store(ring.connection, XENSTORE_RECONNECT);
        this.#events.notify(this.#port);
      } while (!this.#events.waitFor(() => this.#load(ring.connection) === XENSTORE_CONNECTED, this.deadline()));
      this.#isReconnecting = false;
      this.#input = new Uint8Array(0);
      this.#answer = undefined;
    });
    for (const [token, { path }] of this.#watches) this.#setWatch(path, token);
  }
  /** Where the connection breaks meanwhile it is there already: set again with the others. */
  #setWatch(path: string, token: string): void {
    try { this.request(XS_WATCH, `${path}\0${token}\0`); } catch (error) { if (!(error instanceof StoreError && error.code === 'EEXIST')) throw error; }
  }
  /** Writes an index of the page: for a guest that does not mean well. */
  poke(offset: number, value: number): void { this.#store(offset, value); this.#events.notify(this.#port); }
  /** Bytes into the request ring, whatever they are. Nothing else is sent between them: what waits for room here must not ask. @returns whether all of them went */
  send(data: Uint8Array): boolean { return this.#events.critical(() => this.#put(data)); }
  #put(data: Uint8Array): boolean {
    for (let at = 0; at < data.length;) {
      if (!this.#events.waitFor(() => this.#room() > 0 || this.#isBroken, this.deadline()) || this.#isBroken) return false;
      const prod = this.#load(ring.req_prod), count = Math.min(this.#room(), data.length - at);
      for (let i = 0; i < count; i++) this.#page[ring.req + (prod + i & MASK)] = data[at + i]!;
      this.#store(ring.req_prod, prod + count);
      at += count;
      this.#events.notify(this.#port);
    }
    return true;
  }
  get #isBroken(): boolean { return this.#load(ring.error) !== XENSTORE_ERROR_NONE; }
  #room(): number { return XENSTORE_RING_SIZE - (this.#load(ring.req_prod) - this.#load(ring.req_cons) >>> 0); }

  /** In the upcall: takes what is there and sorts it. */
  #receive(): void {
    if (this.#isReconnecting) return;
    const cons = this.#load(ring.rsp_cons), count = Math.min(XENSTORE_RING_SIZE, this.#load(ring.rsp_prod) - cons >>> 0);
    if (count > 0) {
      const input = new Uint8Array(this.#input.length + count);
      input.set(this.#input);
      for (let i = 0; i < count; i++) input[this.#input.length + i] = this.#page[ring.rsp + (cons + i & MASK)]!;
      this.#input = input;
      this.#store(ring.rsp_cons, cons + count);
      // Room again for what did not fit; not from within the upcall of a hypercall that is being made.
      this.#events.notify(this.#port);
    }
    for (let m = this.#next(); m; m = this.#next()) this.#sort(m);
  }
  #next(): Message | undefined {
    if (this.#input.length < header.sizeof) return undefined;
    const v = new DataView(this.#input.buffer, this.#input.byteOffset), length = Math.min(v.getUint32(header.len, true), PAYLOAD_MAX), end = header.sizeof + length;
    if (this.#input.length < end) return undefined;
    const payload = String.fromCharCode(...this.#input.subarray(header.sizeof, end));
    const message = { type: v.getUint32(header.type, true), reqId: v.getUint32(header.req_id, true), payload };
    this.#input = this.#input.slice(end);
    return message;
  }
  #sort(m: Message): void {
    if (m.type !== XS_WATCH_EVENT) {
      this.#answer = m;
      if (m.type === XS_ERROR && this.#sent.has(m.reqId)) this.#refused ??= refusal(m, this.#sent.get(m.reqId)!);
      return;
    }
    const [path, token] = m.payload.split('\0'), watch = this.#watches.get(token ?? '');
    if (watch) this.#events.later(() => watch.changed(path ?? ''));
  }
  #load(offset: number): number { return Atomics.load(this.#words, offset / 4); }
  #store(offset: number, value: number): void { Atomics.store(this.#words, offset / 4, value | 0); }
}
