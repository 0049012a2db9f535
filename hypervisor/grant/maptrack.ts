// Which grants Dom0 has mapped, in shared state: a Dom0 that is started again finds and ends what the last one held.
// Written by Dom0's thread alone. A mapping's handle is its place here.
import type { Hypervisor } from '../domain/hypervisor.ts';
import { H, type HypervisorState, M, MAPTRACK, MAPTRACK_ENTRIES } from '../domain/state.ts';
import { type Pin, unpinGrant } from './table.ts';

const entry = (state: HypervisorState, handle: number): number => Number.isInteger(handle) && handle >= 0 && handle < MAPTRACK_ENTRIES ? state.maptrack(handle) : -1;

/** A handle for a mapping, or -1 when there are too many. */
export function track(state: HypervisorState, slot: number, domid: number, pin: Pin): number {
  for (let i = 0, start = state.words[H.maptrackNext]!; i < MAPTRACK_ENTRIES; i++) {
    const handle = (start + i) % MAPTRACK_ENTRIES, at = state.maptrack(handle);
    if (state.words[at + M.flags]) continue;
    state.words[at + M.domid] = domid;
    state.words[at + M.ref] = pin.ref;
    state.words[at + M.index] = pin.index;
    state.words[at + M.flags] = slot << MAPTRACK.slotShift | (pin.readOnly ? MAPTRACK.readOnly : 0) | MAPTRACK.used;
    state.words[H.maptrackNext] = (handle + 1) % MAPTRACK_ENTRIES;
    return handle;
  }
  return -1;
}
/** Ends a mapping: false when there is none of that handle. */
export function untrack(hv: Hypervisor, handle: number): boolean {
  const { state } = hv, at = entry(state, handle);
  if (at < 0) return false;
  const flags = state.words[at + M.flags]!, domid = state.words[at + M.domid]!;
  if (!(flags & MAPTRACK.used)) return false;
  const pin: Pin = { ref: state.words[at + M.ref]!, index: state.words[at + M.index]!, readOnly: (flags & MAPTRACK.readOnly) !== 0 };
  state.words[at + M.flags] = 0;
  const m = hv.memories.get(flags >>> MAPTRACK.slotShift, domid);
  if (m) unpinGrant(hv, m, pin);
  return true;
}
/** Domain and reference of a mapping, or undefined. */
export function tracked(state: HypervisorState, handle: number): { domid: number; ref: number } | undefined {
  const at = entry(state, handle);
  return at < 0 || !state.words[at + M.flags] ? undefined : { domid: state.words[at + M.domid]!, ref: state.words[at + M.ref]! };
}
/** Ends every mapping; their number. */
export function untrackAll(hv: Hypervisor): number {
  let ended = 0;
  for (let handle = 0; handle < MAPTRACK_ENTRIES; handle++) if (hv.state.words[hv.state.maptrack(handle)]) { untrack(hv, handle); ended++; }
  return ended;
}
