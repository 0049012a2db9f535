// Event channels, 2-level (public/xen.h): a selector bit for every 64 ports, a pending and a mask bit for each. And
// sleeping: a PV kernel masks upcalls, looks whether what it waits for has come, and blocks, which unmasks them.
//
// Handlers run in the upcall, wherever it finds the vCPU: they note what happened and no more. Work that may itself
// wait is deferred (later()) until nothing is half done.
import { shared_info, vcpu_info } from '../../hypervisor/public/layouts.ts';
import type { ProgramVcpu } from '../../hypervisor/public/program.ts';
import { VIRQ_TIMER } from '../../hypervisor/public/xen.ts';
import type { Hypercalls } from './hypercalls.ts';

const { fields: INFO } = vcpu_info, { fields: SHARED } = shared_info, PORTS_PER_SELECTOR = 64;

export class Events {
  readonly #hypercalls: Hypercalls; readonly #vcpu: ProgramVcpu;
  readonly #bytes: Uint8Array<SharedArrayBuffer>; readonly #words: Int32Array<SharedArrayBuffer>;
  readonly #handlers = new Map<number, () => void>();
  readonly #deferred: (() => void)[] = [];
  #critical = 0;
  #working = false;
  #timerNs = 0n;
  /** In the upcall, when a time that was asked for has come. */
  onTimer: () => void = () => {};

  constructor(vcpu: ProgramVcpu, hypercalls: Hypercalls, sharedInfoMfn: number) {
    this.#vcpu = vcpu;
    this.#hypercalls = hypercalls;
    const page = vcpu.sharedFrame(sharedInfoMfn);
    this.#bytes = page;
    this.#words = new Int32Array(page.buffer, page.byteOffset, page.length / 4);
    vcpu.onUpcall(() => this.#upcall());
    this.bind(hypercalls.evtchnBindVirq(VIRQ_TIMER), () => { this.#timerNs = 0n; this.onTimer(); });
    this.#unmask();
  }
  /** The page itself, for the wall clock. */
  get sharedInfo(): Uint8Array<SharedArrayBuffer> { return this.#bytes; }

  bind(port: number, handler: () => void): void {
    this.#handlers.set(port, handler);
    this.#hypercalls.evtchnUnmask(port);
  }
  unbind(port: number): void {
    this.#handlers.delete(port);
    this.#hypercalls.evtchnClose(port);
  }
  notify(port: number): void { this.#hypercalls.evtchnSend(port); }

  /** Sleeps until `done`. @param deadlineNs system time at which it gives up @returns what done() said last */
  waitFor(done: () => boolean, deadlineNs?: bigint): boolean {
    for (;;) {
      this.runDeferred();
      this.#mask();
      if (done()) { this.#unmask(); return true; }
      if (deadlineNs !== undefined) {
        if (this.#vcpu.readTsc() >= deadlineNs) { this.#unmask(); return false; }
        this.wakeBy(deadlineNs);
      }
      if (this.#deferred.length > 0 && this.#critical === 0 && !this.#working) { this.#unmask(); continue; }
      this.#hypercalls.block();
    }
  }

  /** VIRQ_TIMER at this system time at the latest. */
  wakeBy(deadlineNs: bigint): void {
    if (this.#timerNs !== 0n && this.#timerNs <= deadlineNs) return;
    this.#timerNs = deadlineNs;
    this.#hypercalls.setTimer(deadlineNs);
  }

  /** Work for when nothing is half done: at once, where that is the case. */
  later(work: () => void): void { this.#deferred.push(work); }
  runDeferred(): void {
    if (this.#critical > 0 || this.#working) return;
    this.#working = true;
    try { for (let work = this.#deferred.shift(); work; work = this.#deferred.shift()) work(); } finally { this.#working = false; }
  }
  /** later() would wait. */
  get isBusy(): boolean { return this.#critical > 0 || this.#working; }
  /** Runs `work` as one step that no deferred work interrupts. */
  critical<T>(work: () => T): T {
    this.#critical++;
    try { return work(); } finally { this.#critical--; }
  }

  #mask(): void { Atomics.store(this.#bytes, INFO.evtchn_upcall_mask, 1); }
  #unmask(): void {
    Atomics.store(this.#bytes, INFO.evtchn_upcall_mask, 0);
    if (Atomics.load(this.#bytes, INFO.evtchn_upcall_pending)) this.#hypercalls.deliverPending();
  }
  #upcall(): void {
    Atomics.store(this.#bytes, INFO.evtchn_upcall_pending, 0);
    const selector = Atomics.exchange(this.#words, INFO.evtchn_pending_sel / 4, 0);
    for (let n = 0; n < 32; n++) {
      if (!(selector >>> n & 1)) continue;
      for (const word of [2 * n, 2 * n + 1]) this.#word(word);
    }
    // The hypervisor looks again after this.
    Atomics.store(this.#bytes, INFO.evtchn_upcall_mask, 0);
    this.runDeferred();
  }
  #word(word: number): void {
    const at = SHARED.evtchn_pending / 4 + word, masked = Atomics.load(this.#words, SHARED.evtchn_mask / 4 + word);
    const pending = Atomics.and(this.#words, at, masked) & ~masked;
    for (let bit = 0; bit < PORTS_PER_SELECTOR / 2; bit++) if (pending >>> bit & 1) this.#handlers.get(word * 32 + bit)?.();
  }
}
