// Guest time: the TSC counts nanoseconds of system time, so pvclock's scale is one and never changes.
import type { DomainMemory } from '../domain/memories.ts';
import type { HypervisorState } from '../domain/state.ts';

/** vcpu_time_info (public/xen.h): version, tsc_timestamp, system_time, mul, shift, flags; in vcpu_info at 32. */
export const VCPU_TIME_INFO = 32, VCPU_TIME_INFO_BYTES = 32;
const TIME = { version: 0, tsc_timestamp: 8, system_time: 16, tsc_to_system_mul: 24, tsc_shift: 28, flags: 29 } as const;
export const XEN_PVCLOCK_TSC_STABLE_BIT = 1;
/** (tsc << 1) * 2^31 >> 32 = tsc. */
const UNIT_MUL = 0x8000_0000, UNIT_SHIFT = 1;

export function fillTimeInfo(view: DataView, at: number): void {
  const version = view.getUint32(at + TIME.version, true);
  view.setUint32(at + TIME.version, (version | 1) >>> 0, true);
  view.setBigUint64(at + TIME.tsc_timestamp, 0n, true);
  view.setBigUint64(at + TIME.system_time, 0n, true);
  view.setUint32(at + TIME.tsc_to_system_mul, UNIT_MUL, true);
  view.setInt8(at + TIME.tsc_shift, UNIT_SHIFT);
  view.setUint8(at + TIME.flags, XEN_PVCLOCK_TSC_STABLE_BIT);
  view.setUint32(at + TIME.version, ((version | 1) + 1) >>> 0, true);
}

/** Wall clock in shared_info: wc_version, wc_sec, wc_nsec, wc_sec_hi (public/xen.h, at 0xC00). */
export function fillWallClock(m: DomainMemory, sharedInfo: number, state: HypervisorState): void {
  const at = sharedInfo + 0xc00, epoch = state.wallEpoch(), { view } = m;
  const version = view.getUint32(at, true);
  view.setUint32(at, (version | 1) >>> 0, true);
  const sec = epoch / 1_000_000_000n;
  view.setUint32(at + 4, Number(sec & 0xffffffffn), true);
  view.setUint32(at + 8, Number(epoch % 1_000_000_000n), true);
  view.setUint32(at + 12, Number(sec >> 32n), true);
  view.setUint32(at, ((version | 1) + 1) >>> 0, true);
}
