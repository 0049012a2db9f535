// A netfront for tests: rings, buffers and xenstore keys of one guest, in ordinary memory.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import {
  netif_extra_info as extra, netif_rx_request as rxRequest, netif_rx_response as rxResponse, netif_tx_request as txRequest, netif_tx_response as txResponse,
  NETRXF_csum_blank, NETRXF_data_validated, NETRXF_extra_info, NETRXF_more_data, NETTXF_csum_blank, NETTXF_extra_info, NETTXF_more_data,
  XEN_NETIF_EXTRA_TYPE_GSO, XEN_NETIF_EXTRA_TYPE_HASH, XEN_NETIF_GSO_TYPE_TCPV4, XEN_NETIF_GSO_TYPE_TCPV6,
} from '../../hypervisor/public/io/netif.ts';
import { domid } from '../../hypervisor/public/types.ts';
import { FakeHypervisor, newPage, settle, type Page } from '../bus/fakes.ts';
import { FrontRing } from '../bus/ring.ts';
import { Bridges } from '../switch/bridges.ts';
import type { Frame, Gso } from '../switch/port.ts';
import type { VifConfig } from '../toolstack/config/schema.ts';
import type { OpenVif } from '../toolstack/ports.ts';
import type { XenStore } from '../xenstore/client.ts';
import { XenstoreServer } from '../xenstore/server.ts';
import { Netback } from './index.ts';

const TX_REF = 1, RX_REF = 2, CTRL_REF = 3, BUFFERS = 100, TX_BUFFERS = 1000;
export const TX_PORT = 8, RX_PORT = 9, CTRL_PORT = 10;

export interface SlotSpec { readonly gref?: number; readonly offset?: number; readonly size?: number; readonly flags?: number }
export interface Received { bytes: Uint8Array; checksum: Frame['checksum']; gso?: Gso; hash?: { type: number; value: number } }

/** Dom0's side of a test: one hypervisor, one xenstore, netback and its bridges. */
export class NetWorld {
  readonly hypervisor = new FakeHypervisor();
  readonly bridges = new Bridges(['xenbr0', 'other']);
  readonly lines: string[] = [];
  readonly store: XenStore;
  readonly netback: Netback;

  constructor() {
    const hypercalls = { ...this.hypervisor.hypercalls, gnttabWrote: () => {} } as unknown as Dom0Hypercalls;
    this.store = new XenstoreServer({ hypercalls }).client();
    this.netback = new Netback({ hypercalls, store: this.store, bridges: this.bridges, log: line => this.lines.push(line) });
  }

  async guest(dom: number, config: Partial<VifConfig> = {}, features: Readonly<Record<string, string>> = {}): Promise<FakeNetfront> {
    const guest = new FakeNetfront(this, dom, { trusted: true, ...config });
    await settle();
    if (features['state'] !== '') await guest.connect(features);
    return guest;
  }
}

export class FakeNetfront {
  readonly front: string;
  readonly back: string;
  readonly open: OpenVif;
  readonly #world: NetWorld;
  readonly #dom: number;
  #tx!: FrontRing;
  #rx!: FrontRing;
  #buffers: Page[] = [];
  #nextTx = 0;
  /** Statuses of transmit responses, in order. */
  readonly answers: { id: number; status: number }[] = [];

  constructor(world: NetWorld, dom: number, config: VifConfig) {
    this.#world = world; this.#dom = dom;
    this.front = `/local/domain/${dom}/device/vif/0`; this.back = `/local/domain/0/backend/vif/${dom}/0`;
    const nodes = { [`${this.back}/frontend`]: this.front, [`${this.back}/frontend-id`]: String(dom), [`${this.back}/online`]: '1', [`${this.back}/state`]: '1', [`${this.front}/state`]: '1' };
    for (const [path, value] of Object.entries(nodes)) world.store.write(path, value);
    this.open = world.netback.attach(config, domid(dom), this.back);
  }

  backKey(key: string): string | undefined { return this.#world.store.read(`${this.back}/${key}`); }
  async setKeys(keys: Readonly<Record<string, string>>): Promise<void> {
    for (const [key, value] of Object.entries(keys)) this.#world.store.write(`${this.front}/${key}`, value);
    await settle();
  }

  async connect(features: Readonly<Record<string, string>> = {}): Promise<void> {
    const { hypervisor } = this.#world, dom = this.#dom;
    this.#tx = new FrontRing([hypervisor.grant(dom, TX_REF)], txRequest.bytes);
    this.#rx = new FrontRing([hypervisor.grant(dom, RX_REF)], rxRequest.bytes);
    await this.setKeys({
      'tx-ring-ref': String(TX_REF), 'rx-ring-ref': String(RX_REF), 'event-channel-tx': String(TX_PORT), 'event-channel-rx': String(RX_PORT),
      'request-rx-copy': '1', 'feature-rx-notify': '1', 'feature-sg': '1', 'feature-gso-tcpv4': '1', 'feature-gso-tcpv6': '1', 'feature-ipv6-csum-offload': '1',
      state: '4', ...features,
    });
  }
  control(entryBytes: number): FrontRing { return new FrontRing([this.#world.hypervisor.grant(this.#dom, CTRL_REF)], entryBytes); }
  readonly controlKeys = { 'ctrl-ring-ref': String(CTRL_REF), 'event-channel-ctrl': String(CTRL_PORT) };

  /** Gives so many receive buffers, or as many as the ring takes. */
  post(count: number): void {
    for (let i = Math.min(count, this.#rx.free); i > 0; i--) {
      const id = this.#buffers.length & 0xffff, page = newPage();
      this.#buffers[id] = page;
      this.#world.hypervisor.grant(this.#dom, BUFFERS + id, page);
      const entry = new DataView(new ArrayBuffer(rxRequest.bytes));
      entry.setUint16(rxRequest.id, id, true);
      entry.setUint32(rxRequest.gref, BUFFERS + id, true);
      this.#rx.request(new Uint8Array(entry.buffer));
    }
    this.#rx.push();
    this.#world.hypervisor.fire(this.#dom, RX_PORT);
  }

  /** Puts slots into the transmit ring as they are. */
  slots(slots: readonly (SlotSpec | Uint8Array)[], notify = true): void {
    for (const slot of slots) {
      if (slot instanceof Uint8Array) { this.#tx.request(slot); continue; }
      const entry = new DataView(new ArrayBuffer(txRequest.bytes));
      entry.setUint32(txRequest.gref, slot.gref ?? 0, true);
      entry.setUint16(txRequest.offset, slot.offset ?? 0, true);
      entry.setUint16(txRequest.flags, slot.flags ?? 0, true);
      entry.setUint16(txRequest.id, this.#nextTx++ & 0xffff, true);
      entry.setUint16(txRequest.size, slot.size ?? 0, true);
      this.#tx.request(new Uint8Array(entry.buffer));
    }
    this.#tx.push();
    if (notify) this.#world.hypervisor.fire(this.#dom, TX_PORT);
  }

  /** Grants a page that holds `bytes` from its start. @returns its reference */
  page(bytes: Uint8Array): number {
    const ref = TX_BUFFERS + (this.#nextTx++ & 0xff), page = newPage();
    page.set(bytes);
    this.#world.hypervisor.grant(this.#dom, ref, page);
    return ref;
  }

  /** Sends a frame in pages of 4096 bytes, as a kernel would. */
  send(bytes: Uint8Array, options: { gso?: Gso; blank?: boolean } = {}): void {
    const slots: (SlotSpec | Uint8Array)[] = [];
    const blank = options.blank || options.gso ? NETTXF_csum_blank : 0;
    for (let at = 0; at < bytes.length; at += 4096) {
      const part = bytes.subarray(at, at + 4096), more = at + 4096 < bytes.length ? NETTXF_more_data : 0;
      slots.push({ gref: this.page(part), size: at === 0 ? bytes.length : part.length, flags: more | (at === 0 ? blank | (options.gso ? NETTXF_extra_info : 0) : 0) });
      if (at === 0 && options.gso) slots.push(gsoSlot(options.gso.type === 'tcpv4' ? XEN_NETIF_GSO_TYPE_TCPV4 : XEN_NETIF_GSO_TYPE_TCPV6, options.gso.size));
    }
    this.slots(slots);
  }

  /** Collects transmit responses. */
  reap(): { id: number; status: number }[] {
    const found: { id: number; status: number }[] = [];
    for (let slot = this.#tx.take(); slot; slot = this.#tx.take()) {
      const v = new DataView(slot.buffer);
      found.push({ id: v.getUint16(txResponse.id, true), status: v.getInt16(txResponse.status, true) });
    }
    this.#tx.finalCheck();
    this.answers.push(...found);
    return found;
  }

  /** Frames received since the last call. */
  async receive(): Promise<Received[]> {
    await settle();
    const frames: Received[] = [];
    for (let slot = this.#rx.take(); slot; slot = this.#rx.take()) {
      const v = new DataView(slot.buffer);
      const id = v.getUint16(rxResponse.id, true), status = v.getInt16(rxResponse.status, true);
      let flags = v.getUint16(rxResponse.flags, true);
      const parts = [this.#buffers[id]!.slice(0, Math.max(0, status))];
      const frame: Received = { bytes: new Uint8Array(0), checksum: flags & NETRXF_csum_blank ? 'blank' : flags & NETRXF_data_validated ? 'valid' : 'complete' };
      for (let more = (flags & NETRXF_extra_info) !== 0; more;) {
        const info = this.#rx.take()!, e = new DataView(info.buffer);
        if (e.getUint8(extra.type) === XEN_NETIF_EXTRA_TYPE_GSO) frame.gso = { type: e.getUint8(extra.gso_type) === XEN_NETIF_GSO_TYPE_TCPV4 ? 'tcpv4' : 'tcpv6', size: e.getUint16(extra.gso_size, true) };
        if (e.getUint8(extra.type) === XEN_NETIF_EXTRA_TYPE_HASH) frame.hash = { type: e.getUint8(extra.hash_type), value: e.getUint32(extra.hash_value, true) };
        more = (e.getUint8(extra.flags) & 1) !== 0;
      }
      while (flags & NETRXF_more_data) {
        const next = new DataView(this.#rx.take()!.buffer);
        flags = next.getUint16(rxResponse.flags, true);
        parts.push(this.#buffers[next.getUint16(rxResponse.id, true)]!.slice(0, Math.max(0, next.getInt16(rxResponse.status, true))));
      }
      frame.bytes = Uint8Array.from(Buffer.concat(parts));
      frames.push(frame);
    }
    this.#rx.finalCheck();
    return frames;
  }
}

export function gsoSlot(type: number, size: number, flags = 0): Uint8Array {
  const slot = new DataView(new ArrayBuffer(txRequest.bytes));
  slot.setUint8(extra.type, XEN_NETIF_EXTRA_TYPE_GSO);
  slot.setUint8(extra.flags, flags);
  slot.setUint16(extra.gso_size, size, true);
  slot.setUint8(extra.gso_type, type);
  return new Uint8Array(slot.buffer);
}

/** A TCP segment in an Ethernet frame, its checksum blank. Addresses end in the numbers given. */
export function tcpFrame(from: number, to: number, payload: Uint8Array, version: 4 | 6 = 4): Uint8Array {
  const ipBytes = version === 4 ? 20 : 40, b = new Uint8Array(14 + ipBytes + 20 + payload.length), v = new DataView(b.buffer), at = 14 + ipBytes;
  b.set([0, 0x16, 0x3e, 0, 0, to, 0, 0x16, 0x3e, 0, 0, from]);
  v.setUint16(12, version === 4 ? 0x0800 : 0x86dd);
  if (version === 4) {
    b.set([0x45, 0], 14);
    v.setUint16(16, b.length - 14);
    v.setUint16(18, 0x1234);
    b.set([64, 6, 0, 0, 10, 0, 0, from, 10, 0, 0, to], 22);
  } else {
    b[14] = 0x60;
    v.setUint16(18, b.length - 54);
    b.set([6, 64], 20);
    b.set([0xfe, 0x80], 22); b[37] = from;
    b.set([0xfe, 0x80], 38); b[53] = to;
  }
  v.setUint16(at, 1000 + from);
  v.setUint16(at + 2, 5001);
  v.setUint32(at + 4, 0xffff_f000);
  v.setUint32(at + 8, 7);
  b.set([0x50, 0x18, 0x10, 0], at + 12);
  b.set(payload, at + 20);
  return b;
}
