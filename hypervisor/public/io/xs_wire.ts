// public/io/xs_wire.h: the xenstore wire protocol and the shared ring page.
// Transcribed from Xen's public headers, which are MIT-licensed (SPDX-License-Identifier: MIT).

export const XS_CONTROL = 0;
export const XS_DEBUG = XS_CONTROL;
export const XS_DIRECTORY = 1;
export const XS_READ = 2;
export const XS_GET_PERMS = 3;
export const XS_WATCH = 4;
export const XS_UNWATCH = 5;
export const XS_TRANSACTION_START = 6;
export const XS_TRANSACTION_END = 7;
export const XS_INTRODUCE = 8;
export const XS_RELEASE = 9;
export const XS_GET_DOMAIN_PATH = 10;
export const XS_WRITE = 11;
export const XS_MKDIR = 12;
export const XS_RM = 13;
export const XS_SET_PERMS = 14;
export const XS_WATCH_EVENT = 15;
export const XS_ERROR = 16;
export const XS_IS_DOMAIN_INTRODUCED = 17;
export const XS_RESUME = 18;
export const XS_SET_TARGET = 19;
export const XS_RESET_WATCHES = 21;
export const XS_DIRECTORY_PART = 22;
export const XS_TYPE_COUNT = 23;

/** Error names an XS_ERROR reply may carry (xsd_errors). */
export const xsd_errors = [
  'EINVAL', 'EACCES', 'EEXIST', 'EISDIR', 'ENOENT', 'ENOMEM', 'ENOSPC', 'EIO', 'ENOTEMPTY', 'ENOSYS', 'EROFS', 'EBUSY',
  'EAGAIN', 'EISCONN', 'E2BIG', 'EPERM',
] as const;
export type XsdError = (typeof xsd_errors)[number];

/** struct xsd_sockmsg: byte offsets; each field is a little-endian uint32. */
export const xsd_sockmsg = { type: 0, req_id: 4, tx_id: 8, len: 12, sizeof: 16 } as const;

export const XENSTORE_PAYLOAD_MAX = 4096;
export const XENSTORE_ABS_PATH_MAX = 3072;
export const XENSTORE_REL_PATH_MAX = 2048;

export const XENSTORE_RING_SIZE = 1024;
/** struct xenstore_domain_interface: byte offsets in the ring page. */
export const xenstore_domain_interface = {
  req: 0,                 // [GST] requests
  rsp: 1024,              // [BACK] replies and watch events
  req_cons: 2048,         // [BACK]
  req_prod: 2052,         // [GST]
  rsp_cons: 2056,         // [GST]
  rsp_prod: 2060,         // [BACK]
  server_features: 2064,  // [BACK]
  connection: 2068,       // [GST] sets 1, [BACK] sets 0
  error: 2072,            // [BACK]
} as const;

export const XENSTORE_SERVER_FEATURE_RECONNECTION = 1;
export const XENSTORE_SERVER_FEATURE_ERROR = 2;
/** WATCH takes a third parameter that limits its depth (docs/misc/xenstore-ring.txt, bit 2). */
export const XENSTORE_SERVER_FEATURE_WATCHDEPTH = 4;

export const XENSTORE_CONNECTED = 0;
export const XENSTORE_RECONNECT = 1;

export const XENSTORE_ERROR_NONE = 0;
export const XENSTORE_ERROR_COMM = 1;
export const XENSTORE_ERROR_RINGIDX = 2;
export const XENSTORE_ERROR_PROTO = 3;

/** The grant reference under which a domain's xenstore page is known (grant_table.h). */
export const GNTTAB_RESERVED_XENSTORE = 1;
