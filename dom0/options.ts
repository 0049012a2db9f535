// What the host gives Dom0's thread, and what it hears back.
export interface Dom0Options {
  /** The run folder: sockets and logs go there. */
  readonly runDir: string;
  /** Process id of the host, as `xl info` shows it. */
  readonly hostPid: number;
  readonly bridges: readonly BridgeOptions[];
}

/** A bridge and the way out of it, as given to `--bridge`. */
export interface BridgeOptions { readonly name: string; readonly uplink: string }
export type Dom0Message =
  /** The API answers. */
  | { readonly kind: 'ready' }
  /** Every domain is gone: the host may end. */
  | { readonly kind: 'finished' };
