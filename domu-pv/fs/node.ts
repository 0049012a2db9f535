// Files as the guest kernel sees them, whatever they lie on. Positions and sizes in bytes, times in ns since 1970.
import { ERRNO } from '../wasi/errno.ts';

/** What a file system or a call refuses: a WASI errno. */
export class FsError extends Error {
  readonly errno: number;
  constructor(errno: number) { super(`file system error ${errno}`); this.errno = errno; }
}

export type NodeKind = 'file' | 'directory' | 'symlink' | 'device' | 'socket';
export interface Entry { readonly name: string; readonly id: bigint; readonly kind: NodeKind }
export interface Times { readonly accessed: bigint; readonly modified: bigint; readonly changed: bigint }

/** One file, directory, symbolic link, device or socket. What a kind has no sense for is refused. */
export abstract class FileNode {
  abstract readonly kind: NodeKind;
  abstract readonly id: bigint;
  abstract readonly size: number;
  /** Whether what it lies on takes changes at all. */
  get writable(): boolean { return true; }
  links(): number { return 1; }
  times(): Times { return { accessed: 0n, modified: 0n, changed: 0n }; }
  setTimes(_accessed: bigint | undefined, _modified: bigint | undefined): void {}
  /** @returns bytes read; 0 at the end */
  read(_position: number, _into: Uint8Array): number { throw new FsError(ERRNO.INVAL); }
  /** @returns bytes written */
  write(_position: number, _data: Uint8Array): number { throw new FsError(ERRNO.ROFS); }
  resize(_size: number): void { throw new FsError(ERRNO.ROFS); }
  /** Of a symbolic link. */
  target(): string { throw new FsError(ERRNO.INVAL); }
  /** Makes what was written durable. */
  sync(): void {}

  // ---- directories
  lookup(_name: string): FileNode | undefined { throw new FsError(ERRNO.NOTDIR); }
  /** Without . and .. */
  list(): Entry[] { throw new FsError(ERRNO.NOTDIR); }
  create(_name: string, _kind: 'file' | 'directory' | 'symlink', _target?: string): FileNode { throw new FsError(ERRNO.ROFS); }
  link(_name: string, _node: FileNode): void { throw new FsError(ERRNO.ROFS); }
  unlink(_name: string): void { throw new FsError(ERRNO.ROFS); }
  removeDirectory(_name: string): void { throw new FsError(ERRNO.ROFS); }
  rename(_name: string, _to: FileNode, _toName: string): void { throw new FsError(ERRNO.ROFS); }
  /** The last descriptor has been closed: an unlinked file's blocks may go. */
  opened(): void {}
  closed(): void {}
}
