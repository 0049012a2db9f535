// Grant tables, version 1. Entries are in frames the hypervisor shares with the guest; the guest fills them in, the
// hypervisor marks use in their flags. Entry: u16 flags, u16 domid, u32 frame (public/grant_table.h).
//
// A mapping is made in steps: read the entry's first word; check it; set GTF_reading (and GTF_writing) by
// compare-and-exchange against exactly what was checked; only then take the frame number. A guest that changes the
// entry meanwhile makes the exchange fail and the check start again.
import { D, GRANT_FRAMES_MAX } from '../domain/state.ts';
import type { Hypervisor } from '../domain/hypervisor.ts';
import type { DomainMemory } from '../domain/memories.ts';
import { allocateSharedFrames, getPage, putPage } from '../mm/frames.ts';
import { PGT } from '../mm/frame-table.ts';
import { getPageAndType, putPageAndType } from '../mm/page-tables.ts';
import { createSpace, type Space, withPageLock } from '../mm/space.ts';
import { MFN_INDEX_BITS } from '../public/types.ts';
import { GNTST_bad_gntref, GNTST_bad_page, GNTST_eagain, GNTST_general_error, GNTST_permission_denied, GTF_permit_access, GTF_reading, GTF_readonly, GTF_type_mask, GTF_writing } from '../public/grant_table.ts';

export const ENTRY_BYTES = 8, ENTRIES_PER_FRAME = 4096 / ENTRY_BYTES;
const RETRIES = 5;

/** Grows the table to `frames` frames; their number afterwards. */
export function growTable(hv: Hypervisor, space: Space, slot: number, frames: number): number {
  const { state } = hv;
  while (state.dget(slot, D.grantFrames) < Math.min(frames, GRANT_FRAMES_MAX)) {
    const got = allocateSharedFrames(space, 1);
    if (typeof got === 'number') break;
    const n = state.dget(slot, D.grantFrames);
    state.dset(slot, D.grantFrame + n, got[0]!);
    state.dset(slot, D.grantFrames, n + 1);
  }
  return state.dget(slot, D.grantFrames);
}
/** Word index of an entry in its domain's memory, or -1. */
export function entryWord(hv: Hypervisor, slot: number, ref: number): number {
  const frame = Math.floor(ref / ENTRIES_PER_FRAME);
  if (ref < 0 || !Number.isInteger(ref) || frame >= hv.state.dget(slot, D.grantFrames)) return -1;
  return (hv.state.dget(slot, D.grantFrame + frame) * 4096 + ref % ENTRIES_PER_FRAME * ENTRY_BYTES) / 4;
}

/** One use of a granted frame, until released. */
export interface Pin { readonly ref: number; readonly index: number; readonly readOnly: boolean; readonly word: number }

/** Pins of one domain's grants by one grantee's thread: how often each entry is in use, for reading and for writing. */
export class GrantPins {
  readonly space: Space;
  private readonly hv: Hypervisor; private readonly memory: DomainMemory;
  private readonly uses = new Map<number, { reads: number; writes: number }>();
  constructor(hv: Hypervisor, memory: DomainMemory) {
    this.hv = hv; this.memory = memory;
    this.space = createSpace(memory.bytes.buffer, memory.layout, memory.slot);
  }
  /** A pin, or a GNTST_* error. */
  pin(ref: number, grantee: number, readOnly: boolean): Pin | number {
    const { memory, space } = this, { words } = memory, word = entryWord(this.hv, memory.slot, ref);
    if (word < 0) return GNTST_bad_gntref;
    const wanted = GTF_reading | (readOnly ? 0 : GTF_writing);
    for (let tries = 0; ; tries++) {
      const seen = Atomics.load(words, word);
      if ((seen & GTF_type_mask) !== GTF_permit_access || seen >>> 16 !== grantee) return GNTST_general_error;
      if (!readOnly && seen & GTF_readonly) return GNTST_permission_denied;
      if ((seen & wanted) === wanted || Atomics.compareExchange(words, word, seen, seen | wanted) === seen) break;
      if (tries >= RETRIES) return GNTST_eagain;
    }
    const frame = Atomics.load(words, word + 1) >>> 0, index = frame & (1 << MFN_INDEX_BITS) - 1;
    const held = withPageLock(space, () => frame >>> MFN_INDEX_BITS === memory.slot && (readOnly ? getPage(space, index) : getPageAndType(space, index, PGT.writable_page) === 0));
    const use = this.uses.get(ref) ?? { reads: 0, writes: 0 };
    if (!held) { this.settle(word, use); return GNTST_bad_page; }
    if (readOnly) use.reads++; else use.writes++;
    this.uses.set(ref, use);
    return { ref, index, readOnly, word };
  }
  release(pin: Pin): void {
    const use = this.uses.get(pin.ref);
    if (!use) return;
    if (pin.readOnly) use.reads--; else use.writes--;
    withPageLock(this.space, () => { if (pin.readOnly) putPage(this.space, pin.index); else putPageAndType(this.space, pin.index); });
    this.settle(pin.word, use);
    if (use.reads + use.writes === 0) this.uses.delete(pin.ref);
  }
  /** Clears the in-use flags that nothing stands for any more. */
  private settle(word: number, use: { reads: number; writes: number }): void {
    const gone = (use.reads + use.writes === 0 ? GTF_reading : 0) | (use.writes === 0 ? GTF_writing : 0);
    if (gone) Atomics.and(this.memory.words, word, ~gone);
  }
}
