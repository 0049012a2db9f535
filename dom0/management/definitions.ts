// Definitions of managed domains, as they are kept. What a running host makes of them is managed-domains.ts.
// Invariant: a definition's UUID never changes; its revision rises with every change.
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { z } from 'zod';
import { domainConfig, type DomainConfig } from '../toolstack/config/schema.ts';
import { transaction } from './database.ts';
import { ManagementError } from './errors.ts';

const policyField = {
  policy: z.enum(['always', 'on-failure', 'never']).describe('on-failure: after a crash, a watchdog, or a start that failed'),
  minSeconds: z.number().min(0).max(86_400).describe('pause before the first restart; doubles with each further one'),
  maxSeconds: z.number().min(0).max(86_400).describe('longest pause'),
  resetSeconds: z.number().min(0).max(86_400).describe('a domain that ran this long begins to count anew'),
  maxRestarts: z.number().int().min(0).max(1_000_000).describe('gives up after so many in a row; 0: never'),
};
export const restartPolicy = z.strictObject({
  policy: policyField.policy.default('never'), minSeconds: policyField.minSeconds.default(1), maxSeconds: policyField.maxSeconds.default(60),
  resetSeconds: policyField.resetSeconds.default(60), maxRestarts: policyField.maxRestarts.default(0),
});
/** What is left out stays as it is. */
export const restartChange = z.strictObject(policyField).partial();
export type RestartPolicy = z.output<typeof restartPolicy>;
export const NO_RESTART: RestartPolicy = restartPolicy.parse({});

export const definitionView = z.object({
  uuid: z.string(), name: z.string(), config: domainConfig, autostart: z.boolean(), restart: restartPolicy,
  confined: z.boolean().describe('defined by a remote caller: its files have to lie below the roots'),
  revision: z.number().int(), createdMs: z.number(), updatedMs: z.number(),
}).readonly();
export type Definition = z.infer<typeof definitionView>;

/** What a change may set. */
export type Settings = Pick<Definition, 'config' | 'autostart' | 'restart' | 'confined'>;
/** What the last caller asked for: restart policies heed it. */
export type Wanted = 'running' | 'stopped';

interface Row { uuid: string; name: string; config: string; autostart: number; restart: string; confined: number; wanted: Wanted; revision: number; created_ms: number; updated_ms: number }

const MAX_DEFINITIONS = 10_000;

export class Definitions {
  readonly #database: DatabaseSync;
  readonly #nowMs: () => number;
  readonly #page: StatementSync;

  constructor(database: DatabaseSync, nowMs: () => number) {
    this.#database = database;
    this.#nowMs = nowMs;
    this.#page = database.prepare('SELECT * FROM definitions WHERE name > ? AND instr(name, ?) > 0 ORDER BY name LIMIT ?');
  }

  /** By name. */
  list({ after = '', limit = -1, name = '' }: { readonly after?: string | undefined; readonly limit?: number | undefined; readonly name?: string | undefined } = {}): Definition[] {
    const rows = this.#page.all(after, name, limit);
    return (rows as unknown as Row[]).map(definitionOf);
  }
  /** @param ref name or UUID */
  find(ref: string): Definition | undefined {
    const row = this.#database.prepare('SELECT * FROM definitions WHERE name = ?1 OR uuid = ?1 ORDER BY uuid = ?1 LIMIT 1').get(ref) as unknown as Row | undefined;
    return row && definitionOf(row);
  }
  /** @throws ManagementError 'definition-not-found' */
  get(ref: string): Definition {
    const found = this.find(ref);
    if (!found) throw new ManagementError('definition-not-found', `there is no definition ${ref}`);
    return found;
  }

  /** @throws ManagementError 'definition-exists', 'limit-reached' */
  add({ config, autostart, restart, confined }: Settings): Definition {
    return transaction(this.#database, () => {
      this.mustBeFree(config.name, '');
      this.mustBeFree(config.uuid, '');
      const { count } = this.#database.prepare('SELECT count(*) AS count FROM definitions').get() as { count: number }, now = this.#nowMs();
      if (count >= MAX_DEFINITIONS) throw new ManagementError('limit-reached', `there are ${count} definitions already`);
      this.#database.prepare("INSERT INTO definitions VALUES (?, ?, ?, ?, ?, ?, 'stopped', 1, ?, ?)").run(config.uuid, config.name, JSON.stringify(config), Number(autostart), JSON.stringify(restart), Number(confined), now, now);
      return this.get(config.uuid);
    });
  }

  /**
   * Changes one; its UUID stays.
   * @param revision the one that it must have, if any
   * @throws ManagementError 'definition-not-found', 'definition-exists', 'precondition-failed'
   */
  change(uuid: string, settings: Partial<Settings>, revision?: number): Definition {
    return transaction(this.#database, () => {
      const before = this.get(uuid), after = { ...before, ...settings }, config = { ...after.config, uuid };
      if (revision !== undefined && revision !== before.revision) throw new ManagementError('precondition-failed', `definition ${before.name} is at revision ${before.revision}, not ${revision}: read it again`);
      this.mustBeFree(config.name, uuid);
      this.#database.prepare('UPDATE definitions SET name = ?, config = ?, autostart = ?, restart = ?, confined = ?, revision = revision + 1, updated_ms = ? WHERE uuid = ?')
        .run(config.name, JSON.stringify(config), Number(after.autostart), JSON.stringify(after.restart), Number(after.confined), this.#nowMs(), uuid);
      return this.get(uuid);
    });
  }

  remove(uuid: string): void { this.#database.prepare('DELETE FROM definitions WHERE uuid = ?').run(uuid); }

  wanted(uuid: string): Wanted { return (this.#database.prepare('SELECT wanted FROM definitions WHERE uuid = ?').get(uuid) as { wanted: Wanted } | undefined)?.wanted ?? 'stopped'; }
  /** No change of the definition: its revision stays. */
  want(uuid: string, wanted: Wanted): void {
    if (this.wanted(uuid) !== wanted) this.#database.prepare('UPDATE definitions SET wanted = ? WHERE uuid = ?').run(wanted, uuid);
  }

  /** @param uuid the one whose name it is to be @throws ManagementError 'definition-exists' */
  mustBeFree(name: string, uuid: string): void {
    // A name may not look like another's UUID either: both lead to a definition.
    const other = this.find(name);
    if (other && other.uuid !== uuid) throw new ManagementError('definition-exists', `definition ${other.name} (${other.uuid}) exists already`);
  }
}

const definitionOf = (row: Row): Definition => ({
  uuid: row.uuid, name: row.name, config: JSON.parse(row.config) as DomainConfig, autostart: row.autostart !== 0, restart: JSON.parse(row.restart) as RestartPolicy,
  confined: row.confined !== 0, revision: row.revision, createdMs: row.created_ms, updatedMs: row.updated_ms,
});
