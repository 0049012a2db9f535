// The tree of nodes. Nodes never change: a mutation makes new ones on the way from the root to the place and shares
// all others, so a snapshot is one reference, and "did anything below change" is one comparison.
import { childOf, isSpecial, namesOf, parentOf } from './path.ts';
import { inherit, ownerOf, withoutDomain, type Permissions } from './permissions.ts';

export interface StoreNode {
  /** Octets, one per character. */
  readonly value: string;
  readonly permissions: Permissions;
  readonly children: ReadonlyMap<string, StoreNode>;
  /** New whenever value or permissions are set. */
  readonly generation: number;
  /** New whenever a child comes or goes. */
  readonly childGeneration: number;
}

export type Mutation =
  /** value undefined: MKDIR, which leaves an existing node alone */
  | { readonly kind: 'write'; readonly path: string; readonly value: string | undefined; readonly creator: number }
  | { readonly kind: 'remove'; readonly path: string }
  | { readonly kind: 'permissions'; readonly path: string; readonly permissions: Permissions };

const ROOT_PERMISSIONS: Permissions = [{ domid: 0, read: false, write: false }];
const NO_CHILDREN: ReadonlyMap<string, StoreNode> = new Map();

export function lookup(root: StoreNode, path: string): StoreNode | undefined {
  let node: StoreNode | undefined = root;
  for (const name of namesOf(path)) if (!(node = node.children.get(name))) return undefined;
  return node;
}

/** The deepest node on the way to `path` that exists: itself, or an ancestor. */
export function nearest(root: StoreNode, path: string): { node: StoreNode; path: string; missing: number } {
  let node = root;
  const names = namesOf(path);
  for (let i = 0; i < names.length; i++) {
    const child = node.children.get(names[i]!);
    if (!child) return { node, path: `/${names.slice(0, i).join('/')}`, missing: names.length - i };
    node = child;
  }
  return { node, path, missing: 0 };
}

/** Children's names, in ASCII order. */
export const childNames = (node: StoreNode): string[] => [...node.children.keys()].sort();

/** Calls `visit` with every node below `path`, parents first; not with the node at `path` itself. */
export function walkBelow(node: StoreNode, path: string, visit: (path: string, node: StoreNode) => void): void {
  for (const name of childNames(node)) {
    const child = node.children.get(name)!, at = childOf(path, name);
    visit(at, child);
    walkBelow(child, at, visit);
  }
}

/** A tree and how many of its nodes each domain owns. Forks share everything until they change. */
export class Tree {
  #root: StoreNode;
  #owned: Map<number, number>;
  /** Shared by all forks, so that no two changes ever have the same number. */
  readonly #counter: { next: number };

  constructor(from?: Tree) {
    this.#root = from?.root ?? { value: '', permissions: ROOT_PERMISSIONS, children: NO_CHILDREN, generation: 0, childGeneration: 0 };
    this.#owned = new Map(from ? from.#owned : [[0, 1]]);
    this.#counter = from ? from.#counter : { next: 1 };
  }

  get root(): StoreNode { return this.#root; }
  fork(): Tree { return new Tree(this); }
  /** Becomes what a fork of it has become. */
  adopt(fork: Tree): void { this.#root = fork.#root; this.#owned = fork.#owned; }
  /** Number of nodes that the domain owns. */
  owned(domid: number): number { return this.#owned.get(domid) ?? 0; }
  /** Paths must be legal; a 'permissions' or 'remove' on a missing node does nothing. */
  apply(mutation: Mutation): void {
    const names = namesOf(mutation.path);
    switch (mutation.kind) {
      case 'write': this.#root = this.#put(this.#root, names, 0, mutation.value, mutation.creator); break;
      case 'remove': if (names.length > 0 && lookup(this.#root, mutation.path)) this.#root = this.#drop(this.#root, names, 0); break;
      case 'permissions': if (lookup(this.#root, mutation.path)) this.#root = this.#permit(this.#root, names, 0, mutation.permissions); break;
    }
  }

  /**
   * A domain is gone: its nodes go with all below them, and its entries in others' permissions.
   * @returns paths of the removed nodes, topmost only
   */
  forget(domid: number): string[] {
    const removed: string[] = [];
    const visit = (node: StoreNode, path: string): StoreNode => {
      let children: Map<string, StoreNode> | undefined, gone = false;
      for (const [name, child] of node.children) {
        if (ownerOf(child.permissions) === domid) {
          this.#uncount(child);
          (children ??= new Map(node.children)).delete(name);
          removed.push(childOf(path, name));
          gone = true;
          continue;
        }
        const kept = visit(child, childOf(path, name));
        if (kept !== child) (children ??= new Map(node.children)).set(name, kept);
      }
      const permissions = withoutDomain(node.permissions, domid);
      if (!children && permissions === node.permissions) return node;
      return {
        ...node, permissions, children: children ?? node.children,
        generation: permissions === node.permissions ? node.generation : this.#counter.next++,
        childGeneration: gone ? this.#counter.next++ : node.childGeneration,
      };
    };
    this.#root = visit(this.#root, '/');
    return removed.sort();
  }

  #put(node: StoreNode, names: readonly string[], at: number, value: string | undefined, creator: number): StoreNode {
    if (at === names.length) return value === undefined ? node : { ...node, value, generation: this.#counter.next++ };
    const name = names[at]!, old = node.children.get(name);
    const child = this.#put(old ?? this.#newNode(node, creator), names, at + 1, value, creator);
    if (child === old) return node;
    return { ...node, children: new Map(node.children).set(name, child), childGeneration: old ? node.childGeneration : this.#counter.next++ };
  }

  #newNode(parent: StoreNode, creator: number): StoreNode {
    const permissions = inherit(parent.permissions, creator);
    this.#count(ownerOf(permissions), 1);
    return { value: '', permissions, children: NO_CHILDREN, generation: this.#counter.next++, childGeneration: this.#counter.next++ };
  }

  #drop(node: StoreNode, names: readonly string[], at: number): StoreNode {
    const name = names[at]!, old = node.children.get(name)!, children = new Map(node.children);
    if (at < names.length - 1) return { ...node, children: children.set(name, this.#drop(old, names, at + 1)) };
    this.#uncount(old);
    children.delete(name);
    return { ...node, children, childGeneration: this.#counter.next++ };
  }

  #permit(node: StoreNode, names: readonly string[], at: number, permissions: Permissions): StoreNode {
    if (at < names.length) {
      const name = names[at]!;
      return { ...node, children: new Map(node.children).set(name, this.#permit(node.children.get(name)!, names, at + 1, permissions)) };
    }
    this.#count(ownerOf(node.permissions), -1);
    this.#count(ownerOf(permissions), 1);
    return { ...node, permissions, generation: this.#counter.next++ };
  }

  #uncount(node: StoreNode): void {
    this.#count(ownerOf(node.permissions), -1);
    for (const child of node.children.values()) this.#uncount(child);
  }
  #count(domid: number, by: number): void {
    const count = this.owned(domid) + by;
    if (count === 0) this.#owned.delete(domid); else this.#owned.set(domid, count);
  }
}

/** The permissions that govern `path` if it is missing too: those of the nearest ancestor that exists. */
export const parentPermissions = (root: StoreNode, path: string): Permissions => nearest(root, isSpecial(path) ? '/' : parentOf(path)).node.permissions;
