// HYPERVISOR_iret(): see traps/iret.ts.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { iret as returnToGuest } from '../traps/iret.ts';

export const iret: HypercallHandler = (ctx) => returnToGuest(ctx);
