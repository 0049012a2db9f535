// Who wants to hear of which changes. A watch on a path hears of everything at or below it.
import { refuse } from './errors.ts';
import { domainPath, isSpecial, levelsBelow, parentOf } from './path.ts';
import { isPrivileged, mayAccess, type Actor } from './permissions.ts';
import { lookup, parentPermissions, walkBelow, type StoreNode } from './store.ts';

/** Whoever set watches: a connection, or a part of Dom0. */
export interface WatchOwner {
  readonly actor: Actor;
  /** Queues one event; must not run anything that changes the store at once. */
  event(path: string, token: string): void;
}

export interface Watch {
  readonly owner: WatchOwner;
  /** Absolute or special. */
  readonly path: string; readonly token: string;
  /** The watch was set with a path relative to this; its events are relative too. */
  readonly base: string | undefined;
  /** Levels below `path` that it hears of. */
  readonly depth: number;
  /** Events go out in the order in which watches were set. */
  readonly sequence: number;
}

export interface WatchRequest { readonly path: string; readonly token: string; readonly relative: boolean; readonly depth?: number | undefined }

/** One change, as `root` was before and is after it. */
export interface Change { readonly path: string; readonly removed: boolean }

export class WatchTable {
  readonly #byPath = new Map<string, Watch[]>();
  readonly #byOwner = new Map<WatchOwner, Set<Watch>>();
  #sequence = 0;

  count(owner: WatchOwner): number { return this.#byOwner.get(owner)?.size ?? 0; }
  of(owner: WatchOwner): Watch[] { return [...(this.#byOwner.get(owner) ?? [])]; }

  /** @throws XsError EEXIST */
  add(owner: WatchOwner, { path, token, relative, depth = Infinity }: WatchRequest): Watch {
    const watches = this.#byPath.get(path) ?? [];
    if (watches.some(w => w.owner === owner && w.token === token)) refuse('EEXIST');
    const watch: Watch = { owner, path, token, base: relative ? domainPath(owner.actor.domid) : undefined, depth, sequence: this.#sequence++ };
    this.#byPath.set(path, [...watches, watch]);
    const mine = this.#byOwner.get(owner);
    if (mine) mine.add(watch); else this.#byOwner.set(owner, new Set([watch]));
    return watch;
  }

  /** @throws XsError ENOENT */
  remove(owner: WatchOwner, path: string, token: string): void {
    const watch = this.#byPath.get(path)?.find(w => w.owner === owner && w.token === token);
    this.#delete(watch ?? refuse('ENOENT'));
  }

  removeAll(owner: WatchOwner): void {
    for (const watch of this.of(owner)) this.#delete(watch);
  }

  /** The event by which a new watch says that it is there. */
  fireFirst(watch: Watch): void { watch.owner.event(echo(watch, watch.path), watch.token); }

  /** Events of one or more changes that became visible at once. */
  fire(changes: readonly Change[], before: StoreNode, after: StoreNode): void {
    for (const { path, removed } of changes) {
      this.#send(path, this.#atOrAbove(path), before, after);
      const gone = removed ? lookup(before, path) : undefined;
      if (gone) walkBelow(gone, path, at => this.#send(at, this.#byPath.get(at) ?? [], before, after));
    }
  }

  /** @introduceDomain or @releaseDomain. @param node of that name, whose permissions say who may hear it */
  fireSpecial(name: string, domid: number, node: StoreNode | undefined): void {
    const hears = (w: Watch): boolean => isPrivileged(w.owner.actor) || (node !== undefined && mayAccess(w.owner.actor, node.permissions, 'read'));
    const one = `${name}/${domid}`;
    const matching = [...(this.#byPath.get(name) ?? []), ...(this.#byPath.get(one) ?? [])].filter(hears);
    for (const w of bySequence(matching)) w.owner.event(w.path === one || w.depth === 1 ? one : name, w.token);
  }

  #atOrAbove(path: string): Watch[] {
    const found: Watch[] = [];
    for (let at = path; ; at = parentOf(at)) {
      for (const watch of this.#byPath.get(at) ?? []) if (levelsBelow(path, at) <= watch.depth) found.push(watch);
      if (at === '/' || isSpecial(at)) return found;
    }
  }

  #send(path: string, watches: readonly Watch[], before: StoreNode, after: StoreNode): void {
    for (const watch of bySequence(watches)) {
      if (mayHear(watch.owner.actor, path, before) || mayHear(watch.owner.actor, path, after)) watch.owner.event(echo(watch, path), watch.token);
    }
  }

  #delete(watch: Watch): void {
    const rest = (this.#byPath.get(watch.path) ?? []).filter(w => w !== watch);
    if (rest.length > 0) this.#byPath.set(watch.path, rest); else this.#byPath.delete(watch.path);
    const mine = this.#byOwner.get(watch.owner);
    mine?.delete(watch);
    if (mine?.size === 0) this.#byOwner.delete(watch.owner);
  }
}

const bySequence = (watches: readonly Watch[]): Watch[] => [...watches].sort((a, b) => a.sequence - b.sequence);

function echo(watch: Watch, path: string): string {
  return watch.base !== undefined && path.startsWith(`${watch.base}/`) ? path.slice(watch.base.length + 1) : path;
}

/** Of a change at `path`: the node itself, or the directory it is in, must be readable. */
function mayHear(actor: Actor, path: string, root: StoreNode): boolean {
  if (isPrivileged(actor)) return true;
  const node = lookup(root, path);
  if (node && mayAccess(actor, node.permissions, 'read')) return true;
  return node !== undefined && mayAccess(actor, parentPermissions(root, path), 'read');
}

