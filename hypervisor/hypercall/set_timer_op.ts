// HYPERVISOR_set_timer_op(timeout): the singleshot timer by its older name. 0 stops it.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { vcpuOf } from '../domain/vcpu.ts';
import { setTimer } from './vcpu_op.ts';

export const set_timer_op: HypercallHandler = (ctx, timeout) => { setTimer(vcpuOf(ctx), timeout); return 0; };
