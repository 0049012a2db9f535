// The debugger's hand on a vCPU, on the vCPU's own thread: answers the mailbox, holds, steps, keeps breakpoints and
// the instruction trace. The thread's loop calls serve() whenever it has been kicked, and nothing else here on the
// way of a vCPU that nobody debugs.
import { ACCESS, VIEW, type Watch } from '../cpu/processor-api.ts';
import { raiseAttention } from '../domain/memories.ts';
import type { Vcpu } from '../domain/vcpu.ts';
import { spaceOf } from '../mm/flush.ts';
import { isOwned, PGT, typeCount, typeOf } from '../mm/frame-table.ts';
import { type Space, withPageLock } from '../mm/space.ts';
import { DEBUG, DEBUG_DATA_BYTES, DEBUG_STOP, type DebugStop, REGISTERS_BYTES, TRACE_MAX, WATCH, WATCH_MAX, WATCHES_MAX } from '../public/debug.ts';
import { EBUSY, EFAULT, EINVAL, ENOSPC, ENOSYS, EPERM } from '../public/errno.ts';
import { InstructionRing } from './instruction-ring.ts';
import { B, Mailbox } from './mailbox.ts';
import { readRegisters, writeRegisters } from './registers.ts';

const PAGE_BYTES = 4096;

export class DebugAgent {
  /** The vCPU must not run guest code. */
  held = false;
  private stepping = false;
  private ring: InstructionRing | undefined;
  /** Breakpoint under the first instruction after a stop: passed over once. */
  private passOver: bigint | undefined;
  private readonly breakpoints = new Set<bigint>();
  private readonly watches = new Map<string, Watch>();
  private readonly v: Vcpu;
  private readonly box: Mailbox;

  constructor(v: Vcpu) {
    this.v = v;
    this.box = new Mailbox(v.hv.state, v.slot);
    if (this.mine && this.box.get(B.holdNew)) this.stop(DEBUG_STOP.start);
  }
  private get mine(): boolean { return this.box.get(B.domid) === this.v.domid; }
  /** Instructions must be run one by one. */
  get slow(): boolean { return this.stepping || this.ring !== undefined; }

  private hold(reason: DebugStop): void {
    this.held = true;
    this.stepping = false;
    this.box.setStop(this.v.vcpuId, reason);
  }
  /** The vCPU has stopped by itself. */
  stop(reason: DebugStop): void {
    // Behind a watched access nothing of the next instruction has been looked at.
    if (reason !== DEBUG_STOP.watch) this.passOver = this.v.processor.rip;
    this.hold(reason);
    this.box.bump(B.stops);
  }
  private resume(stepping: boolean): void {
    this.held = false;
    this.stepping = stepping;
    this.box.setStop(this.v.vcpuId, DEBUG_STOP.none);
    this.keepSlow();
  }
  /** Brings the vCPU's loop to where it asks for `slow`. */
  keepSlow(): void { if (this.slow) raiseAttention(this.v.memory, this.v.vcpuId); }

  /** Answers a request, if there is one for this vCPU. */
  serve(): void {
    const { box } = this, asked = box.get(B.asked);
    if (asked === box.get(B.answered) || box.get(B.vcpu) !== this.v.vcpuId || !this.mine) return;
    const length = Math.min(Math.max(0, box.get(B.length)), DEBUG_DATA_BYTES);
    // A request that fails must not take the domain with it.
    let result: number;
    box.set(B.length, 0);
    try { result = this.act(box.get(B.operation), box.address, length); } catch { result = -EINVAL; }
    box.set(B.result, result);
    box.set(B.answered, asked);
    Atomics.notify(box.words, box.at + B.answered);
  }
  private answer(data: Uint8Array): void {
    this.box.data.set(data.subarray(0, DEBUG_DATA_BYTES));
    this.box.set(B.length, Math.min(data.length, DEBUG_DATA_BYTES));
  }

  private act(operation: number, address: bigint, length: number): number {
    const { v } = this;
    switch (operation) {
      case DEBUG.hold: if (!this.held) this.hold(DEBUG_STOP.asked); return 0;
      case DEBUG.resume: this.resume(false); return 0;
      case DEBUG.step: if (!this.held) return -EBUSY; this.resume(true); return 0;
      case DEBUG.readRegisters: this.answer(readRegisters(v)); return 0;
      case DEBUG.writeRegisters:
        if (!this.held) return -EBUSY;
        if (length !== REGISTERS_BYTES) return -EINVAL;
        writeRegisters(v, this.box.data.slice(0, length));
        return 0;
      case DEBUG.readMemory: return this.readMemory(address, length);
      case DEBUG.writeMemory: return this.writeMemory(address, this.box.data.slice(0, length));
      case DEBUG.setBreakpoint: return this.setBreakpoint(address);
      case DEBUG.clearBreakpoint: this.clearBreakpoint(address); return 0;
      case DEBUG.setWatch: return this.setWatch(address, length);
      case DEBUG.clearWatch: return this.clearWatch(address, length);
      case DEBUG.readWatch: return this.readWatch();
      case DEBUG.traceInstructions: return this.traceInstructions(Number(address));
      case DEBUG.readInstructions: return this.readInstructions(address);
      case DEBUG.counters: this.answer(new TextEncoder().encode(JSON.stringify(v.processor.counters()))); return 0;
      case DEBUG.release:
        for (const va of [...this.breakpoints]) this.clearBreakpoint(va);
        for (const watch of this.watches.values()) v.processor.clearWatch(watch);
        this.watches.clear();
        this.resume(false);
        return 0;
      default: return -ENOSYS;
    }
  }

  /** A guest kernel's tables map its users too; its users' tables do not map it. */
  private translate(va: bigint, access: 0 | 1 | 2): number {
    const { processor } = this.v, p = processor.translate(va, access, VIEW.kernel);
    return p >= 0 ? p : processor.translate(va, access, VIEW.user);
  }
  private readMemory(va: bigint, length: number): number {
    let done = 0;
    while (done < length) {
      const at = BigInt.asUintN(64, va + BigInt(done)), n = Math.min(length - done, PAGE_BYTES - Number(at & 0xfffn)), p = this.translate(at, ACCESS.read);
      if (p < 0) break;
      this.box.data.set(this.v.memory.bytes.subarray(p, p + n), done);
      done += n;
    }
    this.box.set(B.length, done);
    return done > 0 || length === 0 ? done : -EFAULT;
  }
  /** Read-only pages too (kernel text), but no frame whose contents the hypervisor has checked. */
  private writeMemory(va: bigint, data: Uint8Array): number {
    const space = spaceOf(this.v);
    // Under the lock no sibling makes a table of the frame between check and write.
    return withPageLock(space, () => {
      const parts = this.writableParts(space, va, data.length);
      if (typeof parts === 'number') return parts;
      for (const { from, to, bytes } of parts) {
        this.v.memory.bytes.set(data.subarray(from, from + bytes), to);
        this.v.processor.invalidateCode(to >>> 12);
      }
      return data.length;
    });
  }
  private writableParts(space: Space, va: bigint, length: number): { from: number; to: number; bytes: number }[] | number {
    const parts: { from: number; to: number; bytes: number }[] = [];
    for (let from = 0; from < length;) {
      const at = BigInt.asUintN(64, va + BigInt(from)), bytes = Math.min(length - from, PAGE_BYTES - Number(at & 0xfffn)), to = this.translate(at, ACCESS.read);
      if (to < 0) return -EFAULT;
      const frame = to >>> 12;
      if (!isOwned(space, frame) || typeCount(space, frame) > 0 && typeOf(space, frame) !== PGT.writable_page) return -EPERM;
      parts.push({ from, to, bytes });
      from += bytes;
    }
    return parts;
  }

  private setBreakpoint(va: bigint): number {
    const { processor } = this.v, before = processor.activeView;
    for (const view of [VIEW.kernel, VIEW.user]) {
      if (processor.translate(va, ACCESS.execute, view) < 0) continue;
      processor.activeView = view;
      processor.setBreakpoint(va);
      processor.activeView = before;
      this.breakpoints.add(va);
      return 0;
    }
    return -EFAULT;
  }
  private clearBreakpoint(va: bigint): void {
    this.breakpoints.delete(va);
    this.v.processor.clearBreakpoint(va);
  }

  /** What the request's data says. */
  private askedWatch(va: bigint, length: number): { key: string; watch: Watch } | undefined {
    const { data } = this.box, kind = data[0]!, bytes = data[1]! | data[2]! << 8, reads = (kind & WATCH.read) !== 0, writes = (kind & WATCH.write) !== 0;
    if (length !== 3 || bytes < 1 || bytes > WATCH_MAX || !reads && !writes) return undefined;
    return { key: `${va} ${bytes} ${reads} ${writes}`, watch: { va, bytes, reads, writes } };
  }
  private setWatch(va: bigint, length: number): number {
    const asked = this.askedWatch(va, length);
    if (!asked) return -EINVAL;
    if (this.watches.has(asked.key)) return 0;
    if (this.watches.size >= WATCHES_MAX) return -ENOSPC;
    this.watches.set(asked.key, asked.watch);
    this.v.processor.setWatch(asked.watch);
    return 0;
  }
  private clearWatch(va: bigint, length: number): number {
    const key = this.askedWatch(va, length)?.key ?? '', watch = this.watches.get(key);
    if (watch) this.v.processor.clearWatch(watch);
    this.watches.delete(key);
    return 0;
  }
  private readWatch(): number {
    const hit = this.v.processor.watchHit, data = new Uint8Array(9);
    if (!hit) return -EINVAL;
    new DataView(data.buffer).setBigUint64(0, hit.va, true);
    data[8] = (hit.reads ? WATCH.read : 0) | (hit.writes ? WATCH.write : 0);
    this.answer(data);
    return 0;
  }

  // ---- one instruction at a time
  private traceInstructions(count: number): number {
    if (!(count >= 0 && count <= TRACE_MAX)) return -EINVAL;
    this.ring = count === 0 ? undefined : this.ring?.capacity === count ? this.ring : new InstructionRing(this.v.processor, count);
    this.keepSlow();
    return 0;
  }
  /** address: how many in the low half, how many to leave out in the high half. */
  private readInstructions(address: bigint): number {
    if (!this.ring) return -EINVAL;
    const out = new Uint8Array(DEBUG_DATA_BYTES), bytes = this.ring.read(Number(address & 0xffffffffn), Number(address >> 32n), out);
    this.answer(out.subarray(0, bytes));
    return bytes;
  }
  /** Before an instruction of a slow vCPU: false when a breakpoint stops it here. */
  before(): boolean {
    const { processor, pv } = this.v, { rip } = processor;
    if (!this.stepping && this.breakpoints.has(rip) && this.passOver !== rip) { this.stop(DEBUG_STOP.breakpoint); return false; }
    this.passOver = undefined;
    this.ring?.note(processor, pv.kernelMode);
    return true;
  }
  /** After it: true when the vCPU has stopped. */
  after(): boolean {
    if (!this.stepping) return false;
    this.stop(DEBUG_STOP.step);
    return true;
  }
  get mayDeliver(): boolean { return !this.stepping; }
}
