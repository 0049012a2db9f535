// What is known of addresses at one point of a translation: which registers hold the same value but for a constant, in
// which pages such values have been looked up, and which pages of code have been found where they were. An access near
// one that was looked up needs no second look: that it lies in the same page is a comparison of its distance. All of
// this holds until the translation is left: mappings, and what pages hold code, change only between translations.
import type { Local, Origin } from '../wasm/builder.ts';

/** A page that was looked up for an address: what stood in the TLB's entry for it, whether that was its page or not. */
export interface Look {
  readonly origin: Origin;
  /** For writing, and so for reading too. */
  readonly write: boolean;
  /** Physical address, if `at` is below a page's size. */
  readonly p: Local<'i32'>;
  /** Bytes from the start of the entry's page. */
  readonly at: Local<'i64'>;
}
const REACH_BYTES = 0x10000000;
/** Looks kept at a time: each is two locals. */
const LOOKS = 6;

const pageKey = (distance: number, phys: number): string => `${distance} ${phys}`;
/** By register, in the order of their slots. */
type Origins = readonly (Origin | undefined)[];
export interface KnownAddresses { readonly origins: Origins; readonly looks: readonly Look[]; readonly pages: readonly string[] }

export class Addresses {
  private origins: (Origin | undefined)[] = [];
  private looks: readonly Look[] = [];
  private pages: readonly string[] = [];
  /** 0 and on; negative ones are the translation's own. */
  private met = 0;
  private changed = false;

  /** What a register holds, by its slot. */
  originOf(slot: number): Origin { return this.origins[slot >> 3] ??= { of: this.met++, plus: 0 }; }
  /** The same if it has been read before. */
  seen(slot: number): Origin | undefined { return this.origins[slot >> 3]; }
  wrote(slot: number, origin: Origin | undefined): void { this.origins[slot >> 3] = origin; this.changed = true; }

  /** A look that serves an access, and how far from it the access is. */
  near(origin: Origin, write: boolean): { look: Look; by: number } | undefined {
    for (const look of this.looks) {
      const by = origin.plus - look.origin.plus;
      if (look.origin.of === origin.of && (look.write || !write) && Math.abs(by) < REACH_BYTES) return { look, by };
    }
    return undefined;
  }
  add(look: Look): void {
    const others = this.looks.filter(l => l.origin.of !== look.origin.of);
    this.looks = [...others.slice(Math.max(0, others.length - LOOKS + 1)), look];
  }
  /** Forgets looks at what no register holds any longer. */
  prune(): void {
    if (!this.changed || !this.looks.length) return;
    this.changed = false;
    const lives = ({ origin: { of } }: Look): boolean => of < 0 || this.origins.some(o => o?.of === of);
    if (!this.looks.every(lives)) this.looks = this.looks.filter(lives);
  }
  /** Locals in use. */
  locals(): number[] { return this.looks.flatMap(l => [l.p.index, l.at.index]); }

  /** Whether a page of code has been found so many bytes from the entry's page. */
  knows(distance: number, phys: number): boolean { return this.pages.includes(pageKey(distance, phys)); }
  found(distance: number, phys: number): void { this.pages = [...this.pages, pageKey(distance, phys)]; }

  know(): KnownAddresses { return { origins: this.origins.slice(), looks: this.looks, pages: this.pages }; }
  recall(k: KnownAddresses): void { this.origins = k.origins.slice(); this.looks = k.looks; this.pages = k.pages; this.changed = true; }
  /** Begins a loop: registers are any, pages stay. */
  forgetRegisters(): void { this.origins = []; this.looks = []; }
}

/** What is known where two ways meet. */
export function both(a: KnownAddresses, b: KnownAddresses): KnownAddresses {
  return {
    origins: a.origins.map((o, n) => o && o.of === b.origins[n]?.of && o.plus === b.origins[n]!.plus ? o : undefined),
    looks: a.looks.filter(l => b.looks.includes(l)), pages: a.pages.filter(p => b.pages.includes(p)),
  };
}
