// public/io/console.h: the console ring page.
// Transcribed from Xen's public headers, which are MIT-licensed (SPDX-License-Identifier: MIT).

export const XENCONS_IN_SIZE = 1024;
export const XENCONS_OUT_SIZE = 2048;
/** struct xencons_interface: byte offsets; the indexes are free-running uint32. */
export const xencons_interface = {
  in: 0,           // [BACK] towards the guest
  out: 1024,       // [GST]
  in_cons: 3072,   // [GST]
  in_prod: 3076,   // [BACK]
  out_cons: 3080,  // [BACK]
  out_prod: 3084,  // [GST]
} as const;

/** The grant reference under which a domain's console page is known (grant_table.h). */
export const GNTTAB_RESERVED_CONSOLE = 0;
