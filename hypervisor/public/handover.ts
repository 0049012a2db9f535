// Memory of Dom0's that outlives its thread: main keeps it, and a Dom0 that is started again finds what the last one
// wrote. The hypervisor does not look inside (dom0/handover/journal.ts does).

/** One area: two halves that grow, and a word that says which of them counts and how much of it. All zero at first. */
export interface Handover { readonly head: SharedArrayBuffer; readonly halves: readonly [SharedArrayBuffer, SharedArrayBuffer] }

/** Areas that a Dom0 gets. */
export const HANDOVER_AREAS = 2;
/** Address space of a half; memory is taken as it grows. */
const HALF_MAX_BYTES = 256 * 1024 * 1024;

export function newHandover(): Handover {
  const half = (): SharedArrayBuffer => new SharedArrayBuffer(0, { maxByteLength: HALF_MAX_BYTES });
  return { head: new SharedArrayBuffer(4), halves: [half(), half()] };
}
