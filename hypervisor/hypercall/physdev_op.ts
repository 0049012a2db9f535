// HYPERVISOR_physdev_op(cmd, arg): what of it a domain without devices may use (public/physdev.h).
import type { HypercallHandler } from '../domain/vcpu-context.ts';
import { copyIn } from '../mm/guest-access.ts';
import { EFAULT, EINVAL, ENOSYS, EPERM } from '../public/errno.ts';
import * as op from '../public/physdev.ts';

const IOPL_MAX = 3, PORTS_MAX = 65536;

export const physdev_op: HypercallHandler = (ctx, cmd, arg) => {
  switch (Number(cmd)) {
    case op.PHYSDEVOP_set_iopl: {
      const a = copyIn(ctx, arg, 4);
      if (!a) return -EFAULT;
      const iopl = a.getUint32(0, true);
      if (iopl > IOPL_MAX) return -EINVAL;
      ctx.pv.iopl = iopl;
      return 0;
    }
    case op.PHYSDEVOP_set_iobitmap: {
      const a = copyIn(ctx, arg, 16);
      if (!a) return -EFAULT;
      if (a.getUint32(8, true) > PORTS_MAX) return -EINVAL;
      ctx.pv.ioBitmap = a.getBigUint64(0, true);
      ctx.pv.ioBitmapPorts = a.getUint32(8, true);
      return 0;
    }
    case op.PHYSDEVOP_map_pirq: case op.PHYSDEVOP_apic_read: case op.PHYSDEVOP_apic_write: return -EPERM;
    default: return -ENOSYS;
  }
};
