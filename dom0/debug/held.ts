// Holds a domain's vCPUs while they are looked at, one after the other.
import { DEBUG } from '../../hypervisor/public/debug.ts';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { Domid } from '../../hypervisor/public/types.ts';

/** `look` for each vCPU. Where a debugger has the domain already, its holds are left as they are. @returns -errno when there is no such domain */
export async function eachHeld<T>(hypercalls: Dom0Hypercalls, dom: Domid, look: (vcpu: number) => Promise<T>): Promise<T[] | number> {
  const info = hypercalls.domainInfo(dom);
  if (typeof info === 'number') return info;
  const session = hypercalls.debugAttach(dom, () => {}), results: T[] = [];
  try {
    for (let vcpu = 0; vcpu < info.vcpus; vcpu++) {
      if (typeof session !== 'number') await hypercalls.debugRequest(dom, vcpu, { operation: DEBUG.hold });
      results.push(await look(vcpu));
    }
    return results;
  } finally { if (typeof session !== 'number') await session.close(); }
}
