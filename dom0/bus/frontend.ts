// What a frontend says of itself in xenstore. All of it is the guest's to write: read once, checked, then used.
import type { Dom0Hypercalls, GrantMapping } from '../../hypervisor/public/dom0-hypercalls.ts';
import { grantRef, type Domid, type GrantRef } from '../../hypervisor/public/types.ts';
import type { XenStore } from '../xenstore/client.ts';

/** The frontend's details are missing or wrong; the sentence goes to the error node and the log. */
export class FrontendError extends Error {}

const MAX_UINT32 = 0xffff_ffff;

/** The frontend's directory as it was when this was made: a connection is set up from one state of it. */
export class FrontendDetails {
  readonly domid: Domid;
  /** Directory in xenstore. */
  readonly path: string;
  readonly #values = new Map<string, string>();

  /** @param store in a transaction, so that all values belong together @param depth levels of directories to read */
  constructor(store: XenStore, domid: Domid, path: string, depth = 2) {
    this.domid = domid;
    this.path = path;
    this.#collect(store, '', depth);
  }

  /** @param key relative to the directory; `queue-0/tx-ring-ref` too */
  get(key: string): string | undefined { return this.#values.get(key); }
  has(key: string): boolean { return this.#values.has(key); }

  /** A uint32. @throws FrontendError if it is missing and there is no fallback, or is no number from `min` to `max` */
  number(key: string, { fallback, min = 0, max = MAX_UINT32 }: { fallback?: number; min?: number; max?: number } = {}): number {
    const text = this.#values.get(key);
    if (text === undefined) {
      if (fallback !== undefined) return fallback;
      throw new FrontendError(`${this.path}/${key} is missing`);
    }
    const value = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max)) throw new FrontendError(`${this.path}/${key} is "${printable(text)}", not a number from ${min} to ${max}`);
    return value;
  }
  flag(key: string): boolean { return this.number(key, { fallback: 0 }) !== 0; }

  /**
   * Grant references of a ring: `ring-ref`, or `ring-ref0` ... where there are several pages.
   * @throws FrontendError
   */
  ringRefs(options: { key?: string; orderKey?: string; maxOrder?: number } = {}): GrantRef[] {
    const { key = 'ring-ref', orderKey = 'ring-page-order', maxOrder = 0 } = options;
    const order = this.number(orderKey, { fallback: 0, max: maxOrder });
    if (!this.has(orderKey) || (order === 0 && this.has(key))) return [grantRef(this.number(key))];
    return Array.from({ length: 1 << order }, (_, i) => grantRef(this.number(`${key}${i}`)));
  }

  #collect(store: XenStore, prefix: string, depth: number): void {
    for (const name of store.list(prefix ? `${this.path}/${prefix}` : this.path)) {
      const key = prefix ? `${prefix}/${name}` : name;
      const value = store.read(`${this.path}/${key}`);
      if (value !== undefined) this.#values.set(key, value);
      if (depth > 1) this.#collect(store, key, depth - 1);
    }
  }
}

/** All of a ring's pages, or none. @throws FrontendError */
export function mapRing(hypercalls: Pick<Dom0Hypercalls, 'gnttabMap' | 'gnttabUnmap'>, domid: Domid, refs: readonly GrantRef[]): GrantMapping[] {
  const mappings: GrantMapping[] = [];
  for (const ref of refs) {
    const mapping = hypercalls.gnttabMap(domid, ref, false);
    if (typeof mapping === 'number') {
      for (const done of mappings) hypercalls.gnttabUnmap(done);
      throw new FrontendError(`grant reference ${ref} of d${domid} cannot be mapped (error ${mapping})`);
    }
    mappings.push(mapping);
  }
  return mappings;
}

/** A guest's text, safe and short enough for a log line. */
export const printable = (text: string): string => text.slice(0, 64).replace(/[^\x20-\x7e]/g, '?');
