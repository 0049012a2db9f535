// Blocks of a disk in memory: read when first asked for, written when the file system is synced or when too many have
// been changed. Blocks that lie next to each other are written together.
import type { Blkfront } from '../front/blkfront.ts';
import { SECTOR_BYTES } from '../../hypervisor/public/io/blkif.ts';

const CACHE_BYTES = 8 << 20, DIRTY_BYTES = 4 << 20, RUN_BYTES = 1 << 20;

export type Disk = Pick<Blkfront, 'read' | 'write' | 'flush' | 'discard' | 'sectors' | 'readOnly'>;

export class BlockCache {
  readonly blockBytes: number;
  readonly #disk: Disk;
  /** In order of last use. */
  readonly #blocks = new Map<number, Uint8Array>();
  readonly #dirty = new Set<number>();
  constructor(disk: Disk, blockBytes: number) { this.#disk = disk; this.blockBytes = blockBytes; }

  get readOnly(): boolean { return this.#disk.readOnly; }
  /** The block itself: who changes it says so with dirty(). Good until the next call. */
  block(n: number): Uint8Array {
    const known = this.#blocks.get(n);
    if (known) { this.#blocks.delete(n); this.#blocks.set(n, known); return known; }
    const data = new Uint8Array(this.blockBytes);
    this.#disk.read(n * this.blockBytes / SECTOR_BYTES, data);
    return this.#keep(n, data);
  }
  view(n: number): DataView { const b = this.block(n); return new DataView(b.buffer, b.byteOffset, b.length); }
  /** A block that is overwritten as a whole: not read. */
  fresh(n: number): Uint8Array {
    const data = this.#keep(n, this.#blocks.get(n)?.fill(0) ?? new Uint8Array(this.blockBytes));
    this.#dirty.add(n);
    return data;
  }
  dirty(n: number): void {
    this.#dirty.add(n);
    if (this.#dirty.size * this.blockBytes > DIRTY_BYTES) this.writeBack();
  }
  /** Several blocks in a row, as one read where none is in memory. */
  readRun(first: number, count: number, into: Uint8Array): void {
    for (let i = 0; i < count;) {
      const known = this.#blocks.get(first + i);
      if (known) { into.set(known, i * this.blockBytes); i++; continue; }
      let end = i + 1;
      while (end < count && !this.#blocks.has(first + end)) end++;
      this.#disk.read((first + i) * this.blockBytes / SECTOR_BYTES, into.subarray(i * this.blockBytes, end * this.blockBytes));
      i = end;
    }
  }
  /** Several whole blocks in a row, straight to the disk. */
  writeRun(first: number, data: Uint8Array): void {
    for (let i = 0; i < data.length / this.blockBytes; i++) { this.#blocks.delete(first + i); this.#dirty.delete(first + i); }
    this.#disk.write(first * this.blockBytes / SECTOR_BYTES, data);
  }
  forget(n: number): void { this.#blocks.delete(n); this.#dirty.delete(n); }

  writeBack(): void {
    const order = [...this.#dirty].sort((a, b) => a - b), most = RUN_BYTES / this.blockBytes;
    this.#dirty.clear();
    for (let i = 0; i < order.length;) {
      let count = 1;
      while (count < most && order[i + count] === order[i]! + count) count++;
      const run = new Uint8Array(count * this.blockBytes);
      for (let k = 0; k < count; k++) run.set(this.#blocks.get(order[i]! + k)!, k * this.blockBytes);
      this.#disk.write(order[i]! * this.blockBytes / SECTOR_BYTES, run);
      i += count;
    }
  }
  /** Everything changed is on the disk when this returns. */
  sync(): void { this.writeBack(); this.#disk.flush(); }

  #keep(n: number, data: Uint8Array): Uint8Array {
    this.#blocks.delete(n);
    this.#blocks.set(n, data);
    if (this.#blocks.size * this.blockBytes > CACHE_BYTES) {
      for (const old of this.#blocks.keys()) {
        if (!this.#dirty.has(old) && old !== n) { this.#blocks.delete(old); break; }
      }
    }
    return data;
  }
}
