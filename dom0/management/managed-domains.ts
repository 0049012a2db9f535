// Domains that have a definition: starting them, with the host too, and starting them again as their policy says.
// A domain belongs to a definition by its UUID. What its on_poweroff, on_crash, ... say comes first; the policy is asked once
// the domain is gone and nothing else brings it back.
import { z } from 'zod';
import { SHUTDOWN_crash, SHUTDOWN_watchdog } from '../../hypervisor/public/sched.ts';
import type { DomainView } from '../toolstack/action.ts';
import type { DomainConfig } from '../toolstack/config/schema.ts';
import { messageOf, ToolstackError } from '../toolstack/errors.ts';
import type { Log } from '../toolstack/ports.ts';
import type { Gone, Toolstack } from '../toolstack/toolstack.ts';
import type { Definition, Definitions, RestartPolicy } from './definitions.ts';
import type { OperationRun, Operations } from './operations.ts';

export const definitionStatus = z.object({
  state: z.enum(['stopped', 'starting', 'running', 'waiting', 'failed']).describe('waiting: for its next start; failed: given up'),
  domid: z.number().optional(), wanted: z.enum(['running', 'stopped']).describe('what was asked for last'),
  restarts: z.number().describe('in a row'), nextStartMs: z.number().optional(),
  lastEnd: z.object({ atMs: z.number(), reason: z.number().optional().describe('SHUTDOWN_*; absent: it was destroyed') }).optional(), lastError: z.string().optional(),
}).readonly();
export type DefinitionStatus = z.infer<typeof definitionStatus>;

export interface ManagedOptions {
  readonly definitions: Definitions; readonly operations: Operations; readonly toolstack: Toolstack; readonly log: Log;
  readonly nowMs: () => number;
  /** Checks the files of what a remote caller defined once more. @throws ManagementError 'path-refused' */
  readonly confine: (config: DomainConfig) => Promise<DomainConfig>;
  /** Milliseconds per second of a policy; tests have less time. */
  readonly secondMs?: number;
}

/** Of this life of the host. */
interface Course { restarts: number; starting: boolean; failed: boolean; /** The toolstack makes it again by itself. */ returns: boolean; timer?: NodeJS.Timeout; nextStartMs?: number; lastEnd?: { atMs: number; reason?: number }; lastError?: string }

/** In the log of operations and of changes: nobody asked, the host did it by itself. */
export const HOST = 'host';

export class ManagedDomains {
  readonly #options: ManagedOptions;
  readonly #courses = new Map<string, Course>();
  #closed = false;

  constructor(options: ManagedOptions) {
    this.#options = options;
    options.toolstack.onGone = gone => this.#gone(gone);
  }

  /** Starts what is to run. @param fresh the host has just started; else only Dom0 began anew, and domains went on */
  async resume(fresh: boolean): Promise<void> {
    const { definitions, toolstack, log } = this.#options;
    for (const definition of definitions.list()) {
      if (this.#closed) return;
      if (toolstack.withUuid(definition.uuid)) continue;
      if (!fresh) { if (definitions.wanted(definition.uuid) === 'running') this.#again(definition, { error: 'Dom0 began anew' }); continue; }
      if (!definition.autostart) { definitions.want(definition.uuid, 'stopped'); continue; }
      try { await this.start(definition, HOST).done; } catch (error) { log.error({ name: definition.name, error: messageOf(error) }, 'a domain that starts with the host did not start'); }
    }
  }

  /** @throws ToolstackError 'domain-exists' it runs */
  start({ uuid }: { readonly uuid: string }, who: string, paused = false): OperationRun<DomainView> {
    const { definitions, operations, toolstack } = this.#options, definition = definitions.get(uuid), course = this.#course(uuid), running = toolstack.withUuid(uuid);
    if (running || course.starting) throw new ToolstackError('domain-exists', `definition ${definition.name} ${running ? `runs already, as domain ${running.domid}` : 'is being started'}`);
    const run = operations.run({ kind: 'start', target: definition.name, who }, async watch => {
      const config = definition.confined ? await this.#options.confine(definition.config) : definition.config;
      return (await toolstack.perform({ action: 'create', config, paused }, watch))!;
    });
    // Only now: an operation may be refused.
    if (who !== HOST) course.restarts = 0;
    this.#unschedule(course);
    definitions.want(uuid, 'running');
    course.starting = true;
    course.failed = course.returns = false;
    run.done.then(() => { course.starting = false; delete course.lastError; }, (error: unknown) => {
      course.starting = false;
      course.lastError = messageOf(error);
      if (error instanceof ToolstackError && error.code === 'cancelled') definitions.want(uuid, 'stopped');
      else if (who === HOST) this.#again(definition, { error });
      else { definitions.want(uuid, 'stopped'); course.failed = true; }
    });
    return run;
  }

  /** Around what is to end a domain: its policy lets it rest, unless that fails. */
  async stopping<T>(uuid: string | undefined, end: () => Promise<T>): Promise<T> {
    const { definitions } = this.#options, before = uuid === undefined ? 'stopped' : definitions.wanted(uuid);
    if (uuid !== undefined) { definitions.want(uuid, 'stopped'); this.#unschedule(this.#courses.get(uuid)); }
    try { return await end(); } catch (error) {
      if (uuid !== undefined) definitions.want(uuid, before);
      throw error;
    }
  }

  /** Takes it out of the hands of its policy; a domain that runs goes on as one without a definition. */
  remove(uuid: string): void {
    this.#unschedule(this.#courses.get(uuid));
    this.#courses.delete(uuid);
    this.#options.definitions.remove(uuid);
  }

  status(uuid: string): DefinitionStatus {
    const course = this.#course(uuid), running = this.#options.toolstack.withUuid(uuid);
    const state = running ? 'running' : course.starting ? 'starting' : course.timer || course.returns ? 'waiting' : course.failed ? 'failed' : 'stopped';
    const { restarts, nextStartMs, lastEnd, lastError } = course;
    return {
      state, wanted: this.#options.definitions.wanted(uuid), restarts, ...(running ? { domid: running.domid } : {}), ...(nextStartMs === undefined ? {} : { nextStartMs }),
      ...(lastEnd ? { lastEnd } : {}), ...(lastError === undefined ? {} : { lastError }),
    };
  }

  /** Nothing is started any more. */
  close(): void {
    this.#closed = true;
    for (const course of this.#courses.values()) this.#unschedule(course);
  }

  #gone({ config, reason, ranMs, returns, error }: Gone): void {
    const definition = this.#options.definitions.find(config.uuid);
    if (!definition || definition.uuid !== config.uuid || this.#closed) return;
    const course = this.#course(definition.uuid);
    course.returns = returns;
    // It could not be made again because a caller was quicker.
    if (error !== undefined && (course.starting || this.#options.toolstack.withUuid(definition.uuid))) return;
    course.lastEnd = { atMs: this.#options.nowMs(), ...(reason === undefined ? {} : { reason }) };
    if (ranMs >= definition.restart.resetSeconds * this.#secondMs) course.restarts = 0;
    if (!returns) this.#again(definition, { ...(reason === undefined ? {} : { reason }), ...(error === undefined ? {} : { error }) });
  }

  /** Another start after a pause, if the policy wants one. */
  #again({ uuid, name, restart }: Definition, why: { readonly reason?: number; readonly error?: unknown }): void {
    const { definitions, log, nowMs } = this.#options, course = this.#course(uuid);
    if (this.#closed || definitions.wanted(uuid) !== 'running') return;
    if (!restartsAfter(restart, why)) { definitions.want(uuid, 'stopped'); course.failed = why.error !== undefined; return; }
    if (restart.maxRestarts > 0 && course.restarts >= restart.maxRestarts) {
      log.warn({ name, restarts: course.restarts }, 'the domain is not started again: it has ended too often');
      course.failed = true;
      return;
    }
    const delayMs = pauseSeconds(restart, course.restarts) * this.#secondMs;
    course.restarts++;
    course.nextStartMs = nowMs() + delayMs;
    course.timer = setTimeout(() => {
      this.#unschedule(course);
      const definition = definitions.find(uuid);
      if (this.#closed || !definition) return;
      // The policy may have been changed in the pause.
      if (!restartsAfter(definition.restart, why)) { definitions.want(uuid, 'stopped'); return; }
      try { this.start({ uuid }, HOST); } catch (error) {
        log.warn({ name, error: messageOf(error) }, 'starting a domain again');
        if (!this.#options.toolstack.withUuid(uuid)) this.#again(definition, { error });
      }
    }, delayMs).unref();
  }

  get #secondMs(): number { return this.#options.secondMs ?? 1000; }
  #course(uuid: string): Course {
    let course = this.#courses.get(uuid);
    if (!course) this.#courses.set(uuid, course = { restarts: 0, starting: false, failed: false, returns: false });
    return course;
  }
  #unschedule(course: Course | undefined): void { clearTimeout(course?.timer); delete course?.timer; delete course?.nextStartMs; }
}

export function restartsAfter({ policy }: RestartPolicy, { reason, error }: { readonly reason?: number; readonly error?: unknown }): boolean {
  return policy === 'always' || (policy === 'on-failure' && (error !== undefined || reason === SHUTDOWN_crash || reason === SHUTDOWN_watchdog));
}

/** @param restarts that there were in a row */
export const pauseSeconds = ({ minSeconds, maxSeconds }: RestartPolicy, restarts: number): number => Math.min(maxSeconds, minSeconds * 2 ** Math.min(restarts, 30));
