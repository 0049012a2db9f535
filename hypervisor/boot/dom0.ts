// Dom0's hypercalls, on Dom0's own thread (see public/dom0-hypercalls.ts for the contract). Checks are those of a
// guest's calls; what differs is that arguments are values and that Dom0 has no memory of its own to map things into.
import { parentPort, type MessagePort } from 'node:worker_threads';
import { CODE, layoutMemory } from '../cpu/layout.ts';
import { type Hypervisor, domainChanged, kickDomain, shutdownDomain } from '../domain/hypervisor.ts';
import { Memories, type DomainMemory } from '../domain/memories.ts';
import { D, DOMAIN_STATE, H, HypervisorState, MAX_PORTS, MAX_SLOTS, MAX_VCPUS, V } from '../domain/state.ts';
import * as channels from '../event/channels.ts';
import { entryWord, GrantPins, growTable, type Pin } from '../grant/table.ts';
import { locked } from '../lib/lock.ts';
import { allocatedFrames, allocateFrames, allocateSharedFrames, setM2pEntry, setMaxFrames } from '../mm/frames.ts';
import { PGT } from '../mm/frame-table.ts';
import { pinTable } from '../mm/page-tables.ts';
import { createSpace, type Space, withPageLock } from '../mm/space.ts';
import { initSpace } from '../mm/xen-tables.ts';
import type { BootContext, CreateDomain, Dom0Hypercalls, DomainInfo, ForeignMemory, GrantMapping } from '../public/dom0-hypercalls.ts';
import { EBUSY, EINVAL, ENOMEM, ENOSPC, ESRCH } from '../public/errno.ts';
import { GTF_permit_access } from '../public/grant_table.ts';
import { RUNSTATE_running } from '../public/vcpu.ts';
import { SHUTDOWN_crash } from '../public/sched.ts';
import { domid as asDomid, mfnIndex, mfnOf, mfnSlot, type Domid, type EvtchnPort, type GrantRef, type Mfn } from '../public/types.ts';
import { fillWallClock } from '../time/pvclock.ts';
import { appendConsole, readConsole } from '../trace/console.ts';
import { debugKey } from '../trace/debug-keys.ts';
import type { Dom0Request } from './main.ts';

/** Frames beyond a domain's memory for what ballooning and exchanges need meanwhile. */
const SLACK_FRAMES = 16;
const END_PATIENCE_MS = 2000;
const GIB4_FRAMES = 0x100000;

export interface Dom0Data { readonly buffer: SharedArrayBuffer; readonly memoryPort: MessagePort; readonly options: unknown }

/** To be called once by Dom0's thread with its workerData. */
export function attachDom0(workerData: unknown): Dom0Hypercalls & { readonly options: unknown } {
  const { buffer, memoryPort, options } = workerData as Dom0Data;
  const state = new HypervisorState(buffer);
  return Object.assign(new Dom0({ state, memories: new Memories(memoryPort) }), { options });
}

class Dom0 implements Dom0Hypercalls {
  private readonly hv: Hypervisor;
  private readonly handlers = new Map<number, () => void>();
  private readonly domainHandlers: (() => void)[] = [];
  private readonly spaces = new Map<number, { domid: number; space: Space; pins: GrantPins }>();
  private readonly contexts = new Map<number, BootContext>();
  private readonly pins = new Map<number, Pin>();
  private nextHandle = 1;
  private seenExc: number;

  constructor(hv: Hypervisor) {
    this.hv = hv;
    this.seenExc = hv.state.words[H.dom0Exc]!;
    void this.listen();
  }

  // ---- events
  private async listen(): Promise<void> {
    const { words } = this.hv.state;
    for (;;) {
      const bell = Atomics.load(words, H.dom0Bell);
      this.drain();
      const wait = Atomics.waitAsync(words, H.dom0Bell, bell);
      if (wait.async) await wait.value;
      // Between two rounds the event loop gets its turn, or a chatty guest would starve input and output.
      await new Promise<void>(resolve => { setImmediate(resolve); });
    }
  }
  private drain(): void {
    const { state } = this.hv;
    for (let w = 0; w < MAX_PORTS; w += 32) {
      const at = state.dom0Pending(w);
      if (!Atomics.load(state.words, at)) continue;
      for (let bits = Atomics.exchange(state.words, at, 0); bits; bits &= bits - 1) this.handlers.get(w + 31 - Math.clz32(bits & -bits))?.();
    }
    const exc = Atomics.load(state.words, H.dom0Exc);
    if (exc !== this.seenExc) { this.seenExc = exc; for (const h of this.domainHandlers) h(); }
  }
  evtchnAllocUnbound(dom: Domid, remote: Domid): EvtchnPort | number {
    const slot = this.hv.state.slotOf(dom);
    return slot < 0 ? -ESRCH : channels.allocUnbound(this.hv, slot, remote);
  }
  evtchnBindInterdomain(remote: Domid, remotePort: EvtchnPort): EvtchnPort | number { return channels.bindInterdomain(this.hv, 0, remote, remotePort); }
  evtchnBindVirq(virq: number): EvtchnPort | number { return channels.bindVirq(this.hv, 0, virq, 0); }
  evtchnSend(port: EvtchnPort): number { return channels.send(this.hv, 0, port); }
  evtchnClose(port: EvtchnPort): number { this.handlers.delete(port); return channels.close(this.hv, 0, port); }
  onEvent(port: EvtchnPort, handler: () => void): void {
    this.handlers.set(port, handler);
    // What came before the handler did is not lost.
    setImmediate(() => { if (this.handlers.get(port) === handler) handler(); });
  }

  // ---- grants
  private memoryOf(dom: Domid): DomainMemory | undefined {
    const slot = this.hv.state.slotOf(dom);
    return slot <= 0 ? undefined : this.hv.memories.get(slot, dom);
  }
  private spaceOf(dom: Domid): { space: Space; pins: GrantPins } | undefined {
    const m = this.memoryOf(dom);
    if (!m) return undefined;
    let s = this.spaces.get(m.slot);
    if (s?.domid !== dom) {
      s = { domid: dom, space: createSpace(m.bytes.buffer, m.layout, m.slot), pins: new GrantPins(this.hv, m) };
      this.spaces.set(m.slot, s);
    }
    return s;
  }
  gnttabMap(dom: Domid, ref: GrantRef, readOnly: boolean): GrantMapping | number {
    const s = this.spaceOf(dom);
    if (!s) return -ESRCH;
    const pin = s.pins.pin(ref, 0, readOnly);
    if (typeof pin === 'number') return -EINVAL;
    const handle = this.nextHandle++;
    this.pins.set(handle, pin);
    return { domid: dom, ref, readOnly, handle, mfn: mfnOf(s.space.slot, pin.index), bytes: s.space.bytes.subarray(pin.index * 4096, pin.index * 4096 + 4096) };
  }
  gnttabUnmap(mapping: GrantMapping): number {
    const pin = this.pins.get(mapping.handle);
    if (!pin) return -EINVAL;
    this.pins.delete(mapping.handle);
    this.spaceOf(mapping.domid)?.pins.release(pin);
    return 0;
  }
  gnttabWrote(mapping: GrantMapping): void {
    const m = this.memoryOf(mapping.domid);
    if (!m) return;
    const at = m.layout.codeMap + mfnIndex(mapping.mfn);
    if (!(m.bytes[at]! & CODE.translated)) return;
    m.bytes[at]! |= CODE.dirtied;
    Atomics.add(this.hv.state.words, this.hv.state.domain(m.slot) + D.dirtyCode, 1);
    kickDomain(this.hv, m.slot);
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
    if (!(c.vcpus >= 1 && c.vcpus <= MAX_VCPUS) || !(frames > 0)) return -EINVAL;
    const layout = layoutMemory(c.vcpus, frames + SLACK_FRAMES);
    if (layout.end > GIB4_FRAMES) return -ENOMEM;
    const slot = locked(state.words, H.tableLock, () => {
      for (let s = 1; s < MAX_SLOTS; s++) if (state.dget(s, D.state) === DOMAIN_STATE.free) { state.dset(s, D.state, DOMAIN_STATE.dying); return s; }
      return -1;
    });
    if (slot < 0) return -ENOSPC;
    const dom = state.words[H.nextDomid]!++;
    let memory: WebAssembly.Memory;
    const pages = layout.totalBytes / 65536;
    try { memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }); } catch { state.dset(slot, D.state, DOMAIN_STATE.free); return -ENOMEM; }
    // Every word of an earlier domain in this slot is forgotten.
    state.words.fill(0, state.domain(slot), state.domain(slot) + 64);
    for (let v = 0; v < MAX_VCPUS; v++) state.words.fill(0, state.vcpu(slot, v), state.vcpu(slot, v) + 64);
    state.dset(slot, D.domid, dom);
    state.dset(slot, D.vcpus, c.vcpus);
    state.dset(slot, D.maxMemKib, frames * 4);
    state.dset(slot, D.paused, 1);
    state.dset(slot, D.weight, c.weight ?? 256);
    state.dset(slot, D.cap, c.cap ?? 0);
    state.dset(slot, D.totalBytes, pages);
    c.uuid.replace(/-/g, '').match(/.{8}/g)?.forEach((h, i) => { if (i < 4) state.dset(slot, D.uuid + i, parseInt(h, 16) | 0); });
    const buffer = memory.buffer as unknown as SharedArrayBuffer, space = createSpace(buffer, layout, slot);
    this.hv.memories.accept({ add: { slot, domid: dom, memory, layout } });
    initSpace(space);
    setMaxFrames(space, frames);
    const shared = allocateSharedFrames(space, 1);
    if (typeof shared === 'number') { state.dset(slot, D.state, DOMAIN_STATE.free); return -ENOMEM; }
    state.dset(slot, D.sharedInfo, shared[0]! * 4096);
    for (let v = 0; v < c.vcpus; v++) {
      state.vset(slot, v, V.info, shared[0]! * 4096 + v * 64);
      space.bytes[shared[0]! * 4096 + v * 64 + 1] = 1;
    }
    fillWallClock(this.hv.memories.get(slot, dom)!, shared[0]! * 4096, state);
    growTable(this.hv, space, slot, 1);
    this.tell({ xenolith: 'memory', slot, domid: dom, memory, layout });
    state.dset(slot, D.state, DOMAIN_STATE.live);
    return asDomid(dom);
  }
  private tell(r: Dom0Request): void { parentPort?.postMessage(r); }

  async domainDestroy(dom: Domid): Promise<number> {
    const { state } = this.hv, slot = state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    if (Atomics.compareExchange(state.words, state.domain(slot) + D.state, DOMAIN_STATE.live, DOMAIN_STATE.dying) !== DOMAIN_STATE.live) return -EBUSY;
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
    this.contexts.delete(slot);
    this.spaces.delete(slot);
    this.hv.memories.accept({ drop: { slot, domid: dom } });
    this.tell({ xenolith: 'end', slot, domid: dom, force: false });
    state.dset(slot, D.domid, 0);
    state.dset(slot, D.state, DOMAIN_STATE.free);
    domainChanged(this.hv);
    return 0;
  }
  domainPause(dom: Domid): number {
    const slot = this.hv.state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    Atomics.add(this.hv.state.words, this.hv.state.domain(slot) + D.paused, 1);
    kickDomain(this.hv, slot);
    return 0;
  }
  domainUnpause(dom: Domid): number {
    const { state } = this.hv, slot = state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    if (state.dget(slot, D.paused) > 0) Atomics.sub(state.words, state.domain(slot) + D.paused, 1);
    const boot = this.contexts.get(slot);
    if (boot && state.dget(slot, D.paused) === 0 && !state.vget(slot, 0, V.started)) {
      state.vset(slot, 0, V.started, 1);
      this.tell({ xenolith: 'start', slot, domid: dom, vcpu: 0, boot });
      this.contexts.delete(slot);
    }
    kickDomain(this.hv, slot);
    return 0;
  }
  domainShutdown(dom: Domid, reason: number): number {
    const slot = this.hv.state.slotOf(dom);
    if (slot <= 0) return -ESRCH;
    shutdownDomain(this.hv, slot, reason);
    return 0;
  }
  domainInfo(dom: Domid): DomainInfo | number {
    const slot = this.hv.state.slotOf(dom);
    return slot < 0 ? -ESRCH : this.infoOf(slot);
  }
  private infoOf(slot: number): DomainInfo {
    const { state } = this.hv, vcpus = state.dget(slot, D.vcpus), hex = (n: number): string => (n >>> 0).toString(16).padStart(8, '0');
    const all = Array.from({ length: vcpus }, (_, v) => v), dom = asDomid(state.dget(slot, D.domid));
    const u = [0, 1, 2, 3].map(i => hex(state.dget(slot, D.uuid + i))).join('');
    const m = slot ? this.hv.memories.get(slot, dom) : undefined, shutdown = state.dget(slot, D.shutdown) !== 0;
    const running = slot === 0 || all.some(v => state.vget(slot, v, V.runstate) === RUNSTATE_running && state.vget(slot, v, V.granted));
    const paused = state.dget(slot, D.paused) > 0;
    return {
      domid: dom, slot, uuid: `${u.slice(0, 8)}-${u.slice(8, 12)}-${u.slice(12, 16)}-${u.slice(16, 20)}-${u.slice(20)}`,
      running, blocked: !running && !paused && !shutdown && all.every(v => state.vget(slot, v, V.blocked) !== 0), paused,
      dying: state.dget(slot, D.state) === DOMAIN_STATE.dying, shutdown,
      crashed: shutdown && state.dget(slot, D.shutdownReason) === SHUTDOWN_crash, shutdownReason: state.dget(slot, D.shutdownReason),
      memKib: m ? allocatedFrames(this.spaceOf(dom)!.space) * 4 : 0, maxMemKib: state.dget(slot, D.maxMemKib),
      vcpusOnline: all.filter(v => state.vget(slot, v, V.up)).length, vcpus,
      cpuTimeNs: all.reduce((t, v) => t + state.vlong(slot, v, V.cpuTime) + (slot && state.vget(slot, v, V.granted) ? state.now() - state.vlong(slot, v, V.ranSince) : 0n), 0n),
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
    setMaxFrames(s.space, Math.floor(kib / 4));
    this.hv.state.dset(s.space.slot, D.maxMemKib, kib);
    return 0;
  }
  populate(dom: Domid, frameCount: number): Mfn[] | number {
    const s = this.spaceOf(dom);
    if (!s) return -ESRCH;
    const got = allocateFrames(s.space, frameCount);
    return typeof got === 'number' ? got : got.map(i => mfnOf(s.space.slot, i));
  }
  foreign(dom: Domid): ForeignMemory | number {
    const m = this.memoryOf(dom);
    return m ? { bytes: m.bytes, slot: m.slot } : -ESRCH;
  }
  setM2p(dom: Domid, mfns: readonly Mfn[], firstPfn: number): number {
    const s = this.spaceOf(dom);
    if (!s) return -ESRCH;
    mfns.forEach((f, i) => setM2pEntry(s.space, mfnIndex(f), firstPfn + i, 0));
    return 0;
  }
  setContext(dom: Domid, boot: BootContext): number {
    const s = this.spaceOf(dom);
    if (!s) return -ESRCH;
    if (mfnSlot(boot.cr3Mfn) !== s.space.slot) return -EINVAL;
    const error = withPageLock(s.space, () => pinTable(s.space, mfnIndex(boot.cr3Mfn), PGT.l4_page_table));
    if (error) return error;
    this.contexts.set(s.space.slot, boot);
    this.hv.state.vset(s.space.slot, 0, V.up, 1);
    return 0;
  }
  debugKey(key: string): number { return debugKey(this.hv, key); }

  // ---- host
  physInfo(): { pcpus: number; totalKib: number; freeKib: number; cpuKhz: number } {
    const { state } = this.hv, totalKib = Math.floor(process.constrainedMemory() > 0 && process.constrainedMemory() < 2 ** 50 ? process.constrainedMemory() / 1024 : process.availableMemory() / 1024);
    return { pcpus: state.words[H.pcpus]!, totalKib, freeKib: Math.floor(process.availableMemory() / 1024), cpuKhz: 1_000_000 };
  }
  readConsole(clear: boolean): string { return readConsole(this.hv.state, clear); }
  log(line: string): void { appendConsole(this.hv.state, line); }
  systemTimeNs(): bigint { return this.hv.state.now(); }
  onDomainEvent(handler: () => void): void { this.domainHandlers.push(handler); }
}
