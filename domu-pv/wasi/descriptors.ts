// What a program has open.
import type { Console } from '../kernel/console.ts';
import { FileNode, FsError } from '../fs/node.ts';
import type { Place } from '../fs/mounts.ts';
import { ERRNO } from './errno.ts';

const DESCRIPTORS_MAX = 1024;
export const ALL_RIGHTS = (1n << 30n) - 1n, RIGHT = { read: 1n << 1n, write: 1n << 6n } as const;

/** The console as a file: lines in, anything out. */
export class Terminal extends FileNode {
  readonly kind = 'device'; readonly id = 0n; readonly size = 0;
  readonly #console: Console;
  constructor(console: Console) { super(); this.#console = console; }
  override read(_position: number, into: Uint8Array): number { const line = this.#console.readLine(into.length); into.set(line); return line.length; }
  override write(_position: number, data: Uint8Array): number { this.#console.write(data); return data.length; }
}

export interface Descriptor {
  readonly node: FileNode;
  /** Of a directory: where it is. */
  readonly place: Place | undefined;
  /** Of one that the program was given. */
  readonly preopened: string | undefined;
  /** RIGHT: what it was opened for. */
  readonly rights: bigint;
  position: number;
  flags: number;
  /** A directory's entries, as they were when reading began. */
  entries: { readonly name: string; readonly id: bigint; readonly type: number }[] | undefined;
}

export class Descriptors {
  readonly #open = new Map<number, Descriptor>();

  add(node: FileNode, place?: Place, flags = 0, preopened?: string, rights = ALL_RIGHTS): number {
    let fd = 0;
    while (this.#open.has(fd)) fd++;
    if (fd >= DESCRIPTORS_MAX) throw new FsError(ERRNO.MFILE);
    node.opened();
    this.#open.set(fd, { node, place, preopened, rights, position: 0, flags, entries: undefined });
    return fd;
  }
  get(fd: number): Descriptor {
    const d = this.#open.get(fd);
    if (!d) throw new FsError(ERRNO.BADF);
    return d;
  }
  find(fd: number): Descriptor | undefined { return this.#open.get(fd); }
  close(fd: number): void {
    const { node } = this.get(fd);
    this.#open.delete(fd);
    node.closed();
  }
  /** Both are open: a number is not the program's to invent. */
  renumber(from: number, to: number): void {
    const d = this.get(from);
    this.get(to);
    if (from === to) return;
    this.close(to);
    this.#open.delete(from);
    this.#open.set(to, d);
  }
}
