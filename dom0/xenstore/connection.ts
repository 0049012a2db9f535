// One client of the daemon: its rights, its transactions, and what is queued towards it. Transports feed messages in
// and take bytes out.
import { XENSTORE_PAYLOAD_MAX, XS_WATCH_EVENT } from '../../hypervisor/public/io/xs_wire.ts';
import type { Actor } from './permissions.ts';
import type { Transaction } from './transaction.ts';
import type { WatchOwner } from './watches.ts';
import { encodeMessage, type WireMessage } from './wire.ts';

interface Queued { readonly bytes: Buffer; readonly eventKey: string | undefined }

/** A client that lets this much pile up will never read it. */
const MAX_QUEUED_BYTES = 4 * 1024 * 1024;

export class Connection implements WatchOwner {
  readonly actor: Actor;
  /** For messages: `d5` or `socket 3`. */
  readonly name: string;
  readonly transactions = new Map<number, Transaction>();
  /** Called when there is something new to send. */
  onOutput: () => void = () => {};
  /** Told of every byte that is queued. */
  onQueued: (bytes: Uint8Array) => void = () => {};
  /** Called when so much is queued that the connection is given up. */
  onOverflow: () => void = () => {};
  #nextTransaction = 1;
  #queue: Queued[] = [];
  #sent = 0;
  #queuedBytes = 0;
  readonly #queuedEvents = new Set<string>();

  constructor(actor: Actor, name: string) { this.actor = actor; this.name = name; }

  /** Messages not yet sent in full. */
  get outstanding(): number { return this.#queue.length; }

  addTransaction(transaction: Transaction): number {
    while (this.#nextTransaction === 0 || this.transactions.has(this.#nextTransaction)) this.#nextTransaction = (this.#nextTransaction + 1) >>> 0;
    const id = this.#nextTransaction;
    this.#nextTransaction = (id + 1) >>> 0;
    this.transactions.set(id, transaction);
    return id;
  }

  event(path: string, token: string): void {
    const payload = `${path}\0${token}\0`;
    // One event says as much as two of the same; and a client that does not read cannot make the queue grow.
    if (payload.length > XENSTORE_PAYLOAD_MAX || this.#queuedEvents.has(payload)) return;
    this.#queuedEvents.add(payload);
    this.#push({ bytes: encodeMessage({ type: XS_WATCH_EVENT, reqId: 0, txId: 0, payload }), eventKey: payload });
  }

  reply(message: WireMessage): void { this.#push({ bytes: encodeMessage(message), eventKey: undefined }); }

  /** What is to be sent next, of one message; sent(n) takes it off. */
  peek(): Uint8Array | undefined { return this.#queue[0]?.bytes.subarray(this.#sent); }
  sent(byteCount: number): void {
    const head = this.#queue[0]!;
    if (byteCount > 0 && head.eventKey !== undefined) this.#queuedEvents.delete(head.eventKey);
    this.#sent += byteCount;
    if (this.#sent < head.bytes.length) return;
    this.#queue.shift();
    this.#queuedBytes -= head.bytes.length;
    this.#sent = 0;
  }

  /** All that is queued and not sent yet. */
  unsent(): Buffer { return Buffer.concat(this.#queue.map((m, i) => i === 0 ? m.bytes.subarray(this.#sent) : m.bytes)); }
  /** Queues what a connection before this one had not sent. */
  resume(bytes: Buffer): void { if (bytes.length > 0) { this.#queue.push({ bytes, eventKey: undefined }); this.#queuedBytes += bytes.length; } }
  /** Takes a transaction of a connection before this one. */
  adoptTransaction(id: number, transaction: Transaction): void { this.transactions.set(id, transaction); }

  /** Drops everything queued. */
  clear(): void {
    this.#queue = [];
    this.#sent = this.#queuedBytes = 0;
    this.#queuedEvents.clear();
  }

  #push(message: Queued): void {
    if (this.#queuedBytes + message.bytes.length > MAX_QUEUED_BYTES) { this.onOverflow(); return; }
    this.#queuedBytes += message.bytes.length;
    this.#queue.push(message);
    this.onQueued(message.bytes);
    this.onOutput();
  }
}
