// Where a vCPU's time went, as any thread can read it: struct vcpu_runstate_info (public/vcpu.h).
import { vcpu_runstate_info } from '../public/layouts.ts';
import { RUNSTATE_offline } from '../public/vcpu.ts';
import { type HypervisorState, V } from './state.ts';

const { fields } = vcpu_runstate_info;
/** Time in the present runstate counts up to now. */
export function runstateInfo(state: HypervisorState, slot: number, vcpu: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(vcpu_runstate_info.size));
  const now = state.vget(slot, vcpu, V.runstate), since = state.vlong(slot, vcpu, V.runstateSince);
  view.setInt32(fields.state, now, true);
  view.setBigUint64(fields.state_entry_time, since, true);
  for (let n = 0; n <= RUNSTATE_offline; n++) {
    const spent = state.vlong(slot, vcpu, V.runstateTime + 2 * n);
    view.setBigUint64(fields.time + 8 * n, n === now ? spent + state.now() - since : spent, true);
  }
  return new Uint8Array(view.buffer);
}
