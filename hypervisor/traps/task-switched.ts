// CR0.TS: fpu_taskswitch, CLTS, MOV to CR0 and #NM all come here.
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { CR0 } from './pv-state.ts';

export function setTaskSwitched(ctx: VcpuContext, on: boolean): void {
  ctx.pv.cr0 = on ? ctx.pv.cr0 | CR0.TS : ctx.pv.cr0 & ~CR0.TS;
  ctx.processor.taskSwitched = on;
}
