// Dom0's own code as a client of the store: no wire, no wait.
import { XenStoreError, type XenStore } from './client.ts';
import type { Daemon } from './daemon.ts';
import { XsError } from './errors.ts';
import * as op from './operations.ts';
import { canonicalise } from './path.ts';
import { formatPermissions, parsePermissions, type Actor } from './permissions.ts';
import { childNames } from './store.ts';
import type { StoreView } from './transaction.ts';
import type { WatchOwner } from './watches.ts';

const DOM0: Actor = { domid: 0 };
/** Only code that goes around its own transaction can make it conflict; it will not do so for ever. */
const MAX_ATTEMPTS = 16;

/** Hands out watch events in order, outside of whatever caused them. */
class EventQueue {
  readonly #log: (line: string) => void;
  #queue: (() => void)[] = [];
  #scheduled = false;

  constructor(log: (line: string) => void) { this.#log = log; }

  push(call: () => void): void {
    this.#queue.push(call);
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => this.#drain());
  }

  #drain(): void {
    const batch = this.#queue;
    this.#queue = [];
    for (const call of batch) {
      try { call(); } catch (error) { this.#log(`xenstore: a watch callback failed: ${error instanceof Error ? error.stack ?? error.message : String(error)}`); }
    }
    // Callbacks that go on causing events must not keep everything else from running.
    if (this.#queue.length > 0) setImmediate(() => this.#drain()); else this.#scheduled = false;
  }
}

export class LocalClient implements XenStore {
  readonly #daemon: Daemon;
  readonly #view: StoreView;
  readonly #events: EventQueue;

  constructor(daemon: Daemon, view: StoreView = daemon, events: EventQueue = new EventQueue(daemon.log)) {
    this.#daemon = daemon;
    this.#view = view;
    this.#events = events;
  }

  get version(): object { return this.#view.tree.root; }
  read(path: string): string | undefined { return this.#do('read', path, () => op.findNode(this.#view, DOM0, canonicalise(path, 0))?.value); }
  exists(path: string): boolean { return this.read(path) !== undefined; }
  list(path: string): string[] { return this.#unlessMissing(path, () => childNames(op.readChildren(this.#view, DOM0, canonicalise(path, 0)))) ?? []; }
  getPerms(path: string): string[] { return this.#unlessMissing(path, () => formatPermissions(op.getPermissions(this.#view, DOM0, canonicalise(path, 0)))) ?? []; }
  write(path: string, value: string): void { this.#do('write', path, () => op.write(this.#view, DOM0, canonicalise(path, 0), value, this.#daemon.quota)); }
  mkdir(path: string): void { this.#do('mkdir', path, () => op.write(this.#view, DOM0, canonicalise(path, 0), undefined, this.#daemon.quota)); }
  remove(path: string): void { this.#unlessMissing(path, () => op.remove(this.#view, DOM0, canonicalise(path, 0))); }
  setPerms(path: string, perms: string[]): void {
    this.#do('set-perms', path, () => op.setPermissions(this.#view, DOM0, canonicalise(path, 0), parsePermissions(perms), this.#daemon.quota));
  }

  watch(path: string, token: string, cb: (path: string, token: string) => void): () => void {
    let ended = false;
    const owner: WatchOwner = { actor: DOM0, event: (at, tok) => this.#events.push(() => { if (!ended) cb(at, tok); }) };
    const { watches } = this.#daemon;
    this.#do('watch', path, () => watches.fireFirst(watches.add(owner, { path: canonicalise(path, 0), token, relative: !/^[/@]/.test(path) })));
    return () => { ended = true; watches.removeAll(owner); };
  }

  transaction<T>(fn: (t: XenStore) => T): T {
    if (this.#view !== this.#daemon) throw new Error('a transaction cannot be started inside another');
    for (let attempt = 1; ; attempt++) {
      const transaction = this.#daemon.begin();
      const result = fn(new LocalClient(this.#daemon, transaction, this.#events));
      try {
        this.#daemon.commit(transaction, DOM0);
        return result;
      } catch (error) {
        if (!(error instanceof XsError) || error.code !== 'EAGAIN' || attempt === MAX_ATTEMPTS) throw translated(error, 'transaction', '');
      }
    }
  }

  #do<T>(operation: string, path: string, run: () => T): T {
    try { return run(); } catch (error) { throw translated(error, operation, path); }
  }
  #unlessMissing<T>(path: string, run: () => T): T | undefined {
    try { return run(); } catch (error) {
      if (error instanceof XsError && error.code === 'ENOENT') return undefined;
      throw translated(error, 'access to', path);
    }
  }
}

const translated = (error: unknown, operation: string, path: string): unknown =>
  error instanceof XsError ? new XenStoreError(error.code, operation, path) : error;
