// Debugging aids of the control domain, as the HTTP API offers them.
import { join } from 'node:path';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import { checked } from '../toolstack/errors.ts';
import { GdbServer, type GdbEvent, type GdbListen } from './gdb-server.ts';
import { readInstructions, traceInstructions, type InstructionView } from './instructions.ts';
import { readStacks, type StackView } from './stack.ts';

export class DebugServices {
  readonly #hypercalls: Dom0Hypercalls;
  readonly #runDir: string;
  readonly #servers = new Set<GdbServer>();

  constructor(hypercalls: Dom0Hypercalls, runDir: string) {
    this.#hypercalls = hypercalls; this.#runDir = runDir;
    hypercalls.onDomainEvent(() => { for (const server of this.#servers) server.domainEvent(); });
  }

  /** Waits for a gdb. Without a place it listens on a socket in the run folder. @throws Error: the address is taken or not allowed */
  async openGdb(dom: Domid, listen: GdbListen | undefined, say: (event: GdbEvent) => void): Promise<GdbServer> {
    const server = new GdbServer(this.#hypercalls, dom, listen ?? { socket: join(this.#runDir, `gdb-${dom}.sock`) }, event => {
      if (event.event === 'ended') this.#servers.delete(server);
      say(event);
    });
    await server.open();
    this.#servers.add(server);
    return server;
  }
  closeAll(): void { for (const server of this.#servers) server.close(); }

  /** @throws ToolstackError */
  async stacks(dom: Domid): Promise<StackView[]> {
    const views = await readStacks(this.#hypercalls, dom);
    return typeof views === 'number' ? fail(views, 'reading the stacks') : views;
  }
  async setInstructionTrace(dom: Domid, count: number): Promise<void> { checked(await traceInstructions(this.#hypercalls, dom, count), 'tracing instructions'); }
  async instructions(dom: Domid, last: number): Promise<InstructionView[]> {
    const views = await readInstructions(this.#hypercalls, dom, last);
    return typeof views === 'number' ? fail(views, 'reading the trace') : views;
  }
}
const fail = (error: number, what: string): never => { checked(error, what); throw new Error(what); };
