// Where a host keeps what outlives it: one folder per user, mode 0700.
import { mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface StateFolder {
  readonly dir: string;
  readonly database: string;
  readonly audit: string;
  /** Process id of the host that owns the folder. */
  readonly lock: string;
  /** Of the certificate that the host made itself. */
  readonly certificate: string; readonly key: string;
}

export const stateFolderAt = (dir: string): StateFolder => ({
  dir, database: join(dir, 'xenolith.db'), audit: join(dir, 'audit.jsonl'), lock: join(dir, 'host.pid'), certificate: join(dir, 'tls.crt'), key: join(dir, 'tls.key'),
});

/** XENOLITH_STATEDIR, else state/ in XENOLITH_RUNDIR, else $XDG_STATE_HOME/xenolith, else ~/.local/state/xenolith. */
export function stateFolder(env: Readonly<Record<string, string | undefined>> = process.env): StateFolder {
  const { XENOLITH_STATEDIR: own, XENOLITH_RUNDIR: run, XDG_STATE_HOME: home } = env;
  return stateFolderAt(own || (run ? join(run, 'state') : home ? join(home, 'xenolith') : join(homedir(), '.local', 'state', 'xenolith')));
}

export function makeStateFolder({ dir }: StateFolder): void { mkdirSync(dir, { recursive: true, mode: 0o700 }); }
