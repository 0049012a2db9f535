// Which Ethernet address each guest's IP address has, as heard from the guests themselves.
// Invariant: at most MAX_NEIGHBOURS, and of one Ethernet address at most MAX_PER_MAC; the longest unheard go first.
import { addressText } from './settings.ts';
import { formatMac } from '../../../net/packet/address.ts';

export const MAX_NEIGHBOURS = 4096, MAX_PER_MAC = 64;

export class Neighbours {
  /** By address text, in order of hearing. */
  readonly #macs = new Map<string, { readonly mac: Uint8Array; readonly key: string }>();
  readonly #counts = new Map<string, number>();
  readonly #waiting = new Map<string, Set<() => void>>();

  get size(): number { return this.#macs.size; }
  macOf(address: Uint8Array): Uint8Array | undefined { return this.#macs.get(addressText(address))?.mac; }

  /** Addresses are copied. */
  learn(address: Uint8Array, mac: Uint8Array): void {
    const text = addressText(address), key = formatMac(mac);
    this.#forget(text);
    if ((this.#counts.get(key) ?? 0) >= MAX_PER_MAC) for (const [other, entry] of this.#macs) if (entry.key === key) { this.#forget(other); break; }
    if (this.#macs.size >= MAX_NEIGHBOURS) this.#forget(this.#macs.keys().next().value!);
    this.#macs.set(text, { mac: mac.slice(), key });
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    const waiting = this.#waiting.get(text);
    this.#waiting.delete(text);
    waiting?.forEach(callback => callback());
  }

  /** Calls back once the address is heard. @returns takes it back */
  whenKnown(address: Uint8Array, callback: () => void): () => void {
    const text = addressText(address), set = this.#waiting.get(text) ?? new Set();
    this.#waiting.set(text, set.add(callback));
    return () => { set.delete(callback); if (set.size === 0 && this.#waiting.get(text) === set) this.#waiting.delete(text); };
  }

  /** Addresses of a guest's. @param mac `00:16:3e:00:00:01` */
  addressesOf(mac: string): string[] { return [...this.#macs].filter(([, entry]) => entry.key === mac).map(([address]) => address); }

  #forget(text: string): void {
    const entry = this.#macs.get(text);
    if (!entry) return;
    this.#macs.delete(text);
    const count = this.#counts.get(entry.key)! - 1;
    if (count === 0) this.#counts.delete(entry.key); else this.#counts.set(entry.key, count);
  }
}
