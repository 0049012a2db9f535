// HYPERVISOR_set_debugreg(reg, value).
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { setDebugRegister } from '../traps/debug-registers.ts';

export const set_debugreg: HypercallHandler = (ctx, reg, value) => setDebugRegister(ctx, Number(reg & 0xffff_ffffn), value);
