// Debugging aids of the control domain, as the HTTP API offers them.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import { EBUSY, EINVAL, ENODATA } from '../../hypervisor/public/errno.ts';
import type { TraceKind } from '../../hypervisor/public/debug.ts';
import { checked, ToolstackError } from '../toolstack/errors.ts';
import { GdbServer, type GdbEvent, type GdbListen } from './gdb-server.ts';
import { readInstructions, traceInstructions, type InstructionView } from './instructions.ts';
import { measure, type PerfReport } from './perf.ts';
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
    const usual = join(this.#runDir, `gdb-${dom}.sock`);
    // What a host that was killed left behind is in nobody's way.
    if (!listen && ![...this.#servers].some(server => server.uses(usual))) rmSync(usual, { force: true });
    const server = new GdbServer(this.#hypercalls, dom, listen ?? { socket: usual }, event => {
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
  /** @throws ToolstackError */
  async perf(dom: Domid, seconds: number, hertz: number, signal?: AbortSignal): Promise<PerfReport> {
    const report = await measure(this.#hypercalls, dom, seconds, hertz, signal);
    if (report === -EBUSY) throw new ToolstackError('domain-busy', `domain ${dom} is being measured already: try again when that has ended`);
    return typeof report === 'number' ? fail(report, 'measuring') : report;
  }
  setCallTrace(dom: Domid, on: boolean): void { checked(this.#hypercalls.traceDomain(dom, on), 'tracing'); }
  /** @throws ToolstackError */
  calls(dom: Domid, kinds: readonly TraceKind[], last: number): string[] {
    const lines = this.#hypercalls.readTrace(dom, kinds, last);
    if (lines === -ENODATA) throw notTraced(dom, '');
    return typeof lines === 'number' ? fail(lines, 'reading the trace') : lines;
  }
  async instructions(dom: Domid, last: number): Promise<InstructionView[]> {
    const views = await readInstructions(this.#hypercalls, dom, last);
    if (views === -EINVAL) throw notTraced(dom, '--instructions ');
    return typeof views === 'number' ? fail(views, 'reading the trace') : views;
  }
}
const fail = (error: number, what: string): never => { checked(error, what); throw new Error(what); };
const notTraced = (dom: Domid, what: string): ToolstackError => new ToolstackError('not-traced', `domain ${dom} is not traced: switch it on with "xenolith trace ${dom} ${what}--on"`);
