// What the control domain may ask of the hypervisor, as TypeScript calls on Dom0's own thread.
// Dom0's kernel is TypeScript, so its hypercalls take values instead of guest pointers; the checks behind
// them are the ones a PV guest meets. A negative number is -errno (public/errno.h); nothing throws.
import type { DebugAnswer, DebugRequest, DebugSession, TraceKind } from './debug.ts';
import type { PerfCounters, PerfReading } from './perf.ts';
import type { Domid, EvtchnPort, GrantRef, Mfn } from './types.ts';

/** A grant reference mapped by Dom0: `bytes` is the granting domain's own frame (4096 bytes, shared, no copy). */
export interface GrantMapping {
  readonly domid: Domid; readonly ref: GrantRef; readonly readOnly: boolean;
  readonly handle: number; readonly mfn: Mfn; readonly bytes: Uint8Array<SharedArrayBuffer>;
}

/** DOMCTL_createdomain: what a domain is made with. Memory is reserved, not yet populated. */
export interface CreateDomain {
  readonly uuid: string; readonly vcpus: number; readonly maxMemKib: number;
  /** credit2 weight (default 256) and cap in percent of one pCPU (0: none). */
  readonly weight?: number; readonly cap?: number;
  /** Its kernel is a WebAssembly module, which runs on one vCPU. */
  readonly program?: boolean;
}

/** Boot state of vCPU 0 (VCPUOP_initialise's vcpu_guest_context, 64-bit PV form, as far as the builder sets it). */
export interface BootContext {
  readonly rip: bigint; readonly rsp: bigint; readonly rsi: bigint;
  /** mfn of the L4 page table (cr3). */
  readonly cr3Mfn: Mfn;
}

/** Start state of a vCPU whose program is WebAssembly (public/program.ts): the pfn of its start_info. Guest frames lie in pfn order. */
export interface ProgramContext { readonly program: number }

export interface DomainInfo {
  readonly domid: Domid; readonly uuid: string; readonly slot: number;
  readonly running: boolean; readonly blocked: boolean; readonly paused: boolean;
  readonly dying: boolean; readonly shutdown: boolean; readonly crashed: boolean;
  /** SHUTDOWN_* of public/sched.h when shutdown. */
  readonly shutdownReason: number;
  readonly memKib: number; readonly maxMemKib: number;
  readonly vcpusOnline: number; readonly vcpus: number;
  readonly cpuTimeNs: bigint; readonly sharedInfoMfn: Mfn;
}

/** Dom0's window on one domain's frames, for the domain builder and for xenstore/console rings. */
export interface ForeignMemory {
  /** The whole of the domain's memory; the frame with index i is bytes [i*4096, i*4096+4096). */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly slot: number;
}

/** One virtual CPU. Times in ns, by RUNSTATE_*. */
export interface VcpuInfo {
  readonly vcpu: number; readonly online: boolean; readonly running: boolean; readonly blocked: boolean;
  readonly cpuTimeNs: bigint; readonly runstateNs: readonly bigint[];
}
/** pCPUs, those of them that nobody uses, and the vCPUs that wait for one. */
export interface SchedulerInfo { readonly pcpus: number; readonly freePcpus: number; readonly waiting: number; readonly rateLimitUs: number }
/** How long events for Dom0 waited to be seen: a histogram. `counts` has one more entry than `bucketsSec`, for what is slower. */
export interface EventLatency { readonly bucketsSec: readonly number[]; readonly counts: readonly number[]; sumSec: number }

export interface Dom0Hypercalls {
  // --- event channels (public/event_channel.h); results are ports of Dom0 unless `dom` says otherwise
  /** EVTCHNOP_alloc_unbound: a port of `dom` that `remote` may bind to. */
  evtchnAllocUnbound(dom: Domid, remote: Domid): EvtchnPort | number;
  evtchnBindInterdomain(remote: Domid, remotePort: EvtchnPort): EvtchnPort | number;
  evtchnBindVirq(virq: number): EvtchnPort | number;
  evtchnSend(port: EvtchnPort): number;
  evtchnClose(port: EvtchnPort): number;
  /** Called once per upcall for `port`, on Dom0's event loop, until evtchnClose. Masked while the handler runs. */
  onEvent(port: EvtchnPort, handler: () => void): void;
  /** Upcalls for what is pending now, for work that would hold up the event loop's own. */
  serveEvents(): void;
  /** Whether an event has come since upcalls were last made: whoever waits on this thread makes room then. */
  eventsWait(): boolean;

  // --- grants (public/grant_table.h)
  gnttabMap(dom: Domid, ref: GrantRef, readOnly: boolean): GrantMapping | number;
  gnttabUnmap(mapping: GrantMapping): number;
  /** A backend wrote into a granted frame: translations of code in it are dropped before the guest runs on. */
  gnttabWrote(mapping: GrantMapping): void;
  /** GNTTABOP_copy: bytes of a granted frame, without a mapping; for what is used once. 0 or -errno. */
  gnttabCopyFrom(dom: Domid, ref: GrantRef, offset: number, to: Uint8Array): number;
  gnttabCopyTo(dom: Domid, ref: GrantRef, offset: number, from: Uint8Array): number;
  /** Toolstack: seed a grant entry of a new domain (libxl gives xenstore and console refs 1 and 0 this way). */
  gnttabSeed(dom: Domid, ref: GrantRef, mfn: Mfn, grantee: Domid): number;

  // --- domctl
  domainCreate(config: CreateDomain): Domid | number;
  /** Makes the domain's threads end and gives its memory back; resolves when it is gone. */
  domainDestroy(dom: Domid): Promise<number>;
  domainPause(dom: Domid): number;
  domainUnpause(dom: Domid): number;
  /** Acts on a domain that has shut down itself: kept as `s` until destroyed. Toolstack-forced shutdown. */
  domainShutdown(dom: Domid, reason: number): number;
  /** XEN_DOMCTL_resumedomain of a domain that is suspended, which goes on: its suspend has been cancelled. Else -EINVAL. */
  domainResume(dom: Domid): number;
  domainInfo(dom: Domid): DomainInfo | number;
  domainList(): DomainInfo[];
  domainSetMaxMem(dom: Domid, kib: number): number;
  /** credit2's parameters: -EINVAL out of range. */
  domainSetScheduler(dom: Domid, weight: number, cap: number): number;
  /** XEN_DOMCTL_SENDTRIGGER_NMI. */
  domainSendNmi(dom: Domid, vcpu: number): number;
  vcpuInfo(dom: Domid): VcpuInfo[] | number;
  /** XENMEM_populate_physmap: allocate frames, all zero, in pfn order. */
  populate(dom: Domid, frameCount: number): Mfn[] | number;
  foreign(dom: Domid): ForeignMemory | number;
  /** Sets the M2P entry of each frame: m2p[mfns[i]] = firstPfn + i. */
  setM2p(dom: Domid, mfns: readonly Mfn[], firstPfn: number): number;
  /** Gives vCPU 0 its start state, validates and pins cr3's tables. -EINVAL if the tables do not validate. */
  setContext(dom: Domid, context: BootContext | ProgramContext): number;
  /** Sends a debug key (`xl debug-keys`); output goes to the xl dmesg ring. */
  debugKey(key: string): number;
  /** Asks one vCPU's thread (public/debug.ts). Starts the thread of a domain that has not run yet, without running it. */
  debugRequest(dom: Domid, vcpu: number, request: DebugRequest): Promise<DebugAnswer>;
  /** Takes the domain for a debugger: -EBUSY if another has it. `onStop`: a vCPU has stopped by itself, or the domain is gone. */
  debugAttach(dom: Domid, onStop: () => void): DebugSession | number;
  /** Switches the trace of the domain's hypercalls and events: 0 or -ESRCH. */
  traceDomain(dom: Domid, on: boolean): number;
  /** The last lines of it, oldest first: time in seconds, vCPU, what happened. -ENODATA while it is switched off and empty. */
  readTrace(dom: Domid, kinds: readonly TraceKind[], last: number): string[] | number;

  /** Begins or ends a measurement of a domain: 0, -ESRCH, or -EBUSY when another one is on. */
  perfSwitch(dom: Domid, on: boolean): number;
  /** Asks the running vCPUs where their guest code is: the answers are among the samples of a later reading. */
  perfAsk(dom: Domid): number;
  /** Counters of each vCPU, and its samples since the last reading. */
  perfRead(dom: Domid): PerfReading[] | number;

  /** Counters of each vCPU alone: they may be read by several readers. */
  perfCounters(dom: Domid): PerfCounters[] | number;

  // --- host
  schedulerInfo(): SchedulerInfo;
  eventLatency(): EventLatency;
  physInfo(): { pcpus: number; totalKib: number; freeKib: number; cpuKhz: number };
  /** The hypervisor's console ring (`xl dmesg`). */
  readConsole(clear: boolean): string;
  /** Appends one line to the hypervisor's console ring, prefixed like Xen's (XEN). */
  log(line: string): void;
  /** System time in ns since the host started. */
  systemTimeNs(): bigint;
  /** VIRQ_DOM_EXC: some domain changed state (shutdown, crashed, died). */
  onDomainEvent(handler: () => void): void;
}
