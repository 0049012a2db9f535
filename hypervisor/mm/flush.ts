// Dropping cached translations, on this vCPU and on its siblings.
import type { VcpuContext } from '../domain/vcpu-context.ts';
import type { Space } from './space.ts';
import { createSpace, noteFlush } from './space.ts';

/**
 * Makes other vCPUs of the domain drop translations (all of them, or those of one page) and returns when they have:
 * a vCPU that is not running guest code must do it before it does. `vcpus` is a bit mask without the caller.
 * After a full flush the vCPU's thread calls noteFlush(space, vcpu).
 */
export type RemoteFlush = (ctx: VcpuContext, vcpus: bigint, va: bigint | undefined) => void;

let remoteFlush: RemoteFlush = () => {};
let answerFlush = (): void => {};
/**
 * Filled by the scheduler's side (attention words), once per thread. `answer` does what siblings have asked of this
 * thread's vCPU; it is called while the vCPU waits for the page lock, whose holder may be the one who asks.
 */
export function setRemoteFlush(hook: RemoteFlush, answer: () => void = () => {}): void {
  remoteFlush = hook;
  answerFlush = answer;
}

const spaces = new WeakMap<VcpuContext, Space>();
let lastContext: VcpuContext | undefined, lastSpace: Space | undefined;

/** The memory of a vCPU's domain, with this vCPU's processor behind flushWritable. */
export function spaceOf(ctx: VcpuContext): Space {
  // A thread has one vCPU.
  if (ctx === lastContext) return lastSpace!;
  let space = spaces.get(ctx);
  if (space === undefined) {
    space = createSpace(ctx.processor.bytes.buffer, ctx.layout, ctx.slot);
    space.flushWritable = () => flushWritable(ctx);
    space.codeWritten = (index) => ctx.processor.invalidateCode(index);
    space.whileWaiting = () => answerFlush();
    spaces.set(ctx, space);
  }
  lastContext = ctx;
  lastSpace = space;
  return space;
}

export function flushLocal(ctx: VcpuContext): void {
  ctx.processor.flushTlb();
  noteFlush(spaceOf(ctx), ctx.vcpuId);
}

/** A frame is about to be no longer the guest's to write: reading and executing through old translations harms nobody. */
function flushWritable(ctx: VcpuContext): void {
  ctx.processor.flushWritable();
  noteFlush(spaceOf(ctx), ctx.vcpuId);
  const others = siblings(ctx);
  if (others !== 0n) remoteFlush(ctx, others, undefined);
}

const siblings = (ctx: VcpuContext): bigint => ((1n << BigInt(ctx.layout.vcpus)) - 1n) & ~(1n << BigInt(ctx.vcpuId));

/** Full flush of the vCPUs in `mask` (bit n: vCPU n), the caller among them if its bit is set. */
export function flushMask(ctx: VcpuContext, mask: bigint): void {
  if ((mask & (1n << BigInt(ctx.vcpuId))) !== 0n) flushLocal(ctx);
  const others = mask & siblings(ctx);
  if (others !== 0n) remoteFlush(ctx, others, undefined);
}

export function flushPageMask(ctx: VcpuContext, mask: bigint, va: bigint): void {
  if ((mask & (1n << BigInt(ctx.vcpuId))) !== 0n) ctx.processor.flushPage(va);
  const others = mask & siblings(ctx);
  if (others !== 0n) remoteFlush(ctx, others, va);
}

export const ALL_VCPUS = 0xffff_ffff_ffff_ffffn;
