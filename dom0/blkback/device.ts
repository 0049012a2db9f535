// The file or block device behind a virtual disk. Data moves straight between it and the guest's frames: the
// buffers given here are views on granted pages.
import { execFile } from 'node:child_process';
import { constants, fdatasync, read, readv, readvSync, writev, writevSync } from 'node:fs';
import { open, readFile, type FileHandle } from 'node:fs/promises';
import { performance as clock } from 'node:perf_hooks';
import { promisify } from 'node:util';
import { SECTOR_BYTES } from '../../hypervisor/public/io/blkif.ts';
import { Quickness } from './quickness.ts';
import { foreignWriter, ImageBusyError, lockImage } from './image-lock.ts';

export interface DiskOptions {
  readonly path: string; readonly readOnly: boolean; readonly discard: boolean;
  /** Words that name the user in messages. */
  readonly owner: string;
}

/** What a ring needs of a disk. Positions and lengths in bytes; a promise rejects with the I/O error. */
export interface Disk {
  /** In 512-byte units. */
  readonly sectors: number;
  readonly physicalSectorBytes: number;
  readonly readOnly: boolean; readonly discard: boolean; readonly discardGranularityBytes: number;
  read(buffers: readonly Uint8Array<SharedArrayBuffer>[], position: number): Promise<void>;
  write(buffers: readonly Uint8Array<SharedArrayBuffer>[], position: number): Promise<void>;
  /** Reads or writes at once, on this thread, where that is not likely to wait. @returns whether all is done; if not, nothing may be taken as done */
  readNow?(buffers: readonly Uint8Array<SharedArrayBuffer>[], position: number): boolean;
  writeNow?(buffers: readonly Uint8Array<SharedArrayBuffer>[], position: number): boolean;
  flush(): Promise<void>;
  discardRange(position: number, byteCount: number): Promise<void>;
  close(): Promise<void>;
}

const PUNCH_ALIGN_BYTES = 4096;
/** Linux's IOV_MAX. */
const MAX_VECTORS = 1024;
const run = promisify(execFile);

export class ImageDisk implements Disk {
  readonly sectors: number; readonly physicalSectorBytes: number;
  readonly readOnly: boolean; readonly discard: boolean; readonly discardGranularityBytes = PUNCH_ALIGN_BYTES;
  readonly #quickness = new Quickness();
  readonly #file: FileHandle; readonly #unlock: () => void; readonly #path: string; readonly #isFile: boolean;

  private constructor(file: FileHandle, unlock: () => void, options: DiskOptions, sizeBytes: number, physicalSectorBytes: number, isFile: boolean) {
    this.#file = file; this.#unlock = unlock; this.#path = options.path; this.#isFile = isFile;
    this.sectors = Math.floor(sizeBytes / SECTOR_BYTES);
    this.physicalSectorBytes = physicalSectorBytes;
    this.readOnly = options.readOnly;
    this.discard = options.discard && isFile && !options.readOnly;
  }

  /** @throws Error whose message names the path and the reason */
  static async open(options: DiskOptions): Promise<ImageDisk> {
    // A fifo is refused below: its opening is not to wait for who writes into it, on one of a few threads.
    const flags = constants.O_NONBLOCK | (options.readOnly ? constants.O_RDONLY : constants.O_RDWR);
    const file = await open(options.path, flags).catch((cause: NodeJS.ErrnoException) => { throw openError(options, cause); });
    let unlock: (() => void) | undefined;
    try {
      const info = await file.stat({ bigint: true });
      if (!info.isFile() && !info.isBlockDevice()) throw new Error(`${options.path} is neither a file nor a block device`);
      unlock = lockImage(options.path, info.isBlockDevice() ? { dev: -1n, ino: info.rdev } : info, options.owner, !options.readOnly);
      if (!options.readOnly && info.isFile()) {
        const other = await foreignWriter(info);
        if (other) throw new ImageBusyError(`${options.path} is open for writing in process ${other.pid} (${other.name}): end it first, or give the disk read-only`);
      }
      const sizeBytes = info.isFile() ? Number(info.size) : await blockDeviceBytes(file);
      if (sizeBytes < SECTOR_BYTES) throw new Error(`${options.path} is empty: make it as large as the disk should be, for example with truncate -s 4G`);
      const physical = info.isFile() ? SECTOR_BYTES : await physicalBlockBytes(info.rdev);
      return new ImageDisk(file, unlock, options, sizeBytes, physical, info.isFile());
    } catch (error) {
      unlock?.();
      await file.close();
      throw error;
    }
  }

  async read(buffers: readonly Uint8Array<SharedArrayBuffer>[], position: number): Promise<void> {
    await transfer(buffers, position, (views, at, done) => readv(this.#file.fd, views, at, done), true);
  }
  async write(buffers: readonly Uint8Array<SharedArrayBuffer>[], position: number): Promise<void> {
    await transfer(buffers, position, (views, at, done) => writev(this.#file.fd, views, at, done), false);
  }
  readNow(buffers: readonly Uint8Array<SharedArrayBuffer>[], position: number): boolean { return this.#now(buffers, position, readvSync); }
  writeNow(buffers: readonly Uint8Array<SharedArrayBuffer>[], position: number): boolean { return this.#now(buffers, position, writevSync); }
  #now(buffers: readonly Uint8Array<SharedArrayBuffer>[], position: number, call: typeof readvSync | typeof writevSync): boolean {
    let wanted = 0;
    for (let i = 0; i < buffers.length; i++) wanted += buffers[i]!.length;
    if (!this.#quickness.mayTry(wanted)) return false;
    const start = clock.now();
    // The pool meets the same error, and reports it.
    try { if (call(this.#file.fd, buffers, position) !== wanted) return false; } catch { return false; }
    this.#quickness.took(clock.now() - start, wanted);
    return true;
  }
  flush(): Promise<void> {
    return new Promise((resolve, reject) => fdatasync(this.#file.fd, error => error ? reject(error) : resolve()));
  }
  /** Gives the blocks back to the file system. Advisory: where that is impossible, the data stays. */
  async discardRange(position: number, byteCount: number): Promise<void> {
    const first = Math.ceil(position / PUNCH_ALIGN_BYTES) * PUNCH_ALIGN_BYTES;
    const last = Math.floor((position + byteCount) / PUNCH_ALIGN_BYTES) * PUNCH_ALIGN_BYTES;
    if (!this.#isFile || last <= first) return;
    // Node has no fallocate(2); util-linux's command has.
    await run('fallocate', ['--punch-hole', '--offset', String(first), '--length', String(last - first), this.#path]).catch(() => undefined);
  }
  async close(): Promise<void> {
    try { if (!this.readOnly) await this.flush(); } finally { this.#unlock(); await this.#file.close(); }
  }
}

type Vectored = (views: readonly Uint8Array<SharedArrayBuffer>[], position: number, done: (error: Error | null, byteCount: number) => void) => void;

/** Repeats a vectored call until every byte has moved; what lies past the end of the file reads as zero. */
async function transfer(buffers: readonly Uint8Array<SharedArrayBuffer>[], position: number, call: Vectored, zeroPastEnd: boolean): Promise<void> {
  let rest = buffers.slice(0);
  while (rest.length > 0) {
    const part = rest.slice(0, MAX_VECTORS);
    const moved = await new Promise<number>((resolve, reject) => call(part, position, (error, n) => error ? reject(error) : resolve(n)));
    if (moved === 0) {
      if (!zeroPastEnd) throw new Error('the disk took no data');
      for (const buffer of rest) buffer.fill(0);
      return;
    }
    position += moved;
    let left = moved;
    while (left > 0 && rest[0]!.byteLength <= left) left -= rest.shift()!.byteLength;
    if (left > 0) rest[0] = rest[0]!.subarray(left);
  }
}

function openError(options: DiskOptions, cause: NodeJS.ErrnoException): Error {
  if (cause.code === 'EISDIR') return new Error(`${options.path} is a folder, not a disk image: name a file in it`, { cause });
  if (cause.code === 'ENOENT') return new Error(`failed to stat: ${options.path}: No such file or directory`, { cause });
  if (cause.code === 'EACCES' || cause.code === 'EPERM' || cause.code === 'EROFS')
    return new Error(`${options.path}: Permission denied${options.readOnly ? '' : ': make it writable, or give the disk read-only with access=ro'}`, { cause });
  return new Error(`${options.path}: ${cause.message}`, { cause });
}

/** Size of a block device: the last readable byte, found by bisection since Node has no ioctl. */
async function blockDeviceBytes(file: FileHandle): Promise<number> {
  const probe = new Uint8Array(1);
  const readable = (at: number): Promise<boolean> => new Promise(resolve => read(file.fd, probe, 0, 1, at, (error, n) => resolve(!error && n === 1)));
  let low = 0, high = 2 ** 50;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (await readable(middle)) low = middle + 1; else high = middle;
  }
  return low;
}

async function physicalBlockBytes(rdev: bigint): Promise<number> {
  const major = Number((rdev >> 8n) & 0xfffn), minor = Number((rdev & 0xffn) | ((rdev >> 12n) & 0xfff00n));
  for (const at of [`/sys/dev/block/${major}:${minor}/queue`, `/sys/dev/block/${major}:${minor}/../queue`]) {
    const text = await readFile(`${at}/physical_block_size`, 'utf8').catch(() => '');
    if (/^\d+/.test(text)) return Number(text);
  }
  return SECTOR_BYTES;
}
