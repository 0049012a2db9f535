// On-disk layout of ext2, all little-endian. Offsets in bytes.
export const SUPER_AT = 1024, SUPER_BYTES = 1024, EXT2_MAGIC = 0xef53;
export const SUPER = {
  inodesCount: 0, blocksCount: 4, reservedBlocks: 8, freeBlocks: 12, freeInodes: 16, firstDataBlock: 20, logBlockSize: 24, logFragSize: 28,
  blocksPerGroup: 32, fragsPerGroup: 36, inodesPerGroup: 40, mountTime: 44, writeTime: 48, mountCount: 52, maxMounts: 54, magic: 56, state: 58,
  errors: 60, lastCheck: 64, revision: 76, firstInode: 84, inodeSize: 88, compat: 92, incompat: 96, roCompat: 100, uuid: 104,
} as const;
export const STATE_CLEAN = 1;
/** What a file system may use: entries with file types; sparse superblocks, files beyond 2 GiB. */
export const INCOMPAT_FILETYPE = 2, ROCOMPAT_SPARSE = 1, ROCOMPAT_LARGE = 2;

export const GROUP_BYTES = 32;
export const GROUP = { blockBitmap: 0, inodeBitmap: 4, inodeTable: 8, freeBlocks: 12, freeInodes: 14, directories: 16 } as const;

export const INODE = { mode: 0, size: 4, accessed: 8, changed: 12, modified: 16, deleted: 20, links: 26, sectors: 28, flags: 32, block: 40, sizeHigh: 108 } as const;
export const DIRECT_BLOCKS = 12, INODE_BLOCKS = 15, FAST_SYMLINK_BYTES = 60, ROOT_INODE = 2, FIRST_INODE = 11;
export const MODE_KIND = 0xf000, MODE_DIRECTORY = 0x4000, MODE_FILE = 0x8000, MODE_SYMLINK = 0xa000;
/** A directory with a hash tree; without the flag it is a list of entries again. */
export const FLAG_INDEX = 0x1000;

export const ENTRY = { inode: 0, length: 4, nameLength: 6, type: 7, name: 8 } as const;
export const ENTRY_TYPE = { file: 1, directory: 2, symlink: 7 } as const;
export const entryBytes = (nameBytes: number): number => ENTRY.name + nameBytes + 3 & ~3;
