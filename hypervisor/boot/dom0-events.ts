// Dom0's upcalls: its pending bits are in shared state, its doorbell is a word that its event loop waits for.
import type { Hypervisor } from '../domain/hypervisor.ts';
import type { EventLatency } from '../public/dom0-hypercalls.ts';
import { H, MAX_PORTS } from '../domain/state.ts';

/** Upper bounds of the latency buckets, in seconds. */
export const LATENCY_BUCKETS_SEC = [0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2] as const;

export class Dom0Events {
  /** From the first ring of the doorbell to Dom0's look at it: rounds by bucket (the last: slower than all), and their sum. */
  readonly latency: EventLatency = { bucketsSec: LATENCY_BUCKETS_SEC, counts: new Array<number>(LATENCY_BUCKETS_SEC.length + 1).fill(0), sumSec: 0 };
  private readonly hv: Hypervisor;
  private readonly handlers = new Map<number, () => void>();
  private readonly domainHandlers: (() => void)[] = [];
  private seenExc: number;
  /** The doorbell as it was when drain() began. */
  private seenBell = 0;

  constructor(hv: Hypervisor) {
    this.hv = hv;
    this.seenExc = Atomics.load(hv.state.words, H.dom0Exc);
    void this.listen();
  }
  on(port: number, handler: () => void): void {
    this.handlers.set(port, handler);
    // What came before the handler did is not lost.
    setImmediate(() => { if (this.handlers.get(port) === handler) handler(); });
  }
  off(port: number): void { this.handlers.delete(port); }
  onDomain(handler: () => void): void { this.domainHandlers.push(handler); }

  get waiting(): boolean { return Atomics.load(this.hv.state.words, H.dom0Bell) !== this.seenBell; }

  private async listen(): Promise<void> {
    const { words } = this.hv.state;
    for (;;) {
      this.drain();
      const wait = Atomics.waitAsync(words, H.dom0Bell, this.seenBell);
      if (wait.async) await wait.value;
      // Between two rounds the event loop gets its turn, or a chatty guest would starve input and output.
      await new Promise<void>(resolve => { setImmediate(resolve); });
    }
  }
  private measure(): void {
    const { state } = this.hv, rang = Atomics.exchange(state.longs, H.dom0Rang / 2, 0n);
    if (rang === 0n) return;
    const sec = Number(state.now() - rang) / 1e9, bucket = LATENCY_BUCKETS_SEC.findIndex(limit => sec <= limit);
    (this.latency.counts as number[])[bucket < 0 ? LATENCY_BUCKETS_SEC.length : bucket]!++;
    this.latency.sumSec += sec;
  }
  /** Calls the handlers of all that is pending. */
  drain(): void {
    const { state } = this.hv;
    this.seenBell = Atomics.load(state.words, H.dom0Bell);
    this.measure();
    for (let w = 0; w < MAX_PORTS; w += 32) {
      const at = state.dom0Pending(w);
      if (!Atomics.load(state.words, at)) continue;
      for (let bits = Atomics.exchange(state.words, at, 0); bits; bits &= bits - 1) this.handlers.get(w + 31 - Math.clz32(bits & -bits))?.();
    }
    const exc = Atomics.load(state.words, H.dom0Exc);
    if (exc === this.seenExc) return;
    this.seenExc = exc;
    for (const h of this.domainHandlers) h();
  }
}
