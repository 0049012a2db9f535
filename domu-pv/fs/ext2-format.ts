// Makes an ext2 file system: blocks of 4 KiB, a superblock and group table in every group, an empty root directory.
import { SECTOR_BYTES } from '../../hypervisor/public/io/blkif.ts';
import type { Disk } from './block-cache.ts';
import { ENTRY, ENTRY_TYPE, EXT2_MAGIC, FIRST_INODE, GROUP, GROUP_BYTES, INCOMPAT_FILETYPE, INODE, MODE_DIRECTORY, ROOT_INODE, STATE_CLEAN, SUPER, SUPER_AT } from './ext2-layout.ts';

const BLOCK = 4096, PER_GROUP = 8 * BLOCK, INODE_BYTES = 128, INODES_PER_BLOCK = BLOCK / INODE_BYTES, BLOCKS_PER_INODE = 4, LEAST_DATA = 16, RESERVED_INODES = FIRST_INODE - 1;
const MAX_MOUNTS_OFF = 0xffff;

interface Group { readonly first: number; readonly blocks: number; readonly blockBitmap: number; readonly inodeBitmap: number; readonly table: number; readonly data: number }
interface Plan { readonly blocks: number; readonly inodesPerGroup: number; readonly tableBlocks: number; readonly groups: Group[] }

function plan(sectors: number): Plan {
  let blocks = Math.floor(sectors * SECTOR_BYTES / BLOCK);
  for (;;) {
    const count = Math.ceil(blocks / PER_GROUP), gdtBlocks = Math.ceil(count * GROUP_BYTES / BLOCK);
    const inodesPerGroup = Math.min(PER_GROUP, Math.ceil(Math.min(blocks, PER_GROUP) / BLOCKS_PER_INODE / INODES_PER_BLOCK) * INODES_PER_BLOCK), tableBlocks = inodesPerGroup / INODES_PER_BLOCK;
    const groups = Array.from({ length: count }, (_, n): Group => {
      const first = n * PER_GROUP, blockBitmap = first + 1 + gdtBlocks;
      return { first, blocks: Math.min(PER_GROUP, blocks - first), blockBitmap, inodeBitmap: blockBitmap + 1, table: blockBitmap + 2, data: blockBitmap + 2 + tableBlocks };
    });
    const last = groups.at(-1);
    if (!last) throw new Error('the disk is too small for a file system');
    if (last.data - last.first + LEAST_DATA <= last.blocks) return { blocks, inodesPerGroup, tableBlocks, groups };
    // A last group that holds little but its own tables is left off.
    blocks = last.first;
  }
}

/** @throws Error where the disk is too small */
export function formatExt2(disk: Disk, nowSec: number, uuid: Uint8Array): void {
  const p = plan(disk.sectors), write = (block: number, data: Uint8Array): void => disk.write(block * BLOCK / SECTOR_BYTES, data);
  const root = p.groups[0]!.data, table = new Uint8Array(BLOCK * Math.ceil(p.groups.length * GROUP_BYTES / BLOCK)), t = new DataView(table.buffer);
  let freeBlocks = 0;
  p.groups.forEach((g, n) => {
    const used = g.data - g.first + (n === 0 ? 1 : 0), free = g.blocks - used, at = n * GROUP_BYTES;
    freeBlocks += free;
    t.setUint32(at + GROUP.blockBitmap, g.blockBitmap, true);
    t.setUint32(at + GROUP.inodeBitmap, g.inodeBitmap, true);
    t.setUint32(at + GROUP.inodeTable, g.table, true);
    t.setUint16(at + GROUP.freeBlocks, free, true);
    t.setUint16(at + GROUP.freeInodes, p.inodesPerGroup - (n === 0 ? RESERVED_INODES : 0), true);
    t.setUint16(at + GROUP.directories, n === 0 ? 1 : 0, true);
    write(g.blockBitmap, bitmap(used, g.blocks));
    write(g.inodeBitmap, bitmap(n === 0 ? RESERVED_INODES : 0, p.inodesPerGroup));
    const inodes = new Uint8Array(p.tableBlocks * BLOCK);
    if (n === 0) writeRootInode(new DataView(inodes.buffer, (ROOT_INODE - 1) * INODE_BYTES, INODE_BYTES), root, nowSec);
    write(g.table, inodes);
  });
  write(root, rootEntries());
  const first = superblock(p, freeBlocks, nowSec, uuid);
  for (const g of p.groups) {
    const head = new Uint8Array(BLOCK + table.length);
    head.set(first, g.first === 0 ? SUPER_AT : 0);
    // Each copy says which group it is in.
    new DataView(head.buffer).setUint16((g.first === 0 ? SUPER_AT : 0) + 90, g.first / PER_GROUP, true);
    head.set(table, BLOCK);
    write(g.first, head);
  }
  disk.flush();
}

/** The first `used` bits, and those that stand for nothing. */
function bitmap(used: number, count: number): Uint8Array {
  const bits = new Uint8Array(BLOCK);
  for (let n = 0; n < 8 * BLOCK; n++) if (n < used || n >= count) bits[n >> 3]! |= 1 << (n & 7);
  return bits;
}
function writeRootInode(v: DataView, block: number, nowSec: number): void {
  v.setUint16(INODE.mode, MODE_DIRECTORY | 0o755, true);
  v.setUint32(INODE.size, BLOCK, true);
  for (const at of [INODE.accessed, INODE.changed, INODE.modified]) v.setUint32(at, nowSec, true);
  v.setUint16(INODE.links, 2, true);
  v.setUint32(INODE.sectors, BLOCK / SECTOR_BYTES, true);
  v.setUint32(INODE.block, block, true);
}
function rootEntries(): Uint8Array {
  const bytes = new Uint8Array(BLOCK), v = new DataView(bytes.buffer);
  for (const [at, length, name] of [[0, 12, '.'], [12, BLOCK - 12, '..']] as const) {
    v.setUint32(at + ENTRY.inode, ROOT_INODE, true);
    v.setUint16(at + ENTRY.length, length, true);
    v.setUint8(at + ENTRY.nameLength, name.length);
    v.setUint8(at + ENTRY.type, ENTRY_TYPE.directory);
    for (let i = 0; i < name.length; i++) v.setUint8(at + ENTRY.name + i, name.charCodeAt(i));
  }
  return bytes;
}
function superblock(p: Plan, freeBlocks: number, nowSec: number, uuid: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1024), v = new DataView(bytes.buffer), groups = p.groups.length;
  const u32: [number, number][] = [
    [SUPER.inodesCount, p.inodesPerGroup * groups], [SUPER.blocksCount, p.blocks], [SUPER.freeBlocks, freeBlocks], [SUPER.freeInodes, p.inodesPerGroup * groups - RESERVED_INODES],
    [SUPER.firstDataBlock, 0], [SUPER.logBlockSize, 2], [SUPER.logFragSize, 2], [SUPER.blocksPerGroup, PER_GROUP], [SUPER.fragsPerGroup, PER_GROUP], [SUPER.inodesPerGroup, p.inodesPerGroup],
    [SUPER.writeTime, nowSec], [SUPER.lastCheck, nowSec], [SUPER.revision, 1], [SUPER.firstInode, FIRST_INODE], [SUPER.incompat, INCOMPAT_FILETYPE],
  ];
  for (const [at, value] of u32) v.setUint32(at, value, true);
  for (const [at, value] of [[SUPER.maxMounts, MAX_MOUNTS_OFF], [SUPER.magic, EXT2_MAGIC], [SUPER.state, STATE_CLEAN], [SUPER.errors, 1], [SUPER.inodeSize, INODE_BYTES]] as const) v.setUint16(at, value, true);
  bytes.set(uuid.subarray(0, 16), SUPER.uuid);
  return bytes;
}
