// Clients of the daemon for tests: one that speaks to it directly, one that is a guest at the end of a ring.
import * as xs from '../../hypervisor/public/io/xs_wire.ts';
import { Connection } from './connection.ts';
import type { Daemon } from './daemon.ts';
import { handleMessage } from './requests.ts';
import { encodeMessage, stringsOf, WireParser, type WireMessage } from './wire.ts';

const page = xs.xenstore_domain_interface;

/** Splits a byte stream into messages. */
export class MessageReader {
  readonly #parser = new WireParser();
  readonly messages: WireMessage[] = [];
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const chunk = bytes.subarray(at, at + this.#parser.wanted);
      at += chunk.length;
      const message = this.#parser.push(chunk);
      if (message) this.messages.push(message);
    }
  }
}

export class TestClient {
  readonly connection: Connection;
  /** Events since events() was last called, as `path|token`. */
  readonly #events: string[] = [];
  readonly #daemon: Daemon;
  #reqId = 100;

  constructor(daemon: Daemon, domid: number) {
    this.#daemon = daemon;
    this.connection = new Connection({ domid }, `d${domid}`);
  }

  /** The reply's payload, or the name of the error in angle brackets. */
  ask(type: number, payload: string, txId = 0): string {
    const reqId = this.#reqId++;
    handleMessage(this.#daemon, this.connection, { type, reqId, txId, payload });
    const reply = this.#drain().find(m => m.reqId === reqId && m.type !== xs.XS_WATCH_EVENT);
    if (!reply) throw new Error(`no reply to request ${type}`);
    if (reply.type === xs.XS_ERROR) return `<${reply.payload.slice(0, -1)}>`;
    if (reply.type !== type) throw new Error(`a reply of type ${reply.type} to a request of type ${type}`);
    return reply.payload;
  }
  events(): string[] {
    this.#drain();
    return this.#events.splice(0);
  }

  read(path: string, tx = 0): string { return this.ask(xs.XS_READ, `${path}\0`, tx); }
  write(path: string, value: string, tx = 0): string { return this.ask(xs.XS_WRITE, `${path}\0${value}`, tx); }
  mkdir(path: string, tx = 0): string { return this.ask(xs.XS_MKDIR, `${path}\0`, tx); }
  rm(path: string, tx = 0): string { return this.ask(xs.XS_RM, `${path}\0`, tx); }
  list(path: string, tx = 0): string[] | string { const r = this.ask(xs.XS_DIRECTORY, `${path}\0`, tx); return r.startsWith('<') ? r : stringsOf(r); }
  perms(path: string): string[] | string { const r = this.ask(xs.XS_GET_PERMS, `${path}\0`); return r.startsWith('<') ? r : stringsOf(r); }
  chmod(path: string, ...perms: string[]): string { return this.ask(xs.XS_SET_PERMS, [path, ...perms].map(s => `${s}\0`).join('')); }
  watch(path: string, token: string, ...more: string[]): string { return this.ask(xs.XS_WATCH, [path, token, ...more].map(s => `${s}\0`).join('')); }
  unwatch(path: string, token: string): string { return this.ask(xs.XS_UNWATCH, `${path}\0${token}\0`); }
  begin(): number { return Number(this.ask(xs.XS_TRANSACTION_START, '\0').slice(0, -1)); }
  end(tx: number, commit = true): string { return this.ask(xs.XS_TRANSACTION_END, commit ? 'T\0' : 'F\0', tx); }

  #drain(): WireMessage[] {
    const reader = new MessageReader();
    for (let chunk = this.connection.peek(); chunk; chunk = this.connection.peek()) {
      reader.push(chunk);
      this.connection.sent(chunk.length);
    }
    for (const m of reader.messages) if (m.type === xs.XS_WATCH_EVENT) this.#events.push(stringsOf(m.payload).join('|'));
    return reader.messages;
  }
}

/** A guest's end of the xenstore page. */
export class RingClient {
  readonly page: Uint8Array<SharedArrayBuffer>;
  readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #reader = new MessageReader();
  #unsent = Buffer.alloc(0);

  constructor(bytes: Uint8Array<SharedArrayBuffer>) {
    this.page = bytes;
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, 1024);
  }
  get(offset: number): number { return Atomics.load(this.#words, offset >> 2) >>> 0; }
  set(offset: number, value: number): void { Atomics.store(this.#words, offset >> 2, value | 0); }

  send(type: number, payload: string, reqId = 1, txId = 0): void { this.sendBytes(encodeMessage({ type, reqId, txId, payload })); }
  sendBytes(bytes: Uint8Array): void { this.#unsent = Buffer.concat([this.#unsent, bytes]); this.pump(); }
  /** Moves what fits into the ring and takes what is there out of it. */
  pump(): void {
    const cons = this.get(page.req_cons);
    let prod = this.get(page.req_prod);
    while (this.#unsent.length > 0 && ((prod - cons) >>> 0) < xs.XENSTORE_RING_SIZE) {
      this.page[page.req + (prod & 1023)] = this.#unsent[0]!;
      this.#unsent = this.#unsent.subarray(1);
      prod = (prod + 1) >>> 0;
    }
    this.set(page.req_prod, prod);
    let rspCons = this.get(page.rsp_cons);
    const taken: number[] = [], rspProd = this.get(page.rsp_prod);
    for (; rspCons !== rspProd; rspCons = (rspCons + 1) >>> 0) taken.push(this.page[page.rsp + (rspCons & 1023)]!);
    this.set(page.rsp_cons, rspCons);
    this.#reader.push(Uint8Array.from(taken));
  }
  get idle(): boolean { return this.#unsent.length === 0; }
  received(): WireMessage[] { this.pump(); return this.#reader.messages.splice(0); }
}
