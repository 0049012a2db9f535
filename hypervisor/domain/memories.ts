// One thread's view of the domains' memories, by slot. A memory cannot lie in shared state, so it travels by message;
// a thread that needs one it has not seen looks into its port at once, without going through its event loop. A message
// that waits in a port keeps its memory alive, so main rings memoryBell and whoever is awake takes what is there (refresh);
// sleepers are woken once for all that has gone in a while, to collect.
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { attentionOffset, type MemoryLayout } from '../cpu/layout.ts';
import { H, type HypervisorState } from './state.ts';

export interface DomainMemory {
  readonly slot: number; readonly domid: number;
  readonly memory: WebAssembly.Memory; readonly layout: MemoryLayout;
  readonly bytes: Uint8Array<SharedArrayBuffer>; readonly words: Int32Array<SharedArrayBuffer>; readonly view: DataView<SharedArrayBuffer>;
}
export interface NewMemory { readonly slot: number; readonly domid: number; readonly memory: WebAssembly.Memory; readonly layout: MemoryLayout }
export type MemoryMessage = { add: NewMemory } | { drop: { slot: number; domid: number } } | { collect: true };
/** How long after a drop threads collect, once for all that went meanwhile: longer the more they are, as each takes some milliseconds for it. */
export const collectDelayMs = (threads: number): number => 1000 + 20 * threads;

export class Memories {
  private readonly bySlot = new Map<number, DomainMemory>();
  private readonly port: MessagePort | undefined;
  private seenBell = 0;
  /** A memory has gone since the last collection. */
  private isStale = false;
  /** Takes what was put into the port before the thread began. */
  constructor(port?: MessagePort) { this.port = port; this.port?.unref(); this.poll(); }

  accept(m: MemoryMessage): void {
    if ('collect' in m) { this.collect(); return; }
    if ('drop' in m) { this.drop(m.drop.slot, m.drop.domid); return; }
    const buffer = m.add.memory.buffer as unknown as SharedArrayBuffer;
    this.bySlot.set(m.add.slot, { ...m.add, bytes: new Uint8Array(buffer), words: new Int32Array(buffer), view: new DataView(buffer) });
  }
  private drop(slot: number, domid: number): void {
    if (this.bySlot.get(slot)?.domid !== domid) return;
    this.bySlot.delete(slot);
    this.isStale = true;
  }
  /**
   * The operating system gets the pages when no thread's heap names them any more, and an idle thread does not collect
   * by itself. Where adjustCollector (tools/host/collector.ts) was not called, some domains' memories wait for the next collection.
   */
  collect(): void {
    if (!this.isStale) return;
    this.isStale = false;
    (globalThis as { gc?: () => void }).gc?.();
  }
  /** Takes what has come since the last time, if main has rung. */
  refresh(state: HypervisorState): void {
    const bell = Atomics.load(state.words, H.memoryBell);
    if (bell === this.seenBell) return;
    this.seenBell = bell;
    this.poll();
  }
  private poll(): void {
    if (!this.port) return;
    for (let m = receiveMessageOnPort(this.port); m; m = receiveMessageOnPort(this.port)) this.accept(m.message as MemoryMessage);
  }
  get(slot: number, domid: number): DomainMemory | undefined {
    const known = this.bySlot.get(slot);
    if (known?.domid === domid) return known;
    this.poll();
    const found = this.bySlot.get(slot);
    return found?.domid === domid ? found : undefined;
  }
}

/** Makes a vCPU's processor come back at its next block border. */
export const raiseAttention = (m: DomainMemory, vcpu: number): void => { Atomics.or(m.words, attentionOffset(vcpu) / 4, 1); };
