// The consoles of all domains as the toolstack and the API see them.
import { join } from 'node:path';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { Domid, EvtchnPort, Mfn } from '../../hypervisor/public/types.ts';
import { ConsoleBackend } from '../console/console-backend.ts';
import type { ConsoleSource } from '../console/console-source.ts';
import type { ConsoleAttachment, Consoles } from './ports.ts';
import { framePage } from './store-adapter.ts';

export class ConsoleTable implements Consoles {
  readonly #hypercalls: Dom0Hypercalls;
  readonly #logDir: string;
  readonly #backends = new Map<Domid, ConsoleBackend>();

  /** @param logDir each console is also kept in guest-NAME.log there */
  constructor(hypercalls: Dom0Hypercalls, logDir: string) { this.#hypercalls = hypercalls; this.#logDir = logDir; }

  open(dom: Domid, name: string, ringMfn: Mfn, port: EvtchnPort): void {
    const hypercalls = this.#hypercalls;
    const backend = new ConsoleBackend({
      hypercalls, domid: dom, page: framePage(hypercalls, dom, ringMfn), port,
      logFile: { path: join(this.#logDir, `guest-${name}.log`) }, log: line => hypercalls.log(line),
    });
    backend.start();
    this.#backends.set(dom, backend);
  }

  async close(dom: Domid): Promise<void> {
    const backend = this.#backends.get(dom);
    this.#backends.delete(dom);
    await backend?.stop();
  }

  source(dom: Domid): ConsoleSource | undefined { return this.#backends.get(dom)?.console; }

  attach(dom: Domid, onData: (data: Uint8Array) => void, onEnd: () => void): ConsoleAttachment | undefined {
    const console = this.#backends.get(dom)?.console;
    if (!console) return undefined;
    const reader = console.attach(onData, 0, onEnd);
    return { write: data => console.write(data), drained: () => console.drained(), close: () => reader.detach() };
  }
}
