// The thread of a vCPU whose program is WebAssembly. The guest's kernel (TypeScript) and its program run on this thread;
// wherever they call a hypercall or the program looks at its attention word, the vCPU may have to stop: it gives its
// pCPU back, sleeps, and goes on where it was. See vcpu-thread.ts for why no wake-up is lost.
import { parentPort, workerData } from 'node:worker_threads';
import { attentionOffset, PAGE_BYTES } from '../cpu/layout.ts';
import { Memories, type NewMemory } from '../domain/memories.ts';
import { D, DOMAIN_STATE, DUMP, HypervisorState, INITIALISED, V } from '../domain/state.ts';
import { Vcpu } from '../domain/vcpu.ts';
import { isPending, sendVirq } from '../event/channels.ts';
import { invoke } from '../hypercall/invoke.ts';
import '../hypercall/table.ts';
import { isOwned, isShareable } from '../mm/frame-table.ts';
import { spaceOf } from '../mm/flush.ts';
import { ModuleError } from '../cpu/program/bytes.ts';
import { newHeadroom } from '../cpu/program/headroom.ts';
import { ProgramProcessor } from '../cpu/program/processor.ts';
import { isPrepared, type PreparedModule, prepareModule } from '../cpu/program/prepared.ts';
import { ADDED_IMPORTS } from '../cpu/program/rewrite.ts';
import type { ProgramContext } from '../public/dom0-hypercalls.ts';
import { ENOSYS } from '../public/errno.ts';
import type { ProgramImport, ProgramImports, ProgramKernel, ProgramMemory, ProgramVcpu } from '../public/program.ts';
import { mfnIndex, mfnOf, mfnSlot, type Mfn } from '../public/types.ts';
import { RUNSTATE_blocked, RUNSTATE_offline, RUNSTATE_runnable, RUNSTATE_running } from '../public/vcpu.ts';
import { VIRQ_TIMER, __HYPERVISOR_console_io, __HYPERVISOR_event_channel_op, __HYPERVISOR_grant_table_op, __HYPERVISOR_memory_op, __HYPERVISOR_sched_op, __HYPERVISOR_set_timer_op, __HYPERVISOR_vcpu_op, __HYPERVISOR_xen_version } from '../public/xen.ts';
import { HaltPoll } from '../sched/halt-poll.ts';
import { holdsPcpu, leavePcpu, requestPcpu, sliceOver } from '../sched/pcpus.ts';
import { fillTimeInfo, VCPU_TIME_INFO } from '../time/pvclock.ts';
import { appendConsole } from '../trace/console.ts';
import { upcallMasked, upcallPending, setUpcallMask } from '../traps/mode.ts';
import { createPvState } from '../traps/pv-state.ts';
import type { ThreadRequest } from './main.ts';

export interface ProgramThreadData {
  readonly buffer: SharedArrayBuffer; readonly slot: number; readonly domid: number;
  /** Absent: the domain has gone already. */
  readonly memory?: NewMemory;
  readonly vcpu: number; readonly start: { readonly boot: ProgramContext };
  /** Modules that other domains have run. */
  readonly prepared?: readonly PreparedModule[];
}

/** What concerns page tables, segments and traps has no meaning here. */
const ALLOWED: ReadonlySet<number> = new Set([
  __HYPERVISOR_memory_op, __HYPERVISOR_set_timer_op, __HYPERVISOR_xen_version, __HYPERVISOR_console_io, __HYPERVISOR_grant_table_op,
  __HYPERVISOR_vcpu_op, __HYPERVISOR_sched_op, __HYPERVISOR_event_channel_op,
]);
/** (module (func (export "t") unreachable)): WebAssembly cannot catch a trap, as it could an exception of ours. */
const TRAP = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 7, 5, 1, 1, 0x74, 0, 0, 10, 5, 1, 3, 0, 0, 0x0b);
const RANDOM_STEP = 65536;

/** What a spare thread is told when it becomes a vCPU's. */
export type ProgramAssignment = Omit<ProgramThreadData, 'buffer'>;

/** To be called once by the thread's program, with its guest kernel: runs the vCPU that the thread is for, now or when it is told. */
export function runProgramVcpu(kernel: ProgramKernel): void {
  const data = workerData as Pick<ProgramThreadData, 'buffer'> & Partial<ProgramAssignment>, state = new HypervisorState(data.buffer);
  const run = (assigned: ProgramAssignment): void => {
    try { new ProgramThread(state, assigned).run(kernel); } finally {
      parentPort?.close();
    }
  };
  if (data.slot !== undefined) { run(data as ProgramThreadData); return; }
  parentPort?.once('message', run);
  // What loading left behind is nearly half of the heap, and the domain may sleep for good.
  (globalThis as { gc?: () => void }).gc?.();
}

class ProgramThread implements ProgramVcpu {
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly view: DataView<SharedArrayBuffer>;
  readonly startInfo: number;
  readonly #v: Vcpu;
  readonly #hv: { readonly state: HypervisorState; readonly memories: Memories };
  readonly #slot: number; readonly #id: number;
  readonly #first: number;
  readonly #attention: number; readonly #bell: number; readonly #poll: HaltPoll;
  readonly #trap: () => never;
  readonly #headroom = newHeadroom();
  readonly #counters = { hypercalls: 0, attentions: 0, upcalls: 0, blocks: 0 };
  readonly #prepared: readonly PreparedModule[];
  #upcall: (() => void) | undefined;

  constructor(state: HypervisorState, data: ProgramAssignment) {
    const { slot, domid, vcpu } = data;
    this.#hv = { state, memories: new Memories() };
    if (data.memory) this.#hv.memories.accept({ add: data.memory });
    this.#slot = slot; this.#id = vcpu;
    this.#prepared = data.prepared ?? [];
    const memory = this.#hv.memories.get(slot, domid);
    if (!memory) throw new Error(`no memory for domain ${domid}`);
    this.#v = new Vcpu(this.#hv, memory, vcpu, createPvState(), { startSibling: () => {}, answer: () => {} });
    this.#v.processor = new ProgramProcessor(memory.memory, memory.layout, this.#counters);
    const { first, end } = memory.layout, buffer = memory.bytes.buffer;
    this.#first = first;
    this.bytes = new Uint8Array(buffer, first * PAGE_BYTES, (end - first) * PAGE_BYTES);
    this.words = new Int32Array(buffer, first * PAGE_BYTES, (end - first) * PAGE_BYTES / 4);
    this.view = new DataView(buffer, first * PAGE_BYTES, (end - first) * PAGE_BYTES);
    this.startInfo = data.start.boot.program * PAGE_BYTES;
    this.#attention = attentionOffset(vcpu) / 4;
    this.#bell = this.#hv.state.vcpu(slot, vcpu) + V.bell;
    this.#poll = new HaltPoll(this.#hv.state.words, this.#bell);
    this.#trap = new WebAssembly.Instance(new WebAssembly.Module(TRAP)).exports['t'] as () => never;
    fillTimeInfo(memory.view, this.#v.vcpuInfo + VCPU_TIME_INFO);
  }

  run(kernel: ProgramKernel): void {
    const v = this.#v, { state } = this.#hv;
    state.vset(this.#slot, this.#id, V.initialised, INITIALISED.yes);
    try {
      if (!this.#resume()) return;
      kernel(this);
      if (!v.stopped) v.crash('its kernel returned');
    } catch (error) {
      // A domain that has ended leaves this way; anything else is its end.
      if (!v.stopped && this.#live) v.crash(reasonOf(error));
    } finally {
      v.setRunstate(RUNSTATE_offline);
      leavePcpu(this.#hv, this.#slot, this.#id);
    }
    this.#linger();
  }
  /** The thread stays until its domain is destroyed, as any vCPU of a domain that has shut down. */
  #linger(): void {
    for (;;) {
      const seen = Atomics.load(this.#hv.state.words, this.#bell);
      if (!this.#live) return;
      Atomics.wait(this.#hv.state.words, this.#bell, seen);
    }
  }

  // ---- what the kernel asks
  mfnOf(pfn: number): number { return mfnOf(this.#slot, this.#first + pfn); }
  sharedFrame(mfn: number): Uint8Array<SharedArrayBuffer> {
    const { memory } = this.#v, space = spaceOf(this.#v), index = mfnIndex(mfn as Mfn);
    if (mfnSlot(mfn as Mfn) !== this.#slot || !isOwned(space, index) || !isShareable(space, index)) throw new RangeError(`frame ${mfn} is not shared with the domain`);
    return memory.bytes.subarray(index * PAGE_BYTES, (index + 1) * PAGE_BYTES);
  }
  hypercall(number: number, ...args: (number | bigint)[]): number {
    this.#counters.hypercalls++;
    const a = (n: number): bigint => BigInt.asUintN(64, BigInt(args[n] ?? 0));
    for (;;) {
      const result = ALLOWED.has(number) ? Number(invoke(this.#v, number, a(0), a(1), a(2), a(3), a(4))) : -ENOSYS;
      this.#settle();
      const again = this.#v.pv.continuation;
      this.#v.pv.continuation = undefined;
      if (!again) return result;
      args = [...again.args];
    }
  }
  onUpcall(handler: () => void): void { this.#upcall = handler; }
  readTsc(): bigint { return this.#hv.state.now(); }
  randomBytes(into: Uint8Array): void {
    for (let at = 0; at < into.length; at += RANDOM_STEP) into.set(crypto.getRandomValues(new Uint8Array(Math.min(RANDOM_STEP, into.length - at))), at);
  }
  leave(): never { return this.#trap(); }
  crash(reason: string): never {
    this.#v.crash(reason);
    return this.#trap();
  }
  instantiate(module: Uint8Array, imports: ProgramImports, memory: ProgramMemory): WebAssembly.Instance {
    const base = this.#first * PAGE_BYTES, known = this.#prepared.find(p => isPrepared(p, module, base)), prepared = known ?? prepareModule(module, base);
    memory.begin(prepared.minPages, prepared.maxPages);
    if (!known) parentPort?.postMessage({ xenolith: 'prepared', prepared } satisfies ThreadRequest);
    const added: Record<string, ProgramImport> = { attention: () => { this.#counters.attentions++; this.#settle(); }, size: () => memory.pages(), grow: by => memory.grow(Number(by) >>> 0) };
    // Without prototypes: a name that the module chooses leads to nothing that was not put there.
    const given = Object.create(null) as Record<string, WebAssembly.ModuleImports>;
    for (const { module: from, name } of WebAssembly.Module.imports(prepared.module)) {
      const own = from === ADDED_IMPORTS, call = own ? added[name] : imports(from, name);
      if (!call && !own) throw new ModuleError(`it imports ${from}.${name}, which is not there`);
      (given[from] ??= Object.create(null) as WebAssembly.ModuleImports)[name] = call ? (...args: (number | bigint)[]) => { this.#headroom(); return call(...args); } : this.#v.memory.memory;
    }
    return new WebAssembly.Instance(prepared.module, given);
  }

  // ---- stopping and going on
  get #live(): boolean { return this.#hv.state.dget(this.#slot, D.state) === DOMAIN_STATE.live; }
  /** It does not go on; one that is suspended may. */
  get #over(): boolean { return !this.#live || this.#v.stopped && !this.#v.suspended; }
  get #halted(): boolean { const { state } = this.#hv; return state.dget(this.#slot, D.paused) > 0 || this.#v.stopped || !state.vget(this.#slot, this.#id, V.up); }

  /** After a hypercall and where the program looks up: stops as long as there is reason to, then delivers what is pending. */
  #settle(): void {
    const { state } = this.#hv, v = this.#v;
    if (Atomics.load(v.memory.words, this.#attention)) {
      Atomics.store(v.memory.words, this.#attention, 0);
      this.#lookAround();
    }
    if (this.#over) this.#trap();
    if (state.vget(this.#slot, this.#id, V.blocked) || this.#halted || v.yielded || sliceOver(this.#hv, this.#slot, this.#id)) {
      v.yielded = false;
      this.#counters.blocks++;
      v.setRunstate(RUNSTATE_runnable);
      leavePcpu(this.#hv, this.#slot, this.#id);
      if (!this.#resume()) this.#trap();
    }
    this.#deliver();
  }
  #deliver(): void {
    const v = this.#v;
    while (this.#upcall && upcallPending(v) && !upcallMasked(v)) {
      this.#counters.upcalls++;
      setUpcallMask(v, true);
      this.#upcall();
    }
  }
  /** Sleeps until the vCPU has reason to run and a pCPU; false when the domain has ended. */
  #resume(): boolean {
    const ok = this.#waitRunnable() && this.#waitPcpu();
    if (ok) this.#v.setRunstate(RUNSTATE_running);
    return ok;
  }
  #lookAround(): void {
    const { state } = this.#hv, { words } = state;
    const deadline = state.vlong(this.#slot, this.#id, V.deadline);
    if (deadline !== 0n && deadline <= state.now()) {
      state.setVlong(this.#slot, this.#id, V.deadline, 0n);
      sendVirq(this.#hv, this.#slot, this.#id, VIRQ_TIMER);
    }
    const dump = Atomics.exchange(words, state.vcpu(this.#slot, this.#id) + V.dump, 0);
    if (dump & (DUMP.counters | DUMP.registers)) appendConsole(state, `d${this.#v.domid}v${this.#id} program: ${Object.entries(this.#counters).map(([name, n]) => `${name}=${n}`).join(' ')}`);
  }
  #waitRunnable(): boolean {
    const { state } = this.#hv, { words } = state, v = this.#v, slot = this.#slot, id = this.#id;
    for (;;) {
      const seen = Atomics.load(words, this.#bell);
      if (this.#over) return false;
      this.#lookAround();
      const blocked = state.vget(slot, id, V.blocked);
      if (!this.#halted && (!blocked || upcallPending(v) && !upcallMasked(v) || blocked === 2 && this.#pollDone())) {
        state.vset(slot, id, V.blocked, 0);
        v.poll = undefined;
        return true;
      }
      v.setRunstate(!state.vget(slot, id, V.up) || v.stopped ? RUNSTATE_offline : blocked ? RUNSTATE_blocked : RUNSTATE_runnable);
      let until = state.vlong(slot, id, V.deadline);
      if (v.poll?.deadline && (until === 0n || v.poll.deadline < until)) until = v.poll.deadline;
      const ms = until === 0n || this.#halted ? undefined : Math.max(0, Number(until - state.now()) / 1e6);
      if (blocked && !this.#halted) this.#poll.wait(seen, ms); else Atomics.wait(words, this.#bell, seen, ms);
    }
  }
  #pollDone(): boolean {
    const { poll } = this.#v;
    return poll !== undefined && (poll.ports.some(p => isPending(this.#hv, this.#slot, p)) || poll.deadline !== 0n && this.#hv.state.now() >= poll.deadline || !poll.upcallBefore && upcallPending(this.#v));
  }
  #waitPcpu(): boolean {
    const { state } = this.#hv;
    if (requestPcpu(this.#hv, this.#slot, this.#id)) return true;
    this.#v.setRunstate(RUNSTATE_runnable);
    for (;;) {
      const seen = Atomics.load(state.words, this.#bell);
      if (holdsPcpu(this.#hv, this.#slot, this.#id)) return true;
      if (this.#over) return false;
      this.#lookAround();
      Atomics.wait(state.words, this.#bell, seen);
    }
  }
}

/** What ended a program, in one line without paths of this machine. */
function reasonOf(error: unknown): string {
  if (error instanceof ModuleError) return `its program cannot be loaded: ${error.message}`;
  if (error instanceof WebAssembly.CompileError || error instanceof WebAssembly.LinkError) return `its program is not valid: ${error.message}`;
  if (error instanceof WebAssembly.RuntimeError) return `its program trapped: ${error.message}`;
  if (error instanceof RangeError && error.message.includes('call stack')) return 'its program ran out of stack';
  if (error instanceof RangeError && error.name === 'RangeError') return `its kernel: ${error.message}`;
  return `its kernel: ${error instanceof Error ? error.message : String(error)}`;
}
