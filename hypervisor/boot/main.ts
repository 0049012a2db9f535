// Starts the hypervisor: shared state, the ticker, Dom0's thread, and a thread per vCPU as Dom0 asks for them. Keeps
// every domain's memory, so that a Dom0 started again finds them.
import { MessageChannel, Worker, type MessagePort } from 'node:worker_threads';
import { compileInterpreter } from '../cpu/interpreter.ts';
import type { MemoryLayout } from '../cpu/layout.ts';
import { HypervisorState, V } from '../domain/state.ts';
import type { MemoryMessage } from '../domain/memories.ts';
import type { BootContext } from '../public/dom0-hypercalls.ts';
import { appendConsole } from '../trace/console.ts';

export interface HypervisorOptions {
  /** pCPU slots; default: what the host has. */
  readonly pcpus?: number;
  /** Module of Dom0's thread; it gets {hypervisor, options} as workerData and calls attachDom0. */
  readonly dom0Module: URL;
  readonly dom0Data: unknown;
  readonly onDom0Message: (message: unknown) => void;
  /** Dom0's thread ended by itself. */
  readonly onDom0Exit: (code: number) => void;
}
export interface RunningHypervisor { readonly state: HypervisorState; stop(): Promise<void> }

/** What Dom0's thread asks of main; everything else it posts is for the caller. */
export type Dom0Request =
  | { readonly xenolith: 'memory'; readonly slot: number; readonly domid: number; readonly memory: WebAssembly.Memory; readonly layout: MemoryLayout }
  | { readonly xenolith: 'start'; readonly slot: number; readonly domid: number; readonly vcpu: number; readonly boot: BootContext }
  | { readonly xenolith: 'end'; readonly slot: number; readonly domid: number; readonly force: boolean };

const selfExtension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
const sibling = (name: string): URL => new URL(`./${name}.${selfExtension}`, import.meta.url);

export async function startHypervisor(o: HypervisorOptions): Promise<RunningHypervisor> {
  const state = HypervisorState.create(o.pcpus ?? Math.max(1, navigator.hardwareConcurrency));
  const modules = new Map<number, WebAssembly.Module>();
  const moduleOf = (vcpu: number): WebAssembly.Module => {
    let m = modules.get(vcpu);
    if (!m) modules.set(vcpu, m = compileInterpreter(vcpu));
    return m;
  };
  moduleOf(0);
  appendConsole(state, 'Xenolith: Xen 4.17 interface on a software x86-64 processor');
  const memories = new Map<number, { domid: number; message: MemoryMessage }>();
  const ports = new Map<Worker, MessagePort>(), vcpuWorkers = new Map<string, Worker>();
  let stopping = false;

  const spawn = (module: URL, name: string, extra: Record<string, unknown>): Worker => {
    const { port1, port2 } = new MessageChannel();
    for (const { message } of memories.values()) port1.postMessage(message);
    const worker = new Worker(module, { name, workerData: { buffer: state.buffer, memoryPort: port2, ...extra }, transferList: [port2] });
    ports.set(worker, port1);
    port1.unref();
    worker.once('exit', () => { ports.delete(worker); port1.close(); });
    return worker;
  };
  const broadcast = (m: MemoryMessage): void => { for (const p of ports.values()) p.postMessage(m); };

  const ticker = spawn(sibling('ticker'), 'ticker', {});
  const handle = (r: Dom0Request): void => {
    if (r.xenolith === 'memory') {
      const message: MemoryMessage = { add: { slot: r.slot, domid: r.domid, memory: r.memory, layout: r.layout } };
      memories.set(r.slot, { domid: r.domid, message });
      broadcast(message);
    } else if (r.xenolith === 'start') {
      const key = `${r.domid}.${r.vcpu}`;
      const worker = spawn(sibling('vcpu-thread'), `d${r.domid}v${r.vcpu}`, { slot: r.slot, domid: r.domid, vcpu: r.vcpu, module: moduleOf(r.vcpu), boot: r.boot });
      vcpuWorkers.set(key, worker);
      worker.once('error', error => appendConsole(state, `d${r.domid}v${r.vcpu} thread failed: ${error instanceof Error ? error.message : String(error)}`));
      worker.once('exit', () => {
        vcpuWorkers.delete(key);
        state.vset(r.slot, r.vcpu, V.started, 0);
        Atomics.notify(state.words, state.vcpu(r.slot, r.vcpu) + V.started);
      });
    } else if (r.force) {
      for (const [key, w] of vcpuWorkers) if (key.startsWith(`${r.domid}.`)) void w.terminate();
    } else {
      if (memories.get(r.slot)?.domid === r.domid) memories.delete(r.slot);
      broadcast({ drop: { slot: r.slot, domid: r.domid } });
    }
  };
  const dom0 = spawn(o.dom0Module, 'dom0', { options: o.dom0Data });
  dom0.on('message', (m: unknown) => {
    if (typeof m === 'object' && m !== null && 'xenolith' in m) handle(m as Dom0Request); else o.onDom0Message(m);
  });
  dom0.once('error', error => { appendConsole(state, `Dom0 failed: ${error instanceof Error ? error.stack ?? error.message : String(error)}`); process.stderr.write(`${error instanceof Error ? error.stack ?? '' : String(error)}\n`); });
  dom0.once('exit', code => { if (!stopping) o.onDom0Exit(code); });

  return {
    state,
    async stop() {
      stopping = true;
      await Promise.all([ticker, dom0, ...vcpuWorkers.values()].map(w => w.terminate()));
    },
  };
}
