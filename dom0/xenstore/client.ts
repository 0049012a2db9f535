// What Dom0's own code sees of xenstore: synchronous, as domid 0. The server gives an implementation
// (XenstoreServer.client()); the toolstack and the backends depend on this file alone.

/** A xenstore request that the store refused; `code` is xenstore's own error name (io/xs_wire.h xsd_errors). */
export class XenStoreError extends Error {
  readonly code: string;
  readonly path: string;
  constructor(code: string, operation: string, path: string) {
    super(`xenstore: ${operation} ${path}: ${code}`);
    this.name = 'XenStoreError';
    this.code = code;
    this.path = path;
  }
}

/**
 * Paths are absolute or relative to /local/domain/0. Values are byte strings: each character is one byte
 * (0 .. 255), as Xen's tools treat them; nearly all are plain ASCII.
 */
export interface XenStore {
  /** Another object after each change of any node. */
  readonly version: object;
  /** undefined if the node does not exist. */
  read(path: string): string | undefined;
  /** Creates missing parents. Throws XenStoreError (EINVAL: bad path, E2BIG, ENOSPC). */
  write(path: string, value: string): void;
  mkdir(path: string): void;
  /** Removes the node and all below it; no error if it does not exist. */
  remove(path: string): void;
  /** Names of the children, in the store's order; empty if the node does not exist. */
  list(path: string): string[];
  exists(path: string): boolean;
  /** First entry is the owner and everyone else's access, e.g. ['n0', 'r5']. The node must exist. */
  setPerms(path: string, perms: string[]): void;
  /** Empty if the node does not exist. */
  getPerms(path: string): string[];
  /**
   * Calls back once at once-registered (asynchronously, with `path` itself), then for every change at or below
   * `path` (or of a parent that took it along), in order, never from inside the caller's own call.
   * Returns the function that ends the watch; no callback comes after it.
   */
  watch(path: string, token: string, cb: (path: string, token: string) => void): () => void;
  /** All or nothing: what `fn` throws undoes it all. `fn` runs again if another's change is in conflict. */
  transaction<T>(fn: (t: XenStore) => T): T;
}
