// Requests of the toolstack in control/shutdown: taken by emptying the node, then carried out. What is not offered in
// control/feature-* is taken too and refused by a line in the log: whoever waits need not wait for ever.
import { SHUTDOWN_poweroff, SHUTDOWN_reboot } from '../../hypervisor/public/sched.ts';
import type { XenStore } from './xenstore.ts';

const NODE = 'control/shutdown', SHOWN_CHARACTERS = 40;
const REASONS: Readonly<Record<string, number>> = { poweroff: SHUTDOWN_poweroff, halt: SHUTDOWN_poweroff, reboot: SHUTDOWN_reboot };

/** @param end brings everything in order and ends the domain with a SHUTDOWN_* reason @param refuse says why not */
export function followShutdown(store: XenStore, end: (reason: number) => void, refuse: (line: string) => void): void {
  // A program's state is on the stack of its thread, which cannot be taken along: no suspend.
  store.writeAll({ 'control/feature-poweroff': 1, 'control/feature-reboot': 1, 'control/feature-suspend': 0 });
  store.watch(NODE, () => {
    const wanted = store.tryRead(NODE);
    if (!wanted) return;
    store.write(NODE, '');
    if (Object.hasOwn(REASONS, wanted)) end(REASONS[wanted]!); else refuse(`control/shutdown: "${wanted.slice(0, SHOWN_CHARACTERS)}" is not something this kernel does`);
  });
}
