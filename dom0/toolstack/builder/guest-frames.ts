// The new domain's memory as the builder sees it: by pfn, wherever the frames lie.
import { mfnIndex, type Mfn } from '../../../hypervisor/public/types.ts';
import { PAGE_BYTES } from './layout.ts';

export class GuestFrames {
  readonly mfns: readonly Mfn[];
  private readonly memory: Uint8Array<SharedArrayBuffer>;

  constructor(memory: Uint8Array<SharedArrayBuffer>, mfns: readonly Mfn[]) {
    this.memory = memory;
    this.mfns = mfns;
  }

  mfn(pfn: number): Mfn {
    const m = this.mfns[pfn];
    if (m === undefined) throw new RangeError(`pfn ${pfn} is not populated`);
    return m;
  }

  /** The 4096 bytes of one frame. */
  page(pfn: number): Uint8Array<SharedArrayBuffer> {
    const at = mfnIndex(this.mfn(pfn)) * PAGE_BYTES;
    return this.memory.subarray(at, at + PAGE_BYTES);
  }

  /**
   * Views that together are [offset, offset + length) counted from pfn 0, each as long as the frames happen to lie
   * next to each other (usually one view for everything).
   */
  * runs(offset: number, length: number): Generator<Uint8Array<SharedArrayBuffer>> {
    while (length > 0) {
      const pfn = Math.floor(offset / PAGE_BYTES), within = offset % PAGE_BYTES;
      const first = this.mfn(pfn);
      let pages = 1;
      while (pages * PAGE_BYTES - within < length && this.mfns[pfn + pages] === first + pages) pages++;
      const size = Math.min(length, pages * PAGE_BYTES - within);
      const at = mfnIndex(first) * PAGE_BYTES + within;
      yield this.memory.subarray(at, at + size);
      offset += size;
      length -= size;
    }
  }

  write(offset: number, data: Uint8Array): void {
    let from = 0;
    for (const view of this.runs(offset, data.length)) {
      view.set(data.subarray(from, from + view.length));
      from += view.length;
    }
  }
}
