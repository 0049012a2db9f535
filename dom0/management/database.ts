// The host's memory on disk: definitions of managed domains, operations, tokens. One SQLite file, written through to the
// disk at every commit, so that a host killed anywhere leaves whole commits.
import { closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** Each brings a database from the version that is its index to the next; they are never changed, only added to. */
const MIGRATIONS: readonly string[] = [
  `CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
   CREATE TABLE definitions (
     uuid TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, config TEXT NOT NULL, autostart INTEGER NOT NULL, restart TEXT NOT NULL,
     confined INTEGER NOT NULL, wanted TEXT NOT NULL CHECK (wanted IN ('running', 'stopped')), revision INTEGER NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL
   ) STRICT;
   CREATE TABLE operations (
     number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, target TEXT NOT NULL, who TEXT NOT NULL,
     state TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'cancelled', 'interrupted')),
     progress TEXT, result TEXT, problem TEXT, created_ms INTEGER NOT NULL, ended_ms INTEGER
   ) STRICT;
   CREATE TABLE tokens (
     id TEXT PRIMARY KEY, name TEXT NOT NULL, scope TEXT NOT NULL CHECK (scope IN ('read', 'operate', 'admin')), hash BLOB NOT NULL,
     created_ms INTEGER NOT NULL, expires_ms INTEGER, revoked_ms INTEGER
   ) STRICT;`,
  `CREATE TABLE idempotency_keys (number INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, request BLOB NOT NULL, answer TEXT NOT NULL) STRICT;`,
];

export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * @param path `:memory:` for one that is not kept
 * @throws Error the file is damaged, or of a later version of this program
 */
export function openDatabase(path: string): DatabaseSync {
  // What SQLite puts beside it has the mode of the file.
  if (path !== ':memory:') closeSync(openSync(path, 'a', 0o600));
  const database = new DatabaseSync(path, { timeout: 5000 });
  try {
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF');
    const check = database.prepare('PRAGMA quick_check(1)').get() as { quick_check: string };
    if (check.quick_check !== 'ok') throw new Error(`the database ${path} is damaged (${check.quick_check}): put a copy of it back, or move it away to begin anew`);
    migrate(database, path);
    return database;
  } catch (error) { database.close(); throw error; }
}

/** Runs `work` as one commit. */
export function transaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    database.exec('COMMIT');
    return result;
  } catch (error) { database.exec('ROLLBACK'); throw error; }
}

/** For what may go with the machine's power, but not with the process: the commit does not wait for the disk. Not within a transaction. */
export function withoutWaiting<T>(database: DatabaseSync, work: () => T): T {
  database.exec('PRAGMA synchronous = NORMAL');
  try { return work(); } finally { database.exec('PRAGMA synchronous = FULL'); }
}

function migrate(database: DatabaseSync, path: string): void {
  const version = (): number => (database.prepare('PRAGMA user_version').get() as { user_version: number }).user_version;
  if (version() > SCHEMA_VERSION) throw new Error(`the database ${path} was written by a later version of Xenolith (schema ${version()}, this one knows ${SCHEMA_VERSION}): use that version, or another XENOLITH_STATEDIR`);
  for (let next = version(); next < SCHEMA_VERSION; next++) transaction(database, () => {
    database.exec(MIGRATIONS[next]!);
    database.exec(`PRAGMA user_version = ${next + 1}`);
  });
}
