// What is asked of translation and what comes of it: a module of functions, one for each hot block. Works from the
// domain's memory alone, so that any thread can do it; the guest may run on meanwhile, and the vCPU that takes the
// result checks that what it was made from still holds.
import { isDropped, SPECIAL } from '../decode.ts';
import { VCPU_STRIDE } from '../layout.ts';
import { blockHash, CLOCK, OTHER_OF_PAIR, REACH } from '../mmu.ts';
import { R } from '../record.ts';
import { RECORDS_BYTES, S } from '../state.ts';
import { type Fn, type FuncRef, ModuleBuilder, type Signature } from '../wasm/builder.ts';
import { access, accessSignature } from './access.ts';
import { Compiler } from './compile.ts';
import { SETTLE } from './flag-state.ts';
import { type CodeFinder, Region } from './region.ts';
import type { Imports, Numbers } from './translation.ts';
import { wayOut, wayOutSignature } from './ways-out.ts';

/**
 * Three sizes of translation: a quick one of the next few blocks; a larger one where that is run often; and where that one
 * is entered often still, one that follows calls, returns and indirect jumps, which takes compilers longest. No block is
 * begun beyond so many instructions; a block belongs into it that has a translation, or ran for this part of the way to
 * one; calls are followed so deep.
 */
const SIZES = { small: { instructions: 60, warm: 1 / 4, calls: 0 }, large: { instructions: 100, warm: 1 / 2, calls: 0 }, wide: { instructions: 160, warm: 1 / 2, calls: 2 } } as const;
export type Size = keyof typeof SIZES;

/** A hot block: its first record, and its number. */
export interface Job {
  readonly start: number; readonly number: number; readonly compat: boolean; readonly size: Size;
  /** Virtual address of its page, and the page table's root, when it was found to be hot. */
  readonly page: bigint; readonly root: number;
}
export interface Site {
  readonly view: DataView;
  /** The vCPU's area (state.ts). */
  readonly area: number;
  /** Slot of this memory. */
  readonly slot: number;
  /** Executions before a block is translated, of a small translation before a large one is made, of that before a wide one is. */
  readonly thresholds: Thresholds;
}
export type Thresholds = Readonly<Record<Size, number>>;
export interface Made { readonly start: number; readonly number: number; readonly instructions: number; readonly size: Size; /** Of bytes (region.ts). */ readonly ranges: readonly number[] }
export interface Outcome {
  readonly made: readonly Made[];
  readonly refused: readonly { readonly start: number; readonly reason: string }[];
  /** Why translations ended before an instruction. */
  readonly left: readonly string[];
  /** Numbers that blocks without one were given, by their first records; the rest of the spare ones. */
  readonly numbers: readonly (readonly [start: number, number: number])[]; readonly spare: readonly number[];
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
}

/** Numbers for blocks that translations lead to and that have none yet. */
class SpareNumbers {
  readonly given = new Map<number, number>();
  readonly spare: number[];
  constructor(spare: readonly number[]) { this.spare = spare.slice(); }
  /** The block's with this first record; 0 when there are no more. */
  of(record: number): number {
    const known = this.given.get(record) ?? this.spare.pop();
    if (known) this.given.set(record, known);
    return known ?? 0;
  }
}

/** The blocks of one vCPU, through its block table, seen from one page. */
class Blocks implements CodeFinder, Numbers {
  readonly view: DataView;
  private readonly site: Site;
  private readonly job: Job;
  private readonly pages = new Map<number, number | undefined>();
  private readonly warm: number;
  private readonly alone: boolean;
  private readonly numbers: SpareNumbers;
  constructor(site: Site, job: Job, numbers: SpareNumbers) {
    const { small } = site.thresholds;
    this.view = site.view; this.site = site; this.job = job; this.numbers = numbers;
    this.alone = job.size === 'small' && small > 1;
    this.warm = small === 1 ? 0 : small * SIZES[job.size].warm;
  }

  private at(phys: number): number {
    const { view, site: { area } } = this, hash = blockHash(phys), known = view.getUint32(area + S.blocks + hash, true) === phys >>> 0;
    const entry = area + S.blocks + (known ? hash : hash ^ OTHER_OF_PAIR);
    if (!known && view.getUint32(entry, true) !== phys >>> 0) return 0;
    const word = view.getUint32(entry + 4, true), record = (word & ~1) >>> 0;
    return (word & 1) !== (this.job.compat ? 1 : 0) || record < area + S.records || record >= area + S.records + RECORDS_BYTES ? 0 : record;
  }
  numbered(phys: number): { readonly number: number; readonly record: number } | undefined {
    const { view } = this, record = this.at(phys), handler = record && view.getUint16(record + R.handler, true);
    if (handler !== SPECIAL.count && handler !== SPECIAL.translated) return undefined;
    const number = view.getUint32(record + R.number, true) || this.numbers.of(record);
    return number ? { number, record } : undefined;
  }
  block(phys: number): number {
    const { view } = this, record = this.at(phys);
    if (!record) return 0;
    const handler = view.getUint16(record + R.handler, true), counts = handler === SPECIAL.count;
    // What is native code goes on as that.
    if (handler === SPECIAL.native) return 0;
    // A small translation ends where another begins: going over is cheap with registers in memory, and each is made once.
    if (!counts && this.alone && record !== this.job.start) return 0;
    return !counts || this.weight(record) >= this.warm ? record : 0;
  }
  weight(record: number): number {
    const { view, site: { area, thresholds: { small, large, wide } } } = this;
    if (view.getUint16(record + R.handler, true) === SPECIAL.count) return small - view.getInt32(record + R.imm, true);
    const left = view.getInt32(area + S.counters + 4 * view.getUint32(record + R.number, true), true);
    return small + large - left + (left > large ? wide : 0);
  }
  distanceOf(va: bigint): number { return Number(BigInt.asIntN(64, (va & ~0xfffn) - this.job.page)); }
  page(distance: number): number | undefined {
    if (!this.pages.has(distance)) this.pages.set(distance, this.walk(BigInt.asUintN(64, this.job.page + BigInt(distance))));
    return this.pages.get(distance);
  }
  /** Looks only: a page that is not accessible is not found. */
  private walk(va: bigint): number | undefined {
    const { view, site } = this;
    let table = this.job.root >>> 0;
    for (const shift of [39n, 30n, 21n, 12n]) {
      const at = table + Number(va >> shift & 511n) * 8;
      if (at + 8 > view.byteLength) return undefined;
      const entry = view.getBigUint64(at, true);
      if (!(entry & 1n) || Number(entry >> 32n & 0xfffffn) !== site.slot) return undefined;
      table = Number(entry & 0xfffff000n);
    }
    return table;
  }
}

/** Translates blocks into one module. @param spare numbers for blocks that have none. Throws nothing for what a guest can do. */
export function translateJobs(site: Site, jobs: readonly Job[], spare: readonly number[]): Outcome {
  const { view, area } = site, m = new ModuleBuilder(area + VCPU_STRIDE);
  // What is called is imported, and no more: instances are made often.
  const imported = new Map<string, FuncRef>(), take = (name: string, signature: () => Signature): FuncRef => {
    let ref = imported.get(name);
    if (!ref) imported.set(name, ref = m.importFunction(name, signature()));
    return ref;
  };
  const im: Imports = {
    handlerType: m.typeIndex({ params: ['i32'], results: [] }), reach: () => take('reach', () => REACH), settle: () => take('settle', () => SETTLE), clock: () => take('clock', () => CLOCK),
    access: (write, carried) => take(access(write, carried), () => accessSignature(carried)),
    wayOut: (to, carried) => take(wayOut(to, carried), () => wayOutSignature(to, carried)),
  };
  const compiled: { readonly number: number; readonly fn: Fn }[] = [];
  const numbers = new SpareNumbers(spare), made: Made[] = [], refused: { start: number; reason: string }[] = [], left: string[] = [];
  for (const job of jobs) {
    const { start, number, compat, size } = job, { instructions: room, calls } = SIZES[size], refuse = (reason: string): void => { refused.push({ start, reason }); };
    if (isDropped(view.getUint16(start + R.handler, true))) { refuse('dropped meanwhile'); continue; }
    try {
      const code = new Blocks(site, job, numbers), region = new Region(code, start, view.getUint32(start + R.disp, true), compat, room, calls);
      if (region.entry < 0) { refuse('nothing to translate'); continue; }
      if (size === 'wide' && !region.follows) { refuse('nothing to follow'); continue; }
      const { fn, instructions, untranslatable } = new Compiler(area, view, im, start, number, region, code, compat, size, site.thresholds.small - site.thresholds.large).compile();
      left.push(...untranslatable);
      if (!instructions) { refuse('nothing to translate'); continue; }
      compiled.push({ number, fn });
      made.push({ start, number, instructions, size, ranges: region.ranges });
    } catch (error) { refuse(`translator: ${error instanceof Error ? error.message : String(error)}`); }
  }
  for (const { number, fn } of compiled) {
    const ref = m.declare(fn.signature);
    m.define(ref, fn);
    m.extendTable(number, ref);
  }
  return { made, refused, left, numbers: [...numbers.given], spare: numbers.spare, bytes: made.length ? m.build() : undefined };
}
