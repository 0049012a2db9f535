// What every way out of a bridge has in common.

/** Addresses handed to a guest: of IPv4, then of IPv6. @property expiresMs of Date.now()'s clock, the earliest */
export interface LeaseView { readonly addresses: readonly string[]; readonly hostname: string | undefined; readonly expiresMs: number }

export interface Uplink {
  /** user, socket, tap. */
  readonly kind: string;
  /** Addresses handed out, by Ethernet address `00:16:3e:00:00:01`; empty where others hand them out. */
  leases(): ReadonlyMap<string, LeaseView>;
  /** Calls back when an address is given or given up. */
  onLease(callback: (mac: string, lease: LeaseView | undefined) => void): void;
  /** Addresses that a guest had before this host's Dom0 began: it keeps them. @param mac `00:16:3e:00:00:01` */
  remember(mac: string, addresses: readonly string[]): void;
  /** A guest's interface is gone: what was held for it is let go. */
  forgetGuest(mac: string): void;
  close(): void;
}
