// Long work as objects: what it is, how far it is, how it ended. Each is stored before it begins and when it ends, so that
// its result outlives the client that asked, and a host that was killed says which ones it left half-done.
import { randomUUID } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { z } from 'zod';
import { within } from '../log-context.ts';
import { messageOf, ToolstackError } from '../toolstack/errors.ts';
import type { Log } from '../toolstack/ports.ts';
import type { Watch } from '../toolstack/watch.ts';
import { withoutWaiting } from './database.ts';
import { ManagementError } from './errors.ts';

export const OPERATION_STATES = ['running', 'succeeded', 'failed', 'cancelled', 'interrupted'] as const;
const progress = z.object({ step: z.string(), done: z.number().int(), of: z.number().int() }).readonly();

export const operationView = z.object({
  id: z.string(), number: z.number().int(), kind: z.string().describe('the action: create, start, shutdown, ...'), target: z.string().describe('name of the domain'), who: z.string(),
  state: z.enum(OPERATION_STATES).describe('interrupted: the host ended while it ran'),
  progress: progress.optional(), result: z.unknown().optional().describe('as the call without Prefer answers'),
  problem: z.object({ code: z.string(), detail: z.string() }).loose().optional(), createdMs: z.number(), endedMs: z.number().optional(),
}).readonly();
export type OperationView = z.infer<typeof operationView>;
type State = OperationView['state'];

export interface OperationsOptions {
  readonly database: DatabaseSync;
  readonly nowMs: () => number;
  /** How an error is told, as a problem document. */
  readonly problemOf: (error: unknown) => { readonly code: string; readonly detail: string };
  readonly log?: Log;
  /** Hears of every change. */
  readonly changed?: (operation: OperationView) => void;
}
export interface OperationRun<T> { readonly id: string; readonly done: Promise<T> }

/** Progress is stored with the end alone, and no commit here waits for the disk: it would do so on the thread that serves the guests. */
interface Running { readonly control: AbortController; readonly end: Promise<void>; readonly ended: () => void; progress?: NonNullable<OperationView['progress']> }
interface Row { number: number; id: string; kind: string; target: string; who: string; state: State; progress: string | null; result: string | null; problem: string | null; created_ms: number; ended_ms: number | null }

/** Ended ones that are remembered, and how many may run at once. */
const KEPT = 1000, MAX_RUNNING = 256;

export class Operations {
  readonly #options: OperationsOptions;
  /** What is asked often is not compiled each time, which takes longer than asking. */
  readonly #newest: StatementSync;
  readonly #byId: StatementSync;
  readonly #running = new Map<string, Running>();

  constructor(options: OperationsOptions) {
    this.#options = options;
    this.#newest = options.database.prepare('SELECT * FROM operations WHERE number < ?1 AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR target = ?3) ORDER BY number DESC LIMIT ?4');
    this.#byId = options.database.prepare('SELECT * FROM operations WHERE id = ?');
  }

  /** What a host that ended in between left running is reported so. To be called once, before anything is run. */
  reportInterrupted(): OperationView[] {
    const { database, nowMs } = this.#options, left = database.prepare("SELECT id FROM operations WHERE state = 'running'").all() as { id: string }[];
    database.prepare("UPDATE operations SET state = 'interrupted', ended_ms = ? WHERE state = 'running'").run(nowMs());
    return left.map(({ id }) => this.#tell(id));
  }

  /**
   * Begins work, whose end is stored whoever still listens.
   * @throws ManagementError 'limit-reached'
   */
  run<T>(what: { readonly kind: string; readonly target: string; readonly who: string }, work: (watch: Watch) => Promise<T>): OperationRun<T> {
    if (this.#running.size >= MAX_RUNNING) throw new ManagementError('limit-reached', `${MAX_RUNNING} operations run already: wait for some to end`);
    const id = randomUUID(), control = new AbortController(), { database, nowMs } = this.#options;
    withoutWaiting(database, () => database.prepare("INSERT INTO operations (id, kind, target, who, state, created_ms) VALUES (?, ?, ?, ?, 'running', ?)").run(id, what.kind, what.target, what.who, nowMs()));
    const { promise: end, resolve: ended } = Promise.withResolvers<void>();
    const running: Running = { control, end, ended };
    this.#running.set(id, running);
    this.#tell(id);
    const watch: Watch = { signal: control.signal, step: (step, done, of) => {
      control.signal.throwIfAborted();
      running.progress = { step, done, of };
      this.#tell(id);
    } };
    const done = within({ operation: id }, () => work(watch)).then(result => { this.#settle(id, 'succeeded', { result }); return result; }, (error: unknown) => {
      this.#settle(id, error instanceof ToolstackError && error.code === 'cancelled' ? 'cancelled' : 'failed', { problem: this.#options.problemOf(error) });
      throw error;
    });
    done.catch(() => {});
    return { id, done };
  }

  /** Newest first. @param before only older ones than this number */
  list({ before = Number.MAX_SAFE_INTEGER, limit = 100, state, target }: { readonly before?: number | undefined; readonly limit?: number | undefined; readonly state?: State | undefined; readonly target?: string | undefined } = {}): OperationView[] {
    const rows = this.#newest.all(before, state ?? null, target ?? null, limit);
    return (rows as unknown as Row[]).map(row => this.#view(row));
  }
  /** @throws ManagementError 'operation-not-found' */
  get(id: string): OperationView {
    const row = this.#byId.get(id) as unknown as Row | undefined;
    if (!row) throw new ManagementError('operation-not-found', `there is no operation ${id}, or it ended long ago`);
    return this.#view(row);
  }
  #view(row: Row): OperationView {
    const progress = this.#running.get(row.id)?.progress;
    return { ...viewOf(row), ...progress && { progress } };
  }
  /** Resolves with how it ended, or how far it is after so long. @throws ManagementError 'operation-not-found' */
  async ended(id: string, waitMs: number): Promise<OperationView> {
    const now = this.get(id);
    if (!this.#running.has(id) || waitMs <= 0) return now;
    let timer: NodeJS.Timeout | undefined;
    await Promise.race([this.#end(id), new Promise<void>(resolve => { timer = setTimeout(resolve, waitMs).unref(); })]);
    clearTimeout(timer);
    return this.get(id);
  }
  /** Asks it to end; what it made so far is undone. Resolves when it has ended, which may be with success after all. @throws ManagementError */
  async cancel(id: string): Promise<OperationView> {
    const { state } = this.get(id), running = this.#running.get(id);
    if (!running) throw new ManagementError('operation-ended', `operation ${id} has ended: ${state}`);
    running.control.abort(new ToolstackError('cancelled', 'the operation was cancelled'));
    await this.#end(id);
    return this.get(id);
  }

  #end(id: string): Promise<void> { return this.#running.get(id)?.end ?? Promise.resolve(); }
  #settle(id: string, state: State, { result, problem }: { result?: unknown; problem?: object }): void {
    const { database, nowMs } = this.#options, running = this.#running.get(id);
    this.#running.delete(id);
    try {
      withoutWaiting(database, () => {
        database.prepare('UPDATE operations SET state = ?, progress = ?, result = ?, problem = ?, ended_ms = ? WHERE id = ?').run(state, running?.progress ? JSON.stringify(running.progress) : null, result === undefined ? null : JSON.stringify(result), problem === undefined ? null : JSON.stringify(problem), nowMs(), id);
        database.prepare("DELETE FROM operations WHERE state <> 'running' AND number <= (SELECT max(number) FROM operations) - ?").run(KEPT);
      });
      this.#tell(id);
    } catch (error) {
      // The disk is full, say: the work is done all the same, and the next host reports it as interrupted.
      this.#options.log?.error({ operation: id, state, error: messageOf(error) }, 'the end of an operation cannot be stored');
    } finally {
      running?.ended();
    }
  }
  #tell(id: string): OperationView {
    const view = this.get(id);
    this.#options.changed?.(view);
    return view;
  }
}

const viewOf = (row: Row): OperationView => ({
  id: row.id, number: row.number, kind: row.kind, target: row.target, who: row.who, state: row.state, createdMs: row.created_ms,
  ...(row.progress === null ? {} : { progress: JSON.parse(row.progress) as OperationView['progress'] }), ...(row.result === null ? {} : { result: JSON.parse(row.result) as unknown }),
  ...(row.problem === null ? {} : { problem: JSON.parse(row.problem) as { code: string; detail: string } }), ...(row.ended_ms === null ? {} : { endedMs: row.ended_ms }),
});
