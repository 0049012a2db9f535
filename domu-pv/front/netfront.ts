// netfront: a network interface (public/io/netif.h), one queue, one event channel, frames of up to a page. Frames to
// send are copied into granted buffers; buffers to receive into are posted and posted again. TCP and UDP checksums are
// left blank where the other side will do without them (csum offload), and taken so.
import {
  NETRXF_csum_blank, NETRXF_data_validated, NETRXF_extra_info, NETRXF_more_data, NETTXF_csum_blank, NETTXF_data_validated, netif_rx_request, netif_rx_response, netif_tx_request, netif_tx_response,
} from '../../hypervisor/public/io/netif.ts';
import { XenbusStateClosed, XenbusStateClosing, XenbusStateConnected, XenbusStateInitWait } from '../../hypervisor/public/io/xenbus.ts';
import type { Frame } from '../../net/packet/frame.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { below } from '../kernel/xenstore.ts';
import { PAGE_BYTES } from '../kernel/heap.ts';
import { FrontRing } from './ring.ts';

const TX_BUFFERS = 32, RX_BUFFERS = 64, QUEUE_MAX = 256;
interface Buffer { readonly pfn: number; readonly gref: number }

export class Netfront {
  readonly mac: Uint8Array;
  readonly #kernel: Kernel; readonly #backend: string; readonly #remote: number;
  readonly #tx: FrontRing; readonly #rx: FrontRing;
  readonly #port: number;
  readonly #txBuffers: Buffer[]; readonly #txFree: number[];
  readonly #rxBuffers: Buffer[];
  #received: Frame[] = [];
  #wasFull = false;
  dropped = 0;
  /** In the upcall: there is something to take(). */
  onReceive: () => void = () => {};
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
    this.#txBuffers = Array.from({ length: TX_BUFFERS }, () => buffer(true));
    this.#txFree = this.#txBuffers.map((_, i) => i);
    this.#rxBuffers = Array.from({ length: RX_BUFFERS }, () => buffer(false));
    this.#port = hypercalls.evtchnAllocUnbound(this.#remote);
    events.bind(this.#port, () => this.#collect());
    for (let id = 0; id < RX_BUFFERS; id++) this.#post(id);
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

  /** Frames that may be sent now. */
  get room(): number {
    const room = Math.min(this.#txFree.length, this.#tx.free);
    this.#wasFull ||= room === 0;
    return room;
  }
  /** Sends one frame; does not where there is no room. */
  send({ bytes: frame, checksum }: Frame): void {
    if (frame.length > PAGE_BYTES) throw new RangeError(`a frame of ${frame.length} bytes`);
    if (this.room === 0) { this.dropped++; return; }
    const id = this.#txFree.pop()!, { pfn, gref } = this.#txBuffers[id]!, request = new Uint8Array(netif_tx_request.bytes), v = new DataView(request.buffer);
    this.#kernel.heap.page(pfn).set(frame);
    v.setUint32(netif_tx_request.gref, gref, true);
    v.setUint16(netif_tx_request.offset, 0, true);
    v.setUint16(netif_tx_request.flags, checksum === 'blank' ? NETTXF_csum_blank | NETTXF_data_validated : NETTXF_data_validated, true);
    v.setUint16(netif_tx_request.id, id, true);
    v.setUint16(netif_tx_request.size, frame.length, true);
    this.#tx.put(request);
    if (this.#tx.push()) this.#kernel.events.notify(this.#port);
  }
  /** What has come since. */
  take(): Frame[] {
    const all = this.#received;
    this.#received = [];
    return all;
  }

  /** In the upcall: buffers that were sent are free again, frames that came are taken and their buffers posted anew. */
  #collect(): void {
    do {
      for (let r = this.#tx.take(netif_tx_response.bytes); r; r = this.#tx.take(netif_tx_response.bytes)) {
        const id = r[netif_tx_response.id]! | r[netif_tx_response.id + 1]! << 8;
        if (id < TX_BUFFERS && !this.#txFree.includes(id)) this.#txFree.push(id);
      }
    } while (this.#tx.finalCheck());
    if (this.#wasFull && this.#txFree.length > 0) { this.#wasFull = false; this.onRoom(); }
    let posted = 0;
    do {
      for (let r = this.#rx.take(netif_rx_response.bytes); r; r = this.#rx.take(netif_rx_response.bytes)) {
        const v = new DataView(r.buffer), id = v.getUint16(netif_rx_response.id, true), offset = v.getUint16(netif_rx_response.offset, true), status = v.getInt16(netif_rx_response.status, true);
        if (id >= RX_BUFFERS) continue;
        const flags = v.getUint16(netif_rx_response.flags, true), isWhole = (flags & (NETRXF_more_data | NETRXF_extra_info)) === 0;
        if (status > 0 && offset + status <= PAGE_BYTES && isWhole && this.#received.length < QUEUE_MAX) this.#received.push({ bytes: this.#kernel.heap.page(this.#rxBuffers[id]!.pfn).slice(offset, offset + status), checksum: flags & NETRXF_csum_blank ? 'blank' : flags & NETRXF_data_validated ? 'valid' : 'complete' });
        else this.dropped++;
        this.#post(id);
        posted++;
      }
    } while (this.#rx.finalCheck());
    if (posted === 0) return;
    if (this.#rx.push()) this.#kernel.events.notify(this.#port);
    this.onReceive();
  }
  #post(id: number): void {
    const request = new Uint8Array(netif_rx_request.bytes), v = new DataView(request.buffer);
    v.setUint16(netif_rx_request.id, id, true);
    v.setUint32(netif_rx_request.gref, this.#rxBuffers[id]!.gref, true);
    this.#rx.put(request);
  }
}
