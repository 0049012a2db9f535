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
  /** Process id of the host, as `xl info` shows it. */
  readonly hostPid: number;
  readonly bridges: readonly BridgeOptions[];
}

/** A bridge and the way out of it, as given to `--bridge`. */
export interface BridgeOptions { readonly name: string; readonly uplink: string }
export type Dom0Message =
  /** The API answers. */
  | { readonly kind: 'ready' }
  /** It cannot start, and would not another time. */
  | { readonly kind: 'failed'; readonly message: string }
  /** Every domain is gone: the host may end. */
  | { readonly kind: 'finished' };
