// What the host keeps and does for its callers, put together: definitions and their domains, operations, tokens, the audit log.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import type { Log } from '../toolstack/ports.ts';
import type { Toolstack } from '../toolstack/toolstack.ts';
import { AuditLog } from './audit-log.ts';
import { openDatabase } from './database.ts';
import { Definitions, type Definition } from './definitions.ts';
import { IdempotencyKeys } from './idempotency-keys.ts';
import { HOST, ManagedDomains } from './managed-domains.ts';
import { Operations, type OperationView, type OperationsOptions } from './operations.ts';
import { Roots } from './roots.ts';
import { makeStateFolder, stateFolderAt, type StateFolder } from './state-folder.ts';
import { Tokens } from './tokens.ts';

export interface ManagementOptions {
  readonly toolstack: Toolstack; readonly log: Log; readonly nowMs: () => number;
  readonly problemOf: OperationsOptions['problemOf'];
  /** Absent: one that is removed at the end. */
  readonly folder?: StateFolder;
  readonly roots?: readonly string[];
  /** Of this life of the host: another one than the last has autostart done. */
  readonly hostLife?: string;
  /** Of restart policies, in milliseconds. */
  readonly secondMs?: number;
}

export type ManagementEvent =
  | { readonly type: 'operation-changed'; readonly data: OperationView }
  | { readonly type: 'definition-changed'; readonly data: Definition }
  | { readonly type: 'definition-removed'; readonly data: { readonly uuid: string; readonly name: string } };

export class Management {
  readonly definitions: Definitions;
  readonly operations: Operations;
  readonly idempotencyKeys: IdempotencyKeys;
  readonly managed: ManagedDomains;
  readonly tokens: Tokens;
  readonly audit: AuditLog;
  readonly roots: Roots;
  readonly #database: DatabaseSync;
  readonly #fresh: boolean;
  readonly #listeners = new Set<(event: ManagementEvent) => void>();
  readonly #passing: string | undefined;

  /** @throws Error the database cannot be used */
  constructor({ toolstack, log, nowMs, problemOf, folder, roots = [], hostLife, secondMs }: ManagementOptions) {
    this.#passing = folder ? undefined : mkdtempSync(join(tmpdir(), 'xenolith-'));
    const place = folder ?? stateFolderAt(this.#passing!);
    makeStateFolder(place);
    this.#database = openDatabase(folder ? place.database : ':memory:');
    this.audit = new AuditLog(place.audit, nowMs);
    this.roots = new Roots(roots);
    this.definitions = new Definitions(this.#database, nowMs);
    this.idempotencyKeys = new IdempotencyKeys(this.#database);
    this.tokens = new Tokens(this.#database, nowMs);
    this.operations = new Operations({ database: this.#database, nowMs, problemOf, log, changed: operation => {
      this.publish({ type: 'operation-changed', data: operation });
      if (operation.who === HOST && (operation.state !== 'running' || operation.progress === undefined)) this.#noteOwn(operation, log);
    } });
    this.managed = new ManagedDomains({ definitions: this.definitions, operations: this.operations, toolstack, log, nowMs, confine: config => this.roots.confine(config), ...(secondMs === undefined ? {} : { secondMs }) });
    this.#fresh = this.#newLife(hostLife);
    for (const { id, kind, target } of this.operations.reportInterrupted()) log.warn({ operation: id, kind, target }, 'the host ended while an operation ran');
  }

  /** Starts domains that are to run. */
  resume(): Promise<void> { return this.managed.resume(this.#fresh); }

  /** @returns ends it */
  onEvent(listener: (event: ManagementEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  }
  publish(event: ManagementEvent): void { for (const listener of this.#listeners) listener(event); }

  async close(): Promise<void> {
    this.managed.close();
    await this.audit.close();
    this.#database.close();
    if (this.#passing) rmSync(this.#passing, { recursive: true, force: true });
  }

  /** What the host starts by itself is a change too. */
  #noteOwn({ id, kind, target, state }: OperationView, log: Log): void {
    this.audit.add({ who: HOST, what: `${kind} ${target}`, detail: `operation ${id}: ${state}` }).catch((error: unknown) => { log.error({ error: String(error) }, 'the audit log'); });
  }

  #newLife(hostLife: string | undefined): boolean {
    const before = (this.#database.prepare("SELECT value FROM meta WHERE key = 'host-life'").get() as { value: string } | undefined)?.value;
    if (hostLife === undefined || before === hostLife) return hostLife === undefined;
    this.#database.prepare("INSERT INTO meta VALUES ('host-life', ?1) ON CONFLICT (key) DO UPDATE SET value = ?1").run(hostLife);
    return true;
  }
}
