// What the code that runs on a vCPU's thread shares: one object per vCPU thread. Everything that other threads
// must see is in the hypervisor's shared state instead (domain/, event/, grant/, sched/).
import type { Processor } from '../cpu/processor-api.ts';
import type { MemoryLayout } from '../cpu/layout.ts';
import type { Domid } from '../public/types.ts';
import type { PvState } from '../traps/pv-state.ts';

export interface VcpuContext {
  readonly domid: Domid;
  readonly vcpuId: number;
  /** Slot of the domain's memory: mfn = (slot << 20) | index. */
  readonly slot: number;
  readonly layout: MemoryLayout;
  readonly processor: Processor;
  /** Trap table, callbacks, stacks, GDT frames: what the guest told us about itself. */
  readonly pv: PvState;
  /** Physical address of shared_info. */
  readonly sharedInfo: number;
  /** Physical address of this vCPU's vcpu_info: in shared_info until VCPUOP_register_vcpu_info moves it. */
  vcpuInfo: number;
  /** Ends the domain with a reason in the xl dmesg ring. Returns; the vCPU loop stops at its next turn. */
  crash(reason: string): void;
  /** Line in the xl dmesg ring, prefixed with domain and vCPU. Rate-limited per domain. */
  log(line: string): void;
  systemTimeNs(): bigint;
}

/**
 * A hypercall handler: copy in, check, delegate, copy out. Arguments are rdi rsi rdx r10 r8, unsigned 64-bit.
 * Returns the value for rax (negative errno for errors). A handler that must be run again sets
 * `pv.continuation` (see traps/) and returns anything.
 */
export type HypercallHandler = (ctx: VcpuContext, a1: bigint, a2: bigint, a3: bigint, a4: bigint, a5: bigint) => bigint | number;
