// The thread that translates for the vCPUs of all domains. A vCPU introduces itself with a port; requests and results go
// through it.
import { parentPort, type MessagePort } from 'node:worker_threads';
import type { Site, Size, Thresholds } from '../cpu/jit/job.ts';
import { type Request, type Response, translated } from '../cpu/jit/translator.ts';
import { areaOf, S } from '../cpu/state.ts';
import { compileNow } from './compile-now.ts';
import { runBelowDom0 } from './thread-priority.ts';

/** From main: a vCPU whose requests come through `port`. */
export interface Introduction { readonly port: MessagePort; readonly memory: WebAssembly.Memory; readonly vcpu: number; readonly slot: number; readonly thresholds: Thresholds }

/** Bits of S.selfAttention (processor.ts). */
const TRANSLATED = 4;

/** What is asked for. Small translations are quick to make, and what waits for one is interpreted: they come first. */
const waiting: Record<Size, (() => void)[]> = { small: [], large: [], wide: [] };
let working = false;
/** One of them, and the others when what came meanwhile has been received. */
function work(): void {
  (waiting.small.shift() ?? waiting.large.shift() ?? waiting.wide.shift())?.();
  working = waiting.small.length + waiting.large.length + waiting.wide.length > 0;
  if (working) setImmediate(work);
}

function introduce({ port, memory, vcpu, slot, thresholds }: Introduction): void {
  const area = areaOf(vcpu), buffer = memory.buffer as unknown as SharedArrayBuffer, words = new Int32Array(buffer);
  const site: Site = { view: new DataView(buffer), area, slot, thresholds };
  port.on('message', (request: Request) => {
    waiting[request.jobs[0]?.size ?? 'small'].push(() => {
      const begin = performance.now(), made = translated(site, request, compileNow);
      port.postMessage({ ...made, ms: performance.now() - begin } satisfies Response);
      Atomics.store(words, (area + S.translated) / 4, 1);
      Atomics.or(words, (area + S.selfAttention) / 4, TRANSLATED);
    });
    if (!working) { working = true; setImmediate(work); }
  });
  // The memory goes with the vCPU's end of the port.
  port.once('close', () => (globalThis as { gc?: () => void }).gc?.());
}
runBelowDom0();
parentPort!.on('message', introduce);
