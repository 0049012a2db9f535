// The hypercalls: number, name, handler. Tracing, counters and the dispatcher read this one table.
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { ENOSYS, EPERM } from '../public/errno.ts';
import { callback_op } from './callback_op.ts';
import { console_io } from './console_io.ts';
import { event_channel_op } from './event_channel_op.ts';
import { fpu_taskswitch } from './fpu_taskswitch.ts';
import { get_debugreg } from './get_debugreg.ts';
import { grant_table_op } from './grant_table_op.ts';
import { invoke, register } from './invoke.ts';
import { iret } from './iret.ts';
import { memory_op } from './memory_op.ts';
import { mmu_update } from './mmu_update.ts';
import { mmuext_op } from './mmuext_op.ts';
import { multicall } from './multicall.ts';
import { physdev_op } from './physdev_op.ts';
import { sched_op } from './sched_op.ts';
import { set_callbacks } from './set_callbacks.ts';
import { set_debugreg } from './set_debugreg.ts';
import { set_gdt } from './set_gdt.ts';
import { set_segment_base } from './set_segment_base.ts';
import { set_timer_op } from './set_timer_op.ts';
import { set_trap_table } from './set_trap_table.ts';
import { stack_switch } from './stack_switch.ts';
import { update_descriptor } from './update_descriptor.ts';
import { update_va_mapping } from './update_va_mapping.ts';
import { vcpu_op } from './vcpu_op.ts';
import { vm_assist } from './vm_assist.ts';
import { xen_version } from './xen_version.ts';

const privilegedOnly: HypercallHandler = () => -EPERM;
const absent: HypercallHandler = () => -ENOSYS;

export const HYPERCALLS: readonly (readonly [number: number, name: string, handler: HypercallHandler])[] = [
  [0, 'set_trap_table', set_trap_table], [1, 'mmu_update', mmu_update], [2, 'set_gdt', set_gdt], [3, 'stack_switch', stack_switch],
  [4, 'set_callbacks', set_callbacks], [5, 'fpu_taskswitch', fpu_taskswitch], [7, 'platform_op', privilegedOnly],
  [8, 'set_debugreg', set_debugreg], [9, 'get_debugreg', get_debugreg], [10, 'update_descriptor', update_descriptor],
  [12, 'memory_op', memory_op], [13, 'multicall', multicall], [14, 'update_va_mapping', update_va_mapping], [15, 'set_timer_op', set_timer_op],
  [17, 'xen_version', xen_version], [18, 'console_io', console_io], [20, 'grant_table_op', grant_table_op], [21, 'vm_assist', vm_assist],
  [23, 'iret', iret], [24, 'vcpu_op', vcpu_op], [25, 'set_segment_base', set_segment_base], [26, 'mmuext_op', mmuext_op],
  [29, 'sched_op', sched_op], [30, 'callback_op', callback_op], [32, 'event_channel_op', event_channel_op], [33, 'physdev_op', physdev_op],
  [35, 'sysctl', privilegedOnly], [36, 'domctl', privilegedOnly], [40, 'xenpmu_op', absent],
];
for (const [number, , handler] of HYPERCALLS) register(number, handler);

/** One hypercall of the guest's: number from eax, arguments as in rdi rsi rdx r10 r8; the result goes to rax. */
export function dispatchHypercall(ctx: VcpuContext, number: number, a1: bigint, a2: bigint, a3: bigint, a4: bigint, a5: bigint): void {
  const result = invoke(ctx, number, a1, a2, a3, a4, a5);
  ctx.processor.gpr[0] = BigInt.asUintN(64, BigInt(result));
}
