// GNTTABOP_copy: bytes from one page to another, each the caller's own or one granted to it.
import { CODE, PAGE_BYTES } from '../cpu/layout.ts';
import { D } from '../domain/state.ts';
import { type Hypervisor, kickDomain } from '../domain/hypervisor.ts';
import type { DomainMemory } from '../domain/memories.ts';
import { getPage, noteWritten, putPage } from '../mm/frames.ts';
import { PGT } from '../mm/frame-table.ts';
import { getPageAndType, putPageAndType } from '../mm/page-tables.ts';
import { type Space, withPageLock } from '../mm/space.ts';
import { MFN_INDEX_BITS } from '../public/types.ts';
import { GNTST_bad_copy_arg, GNTST_bad_domain, GNTST_bad_page, GNTST_okay, GNTST_permission_denied } from '../public/grant_table.ts';
import { pinGrant, spaceOfMemory, unpinGrant } from './table.ts';

/** One end: a grant of `domid`, or a frame of the caller's own. */
export interface CopyEnd { readonly isGrant: boolean; readonly value: bigint; readonly domid: number; readonly offset: number }
export interface Caller { readonly hv: Hypervisor; readonly slot: number; readonly domid: number; readonly space: Space }
interface Held { readonly space: Space; readonly index: number; letGo(): void }

/** A GNTST_* status. */
export function copyGrant(caller: Caller, source: CopyEnd, dest: CopyEnd, lengthBytes: number): number {
  if (source.offset + lengthBytes > PAGE_BYTES || dest.offset + lengthBytes > PAGE_BYTES) return GNTST_bad_copy_arg;
  const from = hold(caller, source, true);
  if (typeof from === 'number') return from;
  try {
    const to = hold(caller, dest, false);
    if (typeof to === 'number') return to;
    const at = from.index * PAGE_BYTES + source.offset;
    to.space.bytes.set(from.space.bytes.subarray(at, at + lengthBytes), to.index * PAGE_BYTES + dest.offset);
    noteWritten(to.space, to.index);
    to.letGo();
    return GNTST_okay;
  } finally { from.letGo(); }
}

function hold(caller: Caller, end: CopyEnd, readOnly: boolean): Held | number {
  if (!end.isGrant) return end.domid === caller.domid ? holdOwn(caller.space, end.value, readOnly) : GNTST_permission_denied;
  const { hv } = caller, slot = hv.state.slotOf(end.domid), m = slot <= 0 ? undefined : hv.memories.get(slot, end.domid);
  if (!m) return GNTST_bad_domain;
  const pin = pinGrant(hv, m, Number(end.value & 0xffff_ffffn), caller.domid, readOnly);
  if (typeof pin === 'number') return pin;
  return { space: end.domid === caller.domid ? caller.space : spaceOfMemory(m), index: pin.index, letGo: () => {
    if (!readOnly && m.bytes[m.layout.codeMap + pin.index]! & CODE.dirtied) tellDirtyCode(hv, m);
    unpinGrant(hv, m, pin);
  } };
}
function holdOwn(space: Space, frame: bigint, readOnly: boolean): Held | number {
  if (frame >> BigInt(MFN_INDEX_BITS) !== BigInt(space.slot)) return GNTST_bad_page;
  const index = Number(frame & (1n << BigInt(MFN_INDEX_BITS)) - 1n);
  const held = withPageLock(space, () => readOnly ? getPage(space, index) : getPageAndType(space, index, PGT.writable_page) === 0);
  return held ? { space, index, letGo: () => withPageLock(space, () => { if (readOnly) putPage(space, index); else putPageAndType(space, index); }) } : GNTST_bad_page;
}
/** Frames of a domain with translated code in them were written by somebody else (the code map says which). */
export function tellDirtyCode(hv: Hypervisor, m: DomainMemory): void {
  Atomics.add(hv.state.words, hv.state.domain(m.slot) + D.dirtyCode, 1);
  kickDomain(hv, m.slot);
}
