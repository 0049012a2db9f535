// Two ways of translating side by side: into the host processor's own code what can be (native/), into WebAssembly what
// runs often and cannot (jit/): compatibility mode, and MMX instructions.
import type { Translations } from './blocks.ts';
import type { Translator } from './jit/translator.ts';
import type { NativeTier } from './native/tier.ts';

/** What decides about hot blocks. */
export interface Tier extends Translations {
  /** The block that starts with this record has run often. Only between blocks. */
  hot(start: number, compat: boolean): void;
  counters(): Record<string, number>;
}

export class Tiers implements Tier {
  readonly threshold: number;
  private readonly native: NativeTier; private readonly translator: Translator;
  constructor(native: NativeTier, translator: Translator) { this.native = native; this.translator = translator; this.threshold = native.threshold; }

  hot(start: number, compat: boolean): void {
    if (this.native.others.has(start)) this.translator.hot(start, compat);
    else if (compat) this.native.leaveToOthers(start);
    else this.native.hot(start);
  }
  guestWrites(on: boolean): void { this.native.guestWrites(on); this.translator.guestWrites(on); }
  dropped(start: number): void { this.native.dropped(start); this.translator.dropped(start); }
  bytesDropped(from: number, to: number): void { this.translator.bytesDropped(from, to); }
  emptied(): void { this.native.emptied(); this.translator.emptied(); }
  counters(): Record<string, number> { return { ...this.translator.counters(), ...this.native.counters() }; }
}
