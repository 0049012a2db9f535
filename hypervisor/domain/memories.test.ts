import { MessageChannel } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { attentionOffset, layoutMemory } from '../cpu/layout.ts';
import { Memories, type MemoryMessage, raiseAttention } from './memories.ts';
import { H, HypervisorState } from './state.ts';

const layout = layoutMemory(1, 4), pages = layout.totalBytes / 65536;
const add = (slot: number, domid: number): MemoryMessage => ({ add: { slot, domid, memory: new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }), layout } });
const drop = (slot: number, domid: number): MemoryMessage => ({ drop: { slot, domid } });

let channel: MessageChannel, state: HypervisorState, memories: Memories;
beforeEach(() => { channel = new MessageChannel(); state = HypervisorState.create(1); memories = new Memories(channel.port2); });
afterEach(() => { channel.port1.close(); });

test('a memory that has come is found when it is first asked for, without an event loop\'s turn', () => {
  channel.port1.postMessage(add(3, 7));
  const m = memories.get(3, 7)!;
  raiseAttention(m, 0);
  expect([m.slot, m.domid, m.words[attentionOffset(0) / 4], m.bytes.length]).toEqual([3, 7, 1, pages * 65536]);
  expect([memories.get(3, 8), memories.get(4, 7)]).toEqual([undefined, undefined]);
});
test('what was in the port before the thread began is there', () => {
  channel.port1.postMessage(add(1, 1));
  channel.port1.postMessage(drop(1, 1));
  channel.port1.postMessage(add(1, 2));
  const late = new Memories(channel.port2);
  expect([late.get(1, 1), late.get(1, 2)?.domid]).toEqual([undefined, 2]);
});
test('refresh takes messages when the bell has been rung, and only then', () => {
  memories.accept(add(1, 1));
  channel.port1.postMessage(drop(1, 1));
  memories.refresh(state);
  expect(memories.get(1, 1)?.domid).toBe(1);
  state.words[H.memoryBell]!++;
  memories.refresh(state);
  expect(memories.get(1, 1)).toBeUndefined();
});
test('threads collect once for all memories that have gone, and only where one has', () => {
  const global = globalThis as { gc?: (() => void) | undefined }, before = global.gc;
  let collected = 0;
  global.gc = () => { collected++; };
  try {
    for (const slot of [1, 2]) { memories.accept(add(slot, slot)); memories.accept(drop(slot, slot)); }
    expect(collected).toBe(0);
    for (let n = 0; n < 2; n++) memories.accept({ collect: true });
    expect(collected).toBe(1);
  } finally { global.gc = before; }
});
test('a drop that comes late does not take the slot\'s next domain', () => {
  memories.accept(add(1, 1));
  memories.accept(add(1, 2));
  memories.accept(drop(1, 1));
  expect(memories.get(1, 2)?.domid).toBe(2);
});
