// public/io/ring.h: the header of a shared producer-consumer ring.
// Transcribed from Xen's public headers, which are MIT-licensed (SPDX-License-Identifier: MIT).

/** struct NAME_sring: byte offsets; the indexes are free-running uint32. */
export const sring = {
  req_prod: 0,   // [GST]
  req_event: 4,  // [BACK]
  rsp_prod: 8,   // [BACK]
  rsp_event: 12, // [GST]
  ring: 64,      // first entry
} as const;
