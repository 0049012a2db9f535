// Start of day: what a PV guest does before its first program, in order.
import { SHUTDOWN_crash, SUSPEND_CANCELLED } from '../../hypervisor/public/sched.ts';
import type { ProgramVcpu } from '../../hypervisor/public/program.ts';
import { MFN_INDEX_BITS } from '../../hypervisor/public/types.ts';
import { Alarms } from './alarms.ts';
import { Clock } from './clock.ts';
import { Console } from './console.ts';
import { Events } from './events.ts';
import { Grants } from './grants.ts';
import { Heap, PAGE_BYTES } from './heap.ts';
import { Hypercalls } from './hypercalls.ts';
import { Memory } from './memory.ts';
import { followShutdown } from './shutdown.ts';
import { readStartInfo, type StartInfo } from './start-info.ts';
import { XenStore } from './xenstore.ts';

/** How long requests that are under way may take when the domain is to be suspended. */
const REST_NS = 10_000_000_000n;

export class Kernel {
  readonly vcpu: ProgramVcpu; readonly start: StartInfo;
  readonly heap: Heap; readonly hypercalls: Hypercalls; readonly events: Events; readonly clock: Clock; readonly alarms: Alarms; readonly grants: Grants;
  readonly console: Console; readonly store: XenStore; readonly memory: Memory;
  readonly #devices: (() => boolean)[] = [];
  /** To be done before the domain ends: files and disks brought in order. */
  readonly #atEnd: (() => void)[] = [];

  constructor(vcpu: ProgramVcpu) {
    this.vcpu = vcpu;
    this.start = readStartInfo(vcpu);
    const { start } = this;
    this.heap = new Heap(vcpu, start.heapPfn, start.heapFrames);
    this.hypercalls = new Hypercalls(vcpu, this.heap);
    this.events = new Events(vcpu, this.hypercalls, start.sharedInfoMfn);
    this.clock = new Clock(vcpu, this.events.sharedInfo);
    this.alarms = new Alarms(this.events, this.clock);
    this.grants = new Grants(vcpu, this.hypercalls);
    this.console = new Console(this.#ownPage(start.consoleMfn), this.events, start.consolePort);
    this.store = new XenStore(this.#ownPage(start.storeMfn), this.events, start.storePort);
    this.memory = new Memory(vcpu, this.hypercalls, Math.floor(start.image.at / PAGE_BYTES));
    followShutdown(this.store, this);
    this.#followTarget();
  }
  get domid(): number { return Number(this.store.read('domid')); }

  #ownPage(mfn: number): Uint8Array<SharedArrayBuffer> {
    const pfn = (mfn & 2 ** MFN_INDEX_BITS - 1) - (this.vcpu.mfnOf(0) & 2 ** MFN_INDEX_BITS - 1);
    return this.heap.page(pfn);
  }
  /** memory/target is in KiB and counts all of the domain's frames. */
  #followTarget(): void {
    this.store.watch('memory/target', () => {
      const kib = Number(this.store.tryRead('memory/target'));
      if (Number.isInteger(kib)) this.memory.balloon(this.start.pageCount - Math.floor(kib * 1024 / PAGE_BYTES));
    });
  }

  /** @param isAtRest whether nothing of a device's is under way: what a backend would write into the memory of a domain that rests */
  beforeSuspend(isAtRest: () => boolean): void { this.#devices.push(isAtRest); }
  /** As deferred work: no file is half written, and nothing is begun before it returns. Rings, grants, watches and timers stay as they are. */
  suspend(): void {
    if (!this.events.waitFor(() => this.#devices.every(isAtRest => isAtRest()), this.clock.systemNs() + REST_NS)) { this.log('not suspended: a disk does not answer'); return; }
    // The program's state is on its thread's stack: another domain could not be made of what is in memory.
    if (this.hypercalls.suspend() !== SUSPEND_CANCELLED) this.vcpu.crash('it was resumed as another domain');
  }

  atEnd(work: () => void): void { this.#atEnd.push(work); }
  /** @param reason SHUTDOWN_* */
  end(reason: number): never {
    if (reason !== SHUTDOWN_crash) for (const work of this.#atEnd.splice(0)) this.#tryLast(work);
    return this.hypercalls.shutdown(reason);
  }
  /** What cannot be brought in order (its disk is gone) does not keep the rest, nor the end. */
  #tryLast(work: () => void): void {
    try { work(); } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) throw error;
      this.log(`at the end: ${(error as Error).message}`);
    }
  }
  log(line: string): void { this.hypercalls.emergency(line); }
}
