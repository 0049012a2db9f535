// The second tier: turns hot blocks of the decode cache into WebAssembly functions of their own, in the interpreter's table.
//
// Invariants: a block that has been hot, or that a translation leads to, has a place in the table of its own, whose number
// stands in its first record, for as long as there is that record. There is its translation, whichever is its latest, and SPECIAL.dispatch while it has none. So
// whoever knows number and record may go there at any time, whatever has become of the block: its record says. Numbers
// begin anew only when every record is forgotten, and everything that knows one.
//
// Translating is a helper thread's work where there is one (boot/translator-thread.ts). Its result is taken between blocks, and only
// when no block made of the same bytes has been dropped since it was asked for.
import { isDropped, SPECIAL, SPECIAL_COUNT } from '../decode.ts';
import type { BlockCache, Translations } from '../blocks.ts';
import { allForms } from '../fusion.ts';
import { PAGE_BYTES } from '../layout.ts';
import { R } from '../record.ts';
import { NUMBERS_MAX, S, SLOT } from '../state.ts';
import { CodeBudget } from './budget.ts';
import type { JitMode } from './mode.ts';
import type { KeptCode, KeptModule, Legacy } from '../kept-code.ts';
import { type Job, type Made, type Outcome, type Site, type Size, type Thresholds, translateJobs } from './job.ts';

/** How often a block runs before it is translated, a small translation before a large one takes its place, and that before a wide one does. */
export const thresholdsOf = (mode: 'on' | 'force'): Thresholds => mode === 'force' ? { small: 1, large: 3, wide: 9 } : { small: 300, large: 4000, wide: 40_000 };

const TABLE_STEP = 4096;
/** Numbers that come along with each block asked for: those that it leads to may have none. */
const SPARE = 4;
/** By the compiler they are for. */
type Kind = 'small' | 'optimised';
const kindOf = (size: Size): Kind => size === 'small' ? 'small' : 'optimised';
const KINDS: readonly Kind[] = ['small', 'optimised'];
/**
 * So many blocks share a module while others are being made: it costs more than a function in it, and functions of one
 * share pages and what they load at entry. One that runs AGAIN times more waits no longer.
 */
const BATCH: Readonly<Record<Kind, number>> = { small: 64, optimised: 32 }, AGAIN = 300;
/** Blocks that are asked for at one time; further ones come again later. */
const ASKED_MAX: Readonly<Record<Kind, number>> = { small: 192, optimised: 96 }, LATER = 1000, NEVER = 0x7fffffff;
/** A block that keeps being overwritten stays with the interpreter. */
const DROPS_MAX = 8;

const ORDER: Readonly<Record<Size, number>> = { small: 0, large: 1, wide: 2 };

/** Of the first block that is hot. */
const FIRST_NUMBER = SPECIAL_COUNT + allForms.length;

/** What goes to the helper and comes back. */
export interface Request { readonly id: number; readonly jobs: readonly Job[]; readonly spare: readonly number[] }
export interface Response { readonly id: number; readonly outcome: Omit<Outcome, 'bytes'>; readonly module: WebAssembly.Module | undefined; readonly bytes: number; readonly error?: string; /** Whoever translated took so long. */ readonly ms?: number }

/** The way to the helper and back. */
export interface Helper { post(request: Request): void; take(): Response | undefined }
/** Makes a module; `optimised` is wanted for what runs most. */
export type Compile = (bytes: Uint8Array<ArrayBuffer>, optimised: boolean) => WebAssembly.Module;
const compileHere: Compile = bytes => new WebAssembly.Module(bytes);

export interface TranslatorHost {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  readonly area: number;
  /** Slot of this memory. */
  readonly slot: number;
  readonly blocks: BlockCache;
  /** Exports of the interpreter's instance. */
  readonly exports: WebAssembly.Exports;
  /** A helper thread; without one translation is done here. */
  readonly helper?: Helper;
  /** What this translator's code counts against; its own when not said. */
  readonly budget?: CodeBudget;
}

/** What one module costs while any of its translations lives: `starts` are the first records of their blocks. */
interface Module { readonly bytes: number; readonly starts: Set<number> }
interface Live { readonly number: number; readonly size: Size; readonly ranges: readonly number[]; readonly module: Module }
/** Bytes whose blocks were dropped, and when, in drops. */
interface Dropped { readonly time: number; readonly from: number; readonly to: number }
/** What is kept of drops in one frame while something is being made; with more all of it counts as dropped. */
const NOTED_MAX = 32;
const framesOf = (ranges: readonly number[]): Set<number> => new Set(ranges.filter((_, n) => n % 2 === 0).map(from => Math.floor(from / PAGE_BYTES)));
const touches = (ranges: readonly number[], from: number, to: number): boolean => {
  for (let n = 0; n < ranges.length; n += 2) if (ranges[n]! < to && from < ranges[n + 1]!) return true;
  return false;
};

export class Translator implements Translations {
  readonly threshold: number;
  private readonly thresholds: Thresholds;
  private readonly host: TranslatorHost;
  private readonly site: Site;
  private readonly table: WebAssembly.Table;
  private readonly imports: WebAssembly.Imports;
  /** By the first records of their blocks. */
  private readonly living = new Map<number, Live>();
  private readonly budget: CodeBudget;
  private bytesHeld = 0;
  private readonly byFrame = new Map<number, Set<number>>();
  private nextNumber = FIRST_NUMBER;
  /** Numbers of nobody. */
  private spare: number[] = [];
  /** What stands where there is no translation. */
  private readonly dispatch: unknown;
  /** Hot blocks that wait for others, by first record. */
  private readonly waiting: Readonly<Record<Kind, Map<number, Job>>> = { small: new Map(), optimised: new Map() };
  /** Those that the helper has, and when they were asked for, in drops. */
  private readonly asked = new Map<number, { readonly jobs: readonly Job[]; readonly time: number }>();
  private readonly pending = new Set<number>();
  private nextId = 1;
  /** How many are pending. */
  private readonly askedFor: Record<Kind, number> = { small: 0, optimised: 0 };
  /** Drops so far, and those since what is being made was asked for, by frame. */
  private time = 0;
  private readonly noted = new Map<number, Dropped[]>();
  /** The guest's own stores are dropping blocks. */
  private guest = false;
  private readonly drops = new Map<number, number>();
  private readonly reasons = new Map<string, number>();
  /** Kept modules that there is an instance of, with its functions by their numbers. */
  private readonly instances = new Map<KeptModule, { readonly code: Module; readonly functions: ReadonlyMap<number, unknown> }>();
  private readonly counts = { adopted: 0, translations: 0, modules: 0, instructions: 0, bytes: 0, dropped: 0, refused: 0, late: 0, small: 0, large: 0, wide: 0, evicted: 0, later: 0, compileMs: 0, helperMs: 0 };

  constructor(host: TranslatorHost, mode: 'on' | 'force') {
    this.host = host;
    this.budget = host.budget ?? new CodeBudget();
    this.thresholds = thresholdsOf(mode);
    this.threshold = this.thresholds.small;
    this.site = { view: host.view, area: host.area, slot: host.slot, thresholds: this.thresholds };
    this.table = host.exports.table as WebAssembly.Table;
    this.dispatch = host.exports.dispatch;
    this.imports = { e: { ...host.exports, mem: host.memory } as WebAssembly.ModuleImports };
  }

  /** The block that starts with this record has run often. Only between blocks. */
  hot(start: number, compat: boolean): void {
    const { view, area } = this.host, phys = view.getUint32(start + R.disp, true) + view.getUint16(start + R.offset, true);
    // A loop within another block's translation may have made it very hot before it has its own.
    const now = this.living.get(start)?.size, size = now ? now === 'small' ? 'large' : 'wide' : view.getInt32(start + R.imm, true) <= this.thresholds.small - this.thresholds.large ? 'large' : 'small';
    if (isDropped(view.getUint16(start + R.handler, true))) return;
    const again = (runs: number): void => this.setLeft(start, runs);
    if ((this.drops.get(phys) ?? 0) >= DROPS_MAX) { this.refuse('overwritten too often'); again(NEVER); return; }
    if (this.adopt(start, phys, now)) return;
    // A block waits or is being made, never both.
    const kind = kindOf(size), waits = this.unwait(start);
    if (!waits && (this.pending.has(start) || this.askedFor[kind] >= ASKED_MAX[kind])) { this.counts.later++; again(LATER); return; }
    if (this.budget.exceeded) { again(AGAIN); this.makeRoom(); return; }
    // Before the table's end.
    if (this.nextNumber + SPARE * (this.waiting.small.size + this.waiting.optimised.size + 1) >= NUMBERS_MAX) { this.host.blocks.empty(); return; }
    const number = this.numberOf(start);
    const root = view.getInt32(area + S.roots + 4 * view.getInt32(area + S.activeView, true), true), waiting = this.waiting[kind];
    waiting.set(start, { start, number, compat, size, page: view.getBigUint64(area + S.regs + SLOT.pageBase, true), root });
    const soon = waits || waiting.size >= BATCH[kind] || this.threshold === 1 || !this.host.helper && kind === 'optimised' || this.host.helper && !this.askedFor[kind];
    again(soon ? LATER : AGAIN);
    if (soon) this.translateWaiting(kind);
  }
  /** Takes a kept translation of the block that is larger than the one it has, if all of what it was made of is there. */
  private adopt(start: number, phys: number, now: Size | undefined): boolean {
    const { blocks } = this.host, { kept } = blocks, n = kept ? blocks.keptIndex({ phys, start }) : -1, t = n < 0 ? undefined : kept!.translation(n);
    if (!kept || !t || now && ORDER[now] >= ORDER[t.size] || this.pending.has(start) || this.budget.exceeded) return false;
    let instance: ReturnType<Translator['instance']>;
    if (!t.blocks.every(b => blocks.revive(b)) || !(instance = this.instance(kept.modules[t.module]!))) { kept.forsake(n); return false; }
    this.unwait(start);
    this.place(t, instance.code);
    this.table.set(t.number, instance.functions.get(t.number));
    this.counts.adopted++;
    return true;
  }
  private instance(m: KeptModule): { readonly code: Module; readonly functions: ReadonlyMap<number, unknown> } | undefined {
    const known = this.instances.get(m);
    if (known) return known;
    // It puts all its functions into the table; what is there stays there.
    const before = m.numbers.map(n => this.table.get(n) as unknown);
    try { new WebAssembly.Instance(m.module, this.imports); } catch (e) { if (e instanceof WebAssembly.LinkError || e instanceof RangeError) return undefined; throw e; }
    const made = { code: { bytes: m.bytes, starts: new Set<number>() }, functions: new Map(m.numbers.map(n => [n, this.table.get(n) as unknown])) };
    m.numbers.forEach((n, i) => this.table.set(n, before[i]));
    this.instances.set(m, made);
    return made;
  }
  /** Begins with what an earlier domain left. Before anything is translated. */
  takeOver(legacy: Legacy): void {
    this.nextNumber = legacy.nextNumber;
    this.spare = [...legacy.spare];
    while (this.nextNumber > this.table.length) this.table.grow(TABLE_STEP, this.dispatch);
  }
  /** What is kept, for the next domain. After the last run. */
  legacy(): Legacy | undefined { return this.host.blocks.kept?.legacy(this.nextNumber, this.spare); }
  /** A block that waited does not, from now on. */
  private unwait(start: number): Job | undefined {
    for (const kind of KINDS) {
      const job = this.waiting[kind].get(start);
      if (job) { this.waiting[kind].delete(start); return job; }
    }
    return undefined;
  }
  private translateWaiting(kind: Kind): void {
    const jobs = [...this.waiting[kind].values()], id = this.nextId++;
    this.waiting[kind].clear();
    const spare = this.spare.splice(-SPARE * jobs.length);
    while (spare.length < SPARE * jobs.length) spare.push(this.newNumber());
    this.asked.set(id, { jobs, time: this.time });
    for (const { start } of jobs) this.pending.add(start);
    this.askedFor[kind] += jobs.length;
    if (this.host.helper) { this.host.helper.post({ id, jobs, spare }); return; }
    const begin = performance.now();
    this.take(translated(this.site, { id, jobs, spare }));
    this.counts.compileMs += performance.now() - begin;
  }
  /** Takes what the helper has done. Only between blocks. */
  collect(): void {
    const { helper } = this.host;
    if (!helper) return;
    for (let r = helper.take(); r; r = helper.take()) {
      const begin = performance.now();
      this.counts.helperMs += r.ms ?? 0;
      this.take(r);
      this.counts.compileMs += performance.now() - begin;
    }
  }
  private take({ id, outcome, module, bytes, error }: Response): void {
    const asked = this.asked.get(id);
    // Everything was forgotten since, and its numbers are others' now.
    if (!asked) { this.counts.late += outcome.made.length; return; }
    this.asked.delete(id);
    for (const { start, size } of asked.jobs) { this.pending.delete(start); this.askedFor[kindOf(size)]--; }
    for (const reason of outcome.left) this.note(reason);
    this.spare.push(...outcome.spare);
    // A block may have got another one meanwhile: this one then leads to it by way of its record.
    for (const [start, number] of outcome.numbers) if (this.isStart(start) && !this.host.view.getUint32(start + R.number, true)) this.host.view.setUint32(start + R.number, number, true);
    for (const { start, reason } of outcome.refused) {
      this.refuse(reason);
      this.setLeft(start, NEVER);
    }
    let reason = error;
    if (module) try { new WebAssembly.Instance(module, this.imports); } catch (e) {
      // The interpreter goes on with them.
      if (!(e instanceof WebAssembly.LinkError || e instanceof RangeError)) throw e;
      reason = `module: ${e.message}`;
    }
    if (reason) { for (const _ of outcome.made) this.refuse(reason); return; }
    const code: Module = { bytes, starts: new Set() };
    const { blocks } = this.host, installed = outcome.made.filter(made => this.install(made, asked.time, code));
    if (blocks.kept && module && installed.length) this.keep(blocks.kept, module, bytes, outcome.made, installed);
    this.counts.modules++;
    this.counts.bytes += bytes;
  }
  private keep(kept: KeptCode, module: WebAssembly.Module, bytes: number, all: readonly Made[], installed: readonly Made[]): void {
    const { view, blocks: cache } = this.host, index = kept.keepModule({ module, bytes, numbers: all.map(made => made.number) });
    if (index < 0) return;
    for (const made of installed) {
      const { start } = made, blocks = cache.keptWithin(made.ranges), n = blocks ? cache.keptIndex({ start, phys: view.getUint32(start + R.disp, true) + view.getUint16(start + R.offset, true) }) : -1;
      if (blocks && n >= 0) kept.translated(n, { ...made, module: index, blocks }, cache.end);
    }
  }
  private hold(bytes: number): void { this.bytesHeld += bytes; this.budget.hold(bytes); }
  /** Its function is in the table already. False when it came too late. */
  private install(made: Made, time: number, module: Module): boolean {
    const { start, number, ranges } = made, { view } = this.host, now = view.getUint16(start + R.handler, true), before = this.living.get(start);
    const frames = framesOf(ranges), isOld = [...frames].some(f => this.noted.get(f)?.some(d => d.time > time && touches(ranges, d.from, d.to)));
    if (isOld || now !== (before ? SPECIAL.translated : SPECIAL.count)) {
      this.counts.late++;
      // It is hot still: soon again.
      if (before) this.drop(start); else this.vacate(number);
      if (view.getUint16(start + R.handler, true) === SPECIAL.count) view.setInt32(start + R.imm, AGAIN, true);
      return false;
    }
    this.place(made, module);
    return true;
  }
  /** The block's translation is this one from now on. */
  private place({ start, number, instructions, ranges, size }: Made, module: Module): void {
    const { view } = this.host, before = this.living.get(start);
    if (before) this.forget(start, before);
    this.living.set(start, { number, size, ranges, module });
    if (module.starts.size === 0) this.hold(module.bytes);
    module.starts.add(start);
    for (const frame of framesOf(ranges)) { const set = this.byFrame.get(frame); if (set) set.add(start); else this.byFrame.set(frame, new Set([start])); }
    this.setLeft(start, size === 'small' ? this.thresholds.large : this.thresholds.wide);
    view.setUint16(start + R.handler, SPECIAL.translated, true);
    this.counts[size]++;
    this.counts.translations++;
    this.counts.instructions += instructions;
  }
  private refuse(reason: string): void { this.counts.refused++; this.note(reason); }
  private note(reason: string): void { this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1); }

  /** The block's place in the table, from now on. */
  private numberOf(start: number): number {
    const { view } = this.host, known = view.getUint32(start + R.number, true);
    if (known) return known;
    const number = this.newNumber();
    view.setUint32(start + R.number, number, true);
    return number;
  }
  private newNumber(): number {
    if (this.nextNumber >= this.table.length) this.table.grow(TABLE_STEP, this.dispatch);
    return this.nextNumber++;
  }
  /** Whether a block starts with this record, still. */
  private isStart(record: number): boolean {
    const handler = this.host.view.getUint16(record + R.handler, true);
    return handler === SPECIAL.count || handler === SPECIAL.translated;
  }
  /** Where is counted how often a block may still run before it is hot: with its translation, or in its record. */
  private counterOf(start: number): number {
    const live = this.living.get(start);
    return live ? this.host.area + S.counters + 4 * live.number : start + R.imm;
  }
  private setLeft(start: number, runs: number): void { this.host.view.setInt32(this.counterOf(start), runs, true); }
  private vacate(number: number): void { this.table.set(number, this.dispatch); }

  guestWrites(on: boolean): void { this.guest = on; }
  dropped(start: number): void {
    this.unwait(start);
    if (!this.end(start) || !this.guest) return;
    const { view } = this.host, phys = view.getUint32(start + R.disp, true) + view.getUint16(start + R.offset, true);
    this.drops.set(phys, (this.drops.get(phys) ?? 0) + 1);
  }
  /** Translations that reach into these bytes from elsewhere end too. */
  bytesDropped(from: number, to: number): void {
    const frame = Math.floor(from / PAGE_BYTES), time = ++this.time;
    if (!this.asked.size) this.noted.clear();
    else {
      const noted = this.noted.get(frame);
      if (!noted) this.noted.set(frame, [{ time, from, to }]);
      else if (noted.length < NOTED_MAX) noted.push({ time, from, to });
      else this.noted.set(frame, [{ time, from: frame * PAGE_BYTES, to: (frame + 1) * PAGE_BYTES }]);
    }
    for (const start of [...this.byFrame.get(frame) ?? []]) if (touches(this.living.get(start)!.ranges, from, to)) this.drop(start);
  }
  /** The block counts from the start again, if it is still there. */
  private drop(start: number): void {
    const { view } = this.host;
    this.end(start);
    if (isDropped(view.getUint16(start + R.handler, true))) return;
    view.setUint16(start + R.handler, SPECIAL.count, true);
    view.setInt32(start + R.imm, this.threshold, true);
  }
  /**
   * Makes room: modules whose translations were entered least for their size go, half of what is held; for those that stay, what was
   * entered counts half from now on. Only between blocks.
   */
  private makeRoom(): void {
    const { view } = this.host, { large, wide } = this.thresholds, left = (start: number): number => view.getInt32(this.counterOf(start), true);
    // More than a threshold is left where it was reached and led to nothing.
    const of = (start: number, threshold: number): number => left(start) > threshold ? threshold : threshold - left(start);
    const entered: Readonly<Record<Size, (start: number) => number>> = { small: start => of(start, large), large: start => large + of(start, wide), wide: () => large + wide };
    const modules = [...new Set([...this.living.values()].map(live => live.module))].map(module => {
      let sum = 0;
      for (const start of module.starts) sum += entered[this.living.get(start)!.size](start);
      return { starts: [...module.starts], heat: sum / module.bytes };
    }).sort((a, b) => a.heat - b.heat);
    const enough = this.bytesHeld / 2, before = this.living.size;
    for (const { starts } of modules) { if (this.bytesHeld <= enough) break; for (const start of starts) this.drop(start); }
    for (const [start, { size }] of this.living) {
      const threshold = size === 'small' ? large : wide;
      if (size !== 'wide' && left(start) <= threshold) this.setLeft(start, threshold - (of(start, threshold) >> 1));
    }
    this.counts.evicted += before - this.living.size;
  }
  private end(start: number): boolean {
    const live = this.living.get(start);
    if (!live) return false;
    this.living.delete(start);
    this.forget(start, live);
    this.vacate(live.number);
    return true;
  }
  private forget(start: number, { ranges, module }: Live): void {
    for (const frame of framesOf(ranges)) {
      const set = this.byFrame.get(frame);
      set?.delete(start);
      if (set?.size === 0) this.byFrame.delete(frame);
    }
    module.starts.delete(start);
    if (module.starts.size === 0) this.hold(-module.bytes);
    this.counts.dropped++;
  }
  emptied(): void {
    for (let n = FIRST_NUMBER; n < this.nextNumber; n++) this.vacate(n);
    this.nextNumber = FIRST_NUMBER;
    this.spare = [];
    this.counts.dropped += this.living.size;
    this.hold(-this.bytesHeld);
    for (const map of [this.instances, this.living, this.byFrame, ...Object.values(this.waiting), this.asked, this.pending, this.drops, this.noted]) map.clear();
    for (const kind of KINDS) this.askedFor[kind] = 0;
  }

  counters(): Record<string, number> {
    const c = this.counts;
    return {
      jit_translations: c.translations, jit_adopted: c.adopted, jit_modules: c.modules, jit_live: this.living.size, jit_held_bytes: this.bytesHeld, jit_evicted: c.evicted, jit_later: c.later, jit_instructions: c.instructions, jit_bytes: c.bytes, jit_dropped: c.dropped,
      jit_refused: c.refused, jit_late: c.late, jit_large: c.large, jit_wide: c.wide, jit_asked: this.pending.size,
      jit_compile_us: Math.round(c.compileMs * 1000), jit_helper_us: Math.round(c.helperMs * 1000), ...Object.fromEntries([...this.reasons].map(([why, n]) => [`jit_left: ${why}`, n])),
    };
  }
}

/** Does what a request asks for. */
export function translated(site: Site, { id, jobs, spare }: Request, compile = compileHere): Response {
  const { bytes, ...outcome } = translateJobs(site, jobs, spare);
  if (!bytes) return { id, outcome, module: undefined, bytes: 0 };
  try { return { id, outcome, module: compile(bytes, jobs.some(j => j.size !== 'small')), bytes: bytes.length }; } catch (error) {
    return { id, outcome, module: undefined, bytes: 0, error: `module: ${error instanceof Error ? error.message : String(error)}` };
  }
}
