// Disk images with a partition table, one partition and a file system on it.
import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';

const SECTOR = 512, FIRST_SECTOR = 2048;
const LINUX_MBR = 0x83, PROTECTIVE_MBR = 0xee;
/** Linux file system data, as bytes on the disk. */
const LINUX_GUID = Buffer.from('af3dc60f838472478e793d69d8477de4', 'hex');
const ENTRIES = 128, ENTRY_BYTES = 128;

/** Makes an ext4 file system from a folder. @throws Error with what mke2fs said */
export function makeExt4(path: string, sizeMiB: number, folder?: string): void {
  const r = spawnSync('mke2fs', ['-q', '-F', '-t', 'ext4', ...(folder ? ['-d', folder] : []), path, `${sizeMiB}M`], { encoding: 'utf8' });
  if (r.status !== 0) throw new Error(`mke2fs: ${r.error?.message ?? r.stderr}`);
}

function mbr(type: number, first: number, count: number): Buffer {
  const sector = Buffer.alloc(SECTOR);
  sector[446] = 0x80;
  sector[446 + 4] = type;
  sector.writeUInt32LE(first, 446 + 8);
  sector.writeUInt32LE(count, 446 + 12);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

/** A GPT header (UEFI specification, 5.3.2) for one of the two places it stands in. */
function gptHeader(at: number, other: number, last: number, entriesAt: number, entries: Buffer): Buffer {
  const h = Buffer.alloc(SECTOR);
  h.write('EFI PART');
  h.writeUInt32LE(0x10000, 8);
  h.writeUInt32LE(92, 12);
  for (const [offset, value] of [[24, at], [32, other], [40, FIRST_SECTOR], [48, last], [72, entriesAt]] as const) h.writeBigUInt64LE(BigInt(value), offset);
  h.fill(0x11, 56, 72);
  h.writeUInt32LE(ENTRIES, 80);
  h.writeUInt32LE(ENTRY_BYTES, 84);
  h.writeUInt32LE(crc32(entries), 88);
  h.writeUInt32LE(crc32(h.subarray(0, 92)), 16);
  return h;
}

/** Writes a disk whose only partition has the contents of a file. */
export function partitionDisk(disk: string, table: 'msdos' | 'gpt', contents: string): void {
  const data = readFileSync(contents), count = data.length / SECTOR, sectors = FIRST_SECTOR + count + FIRST_SECTOR;
  const fd = openSync(disk, 'w');
  const put = (sector: number, bytes: Buffer): void => { writeSync(fd, bytes, 0, bytes.length, sector * SECTOR); };
  try {
    ftruncateSync(fd, sectors * SECTOR);
    put(FIRST_SECTOR, data);
    if (table === 'msdos') { put(0, mbr(LINUX_MBR, FIRST_SECTOR, count)); return; }
    const entries = Buffer.alloc(ENTRIES * ENTRY_BYTES), spare = sectors - 1 - entries.length / SECTOR;
    LINUX_GUID.copy(entries);
    entries.fill(0x22, 16, 32);
    entries.writeBigUInt64LE(BigInt(FIRST_SECTOR), 32);
    entries.writeBigUInt64LE(BigInt(FIRST_SECTOR + count - 1), 40);
    put(0, mbr(PROTECTIVE_MBR, 1, sectors - 1));
    put(1, gptHeader(1, sectors - 1, spare - 1, 2, entries));
    put(2, entries);
    put(spare, entries);
    put(sectors - 1, gptHeader(sectors - 1, 1, spare - 1, spare, entries));
  } finally { closeSync(fd); }
}
