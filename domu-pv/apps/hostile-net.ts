// The network's share of the hostile frontend: transmit and receive rings without a driver to keep them sane.
import { netif_rx_request, netif_tx_request } from '../../hypervisor/public/io/netif.ts';
import { sring } from '../../hypervisor/public/io/ring.ts';
import { XenbusStateClosed, XenbusStateClosing, XenbusStateConnected, XenbusStateInitialising, XenbusStateInitWait } from '../../hypervisor/public/io/xenbus.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { PAGE_BYTES } from '../kernel/heap.ts';
import type { Random } from './random.ts';

const FRAMES = 16, ENTRIES = 256, BATCH = 100, PATIENCE_NS = 20_000_000n, LONG_NS = 2_000_000_000n;
interface Ring { readonly pfn: number; readonly page: Uint8Array<SharedArrayBuffer>; readonly words: Int32Array<SharedArrayBuffer>; ref: number; produced: number }

export class HostileNet {
  reconnects = 0;
  readonly #kernel: Kernel; readonly #random: Random;
  readonly #path: string | undefined;
  readonly #rings: readonly [Ring, Ring];
  readonly #frames: number[]; readonly #refs: number[];
  #port = 0;
  #broken = true;

  constructor(kernel: Kernel, random: Random) {
    const { store, heap, grants } = kernel, vif = store.list('device/vif')[0];
    this.#kernel = kernel; this.#random = random;
    this.#path = vif === undefined ? undefined : `device/vif/${vif}`;
    const ring = (): Ring => { const pfn = heap.allocate(), page = heap.page(pfn); return { pfn, page, words: new Int32Array(page.buffer, page.byteOffset, PAGE_BYTES / 4), ref: -1, produced: 0 }; };
    this.#rings = [ring(), ring()];
    this.#frames = Array.from({ length: FRAMES }, () => heap.allocate());
    this.#refs = this.#frames.map(pfn => grants.grant(0, pfn, random.chance(3)));
  }
  #backendState(): number { const { store } = this.#kernel; return Number(store.tryRead(`${store.tryRead(`${this.#path}/backend`) ?? ''}/state`) ?? 0); }
  #await(states: readonly number[]): void {
    const { clock, events } = this.#kernel, end = clock.systemNs() + LONG_NS;
    while (!states.includes(this.#backendState()) && clock.systemNs() < end) events.waitFor(() => false, clock.systemNs() + 1_000_000n);
  }
  #connect(): void {
    const { store, grants, hypercalls, events } = this.#kernel, r = this.#random, path = this.#path!, lie = r.chance(6);
    this.reconnects++;
    store.write(`${path}/state`, XenbusStateClosing);
    store.write(`${path}/state`, XenbusStateClosed);
    this.#await([XenbusStateClosed, XenbusStateInitWait]);
    if (this.#port > 0) events.unbind(this.#port);
    store.write(`${path}/state`, XenbusStateInitialising);
    this.#await([XenbusStateInitWait]);
    for (const ring of this.#rings) {
      if (ring.ref >= 0) grants.end(ring.ref);
      ring.page.fill(0);
      ring.words[sring.req_event / 4] = 1;
      ring.words[sring.rsp_event / 4] = 1;
      ring.produced = 0;
      ring.ref = grants.grant(0, ring.pfn);
    }
    this.#port = hypercalls.evtchnAllocUnbound(0);
    events.bind(this.#port, () => {});
    store.transaction(tx => {
      const keys = {
        'tx-ring-ref': lie && r.chance(2) ? r.edge() : this.#rings[0].ref, 'rx-ring-ref': lie && r.chance(2) ? r.edge() : this.#rings[1].ref, 'event-channel': lie && r.chance(2) ? r.edge() : this.#port,
        'request-rx-copy': r.chance(20) ? r.edge() : 1, 'feature-rx-notify': 1, 'feature-sg': r.below(2), 'feature-gso-tcpv4': r.below(2), 'feature-no-csum-offload': r.below(2),
        'request-multicast-control': r.below(2), state: XenbusStateConnected,
      };
      for (const [key, value] of Object.entries(keys)) store.write(`${path}/${key}`, value, tx);
    });
    this.#await([XenbusStateConnected, XenbusStateClosing, XenbusStateClosed]);
    this.#broken = this.#backendState() !== XenbusStateConnected;
  }
  /** @returns operations done */
  batch(): number {
    if (this.#path === undefined) return 1;
    if (this.#broken) { this.#connect(); return 1; }
    const { clock, events, heap } = this.#kernel, r = this.#random, [tx, rx] = this.#rings, count = 1 + r.below(BATCH);
    for (let n = 0; n < 4; n++) heap.page(r.pick(this.#frames)).set([r.u32(), r.u32(), r.u32(), r.u32(), r.pick([8, 0x86, 0x81, r.u32()]), r.pick([0, 6, 0xdd]), r.pick([0x45, 0x60, r.u32()])], r.pick([0, 8, 12, r.below(PAGE_BYTES - 8)]));
    const answered = tx.words[sring.rsp_prod / 4]!;
    for (let n = 0; n < count; n++) this.#transmit((tx.produced + n) % ENTRIES);
    tx.produced = tx.produced + count >>> 0;
    Atomics.store(tx.words, sring.req_prod / 4, tx.produced | 0);
    Atomics.store(tx.words, sring.rsp_event / 4, answered + count);
    // Receive buffers: as many as fit, good and bad.
    const room = ENTRIES - (rx.produced - rx.words[sring.rsp_prod / 4]! >>> 0), posted = Math.min(room, r.below(32));
    for (let n = 0; n < posted; n++) this.#receive((rx.produced + n) % ENTRIES);
    rx.produced = rx.produced + posted >>> 0;
    Atomics.store(rx.words, sring.req_prod / 4, rx.produced | 0);
    if (r.chance(3000)) { const ring = r.pick(this.#rings); Atomics.store(ring.words, sring.req_prod / 4, r.edge() | 0); this.#broken = true; }
    events.notify(this.#port);
    for (let n = 0; n < 4; n++) tx.page[sring.ring + r.below(ENTRIES * netif_tx_request.bytes)] = r.u32();
    if (!events.waitFor(() => (tx.words[sring.rsp_prod / 4]! - answered >>> 0) >= count, clock.systemNs() + PATIENCE_NS)) this.#broken = true;
    return count + posted;
  }
  #transmit(slot: number): void {
    const r = this.#random, [tx] = this.#rings, v = new DataView(tx.page.buffer, tx.page.byteOffset + sring.ring + slot * netif_tx_request.bytes, netif_tx_request.bytes);
    v.setUint32(netif_tx_request.gref, r.chance(15) ? r.edge() : r.pick(this.#refs), true);
    v.setUint16(netif_tx_request.offset, r.chance(10) ? r.u32() : r.below(64), true);
    // Mostly whole packets; now and then more data, extra info, anything.
    v.setUint16(netif_tx_request.flags, r.chance(400) ? r.u32() & 15 : r.chance(4) ? r.below(4) : 0, true);
    v.setUint16(netif_tx_request.id, r.u32(), true);
    v.setUint16(netif_tx_request.size, r.chance(10) ? r.edge() : 14 + r.below(1500), true);
  }
  #receive(slot: number): void {
    const r = this.#random, [, rx] = this.#rings, v = new DataView(rx.page.buffer, rx.page.byteOffset + sring.ring + slot * netif_rx_request.bytes, netif_rx_request.bytes);
    v.setUint16(netif_rx_request.id, r.u32(), true);
    v.setUint32(netif_rx_request.gref, r.chance(5) ? r.edge() : r.pick(this.#refs), true);
  }
  close(): void {
    if (this.#path === undefined) return;
    this.#kernel.store.write(`${this.#path}/state`, XenbusStateClosing);
    this.#kernel.store.write(`${this.#path}/state`, XenbusStateClosed);
    this.#await([XenbusStateClosed, XenbusStateInitWait]);
  }
}
