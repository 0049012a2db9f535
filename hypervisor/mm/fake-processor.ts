// A processor for tests: memory and registers, a page walk like the real one's, a TLB that really goes stale. It runs
// no instructions.
import { ACCESS, PFEC, VIEW } from '../cpu/processor-api.ts';
import type { Access, PrivilegedInstruction, Processor, View } from '../cpu/processor-api.ts';
import type { MemoryLayout } from '../cpu/layout.ts';
import { layoutMemory } from '../cpu/layout.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { domid } from '../public/types.ts';
import { createPvState } from '../traps/pv-state.ts';

const PAGE = 4096;
const NO_PRIVILEGED: PrivilegedInstruction = { name: 'hlt', length: 1, bits: 0, reg: 0, system: 0, port: -1, rep: false };

export class FakeProcessor implements Processor {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly view: DataView<SharedArrayBuffer>;
  readonly gpr = new BigUint64Array(16);
  rip = 0n; rflags = 0x202n;
  readonly selectors = new Uint16Array(6);
  fsBase = 0n; gsBase = 0n;
  longMode = true;
  activeView: View = VIEW.kernel;
  taskSwitched = false; tscExits = false; tscAux = 0;
  readonly debug = new BigUint64Array(8);
  vector = 0; errorCode = -1; cr2 = 0n;
  privileged = NO_PRIVILEGED;
  readonly roots = [-1, -1];
  readonly slot: number;
  fullFlushes = 0; writableFlushes = 0;
  readonly tlb = new Map<string, number>();
  readonly invalidated: number[] = [];
  segmentBases = new Map<number, bigint>();

  constructor(memory: WebAssembly.Memory, slot: number) {
    this.memory = memory;
    this.bytes = new Uint8Array(memory.buffer as unknown as SharedArrayBuffer);
    this.view = new DataView(memory.buffer as unknown as SharedArrayBuffer);
    this.slot = slot;
  }

  run(): number { throw new Error('the fake processor runs nothing'); }
  step(): number { throw new Error('the fake processor runs nothing'); }
  setRoot(view: View, maddr: bigint): void { this.roots[view] = Number(maddr & 0xffff_f000n); this.tlb.clear(); }
  flushTlb(): void { this.tlb.clear(); this.fullFlushes++; }
  flushWritable(): void { for (const key of [...this.tlb.keys()]) if (key.endsWith(':true')) this.tlb.delete(key); this.writableFlushes++; }
  flushPage(va: bigint): void { for (const key of [...this.tlb.keys()]) if (key.includes(`:${va >> 12n}:`)) this.tlb.delete(key); }
  invalidateCode(frame: number): void { this.invalidated.push(frame); }

  private fault(va: bigint, errorCode: number): number {
    this.vector = 14; this.errorCode = errorCode | PFEC.user; this.cr2 = va;
    return -1;
  }

  translate(va: bigint, access: Access, view: View = this.activeView): number {
    const write = access === ACCESS.write;
    const cached = this.tlb.get(`${view}:${va >> 12n}:${write}`);
    if (cached !== undefined) return cached + Number(va & 0xfffn);
    let table = this.roots[view]!;
    if (table < 0) return this.fault(va, 0);
    let writable = true;
    for (let level = 4; level >= 1; level--) {
      const entry = this.view.getBigUint64(table + Number((va >> BigInt(3 + 9 * level)) & 511n) * 8, true);
      if ((entry & 1n) === 0n) return this.fault(va, write ? PFEC.write : 0);
      if (Number((entry >> 32n) & 0xf_ffffn) !== this.slot) return this.fault(va, 0);
      writable &&= (entry & 2n) !== 0n;
      table = Number(entry & 0xffff_f000n);
    }
    if (write && !writable) return this.fault(va, PFEC.present | PFEC.write);
    this.tlb.set(`${view}:${va >> 12n}:${write}`, table);
    return table + Number(va & 0xfffn);
  }

  private eachPiece(va: bigint, length: number, access: Access, visit: (physical: number, from: number, count: number) => void): boolean {
    const pieces: [number, number, number][] = [];
    for (let done = 0; done < length;) {
      const at = va + BigInt(done);
      const count = Math.min(length - done, PAGE - Number(at & 0xfffn));
      const physical = this.translate(at, access);
      if (physical < 0) return false;
      pieces.push([physical, done, count]);
      done += count;
    }
    for (const piece of pieces) visit(...piece);
    return true;
  }

  readVirtual(va: bigint, out: Uint8Array): boolean {
    return this.eachPiece(va, out.length, ACCESS.read, (physical, from, count) => out.set(this.bytes.subarray(physical, physical + count), from));
  }
  writeVirtual(va: bigint, data: Uint8Array): boolean {
    return this.eachPiece(va, data.length, ACCESS.write, (physical, from, count) => this.bytes.set(data.subarray(from, from + count), physical));
  }
  read64(va: bigint): bigint | undefined {
    const data = new Uint8Array(8);
    return this.readVirtual(va, data) ? new DataView(data.buffer).getBigUint64(0, true) : undefined;
  }
  write64(va: bigint, value: bigint): boolean {
    const data = new Uint8Array(8);
    new DataView(data.buffer).setBigUint64(0, value, true);
    return this.writeVirtual(va, data);
  }
  loadSegment(segment: number, selector: number): number {
    const base = selector === 0 ? 0n : this.segmentBases.get(selector);
    if (base === undefined) return 13;
    this.selectors[segment] = selector;
    if (segment === 4) this.fsBase = base;
    if (segment === 5) this.gsBase = base;
    return 0;
  }
  fxsave(): void {}
  fxrstor(): void {}
  setBreakpoint(): void {}
  clearBreakpoint(): void {}
  setDebugRegister(number: number, value: bigint): void { this.debug[number] = value; }
  setWatch(): void {}
  clearWatch(): void {}
  readonly watchHit = undefined;
  readonly leftTranslation = false;
  counters(): Record<string, number> { return {}; }
}

export interface FakeVcpu extends VcpuContext {
  readonly processor: FakeProcessor;
  readonly crashes: string[];
  readonly lines: string[];
  nowNs: bigint;
}

export function fakeMemory(guestFrames: number, vcpus = 1): { memory: WebAssembly.Memory; layout: MemoryLayout } {
  const layout = layoutMemory(vcpus, guestFrames);
  const pages = layout.totalBytes / 65536;
  return { layout, memory: new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }) };
}

/** A vCPU over its own memory; shared_info at the physical address given. */
export function fakeVcpu(memory: WebAssembly.Memory, layout: MemoryLayout, slot: number, sharedInfo: number): FakeVcpu {
  const crashes: string[] = [], lines: string[] = [];
  return {
    domid: domid(1), vcpuId: 0, slot, layout, processor: new FakeProcessor(memory, slot), pv: createPvState(), sharedInfo, vcpuInfo: sharedInfo,
    crashes, lines, nowNs: 1_234_567n,
    crash(reason) { crashes.push(reason); },
    log(line) { lines.push(line); },
    systemTimeNs() { return this.nowNs; },
  };
}
