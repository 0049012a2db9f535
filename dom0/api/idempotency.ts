// Idempotency-Key: a creating call that is repeated with the same key is answered as the first one was.
import { isDeepStrictEqual } from 'node:util';
import { BadRequest } from './problem.ts';

/** Kept in memory: as long as domains are, which end with the host too. */
const KEPT_KEYS = 1000, MAX_KEY_CHARS = 255;

export class IdempotencyKeys<T> {
  readonly #calls = new Map<string, { readonly body: unknown; readonly result: Promise<T> }>();

  /** A call that fails is forgotten, so that it can be tried again. @throws BadRequest 'key-reused' */
  once(key: string | string[] | undefined, body: unknown, run: () => Promise<T>): Promise<T> {
    if (key === undefined) return run();
    if (typeof key !== 'string' || key === '' || key.length > MAX_KEY_CHARS) throw new BadRequest('bad-request', `the idempotency key has to have 1 to ${MAX_KEY_CHARS} characters`);
    const before = this.#calls.get(key);
    if (before) {
      if (!isDeepStrictEqual(before.body, body)) throw new BadRequest('key-reused', `the idempotency key ${key} was used for another request: take a new one`);
      return before.result;
    }
    const result = run();
    this.#calls.set(key, { body, result });
    if (this.#calls.size > KEPT_KEYS) this.#calls.delete(this.#calls.keys().next().value!);
    result.catch(() => { if (this.#calls.get(key)?.result === result) this.#calls.delete(key); });
    return result;
  }
}
