// Grant tables, version 1. Entries are in frames the hypervisor shares with the guest; the guest fills them in, the
// hypervisor marks use in their flags. How often an entry is in use is kept where no guest can reach it (active grants,
// domain/state.ts), under the granting domain's grant lock.
//
// A use begins in steps: read the entry's first word; check it; set GTF_reading (and GTF_writing) by
// compare-and-exchange against exactly what was checked; only then take the frame number. A guest that changes the
// entry meanwhile makes the exchange fail and the check start again. When the last use ends, the flags go; the guest
// ends access by exchanging an entry without them for 0.
import { D, DOMAIN_STATE, GRANT_FRAMES_MAX } from '../domain/state.ts';
import type { Hypervisor } from '../domain/hypervisor.ts';
import type { DomainMemory } from '../domain/memories.ts';
import { locked } from '../lib/lock.ts';
import { allocateSharedFrames, getPage, putPage } from '../mm/frames.ts';
import { PGT } from '../mm/frame-table.ts';
import { getPageAndType, putPageAndType } from '../mm/page-tables.ts';
import { createSpace, type Space, withPageLock } from '../mm/space.ts';
import { MFN_INDEX_BITS } from '../public/types.ts';
import { grant_entry_v1 } from '../public/layouts.ts';
import { GNTST_bad_domain, GNTST_bad_gntref, GNTST_bad_page, GNTST_general_error, GTF_permit_access, GTF_reading, GTF_readonly, GTF_sub_page, GTF_type_mask, GTF_writing } from '../public/grant_table.ts';

export const ENTRY_BYTES = grant_entry_v1.size, ENTRIES_PER_FRAME = 4096 / ENTRY_BYTES;
const RETRIES = 5;
/** An active grant's word: uses for writing in the upper half, for reading in the lower. */
const WRITE_SHIFT = 16, USES_MAX = 0x7fff;

/** Grows the table to `frames` frames; their number afterwards. */
export function growTable(hv: Hypervisor, space: Space, slot: number, frames: number): number {
  const { state } = hv;
  return locked(state.words, state.domain(slot) + D.grantLock, () => {
    let n = state.dget(slot, D.grantFrames);
    while (n < Math.min(frames, GRANT_FRAMES_MAX)) {
      const got = allocateSharedFrames(space, 1);
      if (typeof got === 'number') break;
      state.dset(slot, D.grantFrame + n, got[0]!);
      state.dset(slot, D.grantFrames, ++n);
    }
    return n;
  });
}
/** Word index of an entry in its domain's memory, or -1. */
export function entryWord(hv: Hypervisor, slot: number, ref: number): number {
  const frame = Math.floor(ref / ENTRIES_PER_FRAME);
  if (ref < 0 || !Number.isInteger(ref) || frame >= hv.state.dget(slot, D.grantFrames)) return -1;
  return (hv.state.dget(slot, D.grantFrame + frame) * 4096 + ref % ENTRIES_PER_FRAME * ENTRY_BYTES) / 4;
}

const spaces = new WeakMap<DomainMemory, Space>();
/** A domain's memory as the memory manager takes it, on a thread that runs none of its vCPUs. */
export function spaceOfMemory(m: DomainMemory): Space {
  let space = spaces.get(m);
  if (!space) spaces.set(m, space = createSpace(m.bytes.buffer, m.layout, m.slot));
  return space;
}

/** One use of a granted frame, until released. */
export interface Pin { readonly ref: number; readonly index: number; readonly readOnly: boolean }

const underLock = <T>(hv: Hypervisor, m: DomainMemory, work: () => T): T => locked(hv.state.words, hv.state.domain(m.slot) + D.grantLock, work);
/** The domain of this memory still is in its slot. */
const present = (hv: Hypervisor, m: DomainMemory): boolean => hv.state.dget(m.slot, D.domid) === m.domid && hv.state.dget(m.slot, D.state) !== DOMAIN_STATE.free;

/** Begins a use of a grant of `m`'s domain by the domain `grantee`: a pin, or a GNTST_* error. */
export function pinGrant(hv: Hypervisor, m: DomainMemory, ref: number, grantee: number, readOnly: boolean): Pin | number {
  return underLock(hv, m, () => {
    if (!present(hv, m)) return GNTST_bad_domain;
    const word = entryWord(hv, m.slot, ref);
    if (word < 0) return GNTST_bad_gntref;
    const { words } = hv.state, active = hv.state.active(m.slot, ref), uses = words[active]!;
    if ((uses & 0xffff) >= USES_MAX || uses >>> WRITE_SHIFT >= USES_MAX) return GNTST_general_error;
    const error = markInUse(m, word, grantee, readOnly);
    if (error) return error;
    const frame = Atomics.load(m.words, word + 1) >>> 0, index = frame & (1 << MFN_INDEX_BITS) - 1;
    if (frame >>> MFN_INDEX_BITS !== m.slot || !holdFrame(spaceOfMemory(m), index, readOnly)) { settle(m, word, uses); return GNTST_bad_page; }
    words[active] = uses + (readOnly ? 1 : 1 << WRITE_SHIFT);
    return { ref, index, readOnly };
  });
}
/**
 * A use of a grant of `m`'s domain by the domain `grantee` that ends before anybody else may look, as both locks are held
 * while `work` has the frame: 0, or a GNTST_* error. `work` must not wait, nor ask for either.
 */
export function useGrant(hv: Hypervisor, m: DomainMemory, ref: number, grantee: number, readOnly: boolean, work: (index: number) => void): number {
  return underLock(hv, m, () => {
    if (!present(hv, m)) return GNTST_bad_domain;
    const word = entryWord(hv, m.slot, ref);
    if (word < 0) return GNTST_bad_gntref;
    const error = markInUse(m, word, grantee, readOnly);
    if (error) return error;
    const frame = Atomics.load(m.words, word + 1) >>> 0, index = frame & (1 << MFN_INDEX_BITS) - 1, space = spaceOfMemory(m);
    const used = frame >>> MFN_INDEX_BITS === m.slot && withPageLock(space, () => {
      if (!(readOnly ? getPage(space, index) : getPageAndType(space, index, PGT.writable_page) === 0)) return false;
      work(index);
      if (readOnly) putPage(space, index); else putPageAndType(space, index);
      return true;
    });
    settle(m, word, hv.state.words[hv.state.active(m.slot, ref)]!);
    return used ? 0 : GNTST_bad_page;
  });
}
/** Steps one to three: 0, or a GNTST_* error with nothing changed. */
function markInUse(m: DomainMemory, word: number, grantee: number, readOnly: boolean): number {
  const wanted = GTF_reading | (readOnly ? 0 : GTF_writing);
  for (let tries = 0; tries < RETRIES; tries++) {
    const seen = Atomics.load(m.words, word);
    if ((seen & (GTF_type_mask | GTF_sub_page)) !== GTF_permit_access || seen >>> 16 !== grantee) return GNTST_general_error;
    if (!readOnly && seen & GTF_readonly) return GNTST_general_error;
    if ((seen & wanted) === wanted || Atomics.compareExchange(m.words, word, seen, seen | wanted) === seen) return 0;
  }
  return GNTST_general_error;
}
const holdFrame = (space: Space, index: number, readOnly: boolean): boolean => withPageLock(space, () => readOnly ? getPage(space, index) : getPageAndType(space, index, PGT.writable_page) === 0);

/** Ends a use. Nothing is left to do when the domain has gone meanwhile. */
export function unpinGrant(hv: Hypervisor, m: DomainMemory, pin: Pin): void {
  underLock(hv, m, () => {
    if (!present(hv, m)) return;
    const { words } = hv.state, active = hv.state.active(m.slot, pin.ref), space = spaceOfMemory(m);
    words[active] = words[active]! - (pin.readOnly ? 1 : 1 << WRITE_SHIFT);
    withPageLock(space, () => { if (pin.readOnly) putPage(space, pin.index); else putPageAndType(space, pin.index); });
    settle(m, entryWord(hv, m.slot, pin.ref), words[active]!);
  });
}
/** Clears the in-use flags that no use stands for any more. */
function settle(m: DomainMemory, word: number, uses: number): void {
  const gone = (uses === 0 ? GTF_reading : 0) | (uses >>> WRITE_SHIFT === 0 ? GTF_writing : 0);
  if (gone) Atomics.and(m.words, word, ~gone);
}
/** A domain's end: its slot's next one starts without uses. */
export function forgetGrants(hv: Hypervisor, slot: number): void {
  const { state } = hv;
  locked(state.words, state.domain(slot) + D.grantLock, () => state.words.fill(0, state.active(slot, 0), state.active(slot, state.dget(slot, D.grantFrames) * ENTRIES_PER_FRAME)));
}
/** Uses of an entry now, for reading and for writing. */
export function grantUses(hv: Hypervisor, slot: number, ref: number): { reading: number; writing: number } {
  const uses = hv.state.words[hv.state.active(slot, ref)]!;
  return { reading: uses & 0xffff, writing: uses >>> WRITE_SHIFT };
}
