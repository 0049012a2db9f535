// Transactions: a fork of the tree, what was looked at, and what was changed. At the end the changes are made again on
// the tree as it then is, unless someone else changed what the transaction looked at or wrote (EAGAIN).
import { refuse } from './errors.ts';
import type { Actor } from './permissions.ts';
import { isPrivileged } from './permissions.ts';
import type { Quota } from './quota.ts';
import { lookup, type Mutation, type StoreNode, type Tree } from './store.ts';
import type { Change } from './watches.ts';

/** How much of a place was looked at: the node's value and permissions, its list of children, or all below. */
export type Aspect = 'node' | 'children' | 'subtree';

/** What requests act on: the store itself, or a transaction's private copy. */
export interface StoreView {
  readonly tree: Tree;
  /** The outcome of the request depends on this aspect of `path`. */
  touch(path: string, aspect: Aspect): void;
  mutate(mutation: Mutation): void;
}

export class Transaction implements StoreView {
  readonly tree: Tree;
  readonly #base: StoreNode;
  readonly #touched = new Map<string, Set<Aspect>>();
  /** Changes so far. */
  readonly log: Mutation[] = [];
  readonly #lost: boolean;

  /** @param lost of a client whose daemon crashed meanwhile: what it had looked at is not known, so it conflicts */
  constructor(live: Tree, lost = false) {
    this.#lost = lost;
    this.tree = live.fork();
    this.#base = live.root;
  }

  /** What it holds in memory: places looked at, or changes made. */
  get size(): number { return Math.max(this.#touched.size, this.log.length); }

  touch(path: string, aspect: Aspect): void {
    const aspects = this.#touched.get(path);
    if (aspects) aspects.add(aspect); else this.#touched.set(path, new Set([aspect]));
  }

  mutate(mutation: Mutation): void {
    this.tree.apply(mutation);
    this.log.push(mutation);
  }

  /**
   * Makes the changes on the live tree, all or none.
   * @returns what changed, each place once, in the order of the requests
   * @throws XsError EAGAIN, ENOSPC
   */
  commit(live: Tree, actor: Actor, quota: Quota): Change[] {
    if (this.#lost || live.root !== this.#base && this.#conflicts(live.root)) refuse('EAGAIN');
    const result = live.fork();
    for (const mutation of this.log) result.apply(mutation);
    if (!isPrivileged(actor) && result.owned(actor.domid) > Math.max(quota.nodes, live.owned(actor.domid))) refuse('ENOSPC');
    live.adopt(result);
    return changesOf(this.log);
  }

  #conflicts(now: StoreNode): boolean {
    for (const [path, aspects] of this.#touched) {
      const then = lookup(this.#base, path), current = lookup(now, path);
      for (const aspect of aspects) if (!same(then, current, aspect)) return true;
    }
    return false;
  }
}

function same(a: StoreNode | undefined, b: StoreNode | undefined, aspect: Aspect): boolean {
  if (a === b) return true;
  if (!a || !b) return false;
  switch (aspect) {
    case 'node': return a.generation === b.generation;
    case 'children': return a.childGeneration === b.childGeneration;
    case 'subtree': return false;
  }
}

/** A place written several times is one change; a removal is told apart, since all below goes with it. */
function changesOf(log: readonly Mutation[]): Change[] {
  const changes = new Map<string, Change>();
  for (const { kind, path } of log) {
    const removed = kind === 'remove';
    const key = `${removed ? '-' : '+'}${path}`;
    if (!changes.has(key)) changes.set(key, { path, removed });
  }
  return [...changes.values()];
}
