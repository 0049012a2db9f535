// Tokens of remote callers. Only a hash of each is kept; the token itself is shown once, when it is made.
//
//   xen_<id, 10 letters>_<secret, 32 random bytes in base64url>
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { z } from 'zod';
import { ManagementError } from './errors.ts';

/** Each may do what the ones before it may. */
export const SCOPES = ['read', 'operate', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];
export const allows = (has: Scope, needs: Scope): boolean => SCOPES.indexOf(has) >= SCOPES.indexOf(needs);

export const tokenView = z.object({
  id: z.string(), name: z.string(), scope: z.enum(SCOPES), createdMs: z.number(), expiresMs: z.number().optional(), revokedMs: z.number().optional(),
}).readonly();
export type TokenView = z.infer<typeof tokenView>;

interface Row { id: string; name: string; scope: Scope; hash: Uint8Array; created_ms: number; expires_ms: number | null; revoked_ms: number | null }

const FORM = /^xen_([a-z2-7]{10})_([A-Za-z0-9_-]{43})$/;
const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567', ID_LETTERS = 10, SECRET_BYTES = 32;
const MAX_TOKENS = 1000;
/** The secret is as random as a key: there is nothing to guess, so that a plain hash is enough. */
const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

export class Tokens {
  readonly #database: DatabaseSync;
  readonly #nowMs: () => number;
  readonly #all: StatementSync;
  readonly #byId: StatementSync;
  /** Called when one no longer holds. */
  onRevoked: (id: string) => void = () => {};

  constructor(database: DatabaseSync, nowMs: () => number) {
    this.#database = database;
    this.#nowMs = nowMs;
    this.#all = database.prepare('SELECT * FROM tokens ORDER BY created_ms, rowid');
    this.#byId = database.prepare('SELECT * FROM tokens WHERE id = ?');
  }

  /** @throws ManagementError 'limit-reached' */
  create(name: string, scope: Scope, expiresMs?: number): { readonly token: string; readonly view: TokenView } {
    const { count } = this.#database.prepare('SELECT count(*) AS count FROM tokens WHERE revoked_ms IS NULL').get() as { count: number };
    if (count >= MAX_TOKENS) throw new ManagementError('limit-reached', `there are ${count} tokens already: revoke some`);
    const id = [...randomBytes(ID_LETTERS)].map(byte => LETTERS[byte % LETTERS.length]).join(''), secret = randomBytes(SECRET_BYTES).toString('base64url');
    this.#database.prepare('INSERT INTO tokens (id, name, scope, hash, created_ms, expires_ms) VALUES (?, ?, ?, ?, ?, ?)').run(id, name, scope, hashOf(secret), this.#nowMs(), expiresMs ?? null);
    return { token: `xen_${id}_${secret}`, view: this.get(id) };
  }

  /** In the order they were made, revoked ones too. */
  list(): TokenView[] { return (this.#all.all() as unknown as Row[]).map(viewOf); }

  /** @throws ManagementError 'token-not-found' */
  get(id: string): TokenView {
    const row = this.#row(id);
    if (!row) throw new ManagementError('token-not-found', `there is no token ${id}`);
    return viewOf(row);
  }

  /** It stays in the list. @throws ManagementError 'token-not-found' */
  revoke(id: string): void {
    this.get(id);
    this.#database.prepare('UPDATE tokens SET revoked_ms = coalesce(revoked_ms, ?) WHERE id = ?').run(this.#nowMs(), id);
    this.onRevoked(id);
  }

  /** @returns the token, if it is one that holds */
  check(token: string): TokenView | undefined {
    const match = FORM.exec(token), row = match ? this.#row(match[1]!) : undefined;
    const same = timingSafeEqual(row?.hash ?? new Uint8Array(SECRET_BYTES), hashOf(match?.[2] ?? ''));
    return row && same && this.#holds(row) ? viewOf(row) : undefined;
  }
  /** Whether it still holds: it may have run out since it was checked. */
  holds(id: string): boolean { const row = this.#row(id); return row !== undefined && this.#holds(row); }

  #holds({ expires_ms, revoked_ms }: Row): boolean { return revoked_ms === null && (expires_ms === null || this.#nowMs() < expires_ms); }
  #row(id: string): Row | undefined { return this.#byId.get(id) as unknown as Row | undefined; }
}

const viewOf = ({ id, name, scope, created_ms, expires_ms, revoked_ms }: Row): TokenView => ({
  id, name, scope, createdMs: created_ms, ...(expires_ms === null ? {} : { expiresMs: expires_ms }), ...(revoked_ms === null ? {} : { revokedMs: revoked_ms }),
});
