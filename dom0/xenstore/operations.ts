// What a request does to the store: look, check the right to, act. The same for every client and inside or outside
// of a transaction. Every function throws XsError and then has changed nothing.
import { refuse } from './errors.ts';
import { isSpecial, parentOf } from './path.ts';
import { isPrivileged, mayAccess, ownerOf, type Access, type Actor, type Permissions } from './permissions.ts';
import { checkNewNodes, checkNodeBytes, type Quota } from './quota.ts';
import { lookup, nearest, type Mutation, type StoreNode } from './store.ts';
import type { Aspect, StoreView } from './transaction.ts';

/**
 * The node at `path`, if the actor may `access` it. That there is none is for those who may access the nearest ancestor;
 * others are not told what exists.
 * @throws XsError EACCES
 */
function find(view: StoreView, actor: Actor, path: string, access: Access, aspect: Aspect = 'node'): StoreNode | undefined {
  const found = nearest(view.tree.root, path);
  view.touch(path, aspect);
  if (found.missing > 0) view.touch(found.path, 'node');
  if (!mayAccess(actor, found.node.permissions, access)) refuse('EACCES');
  return found.missing > 0 ? undefined : found.node;
}

/** @throws XsError EACCES, ENOENT */
function need(view: StoreView, actor: Actor, path: string, access: Access, aspect: Aspect = 'node'): StoreNode {
  return find(view, actor, path, access, aspect) ?? refuse('ENOENT');
}

/** For those whom a node that is not there is no error. @throws XsError EACCES */
export const findNode = (view: StoreView, actor: Actor, path: string): StoreNode | undefined => find(view, actor, path, 'read');

export const readNode = (view: StoreView, actor: Actor, path: string): StoreNode => need(view, actor, path, 'read');

export function readChildren(view: StoreView, actor: Actor, path: string): StoreNode {
  view.touch(path, 'node');
  return need(view, actor, path, 'read', 'children');
}

/** @param value undefined for MKDIR: an existing node is left alone */
export function write(view: StoreView, actor: Actor, path: string, value: string | undefined, quota: Quota): void {
  if (isSpecial(path)) refuse('EINVAL');
  const found = nearest(view.tree.root, path);
  view.touch(path, 'node');
  view.touch(found.path, 'node');
  if (!mayAccess(actor, found.node.permissions, 'write')) refuse('EACCES');
  if (found.missing === 0 && value === undefined) return;
  checkNewNodes(view.tree, actor, path, quota);
  change(view, actor, { kind: 'write', path, value, creator: actor.domid }, [path, found.path], quota);
}

export function remove(view: StoreView, actor: Actor, path: string): void {
  if (isSpecial(path)) refuse('EINVAL');
  try { need(view, actor, path, 'write', 'subtree'); } catch (error) {
    const parent = parentOf(path);
    view.touch(parent, 'node');
    if ((error as { code?: string }).code === 'ENOENT' && lookup(view.tree.root, parent)) return;
    throw error;
  }
  if (path === '/') refuse('EINVAL');
  view.mutate({ kind: 'remove', path });
}

export const getPermissions = (view: StoreView, actor: Actor, path: string): Permissions => readNode(view, actor, path).permissions;

export function setPermissions(view: StoreView, actor: Actor, path: string, permissions: Permissions, quota: Quota): void {
  if (!isPrivileged(actor) && permissions.length > quota.permissions) refuse('ENOSPC');
  const node = need(view, actor, path, 'owner');
  if (!isPrivileged(actor) && ownerOf(permissions) !== ownerOf(node.permissions)) refuse('EPERM');
  change(view, actor, { kind: 'permissions', path, permissions }, [path], quota);
}

/** Tries the change on a copy where a quota could forbid its result. */
function change(view: StoreView, actor: Actor, mutation: Mutation, sized: readonly string[], quota: Quota): void {
  if (!isPrivileged(actor)) {
    const trial = view.tree.fork();
    trial.apply(mutation);
    checkNodeBytes(trial, actor, sized, quota);
  }
  view.mutate(mutation);
}
