// HYPERVISOR_vm_assist(cmd, type): behaviours a guest may switch on.
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { kickDomain } from '../domain/hypervisor.ts';
import { D } from '../domain/state.ts';
import { vcpuOf } from '../domain/vcpu.ts';
import { EINVAL, ENOSYS } from '../public/errno.ts';
import { VMASST_CMD_disable, VMASST_CMD_enable, VMASST_TYPE_4gb_segments, VMASST_TYPE_4gb_segments_notify, VMASST_TYPE_architectural_iopl, VMASST_TYPE_pae_extended_cr3, VMASST_TYPE_runstate_update_flag, VMASST_TYPE_writable_pagetables } from '../public/xen.ts';

const KNOWN = [VMASST_TYPE_4gb_segments, VMASST_TYPE_4gb_segments_notify, VMASST_TYPE_writable_pagetables, VMASST_TYPE_pae_extended_cr3, VMASST_TYPE_architectural_iopl, VMASST_TYPE_runstate_update_flag];

export const vm_assist: HypercallHandler = (ctx, cmd, type) => {
  const bit = Number(type);
  if (!KNOWN.includes(bit)) return -EINVAL;
  const v = vcpuOf(ctx), { words } = v.hv.state, at = v.hv.state.domain(v.slot) + D.vmAssist;
  if (Number(cmd) === VMASST_CMD_enable) Atomics.or(words, at, 1 << bit);
  else if (Number(cmd) === VMASST_CMD_disable) Atomics.and(words, at, ~(1 << bit));
  else return -ENOSYS;
  // The domain's; its other vCPUs take it over when they look up.
  ctx.pv.vmAssist = Atomics.load(words, at);
  kickDomain(v.hv, v.slot);
  return 0;
};
