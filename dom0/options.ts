// What the host gives Dom0's thread, and what it hears back.
export interface Dom0Options {
  /** The run folder: sockets and logs go there. */
  readonly runDir: string;
  /** What outlives the host is kept here. */
  readonly stateDir: string;
  /** Another one for each start of the host; the same for a Dom0 that begins anew. */
  readonly hostLife: string;
  /** Folders below which remote callers may name files. */
  readonly roots: readonly string[];
  /** Absent: on the Unix socket only. */
  readonly listen?: ListenOptions;
  /** Process id of the host, as `xl info` shows it. */
  readonly hostPid: number;
  readonly bridges: readonly BridgeOptions[];
}

/** Where the API listens for callers elsewhere. Without files it has a certificate that the host made. */
export interface ListenOptions { readonly host: string; readonly port: number; readonly certFile?: string; readonly keyFile?: string }

/** A bridge and the way out of it, as given to `--bridge`. */
export interface BridgeOptions { readonly name: string; readonly uplink: string }
export type Dom0Message =
  /** The API answers. */
  | { readonly kind: 'ready'; readonly tcp?: { readonly url: string; readonly fingerprint: string } }
  /** It cannot start, and would not another time. */
  | { readonly kind: 'failed'; readonly message: string }
  /** Every domain is gone: the host may end. */
  | { readonly kind: 'finished' };
