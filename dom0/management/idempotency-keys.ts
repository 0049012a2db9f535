// Idempotency keys: a creating call that is repeated with the same key is answered as the first one was, also by a host that
// was started again since. What failed, or what a kill cut short, is not remembered: it may be tried again.
import { createHash } from 'node:crypto';
import type { DatabaseSync } from 'node:sqlite';
import { ManagementError } from './errors.ts';

const KEPT = 1000;

export interface KeyUse<T> {
  /** What the key stands for: who asks for what, as JSON has it. */
  readonly request: unknown;
  readonly run: () => Promise<T>;
}

export class IdempotencyKeys {
  readonly #database: DatabaseSync;
  readonly #running = new Map<string, { readonly hash: Buffer; readonly result: Promise<unknown> }>();

  constructor(database: DatabaseSync) { this.#database = database; }

  /** @throws ManagementError 'key-reused' */
  once<T>(key: string, { request, run }: KeyUse<T>): Promise<T> {
    const hash = createHash('sha256').update(JSON.stringify(request)).digest(), running = this.#running.get(key);
    const known = running ?? this.#database.prepare('SELECT request AS hash, answer FROM idempotency_keys WHERE key = ?').get(key) as { hash: Uint8Array; answer: string } | undefined;
    if (known && !hash.equals(known.hash)) throw new ManagementError('key-reused', `the idempotency key ${key} was used for another request: take a new one`);
    if (known) return 'result' in known ? known.result as Promise<T> : Promise.resolve(JSON.parse(known.answer) as T);
    const result = run().then(answer => { this.#keep(key, hash, answer); return answer; }).finally(() => { this.#running.delete(key); });
    this.#running.set(key, { hash, result });
    result.catch(() => {});
    return result;
  }

  #keep(key: string, hash: Buffer, answer: unknown): void {
    this.#database.prepare('INSERT INTO idempotency_keys (key, request, answer) VALUES (?, ?, ?)').run(key, hash, JSON.stringify(answer));
    this.#database.prepare('DELETE FROM idempotency_keys WHERE number <= (SELECT max(number) FROM idempotency_keys) - ?').run(KEPT);
  }
}
