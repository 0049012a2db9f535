// Calling a hypercall by number. The table registers its handlers here, so that multicall can call them in turn.
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { vcpuOf } from '../domain/vcpu.ts';
import { ENOSYS } from '../public/errno.ts';
import { TRACE, trace, traced } from '../trace/trace.ts';

const LOW = 0xffff_ffffn;

const byNumber: (HypercallHandler | undefined)[] = [];
export const register = (number: number, handler: HypercallHandler): void => { byNumber[number] = handler; };

/** One call; -ENOSYS for numbers that are not in the table. */
export function invoke(ctx: VcpuContext, number: number, a1: bigint, a2: bigint, a3: bigint, a4: bigint, a5: bigint): bigint | number {
  const handler = byNumber[number];
  if (!handler) return -ENOSYS;
  const { hv, slot, vcpuId, perf } = vcpuOf(ctx), { state } = hv;
  Atomics.add(state.words, state.hypercalls(slot, number), 1);
  perf.called(number);
  if (!traced(state, slot)) return perf.timed ? perf.time(number, () => handler(ctx, a1, a2, a3, a4, a5)) : handler(ctx, a1, a2, a3, a4, a5);
  trace(hv, TRACE.hypercall, slot, vcpuId, number, Number(a1 & LOW), Number(a2 & LOW));
  const result = handler(ctx, a1, a2, a3, a4, a5);
  trace(hv, TRACE.hypercallDone, slot, vcpuId, number, Number(BigInt.asIntN(32, BigInt(result))));
  return result;
}
