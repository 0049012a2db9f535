// A small guest for tests: page tables built in its own frames, a linear map of all of them.
import type { FakeVcpu } from './fake-processor.ts';
import { fakeMemory, fakeVcpu } from './fake-processor.ts';
import { allocateFrames, allocateSharedFrames } from './frames.ts';
import { spaceOf } from './flush.ts';
import type { Space } from './space.ts';
import { initSpace } from './xen-tables.ts';
import { newBasePointer } from './base-pointer.ts';
import { pinTable } from './page-tables.ts';
import { noteFlush, withPageLock } from './space.ts';

export const PAGE = 4096;
/** Where the guest maps its frame number n: at BASE + n * PAGE. */
export const BASE = 0xffff_ffff_8000_0000n;
const RW = 0x67, RO = 0x65;

export interface TestGuest {
  readonly ctx: FakeVcpu; readonly space: Space;
  /** Frame indexes by guest frame number. 0 to 3 are L4, L3, L2, L1; the rest is free for the test. */
  readonly frames: number[];
  readonly sharedInfoFrame: number;
  va(n: number): bigint;
  /** Machine address of a guest frame. */
  maddr(n: number): bigint;
  /** Raw entry for a guest frame. */
  entry(n: number, flags: number): bigint;
  /** Writes an entry straight into memory, as a guest does before a page is a table. */
  poke(n: number, slot: number, value: bigint): void;
  peek(n: number, slot: number): bigint;
}

export function makeGuest(options: { frames?: number; slot?: number; vcpus?: number; start?: boolean } = {}): TestGuest {
  const count = options.frames ?? 64, slot = options.slot ?? 5;
  const { memory, layout } = fakeMemory(count + 16, options.vcpus ?? 1);
  const shared = layout.reserved + 7 * PAGE;
  const ctx = fakeVcpu(memory, layout, slot, shared);
  const space = spaceOf(ctx);
  initSpace(space);
  const [sharedInfoFrame] = allocateSharedFrames(space, 1) as number[];
  const frames = allocateFrames(space, count) as number[];
  const guest: TestGuest = {
    ctx, space, frames, sharedInfoFrame: sharedInfoFrame!,
    va: (n) => BASE + BigInt(n * PAGE),
    maddr: (n) => (BigInt(slot) << 32n) | BigInt(frames[n]! * PAGE),
    entry: (n, flags) => (BigInt(slot) << 32n) | BigInt(frames[n]! * PAGE + flags),
    poke: (n, at, value) => space.view.setBigUint64(frames[n]! * PAGE + at * 8, value, true),
    peek: (n, at) => space.view.getBigUint64(frames[n]! * PAGE + at * 8, true),
  };
  guest.poke(0, 511, guest.entry(1, RW));
  guest.poke(1, 510, guest.entry(2, RW));
  guest.poke(2, 0, guest.entry(3, RW));
  for (let n = 0; n < count && n < 512; n++) guest.poke(3, n, guest.entry(n, n < 4 ? RO : RW));
  if (options.start !== false) {
    noteFlush(space, 0);
    const error = withPageLock(space, () => pinTable(space, frames[0]!, 4)) || newBasePointer(ctx, frames[0]!);
    if (error !== 0) throw new Error(`the test guest's tables do not validate: ${error}`);
  }
  return guest;
}
