// One thread's view of the domains' memories, by slot. A memory cannot lie in shared state, so it travels by message;
// a thread that needs one it has not seen looks into its port at once, without going through its event loop.
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads';
import { attentionOffset, type MemoryLayout } from '../cpu/layout.ts';

export interface DomainMemory {
  readonly slot: number; readonly domid: number;
  readonly memory: WebAssembly.Memory; readonly layout: MemoryLayout;
  readonly bytes: Uint8Array<SharedArrayBuffer>; readonly words: Int32Array<SharedArrayBuffer>; readonly view: DataView<SharedArrayBuffer>;
}
export type MemoryMessage = { add: { slot: number; domid: number; memory: WebAssembly.Memory; layout: MemoryLayout } } | { drop: { slot: number; domid: number } };

export class Memories {
  private readonly bySlot = new Map<number, DomainMemory>();
  private readonly port: MessagePort | undefined;
  constructor(port: MessagePort | undefined) { this.port = port; this.port?.unref(); }

  accept(m: MemoryMessage): void {
    if ('drop' in m) { if (this.bySlot.get(m.drop.slot)?.domid === m.drop.domid) this.bySlot.delete(m.drop.slot); return; }
    const buffer = m.add.memory.buffer as unknown as SharedArrayBuffer;
    this.bySlot.set(m.add.slot, { ...m.add, bytes: new Uint8Array(buffer), words: new Int32Array(buffer), view: new DataView(buffer) });
  }
  poll(): void {
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
  list(): DomainMemory[] { this.poll(); return [...this.bySlot.values()]; }
}

/** Makes a vCPU's processor come back at its next block border. */
export const raiseAttention = (m: DomainMemory, vcpu: number): void => { Atomics.or(m.words, attentionOffset(vcpu) / 4, 1); };
