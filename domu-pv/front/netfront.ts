// netfront: a network interface (public/io/netif.h), one queue, one event channel, frames of up to a page. Frames to
// send are copied into granted buffers; buffers to receive into are posted and posted again. TCP and UDP checksums are
// left blank where the other side will do without them (csum offload), and taken so.
import {
  NETRXF_csum_blank, NETRXF_data_validated, NETRXF_extra_info, NETRXF_more_data, NETTXF_csum_blank, NETTXF_data_validated, netif_rx_request, netif_rx_response, netif_tx_request, netif_tx_response,
} from '../../hypervisor/public/io/netif.ts';
import { XenbusStateClosed, XenbusStateClosing, XenbusStateConnected, XenbusStateInitWait } from '../../hypervisor/public/io/xenbus.ts';
import type { Frame } from '../../net/packet/frame.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { get16, put16, put32 } from '../../hypervisor/public/io/fields.ts';
import { below } from '../kernel/xenstore.ts';
import { PAGE_BYTES } from '../kernel/heap.ts';
import { FrontRing } from './ring.ts';

/** Buffers of each kind: a ring full of them, or less in a small domain. */
const BUFFERS_MAX = 256, TX_BUFFERS_MIN = 32, RX_BUFFERS_MIN = 64, HEAP_SHARE = 4;
/** Buffers posted again before the backend is shown them. */
const SHOWN_TOGETHER = 32;
interface Buffer { readonly pfn: number; readonly gref: number }

export class Netfront {
  readonly mac: Uint8Array;
  readonly #kernel: Kernel; readonly #backend: string; readonly #remote: number;
  readonly #tx: FrontRing; readonly #rx: FrontRing;
  readonly #port: number;
  readonly #txBuffers: Buffer[]; readonly #txFree: number[];
  /** By id: the backend has it. */
  readonly #txSent: Uint8Array;
  readonly #request = new Uint8Array(netif_tx_request.bytes); readonly #posting = new Uint8Array(netif_rx_request.bytes);
  readonly #rxBuffers: Buffer[];
  #wasFull = false;
  dropped = 0;
  #onReceive: () => void = () => {};
  /** In the upcall: send() has room again after it refused. */
  onRoom: () => void = () => {};

  readonly #granted: Buffer[] = [];

  /** @param path the frontend's directory: device/vif/0 @param waits returns connected; else the backend is in InitWait, and goes on by itself @throws Error */
  constructor(kernel: Kernel, path: string, waits = true) {
    const { store, heap, grants, hypercalls, events } = kernel;
    this.#kernel = kernel;
    this.#backend = store.read(`${path}/backend`);
    this.#remote = Number(store.read(`${path}/backend-id`));
    this.mac = Uint8Array.from(store.read(`${path}/mac`).split(':'), part => parseInt(part, 16));
    if (waits) this.#await(XenbusStateInitWait);
    const buffer = (readOnly: boolean): Buffer => { const pfn = heap.allocate(), b = { pfn, gref: grants.grant(this.#remote, pfn, readOnly) }; this.#granted.push(b); return b; };
    const txRing = buffer(false), rxRing = buffer(false);
    this.#tx = new FrontRing([heap.page(txRing.pfn)], netif_tx_request.bytes);
    this.#rx = new FrontRing([heap.page(rxRing.pfn)], netif_rx_response.bytes);
    const share = Math.min(BUFFERS_MAX, Math.floor(heap.freeCount / HEAP_SHARE));
    this.#txBuffers = Array.from({ length: Math.max(TX_BUFFERS_MIN, share) }, () => buffer(true));
    this.#txFree = this.#txBuffers.map((_, i) => i);
    this.#txSent = new Uint8Array(this.#txBuffers.length);
    this.#rxBuffers = Array.from({ length: Math.max(RX_BUFFERS_MIN, share) }, () => buffer(false));
    this.#port = hypercalls.evtchnAllocUnbound(this.#remote);
    events.bind(this.#port, () => this.#collect());
    for (let id = 0; id < this.#rxBuffers.length; id++) this.#post(id);
    this.#rx.push();
    store.transaction(tx => store.writeAll(below(path, { 'tx-ring-ref': txRing.gref, 'rx-ring-ref': rxRing.gref, 'event-channel': this.#port, 'request-rx-copy': 1, 'feature-rx-notify': 1, 'feature-sg': 0, state: XenbusStateConnected }), tx));
    if (waits) this.#await(XenbusStateConnected);
  }
  #await(state: number): void {
    let now = 0;
    const { store, events } = this.#kernel, unwatch = store.watch(`${this.#backend}/state`, () => { now = Number(store.tryRead(`${this.#backend}/state`) ?? 0); });
    events.waitFor(() => now >= state);
    unwatch();
    if (now === XenbusStateClosing || now === XenbusStateClosed) throw new Error('the network backend is closing');
  }

  /** Gives back what the backend, which has closed, had. A frame that it has mapped all the same is not used again. */
  release(): void {
    const { events, grants, heap } = this.#kernel;
    events.unbind(this.#port);
    for (const { pfn, gref } of this.#granted) if (grants.end(gref)) heap.release(pfn);
  }

  /** Frames that may be sent now. What was sent is looked for only when it is needed. */
  get room(): number {
    if (this.#txFree.length === 0) this.#reap();
    const room = Math.min(this.#txFree.length, this.#tx.free);
    this.#wasFull ||= room === 0;
    return room;
  }
  /** Sends one frame; does not where there is no room. */
  send({ bytes: frame, checksum }: Frame): void {
    if (frame.length > PAGE_BYTES) throw new RangeError(`a frame of ${frame.length} bytes`);
    if (this.room === 0) { this.dropped++; return; }
    const id = this.#txFree.pop()!, { pfn, gref } = this.#txBuffers[id]!, request = this.#request;
    this.#kernel.vcpu.bytes.set(frame, pfn * PAGE_BYTES);
    this.#txSent[id] = 1;
    put32(request, netif_tx_request.gref, gref);
    put16(request, netif_tx_request.offset, 0);
    put16(request, netif_tx_request.flags, checksum === 'blank' ? NETTXF_csum_blank | NETTXF_data_validated : NETTXF_data_validated);
    put16(request, netif_tx_request.id, id);
    put16(request, netif_tx_request.size, frame.length);
    this.#tx.put(request);
    if (this.#tx.push()) this.#kernel.events.notify(this.#port);
  }
  /** In the upcall: there is something to take(). The next event comes after it has been taken. */
  set onReceive(work: () => void) {
    this.#onReceive = work;
    if (this.#rx.hasResponse) work();
  }
  /** Hands over what has come. A frame lies in its buffer, which is posted again when the call returns. */
  take(handle: (frame: Frame) => void): void {
    let posted = 0;
    do {
      for (let r = this.#rx.take(netif_rx_response.bytes); r; r = this.#rx.take(netif_rx_response.bytes)) {
        const id = get16(r, netif_rx_response.id);
        if (id >= this.#rxBuffers.length) continue;
        const frame = this.#frame(r, this.#rxBuffers[id]!.pfn * PAGE_BYTES);
        if (frame) handle(frame); else this.dropped++;
        this.#post(id);
        if (++posted % SHOWN_TOGETHER === 0) this.#show();
        // What else there is has a turn of its own.
        if (posted === this.#rxBuffers.length) { this.#show(); this.#onReceive(); return; }
      }
    } while (this.#rx.finalCheck());
    this.#show();
  }
  #frame(response: Uint8Array, at: number): Frame | undefined {
    const offset = get16(response, netif_rx_response.offset), byteCount = get16(response, netif_rx_response.status) << 16 >> 16, flags = get16(response, netif_rx_response.flags);
    if (byteCount <= 0 || offset + byteCount > PAGE_BYTES || flags & (NETRXF_more_data | NETRXF_extra_info)) return undefined;
    return { bytes: this.#kernel.vcpu.bytes.subarray(at + offset, at + offset + byteCount), checksum: flags & NETRXF_csum_blank ? 'blank' : flags & NETRXF_data_validated ? 'valid' : 'complete' };
  }
  #show(): void { if (this.#rx.push()) this.#kernel.events.notify(this.#port); }

  /** Buffers that were sent are free again. The next event is for half of those still under way. */
  #reap(): void {
    do {
      for (let r = this.#tx.take(netif_tx_response.bytes); r; r = this.#tx.take(netif_tx_response.bytes)) {
        const id = get16(r, netif_tx_response.id);
        if (!this.#txSent[id]) continue;
        this.#txSent[id] = 0;
        this.#txFree.push(id);
      }
    } while (this.#tx.finalCheck(true));
  }
  /** In the upcall. */
  #collect(): void {
    this.#reap();
    if (this.#wasFull && this.#txFree.length > 0) { this.#wasFull = false; this.onRoom(); }
    if (this.#rx.hasResponse) this.#onReceive();
  }
  #post(id: number): void {
    put16(this.#posting, netif_rx_request.id, id);
    put32(this.#posting, netif_rx_request.gref, this.#rxBuffers[id]!.gref);
    this.#rx.put(this.#posting);
  }
}
