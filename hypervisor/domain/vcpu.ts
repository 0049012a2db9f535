// One virtual CPU on its own thread: what hypercalls of sched, time and events need beside VcpuContext.
import type { Processor } from '../cpu/processor-api.ts';
import { VIEW, ACCESS } from '../cpu/processor-api.ts';
import { type MemoryLayout, PAGE_BYTES } from '../cpu/layout.ts';
import type { Domid } from '../public/types.ts';
import { vcpu_runstate_info } from '../public/layouts.ts';
import { RUNSTATE_runnable, XEN_RUNSTATE_UPDATE } from '../public/vcpu.ts';
import { VMASST_TYPE_runstate_update_flag } from '../public/xen.ts';
import { SHUTDOWN_crash, SHUTDOWN_suspend } from '../public/sched.ts';
import type { PvState } from '../traps/pv-state.ts';
import { PerfWriter } from '../trace/perf.ts';
import { TRACE, trace, traced } from '../trace/trace.ts';
import { type Hypervisor, logDomain, shutdownDomain, shutdownReason } from './hypervisor.ts';
import type { DomainMemory } from './memories.ts';
import { runstateInfo } from './runstate.ts';
import { D, V } from './state.ts';
import type { VcpuContext } from './vcpu-context.ts';

/**
 * SCHEDOP_poll in progress: ports watched, and when to stop (system time in ns, 0n: never). An upcall that becomes
 * pending meanwhile ends it too, masked or not; one that was pending and masked before does not.
 */
export interface Poll { readonly ports: readonly number[]; readonly deadline: bigint; readonly upcallBefore: boolean }

/** What a vCPU's thread does for its vCPU beside running it. */
export interface VcpuThread {
  /** Has a thread made for a sibling, which starts with this struct vcpu_guest_context. */
  startSibling(vcpu: number, image: Uint8Array): void;
  /** Does what siblings ask of this vCPU; to be called again and again while waiting for one. */
  answer(): void;
}

export class Vcpu implements VcpuContext {
  readonly hv: Hypervisor; readonly memory: DomainMemory; readonly thread: VcpuThread;
  readonly domid: Domid; readonly vcpuId: number; readonly slot: number; readonly layout: MemoryLayout;
  processor!: Processor;
  readonly pv: PvState;
  readonly sharedInfo: number;
  readonly perf: PerfWriter;
  poll: Poll | undefined;
  /** Yielded: let the others go first. */
  yielded = false;

  constructor(hv: Hypervisor, memory: DomainMemory, vcpuId: number, pv: PvState, thread: VcpuThread) {
    this.hv = hv; this.memory = memory; this.vcpuId = vcpuId; this.pv = pv; this.thread = thread;
    this.domid = memory.domid as Domid; this.slot = memory.slot; this.layout = memory.layout;
    this.perf = new PerfWriter(hv.state, memory.slot, vcpuId);
    this.sharedInfo = hv.state.dget(this.slot, D.sharedInfo);
    hv.state.setVlong(this.slot, vcpuId, V.runstateSince, hv.state.now());
    hv.state.vset(this.slot, vcpuId, V.runstate, RUNSTATE_runnable);
  }
  get vcpuInfo(): number { return this.hv.state.vget(this.slot, this.vcpuId, V.info); }
  set vcpuInfo(at: number) { this.hv.state.vset(this.slot, this.vcpuId, V.info, at); }
  systemTimeNs(): bigint { return this.hv.state.now(); }
  log(line: string): void { logDomain(this.hv, this.slot, `d${this.domid}v${this.vcpuId} ${line}`); }
  crash(reason: string): void {
    this.log(`domain crashed: ${reason}`);
    shutdownDomain(this.hv, this.slot, SHUTDOWN_crash);
  }
  /** The domain has shut down: for good, or it is suspended. */
  get stopped(): boolean { return this.hv.state.dget(this.slot, D.shutdown) !== 0; }
  get suspended(): boolean { return shutdownReason(this.hv, this.slot) === SHUTDOWN_suspend; }

  /** Accounts the time of the old runstate and begins a new one. */
  setRunstate(to: number): void {
    const { state } = this.hv, { slot, vcpuId } = this, from = state.vget(slot, vcpuId, V.runstate), now = state.now();
    if (from === to) return;
    const spent = V.runstateTime + 2 * from;
    state.setVlong(slot, vcpuId, spent, state.vlong(slot, vcpuId, spent) + now - state.vlong(slot, vcpuId, V.runstateSince));
    state.setVlong(slot, vcpuId, V.runstateSince, now);
    state.vset(slot, vcpuId, V.runstate, to);
    if (traced(state, slot)) trace(this.hv, TRACE.runstate, slot, vcpuId, to);
    this.publishRunstate();
  }
  /** Writes the runstate area, if the guest has one and has it mapped now. */
  publishRunstate(): void {
    const area = this.hv.state.vlong(this.slot, this.vcpuId, V.runstateArea);
    if (area === 0n) return;
    const info = runstateInfo(this.hv.state, this.slot, this.vcpuId), since = vcpu_runstate_info.fields.state_entry_time;
    if ((this.pv.vmAssist >> VMASST_TYPE_runstate_update_flag & 1) === 0) { this.writeKernel(area, info); return; }
    // A reader that sees the flag, or another entry time after than before, reads again.
    const view = new DataView(info.buffer), entry = view.getBigUint64(since, true);
    const time = new Uint8Array(info.buffer, since, 8);
    view.setBigUint64(since, entry | XEN_RUNSTATE_UPDATE, true);
    if (!this.writeKernel(area + BigInt(since), time)) return;
    this.writeKernel(area, info);
    view.setBigUint64(since, entry, true);
    this.writeKernel(area + BigInt(since), time);
  }
  /** Writes to the guest kernel's address space whichever view is in use: false, and nothing written, where not mapped. */
  private writeKernel(va: bigint, data: Uint8Array): boolean {
    const at = BigInt.asUintN(64, va), first = Math.min(data.length, PAGE_BYTES - Number(at & BigInt(PAGE_BYTES - 1)));
    const translate = (offset: number): number => this.processor.translate(BigInt.asUintN(64, at + BigInt(offset)), ACCESS.write, VIEW.kernel);
    const p = translate(0), q = first < data.length ? translate(first) : 0;
    if (p < 0 || q < 0) return false;
    this.memory.bytes.set(data.subarray(0, first), p);
    if (first < data.length) this.memory.bytes.set(data.subarray(first), q);
    return true;
  }
}
export const vcpuOf = (ctx: VcpuContext): Vcpu => ctx as Vcpu;
