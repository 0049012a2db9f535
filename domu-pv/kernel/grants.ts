// Grant table, version 1 (public/grant_table.h): an entry lets one other domain map one of our frames. Written in two
// steps, the frame first and the flags last; taken back by exchanging flags without "in use" for nothing.
import { GTF_permit_access, GTF_reading, GTF_readonly, GTF_writing } from '../../hypervisor/public/grant_table.ts';
import { grant_entry_v1 } from '../../hypervisor/public/layouts.ts';
import type { ProgramVcpu } from '../../hypervisor/public/program.ts';
import type { Hypercalls } from './hypercalls.ts';

const PER_FRAME = 4096 / grant_entry_v1.size, FRAMES_MAX = 32;
/** References that the toolstack uses itself: console and xenstore among them. */
const RESERVED = 8;

export class Grants {
  readonly #vcpu: ProgramVcpu; readonly #hypercalls: Hypercalls;
  readonly #frames: Int32Array<SharedArrayBuffer>[] = [];
  readonly #free: number[] = [];
  /** Ended for us, still mapped elsewhere. */
  readonly #lingering = new Set<number>();

  constructor(vcpu: ProgramVcpu, hypercalls: Hypercalls) {
    this.#vcpu = vcpu;
    this.#hypercalls = hypercalls;
    this.#growTo(1);
    this.#free.splice(this.#free.length - RESERVED, RESERVED);
  }
  get inUse(): number { return this.#frames.length * PER_FRAME - RESERVED - this.#free.length; }

  /** Grants a frame to a domain. @throws Error when the table is full */
  grant(remote: number, pfn: number, readOnly = false): number {
    const ref = this.#take(), [words, at] = this.#entry(ref);
    words[at + 1] = this.#vcpu.mfnOf(pfn) | 0;
    Atomics.store(words, at, remote << 16 | GTF_permit_access | (readOnly ? GTF_readonly : 0));
    return ref;
  }
  /** Ends access. False while the other side still has the frame mapped: the entry is kept until it has not. */
  end(ref: number): boolean {
    const [words, at] = this.#entry(ref);
    for (;;) {
      const seen = Atomics.load(words, at);
      if (seen & (GTF_reading | GTF_writing)) { this.#lingering.add(ref); return false; }
      if (Atomics.compareExchange(words, at, seen, 0) !== seen) continue;
      this.#lingering.delete(ref);
      this.#free.push(ref);
      return true;
    }
  }
  /** Entries of both kinds of words, for tests that write nonsense there. */
  raw(ref: number): readonly [Int32Array<SharedArrayBuffer>, number] { return this.#entry(ref); }

  #take(): number {
    for (const ref of this.#free.length === 0 ? [...this.#lingering] : []) this.end(ref);
    if (this.#free.length === 0) this.#growTo(this.#frames.length + 1);
    return this.#free.pop()!;
  }
  #growTo(count: number): void {
    if (count > FRAMES_MAX) throw new Error('the grant table is full');
    const mfns = this.#hypercalls.setupGrantTable(count);
    for (let n = this.#frames.length; n < count; n++) {
      const page = this.#vcpu.sharedFrame(mfns[n]!);
      this.#frames.push(new Int32Array(page.buffer, page.byteOffset, 1024));
      for (let i = PER_FRAME - 1; i >= 0; i--) this.#free.push(n * PER_FRAME + i);
    }
  }
  #entry(ref: number): readonly [Int32Array<SharedArrayBuffer>, number] { return [this.#frames[Math.floor(ref / PER_FRAME)]!, ref % PER_FRAME * 2]; }
}
