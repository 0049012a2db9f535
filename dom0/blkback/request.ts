// A request as the frontend wrote it, copied out of the ring, to a checked BlkRequest. Everything here is hostile.
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
interface Common { readonly id: bigint; readonly operation: number }
export type TransferOp = typeof BLKIF_OP_READ | typeof BLKIF_OP_WRITE | typeof BLKIF_OP_WRITE_BARRIER | typeof BLKIF_OP_FLUSH_DISKCACHE;

export type BlkRequest =
  /** `sector` and `sectorCount` in 512-byte units, inside the disk. */
  | Common & { readonly kind: 'transfer'; readonly op: TransferOp; readonly sector: number; readonly sectorCount: number; readonly segments: readonly BlkSegment[] }
  | Common & { readonly kind: 'discard'; readonly sector: number; readonly sectorCount: number }
  /** The segments are in further granted pages: map them, copy them, then call parseIndirect. */
  | Common & { readonly kind: 'indirect'; readonly op: TransferOp; readonly sector: number; readonly segmentCount: number; readonly pages: readonly GrantRef[] }
  | Common & { readonly kind: 'refused'; readonly status: BlkifStatus; readonly reason: string };

export interface DiskLimits { readonly sectors: number; readonly readOnly: boolean; readonly discard: boolean }

const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
/** A u64 as a number; beyond 2^53 it is past the end of any disk, so Infinity serves. */
const u64 = (data: DataView, at: number): number => {
  const high = data.getUint32(at + 4, true);
  return high >= 0x20_0000 ? Infinity : high * 0x1_0000_0000 + data.getUint32(at, true);
};

/** @param entry a private copy of one ring slot (112 bytes) */
export function parseRequest(entry: Uint8Array, disk: DiskLimits): BlkRequest {
  if (entry.byteLength < REQUEST_BYTES) throw new RangeError('a ring slot has 112 bytes');
  const data = view(entry);
  const operation = data.getUint8(blkif_request.operation), id = data.getBigUint64(blkif_request.id, true);
  const refused = (status: BlkifStatus, reason: string): BlkRequest => ({ kind: 'refused', id, operation, status, reason });
  switch (operation) {
    case BLKIF_OP_READ: case BLKIF_OP_WRITE: case BLKIF_OP_WRITE_BARRIER: case BLKIF_OP_FLUSH_DISKCACHE: {
      const count = data.getUint8(blkif_request.nr_segments);
      if (count > BLKIF_MAX_SEGMENTS_PER_REQUEST) return refused(BLKIF_RSP_ERROR, `${count} segments`);
      const segments = readSegments(data, blkif_request.seg, count);
      return transfer({ id, operation }, operation, u64(data, blkif_request.sector_number), segments, disk);
    }
    case BLKIF_OP_DISCARD: {
      if (!disk.discard) return refused(BLKIF_RSP_EOPNOTSUPP, 'discard is off');
      if (disk.readOnly) return refused(BLKIF_RSP_ERROR, 'discard on a read-only disk');
      const sector = u64(data, blkif_request_discard.sector_number), sectorCount = u64(data, blkif_request_discard.nr_sectors);
      if (!(sector + sectorCount <= disk.sectors)) return refused(BLKIF_RSP_ERROR, 'discard past the end');
      return { kind: 'discard', id, operation, sector, sectorCount };
    }
    case BLKIF_OP_INDIRECT: {
      const op = data.getUint8(blkif_request_indirect.indirect_op), segmentCount = data.getUint16(blkif_request_indirect.nr_segments, true);
      if (op !== BLKIF_OP_READ && op !== BLKIF_OP_WRITE) return refused(BLKIF_RSP_ERROR, `indirect operation ${op}`);
      if (segmentCount === 0 || segmentCount > MAX_INDIRECT_SEGMENTS) return refused(BLKIF_RSP_ERROR, `${segmentCount} indirect segments`);
      const pageCount = Math.min(Math.ceil(segmentCount / SEGMENTS_PER_INDIRECT_PAGE), BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST);
      const pages = Array.from({ length: pageCount }, (_, i) => grantRef(data.getUint32(blkif_request_indirect.indirect_grefs + 4 * i, true)));
      return { kind: 'indirect', id, operation: op, op, sector: u64(data, blkif_request_indirect.sector_number), segmentCount, pages };
    }
    default: return refused(BLKIF_RSP_EOPNOTSUPP, `operation ${operation}`);
  }
}

/** @param pages private copies of the indirect pages, in order */
export function parseIndirect(request: BlkRequest & { kind: 'indirect' }, pages: readonly Uint8Array[], disk: DiskLimits): BlkRequest {
  const segments: BlkSegment[] = [];
  for (const page of pages) segments.push(...readSegments(view(page), 0, Math.min(SEGMENTS_PER_INDIRECT_PAGE, request.segmentCount - segments.length)));
  return transfer(request, request.op, request.sector, segments, disk);
}

function readSegments(data: DataView, at: number, count: number): BlkSegment[] {
  const segments: BlkSegment[] = [];
  for (let i = 0; i < count; i++, at += blkif_request_segment.bytes) {
    const first = data.getUint8(at + blkif_request_segment.first_sect), last = data.getUint8(at + blkif_request_segment.last_sect);
    const sane = first <= last && last < SECTORS_PER_PAGE;
    segments.push({ gref: grantRef(data.getUint32(at + blkif_request_segment.gref, true)), firstSector: first, sectorCount: sane ? last - first + 1 : 0 });
  }
  return segments;
}

function transfer({ id, operation }: Common, op: TransferOp, sector: number, segments: readonly BlkSegment[], disk: DiskLimits): BlkRequest {
  const refused = (reason: string): BlkRequest => ({ kind: 'refused', id, operation, status: BLKIF_RSP_ERROR, reason });
  const sectorCount = segments.reduce((sum, s) => sum + s.sectorCount, 0);
  if (segments.some(s => s.sectorCount === 0)) return refused('a segment outside its page');
  const needsData = op === BLKIF_OP_READ || op === BLKIF_OP_WRITE;
  if (needsData && sectorCount === 0) return refused('no segments');
  // A flush or barrier without data carries no meaningful sector number.
  if (sectorCount > 0 && !(sector + sectorCount <= disk.sectors)) return refused(`sectors ${sector}+${sectorCount} past the end (${disk.sectors})`);
  if (op !== BLKIF_OP_READ && sectorCount > 0 && disk.readOnly) return refused('write to a read-only disk');
  return { kind: 'transfer', id, operation, op, sector: sectorCount > 0 ? sector : 0, sectorCount, segments };
}
