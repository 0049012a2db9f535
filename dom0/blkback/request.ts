// A request as the frontend wrote it, copied out of the ring, to a checked BlkRequest. Everything here is hostile.
import { get16, get32, get64 } from '../../hypervisor/public/io/fields.ts';
import { grantRef, type GrantRef } from '../../hypervisor/public/types.ts';
import {
  BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST, BLKIF_MAX_SEGMENTS_PER_REQUEST, BLKIF_OP_DISCARD, BLKIF_OP_FLUSH_DISKCACHE,
  BLKIF_OP_INDIRECT, BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_OP_WRITE_BARRIER, BLKIF_RSP_EOPNOTSUPP, BLKIF_RSP_ERROR,
  blkif_request, REQUEST_BYTES, blkif_request_discard, blkif_request_indirect, SECTORS_PER_PAGE, blkif_request_segment, SEGMENTS_PER_INDIRECT_PAGE,
  type BlkifStatus,
} from '../../hypervisor/public/io/blkif.ts';

/** Advertised as feature-max-indirect-segments. */
export const MAX_INDIRECT_SEGMENTS = 256;

export interface BlkSegment { readonly gref: GrantRef; readonly firstSector: number; readonly sectorCount: number }
interface Common { readonly operation: number }
export type TransferOp = typeof BLKIF_OP_READ | typeof BLKIF_OP_WRITE | typeof BLKIF_OP_WRITE_BARRIER | typeof BLKIF_OP_FLUSH_DISKCACHE;

export type BlkRequest =
  /** `sector` and `sectorCount` in 512-byte units, inside the disk. */
  | Common & { readonly kind: 'transfer'; readonly op: TransferOp; readonly sector: number; readonly sectorCount: number; readonly segments: readonly BlkSegment[] }
  | Common & { readonly kind: 'discard'; readonly sector: number; readonly sectorCount: number }
  /** The segments are in further granted pages: map them, copy them, then call parseIndirect. */
  | Common & { readonly kind: 'indirect'; readonly op: TransferOp; readonly sector: number; readonly segmentCount: number; readonly pages: readonly GrantRef[] }
  | Common & { readonly kind: 'refused'; readonly status: BlkifStatus; readonly reason: string };

export interface DiskLimits { readonly sectors: number; readonly readOnly: boolean; readonly discard: boolean }

/** @param entry a private copy of one ring slot (112 bytes) */
export function parseRequest(entry: Uint8Array, disk: DiskLimits): BlkRequest {
  if (entry.byteLength < REQUEST_BYTES) throw new RangeError('a ring slot has 112 bytes');
  const operation = entry[blkif_request.operation]!;
  const refused = (status: BlkifStatus, reason: string): BlkRequest => ({ kind: 'refused', operation, status, reason });
  switch (operation) {
    case BLKIF_OP_READ: case BLKIF_OP_WRITE: case BLKIF_OP_WRITE_BARRIER: case BLKIF_OP_FLUSH_DISKCACHE: {
      const count = entry[blkif_request.nr_segments]!;
      if (count > BLKIF_MAX_SEGMENTS_PER_REQUEST) return refused(BLKIF_RSP_ERROR, `${count} segments`);
      const segments = new Array<BlkSegment>(count);
      readSegments(entry, blkif_request.seg, count, segments);
      return transfer(operation, operation, get64(entry, blkif_request.sector_number), segments, disk);
    }
    case BLKIF_OP_DISCARD: {
      if (!disk.discard) return refused(BLKIF_RSP_EOPNOTSUPP, 'discard is off');
      if (disk.readOnly) return refused(BLKIF_RSP_ERROR, 'discard on a read-only disk');
      const sector = get64(entry, blkif_request_discard.sector_number), sectorCount = get64(entry, blkif_request_discard.nr_sectors);
      if (!(sector + sectorCount <= disk.sectors)) return refused(BLKIF_RSP_ERROR, 'discard past the end');
      return { kind: 'discard', operation, sector, sectorCount };
    }
    case BLKIF_OP_INDIRECT: {
      const op = entry[blkif_request_indirect.indirect_op], segmentCount = get16(entry, blkif_request_indirect.nr_segments);
      if (op !== BLKIF_OP_READ && op !== BLKIF_OP_WRITE) return refused(BLKIF_RSP_ERROR, `indirect operation ${op}`);
      if (segmentCount === 0 || segmentCount > MAX_INDIRECT_SEGMENTS) return refused(BLKIF_RSP_ERROR, `${segmentCount} indirect segments`);
      const pageCount = Math.min(Math.ceil(segmentCount / SEGMENTS_PER_INDIRECT_PAGE), BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST);
      const pages = Array.from({ length: pageCount }, (_, i) => grantRef(get32(entry, blkif_request_indirect.indirect_grefs + 4 * i)));
      return { kind: 'indirect', operation: op, op, sector: get64(entry, blkif_request_indirect.sector_number), segmentCount, pages };
    }
    default: return refused(BLKIF_RSP_EOPNOTSUPP, `operation ${operation}`);
  }
}

/** @param pages private copies of the indirect pages, in order */
export function parseIndirect(request: BlkRequest & { kind: 'indirect' }, pages: readonly Uint8Array[], disk: DiskLimits): BlkRequest {
  const segments = new Array<BlkSegment>(request.segmentCount);
  for (let done = 0, n = 0; done < segments.length; n++) done += readSegments(pages[n]!, 0, Math.min(SEGMENTS_PER_INDIRECT_PAGE, segments.length - done), segments, done);
  return transfer(request.operation, request.op, request.sector, segments, disk);
}

/** `count` segments into `to`, from its place `first` on. @returns count */
function readSegments(bytes: Uint8Array, at: number, count: number, to: BlkSegment[], first = 0): number {
  for (let i = 0; i < count; i++, at += blkif_request_segment.bytes) {
    const from = bytes[at + blkif_request_segment.first_sect]!, last = bytes[at + blkif_request_segment.last_sect]!;
    const sane = from <= last && last < SECTORS_PER_PAGE;
    to[first + i] = { gref: grantRef(get32(bytes, at + blkif_request_segment.gref)), firstSector: from, sectorCount: sane ? last - from + 1 : 0 };
  }
  return count;
}

function transfer(operation: number, op: TransferOp, sector: number, segments: readonly BlkSegment[], disk: DiskLimits): BlkRequest {
  const refused = (reason: string): BlkRequest => ({ kind: 'refused', operation, status: BLKIF_RSP_ERROR, reason });
  let sectorCount = 0;
  for (const segment of segments) {
    if (segment.sectorCount === 0) return refused('a segment outside its page');
    sectorCount += segment.sectorCount;
  }
  const needsData = op === BLKIF_OP_READ || op === BLKIF_OP_WRITE;
  if (needsData && sectorCount === 0) return refused('no segments');
  // A flush or barrier without data carries no meaningful sector number.
  if (sectorCount > 0 && !(sector + sectorCount <= disk.sectors)) return refused(`sectors ${sector}+${sectorCount} past the end (${disk.sectors})`);
  if (op !== BLKIF_OP_READ && sectorCount > 0 && disk.readOnly) return refused('write to a read-only disk');
  return { kind: 'transfer', operation, op, sector: sectorCount > 0 ? sector : 0, sectorCount, segments };
}
