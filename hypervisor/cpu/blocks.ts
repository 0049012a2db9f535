// The decode cache: straight runs of records made from guest code, found by physical address.
//
// Invariants: a frame with at least one block has its code-map byte set and no entry in any write TLB; a block's
// records live until the whole cache is emptied, so a dropped block is one whose records all lead back to the
// lookup (SPECIAL.stale), or its first one to the block that took its place (SPECIAL.moved). Records never name a virtual address: blocks serve every mapping of their frame.
//
// What a store drops is the blocks that were made of a byte it writes. So the rest of a page that has a function patched stays; the price is
// that each store into such a page is looked at. A page that is stored into for long is therefore given up: all its blocks go, and it is
// written like any other until code is run there again. Not where the domain has several vCPUs, each with blocks of its own that the others
// do not know: there whole frames are dropped, as they are for what the hypervisor and backends write.
import { decode, type Decoded, isDropped, newDecoded, SPECIAL } from './decode.ts';
import { fusedHandler } from './fusion.ts';
import { INSTRUCTION_MAX, type KeptCode } from './kept-code.ts';
import { CODE, PAGE_BYTES } from './layout.ts';
import { blockHash, OTHER_OF_PAIR } from './mmu.ts';
import { R, RECORD_BYTES, writeRecord } from './record.ts';
import type { SiblingCode } from './sibling-code.ts';
import { BLOCK_ENTRIES, RECORDS_BYTES, S } from './state.ts';

const BLOCK_MAX = 64, PAGE_SHIFT = 12;

/** Stores into a page, for each block it has, before it is given up: looking at them takes about as long as decoding the block again. */
const STORES_PER_BLOCK = 8;
/** A frame with code: its blocks, how often it was stored into while it had any, and a bit for each 8 bytes that a block was ever made of since. */
interface CodeFrame { readonly blocks: Block[]; stores: number; readonly covered: Int32Array }
const COVERED_SHIFT = 3, COVERED_WORDS = PAGE_BYTES >> COVERED_SHIFT + 5;
function cover(covered: Int32Array, from: number, to: number): void {
  for (let n = (from & PAGE_BYTES - 1) >> COVERED_SHIFT, last = (to - 1 & PAGE_BYTES - 1) >> COVERED_SHIFT; n <= last; n++) covered[n >> 5]! |= 1 << (n & 31);
}
function isCovered(covered: Int32Array, from: number, to: number): boolean {
  for (let n = (from & PAGE_BYTES - 1) >> COVERED_SHIFT, last = (to - 1 & PAGE_BYTES - 1) >> COVERED_SHIFT; n <= last; n++) if (covered[n >> 5]! & 1 << (n & 31)) return true;
  return false;
}

/** The bytes it was made of, and looked at for it, are phys .. end-1 and, with an instruction across the page border, the first of the frame at `second` (0: none). */
export interface Block { readonly phys: number; readonly end: number; readonly second: number; readonly start: number; readonly count: number }
const overlaps = (b: Block, from: number, to: number): boolean => b.phys < to && from < b.end || b.second !== 0 && b.second < to && from < b.second + INSTRUCTION_MAX;

/** What keeps translations of blocks in step with them. */
export interface Translations {
  /** Executions of a block before it is translated. */
  readonly threshold: number;
  /** The block whose first record this is was dropped. */
  dropped(start: number): void;
  /** Blocks made of these bytes were, which lie in one frame. After `dropped`. */
  bytesDropped(from: number, to: number): void;
  /** All blocks were. */
  emptied(): void;
  /** From now on, or no longer, it is the guest's own stores that drop blocks. */
  guestWrites(on: boolean): void;
}

/** Reports what a block needs of the address space while it is decoded. */
export interface CodeSource {
  /** Physical address of the page behind the block's, or 0 with the fault recorded. */
  nextPage(): number;
}

export class BlockCache {
  private readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly words: Int32Array;
  private readonly area: number;
  private readonly codeMap: number;
  /** Called when a frame gets its first block: writable translations of it must go. */
  private readonly onCodeFrame: (frame: number) => void;
  /** Called when everything is forgotten. */
  onEmpty: () => void = () => {};
  private readonly byFrame = new Map<number, CodeFrame>();
  /** First record by physical address, doubled, odd in compatibility mode: what the table in memory forgets. */
  private readonly byAddress = new Map<number, number>();
  private next: number;
  /** What is being decoded. */
  private readonly code = new Uint8Array((BLOCK_MAX + 1) * INSTRUCTION_MAX);
  private readonly d: Decoded = newDecoded();
  /** Physical addresses where a debugger wants to stop. */
  readonly breakpoints = new Set<number>();
  /** Set where blocks are translated: they start with a record that counts. */
  translations: Translations | undefined;
  /** Set where the domain has several vCPUs. */
  siblings: SiblingCode | undefined;
  /** What was made before (kept-code.ts), and what is kept of what is made now. */
  kept: KeptCode | undefined;
  decoded = 0; revived = 0; dropped = 0; emptied = 0; instructions = 0;
  /** Stores into frames with code that were looked at; those of them that dropped nothing; frames that were given up. */
  writes = 0; beside = 0; givenUp = 0;

  constructor(bytes: Uint8Array, view: DataView, area: number, codeMap: number, onCodeFrame: (frame: number) => void) {
    this.bytes = bytes; this.view = view; this.words = new Int32Array(view.buffer); this.area = area; this.codeMap = codeMap; this.onCodeFrame = onCodeFrame;
    this.next = area + S.records;
  }

  /** The block at a physical address, decoded if need be: its first record, or 0 when fetching its first instruction faults. */
  find(phys: number, compat: boolean, source: CodeSource): number {
    const known = this.byAddress.get(phys * 2 + (compat ? 1 : 0));
    if (known === undefined) {
      const again = this.kept ? this.kept.find(phys, compat, n => this.revive(n)) : -1;
      return again >= 0 ? this.kept!.block(again).start : this.make(phys, compat, source);
    }
    this.enter(phys, known, compat);
    return known;
  }
  /** A kept block is there again, or still; not where its bytes are others now. */
  revive(n: number): boolean {
    const { kept, view } = this, { compat, ...block } = kept!.block(n), { phys, second, start } = block, key = phys * 2 + (compat ? 1 : 0), now = this.byAddress.get(key);
    if (now !== undefined || this.breakpoints.size || !isDropped(view.getUint16(start + R.handler, true))) return now === start;
    this.announce(phys >>> PAGE_SHIFT);
    if (second) this.announce(second >>> PAGE_SHIFT);
    if (!kept!.isThere(n)) return false;
    kept!.revive(n, this.translations!.threshold);
    this.admit(block, compat);
    this.revived++;
    return true;
  }
  /** Those live blocks that have bytes among these, by their indexes among the kept ones; undefined when one is not kept. */
  keptWithin(ranges: readonly number[]): number[] | undefined {
    const found = new Set<number>();
    for (let n = 0; n < ranges.length; n += 2) {
      for (const b of this.byFrame.get(ranges[n]! >>> PAGE_SHIFT)?.blocks ?? []) {
        if (!overlaps(b, ranges[n]!, ranges[n + 1]!)) continue;
        const index = this.keptIndex(b);
        if (index < 0) return undefined;
        found.add(index);
      }
    }
    return [...found];
  }
  /** Index among the kept ones, or -1. */
  keptIndex({ phys, start }: { readonly phys: number; readonly start: number }): number { return this.kept!.indexOf(phys, this.byAddress.get(phys * 2) !== start, start); }
  private admit(block: Block, compat: boolean): void {
    const { phys, second, start } = block;
    this.register(block, phys, block.end);
    if (second) this.register(block, second, second + INSTRUCTION_MAX);
    this.byAddress.set(phys * 2 + (compat ? 1 : 0), start);
    this.enter(phys, start, compat);
  }
  /** The block that starts with this record, at a physical address. */
  blockOf(phys: number, start: number): Block | undefined { return this.byFrame.get(phys >>> PAGE_SHIFT)?.blocks.find(b => b.start === start); }
  /** First record of the block at a physical address, or 0. */
  known(phys: number, compat: boolean): number { return this.byAddress.get(phys * 2 + (compat ? 1 : 0)) ?? 0; }
  private enter(phys: number, start: number, compat: boolean): void {
    const { view } = this, hash = blockHash(phys), entry = this.area + S.blocks + hash, before = view.getUint32(entry, true), word = view.getUint32(entry + 4, true);
    // Who stands there gives way: two that are needed in turn do not push each other out.
    if (word && before !== phys) {
      const other = this.area + S.blocks + (hash ^ OTHER_OF_PAIR);
      view.setUint32(other, before, true);
      view.setUint32(other + 4, word, true);
    }
    view.setUint32(entry, phys, true);
    view.setUint32(entry + 4, start | (compat ? 1 : 0), true);
  }
  /** Behind the last record. */
  get end(): number { return this.next; }
  /** Begins with what an earlier domain left. Before anything is decoded. */
  takeOver(kept: KeptCode): void {
    this.kept = kept;
    this.next = kept.end;
  }
  /** Decodes anew, in place of what may be known. */
  make(phys: number, compat: boolean, source: CodeSource): number {
    if (this.next + (BLOCK_MAX + 4) * RECORD_BYTES > this.area + S.records + RECORDS_BYTES) this.empty();
    const page = phys - phys % PAGE_BYTES, limit = page + PAGE_BYTES, start = this.next;
    let at = phys, crossed = 0;
    this.announce(page / PAGE_BYTES);
    // Decoded is a copy: what is kept as a block's bytes is what it was made of, whatever else writes here.
    const { code } = this, inCode = phys, room = Math.min(limit - phys, BLOCK_MAX * INSTRUCTION_MAX);
    code.set(this.bytes.subarray(phys, phys + room));
    if (this.translations) { this.special(SPECIAL.count, at - page, this.translations.threshold); this.view.setUint32(start + R.disp, page, true); }
    for (let n = 0; n < BLOCK_MAX; n++) {
      if (at >= limit) break;
      // Code that is decoded already is gone on with, not decoded again.
      if (n > 0 && this.byAddress.has(at * 2 + (compat ? 1 : 0))) break;
      if (this.breakpoints.size && this.breakpoints.has(at)) {
        this.special(SPECIAL.breakpoint, at - page);
        this.d.ends = true;
        break;
      }
      if (decode(code, at - inCode, limit - inCode, at - page, compat, this.d)) { if (n === 0 || !this.fuse(this.d)) this.put(this.d); }
      else {
        // An instruction across the page border stands alone, guarded by a check of the second page.
        if (n > 0) break;
        const second = source.nextPage();
        if (!second) return 0;
        this.announce(second / PAGE_BYTES >>> 0);
        code.set(this.bytes.subarray(second, second + INSTRUCTION_MAX), limit - inCode);
        decode(code, at - inCode, limit - inCode + INSTRUCTION_MAX, at - page, compat, this.d);
        this.special(SPECIAL.crossCheck, at - page, second);
        this.put(this.d);
        crossed = second;
        at += this.d.length;
        break;
      }
      this.instructions++;
      at += this.d.length;
      if (this.d.ends) break;
    }
    if (!this.d.ends || crossed) this.special(crossed || at >= limit ? SPECIAL.fallthrough : SPECIAL.onward, at - page);
    this.decoded++;
    // Of what is no instruction more may have been looked at than its length says.
    const end = Math.min(limit, this.d.handler === SPECIAL.undefined ? at + INSTRUCTION_MAX : at);
    const block: Block = { phys, end, second: crossed, start, count: (this.next - start) / RECORD_BYTES };
    this.admit(block, compat);
    if (!this.breakpoints.size) this.kept?.made({ ...block, compat }, crossed ? code.subarray(0, limit - inCode + INSTRUCTION_MAX) : code.subarray(0, end - inCode));
    return start;
  }

  /** A dropped block's first record leads to the block that stands at its address now. */
  lead(from: number, phys: number, to: number): void {
    const { view } = this;
    if (view.getUint16(from + R.handler, true) !== SPECIAL.stale || view.getUint32(from + R.disp, true) + view.getUint16(from + R.offset, true) !== phys) return;
    view.setUint32(from + R.target, to, true);
    view.setUint16(from + R.handler, SPECIAL.moved, true);
  }

  /** One instruction and a stop behind it, in the stepping area. Returns the record, or 0 for a fetch fault. */
  makeStep(phys: number, compat: boolean, source: CodeSource): number {
    const saved = this.next, page = phys - phys % PAGE_BYTES, limit = page + PAGE_BYTES, start = this.area + S.stepRecords;
    this.next = start;
    try {
      if (!decode(this.bytes, phys, limit, phys - page, compat, this.d)) {
        const second = source.nextPage();
        if (!second) return 0;
        this.code.set(this.bytes.subarray(phys, limit));
        this.code.set(this.bytes.subarray(second, second + INSTRUCTION_MAX), limit - phys);
        decode(this.code, 0, limit - phys + INSTRUCTION_MAX, phys - page, compat, this.d);
      }
      this.put(this.d);
      this.special(SPECIAL.stepped, phys - page + this.d.length);
      return start;
    } finally { this.next = saved; }
  }

  /** Drops every block with bytes in a frame, siblings' too once they look. */
  invalidate(frame: number): void {
    Atomics.store(this.bytes, this.codeMap + frame, 0);
    this.siblings?.written(frame);
    this.drop(frame);
  }
  /** The guest stores so many bytes from a physical address, to the end of its page at most; 0: any of the page's. If the code map says so still when this is done, the next store there has to be looked at too. */
  written(phys: number, bytes: number): void {
    const frame = phys >>> PAGE_SHIFT, code = this.byFrame.get(frame);
    this.writes++;
    if (this.siblings || !code || !bytes || this.bytes[this.codeMap + frame]! & CODE.dirtied) { this.invalidate(frame); return; }
    const { blocks } = code, to = Math.min(phys + bytes, (frame + 1) * PAGE_BYTES);
    if (++code.stores > STORES_PER_BLOCK * blocks.length) { this.givenUp++; this.invalidate(frame); return; }
    if (!isCovered(code.covered, phys, to)) { this.beside++; return; }
    let met: Block[] | undefined;
    for (const b of blocks) if (overlaps(b, phys, to)) { if (met) met.push(b); else met = [b]; }
    if (!met) this.beside++;
    else if (met.length === blocks.length) this.invalidate(frame);
    else {
      this.forget(met);
      // A translation made of the crossing instruction of one is made of its first page's bytes too.
      for (const b of met) this.translations?.bytesDropped(b.phys, b.end);
    }
  }
  /** Drops this vCPU's; siblings' and the code map stay, which costs the next writer a look at most. */
  drop(frame: number): void {
    const code = this.byFrame.get(frame);
    if (!code) return;
    this.byFrame.delete(frame);
    this.forget(code.blocks);
    this.translations?.bytesDropped(frame * PAGE_BYTES, (frame + 1) * PAGE_BYTES);
  }
  private forget(blocks: readonly Block[]): void {
    this.view.setInt32(this.area + S.drops, this.view.getInt32(this.area + S.drops, true) + 1 | 0, true);
    for (const b of blocks) {
      this.dropped++;
      for (let i = 0; i < b.count; i++) this.view.setUint16(b.start + i * RECORD_BYTES + R.handler, SPECIAL.stale, true);
      // For who leads on from here.
      this.view.setUint32(b.start + R.disp, b.phys - b.phys % PAGE_BYTES, true);
      this.unregister(b.phys, b);
      if (b.second) this.unregister(b.second, b);
      for (const key of [b.phys * 2, b.phys * 2 + 1]) if (this.byAddress.get(key) === b.start) this.byAddress.delete(key);
      this.translations?.dropped(b.start);
      for (const hash of [blockHash(b.phys), blockHash(b.phys) ^ OTHER_OF_PAIR]) {
        const entry = this.area + S.blocks + hash;
        if (this.view.getUint32(entry, true) === b.phys) this.view.setUint32(entry + 4, 0, true);
      }
    }
  }
  private unregister(phys: number, block: Block): void {
    const frame = phys >>> PAGE_SHIFT, code = this.byFrame.get(frame);
    if (!code) return;
    const at = code.blocks.indexOf(block);
    if (at >= 0) code.blocks.splice(at, 1);
    if (!code.blocks.length) this.byFrame.delete(frame);
  }

  /** Forgets everything. Only between blocks. */
  empty(): void {
    this.emptied++;
    // Records will be others.
    this.kept = undefined;
    this.translations?.emptied();
    // Siblings may have blocks where this vCPU had.
    if (!this.siblings) for (const frame of this.byFrame.keys()) this.bytes[this.codeMap + frame] = 0;
    this.byFrame.clear();
    this.byAddress.clear();
    this.bytes.fill(0, this.area + S.blocks, this.area + S.blocks + BLOCK_ENTRIES * 8);
    this.onEmpty();
    this.view.setInt32(this.area + S.patch, 0, true);
    this.next = this.area + S.records;
  }

  /** @param from of the block's bytes those in one frame */
  private register(block: Block, from: number, to: number): void {
    const frame = from >>> PAGE_SHIFT;
    let code = this.byFrame.get(frame);
    if (!code) this.byFrame.set(frame, code = { blocks: [], stores: 0, covered: new Int32Array(COVERED_WORDS) });
    code.blocks.push(block);
    cover(code.covered, from, to);
  }
  /** Before a frame is read as code: from then on writes to it are seen. */
  private announce(frame: number): void {
    const known = Atomics.or(this.bytes, this.codeMap + frame, CODE.translated) & CODE.translated;
    if (known && (!this.siblings || this.byFrame.has(frame))) return;
    this.onCodeFrame(frame);
    if (!known) this.siblings?.becameCode(frame);
  }
  /** Merges a conditional jump into the comparison just put, when there is a handler for the two. */
  private fuse(d: Decoded): boolean {
    const last = this.next - RECORD_BYTES, handler = fusedHandler(this.view.getUint16(last + R.handler, true), d.handler);
    if (!handler) return false;
    this.view.setUint16(last + R.handler, handler, true);
    this.view.setUint8(last + R.length, this.view.getUint8(last + R.length) + d.length);
    this.view.setInt32(last + R.target, d.target, true);
    return true;
  }
  private put(d: Decoded): void { writeRecord(this.words, this.next, d); this.next += RECORD_BYTES; }
  private special(handler: number, offset: number, imm = 0): void {
    writeRecord(this.words, this.next, { handler, a: 0, b: 0, base: 0, index: 0, scale: 0, segment: 0, disp: 0, imm, offset, length: 0, c: 0, link: 0, target: handler === SPECIAL.fallthrough || handler === SPECIAL.onward ? offset : 0 });
    this.next += RECORD_BYTES;
  }
}
