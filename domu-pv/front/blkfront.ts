// blkfront: a virtual disk (public/io/blkif.h). Uses what blkback offers: rings of several pages, indirect requests,
// persistent grants, flush, discard.
//
//   frontend   1 Initialising -> 3 Initialised (ring, event channel) ---------> 4 Connected
//   backend    2 InitWait (features) --------> 4 Connected (sectors) ->
//
// Data goes through buffer frames that stay granted, so the backend maps each once; frames that the caller has granted
// itself (transfer) go without a copy.
import {
  BLKIF_MAX_SEGMENTS_PER_REQUEST, BLKIF_OP_DISCARD, BLKIF_OP_FLUSH_DISKCACHE, BLKIF_OP_INDIRECT, BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_RSP_OKAY,
  REQUEST_BYTES, RESPONSE_BYTES, SECTOR_BYTES, SECTORS_PER_PAGE, SEGMENTS_PER_INDIRECT_PAGE, VDISK_READONLY, blkif_request, blkif_request_discard,
  blkif_request_indirect, blkif_request_segment, blkif_response,
} from '../../hypervisor/public/io/blkif.ts';
import { get16, get32, put16, put32, put64 } from '../../hypervisor/public/io/fields.ts';
import { XenbusStateClosed, XenbusStateClosing, XenbusStateConnected, XenbusStateInitialised, XenbusStateInitWait } from '../../hypervisor/public/io/xenbus.ts';
import { FsError } from '../fs/node.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { below } from '../kernel/xenstore.ts';
import { PAGE_BYTES } from '../kernel/heap.ts';
import { ERRNO } from '../wasi/errno.ts';
import { FrontRing } from './ring.ts';

/** Backends serve more, but a ring of this many entries keeps any disk busy. */
const RING_ORDER_MAX = 2;
/** Buffer frames of a disk: what one indirect request can carry, twice, or less in a small domain. */
const BUFFERS_MAX = 512, BUFFERS_MIN = 8, HEAP_SHARE = 4;

/** How long a backend may say nothing before we look whether there still is one. */
const SILENCE_NS = 2_000_000_000n;

export interface Segment { readonly gref: number; readonly first: number; readonly last: number }
/** One disk request. Sectors of 512 bytes. */
export interface BlkTransfer { readonly write: boolean; readonly sector: number; readonly segments: readonly Segment[] }
type Done = (ok: boolean) => void;
interface Buffer { readonly pfn: number; readonly gref: number }

export class Blkfront {
  readonly #kernel: Kernel; readonly #path: string; readonly #backend: string; readonly #remote: number;
  #ring!: FrontRing;
  #port = 0;
  #maxSegments = BLKIF_MAX_SEGMENTS_PER_REQUEST;
  readonly #ringFrames: { pfn: number; gref: number }[] = [];
  readonly #indirect: Buffer[] = [];
  readonly #free: Buffer[] = [];
  readonly #pending = new Map<number, { done: Done; page: Buffer | undefined }>();
  readonly #request = new Uint8Array(REQUEST_BYTES);
  #nextId = 0;
  /** The disk was taken from us: nothing is answered any more, what is asked for fails. */
  #isGone = false;
  /** In 512-byte units. */
  sectors = 0;
  readOnly = false;
  canFlush = false; canDiscard = false;

  /** @param path the frontend's directory: device/vbd/51712. Returns connected. @throws Error */
  constructor(kernel: Kernel, path: string) {
    const { store } = kernel;
    this.#kernel = kernel;
    this.#path = path;
    this.#backend = store.read(`${path}/backend`);
    this.#remote = Number(store.read(`${path}/backend-id`));
    this.#awaitBackend(XenbusStateInitWait);
    this.#connect();
    kernel.beforeSuspend(() => this.#pending.size === 0);
  }
  get maxSegments(): number { return this.#maxSegments; }
  /** Requests that may be under way at once. */
  get depth(): number { return this.#ring.entryCount; }
  get inFlight(): number { return this.#pending.size; }

  #feature(name: string): number { return Number(this.#kernel.store.tryRead(`${this.#backend}/${name}`) ?? 0); }
  #awaitBackend(state: number): void {
    let now = 0;
    const { store, events } = this.#kernel, unwatch = store.watch(`${this.#backend}/state`, () => { now = this.#feature('state'); });
    events.waitFor(() => now >= state);
    unwatch();
    if (now === XenbusStateClosing || now === XenbusStateClosed) throw new Error(`the backend of ${this.#path} is closing`);
  }

  #connect(): void {
    const { heap, grants, store, hypercalls, events } = this.#kernel, order = Math.min(RING_ORDER_MAX, this.#feature('max-ring-page-order'));
    const isPersistent = this.#feature('feature-persistent') === 1, indirect = this.#feature('feature-max-indirect-segments');
    this.canFlush = this.#feature('feature-flush-cache') === 1;
    this.canDiscard = this.#feature('feature-discard') === 1;
    for (let n = 0; n < 2 ** order; n++) { const pfn = heap.allocate(); this.#ringFrames.push({ pfn, gref: grants.grant(this.#remote, pfn) }); }
    this.#ring = new FrontRing(this.#ringFrames.map(f => heap.page(f.pfn)), REQUEST_BYTES);
    const bufferCount = Math.max(BUFFERS_MIN, Math.min(BUFFERS_MAX, Math.floor(heap.freeCount / HEAP_SHARE)));
    const newBuffer = (): Buffer => { const pfn = heap.allocate(); return { pfn, gref: grants.grant(this.#remote, pfn) }; };
    for (let n = 0; n < bufferCount; n++) this.#free.push(newBuffer());
    if (indirect > BLKIF_MAX_SEGMENTS_PER_REQUEST) {
      this.#maxSegments = Math.min(indirect, SEGMENTS_PER_INDIRECT_PAGE);
      for (let n = 0; n < this.#ring.entryCount && n < bufferCount / 4; n++) this.#indirect.push(newBuffer());
    }
    this.#port = hypercalls.evtchnAllocUnbound(this.#remote);
    events.bind(this.#port, () => this.#collect());
    store.transaction(tx => store.writeAll(below(this.#path, {
      ...order === 0 ? { 'ring-ref': this.#ringFrames[0]!.gref } : { 'ring-page-order': order, ...Object.fromEntries(this.#ringFrames.map((f, n) => [`ring-ref${n}`, f.gref])) },
      'event-channel': this.#port, protocol: 'x86_64-abi', ...isPersistent ? { 'feature-persistent': 1 } : {}, state: XenbusStateInitialised,
    }), tx));
    this.#awaitBackend(XenbusStateConnected);
    this.sectors = this.#feature('sectors');
    this.readOnly = (this.#feature('info') & VDISK_READONLY) !== 0;
    store.write(`${this.#path}/state`, XenbusStateConnected);
  }
  /** Waits for what is under way, and lets go. */
  close(): void {
    const { store, events, grants, heap } = this.#kernel;
    events.waitFor(() => this.#pending.size === 0);
    store.write(`${this.#path}/state`, XenbusStateClosing);
    this.#awaitBackendClosed();
    events.unbind(this.#port);
    for (const { pfn, gref } of [...this.#ringFrames, ...this.#free, ...this.#indirect]) if (grants.end(gref)) heap.release(pfn);
    store.write(`${this.#path}/state`, XenbusStateClosed);
  }
  #awaitBackendClosed(): void {
    let now = 0;
    const unwatch = this.#kernel.store.watch(`${this.#backend}/state`, () => { now = this.#feature('state'); });
    this.#kernel.events.waitFor(() => now === XenbusStateClosing || now === XenbusStateClosed);
    unwatch();
  }

  // ---- the ring
  /** In the upcall. Whoever waits has all of what is under way to wait for, or goes on with half of it. */
  #collect(): void {
    do {
      for (let r = this.#ring.take(RESPONSE_BYTES); r; r = this.#ring.take(RESPONSE_BYTES)) {
        const id = get32(r, blkif_response.id), waiting = this.#pending.get(id);
        if (!waiting) continue;
        this.#pending.delete(id);
        if (waiting.page) this.#indirect.push(waiting.page);
        waiting.done(get16(r, blkif_response.status) === BLKIF_RSP_OKAY);
      }
    } while (this.#ring.finalCheck(true));
  }
  /** Whether submit() would not wait. */
  get hasRoom(): boolean { return this.#ring.free > 0; }
  /** Puts a request on the ring; push() sends it. `done` is called in an upcall. Waits for room. */
  submit(t: BlkTransfer, done: Done): void {
    const direct = t.segments.length <= BLKIF_MAX_SEGMENTS_PER_REQUEST;
    this.#awaitRoom(() => this.#ring.free > 0 && (direct || this.#indirect.length > 0));
    const operation = t.write ? BLKIF_OP_WRITE : BLKIF_OP_READ, page = direct ? undefined : this.#indirect.pop()!, id = this.#newId(), request = this.#request.fill(0);
    put32(request, blkif_request.id, id);
    put64(request, blkif_request.sector_number, t.sector);
    if (page) {
      request[blkif_request.operation] = BLKIF_OP_INDIRECT;
      request[blkif_request_indirect.indirect_op] = operation;
      put16(request, blkif_request_indirect.nr_segments, t.segments.length);
      put32(request, blkif_request_indirect.indirect_grefs, page.gref);
      writeSegments(this.#kernel.vcpu.bytes, page.pfn * PAGE_BYTES, t.segments);
    } else {
      request[blkif_request.operation] = operation;
      request[blkif_request.nr_segments] = t.segments.length;
      writeSegments(request, blkif_request.seg, t.segments);
    }
    this.#pending.set(id, { done, page });
    this.#ring.put(request);
  }
  push(): void { if (this.#ring.push()) this.#kernel.events.notify(this.#port); }
  #newId(): number { return this.#nextId = this.#nextId + 1 & 0x3fff_ffff; }
  /** @throws FsError where the disk is gone */
  #awaitRoom(isThere: () => boolean): void {
    if (!isThere()) { this.push(); this.#await(isThere); }
    if (this.#isGone) throw new FsError(ERRNO.IO);
  }
  /** Waits for answers. A backend that closes serves those who still use it; one that has closed does not. */
  #await(isThere: () => boolean): void {
    const { events, clock } = this.#kernel;
    while (!events.waitFor(() => this.#isGone || isThere(), clock.systemNs() + SILENCE_NS)) {
      const state = this.#feature('state');
      if (state === XenbusStateConnected || state === XenbusStateClosing) continue;
      this.#isGone = true;
      for (const { done } of this.#pending.values()) done(false);
      this.#pending.clear();
    }
  }

  // ---- whole transfers, through buffers
  /** @throws FsError */
  read(sector: number, into: Uint8Array): void { this.#through(false, sector, into); }
  write(sector: number, data: Uint8Array): void {
    if (this.readOnly) throw new FsError(ERRNO.ROFS);
    this.#through(true, sector, data);
  }
  /** Pieces as large as requests may be, as many at once as there are buffers. */
  #through(write: boolean, sector: number, data: Uint8Array): void {
    this.#kernel.events.critical(() => {
      let failed = false, under = 0;
      const frames = Math.max(1, Math.min(this.#maxSegments, Math.floor((this.#free.length + 1) / 2)));
      for (let at = 0; at < data.length;) {
        const part = data.subarray(at, at + frames * PAGE_BYTES), wanted = Math.ceil(part.length / PAGE_BYTES);
        this.#awaitRoom(() => this.#free.length >= wanted);
        const buffers = this.#free.splice(this.#free.length - wanted, wanted);
        const pieces = buffers.map((b, i) => ({ page: this.#kernel.heap.page(b.pfn), bytes: part.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES) }));
        if (write) for (const { page, bytes } of pieces) page.set(bytes);
        const segments = buffers.map((b, i) => ({ gref: b.gref, first: 0, last: pieces[i]!.bytes.length / SECTOR_BYTES - 1 }));
        under++;
        this.submit({ write, sector: sector + at / SECTOR_BYTES, segments }, ok => {
          if (ok && !write) for (const { page, bytes } of pieces) bytes.set(page.subarray(0, bytes.length));
          failed ||= !ok;
          under--;
          this.#free.push(...buffers);
        });
        at += part.length;
      }
      this.push();
      this.#await(() => under === 0);
      if (failed) throw new FsError(ERRNO.IO);
    });
  }
  /** What was written before is on the disk when this returns. @throws FsError */
  flush(): void {
    if (this.canFlush) this.#simple(BLKIF_OP_FLUSH_DISKCACHE, () => {});
  }
  discard(sector: number, sectorCount: number): void {
    if (!this.canDiscard) return;
    this.#simple(BLKIF_OP_DISCARD, r => { put64(r, blkif_request_discard.sector_number, sector); put64(r, blkif_request_discard.nr_sectors, sectorCount); });
  }
  #simple(operation: number, fill: (request: Uint8Array) => void): void {
    this.#kernel.events.critical(() => {
      this.#awaitRoom(() => this.#ring.free > 0);
      const request = this.#request.fill(0), id = this.#newId();
      let result: boolean | undefined;
      request[blkif_request.operation] = operation;
      put32(request, blkif_request.id, id);
      fill(request);
      this.#pending.set(id, { page: undefined, done: ok => { result = ok; } });
      this.#ring.put(request);
      this.push();
      this.#await(() => result !== undefined);
      if (!result) throw new FsError(ERRNO.IO);
    });
  }
}

function writeSegments(into: Uint8Array, at: number, segments: readonly Segment[]): void {
  for (const { gref, first, last } of segments) {
    put32(into, at + blkif_request_segment.gref, gref);
    into[at + blkif_request_segment.first_sect] = first;
    into[at + blkif_request_segment.last_sect] = last;
    at += blkif_request_segment.bytes;
  }
}
export { SECTORS_PER_PAGE };

/** The frontend directory of a disk by its name in the configuration: xvda, sda1, hdc, ... undefined where there is none. */
export function findDisk(kernel: Kernel, name: string): string | undefined {
  const { store } = kernel;
  return store.list('device/vbd').map(devid => `device/vbd/${devid}`).find(path => store.tryRead(`${store.tryRead(`${path}/backend`) ?? ''}/dev`) === name);
}
