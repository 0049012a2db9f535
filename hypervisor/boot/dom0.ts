// Dom0's hypercalls, on Dom0's own thread (see public/dom0-hypercalls.ts for the contract). Checks are those of a
// guest's calls; what differs is that arguments are values and that Dom0 has no memory of its own to map things into.
import { parentPort, type MessagePort } from 'node:worker_threads';
import { CODE, layoutMemory, PAGE_BYTES, PROGRAM_AREA_BYTES } from '../cpu/layout.ts';
import { DebugClient } from '../debug/client.ts';
import { type Hypervisor, domainChanged, kick, kickDomain, resumeDomain, shutdownDomain, shutdownReason } from '../domain/hypervisor.ts';
import { runstateInfo } from '../domain/runstate.ts';
import { collectDelayMs, Memories, type DomainMemory } from '../domain/memories.ts';
import { D, DOMAIN_STATE, H, HypervisorState, MAX_SLOTS, MAX_VCPUS, V } from '../domain/state.ts';
import * as channels from '../event/channels.ts';
import { tellDirtyCode } from '../grant/copy.ts';
import { track, tracked, untrack, untrackAll } from '../grant/maptrack.ts';
import { entryWord, forgetGrants, growTable, pinGrant, spaceOfMemory, unpinGrant, useGrant } from '../grant/table.ts';
import { locked } from '../lib/lock.ts';
import { allocatedFrames, allocateFrames, allocateSharedFrames, setM2pEntry, setMaxFrames } from '../mm/frames.ts';
import { PGT } from '../mm/frame-table.ts';
import { pinTable } from '../mm/page-tables.ts';
import { type Space, withPageLock } from '../mm/space.ts';
import { initSpace } from '../mm/xen-tables.ts';
import type { DebugAnswer, DebugRequest, DebugSession, TraceKind } from '../public/debug.ts';
import type { BootContext, CreateDomain, Dom0Hypercalls, DomainInfo, EventLatency, ForeignMemory, GrantMapping, ProgramContext, SchedulerInfo, VcpuInfo } from '../public/dom0-hypercalls.ts';
import type { Handover } from '../public/handover.ts';
import type { PerfCounters, PerfReading } from '../public/perf.ts';
import { EBUSY, EINVAL, ENODATA, ENOMEM, ENOSPC, ESRCH } from '../public/errno.ts';
import { shared_info, vcpu_info, vcpu_runstate_info } from '../public/layouts.ts';
import { DOMID_FIRST_RESERVED } from '../public/xen.ts';
import { GTF_permit_access } from '../public/grant_table.ts';
import { RUNSTATE_running } from '../public/vcpu.ts';
import { SHUTDOWN_crash } from '../public/sched.ts';
import { domid as asDomid, mfnIndex, mfnOf, mfnSlot, type Domid, type EvtchnPort, type GrantRef, type Mfn } from '../public/types.ts';
import { RATE_LIMIT_US } from '../sched/pcpus.ts';
import { fillWallClock } from '../time/pvclock.ts';
import { appendConsole, readConsole } from '../trace/console.ts';
import { debugKey, hypercallName } from '../trace/debug-keys.ts';
import { askSamples, readCounters, readPerf, switchPerf } from '../trace/perf.ts';
import { readTrace, setTrace, TRACE, traced } from '../trace/trace.ts';
import { Dom0Events } from './dom0-events.ts';
import type { ThreadRequest } from './main.ts';

/** Frames beyond a domain's memory for what ballooning and exchanges need meanwhile. */
const SLACK_FRAMES = 16;
const END_PATIENCE_MS = 2000;
/** domain_pause waits for its vCPUs to stop, but a processor that hangs must not stop Dom0. */
const STANDSTILL_MS = 20;
const GIB4_FRAMES = 0x100000;

export interface Dom0Data {
  readonly buffer: SharedArrayBuffer; readonly memoryPort: MessagePort; readonly options: unknown;
  readonly handover: readonly Handover[];
  /** Of domains that have not started, by slot. */
  readonly contexts: readonly (readonly [number, BootContext | ProgramContext])[];
}

/**
 * To be called once by Dom0's thread with its workerData. What an earlier Dom0 left behind ends here: its mappings, and
 * its event channels (their other ends are unbound again, for Dom0 to bind anew).
 */
export function attachDom0(workerData: unknown): Dom0Hypercalls & { readonly options: unknown; readonly handover: readonly Handover[] } {
  const { buffer, memoryPort, options, handover, contexts } = workerData as Dom0Data;
  const state = new HypervisorState(buffer);
  return Object.assign(new Dom0({ state, memories: new Memories(memoryPort) }, request => parentPort?.postMessage(request), contexts), { options, handover });
}

const MEMORY_MS = 500;
interface HostMemory { readonly atMs: number; readonly limit: number; readonly available: number }

/** A mapping, with the memory it is in. */
interface MappedGrant extends GrantMapping { readonly memory: DomainMemory }

export class Dom0 implements Dom0Hypercalls {
  private readonly hv: Hypervisor;
  private readonly events: Dom0Events;
  private readonly debug: DebugClient;
  private readonly contexts: Map<number, BootContext | ProgramContext>;
  /** Samples read of each vCPU, by the place of its numbers. */
  private readonly samplesRead = new Map<number, number>();
  /** Domains that are being destroyed on this thread. */
  private readonly ending = new Set<number>();

  private readonly tell: (request: ThreadRequest) => void;
  private collecting: NodeJS.Timeout | undefined;
  private lastMemory: HostMemory | undefined;

  /** `tell` carries what only main can do: keeping memories, starting and ending threads. */
  constructor(hv: Hypervisor, tell: (request: ThreadRequest) => void, contexts: Dom0Data['contexts'] = []) {
    this.hv = hv;
    this.tell = tell;
    this.contexts = new Map(contexts);
    untrackAll(hv);
    channels.closeAll(hv, 0);
    this.events = new Dom0Events(hv);
    this.debug = new DebugClient(hv);
    void this.debug.releaseAll();
  }

  // ---- events
  evtchnAllocUnbound(dom: Domid, remote: Domid): EvtchnPort | number {
    const slot = this.hv.state.slotOf(dom);
    return slot < 0 ? -ESRCH : channels.allocUnbound(this.hv, slot, remote);
  }
  evtchnBindInterdomain(remote: Domid, remotePort: EvtchnPort): EvtchnPort | number { return channels.bindInterdomain(this.hv, 0, remote, remotePort); }
  evtchnBindVirq(virq: number): EvtchnPort | number { return channels.bindVirq(this.hv, 0, virq, 0); }
  evtchnSend(port: EvtchnPort): number { return channels.send(this.hv, 0, port); }
  evtchnClose(port: EvtchnPort): number { this.events.off(port); return channels.close(this.hv, 0, port); }
  onEvent(port: EvtchnPort, handler: () => void): void { this.events.on(port, handler); }
  serveEvents(): void { this.events.drain(); }
  eventsWait(): boolean { return this.events.waiting; }

  // ---- grants
  private memoryOf(dom: Domid): DomainMemory | undefined {
    const slot = this.hv.state.slotOf(dom);
    return slot <= 0 ? undefined : this.hv.memories.get(slot, dom);
  }
  private spaceOf(dom: Domid): Space | undefined {
    const m = this.memoryOf(dom);
    return m && spaceOfMemory(m);
  }
  gnttabMap(dom: Domid, ref: GrantRef, readOnly: boolean): GrantMapping | number {
    const m = this.memoryOf(dom);
    if (!m) return -ESRCH;
    const pin = pinGrant(this.hv, m, ref, 0, readOnly);
    if (typeof pin === 'number') return -EINVAL;
    const handle = track(this.hv.state, m.slot, dom, pin);
    if (handle < 0) { unpinGrant(this.hv, m, pin); return -ENOSPC; }
    const mapping: MappedGrant = { domid: dom, ref, readOnly, handle, mfn: mfnOf(m.slot, pin.index), bytes: m.bytes.subarray(pin.index * 4096, pin.index * 4096 + 4096), memory: m };
    return mapping;
  }
  gnttabUnmap(mapping: GrantMapping): number {
    const held = tracked(this.hv.state, mapping.handle);
    if (held?.domid !== mapping.domid || held.ref !== mapping.ref) return -EINVAL;
    untrack(this.hv, mapping.handle);
    return 0;
  }
  gnttabWrote(mapping: GrantMapping): void {
    this.wrote((mapping as MappedGrant).memory, mfnIndex(mapping.mfn));
  }
  /** Code in the frame that a vCPU has translated is not what it was. */
  private wrote(m: DomainMemory, index: number): void {
    const at = m.layout.codeMap + index;
    if (!(Atomics.load(m.bytes, at) & CODE.translated)) return;
    Atomics.or(m.bytes, at, CODE.dirtied);
    tellDirtyCode(this.hv, m);
  }
  gnttabCopyFrom(dom: Domid, ref: GrantRef, offset: number, to: Uint8Array): number {
    return this.copyGranted(dom, ref, true, offset, to.length, (m, index) => to.set(m.bytes.subarray(index * PAGE_BYTES + offset, index * PAGE_BYTES + offset + to.length)));
  }
  gnttabCopyTo(dom: Domid, ref: GrantRef, offset: number, from: Uint8Array): number {
    return this.copyGranted(dom, ref, false, offset, from.length, (m, index) => { m.bytes.set(from, index * PAGE_BYTES + offset); this.wrote(m, index); });
  }
  private copyGranted(dom: Domid, ref: GrantRef, readOnly: boolean, offset: number, byteCount: number, copy: (m: DomainMemory, index: number) => void): number {
    const m = this.memoryOf(dom);
    if (!m) return -ESRCH;
    if (!(Number.isInteger(offset) && offset >= 0 && offset + byteCount <= PAGE_BYTES)) return -EINVAL;
    return useGrant(this.hv, m, ref, 0, readOnly, index => copy(m, index)) ? -EINVAL : 0;
  }
  gnttabSeed(dom: Domid, ref: GrantRef, frame: Mfn, grantee: Domid): number {
    const m = this.memoryOf(dom), word = m ? entryWord(this.hv, m.slot, ref) : -1;
    if (!m || word < 0) return -EINVAL;
    m.words[word + 1] = frame | 0;
    Atomics.store(m.words, word, GTF_permit_access | grantee << 16);
    return 0;
  }

  // ---- domains
  domainCreate(c: CreateDomain): Domid | number {
    const { state } = this.hv, frames = Math.ceil(c.maxMemKib / 4);
    if (!(c.vcpus >= 1 && c.vcpus <= (c.program ? 1 : MAX_VCPUS)) || !(frames > 0)) return -EINVAL;
    const layout = layoutMemory(c.vcpus, frames + SLACK_FRAMES, undefined, c.program ? PROGRAM_AREA_BYTES : undefined);
    if (layout.end > GIB4_FRAMES) return -ENOMEM;
    const slot = locked(state.words, H.tableLock, () => {
      for (let s = 1; s < MAX_SLOTS; s++) if (state.dget(s, D.state) === DOMAIN_STATE.free) { state.dset(s, D.state, DOMAIN_STATE.dying); return s; }
      return -1;
    });
    if (slot < 0) return -ENOSPC;
    const dom = nextDomid(state);
    let memory: WebAssembly.Memory;
    const pages = layout.totalBytes / 65536;
    try { memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }); } catch { state.dset(slot, D.state, DOMAIN_STATE.free); return -ENOMEM; }
    state.clearSlot(slot);
    state.dset(slot, D.state, DOMAIN_STATE.dying);
    state.dset(slot, D.domid, dom);
    state.dset(slot, D.vcpus, c.vcpus);
    state.dset(slot, D.maxMemKib, frames * 4);
    state.dset(slot, D.paused, 1);
    state.dset(slot, D.weight, c.weight ?? 256);
    state.dset(slot, D.cap, c.cap ?? 0);
    state.dset(slot, D.totalBytes, pages);
    c.uuid.replace(/-/g, '').match(/.{8}/g)?.forEach((h, i) => { if (i < 4) state.dset(slot, D.uuid + i, parseInt(h, 16) | 0); });
    this.hv.memories.accept({ add: { slot, domid: dom, memory, layout } });
    const m = this.hv.memories.get(slot, dom)!, space = spaceOfMemory(m);
    initSpace(space);
    setMaxFrames(space, frames);
    const shared = allocateSharedFrames(space, 1);
    if (typeof shared === 'number') { this.hv.memories.accept({ drop: { slot, domid: dom } }); state.dset(slot, D.state, DOMAIN_STATE.free); return -ENOMEM; }
    state.dset(slot, D.sharedInfo, shared[0]! * 4096);
    for (let v = 0; v < c.vcpus; v++) {
      const info = shared[0]! * 4096 + shared_info.fields.vcpu_info + v * vcpu_info.size;
      state.vset(slot, v, V.info, info);
      space.bytes[info + vcpu_info.fields.evtchn_upcall_mask] = 1;
    }
    fillWallClock(m, shared[0]! * 4096, state);
    growTable(this.hv, space, slot, 1);
    this.tell({ xenolith: 'memory', slot, domid: dom, memory, layout });
    state.dset(slot, D.state, DOMAIN_STATE.live);
    return asDomid(dom);
  }
  async domainDestroy(dom: Domid): Promise<number> {
    const { state } = this.hv, slot = state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    // One that an earlier Dom0 began to destroy is taken up again.
    if (this.ending.has(dom)) return -EBUSY;
    this.ending.add(dom);
    state.dset(slot, D.state, DOMAIN_STATE.dying);
    kickDomain(this.hv, slot);
    const deadline = performance.now() + END_PATIENCE_MS;
    let forced = false;
    for (let v = 0; v < state.dget(slot, D.vcpus); v++) {
      while (state.vget(slot, v, V.started)) {
        const wait = Atomics.waitAsync(state.words, state.vcpu(slot, v) + V.started, 1, 100);
        if (wait.async) await wait.value;
        if (!forced && performance.now() > deadline) { forced = true; this.tell({ xenolith: 'end', slot, domid: dom, force: true }); }
      }
    }
    channels.closeAll(this.hv, slot);
    forgetGrants(this.hv, slot);
    this.contexts.delete(slot);
    this.hv.memories.accept({ drop: { slot, domid: dom } });
    this.collecting ??= setTimeout(() => { this.collecting = undefined; this.hv.memories.collect(); }, collectDelayMs(0)).unref();
    this.tell({ xenolith: 'end', slot, domid: dom, force: false });
    state.dset(slot, D.domid, 0);
    state.dset(slot, D.state, DOMAIN_STATE.free);
    this.ending.delete(dom);
    domainChanged(this.hv);
    return 0;
  }
  domainPause(dom: Domid): number {
    const slot = this.hv.state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    Atomics.add(this.hv.state.words, this.hv.state.domain(slot) + D.paused, 1);
    kickDomain(this.hv, slot);
    this.awaitStandstill(slot);
    return 0;
  }
  /** Paused vCPUs give their pCPU up within microseconds; one that does not is not waited for. */
  private awaitStandstill(slot: number): void {
    const { state } = this.hv, deadline = performance.now() + STANDSTILL_MS;
    for (let v = 0; v < state.dget(slot, D.vcpus); v++) {
      while (state.vget(slot, v, V.granted) && performance.now() < deadline) Atomics.wait(state.words, state.vcpu(slot, v) + V.granted, 1, 0.1);
    }
  }
  domainUnpause(dom: Domid): number {
    const { state } = this.hv, slot = state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    if (state.dget(slot, D.paused) > 0) Atomics.sub(state.words, state.domain(slot) + D.paused, 1);
    if (state.dget(slot, D.paused) === 0) this.startFirst(dom, slot);
    kickDomain(this.hv, slot);
    return 0;
  }
  /** Gives a built domain its first thread. */
  private startFirst(dom: Domid, slot: number): void {
    const { state } = this.hv, boot = this.contexts.get(slot);
    if (!boot || state.vget(slot, 0, V.started)) return;
    state.vset(slot, 0, V.started, 1);
    this.tell({ xenolith: 'start', slot, domid: dom, vcpu: 0, start: { boot } });
    this.contexts.delete(slot);
  }
  domainShutdown(dom: Domid, reason: number): number {
    const slot = this.hv.state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    shutdownDomain(this.hv, slot, reason);
    return 0;
  }
  domainResume(dom: Domid): number {
    const slot = this.hv.state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    return resumeDomain(this.hv, slot) ? 0 : -EINVAL;
  }
  domainInfo(dom: Domid): DomainInfo | number {
    const slot = this.hv.state.slotOf(dom);
    return slot < 0 ? -ESRCH : this.infoOf(slot);
  }
  private infoOf(slot: number): DomainInfo {
    const { state } = this.hv, vcpus = state.dget(slot, D.vcpus), hex = (n: number): string => (n >>> 0).toString(16).padStart(8, '0');
    const all = Array.from({ length: vcpus }, (_, v) => v), dom = asDomid(state.dget(slot, D.domid));
    const u = [0, 1, 2, 3].map(i => hex(state.dget(slot, D.uuid + i))).join('');
    const m = slot ? this.hv.memories.get(slot, dom) : undefined, reason = shutdownReason(this.hv, slot), shutdown = reason !== undefined;
    const running = slot === 0 || all.some(v => state.vget(slot, v, V.runstate) === RUNSTATE_running && state.vget(slot, v, V.granted));
    const paused = state.dget(slot, D.paused) > 0;
    return {
      domid: dom, slot, uuid: `${u.slice(0, 8)}-${u.slice(8, 12)}-${u.slice(12, 16)}-${u.slice(16, 20)}-${u.slice(20)}`,
      running, blocked: !running && !paused && !shutdown && all.every(v => state.vget(slot, v, V.blocked) !== 0), paused,
      dying: state.dget(slot, D.state) === DOMAIN_STATE.dying, shutdown,
      crashed: reason === SHUTDOWN_crash, shutdownReason: reason ?? 0,
      memKib: m ? allocatedFrames(spaceOfMemory(m)) * 4 : 0, maxMemKib: state.dget(slot, D.maxMemKib),
      vcpusOnline: all.filter(v => state.vget(slot, v, V.up)).length, vcpus,
      cpuTimeNs: slot === 0 ? dom0TimeNs() : all.reduce((t, v) => t + state.vlong(slot, v, V.cpuTime) + (state.vget(slot, v, V.granted) ? state.now() - state.vlong(slot, v, V.ranSince) : 0n), 0n),
      sharedInfoMfn: mfnOf(slot, state.dget(slot, D.sharedInfo) / 4096),
    };
  }
  domainList(): DomainInfo[] {
    return Array.from({ length: MAX_SLOTS }, (_, s) => s).filter(s => this.hv.state.dget(s, D.state) !== DOMAIN_STATE.free && (s === 0 || this.hv.state.dget(s, D.domid) !== 0))
      .map(s => this.infoOf(s)).sort((a, b) => a.domid - b.domid);
  }
  domainSetMaxMem(dom: Domid, kib: number): number {
    const s = this.spaceOf(dom);
    if (!s) return -ESRCH;
    if (!(kib > 0)) return -EINVAL;
    setMaxFrames(s, Math.floor(kib / 4));
    this.hv.state.dset(s.slot, D.maxMemKib, kib);
    return 0;
  }
  domainSetScheduler(dom: Domid, weight: number, cap: number): number {
    const { state } = this.hv, slot = state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    if (!(weight >= 1 && weight <= 65535) || !(cap >= 0 && cap <= 0xffff)) return -EINVAL;
    state.dset(slot, D.weight, weight);
    state.dset(slot, D.cap, cap);
    return 0;
  }
  domainSendNmi(dom: Domid, vcpu: number): number {
    const { state } = this.hv, slot = state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    if (!(vcpu >= 0 && vcpu < state.dget(slot, D.vcpus)) || !state.vget(slot, vcpu, V.up)) return -EINVAL;
    state.vset(slot, vcpu, V.nmi, 1);
    kick(this.hv, slot, vcpu);
    return 0;
  }
  vcpuInfo(dom: Domid): VcpuInfo[] | number {
    const { state } = this.hv, slot = state.slotOf(dom);
    if (slot < 0) return -ESRCH;
    return Array.from({ length: state.dget(slot, D.vcpus) }, (_, vcpu) => {
      const granted = slot > 0 && state.vget(slot, vcpu, V.granted) !== 0, view = new DataView(runstateInfo(state, slot, vcpu).buffer), { time } = vcpu_runstate_info.fields;
      return {
        vcpu, online: state.vget(slot, vcpu, V.up) !== 0, running: slot === 0 || granted && state.vget(slot, vcpu, V.runstate) === RUNSTATE_running,
        blocked: state.vget(slot, vcpu, V.blocked) !== 0,
        cpuTimeNs: slot === 0 ? dom0TimeNs() : state.vlong(slot, vcpu, V.cpuTime) + (granted ? state.now() - state.vlong(slot, vcpu, V.ranSince) : 0n),
        runstateNs: [0, 1, 2, 3].map(n => view.getBigUint64(time + 8 * n, true)),
      };
    });
  }
  populate(dom: Domid, frameCount: number): Mfn[] | number {
    const s = this.spaceOf(dom);
    if (!s) return -ESRCH;
    const got = allocateFrames(s, frameCount);
    return typeof got === 'number' ? got : got.map(i => mfnOf(s.slot, i));
  }
  foreign(dom: Domid): ForeignMemory | number {
    const m = this.memoryOf(dom);
    return m ? { bytes: m.bytes, slot: m.slot } : -ESRCH;
  }
  setM2p(dom: Domid, mfns: readonly Mfn[], firstPfn: number): number {
    const s = this.spaceOf(dom);
    if (!s) return -ESRCH;
    mfns.forEach((f, i) => setM2pEntry(s, mfnIndex(f), firstPfn + i, 0));
    return 0;
  }
  setContext(dom: Domid, boot: BootContext | ProgramContext): number {
    const s = this.spaceOf(dom);
    if (!s) return -ESRCH;
    if ('program' in boot) {
      if (!(boot.program >= 0 && boot.program < s.layout.end - s.layout.first) || s.layout.vcpus !== 1) return -EINVAL;
    } else {
      if (mfnSlot(boot.cr3Mfn) !== s.slot) return -EINVAL;
      const error = withPageLock(s, () => pinTable(s, mfnIndex(boot.cr3Mfn), PGT.l4_page_table));
      if (error) return error;
    }
    this.contexts.set(s.slot, boot);
    this.tell({ xenolith: 'context', slot: s.slot, domid: dom, boot });
    this.hv.state.vset(s.slot, 0, V.up, 1);
    return 0;
  }
  debugKey(key: string): number {
    // Xen's own C crashes the host; here Dom0 alone, which is started again.
    if (key === 'C') { this.tell({ xenolith: 'end', slot: 0, domid: 0, force: true }); return 0; }
    return debugKey(this.hv, key);
  }
  debugRequest(dom: Domid, vcpu: number, request: DebugRequest): Promise<DebugAnswer> {
    const slot = this.hv.state.slotOf(dom);
    if (slot > 0) this.startFirst(dom, slot);
    return this.debug.request(dom, vcpu, request);
  }
  debugAttach(dom: Domid, onStop: () => void): DebugSession | number {
    const session = this.debug.attach(dom, onStop);
    if (typeof session !== 'number') this.startFirst(dom, this.hv.state.slotOf(dom));
    return session;
  }

  // ---- host
  physInfo(): { pcpus: number; totalKib: number; freeKib: number; cpuKhz: number } {
    const { limit, available } = this.memory();
    return { pcpus: this.hv.state.words[H.pcpus]!, totalKib: Math.floor((limit > 0 && limit < 2 ** 50 ? limit : available) / 1024), freeKib: Math.floor(available / 1024), cpuKhz: 1_000_000 };
  }
  /** Each of these reads files of the kernel's, which takes longer than all else that is told of the host: not for each who asks. */
  private memory(): HostMemory {
    const nowMs = performance.now();
    if (this.lastMemory && nowMs - this.lastMemory.atMs < MEMORY_MS) return this.lastMemory;
    return this.lastMemory = { atMs: nowMs, limit: process.constrainedMemory(), available: process.availableMemory() };
  }
  schedulerInfo(): SchedulerInfo {
    const { words } = this.hv.state;
    return { pcpus: words[H.pcpus]!, freePcpus: Atomics.load(words, H.freePcpus), waiting: Atomics.load(words, H.waiting), rateLimitUs: RATE_LIMIT_US };
  }
  eventLatency(): EventLatency { return this.events.latency; }
  readConsole(clear: boolean): string { return readConsole(this.hv.state, clear); }
  log(line: string): void { appendConsole(this.hv.state, line); }
  systemTimeNs(): bigint { return this.hv.state.now(); }
  onDomainEvent(handler: () => void): void { this.events.onDomain(handler); }
  traceDomain(dom: Domid, on: boolean): number {
    const slot = this.hv.state.slotOf(dom);
    if (slot < 0) return -ESRCH;
    setTrace(this.hv.state, slot, on);
    return 0;
  }
  perfSwitch(dom: Domid, on: boolean): number {
    const slot = this.hv.state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    this.perfRead(dom);
    return switchPerf(this.hv, slot, on) ? 0 : -EBUSY;
  }
  perfAsk(dom: Domid): number {
    const slot = this.hv.state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    askSamples(this.hv, slot);
    return 0;
  }
  perfRead(dom: Domid): PerfReading[] | number {
    const { state } = this.hv, slot = state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    return Array.from({ length: state.dget(slot, D.vcpus) }, (_, vcpu) => {
      const key = state.perfOf(slot, vcpu), { written, ...reading } = readPerf(state, slot, vcpu, this.samplesRead.get(key) ?? 0, hypercallName);
      this.samplesRead.set(key, written);
      return reading;
    });
  }
  perfCounters(dom: Domid): PerfCounters[] | number {
    const { state } = this.hv, slot = state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    return Array.from({ length: state.dget(slot, D.vcpus) }, (_, vcpu) => readCounters(state, slot, vcpu, hypercallName));
  }
  readTrace(dom: Domid, kinds: readonly TraceKind[], last: number): string[] | number {
    const { state } = this.hv, slot = state.slotOf(dom);
    if (slot < 0) return -ESRCH;
    const isWanted = (kind: number): boolean => kinds.includes(kind === TRACE.hypercall || kind === TRACE.hypercallDone ? 'hypercalls' : 'events');
    const lines = readTrace(state, hypercallName, (domid, kind) => domid === dom && isWanted(kind)).slice(-last);
    return lines.length === 0 && !traced(state, slot) ? -ENODATA : lines;
  }
}

/** The next domain's id: ascending, so that one is not used again while somebody may still remember it. */
function nextDomid(state: HypervisorState): number {
  for (;;) {
    const dom = state.words[H.nextDomid]!;
    state.words[H.nextDomid] = dom + 1 < DOMID_FIRST_RESERVED ? dom + 1 : 1;
    if (state.slotOf(dom) < 0) return dom;
  }
}
/** CPU time of this thread. */
function dom0TimeNs(): bigint {
  const { user, system } = process.threadCpuUsage();
  return BigInt(Math.round((user + system) * 1000));
}
