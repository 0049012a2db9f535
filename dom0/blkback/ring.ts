// The request loop of one virtual disk: takes requests off the ring, runs them at bounded depth, answers in any order.
// Invariants: every request taken is answered exactly once, or dropped after stop(); frames borrowed for a request
// are given back before its answer is counted; #inFlight is 0 when stop() resolves.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { Domid, GrantRef } from '../../hypervisor/public/types.ts';
import {
  BLKIF_OP_FLUSH_DISKCACHE, BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_OP_WRITE_BARRIER, BLKIF_RSP_ERROR, BLKIF_RSP_OKAY, blkif_request, blkif_response,
  RESPONSE_BYTES, SECTOR_BYTES, type BlkifStatus,
} from '../../hypervisor/public/io/blkif.ts';
import { put16 } from '../../hypervisor/public/io/fields.ts';
import type { Disk } from './device.ts';
import { Batch, BATCH_COUNT, type Transfer } from './batch.ts';
import { GrantCache } from './grants.ts';
import { Loan } from './loan.ts';
import { newMetrics, type BlkbackMetrics } from './metrics.ts';
import { Patience } from './patience.ts';
import { parseIndirect, parseRequest, type BlkRequest } from './request.ts';

/** The back end of a shared ring as this file uses it. */
export interface BackRing {
  /** A private copy of the next request, or undefined. @throws if the frontend's indexes make no sense */
  take(): Uint8Array | undefined;
  /** How many requests take() would give. @throws as take() does */
  readonly unconsumed: number;
  /** After take() gave undefined: asks for an event on the next request. @returns true if one came meanwhile */
  finalCheck(): boolean;
  /** Answers a request that take() gave; push() makes it visible. */
  answer(request: Uint8Array, response: Uint8Array): void;
  /** @returns true if the frontend wants an event */
  push(): boolean;
}

export interface BlkRingOptions {
  readonly ring: BackRing; readonly disk: Disk; readonly dom: Domid; readonly persistent: boolean;
  readonly hypercalls: Pick<Dom0Hypercalls, 'gnttabMap' | 'gnttabUnmap' | 'gnttabWrote' | 'eventsWait'>;
  notify(): void;
  /** A sentence for xl dmesg about a frontend that misbehaves. */
  complain(what: string): void;
}

/** Requests run against the disk at once; more stay in the ring. */
const DEPTH = 64;
/** Requests run at once before their answers are shown, and before others have their turn. */
const SHOWN_TOGETHER = BATCH_COUNT, SHOWN_ALONE_SECTORS = 64, AT_ONCE_MAX = 128, AT_ONCE_SECTORS = 8192, LOOKS_MAX = 16;
const PAGE_BYTES = 4096, ID_BYTES = 8;
/** A hostile frontend may not fill the log. */
const MAX_COMPLAINTS = 10;

export class BlkRing {
  readonly metrics: BlkbackMetrics = newMetrics();
  readonly #o: BlkRingOptions;
  readonly #grants: GrantCache;
  #inFlight = 0;
  #barrier = false;
  #stopped = false;
  #broken = false;
  #complaints = 0;
  /** Quick transfers, taken and not yet run. */
  readonly #batch = new Batch();
  /** Answers since the last push. */
  #unshown = 0;
  #pushPending = false;
  #later = false;
  #idle: (() => void)[] = [];
  readonly #response = new Uint8Array(RESPONSE_BYTES);
  readonly #pages: Uint8Array[] = [];
  readonly #patience = new Patience();
  readonly #hasMore = (): boolean => this.#o.ring.unconsumed > 0;
  readonly #isBusy = (): boolean => this.#o.hypercalls.eventsWait();

  constructor(options: BlkRingOptions) {
    this.#o = options;
    this.#grants = new GrantCache(options.hypercalls, options.dom, options.persistent);
  }

  /** Event from the frontend. */
  kick(): void {
    if (this.#stopped || this.#broken) return;
    try { this.#pump(); } catch (error) {
      this.#runBatch();
      this.#broken = true;
      this.#complain(`ring is broken (${error instanceof Error ? error.message : String(error)}); no more requests are taken`);
    }
  }

  /** Takes no more requests, waits for those in flight, unmaps everything. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#whenIdle(0);
    this.#grants.clear();
  }

  #pump(): void {
    let atOnce = 0, sectors = 0, looks = 0;
    for (;;) {
      while (!this.#barrier && this.#inFlight < DEPTH && !this.#stopped) {
        const entry = this.#o.ring.take();
        if (!entry) {
          if (this.#batch.count > 0) { this.#runBatch(); continue; }
          if (atOnce > 0 && this.#comesSoon()) { looks++; continue; }
          break;
        }
        const parsed = parseRequest(entry, this.#o.disk), request = parsed.kind === 'indirect' ? this.#direct(parsed) : parsed;
        if (!this.#batch.canTake(request)) this.#runBatch();
        if (!this.#isQuick(request)) { this.#start(entry, request); continue; }
        this.#batch.add(entry, request);
        sectors += request.sectorCount;
        atOnce++;
        if (this.#batch.isFull) this.#runBatch();
        if (atOnce === AT_ONCE_MAX || looks === LOOKS_MAX || sectors >= AT_ONCE_SECTORS) { this.#runBatch(); this.#goOnLater(); return; }
      }
      if (this.#inFlight >= DEPTH) { this.metrics.oo_req++; return; }
      if (this.#barrier || this.#stopped || !this.#o.ring.finalCheck()) return;
    }
  }

  /** The request that the pages of an indirect one make. */
  #direct(request: BlkRequest & { kind: 'indirect' }): BlkRequest {
    const { operation } = request, pages = this.#copyPages(request.pages);
    return pages ? parseIndirect(request, pages, this.#o.disk) : { kind: 'refused', operation, status: BLKIF_RSP_ERROR, reason: 'its indirect pages are not there' };
  }

  /** Others have their turn first. */
  #goOnLater(): void {
    if (this.#later) return;
    this.#later = true;
    setImmediate(() => { this.#later = false; this.kick(); });
  }

  /** A small transfer that need not wait: done without a promise. */
  #isQuick(request: BlkRequest): request is Transfer {
    if (request.kind !== 'transfer') return false;
    return request.op === BLKIF_OP_READ ? this.#o.disk.readNow !== undefined : request.op === BLKIF_OP_WRITE && this.#o.disk.writeNow !== undefined;
  }
  #runBatch(): void {
    const batch = this.#batch, { count, sectorCount } = batch;
    if (count === 0) return;
    let done: boolean;
    // What it held stays readable until something is added.
    try { done = this.#runNow(batch); } finally { batch.clear(); }
    for (let n = 0; n < count; n++) {
      const entry = batch.entry(n), request = batch.request(n);
      if (!done) { this.#start(entry, request); continue; }
      this.#count(request, request.op === BLKIF_OP_READ);
      this.#respond(entry, request, BLKIF_RSP_OKAY);
    }
    this.#unshown += count;
    // The frontend takes these while the next are read.
    if (this.#unshown >= SHOWN_TOGETHER || sectorCount > SHOWN_ALONE_SECTORS) this.#push();
  }
  /** @returns false: nothing may be taken as done */
  #runNow(batch: Batch): boolean {
    const { disk, hypercalls } = this.#o, { op, sector } = batch.request(0), reading = op === BLKIF_OP_READ, loan = new Loan(this.#grants, reading, batch.segmentCount);
    let isWhole = true;
    for (let n = 0; n < batch.count && isWhole; n++) isWhole = !loan.borrow(batch.request(n).segments);
    loan.complete();
    this.metrics.persistent_grants = this.#grants.keptCount;
    const done = isWhole && (reading ? disk.readNow!(loan.views, sector * SECTOR_BYTES) : disk.writeNow!(loan.views, sector * SECTOR_BYTES));
    loan.giveBack(hypercalls);
    return done;
  }
  /** Shows what has been answered, and looks for a moment for what the frontend makes of it. */
  #comesSoon(): boolean {
    if (this.#inFlight > 0) return false;
    this.#push();
    return this.#patience.wait(this.#hasMore, this.#isBusy);
  }

  #start(entry: Uint8Array, request: BlkRequest): void {
    this.#inFlight++;
    this.metrics.in_flight = this.#inFlight;
    void this.#run(request).then(status => this.#finish(entry, request, status), error => {
      this.#complain(`request ${request.operation} failed: ${error instanceof Error ? error.message : String(error)}`);
      this.#finish(entry, request, BLKIF_RSP_ERROR);
    });
  }

  async #run(request: BlkRequest): Promise<BlkifStatus> {
    switch (request.kind) {
      case 'refused': this.#complain(`request refused: ${request.reason}`); return request.status;
      case 'discard':
        this.metrics.ds_req++;
        await this.#o.disk.discardRange(request.sector * SECTOR_BYTES, request.sectorCount * SECTOR_BYTES);
        return BLKIF_RSP_OKAY;
      case 'indirect': return this.#run(this.#direct(request));
      case 'transfer': return request.op === BLKIF_OP_WRITE_BARRIER ? this.#runBarrier(request) : this.#transfer(request);
    }
  }

  /** All before it is done and stable, then it, then it is stable too, and only then what comes after. */
  async #runBarrier(request: Transfer): Promise<BlkifStatus> {
    this.#barrier = true;
    try {
      await this.#whenIdle(1);
      await this.#o.disk.flush();
      const status = await this.#transfer(request);
      if (status === BLKIF_RSP_OKAY && request.sectorCount > 0) await this.#o.disk.flush();
      return status;
    } finally { this.#barrier = false; }
  }

  async #transfer(request: Transfer): Promise<BlkifStatus> {
    const { disk, hypercalls } = this.#o, reading = request.op === BLKIF_OP_READ;
    if (request.op === BLKIF_OP_FLUSH_DISKCACHE) { this.metrics.f_req++; await disk.flush(); }
    if (request.sectorCount === 0) return BLKIF_RSP_OKAY;
    const loan = new Loan(this.#grants, reading, request.segments.length), missing = loan.borrow(request.segments);
    try {
      if (missing) { this.#complain(`grant ${missing.ref} cannot be mapped (error ${missing.error})`); return BLKIF_RSP_ERROR; }
      loan.complete();
      this.metrics.persistent_grants = this.#grants.keptCount;
      this.#count(request, reading);
      if (reading) await disk.read(loan.views, request.sector * SECTOR_BYTES); else await disk.write(loan.views, request.sector * SECTOR_BYTES);
      return BLKIF_RSP_OKAY;
    } finally { loan.giveBack(hypercalls); }
  }

  #count(request: Transfer, reading: boolean): void {
    if (reading) { this.metrics.rd_req++; this.metrics.rd_sect += request.sectorCount; } else { this.metrics.wr_req++; this.metrics.wr_sect += request.sectorCount; }
  }

  /** Private copies of the pages that hold indirect segments: the frontend may change them at any time. */
  #copyPages(refs: readonly GrantRef[]): Uint8Array[] | undefined {
    const pages: Uint8Array[] = [];
    for (const ref of refs) {
      const frame = this.#grants.borrow(ref, true);
      if (typeof frame === 'number') { this.#complain(`indirect page ${ref} cannot be mapped (error ${frame})`); return undefined; }
      const page = this.#pages[pages.length] ??= new Uint8Array(PAGE_BYTES);
      page.set(frame.mapping.bytes);
      pages.push(page);
      this.#grants.giveBack(frame);
    }
    return pages;
  }

  #finish(entry: Uint8Array, request: BlkRequest, status: BlkifStatus): void {
    this.#inFlight--;
    this.metrics.in_flight = this.#inFlight;
    if (status !== BLKIF_RSP_OKAY) this.metrics.errors++;
    if (!this.#broken) this.#respond(entry, request, status);
    const waiting = this.#idle;
    this.#idle = [];
    for (const check of waiting) check();
    if (!this.#stopped) this.kick();
  }

  #respond(entry: Uint8Array, request: BlkRequest, status: BlkifStatus): void {
    const response = this.#response;
    for (let i = 0; i < ID_BYTES; i++) response[blkif_response.id + i] = entry[blkif_request.id + i]!;
    response[blkif_response.operation] = request.operation;
    put16(response, blkif_response.status, status);
    this.#o.ring.answer(entry, response);
    // Answers that become ready together share one event.
    if (this.#pushPending) return;
    this.#pushPending = true;
    queueMicrotask(() => { if (this.#pushPending) this.#push(); });
  }
  #push(): void {
    this.#pushPending = false;
    this.#unshown = 0;
    if (this.#o.ring.push()) this.#o.notify();
  }

  /** Resolves once at most `count` requests are in flight. */
  #whenIdle(count: number): Promise<void> {
    return new Promise(resolve => {
      const check = (): void => { if (this.#inFlight <= count) resolve(); else this.#idle.push(check); };
      check();
    });
  }

  #complain(what: string): void {
    if (this.#complaints++ < MAX_COMPLAINTS) this.#o.complain(what);
  }
}
