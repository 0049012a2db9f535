// The memory of a transfer, or of several that lie one behind the other on the disk: frames borrowed from the guest, and
// views on them in order. Frames that lie one behind the other are one view: what the kernel is asked for then has few pieces.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import { SECTOR_BYTES } from '../../hypervisor/public/io/blkif.ts';
import type { GrantRef } from '../../hypervisor/public/types.ts';
import type { BorrowedFrame, GrantCache } from './grants.ts';
import type { BlkSegment } from './request.ts';

/** Why frames are not there. */
export interface LoanError { readonly ref: GrantRef; readonly error: number }

const NONE: Uint8Array<SharedArrayBuffer>[] = [];

export class Loan {
  /** Complete after complete(). */
  views: Uint8Array<SharedArrayBuffer>[] = NONE;
  readonly #grants: GrantCache;
  readonly #reading: boolean;
  readonly #frames: BorrowedFrame[];
  #count = 0;
  #buffer: SharedArrayBuffer | undefined;
  #start = 0;
  #end = 0;

  /** @param reading the disk is read, the frames are written @param frameCount how many there will be */
  constructor(grants: GrantCache, reading: boolean, frameCount: number) {
    this.#grants = grants; this.#reading = reading;
    this.#frames = new Array<BorrowedFrame>(frameCount);
  }

  /** @returns why one of the frames is not there: giveBack() is due all the same */
  borrow(segments: readonly BlkSegment[]): LoanError | undefined {
    for (let i = 0; i < segments.length; i++) {
      const { gref, firstSector, sectorCount } = segments[i]!, frame = this.#grants.borrow(gref, !this.#reading);
      if (typeof frame === 'number') return { ref: gref, error: frame };
      this.#frames[this.#count++] = frame;
      const at = frame.at + firstSector * SECTOR_BYTES;
      if (frame.buffer !== this.#buffer || at !== this.#end) { this.#close(); this.#buffer = frame.buffer; this.#start = at; }
      this.#end = at + sectorCount * SECTOR_BYTES;
    }
    return undefined;
  }
  /** To be called when all frames are there. */
  complete(): void {
    // A single whole frame has its view already; making one takes longer than all else here.
    const only = this.#count === 1 ? this.#frames[0]!.mapping.bytes : undefined;
    if (only && only.length === this.#end - this.#start) this.views = [only]; else this.#close();
  }
  #close(): void {
    if (!this.#buffer) return;
    const view = new Uint8Array(this.#buffer, this.#start, this.#end - this.#start);
    if (this.views === NONE) this.views = [view]; else this.views.push(view);
  }

  /** Also after a failed read, which may have written part of a frame. */
  giveBack(hypercalls: Pick<Dom0Hypercalls, 'gnttabWrote'>): void {
    for (let i = 0; i < this.#count; i++) {
      const frame = this.#frames[i]!;
      if (this.#reading) hypercalls.gnttabWrote(frame.mapping);
      this.#grants.giveBack(frame);
    }
  }
}
