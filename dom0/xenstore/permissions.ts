// Who may do what with a node. The first entry names the owner (who may do all) and, with its letter, what every
// domain without an entry of its own may do.
import { refuse } from './errors.ts';

export interface Permission { readonly domid: number; readonly read: boolean; readonly write: boolean }
export type Permissions = readonly [Permission, ...Permission[]];
export type Access = 'read' | 'write' | 'owner';

/** On whose behalf a request is made. A device model acts with its target's rights too (SET_TARGET). */
export interface Actor { readonly domid: number; target?: number | undefined }

const PERMISSION = /^([rwbn])(\d{1,5})$/;

/** Dom0's tools may do everything. */
export const isPrivileged = (actor: Actor): boolean => actor.domid === 0;

/** Of the form `r5`. @throws XsError EINVAL */
export function parsePermission(text: string): Permission {
  const match = PERMISSION.exec(text);
  if (!match) refuse('EINVAL');
  const letter = match[1]!, domid = Number(match[2]);
  if (domid > 0xffff) refuse('EINVAL');
  return { domid, read: letter === 'r' || letter === 'b', write: letter === 'w' || letter === 'b' };
}

/** @throws XsError EINVAL, also for an empty list */
export function parsePermissions(texts: readonly string[]): Permissions {
  const [first, ...rest] = texts.map(parsePermission);
  return first ? [first, ...rest] : refuse('EINVAL');
}

export const formatPermission = ({ domid, read, write }: Permission): string =>
  `${read ? (write ? 'b' : 'r') : write ? 'w' : 'n'}${domid}`;
export const formatPermissions = (permissions: Permissions): string[] => permissions.map(formatPermission);

export const ownerOf = (permissions: Permissions): number => permissions[0].domid;

export function mayAccess(actor: Actor, permissions: Permissions, access: Access): boolean {
  const owner = ownerOf(permissions);
  if (isPrivileged(actor) || owner === actor.domid || owner === actor.target) return true;
  if (access === 'owner') return false;
  for (let i = 1; i < permissions.length; i++) {
    const entry = permissions[i]!;
    if (entry.domid === actor.domid || entry.domid === actor.target) return entry[access];
  }
  return permissions[0][access];
}

/** A new node has its parent's permissions, but an unprivileged domain owns what it creates. */
export function inherit(parent: Permissions, creator: number): Permissions {
  return creator === 0 ? parent : [{ ...parent[0], domid: creator }, ...(parent.slice(1) as Permission[])];
}

/** Without the entries of a domain that is gone, so that a later one with the same id gains nothing. */
export function withoutDomain(permissions: Permissions, domid: number): Permissions {
  const [owner, ...rest] = permissions;
  if (!rest.some(entry => entry.domid === domid)) return permissions;
  return [owner, ...rest.filter(entry => entry.domid !== domid)];
}
