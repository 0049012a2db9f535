// Multicast control: a guest that asks for it gets only the groups it named (and broadcast).
import { isGroup, macAt } from '../switch/mac.ts';

/** As Linux's netback. */
export const MAX_GROUPS = 64;
const BROADCAST = 0xffff_ffff_ffff;

export class MulticastFilter {
  readonly #groups = new Set<number>();
  /** request-multicast-control; the list is kept meanwhile. */
  enabled = false;
  #unknown = false;

  /** For a frontend that will connect. @param unknown it is connected already, and named its groups to a backend before this one */
  begin(unknown: boolean): void {
    this.#groups.clear();
    this.enabled = false;
    this.#unknown = unknown;
  }

  /** @returns false if the address is no group or the list is full */
  change({ add, mac }: { readonly add: boolean; readonly mac: Uint8Array }): boolean {
    const group = macAt(mac, 0);
    if (!isGroup(group)) return false;
    if (!add) { this.#groups.delete(group); return true; }
    if (this.#groups.size >= MAX_GROUPS && !this.#groups.has(group)) return false;
    this.#groups.add(group);
    return true;
  }

  /** Whether a frame is for the guest. */
  passes(bytes: Uint8Array): boolean {
    if (!this.enabled || this.#unknown) return true;
    const destination = macAt(bytes, 0);
    return !isGroup(destination) || destination === BROADCAST || this.#groups.has(destination);
  }
}
