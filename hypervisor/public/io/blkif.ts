// public/io/blkif.h: the block device protocol, 64-bit native form. Sector quantities are in 512-byte units whatever
// the disk's own sector size is, unless the frontend negotiates otherwise.
// Transcribed from Xen's public headers, which are MIT-licensed (SPDX-License-Identifier: MIT).

export const BLKIF_OP_READ = 0;
export const BLKIF_OP_WRITE = 1;
export const BLKIF_OP_WRITE_BARRIER = 2;
export const BLKIF_OP_FLUSH_DISKCACHE = 3;
export const BLKIF_OP_DISCARD = 5;
export const BLKIF_OP_INDIRECT = 6;

export const BLKIF_RSP_OKAY = 0;
export const BLKIF_RSP_ERROR = -1;
export const BLKIF_RSP_EOPNOTSUPP = -2;
export type BlkifStatus = 0 | -1 | -2;

export const BLKIF_MAX_SEGMENTS_PER_REQUEST = 11;
export const BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST = 8;
export const VDISK_CDROM = 1;
export const VDISK_REMOVABLE = 2;
export const VDISK_READONLY = 4;

export const SECTOR_BYTES = 512;
export const SECTORS_PER_PAGE = 8;

/** struct blkif_request: 112 bytes; blkif_response: 16; a ring slot holds the larger. */
export const REQUEST_BYTES = 112;
export const RESPONSE_BYTES = 16;

/** Byte offsets in struct blkif_request, [GST]. */
export const blkif_request = { operation: 0, nr_segments: 1, handle: 2, id: 8, sector_number: 16, seg: 24 } as const;
/** Byte offsets in struct blkif_request_discard, [GST]. */
export const blkif_request_discard = { flag: 1, id: 8, sector_number: 16, nr_sectors: 24 } as const;
/** Byte offsets in struct blkif_request_indirect, [GST]. */
export const blkif_request_indirect = { indirect_op: 1, nr_segments: 2, id: 8, sector_number: 16, handle: 24, indirect_grefs: 28 } as const;
/** struct blkif_request_segment, 8 bytes, [GST]. */
export const blkif_request_segment = { bytes: 8, gref: 0, first_sect: 4, last_sect: 5 } as const;
/** Byte offsets in struct blkif_response, [BACK]. */
export const blkif_response = { id: 0, operation: 8, status: 10 } as const;
export const SEGMENTS_PER_INDIRECT_PAGE = 4096 / blkif_request_segment.bytes;
