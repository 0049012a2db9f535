// One virtual CPU on its own thread: what hypercalls of sched, time and events need beside VcpuContext.
import type { Processor } from '../cpu/processor-api.ts';
import { VIEW, ACCESS } from '../cpu/processor-api.ts';
import type { MemoryLayout } from '../cpu/layout.ts';
import type { Domid } from '../public/types.ts';
import { RUNSTATE_offline, RUNSTATE_runnable } from '../public/vcpu.ts';
import { SHUTDOWN_crash } from '../public/sched.ts';
import type { PvState } from '../traps/pv-state.ts';
import { type Hypervisor, logDomain, shutdownDomain } from './hypervisor.ts';
import type { DomainMemory } from './memories.ts';
import { D, V } from './state.ts';
import type { VcpuContext } from './vcpu-context.ts';

/** SCHEDOP_poll in progress: ports watched, and when to stop (system time in ns, 0n: never). */
export interface Poll { readonly ports: readonly number[]; readonly deadline: bigint }

const RUNSTATE_BYTES = 48;
const XEN_RUNSTATE_UPDATE = 1n << 63n;
const VMASST_runstate_update_flag = 5;

export class Vcpu implements VcpuContext {
  readonly hv: Hypervisor; readonly memory: DomainMemory;
  readonly domid: Domid; readonly vcpuId: number; readonly slot: number; readonly layout: MemoryLayout;
  processor!: Processor;
  readonly pv: PvState;
  readonly sharedInfo: number;
  poll: Poll | undefined;
  /** Yielded: let the others go first. */
  yielded = false;
  /** Guest-virtual addresses of the areas registered by vcpu_op 5 and 13, 0n for none. */
  runstateArea = 0n; timeArea = 0n;
  private runstateSince: bigint;
  private readonly times = [0n, 0n, 0n, 0n];
  /** Hypercalls by number, for counters. */
  readonly hypercalls = new Uint32Array(64);

  constructor(hv: Hypervisor, memory: DomainMemory, vcpuId: number, pv: PvState) {
    this.hv = hv; this.memory = memory; this.vcpuId = vcpuId; this.pv = pv;
    this.domid = memory.domid as Domid; this.slot = memory.slot; this.layout = memory.layout;
    this.sharedInfo = hv.state.dget(this.slot, D.sharedInfo);
    this.runstateSince = hv.state.now();
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
  get stopped(): boolean { return this.hv.state.dget(this.slot, D.shutdown) !== 0; }

  /** Accounts the time of the old runstate and begins a new one. */
  setRunstate(to: number): void {
    const from = this.hv.state.vget(this.slot, this.vcpuId, V.runstate), now = this.hv.state.now();
    this.times[from] = (this.times[from] ?? 0n) + now - this.runstateSince;
    this.runstateSince = now;
    this.hv.state.vset(this.slot, this.vcpuId, V.runstate, to);
    this.publishRunstate();
  }
  /** vcpu_runstate_info (public/vcpu.h): state, state_entry_time, time[4]. */
  runstateInfo(): Uint8Array {
    const v = new DataView(new ArrayBuffer(RUNSTATE_BYTES)), state = this.hv.state.vget(this.slot, this.vcpuId, V.runstate);
    v.setInt32(0, state, true);
    v.setBigUint64(8, this.runstateSince, true);
    this.times.forEach((t, i) => v.setBigUint64(16 + 8 * i, i === state && state !== RUNSTATE_offline ? t + this.hv.state.now() - this.runstateSince : t, true));
    return new Uint8Array(v.buffer);
  }
  publishRunstate(): void {
    if (this.runstateArea === 0n) return;
    const info = this.runstateInfo(), dv = new DataView(info.buffer);
    // An area that crosses a page or is not mapped now is left alone, as Xen's is.
    if ((this.runstateArea & 0xfffn) + BigInt(RUNSTATE_BYTES) > 4096n) return;
    const p = this.processor.translate(this.runstateArea, ACCESS.write, VIEW.kernel);
    if (p < 0) return;
    if (this.pv.vmAssist >> VMASST_runstate_update_flag & 1) {
      const entry = dv.getBigUint64(8, true);
      this.memory.view.setBigUint64(p + 8, entry | XEN_RUNSTATE_UPDATE, true);
      dv.setBigUint64(8, entry | XEN_RUNSTATE_UPDATE, true);
      this.memory.bytes.set(info, p);
      this.memory.view.setBigUint64(p + 8, entry, true);
    } else this.memory.bytes.set(info, p);
  }
}
export const vcpuOf = (ctx: VcpuContext): Vcpu => ctx as Vcpu;
