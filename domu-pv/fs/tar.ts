// A file system in an initrd: a ustar or GNU tar archive, read only, where it lies in memory.
import { ERRNO } from '../wasi/errno.ts';
import { FileNode, FsError, type Entry, type NodeKind, type Times } from './node.ts';

const BLOCK = 512, NS = 1_000_000_000n;
const text = (bytes: Uint8Array, at: number, length: number): string => {
  const field = bytes.slice(at, at + length), end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
};
const octal = (bytes: Uint8Array, at: number, length: number): number => parseInt(text(bytes, at, length).trim() || '0', 8);

class TarNode extends FileNode {
  readonly kind: NodeKind; readonly id: bigint;
  readonly children = new Map<string, TarNode>();
  readonly #data: Uint8Array; readonly #modified: bigint; readonly #target: string;
  constructor(kind: NodeKind, id: number, data: Uint8Array = new Uint8Array(0), modified = 0n, target = '') {
    super();
    this.kind = kind; this.id = BigInt(id); this.#data = data; this.#modified = modified; this.#target = target;
  }
  get size(): number { return this.kind === 'symlink' ? this.#target.length : this.#data.length; }
  override times(): Times { return { accessed: this.#modified, modified: this.#modified, changed: this.#modified }; }
  override read(position: number, into: Uint8Array): number {
    if (this.kind !== 'file') throw new FsError(ERRNO.ISDIR);
    const part = this.#data.subarray(position, position + into.length);
    into.set(part);
    return part.length;
  }
  override target(): string { return this.kind === 'symlink' ? this.#target : super.target(); }
  override lookup(name: string): FileNode | undefined { return this.kind === 'directory' ? this.children.get(name) : super.lookup(name); }
  override list(): Entry[] { return this.kind === 'directory' ? [...this.children].map(([name, { id, kind }]) => ({ name, id, kind })) : super.list(); }
}

/** @returns the root; what does not look like an archive ends it */
export function openTar(archive: Uint8Array): FileNode {
  const root = new TarNode('directory', 1);
  let next = 2, longName: string | undefined, longTarget: string | undefined;
  const folder = (parts: readonly string[]): TarNode => parts.reduce((at, name) => {
    let child = at.children.get(name);
    if (child?.kind !== 'directory') at.children.set(name, child = new TarNode('directory', next++));
    return child;
  }, root);
  for (let at = 0; at + BLOCK <= archive.length;) {
    const header = archive.subarray(at, at + BLOCK), size = octal(header, 124, 12), type = String.fromCharCode(header[156]!);
    if (header[0] === 0 || text(header, 257, 5) !== 'ustar') break;
    const data = archive.subarray(at + BLOCK, Math.min(at + BLOCK + size, archive.length));
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    if (type === 'L') { longName = text(data, 0, size); continue; }
    if (type === 'K') { longTarget = text(data, 0, size); continue; }
    if (type === 'x' || type === 'g') { const path = /\d+ path=([^\n]*)\n/.exec(text(data, 0, size)); if (type === 'x' && path) longName = path[1]; continue; }
    const prefix = header[263] === 0x20 ? '' : text(header, 345, 155), name = longName ?? (prefix ? `${prefix}/${text(header, 0, 100)}` : text(header, 0, 100));
    const target = longTarget ?? text(header, 157, 100), modified = BigInt(octal(header, 136, 12)) * NS;
    longName = longTarget = undefined;
    const parts = name.split('/').filter(p => p !== '' && p !== '.'), last = parts.at(-1);
    if (last === undefined || parts.includes('..')) continue;
    if (type === '5') folder(parts);
    else if (type === '0' || type === '\0') folder(parts.slice(0, -1)).children.set(last, new TarNode('file', next++, data, modified));
    else if (type === '2') folder(parts.slice(0, -1)).children.set(last, new TarNode('symlink', next++, undefined, modified, target));
    else if (type === '1') {
      const to = target.split('/').filter(p => p !== '' && p !== '.'), there = folder(to.slice(0, -1)).children.get(to.at(-1) ?? '');
      if (there) folder(parts.slice(0, -1)).children.set(last, there);
    }
  }
  return root;
}
