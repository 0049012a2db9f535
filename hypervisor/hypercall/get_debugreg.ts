// HYPERVISOR_get_debugreg(reg): the value itself, or -ENODEV.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { ENODEV } from '../public/errno.ts';
import { getDebugRegister } from '../traps/debug-registers.ts';

export const get_debugreg: HypercallHandler = (ctx, reg) => getDebugRegister(ctx, Number(reg & 0xffff_ffffn)) ?? -ENODEV;
