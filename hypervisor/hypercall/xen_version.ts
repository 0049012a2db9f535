// HYPERVISOR_xen_version(cmd, arg): public/version.h. Also a guest's way to have pending events delivered.
import type { HypercallHandler, VcpuContext } from '../domain/vcpu-context.ts';
import { copyIn } from '../mm/guest-access.ts';
import { EFAULT, ENODATA, ENOSYS, EPERM } from '../public/errno.ts';
import { XENFEAT_direct_mapped, XENFEAT_gnttab_map_avail_bits, XENFEAT_memory_op_vnode_supported, XENFEAT_mmu_pt_update_preserve_ad, XENFEAT_highmem_assist, XENFEAT_pae_pgdir_above_4gb } from '../public/features.ts';
import { VMASST_TYPE_pae_extended_cr3 } from '../public/xen.ts';
import * as op from '../public/version.ts';
import { D } from '../domain/state.ts';
import { vcpuOf } from '../domain/vcpu.ts';

export const XEN_MAJOR = 4, XEN_MINOR = 17, XEN_EXTRA = '.7', XEN_CAPS = 'xen-3.0-x86_64 ';
/** What a PV guest may use; Xen 4.17 shows the same, 0x220e0, and pae_pgdir_above_4gb once VMASST pae_extended_cr3 is on. */
const FEATURES = [XENFEAT_mmu_pt_update_preserve_ad, XENFEAT_highmem_assist, XENFEAT_gnttab_map_avail_bits, XENFEAT_memory_op_vnode_supported, XENFEAT_direct_mapped].reduce((w, bit) => w | 1 << bit, 0);
const features = (ctx: VcpuContext): number => FEATURES | (ctx.pv.vmAssist >> VMASST_TYPE_pae_extended_cr3 & 1) << XENFEAT_pae_pgdir_above_4gb;
const HYPERVISOR_VIRT_START = 0xffff_8000_0000_0000n;

const text = (ctx: VcpuContext, at: bigint, bytes: number, s: string): number => {
  const out = new Uint8Array(bytes);
  out.set(new TextEncoder().encode(s).subarray(0, bytes - 1));
  return ctx.processor.writeVirtual(at, out) ? 0 : -EFAULT;
};
export const xen_version: HypercallHandler = (ctx, cmd, arg) => {
  switch (Number(cmd)) {
    case op.XENVER_version: return XEN_MAJOR << 16 | XEN_MINOR;
    case op.XENVER_extraversion: return text(ctx, arg, 16, XEN_EXTRA);
    case op.XENVER_compile_info: {
      const out = new Uint8Array(144), put = (at: number, s: string): void => { out.set(new TextEncoder().encode(s), at); };
      put(0, 'TypeScript and WebAssembly');
      put(64, 'xenolith');
      put(112, '');
      return ctx.processor.writeVirtual(arg, out) ? 0 : -EFAULT;
    }
    case op.XENVER_capabilities: return text(ctx, arg, 1024, XEN_CAPS);
    case op.XENVER_changeset: return text(ctx, arg, 64, '');
    case op.XENVER_platform_parameters: return ctx.processor.write64(arg, HYPERVISOR_VIRT_START) ? 0 : -EFAULT;
    case op.XENVER_get_features: {
      const a = copyIn(ctx, arg, 8);
      if (!a) return -EFAULT;
      a.setUint32(4, a.getUint32(0, true) === 0 ? features(ctx) : 0, true);
      return ctx.processor.writeVirtual(arg, new Uint8Array(a.buffer)) ? 0 : -EFAULT;
    }
    case op.XENVER_pagesize: return 4096;
    case op.XENVER_guest_handle: {
      const v = vcpuOf(ctx), out = new DataView(new ArrayBuffer(16));
      for (let i = 0; i < 4; i++) out.setUint32(4 * i, v.hv.state.dget(v.slot, D.uuid + i));
      return ctx.processor.writeVirtual(arg, new Uint8Array(out.buffer)) ? 0 : -EFAULT;
    }
    case op.XENVER_commandline: return -EPERM;
    case op.XENVER_build_id: return -ENODATA;
    default: return -ENOSYS;
  }
};
