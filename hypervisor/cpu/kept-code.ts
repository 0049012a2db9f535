// What was made of guest code, kept beyond its end: blocks that were dropped, and all blocks and translations of a domain for the next one that
// runs the same kernel. A guest's code lies where it lay before, so most of it need not be decoded and translated again.
//
// Invariants: nothing here is believed. A kept block is taken when the bytes at its address are, one by one, those that it was decoded from,
// which were copied before they were decoded; a kept translation when all blocks that it was made of are there. Records stand where they stood
// and blocks have the numbers they had, as translations name both. A record that no live block has says that its block was dropped, whatever leads to it.
import type { PrivilegedInstruction } from './processor-api.ts';
import { privilegedInstructions, seedPrivileged, SPECIAL } from './decode.ts';
import { R, RECORD_BYTES } from './record.ts';
import type { Made, Size } from './jit/job.ts';

/**
 * Blocks, translations' modules and their WebAssembly bytes that are kept: those of a kernel's boot and a system's start. Modules by number too: the
 * smallest takes pages of machine code, and a guest that writes its code anew again and again has as many made as it likes.
 */
export const KEPT_MAX = { blocks: 1 << 17, modules: 1 << 12, moduleBytes: 24 * 2 ** 20 };
/** Of one address: what has been there last. */
const SAME_MAX = 4;
/** The longest instruction, in bytes. */
export const INSTRUCTION_MAX = 15;
/** A legacy is made anew for one block or translation in so many. */
const NEWS = 10;
const SIZES: readonly Size[] = ['small', 'large', 'wide'];

/** Bytes are phys .. end-1 and, for an instruction across the page border, the first of the frame at `second` (0: none). */
export interface KeptBlock { readonly phys: number; readonly end: number; readonly second: number; readonly start: number; readonly count: number; readonly compat: boolean }
export interface KeptTranslation extends Made { /** Indexes. */ readonly module: number; readonly blocks: readonly number[] }
export interface KeptModule { readonly module: WebAssembly.Module; readonly bytes: number; /** What its functions have in the table. */ readonly numbers: readonly number[] }

/** What one domain leaves to the next; goes from thread to thread. Arrays as KeptCode has them, the records as bytes. */
export interface Legacy {
  readonly blocks: Int32Array; readonly table: Int32Array; readonly handlers: Uint16Array; readonly code: Uint8Array; readonly translations: Int32Array; readonly records: Uint8Array;
  readonly privileged: readonly PrivilegedInstruction[]; readonly nextNumber: number; readonly spare: readonly number[]; readonly modules: readonly KeptModule[];
}
/** A block's words: where it is, where its code is among all code, the one that was at its address before, and where its translation is, or -1. */
const BLOCK = { phys: 0, end: 1, second: 2, start: 3, count: 4, compat: 5, code: 6, before: 7, translation: 8 } as const, BLOCK_WORDS = 9;
/** A translation's words; behind them its ranges, and its blocks. */
const TRANSLATION = { number: 0, size: 1, instructions: 2, module: 3, ranges: 4, blocks: 5 } as const, TRANSLATION_WORDS = 6;

type Growing = Int32Array | Uint16Array | Uint8Array;
function grown<T extends Growing>(a: T, length: number): T {
  if (length <= a.length) return a;
  const larger = new (a.constructor as new (n: number) => T)(Math.max(length, 2 * a.length));
  larger.set(a as never);
  return larger;
}
function shared<T extends Growing>(a: T, length: number): T {
  const s = new (a.constructor as new (b: SharedArrayBuffer) => T)(new SharedArrayBuffer(length * a.BYTES_PER_ELEMENT));
  s.set(a.subarray(0, length) as never);
  return s;
}
const hashOf = (phys: number): number => Math.imul(phys, 0x9e3779b1) >>> 7;

export class KeptCode {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  /** Where records begin, and end. */
  private readonly records: number;
  private recordsEnd: number;
  private blocks: Int32Array;
  private count: number;
  /** The last block at each address: its index and 1, where its address's hash says or behind. */
  private table: Int32Array;
  /** Of each record, as it was decoded. */
  private handlers: Uint16Array;
  private code: Uint8Array;
  private codeEnd: number;
  private translations: Int32Array;
  private translationsEnd: number;
  readonly modules: KeptModule[];
  private moduleBytes = 0;
  /** Kept since this began, and before. */
  private added = 0;
  private readonly inherited: number;
  private readonly max: typeof KEPT_MAX;

  /** @param records where they begin in a domain's memory @param legacy taken over: the records are put in their place */
  constructor(bytes: Uint8Array, view: DataView, records: number, legacy?: Legacy, max = KEPT_MAX) {
    this.bytes = bytes; this.view = view; this.records = records; this.max = max;
    this.blocks = legacy ? new Int32Array(legacy.blocks) : new Int32Array(BLOCK_WORDS * 4096);
    this.table = legacy ? new Int32Array(legacy.table) : new Int32Array(1 << 14);
    this.handlers = legacy ? new Uint16Array(legacy.handlers) : new Uint16Array(1 << 16);
    this.code = legacy ? new Uint8Array(legacy.code) : new Uint8Array(1 << 18);
    this.translations = legacy ? new Int32Array(legacy.translations) : new Int32Array(1 << 14);
    this.modules = [...legacy?.modules ?? []];
    for (const m of this.modules) this.moduleBytes += m.bytes;
    this.count = legacy ? this.blocks.length / BLOCK_WORDS : 0;
    this.codeEnd = legacy ? this.code.length : 0;
    this.translationsEnd = legacy ? this.translations.length : 0;
    this.recordsEnd = records + (legacy?.records.length ?? 0);
    this.inherited = this.count;
    if (legacy) bytes.set(legacy.records, records);
  }
  /** Whether a legacy can be taken over on this thread. */
  static accepts(legacy: Legacy): boolean { return seedPrivileged(legacy.privileged); }
  /** Behind the last record that is spoken for. */
  get end(): number { return this.recordsEnd; }

  // ---- blocks, by index
  private word(n: number, field: number): number { return this.blocks[n * BLOCK_WORDS + field]! >>> 0; }
  block(n: number): KeptBlock {
    return { phys: this.word(n, BLOCK.phys), end: this.word(n, BLOCK.end), second: this.word(n, BLOCK.second), start: this.word(n, BLOCK.start), count: this.word(n, BLOCK.count), compat: this.word(n, BLOCK.compat) === 1 };
  }
  /** Where an address's last block stands in the table, or would. */
  private place(phys: number, compat: boolean): number {
    const mask = this.table.length - 1, wanted = compat ? 1 : 0;
    for (let at = hashOf(phys) & mask; ; at = at + 1 & mask) {
      const n = this.table[at]! - 1;
      if (n < 0 || this.word(n, BLOCK.phys) === phys && this.word(n, BLOCK.compat) === wanted) return at;
    }
  }
  /** The first, of the blocks that were at an address, the last one first, for which this holds; -1: none. */
  find(phys: number, compat: boolean, holds: (n: number) => boolean): number {
    let n = this.table[this.place(phys, compat)]! - 1;
    for (let tries = 0; n >= 0 && tries < SAME_MAX; tries++) {
      if (holds(n)) return n;
      n = this.blocks[n * BLOCK_WORDS + BLOCK.before]!;
    }
    return -1;
  }
  /** Index of the block with this first record; -1: it is not kept. */
  indexOf(phys: number, compat: boolean, start: number): number { return this.find(phys, compat, n => this.word(n, BLOCK.start) === start); }
  /** Whether memory holds the bytes that a block was decoded from. */
  isThere(n: number): boolean {
    const { bytes, code } = this, phys = this.word(n, BLOCK.phys), end = this.word(n, BLOCK.end), second = this.word(n, BLOCK.second);
    let at = this.word(n, BLOCK.code);
    for (let p = phys; p < end; p++) if (bytes[p] !== code[at++]) return false;
    if (second) for (let p = second; p < second + INSTRUCTION_MAX; p++) if (bytes[p] !== code[at++]) return false;
    return true;
  }
  /** A block's records are a live block's again, which is hot after so many runs: at once when it has a translation here. */
  revive(n: number, threshold: number): void {
    const { view } = this, start = this.word(n, BLOCK.start), count = this.word(n, BLOCK.count), first = (start - this.records) / RECORD_BYTES;
    for (let i = 0; i < count; i++) view.setUint16(start + i * RECORD_BYTES + R.handler, this.handlers[first + i]!, true);
    view.setInt32(start + R.imm, this.blocks[n * BLOCK_WORDS + BLOCK.translation]! < 0 ? threshold : 1, true);
  }
  /** A block has been decoded. @param code the bytes it was decoded from, those of the second frame behind them */
  made(b: KeptBlock, code: Uint8Array): void {
    if (this.count >= this.max.blocks) return;
    const n = this.count++, at = n * BLOCK_WORDS, first = (b.start - this.records) / RECORD_BYTES, place = this.place(b.phys, b.compat);
    this.blocks = grown(this.blocks, at + BLOCK_WORDS);
    this.handlers = grown(this.handlers, first + b.count);
    this.code = grown(this.code, this.codeEnd + code.length);
    this.blocks.set([b.phys, b.end, b.second, b.start, b.count, b.compat ? 1 : 0, this.codeEnd, this.table[place]! - 1, -1], at);
    for (let i = 0; i < b.count; i++) this.handlers[first + i] = this.view.getUint16(b.start + i * RECORD_BYTES + R.handler, true);
    this.code.set(code, this.codeEnd);
    this.codeEnd += code.length;
    this.reaches(b.start + b.count * RECORD_BYTES);
    this.table[place] = n + 1;
    this.added++;
    if (2 * this.count > this.table.length) this.widen();
  }
  /** So far are records named by what is kept. */
  private reaches(end: number): void { this.recordsEnd = Math.max(this.recordsEnd, end); }
  private widen(): void {
    this.table = new Int32Array(2 * this.table.length);
    for (let n = 0; n < this.count; n++) this.table[this.place(this.word(n, BLOCK.phys), this.word(n, BLOCK.compat) === 1)] = n + 1;
  }

  // ---- translations
  /** A block's, by its index. */
  translation(n: number): KeptTranslation | undefined {
    const at = this.blocks[n * BLOCK_WORDS + BLOCK.translation]!, w = this.translations;
    if (at < 0) return undefined;
    const ranges = at + TRANSLATION_WORDS, blocks = ranges + w[at + TRANSLATION.ranges]!;
    return {
      start: this.word(n, BLOCK.start), number: w[at + TRANSLATION.number]!, size: SIZES[w[at + TRANSLATION.size]!]!, instructions: w[at + TRANSLATION.instructions]!, module: w[at + TRANSLATION.module]!,
      ranges: Array.from(w.subarray(ranges, blocks), word => word >>> 0), blocks: [...w.subarray(blocks, blocks + w[at + TRANSLATION.blocks]!)],
    };
  }
  /** Index of a module, or -1 where there is no more room. */
  keepModule(m: KeptModule): number {
    if (this.modules.length >= this.max.modules || this.moduleBytes + m.bytes > this.max.moduleBytes) return -1;
    this.moduleBytes += m.bytes;
    return this.modules.push(m) - 1;
  }
  /** A block, by its index, has been translated. @param end of all records: it may lead to any of them */
  translated(n: number, t: KeptTranslation, end: number): void {
    if (this.count >= this.max.blocks) return;
    this.reaches(end);
    const at = this.translationsEnd, { ranges, blocks } = t;
    this.translationsEnd += TRANSLATION_WORDS + ranges.length + blocks.length;
    this.translations = grown(this.translations, this.translationsEnd);
    this.translations.set([t.number, SIZES.indexOf(t.size), t.instructions, t.module, ranges.length, blocks.length, ...ranges, ...blocks], at);
    this.blocks[n * BLOCK_WORDS + BLOCK.translation] = at;
    this.added++;
  }
  /** A block's translation is of no use here. */
  forsake(n: number): void { this.blocks[n * BLOCK_WORDS + BLOCK.translation] = -1; }

  /**
   * For the next domain; undefined while there is little that the last one did not leave. This one's processor has run for the last time: all
   * records say now that their blocks were dropped.
   */
  legacy(nextNumber: number, spare: readonly number[]): Legacy | undefined {
    if (this.added * NEWS <= this.inherited) return undefined;
    const { view, recordsEnd } = this;
    for (let at = this.records; at < recordsEnd; at += RECORD_BYTES) {
      view.setUint16(at + R.handler, SPECIAL.stale, true);
      // What stands there too, numbers and where branches last went, is either less or no more than a guess.
      if (view.getUint32(at + R.link, true) >= recordsEnd) view.setUint32(at + R.link, 0, true);
    }
    this.handlers = grown(this.handlers, (recordsEnd - this.records) / RECORD_BYTES);
    return {
      blocks: shared(this.blocks, this.count * BLOCK_WORDS), table: shared(this.table, this.table.length), handlers: shared(this.handlers, (this.recordsEnd - this.records) / RECORD_BYTES),
      code: shared(this.code, this.codeEnd), translations: shared(this.translations, this.translationsEnd), records: shared(this.bytes.subarray(this.records, this.recordsEnd), this.recordsEnd - this.records),
      privileged: privilegedInstructions, nextNumber, spare, modules: this.modules,
    };
  }
}
