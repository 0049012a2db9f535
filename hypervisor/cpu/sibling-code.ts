// Keeps the decode caches of a domain's vCPUs true to code that another vCPU overwrites. Each vCPU has a mailbox in its
// area (state.ts); whoever has news sets bits there and ends its guest code at the next block.
//
//   becameCode   somebody decodes this frame   owner: the frame leaves its write TLB; was it there, all are told `written`
//   written      this frame is written          owner: blocks of this frame are dropped
//
// Why nothing is missed: news goes out before the frame is decoded, and a vCPU reads its mail before and after guest
// code, so before an interrupt it sends or after one it takes. A store that ran without a look at the code map was
// through a write TLB entry, which that vCPU finds when it reads `becameCode`, and then says so before it does anything
// that another vCPU could wait for. Reading is an atomic exchange: it orders the stores before it.
//
// Bits stand for frame numbers modulo FRAMES: more may be dropped than need be, and a mailbox is never full.
import { PAGE_BYTES } from './layout.ts';
import { areaOf, emptyTag, MAIL, S, TLB_BYTES, TLB_ENTRIES, VIEW_BYTES } from './state.ts';

const FRAMES = MAIL.bytes * 8, WORDS = MAIL.bytes / 4;
const bitOf = (frame: number): number => frame % FRAMES;

export interface SiblingCodeOwner {
  /** Drops this vCPU's blocks in the frames number, number + stride, ... */
  dropFrames(number: number, stride: number): void;
}

export class SiblingCode {
  private readonly words: Int32Array;
  private readonly view: DataView;
  private readonly area: number;
  private readonly siblings: number[];
  private readonly owner: SiblingCodeOwner;
  posted = 0; read = 0;

  constructor(view: DataView<SharedArrayBuffer>, vcpu: number, vcpus: number, owner: SiblingCodeOwner) {
    this.words = new Int32Array(view.buffer);
    this.view = view;
    this.area = areaOf(vcpu);
    this.owner = owner;
    this.siblings = Array.from({ length: vcpus }, (_, n) => n).filter(n => n !== vcpu).map(areaOf);
  }
  becameCode(frame: number): void { this.post(MAIL.becameCode, frame); }
  written(frame: number): void { this.post(MAIL.written, frame); }

  private post(box: number, frame: number): void {
    const bit = bitOf(frame);
    for (const area of this.siblings) {
      Atomics.or(this.words, (area + S.mail + box) / 4 + (bit >>> 5), 1 << (bit & 31));
      Atomics.store(this.words, (area + S.mail) / 4, 1);
      Atomics.or(this.words, (area + S.selfAttention) / 4, 2);
    }
    this.posted++;
  }

  /** Acts on what siblings wrote; whether there was any. Only between blocks. */
  readMail(): boolean {
    if (!this.siblings.length || !Atomics.exchange(this.words, (this.area + S.mail) / 4, 0)) return false;
    this.read++;
    // First: a store found here is news for this vCPU too.
    const code = this.take(MAIL.becameCode);
    if (code.size) this.leaveWriteTlb(code);
    for (const bit of this.take(MAIL.written)) this.owner.dropFrames(bit, FRAMES);
    return true;
  }
  private take(box: number): Set<number> {
    const bits = new Set<number>(), first = (this.area + S.mail + box) / 4;
    for (let w = 0; w < WORDS; w++) {
      if (!this.words[first + w]) continue;
      const word = Atomics.exchange(this.words, first + w, 0);
      for (let b = 0; b < 32; b++) if (word >>> b & 1) bits.add(w * 32 + b);
    }
    return bits;
  }
  private leaveWriteTlb(code: Set<number>): void {
    for (let view = 0; view < 2; view++) {
      const tlb = this.area + S.tlbs + view * VIEW_BYTES + TLB_BYTES;
      for (let n = 0; n < TLB_ENTRIES; n++) {
        const at = tlb + n * 16, low = -this.view.getInt32(at, true);
        if (low & PAGE_BYTES - 1) continue; // empty
        const frame = (low + this.view.getInt32(at + 8, true) >>> 0) / PAGE_BYTES, bit = bitOf(frame);
        if (!code.has(bit)) continue;
        this.view.setBigInt64(at, emptyTag(n), true);
        this.written(frame);
        this.owner.dropFrames(bit, FRAMES);
      }
    }
  }
}
