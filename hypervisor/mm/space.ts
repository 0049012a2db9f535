// A domain's memory as the memory manager sees it: the bytes, how they are divided, and the state that every thread
// working on them shares. No processor is needed, so Dom0's thread builds domains with the same code that a vCPU's
// thread updates page tables with.
//
// Invariants
//   - Everything in mm/ that reads or changes frame table entries, page tables or the allocator holds the space's
//     page lock (withPageLock), once: it does not nest. Lock order: page lock last; nothing is awaited under it.
//   - `stamp` of a frame (frame-table.ts) is the flush clock at the moment its last writable mapping went. A vCPU
//     whose last flush is not later may still hold a writable translation of it.
import type { MemoryLayout } from '../cpu/layout.ts';
import { PAGE_BYTES } from '../cpu/layout.ts';

/** Entries of foreign frames in L1 tables (grant mappings of another DomU): kept by the grant code. */
export interface ForeignEntries {
  /** 0, or -errno when the entry may not be installed. */
  get(lo: number, hi: number): number;
  put(lo: number, hi: number): void;
}

export interface Space {
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly view: DataView<SharedArrayBuffer>;
  /** The same memory as 32-bit and 64-bit words, for Atomics and for the page-table loops. */
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly quads: BigUint64Array<SharedArrayBuffer>;
  readonly layout: MemoryLayout;
  readonly slot: number;
  /** Drops every cached translation for writing of every vCPU of the domain, and returns when that is done. Unset on Dom0's thread. */
  flushWritable?: () => void;
  foreign?: ForeignEntries;
  /** The hypervisor wrote to a frame with translated code in it. Unset on Dom0's thread: the code map says so then. */
  codeWritten?: (index: number) => void;
  /** Called while this thread waits for the page lock: its holder may be waiting for this vCPU to flush. */
  whileWaiting?: () => void;
}

/** Words of the state page, the first reserved frame. */
const STATE = { lock: 0, freeHead: 1, bump: 2, allocated: 3, clock: 4, maxFrames: 5, reservedNext: 6, ready: 7, lastFlush: 64 } as const;
export type StateWord = keyof typeof STATE;

export const stateIndex = (space: Space, word: StateWord): number => space.layout.reserved / 4 + STATE[word];
export const getState = (space: Space, word: StateWord): number => space.words[stateIndex(space, word)]!;
export const setState = (space: Space, word: StateWord, value: number): void => { space.words[stateIndex(space, word)] = value; };

export function createSpace(buffer: SharedArrayBuffer, layout: MemoryLayout, slot: number): Space {
  return {
    bytes: new Uint8Array(buffer), view: new DataView(buffer), words: new Int32Array(buffer), quads: new BigUint64Array(buffer),
    layout, slot,
  };
}

/** How long a lock may be held before its holder counts as dead (its thread was ended inside the section). */
const LOCK_PATIENCE_MS = 10_000;
const SPINS = 200, WAIT_MS = 1;

function lock(space: Space): void {
  const at = stateIndex(space, 'lock');
  for (let i = 0; i < SPINS; i++) if (Atomics.compareExchange(space.words, at, 0, 1) === 0) return;
  const deadline = performance.now() + LOCK_PATIENCE_MS;
  // 2 says that somebody sleeps, so the holder must wake them.
  while (Atomics.exchange(space.words, at, 2) !== 0) {
    space.whileWaiting?.();
    Atomics.wait(space.words, at, 2, WAIT_MS);
    if (performance.now() > deadline) return;
  }
}

function unlock(space: Space): void {
  const at = stateIndex(space, 'lock');
  if (Atomics.exchange(space.words, at, 0) === 2) Atomics.notify(space.words, at, 1);
}

/** Runs `work` under the domain's page lock. */
export function withPageLock<T>(space: Space, work: () => T): T {
  lock(space);
  try { return work(); } finally { unlock(space); }
}

// --- the flush clock

const NEVER_RAN = 0x7fff_ffff;
const lastFlushIndex = (space: Space, vcpu: number): number => stateIndex(space, 'lastFlush') + vcpu;

/** At domain creation: no vCPU can hold a translation yet. */
export function resetFlushClock(space: Space): void {
  setState(space, 'clock', 1);
  for (let v = 0; v < space.layout.vcpus; v++) space.words[lastFlushIndex(space, v)] = NEVER_RAN;
}

/** To be called after (never before) a vCPU has dropped all its translations for writing, and when it first runs. */
export function noteFlush(space: Space, vcpu: number): void {
  Atomics.store(space.words, lastFlushIndex(space, vcpu), Atomics.add(space.words, stateIndex(space, 'clock'), 1) + 1);
}

export const flushClock = (space: Space): number => getState(space, 'clock');

/** Drops stale translations unless every vCPU has flushed since `stamp`. */
export function flushSince(space: Space, stamp: number): void {
  for (let v = 0; v < space.layout.vcpus; v++) {
    const last = Atomics.load(space.words, lastFlushIndex(space, v));
    // Differences, not magnitudes: the clock wraps.
    if (last !== NEVER_RAN && ((last - stamp) | 0) <= 0) { space.flushWritable?.(); return; }
  }
}

/** Byte offset of the n-th reserved frame. */
export const reservedFrameIndex = (space: Space, n: number): number => space.layout.reserved / PAGE_BYTES + n;
