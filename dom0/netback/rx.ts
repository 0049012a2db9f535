// The receive half of one queue: frames for the guest go into buffers it granted. What finds none waits, up to a
// bound; beyond it the newest is dropped, as a network card does whose driver is slow.
// Invariant: a frame is begun only when there are requests for all of it; #queuedBytes is the sum over #queue.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import {
  netif_extra_info as extra, NETIF_RSP_ERROR, netif_rx_request as request, netif_rx_response as response,
  NETRXF_csum_blank, NETRXF_data_validated, NETRXF_extra_info, NETRXF_more_data,
  XEN_NETIF_EXTRA_FLAG_MORE, XEN_NETIF_EXTRA_TYPE_GSO, XEN_NETIF_EXTRA_TYPE_HASH, XEN_NETIF_GSO_TYPE_TCPV4, XEN_NETIF_GSO_TYPE_TCPV6,
} from '../../hypervisor/public/io/netif.ts';
import { get16, get32, put16 } from '../../hypervisor/public/io/fields.ts';
import { grantRef, type Domid } from '../../hypervisor/public/types.ts';
import { RingError, type BackRing } from '../bus/ring.ts';
import type { Frame, Gso } from '../switch/port.ts';
import type { FrameHash } from './hash.ts';
import type { NetbackMetrics } from './metrics.ts';

/** What waits for one queue's guest. */
export const MAX_QUEUED_BYTES = 2 * 1024 * 1024;
export const MAX_QUEUED_FRAMES = 1024;
/** Room below which a sender that asks is told to wait. */
const PAGE_BYTES = 4096;

export interface RxOptions {
  readonly ring: Pick<BackRing, 'take' | 'finalCheck' | 'respond' | 'push' | 'unconsumed' | 'entryCount'>;
  readonly dom: Domid;
  readonly hypercalls: Pick<Dom0Hypercalls, 'gnttabCopyTo'>;
  readonly metrics: NetbackMetrics;
  /** Frames may lie in several buffers. */
  readonly scatterGather: boolean;
  notify(): void;
  roomGrew(): void;
  complain(what: string): void;
  broken(what: string): void;
}

interface Waiting { readonly frame: Frame; readonly hash: FrameHash | undefined }

export class RxQueue {
  readonly #o: RxOptions;
  readonly #response = new Uint8Array(response.bytes);
  readonly #queue: Waiting[] = [];
  #queuedBytes = 0;
  #pushPending = false;
  #stopped = false;
  #wasFull = false;

  constructor(options: RxOptions) { this.#o = options; }

  /** Bytes it takes before it drops. */
  get room(): number { return this.#stopped ? 0 : Math.max(0, MAX_QUEUED_BYTES - this.#queuedBytes); }

  deliver(frame: Frame, hash: FrameHash | undefined): void {
    if (this.#stopped) return;
    const { metrics, scatterGather, ring } = this.#o, slots = slotsOf(frame, hash);
    if (slots > ring.entryCount || (!scatterGather && frame.bytes.length > PAGE_BYTES)) { metrics.rx_dropped++; return; }
    this.#guarded(() => {
      // The guest may have given buffers meanwhile, whose event is still to be looked at.
      const [first] = this.#queue;
      if (first && ring.unconsumed >= slotsOf(first.frame, first.hash)) this.#drain();
      if (this.#queue.length === 0 && ring.unconsumed >= slots) { this.#put(frame, hash); return; }
      if (this.#queuedBytes + frame.bytes.length > MAX_QUEUED_BYTES || this.#queue.length >= MAX_QUEUED_FRAMES) {
        this.#wasFull = true;
        metrics.rx_dropped++;
        return;
      }
      this.#queue.push({ frame: { ...frame, bytes: frame.bytes.slice() }, hash });
      this.#queuedBytes += frame.bytes.length;
      metrics.rx_queued += frame.bytes.length;
      if (this.#queue.length === 1) this.#drain();
    });
  }

  /** The guest has given buffers; to be called at each event. */
  kick(): void { if (!this.#stopped) this.#guarded(() => this.#drain()); }

  stop(): void {
    this.#stopped = true;
    this.#queue.length = 0;
    this.#o.metrics.rx_queued -= this.#queuedBytes;
    this.#queuedBytes = 0;
  }

  #drain(): void {
    const { ring, metrics } = this.#o;
    let taken = 0;
    for (let next = this.#queue[taken]; next; next = this.#queue[taken]) {
      const slots = slotsOf(next.frame, next.hash);
      if (ring.unconsumed < slots && !ring.finalCheck(slots)) break;
      taken++;
      this.#queuedBytes -= next.frame.bytes.length;
      metrics.rx_queued -= next.frame.bytes.length;
      this.#put(next.frame, next.hash);
    }
    if (taken === 0) return;
    this.#queue.splice(0, taken);
    if (this.#wasFull && this.#queuedBytes < MAX_QUEUED_BYTES / 2) { this.#wasFull = false; this.#o.roomGrew(); }
  }

  /** Copies a frame into the guest's buffers and answers their requests. */
  #put(frame: Frame, hash: FrameHash | undefined): void {
    const { metrics } = this.#o, { bytes, gso } = frame;
    const checksum = frame.checksum === 'blank' ? NETRXF_csum_blank | NETRXF_data_validated : frame.checksum === 'valid' ? NETRXF_data_validated : 0;
    for (let at = 0; at < bytes.length;) {
      const part = bytes.length <= PAGE_BYTES ? bytes : bytes.subarray(at, at + PAGE_BYTES), first = at === 0;
      at += part.length;
      const more = at < bytes.length ? NETRXF_more_data : 0, extras = first && (gso || hash) ? NETRXF_extra_info : 0;
      this.#putPart(part, (first ? checksum : 0) | more | extras);
      if (first && gso) this.#putGso(gso, hash !== undefined);
      if (first && hash) this.#putHash(hash);
    }
    metrics.rx_packets++;
    metrics.rx_bytes += bytes.length;
    this.#pushSoon();
  }

  #putPart(part: Uint8Array, flags: number): void {
    const { hypercalls, dom, complain } = this.#o, slot = this.#take();
    const gref = grantRef(get32(slot, request.gref)), error = hypercalls.gnttabCopyTo(dom, gref, 0, part), out = this.#response;
    if (error) complain(`receive grant ${gref} cannot be written (error ${error})`);
    put16(out, response.id, get16(slot, request.id));
    put16(out, response.offset, 0);
    put16(out, response.flags, flags);
    put16(out, response.status, error ? NETIF_RSP_ERROR : part.length);
    this.#o.ring.respond(out);
  }

  /** Extra info stands in a response's place: the request there is used up, its buffer stays the guest's. */
  #putGso(gso: Gso, more: boolean): void {
    this.#take();
    const out = this.#response.fill(0);
    out[extra.type] = XEN_NETIF_EXTRA_TYPE_GSO;
    out[extra.flags] = more ? XEN_NETIF_EXTRA_FLAG_MORE : 0;
    put16(out, extra.gso_size, gso.size);
    out[extra.gso_type] = gso.type === 'tcpv4' ? XEN_NETIF_GSO_TYPE_TCPV4 : XEN_NETIF_GSO_TYPE_TCPV6;
    this.#o.ring.respond(out);
  }
  #putHash(hash: FrameHash): void {
    this.#take();
    const out = this.#response.fill(0);
    out[extra.type] = XEN_NETIF_EXTRA_TYPE_HASH;
    out[extra.hash_type] = hash.type;
    out[extra.hash_algorithm] = hash.algorithm;
    put16(out, extra.hash_value, hash.value);
    put16(out, extra.hash_value + 2, hash.value >>> 16);
    this.#o.ring.respond(out);
  }

  /** A request that was counted before. */
  #take(): Uint8Array {
    const slot = this.#o.ring.take();
    if (!slot) throw new RingError('requests went away');
    return slot;
  }

  /** Frames that arrive together share one event. */
  #pushSoon(): void {
    if (this.#pushPending) return;
    this.#pushPending = true;
    queueMicrotask(() => {
      this.#pushPending = false;
      if (!this.#stopped && this.#o.ring.push()) this.#o.notify();
    });
  }

  #guarded(run: () => void): void {
    try { run(); } catch (error) {
      if (!(error instanceof RingError)) throw error;
      this.stop();
      this.#o.broken(error.message);
    }
  }
}

const slotsOf = (frame: Frame, hash: FrameHash | undefined): number => Math.ceil(frame.bytes.length / PAGE_BYTES) + (frame.gso ? 1 : 0) + (hash ? 1 : 0);
