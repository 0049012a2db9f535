// The last instructions of one vCPU: where, in which mode, and a digest of the registers they began with, so that two
// runs can be compared without keeping every register.
import type { Processor } from '../cpu/processor-api.ts';
import { TRACE_ENTRY, TRACE_ENTRY_BYTES } from '../public/debug.ts';

const FNV_PRIME = 0x01000193, FNV_BASIS = 0x811c9dc5;
/** FNV-1a takes bytes; taking words, high bits must come down or they would be lost. */
const mix = (digest: number, word: number): number => { const n = Math.imul(digest ^ word, FNV_PRIME); return n ^ n >>> 15; };

export class InstructionRing {
  readonly capacity: number;
  private readonly view: DataView;
  private readonly gpr: Int32Array;
  private written = 0;
  constructor(processor: Processor, capacity: number) {
    this.capacity = capacity;
    this.view = new DataView(new ArrayBuffer(capacity * TRACE_ENTRY_BYTES));
    this.gpr = new Int32Array(processor.gpr.buffer, processor.gpr.byteOffset, 2 * 16);
  }
  note(processor: Processor, kernelMode: boolean): void {
    const at = this.written++ % this.capacity * TRACE_ENTRY_BYTES;
    let digest = FNV_BASIS;
    for (let i = 0; i < 32; i++) digest = mix(digest, this.gpr[i]!);
    digest = mix(digest, Number(processor.rflags & 0xffffffffn));
    this.view.setBigUint64(at + TRACE_ENTRY.rip, processor.rip, true);
    this.view.setUint32(at + TRACE_ENTRY.digest, digest >>> 0, true);
    this.view.setUint32(at + TRACE_ENTRY.kernelMode, kernelMode ? 1 : 0, true);
  }
  /** Of the last `last` entries, those after `skip`, oldest first, as far as they fit `out`. @returns bytes */
  read(last: number, skip: number, out: Uint8Array): number {
    const held = Math.min(this.written, this.capacity), count = Math.max(0, Math.min(Math.min(last, held) - skip, Math.floor(out.length / TRACE_ENTRY_BYTES)));
    const first = this.written - Math.min(last, held) + skip, bytes = new Uint8Array(this.view.buffer);
    for (let i = 0; i < count; i++) {
      const at = (first + i) % this.capacity * TRACE_ENTRY_BYTES;
      out.set(bytes.subarray(at, at + TRACE_ENTRY_BYTES), i * TRACE_ENTRY_BYTES);
    }
    return count * TRACE_ENTRY_BYTES;
  }
}
