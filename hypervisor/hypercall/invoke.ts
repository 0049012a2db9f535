// Calling a hypercall by number. The table registers its handlers here, so that multicall can call them in turn.
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { vcpuOf } from '../domain/vcpu.ts';
import { ENOSYS } from '../public/errno.ts';

const byNumber: (HypercallHandler | undefined)[] = [];
export const register = (number: number, handler: HypercallHandler): void => { byNumber[number] = handler; };

/** One call; -ENOSYS for numbers that are not in the table. */
export function invoke(ctx: VcpuContext, number: number, a1: bigint, a2: bigint, a3: bigint, a4: bigint, a5: bigint): bigint | number {
  const handler = byNumber[number];
  if (!handler) return -ENOSYS;
  vcpuOf(ctx).hypercalls[number]!++;
  return handler(ctx, a1, a2, a3, a4, a5);
}
