// One tree of several file systems: a root directory, and others in places of its own names. And how a path is followed.
import { ERRNO } from '../wasi/errno.ts';
import { FileNode, FsError, type Entry, type Times } from './node.ts';

const SYMLINKS_MAX = 32, NAME_MAX = 255;

/** The root: what lies on its own file system, and the mounted ones. */
export class Root extends FileNode {
  readonly kind = 'directory';
  readonly #inner: FileNode | undefined;
  readonly #mounts: ReadonlyMap<string, FileNode>;
  constructor(inner: FileNode | undefined, mounts: ReadonlyMap<string, FileNode>) { super(); this.#inner = inner; this.#mounts = mounts; }
  get id(): bigint { return this.#inner?.id ?? 1n; }
  get size(): number { return this.#inner?.size ?? 0; }
  #writable(name: string): FileNode { if (!this.#inner || this.#mounts.has(name)) throw new FsError(this.#inner ? ERRNO.BUSY : ERRNO.ROFS); return this.#inner; }
  override times(): Times { return this.#inner?.times() ?? super.times(); }
  override lookup(name: string): FileNode | undefined { return this.#mounts.get(name) ?? this.#inner?.lookup(name); }
  override list(): Entry[] {
    return [...(this.#inner?.list() ?? []).filter(e => !this.#mounts.has(e.name)), ...[...this.#mounts].map(([name, { id, kind }]) => ({ name, id, kind }))];
  }
  override create(name: string, kind: 'file' | 'directory' | 'symlink', target?: string): FileNode { return this.#writable(name).create(name, kind, target); }
  override link(name: string, node: FileNode): void { this.#writable(name).link(name, node); }
  override unlink(name: string): void { this.#writable(name).unlink(name); }
  override removeDirectory(name: string): void { this.#writable(name).removeDirectory(name); }
  override rename(name: string, to: FileNode, toName: string): void { this.#writable(name).rename(name, to instanceof Root ? to.#writable(toName) : to, toName); }
  /** For operations that compare directories. */
  static inner(node: FileNode, name: string): FileNode { return node instanceof Root ? node.#writable(name) : node; }
  override sync(): void { this.#inner?.sync(); for (const m of this.#mounts.values()) m.sync(); }
}

/** A directory and the ones above it, up to the one a program was given. */
export interface Place { readonly node: FileNode; readonly above: Place | undefined }
/** Where a path leads: its last name in a directory, and what is there. An empty name: the directory itself. `slashed`: the path ends as only a directory's may. */
export interface Found { readonly directory: Place; readonly name: string; readonly node: FileNode | undefined; readonly slashed?: boolean }

/** @param follow a symbolic link at the end too @throws FsError */
export function follow(from: Place, path: string, followLast: boolean): Found {
  let place = from, links = 0;
  const rest = path.split('/');
  if (path === '') throw new FsError(ERRNO.NOENT);
  if (path.startsWith('/')) while (place.above) place = place.above;
  for (;;) {
    const name = rest.shift()!;
    const isLast = rest.every(r => r === '' || r === '.');
    if (name.length > NAME_MAX) throw new FsError(ERRNO.NAMETOOLONG);
    if (name === '' || name === '.') { if (rest.length === 0) return { directory: place, name: '', node: place.node }; continue; }
    if (name === '..') { place = place.above ?? place; if (rest.length === 0) return { directory: place, name: '', node: place.node }; continue; }
    const node = place.node.lookup(name);
    if (node?.kind === 'symlink' && (!isLast || followLast || rest.length > 0)) {
      if (++links > SYMLINKS_MAX) throw new FsError(ERRNO.LOOP);
      const target = node.target();
      if (target.startsWith('/')) while (place.above) place = place.above;
      rest.unshift(...target.split('/'));
      continue;
    }
    if (isLast) {
      if (rest.length > 0 && node && node.kind !== 'directory') throw new FsError(ERRNO.NOTDIR);
      return { directory: place, name, node, slashed: rest.length > 0 };
    }
    if (!node) throw new FsError(ERRNO.NOENT);
    if (node.kind !== 'directory') throw new FsError(ERRNO.NOTDIR);
    place = { node, above: place };
  }
}
