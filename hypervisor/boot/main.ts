// Starts the hypervisor: shared state, the ticker, Dom0's thread, and a thread per vCPU as Dom0 and guests ask for
// them. Keeps every domain's memory, so that a Dom0 started again finds them. Cleans up after threads that ended.
import { MessageChannel, Worker, type MessagePort, type ResourceLimits } from 'node:worker_threads';
import { compileInterpreter } from '../cpu/interpreter.ts';
import type { Legacy } from '../cpu/kept-code.ts';
import { BUDGET_SHARES } from '../cpu/jit/budget.ts';
import type { JitMode } from '../cpu/jit/mode.ts';
import { mapCode, unmapCode } from '../cpu/native/executable-memory.ts';
import { thresholdsOf } from '../cpu/jit/translator.ts';
import { type PreparedModule, PreparedModules } from '../cpu/program/prepared.ts';
import type { MemoryLayout } from '../cpu/layout.ts';
import { cleanUpAfter, type Hypervisor, kick, shutdownDomain } from '../domain/hypervisor.ts';
import { D, DOMAIN_STATE, H, HypervisorState, INITIALISED, V } from '../domain/state.ts';
import { putCompilersBelowDom0 } from './thread-priority.ts';
import type { Introduction } from './translator-thread.ts';
import { collectDelayMs, Memories, type MemoryMessage, type NewMemory } from '../domain/memories.ts';
import type { BootContext, ProgramContext } from '../public/dom0-hypercalls.ts';
import { HANDOVER_AREAS, newHandover } from '../public/handover.ts';
import { EINVAL } from '../public/errno.ts';
import { SHUTDOWN_crash } from '../public/sched.ts';
import { RUNSTATE_offline } from '../public/vcpu.ts';
import { leavePcpu, ringTicker } from '../sched/pcpus.ts';
import { appendConsole } from '../trace/console.ts';

export interface HypervisorOptions {
  /** pCPU slots; default: what the host has. */
  readonly pcpus?: number;
  /** Whether hot code is translated; default on. */
  readonly jit?: JitMode;
  /** Module of Dom0's thread; it calls attachDom0 with its workerData. */
  readonly dom0Module: URL;
  readonly dom0Data: unknown;
  /** Module of the thread of a vCPU whose program is WebAssembly; it calls runProgramVcpu with its guest kernel. */
  readonly programModule?: URL;
  readonly onDom0Message: (message: unknown) => void;
  /** Dom0's thread ended by itself. True: start it again, with every domain as it is. */
  readonly onDom0Exit: (code: number) => boolean | void;
}
export interface RunningHypervisor { readonly state: HypervisorState; stop(): Promise<void> }

/** What a vCPU starts with: the domain builder's few registers, or a guest's struct vcpu_guest_context. */
export type Start = { readonly boot: BootContext | ProgramContext } | { readonly image: Uint8Array };

/** What a thread asks of main; everything else Dom0's posts is for the caller. */
export type ThreadRequest =
  | { readonly xenolith: 'memory'; readonly slot: number; readonly domid: number; readonly memory: WebAssembly.Memory; readonly layout: MemoryLayout }
  | { readonly xenolith: 'start'; readonly slot: number; readonly domid: number; readonly vcpu: number; readonly start: Start }
  /** What vCPU 0 will start with, kept in case Dom0 forgets. */
  | { readonly xenolith: 'context'; readonly slot: number; readonly domid: number; readonly boot: BootContext | ProgramContext }
  /** A program's module, for the next domain that runs it. */
  | { readonly xenolith: 'prepared'; readonly prepared: PreparedModule }
  /** What a domain leaves of its code to the next one with the same key. */
  | { readonly xenolith: 'legacy'; readonly key: string; readonly legacy: Legacy }
  | { readonly xenolith: 'end'; readonly slot: number; readonly domid: number; readonly force: boolean };

const selfExtension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const sibling = (name: string): URL => new URL(`./${name}.${selfExtension}`, import.meta.url);
const textOf = (error: unknown): string => error instanceof Error ? error.stack ?? error.message : String(error);

export async function startHypervisor(o: HypervisorOptions): Promise<RunningHypervisor> {
  const machine = new Machine(o);
  return { state: machine.hv.state, stop: () => machine.stop() };
}

/** The domain that has just started goes first: a program is soon there, a kernel has use for every processor while it boots. */
const SPARE_DELAY_MS = { program: 100, processor: 3000 } as const;
/** Exceptions that a program keeps and what its kernel notes lie on its thread's heap: it ends where that is used up, and the host does not. */
const PROGRAM_LIMITS: ResourceLimits = { maxOldGenerationSizeMb: 256 };
/** Domains' memories count for every heap that names them: near a limit a heap is marked over and over. */
const THREAD_LIMITS: ResourceLimits = { maxOldGenerationSizeMb: 0x10000 };

/** Kernels whose code is kept: some 150 MB each. */
const LEGACIES_MAX = 2;
/** Of a domain that is built and has not run: what lies where, by samples of its first 16 MiB. Who takes another kernel's code for its own merely finds nothing in it. */
function kernelKey({ memory, layout }: NewMemory): string {
  const words = new Int32Array(memory.buffer), first = layout.first * 1024, end = Math.min(layout.end * 1024, first + 4 * 2 ** 20);
  let hash = 0x811c9dc5;
  for (let n = first + 512; n < end; n += 1024) hash = Math.imul(hash ^ words[n]!, 0x01000193);
  return `${layout.first} ${layout.end} ${hash >>> 0}`;
}

interface VcpuThread { readonly slot: number; readonly domid: number; readonly vcpu: number; readonly worker: Worker }

class Machine {
  readonly hv: Hypervisor;
  private readonly options: HypervisorOptions;
  private readonly modules = new Map<number, WebAssembly.Module>();
  private readonly prepared = new PreparedModules();
  private readonly memories = new Map<number, { readonly add: NewMemory }>();
  private readonly ports = new Map<Worker, MessagePort>();
  private readonly vcpus = new Set<VcpuThread>();
  /** Of domains that have not started, by slot. */
  private readonly contexts = new Map<number, BootContext | ProgramContext>();
  private readonly handover = Array.from({ length: HANDOVER_AREAS }, newHandover);
  private readonly ticker: Worker;
  private dom0: Worker;
  /** Threads that have loaded everything and wait to be told whose they are. */
  private readonly spares = new Map<keyof typeof SPARE_DELAY_MS, Worker>();
  private translator: Worker | undefined;
  /** What each vCPU's translations hold. */
  private readonly codeShares = new Int32Array(new SharedArrayBuffer(4 * BUDGET_SHARES));
  /** By kernelKey, the oldest first. */
  private readonly legacies = new Map<string, Legacy>();
  private readonly freeShares = Array.from(this.codeShares.keys());
  private collecting: NodeJS.Timeout | undefined;
  private stopping = false;

  constructor(o: HypervisorOptions) {
    this.options = o;
    this.hv = { state: HypervisorState.create(o.pcpus ?? Math.max(1, navigator.hardwareConcurrency)), memories: new Memories() };
    putCompilersBelowDom0();
    this.moduleOf(0);
    appendConsole(this.hv.state, 'Xenolith: Xen 4.17 interface on a software x86-64 processor');
    this.ticker = this.spawn(sibling('ticker'), 'ticker', {});
    this.ticker.once('error', error => appendConsole(this.hv.state, `the ticker failed: ${textOf(error)}`));
    this.dom0 = this.startDom0();
  }
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all([this.ticker, this.dom0, ...this.spares.values(), ...this.translator ? [this.translator] : [], ...[...this.vcpus].map(v => v.worker)].map(w => w.terminate()));
  }

  private moduleOf(vcpu: number): WebAssembly.Module {
    let m = this.modules.get(vcpu);
    if (!m) this.modules.set(vcpu, m = compileInterpreter(vcpu));
    return m;
  }
  /** A thread that meets every domain's memory: a new one, or the spare one. */
  private spawn(module: URL, name: string, extra: Record<string, unknown>, ports: MessagePort[] = [], spare?: Worker): Worker {
    const { port1, port2 } = new MessageChannel();
    for (const message of this.memories.values()) port1.postMessage(message);
    const data = { memoryPort: port2, ...extra }, moved = [port2, ...ports], worker = spare ?? this.thread(module, name, data, moved, THREAD_LIMITS);
    spare?.postMessage({ ...data, name }, moved);
    this.ports.set(worker, port1);
    port1.unref();
    worker.once('exit', () => { this.ports.delete(worker); port1.close(); });
    return worker;
  }
  private thread(module: URL, name: string, extra: Record<string, unknown>, ports: MessagePort[], resourceLimits: ResourceLimits): Worker {
    const worker = new Worker(module, { name, workerData: { buffer: this.hv.state.buffer, ...extra }, transferList: ports, resourceLimits }), thread = worker.threadId;
    worker.once('exit', () => cleanUpAfter(this.hv, thread));
    return worker;
  }

  // ---- Dom0
  private startDom0(): Worker {
    const { options: o, hv } = this, dom0 = this.spawn(o.dom0Module, 'dom0', { options: o.dom0Data, handover: this.handover, contexts: [...this.contexts] });
    dom0.on('message', (m: unknown) => {
      if (typeof m === 'object' && m !== null && 'xenolith' in m) this.handle(m as ThreadRequest); else o.onDom0Message(m);
    });
    dom0.once('error', error => {
      appendConsole(hv.state, `Dom0 failed: ${textOf(error)}`);
      process.stderr.write(`${textOf(error)}\n`);
    });
    dom0.once('exit', code => {
      if (this.stopping || o.onDom0Exit(code) !== true) return;
      appendConsole(hv.state, 'Dom0 is started again');
      this.dom0 = this.startDom0();
    });
    return dom0;
  }

  // ---- requests
  private handle(r: ThreadRequest): void {
    switch (r.xenolith) {
      case 'memory': this.keepMemory(r); break;
      case 'context': this.contexts.set(r.slot, r.boot); break;
      case 'start': this.contexts.delete(r.slot); this.startVcpu(r); break;
      case 'prepared': this.prepared.keep(r.prepared); break;
      case 'legacy': this.keepLegacy(r.key, r.legacy); break;
      case 'end': if (r.force) this.terminate(r.slot, r.domid); else this.dropMemory(r.slot, r.domid);
    }
  }
  /** To every thread but Dom0's, which is where memories come from. Messages hold a memory until they are taken. */
  private broadcast(m: MemoryMessage): void {
    const { state } = this.hv;
    this.hv.memories.accept(m);
    for (const [worker, port] of this.ports) if (worker !== this.dom0) port.postMessage(m);
    Atomics.add(state.words, H.memoryBell, 1);
    ringTicker(this.hv);
    // Sleepers look when they wake; only what is to be freed has to wake them.
    if ('collect' in m) for (const v of this.vcpus) if (this.ports.has(v.worker)) kick(this.hv, v.slot, v.vcpu);
  }
  private keepMemory(r: ThreadRequest & { xenolith: 'memory' }): void {
    const message = { add: { slot: r.slot, domid: r.domid, memory: r.memory, layout: r.layout } };
    this.memories.set(r.slot, message);
    this.broadcast(message);
  }
  private dropMemory(slot: number, domid: number): void {
    if (this.hv.memories.get(slot, domid)) { this.memories.delete(slot); this.contexts.delete(slot); }
    this.broadcast({ drop: { slot, domid } });
    this.collecting ??= setTimeout(() => { this.collecting = undefined; this.broadcast({ collect: true }); }, collectDelayMs(this.vcpus.size)).unref();
  }
  private terminate(slot: number, domid: number): void {
    if (slot === 0) { appendConsole(this.hv.state, 'Dom0 is ended by debug key C'); void this.dom0.terminate(); return; }
    for (const v of this.vcpus) if (v.slot === slot && v.domid === domid) void v.worker.terminate();
  }

  // ---- vCPU threads
  private startVcpu(r: ThreadRequest & { xenolith: 'start' }): void {
    const { state } = this.hv, { slot, domid, vcpu } = r, live = state.dget(slot, D.domid) === domid && state.dget(slot, D.state) === DOMAIN_STATE.live;
    if (!live) { this.vcpuEnded(slot, domid, vcpu); return; }
    state.vset(slot, vcpu, V.started, 1);
    const { programModule } = this.options, isProgram = 'boot' in r.start && 'program' in r.start.boot, name = `d${domid}v${vcpu}`;
    if (isProgram && !programModule) { this.vcpuEnded(slot, domid, vcpu); return; }
    const worker = isProgram ? this.programThread(programModule!, name, { slot, domid, vcpu, start: r.start, prepared: this.prepared.list, memory: this.memories.get(slot)?.add })
      : this.processorThread(name, { slot, domid, vcpu, start: r.start });
    const thread: VcpuThread = { slot, domid, vcpu, worker };
    this.vcpus.add(thread);
    worker.on('message', (m: ThreadRequest) => this.handle(m));
    worker.once('error', error => appendConsole(state, `d${domid}v${vcpu} thread failed: ${textOf(error)}`));
    worker.once('exit', () => { this.vcpus.delete(thread); this.vcpuEnded(slot, domid, vcpu); });
  }
  private processorThread(name: string, assignment: { slot: number; domid: number; vcpu: number; start: Start }): Worker {
    const { slot, vcpu } = assignment, memory = this.memories.get(slot)?.add, own = this.freeShares.pop();
    const wanted = own === undefined ? 'off' : this.options.jit ?? 'native', native = wanted === 'native' || wanted === 'native-force' ? mapCode() : undefined;
    const mode = native !== undefined ? wanted : wanted === 'native' ? 'on' : wanted === 'native-force' ? 'force' : wanted, translates = mode === 'on' || mode === 'native', key = translates && memory?.layout.vcpus === 1 && 'boot' in assignment.start ? kernelKey(memory) : undefined;
    const common = { ...assignment, module: this.moduleOf(vcpu), jit: mode, ...native !== undefined && { native }, code: { shares: this.codeShares, own: own ?? 0 }, ...key !== undefined && { keep: { key, legacy: this.legacies.get(key) } } };
    const begun = (worker: Worker): Worker => {
      worker.once('exit', () => {
        if (native !== undefined) unmapCode(native);
        if (own !== undefined) { this.codeShares[own] = 0; this.freeShares.push(own); }
      });
      return worker;
    };
    const code = sibling('vcpu-thread'), spare = this.takeSpare('processor', code, THREAD_LIMITS);
    if (!translates || !memory) return begun(this.spawn(code, name, common, [], spare));
    const { port1, port2 } = new MessageChannel();
    this.translatorThread().postMessage({ port: port1, memory: memory.memory, vcpu, slot, thresholds: thresholdsOf('on') } satisfies Introduction, [port1]);
    return begun(this.spawn(code, name, { ...common, translations: port2 }, [port2], spare));
  }
  private keepLegacy(key: string, legacy: Legacy): void {
    this.legacies.delete(key);
    for (const oldest of this.legacies.keys()) { if (this.legacies.size < LEGACIES_MAX) break; this.legacies.delete(oldest); }
    this.legacies.set(key, legacy);
  }
  /** One for all domains; a vCPU that gets no answers goes on without. */
  private translatorThread(): Worker {
    if (this.translator) return this.translator;
    const translator = this.translator = new Worker(sibling('translator-thread'), { name: 'translator' });
    translator.once('error', error => appendConsole(this.hv.state, `the translator failed: ${textOf(error)}`));
    translator.once('exit', () => { if (this.translator === translator) this.translator = undefined; });
    return translator;
  }
  /** From the first thread of a kind on a spare one is kept: the next domain does not wait for it to load, a tenth of a second. */
  private takeSpare(kind: keyof typeof SPARE_DELAY_MS, module: URL, limits: ResourceLimits): Worker | undefined {
    const spare = this.spares.get(kind);
    this.spares.delete(kind);
    setTimeout(() => {
      if (this.spares.has(kind) || this.stopping) return;
      const next = this.thread(module, 'spare', {}, [], limits);
      this.spares.set(kind, next);
      next.once('exit', () => { if (this.spares.get(kind) === next) this.spares.delete(kind); });
      next.on('error', () => {});
    }, SPARE_DELAY_MS[kind]).unref();
    return spare;
  }
  /** It meets its own domain's memory alone, as its kernel deals with Dom0 alone: its small heap would be collected for each of the others'. */
  private programThread(module: URL, name: string, assignment: Record<string, unknown>): Worker {
    const spare = this.takeSpare('program', module, PROGRAM_LIMITS);
    if (!spare) return this.thread(module, name, assignment, [], PROGRAM_LIMITS);
    spare.postMessage(assignment);
    return spare;
  }
  /** The thread has gone, in whatever way: its pCPU is free, whoever waits for it is told, its domain does not go on without it. */
  private vcpuEnded(slot: number, domid: number, vcpu: number): void {
    const { state } = this.hv, at = state.vcpu(slot, vcpu);
    if (state.dget(slot, D.domid) !== domid) return;
    leavePcpu(this.hv, slot, vcpu);
    // Before anybody is told: whoever destroys the domain waits for that, and then the slot may be another one's.
    if (!this.stopping && state.vget(slot, vcpu, V.initialised) === INITIALISED.yes) {
      if (state.dget(slot, D.state) === DOMAIN_STATE.live && state.dget(slot, D.shutdown) === 0) appendConsole(state, `d${domid}v${vcpu} domain crashed: its thread has ended`);
      shutdownDomain(this.hv, slot, SHUTDOWN_crash);
    }
    // Siblings wait for flushes of those that run.
    state.vset(slot, vcpu, V.runstate, RUNSTATE_offline);
    Atomics.compareExchange(state.words, at + V.initialised, INITIALISED.loading, -EINVAL);
    Atomics.notify(state.words, at + V.initialised);
    state.vset(slot, vcpu, V.started, 0);
    Atomics.notify(state.words, at + V.started);
  }
}
