// Requests of the toolstack in control/shutdown: taken by emptying the node, then carried out. What is not offered in
// control/feature-* is taken too and refused by a line in the log: whoever waits need not wait for ever.
import { SHUTDOWN_poweroff, SHUTDOWN_reboot } from '../../hypervisor/public/sched.ts';
import type { XenStore } from './xenstore.ts';

const NODE = 'control/shutdown', SHOWN_CHARACTERS = 40;
const REASONS: Readonly<Record<string, number>> = { poweroff: SHUTDOWN_poweroff, halt: SHUTDOWN_poweroff, reboot: SHUTDOWN_reboot };

export interface Ends {
  /** Brings everything in order and ends the domain with a SHUTDOWN_* reason. */
  end(reason: number): void;
  /** Returns once the domain is resumed. */
  suspend(): void;
  /** Says why not. */
  log(line: string): void;
}

export function followShutdown(store: XenStore, kernel: Ends): void {
  store.writeAll({ 'control/feature-poweroff': 1, 'control/feature-reboot': 1, 'control/feature-suspend': 1 });
  store.watch(NODE, () => {
    const wanted = store.tryRead(NODE);
    if (!wanted) return;
    store.write(NODE, '');
    if (wanted === 'suspend') kernel.suspend();
    else if (Object.hasOwn(REASONS, wanted)) kernel.end(REASONS[wanted]!);
    else kernel.log(`control/shutdown: "${wanted.slice(0, SHOWN_CHARACTERS)}" is not something this kernel does`);
  });
}
