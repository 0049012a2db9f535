// What stands for the processor where the vCPU's program is WebAssembly: hypercalls read and write their arguments
// through it. A guest-virtual address is a byte offset from the first guest frame. There are no registers to speak of.
import { PAGE_BYTES, type MemoryLayout } from '../layout.ts';
import type { Processor, PrivilegedInstruction } from '../processor-api.ts';

const nothing = (): void => {};

export class ProgramProcessor implements Processor {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly view: DataView<SharedArrayBuffer>;
  readonly gpr = new BigUint64Array(16);
  rip = 0n; rflags = 2n; fsBase = 0n; gsBase = 0n; longMode = true; taskSwitched = false; tscExits = true; tscAux = 0;
  activeView: 0 | 1 = 0;
  readonly selectors = new Uint16Array(6);
  readonly debug = new BigUint64Array(8);
  readonly vector = 0; readonly errorCode = -1; readonly cr2 = 0n;
  readonly privileged: PrivilegedInstruction = { name: 'hlt', length: 0, bits: 0, reg: 0, system: 0, port: -1, rep: false };
  readonly #base: number;
  readonly #sizeBytes: bigint;
  readonly #counters: Record<string, number>;

  constructor(memory: WebAssembly.Memory, layout: MemoryLayout, counters: Record<string, number>) {
    const buffer = memory.buffer as unknown as SharedArrayBuffer;
    this.memory = memory;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.#base = layout.first * PAGE_BYTES;
    this.#sizeBytes = BigInt((layout.end - layout.first) * PAGE_BYTES);
    this.#counters = counters;
  }
  /** Offset in the memory, or -1 where any of the bytes is not the guest's. */
  #place(va: bigint, count: number): number { return va >= 0n && va + BigInt(count) <= this.#sizeBytes ? Number(va) + this.#base : -1; }

  translate(va: bigint): number { return this.#place(va, 1); }
  readVirtual(va: bigint, out: Uint8Array): boolean {
    const at = this.#place(va, out.length);
    if (at < 0) return false;
    out.set(this.bytes.subarray(at, at + out.length));
    return true;
  }
  writeVirtual(va: bigint, data: Uint8Array): boolean {
    const at = this.#place(va, data.length);
    if (at < 0) return false;
    this.bytes.set(data, at);
    return true;
  }
  read64(va: bigint): bigint | undefined { const at = this.#place(va, 8); return at < 0 ? undefined : this.view.getBigUint64(at, true); }
  write64(va: bigint, value: bigint): boolean {
    const at = this.#place(va, 8);
    if (at < 0) return false;
    this.view.setBigUint64(at, BigInt.asUintN(64, value), true);
    return true;
  }
  readonly leftTranslation = false;
  counters(): Record<string, number> { return this.#counters; }

  // What only machine code has.
  readonly run = (): number => 0;
  readonly step = (): number => 0;
  readonly loadSegment = (): number => 0;
  readonly setRoot = nothing; readonly flushTlb = nothing; readonly flushWritable = nothing; readonly flushPage = nothing; readonly invalidateCode = nothing;
  readonly fxsave = nothing; readonly fxrstor = nothing; readonly setBreakpoint = nothing; readonly clearBreakpoint = nothing; readonly setDebugRegister = nothing; readonly setWatch = nothing; readonly clearWatch = nothing; readonly watchHit = undefined;
}
