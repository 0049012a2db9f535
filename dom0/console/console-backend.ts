// Consoles of all domains: each is a ring whose page and event channel the domain builder has set up. Like real
// xenconsoled it follows no xenbus states: the ring is served from creation to destruction.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { Domid, EvtchnPort } from '../../hypervisor/public/types.ts';
import type { Backend } from '../bus/backend.ts';
import { DomainConsole, type DomainConsoleOptions } from './domain-console.ts';

export interface ConsoleBackendOptions extends DomainConsoleOptions {
  readonly hypercalls: Pick<Dom0Hypercalls, 'evtchnBindInterdomain' | 'evtchnSend' | 'evtchnClose' | 'onEvent'>;
  readonly domid: Domid;
  /** The console page, 4096 bytes. */
  readonly page: Uint8Array<SharedArrayBuffer>;
  /** The guest's unbound port. */
  readonly port: EvtchnPort;
}

export class ConsoleBackend implements Backend {
  readonly kind = 'console';
  readonly name: string;
  readonly console: DomainConsole;
  readonly #o: ConsoleBackendOptions;
  #port: EvtchnPort | undefined;

  constructor(options: ConsoleBackendOptions) {
    this.#o = options;
    this.name = `console/${options.domid}/0`;
    const notify = (): void => { if (this.#port !== undefined) options.hypercalls.evtchnSend(this.#port); };
    this.console = new DomainConsole(options.page, notify, { name: `d${options.domid}`, ...options });
  }

  /** @throws Error if the event channel cannot be bound */
  start(): void {
    const { hypercalls, domid, port } = this.#o;
    const local = hypercalls.evtchnBindInterdomain(domid, port);
    if (local < 0) throw new Error(`console of d${domid}: its event channel ${port} cannot be bound (error ${local})`);
    this.#port = local as EvtchnPort;
    hypercalls.onEvent(this.#port, () => this.console.onEvent());
    // What was written before there was anybody to be told of it.
    this.console.onEvent();
  }

  /** @param final said to the readers before they are ended */
  async stop(final = ''): Promise<void> {
    this.console.close(final);
    const port = this.#port;
    this.#port = undefined;
    if (port !== undefined) this.#o.hypercalls.evtchnClose(port);
  }
}
