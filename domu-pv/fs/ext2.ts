// ext2: superblock, groups, inodes and the blocks of files. Changes stay in the block cache until sync(). What the disk
// says is checked where it leads: a block number outside the disk is an I/O error, never another place in memory.
import { ERRNO } from '../wasi/errno.ts';
import { BlockCache, type Disk } from './block-cache.ts';
import {
  DIRECT_BLOCKS, EXT2_MAGIC, GROUP, GROUP_BYTES, INCOMPAT_FILETYPE, INODE, ROCOMPAT_LARGE, ROCOMPAT_SPARSE, STATE_CLEAN, SUPER, SUPER_AT, SUPER_BYTES,
} from './ext2-layout.ts';
import { FsError } from './node.ts';
import { SECTOR_BYTES } from '../../hypervisor/public/io/blkif.ts';

const LEVELS = 3, SIZE_LIMIT = 2 ** 41;

export class NotExt2 extends Error {}

/** Where an inode lies: a block and an offset in it. */
interface Slot { readonly block: number; readonly at: number }

export class Ext2 {
  readonly cache: BlockCache;
  readonly readOnly: boolean;
  readonly blockBytes: number;
  readonly hasTypes: boolean;
  readonly #now: () => bigint;
  readonly #super: DataView;
  readonly #blocks: number; readonly #firstBlock: number; readonly #perGroup: number;
  readonly #inodes: number; readonly #inodesPerGroup: number; readonly #inodeBytes: number; readonly #firstInode: number;
  readonly #groups: number;
  #superChanged = false;
  /** Where the last block was found free, by group. */
  readonly #hints = new Map<number, number>();

  /** @param nowSec seconds since 1970 @throws NotExt2 with a sentence */
  constructor(disk: Disk, nowSec: () => bigint) {
    if (disk.sectors * SECTOR_BYTES < SUPER_AT + SUPER_BYTES) throw new NotExt2('the disk is too small');
    const raw = new Uint8Array(SUPER_BYTES);
    disk.read(SUPER_AT / SECTOR_BYTES, raw);
    const s = this.#super = new DataView(raw.buffer), u32 = (at: number): number => s.getUint32(at, true);
    if (s.getUint16(SUPER.magic, true) !== EXT2_MAGIC) throw new NotExt2('it has no ext2 file system');
    const incompat = u32(SUPER.incompat), ro = u32(SUPER.roCompat), revised = u32(SUPER.revision) > 0;
    if (revised && incompat & ~INCOMPAT_FILETYPE) throw new NotExt2(`its file system uses features that ext2 does not have (0x${incompat.toString(16)}): make it with mkfs.ext2`);
    const log = u32(SUPER.logBlockSize);
    if (log > 6) throw new NotExt2('its block size makes no sense');
    this.blockBytes = 1024 << log;
    this.#blocks = u32(SUPER.blocksCount); this.#firstBlock = u32(SUPER.firstDataBlock); this.#perGroup = u32(SUPER.blocksPerGroup);
    this.#inodes = u32(SUPER.inodesCount); this.#inodesPerGroup = u32(SUPER.inodesPerGroup);
    this.#inodeBytes = revised ? s.getUint16(SUPER.inodeSize, true) : 128;
    this.#firstInode = revised ? u32(SUPER.firstInode) : 11;
    if (this.#blocks * this.blockBytes > disk.sectors * SECTOR_BYTES || this.#perGroup === 0 || this.#perGroup > 8 * this.blockBytes || this.#inodesPerGroup === 0
      || this.#inodesPerGroup > 8 * this.blockBytes || this.#inodeBytes < 128 || this.#inodeBytes > this.blockBytes) throw new NotExt2('its superblock makes no sense');
    this.#groups = Math.ceil((this.#blocks - this.#firstBlock) / this.#perGroup);
    this.hasTypes = revised && (incompat & INCOMPAT_FILETYPE) !== 0;
    this.readOnly = disk.readOnly || revised && (ro & ~(ROCOMPAT_SPARSE | ROCOMPAT_LARGE)) !== 0;
    this.cache = new BlockCache(disk, this.blockBytes);
    this.#now = nowSec;
    if (this.readOnly) return;
    // In use: a check is due if it never gets to unmount().
    s.setUint16(SUPER.state, s.getUint16(SUPER.state, true) & ~STATE_CLEAN, true);
    this.#superChanged = true;
  }
  nowSec(): number { return Number(this.#now() & 0xffff_ffffn); }

  sync(): void {
    if (this.readOnly) return;
    if (this.#superChanged) {
      this.#super.setUint32(SUPER.writeTime, this.nowSec(), true);
      const block = Math.floor(SUPER_AT / this.blockBytes);
      this.cache.block(block).set(new Uint8Array(this.#super.buffer), SUPER_AT % this.blockBytes);
      this.cache.dirty(block);
      this.#superChanged = false;
    }
    this.cache.sync();
  }
  unmount(): void {
    if (this.readOnly) return;
    this.#super.setUint16(SUPER.state, STATE_CLEAN, true);
    this.#superChanged = true;
    this.sync();
  }

  // ---- groups and bitmaps
  #group(n: number): { view: DataView; at: number; block: number } {
    const at = n * GROUP_BYTES, block = this.#firstBlock + 1 + Math.floor(at / this.blockBytes);
    return { view: this.cache.view(block), at: at % this.blockBytes, block };
  }
  #count(group: number, field: number, superField: number, by: number): void {
    const g = this.#group(group);
    g.view.setUint16(g.at + field, g.view.getUint16(g.at + field, true) + by, true);
    this.cache.dirty(g.block);
    this.#super.setUint32(superField, this.#super.getUint32(superField, true) + by, true);
    this.#superChanged = true;
  }
  #bitmap(group: number, field: number): number { const g = this.#group(group); return this.#checked(g.view.getUint32(g.at + field, true)); }
  #checked(block: number): number {
    if (block < this.#firstBlock || block >= this.#blocks) throw new FsError(ERRNO.IO);
    return block;
  }
  /** Takes the first clear bit at or after `from`; -1 where there is none. */
  #takeBit(bitmap: number, from: number, limit: number): number {
    const bits = this.cache.block(bitmap);
    for (let n = from; n < limit; n++) {
      if ((n & 7) === 0 && bits[n >> 3] === 0xff) { n += 7; continue; }
      if (bits[n >> 3]! >> (n & 7) & 1) continue;
      bits[n >> 3]! |= 1 << (n & 7);
      this.cache.dirty(bitmap);
      return n;
    }
    return -1;
  }
  #clearBit(bitmap: number, n: number): boolean {
    const bits = this.cache.block(bitmap), was = bits[n >> 3]! >> (n & 7) & 1;
    bits[n >> 3]! &= ~(1 << (n & 7));
    this.cache.dirty(bitmap);
    return was === 1;
  }
  /** A block, near `goal` where one is free. @throws FsError(NOSPC) */
  allocateBlock(goal: number): number {
    const first = Math.max(0, Math.floor((goal - this.#firstBlock) / this.#perGroup)) % this.#groups;
    for (let i = 0; i < this.#groups; i++) {
      const group = (first + i) % this.#groups, limit = Math.min(this.#perGroup, this.#blocks - this.#firstBlock - group * this.#perGroup);
      const g = this.#group(group);
      if (g.view.getUint16(g.at + GROUP.freeBlocks, true) === 0) continue;
      const bitmap = this.#bitmap(group, GROUP.blockBitmap), wanted = i === 0 && goal > 0 ? (goal - this.#firstBlock) % this.#perGroup : this.#hints.get(group) ?? 0;
      let bit = this.#takeBit(bitmap, wanted, limit);
      if (bit < 0) bit = this.#takeBit(bitmap, 0, limit);
      if (bit < 0) continue;
      this.#hints.set(group, bit + 1);
      this.#count(group, GROUP.freeBlocks, SUPER.freeBlocks, -1);
      return this.#firstBlock + group * this.#perGroup + bit;
    }
    throw new FsError(ERRNO.NOSPC);
  }
  freeBlock(block: number): void {
    this.#checked(block);
    const n = block - this.#firstBlock, group = Math.floor(n / this.#perGroup);
    this.cache.forget(block);
    if (this.#clearBit(this.#bitmap(group, GROUP.blockBitmap), n % this.#perGroup)) this.#count(group, GROUP.freeBlocks, SUPER.freeBlocks, 1);
    this.#hints.set(group, Math.min(this.#hints.get(group) ?? 0, n % this.#perGroup));
  }

  // ---- inodes
  #slot(inode: number): Slot {
    if (inode < 1 || inode > this.#inodes) throw new FsError(ERRNO.IO);
    const group = Math.floor((inode - 1) / this.#inodesPerGroup), g = this.#group(group), offset = (inode - 1) % this.#inodesPerGroup * this.#inodeBytes;
    return { block: this.#checked(g.view.getUint32(g.at + GROUP.inodeTable, true)) + Math.floor(offset / this.blockBytes), at: offset % this.blockBytes };
  }
  /** A field of an inode; 16 bits wide for mode and links. */
  get(inode: number, field: number): number {
    const { block, at } = this.#slot(inode), v = this.cache.view(block);
    return field === INODE.mode || field === INODE.links ? v.getUint16(at + field, true) : v.getUint32(at + field, true);
  }
  set(inode: number, field: number, value: number): void {
    const { block, at } = this.#slot(inode), v = this.cache.view(block);
    if (field === INODE.mode || field === INODE.links) v.setUint16(at + field, value, true); else v.setUint32(at + field, value >>> 0, true);
    this.cache.dirty(block);
  }
  /** The 60 bytes of block pointers, which hold a short symbolic link. */
  inlineBytes(inode: number): Uint8Array { const { block, at } = this.#slot(inode); return this.cache.block(block).subarray(at + INODE.block, at + INODE.block + 60); }
  inlineChanged(inode: number): void { this.cache.dirty(this.#slot(inode).block); }
  size(inode: number): number { return this.get(inode, INODE.size) + this.get(inode, INODE.sizeHigh) * 2 ** 32; }
  setSize(inode: number, size: number): void {
    if (size > SIZE_LIMIT) throw new FsError(ERRNO.FBIG);
    this.set(inode, INODE.size, size % 2 ** 32);
    this.set(inode, INODE.sizeHigh, Math.floor(size / 2 ** 32));
    if (size >= 2 ** 31 && !(this.#super.getUint32(SUPER.roCompat, true) & ROCOMPAT_LARGE)) {
      this.#super.setUint32(SUPER.roCompat, this.#super.getUint32(SUPER.roCompat, true) | ROCOMPAT_LARGE, true);
      this.#superChanged = true;
    }
  }
  allocateInode(near: number, mode: number, isDirectory: boolean): number {
    const first = Math.floor((near - 1) / this.#inodesPerGroup);
    for (let i = 0; i < this.#groups; i++) {
      const group = (first + i) % this.#groups, bitmap = this.#bitmap(group, GROUP.inodeBitmap), from = group === 0 ? this.#firstInode - 1 : 0;
      const bit = this.#takeBit(bitmap, from, this.#inodesPerGroup);
      if (bit < 0) continue;
      const inode = group * this.#inodesPerGroup + bit + 1, { block, at } = this.#slot(inode), now = this.nowSec();
      this.cache.block(block).fill(0, at, at + this.#inodeBytes);
      this.cache.dirty(block);
      this.#count(group, GROUP.freeInodes, SUPER.freeInodes, -1);
      if (isDirectory) this.#directories(group, 1);
      this.set(inode, INODE.mode, mode);
      for (const time of [INODE.accessed, INODE.changed, INODE.modified]) this.set(inode, time, now);
      return inode;
    }
    throw new FsError(ERRNO.NOSPC);
  }
  freeInode(inode: number, isDirectory: boolean): void {
    const group = Math.floor((inode - 1) / this.#inodesPerGroup);
    this.set(inode, INODE.deleted, this.nowSec());
    this.set(inode, INODE.links, 0);
    if (this.#clearBit(this.#bitmap(group, GROUP.inodeBitmap), (inode - 1) % this.#inodesPerGroup)) this.#count(group, GROUP.freeInodes, SUPER.freeInodes, 1);
    if (isDirectory) this.#directories(group, -1);
  }
  #directories(group: number, by: number): void {
    const g = this.#group(group);
    g.view.setUint16(g.at + GROUP.directories, g.view.getUint16(g.at + GROUP.directories, true) + by, true);
    this.cache.dirty(g.block);
  }

  // ---- a file's blocks: twelve direct ones, then trees of one, two and three levels
  /** The disk block behind a file's block; 0 for a hole. @param make a block where there is a hole */
  blockOf(inode: number, n: number, make: boolean): number {
    const { slot, rest, levels } = this.#place(n);
    let block = this.#pointer(inode, slot, make, this.#goal(inode, n));
    for (let level = levels - 1; level >= 0 && block !== 0; level--) {
      const per = this.blockBytes / 4, index = Math.floor(rest / per ** level) % per, v = this.cache.view(this.#checked(block));
      let next = v.getUint32(index * 4, true);
      if (next === 0 && make) {
        next = this.#newBlock(inode, block + 1, level > 0);
        this.cache.view(block).setUint32(index * 4, next, true);
        this.cache.dirty(block);
      }
      block = next;
    }
    return block === 0 ? 0 : this.#checked(block);
  }
  #place(n: number): { slot: number; rest: number; levels: number } {
    if (n < DIRECT_BLOCKS) return { slot: n, rest: 0, levels: 0 };
    const per = this.blockBytes / 4;
    let rest = n - DIRECT_BLOCKS;
    for (let levels = 1; levels <= LEVELS; levels++) {
      if (rest < per ** levels) return { slot: DIRECT_BLOCKS + levels - 1, rest, levels };
      rest -= per ** levels;
    }
    throw new FsError(ERRNO.FBIG);
  }
  #pointer(inode: number, slot: number, make: boolean, goal: number): number {
    const field = INODE.block + 4 * slot, block = this.get(inode, field);
    if (block !== 0 || !make) return block;
    const made = this.#newBlock(inode, goal, slot >= DIRECT_BLOCKS);
    this.set(inode, field, made);
    return made;
  }
  /** Behind the block before it. */
  #goal(inode: number, n: number): number { return n > 0 && n < DIRECT_BLOCKS ? this.get(inode, INODE.block + 4 * (n - 1)) + 1 : Math.floor((inode - 1) / this.#inodesPerGroup) * this.#perGroup + this.#firstBlock; }
  #newBlock(inode: number, goal: number, isTable: boolean): number {
    const block = this.allocateBlock(goal);
    if (isTable) this.cache.fresh(block);
    this.set(inode, INODE.sectors, this.get(inode, INODE.sectors) + this.blockBytes / SECTOR_BYTES);
    return block;
  }
  /** Frees the blocks from the n-th on. */
  truncateBlocks(inode: number, n: number): void {
    for (let slot = 0, at = 0; slot < DIRECT_BLOCKS + LEVELS; slot++) {
      const levels = Math.max(0, slot - DIRECT_BLOCKS + 1), span = (this.blockBytes / 4) ** levels, block = this.get(inode, INODE.block + 4 * slot);
      if (block !== 0 && at + span > n && this.#truncateTree(inode, block, levels, at, n)) this.set(inode, INODE.block + 4 * slot, 0);
      at += span;
    }
  }
  /** @returns whether the tree's own block went too */
  #truncateTree(inode: number, block: number, levels: number, at: number, n: number): boolean {
    this.#checked(block);
    if (levels > 0) {
      const per = this.blockBytes / 4, span = per ** (levels - 1);
      for (let i = 0; i < per; i++) {
        const child = this.cache.view(block).getUint32(i * 4, true), first = at + i * span;
        if (child === 0 || first + span <= n || !this.#truncateTree(inode, child, levels - 1, first, n)) continue;
        this.cache.view(block).setUint32(i * 4, 0, true);
        this.cache.dirty(block);
      }
    }
    if (at < n) return false;
    this.freeBlock(block);
    this.set(inode, INODE.sectors, this.get(inode, INODE.sectors) - this.blockBytes / SECTOR_BYTES);
    return true;
  }
}
