// A file system in an initrd: a tar archive (ustar, GNU, pax or older), read only, where it lies in memory.
import { ERRNO } from '../wasi/errno.ts';
import { FileNode, FsError, type Entry, type NodeKind, type Times } from './node.ts';

const BLOCK = 512, NS = 1_000_000_000n;
const text = (bytes: Uint8Array, at: number, length: number): string => {
  const field = bytes.slice(at, at + length), end = field.indexOf(0);
  return new TextDecoder().decode(end < 0 ? field : field.subarray(0, end));
};
/** Octal digits or, behind a byte of 128, a binary number; NaN for anything else. */
function numberOf(bytes: Uint8Array, at: number, length: number): number {
  if (bytes[at] === 0x80) return bytes.subarray(at + 1, at + length).reduce((sum, b) => sum * 256 + b, 0);
  const digits = text(bytes, at, length).trim();
  return /^[0-7]*$/.test(digits) ? parseInt(digits || '0', 8) : NaN;
}
const CHECKSUM_AT = 148, CHECKSUM_BYTES = 8, SPACE = 0x20;
/** The sum of a header's bytes, those of the sum itself taken as spaces. */
const isHeader = (h: Uint8Array): boolean => h.reduce((sum, b, i) => sum + (i >= CHECKSUM_AT && i < CHECKSUM_AT + CHECKSUM_BYTES ? SPACE : b), 0) === numberOf(h, CHECKSUM_AT, CHECKSUM_BYTES);

class TarNode extends FileNode {
  readonly kind: NodeKind; readonly id: bigint;
  readonly children = new Map<string, TarNode>();
  readonly #data: Uint8Array; readonly #modified: bigint; readonly #target: string;
  constructor(kind: NodeKind, id: number, data: Uint8Array = new Uint8Array(0), modified = 0n, target = '') {
    super();
    this.kind = kind; this.id = BigInt(id); this.#data = data; this.#modified = modified; this.#target = target;
  }
  get size(): number { return this.kind === 'symlink' ? this.#target.length : this.#data.length; }
  override get writable(): boolean { return false; }
  override setTimes(): void { throw new FsError(ERRNO.ROFS); }
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

/** @returns the root @throws Error with a sentence where it is no archive, or not a whole one */
export function openTar(archive: Uint8Array): FileNode {
  const root = new TarNode('directory', 1);
  let next = 2, longName: string | undefined, longTarget: string | undefined;
  const folder = (parts: readonly string[]): TarNode => parts.reduce((at, name) => {
    let child = at.children.get(name);
    if (child?.kind !== 'directory') at.children.set(name, child = new TarNode('directory', next++));
    return child;
  }, root);
  for (let at = 0; at + BLOCK <= archive.length;) {
    const header = archive.subarray(at, at + BLOCK), size = numberOf(header, 124, 12), type = String.fromCharCode(header[156]!);
    if (header.every(b => b === 0)) break;
    if (!isHeader(header)) throw new Error(at === 0 ? 'the initrd is not a tar archive' : `the initrd is a tar archive that is broken at byte ${at}`);
    if (!(at + BLOCK + size <= archive.length)) throw new Error(`the initrd is a tar archive that ends in the middle of ${text(header, 0, 100)}`);
    const data = archive.subarray(at + BLOCK, at + BLOCK + size);
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK;
    if (type === 'L') { longName = text(data, 0, size); continue; }
    if (type === 'K') { longTarget = text(data, 0, size); continue; }
    if (type === 'x' || type === 'g') {
      const said = (key: string): string | undefined => new RegExp(`\\d+ ${key}=([^\\n]*)\\n`).exec(text(data, 0, size))?.[1];
      if (type === 'x') { longName = said('path') ?? longName; longTarget = said('linkpath') ?? longTarget; }
      continue;
    }
    const prefix = header[263] === SPACE || text(header, 257, 5) !== 'ustar' ? '' : text(header, 345, 155), name = longName ?? (prefix ? `${prefix}/${text(header, 0, 100)}` : text(header, 0, 100));
    const target = longTarget ?? text(header, 157, 100), modified = BigInt(numberOf(header, 136, 12) || 0) * NS;
    longName = longTarget = undefined;
    const parts = name.split('/').filter(p => p !== '' && p !== '.'), last = parts.at(-1);
    if (type === 'S') throw new Error(`the initrd has ${name} as a sparse file: make it without --sparse`);
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
