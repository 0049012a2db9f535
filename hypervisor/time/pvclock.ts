// Guest time: the TSC counts nanoseconds of system time, so pvclock's scale is one and never changes.
import type { DomainMemory } from '../domain/memories.ts';
import type { HypervisorState } from '../domain/state.ts';
import { shared_info, vcpu_info, vcpu_time_info } from '../public/layouts.ts';

/** Where vcpu_time_info is in vcpu_info. */
export const VCPU_TIME_INFO = vcpu_info.fields.time, VCPU_TIME_INFO_BYTES = vcpu_time_info.size;
const TIME = vcpu_time_info.fields, WALL = shared_info.fields;
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

/** Wall clock in shared_info: the time of day at system time 0. */
export function fillWallClock(m: DomainMemory, sharedInfo: number, state: HypervisorState): void {
  const epoch = state.wallEpoch(), sec = epoch / 1_000_000_000n;
  const put = (field: number, value: number): void => m.view.setUint32(sharedInfo + field, value, true);
  const version = m.view.getUint32(sharedInfo + WALL.wc_version, true);
  put(WALL.wc_version, (version | 1) >>> 0);
  put(WALL.wc_sec, Number(sec & 0xffffffffn));
  put(WALL.wc_nsec, Number(epoch % 1_000_000_000n));
  put(WALL.wc_sec_hi, Number(sec >> 32n));
  put(WALL.wc_version, ((version | 1) + 1) >>> 0);
}
