// Xenstore paths: what is legal, what a relative path means, and paths as lists of names.
import { XENSTORE_ABS_PATH_MAX, XENSTORE_REL_PATH_MAX } from '../../hypervisor/public/io/xs_wire.ts';
import { refuse } from './errors.ts';

export const INTRODUCE_DOMAIN = '@introduceDomain';
export const RELEASE_DOMAIN = '@releaseDomain';

const LEGAL = /^(?:\/|(?:\/[A-Za-z0-9\-_@]+)+)$/;
const SPECIAL = /^@[A-Za-z0-9\-_@/]+$/;
const DOMAIN_PREFIX = /^\/local\/domain\/\d{1,5}\//;

/** Base of a domain's relative paths. */
export const domainPath = (domid: number): string => `/local/domain/${domid}`;
export const isSpecial = (path: string): boolean => path.startsWith('@');

/**
 * The absolute path that `path` means to domain `domid`; special paths (@...) stay as they are.
 * @throws XsError EINVAL
 */
export function canonicalise(path: string, domid: number): string {
  if (isSpecial(path)) return SPECIAL.test(path) && path.length <= XENSTORE_REL_PATH_MAX ? path : refuse('EINVAL');
  const absolute = path.startsWith('/') ? path : `${domainPath(domid)}/${path}`;
  if (absolute.length > XENSTORE_ABS_PATH_MAX || !LEGAL.test(absolute)) refuse('EINVAL');
  if (absolute.length <= XENSTORE_REL_PATH_MAX) return absolute;
  // As real xenstored counts it: what lies below a domain's own directory is what is limited.
  const base = DOMAIN_PREFIX.exec(absolute)?.[0].length ?? 0;
  if (absolute.length - base > XENSTORE_REL_PATH_MAX) refuse('EINVAL');
  return absolute;
}

/** Names from the root down; of a legal absolute or special path. Special nodes are children of the root. */
export function namesOf(path: string): string[] {
  if (isSpecial(path)) return [path];
  return path === '/' ? [] : path.slice(1).split('/');
}

export const parentOf = (path: string): string => {
  const slash = path.lastIndexOf('/');
  return slash <= 0 ? '/' : path.slice(0, slash);
};

export const childOf = (path: string, name: string): string => (path === '/' ? `/${name}` : `${path}/${name}`);

/** Levels that `path` lies below `ancestor`; -1 if it does not. 0: the same. */
export function levelsBelow(path: string, ancestor: string): number {
  if (path === ancestor) return 0;
  const prefix = ancestor === '/' ? '/' : `${ancestor}/`;
  if (!path.startsWith(prefix)) return -1;
  let levels = 1;
  for (let i = prefix.length; i < path.length; i++) if (path[i] === '/') levels++;
  return levels;
}
