// Requests of the toolstack in control/shutdown: taken by emptying the node, then carried out.
import { SHUTDOWN_poweroff, SHUTDOWN_reboot } from '../../hypervisor/public/sched.ts';
import type { XenStore } from './xenstore.ts';

const NODE = 'control/shutdown';
const REASONS: Readonly<Record<string, number>> = { poweroff: SHUTDOWN_poweroff, halt: SHUTDOWN_poweroff, reboot: SHUTDOWN_reboot };

/** @param end brings everything in order and ends the domain with a SHUTDOWN_* reason */
export function followShutdown(store: XenStore, end: (reason: number) => void): void {
  for (const feature of ['poweroff', 'reboot']) store.write(`control/feature-${feature}`, 1);
  store.watch(NODE, () => {
    const wanted = store.tryRead(NODE), reason = wanted ? REASONS[wanted] : undefined;
    if (reason === undefined) return;
    store.write(NODE, '');
    end(reason);
  });
}
