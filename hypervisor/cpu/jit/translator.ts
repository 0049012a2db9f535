// The second tier: turns hot blocks of the decode cache into WebAssembly functions of their own. A translation is a
// handler like any other, in the interpreter's table; its number stands in the counting record its block starts
// with. Dropping it is as cheap: invalidated blocks have no handlers of their own any more.
//
// Invariant: a translation uses records of one page only, and that page's blocks are dropped together.
import { SPECIAL, SPECIAL_COUNT } from '../decode.ts';
import type { BlockCache, Translations } from '../blocks.ts';
import { allForms } from '../fusion.ts';
import { FOLLOW, LOOKUP, TRANSLATE } from '../mmu.ts';
import { R } from '../record.ts';
import { ModuleBuilder } from '../wasm/builder.ts';
import { Compiler } from './compile.ts';
import { SETTLE } from './flag-state.ts';
import { Region } from './region.ts';

/** off: interpreter only; on: hot blocks are translated; force: every block is, when first run. */
export type JitMode = 'off' | 'on' | 'force';
/** The mode that a setting (XENOLITH_JIT) names. */
export const jitModeOf = (setting: string | undefined): JitMode => setting === 'on' || setting === 'force' ? setting : 'off';

const THRESHOLD = 3000, TRANSLATIONS_MAX = 16_384, INSTRUCTIONS_MAX = 200;
/** So many blocks share a module, whose making costs more than a function in it; one that runs AGAIN times more waits no longer. */
const BATCH = 16, AGAIN = 2000;
/** A block that keeps being overwritten stays with the interpreter. */
const DROPS_MAX = 8;
const HANDLERS_MAX = 0xffff;

export interface TranslatorHost {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  readonly area: number;
  readonly blocks: BlockCache;
  /** Exports of the interpreter's instance. */
  readonly exports: WebAssembly.Exports;
}

export class Translator implements Translations {
  readonly threshold: number;
  private readonly host: TranslatorHost;
  private readonly table: WebAssembly.Table;
  private readonly imports: WebAssembly.Imports;
  private readonly slotOf = new Map<number, number>();
  private readonly free: number[] = [];
  private nextSlot = SPECIAL_COUNT + allForms.length;
  /** Hot blocks that wait for others: first record, and whether it is of compatibility mode. */
  private readonly waiting = new Map<number, boolean>();
  /** The guest's own stores are dropping blocks. */
  private guest = false;
  private readonly drops = new Map<number, number>();
  private readonly reasons = new Map<string, number>();
  private readonly counts = { translations: 0, modules: 0, instructions: 0, bytes: 0, dropped: 0, refused: 0, compileMs: 0 };

  constructor(host: TranslatorHost, mode: 'on' | 'force') {
    this.host = host;
    this.threshold = mode === 'force' ? 1 : THRESHOLD;
    const { table, translate, follow, jumpTo, settle } = host.exports;
    this.table = table as WebAssembly.Table;
    this.imports = { e: { mem: host.memory, table, translate, follow, jumpTo, settle } as WebAssembly.ModuleImports };
  }

  /** The block that starts with this record has run often. Only between blocks. */
  hot(start: number, compat: boolean): void {
    const { view, blocks } = this.host, page = view.getUint32(start + R.disp, true), phys = page + view.getUint16(start + R.offset, true);
    if (view.getUint16(start + R.handler, true) !== SPECIAL.count) return;
    if ((this.drops.get(phys) ?? 0) >= DROPS_MAX) { this.refuse('overwritten too often'); return; }
    if (this.slotOf.size >= TRANSLATIONS_MAX) { blocks.empty(); return; }
    const again = this.waiting.has(start);
    this.waiting.set(start, compat);
    if (again || this.waiting.size >= BATCH || this.threshold === 1) this.translateWaiting();
    else view.setInt32(start + R.imm, AGAIN, true);
  }
  private translateWaiting(): void {
    const begin = performance.now(), blocks = [...this.waiting];
    this.waiting.clear();
    try { this.translate(blocks); } catch (error) {
      // The interpreter goes on with them.
      if (!(error instanceof WebAssembly.CompileError || error instanceof RangeError)) throw error;
      this.refuse(`module: ${error.message}`);
    }
    this.counts.compileMs += performance.now() - begin;
  }
  private refuse(reason: string): void { this.counts.refused++; this.note(reason); }
  private note(reason: string): void { this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1); }

  private translate(starts: readonly (readonly [start: number, compat: boolean])[]): void {
    const { view, area, blocks } = this.host, m = new ModuleBuilder();
    const im = {
      handlerType: m.typeIndex({ params: ['i32'], results: [] }), translate: m.importFunction('translate', TRANSLATE),
      follow: m.importFunction('follow', FOLLOW), jumpTo: m.importFunction('jumpTo', LOOKUP), settle: m.importFunction('settle', SETTLE),
    };
    const made: { start: number; slot: number }[] = [];
    for (const [start, compat] of starts) {
      if (view.getUint16(start + R.handler, true) !== SPECIAL.count) continue;
      const page = view.getUint32(start + R.disp, true);
      const region = new Region(view, start, offset => this.warm(blocks.known(page + offset, compat)), INSTRUCTIONS_MAX);
      const { fn, instructions, untranslatable } = new Compiler(area, view, im, start, region, compat).compile();
      for (const reason of untranslatable) this.note(reason);
      if (!instructions) { this.counts.refused++; continue; }
      const slot = this.takeSlot();
      if (slot === undefined) { this.refuse('no handler number left'); break; }
      const ref = m.declare(fn.signature);
      m.define(ref, fn);
      m.extendTable(slot, ref);
      made.push({ start, slot });
      this.counts.instructions += instructions;
    }
    if (!made.length) return;
    const bytes = m.build();
    try { new WebAssembly.Instance(new WebAssembly.Module(bytes), this.imports); } catch (error) {
      for (const { slot } of made) this.free.push(slot);
      throw error;
    }
    for (const { start, slot } of made) {
      this.slotOf.set(start, slot);
      view.setUint16(start + R.handler, slot, true);
    }
    this.counts.translations += made.length;
    this.counts.modules++;
    this.counts.bytes += bytes.length;
  }
  /** A block is worth having in another's translation when it has run now and then. */
  private warm(start: number): number {
    if (!start) return 0;
    const { view } = this.host;
    if (view.getUint16(start + R.handler, true) !== SPECIAL.count) return start;
    return this.threshold === 1 || view.getInt32(start + R.imm, true) < this.threshold * 7 / 8 ? start : 0;
  }

  private takeSlot(): number | undefined {
    const again = this.free.pop();
    if (again !== undefined) return again;
    if (this.nextSlot > HANDLERS_MAX) return undefined;
    if (this.nextSlot >= this.table.length) this.table.grow(Math.min(1024, HANDLERS_MAX + 1 - this.table.length));
    return this.nextSlot++;
  }
  private release(slot: number): void { this.table.set(slot, null); this.free.push(slot); }

  guestWrites(on: boolean): void { this.guest = on; }
  dropped(start: number): void {
    this.waiting.delete(start);
    const slot = this.slotOf.get(start);
    if (slot === undefined) return;
    this.slotOf.delete(start);
    this.release(slot);
    this.counts.dropped++;
    if (!this.guest) return;
    const { view } = this.host, phys = view.getUint32(start + R.disp, true) + view.getUint16(start + R.offset, true);
    this.drops.set(phys, (this.drops.get(phys) ?? 0) + 1);
  }
  emptied(): void {
    for (const slot of this.slotOf.values()) this.release(slot);
    this.counts.dropped += this.slotOf.size;
    this.slotOf.clear();
    this.waiting.clear();
    this.drops.clear();
  }

  counters(): Record<string, number> {
    const c = this.counts;
    return {
      jit_translations: c.translations, jit_modules: c.modules, jit_live: this.slotOf.size, jit_instructions: c.instructions, jit_bytes: c.bytes, jit_dropped: c.dropped, jit_refused: c.refused,
      jit_compile_us: Math.round(c.compileMs * 1000), ...Object.fromEntries([...this.reasons].map(([why, n]) => [`jit_left: ${why}`, n])),
    };
  }
}
