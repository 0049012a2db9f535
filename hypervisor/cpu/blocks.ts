// The decode cache: straight runs of records made from guest code, found by physical address.
//
// Invariants: a frame with at least one block has its code-map byte set and no entry in any write TLB; a block's
// records live until the whole cache is emptied, so a dropped block is one whose records all lead back to the
// lookup (SPECIAL.stale), or its first one to the block that took its place (SPECIAL.moved). Records never name a virtual address: blocks serve every mapping of their frame.
import { decode, type Decoded, newDecoded, SPECIAL } from './decode.ts';
import { fusedHandler } from './fusion.ts';
import { CODE, PAGE_BYTES } from './layout.ts';
import { blockHash, OTHER_OF_PAIR } from './mmu.ts';
import { R, RECORD_BYTES, writeRecord } from './record.ts';
import type { SiblingCode } from './sibling-code.ts';
import { BLOCK_ENTRIES, RECORDS_BYTES, S } from './state.ts';

const BLOCK_MAX = 64;

interface Block { readonly phys: number; readonly start: number; readonly count: number }

/** What keeps translations of blocks in step with them. */
export interface Translations {
  /** Executions of a block before it is translated. */
  readonly threshold: number;
  /** The block whose first record this is was dropped. */
  dropped(start: number): void;
  /** All blocks of this frame were. */
  frameDropped(frame: number): void;
  /** All blocks were. */
  emptied(): void;
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
  private readonly byFrame = new Map<number, Block[]>();
  /** First record by physical address, doubled, odd in compatibility mode: what the table in memory forgets. */
  private readonly byAddress = new Map<number, number>();
  private next: number;
  private readonly scratch = new Uint8Array(32);
  private readonly d: Decoded = newDecoded();
  /** Physical addresses where a debugger wants to stop. */
  readonly breakpoints = new Set<number>();
  /** Set where blocks are translated: they start with a record that counts. */
  translations: Translations | undefined;
  /** Set where the domain has several vCPUs. */
  siblings: SiblingCode | undefined;
  decoded = 0; dropped = 0; emptied = 0; instructions = 0;

  constructor(bytes: Uint8Array, view: DataView, area: number, codeMap: number, onCodeFrame: (frame: number) => void) {
    this.bytes = bytes; this.view = view; this.words = new Int32Array(view.buffer); this.area = area; this.codeMap = codeMap; this.onCodeFrame = onCodeFrame;
    this.next = area + S.records;
  }

  /** The block at a physical address, decoded if need be: its first record, or 0 when fetching its first instruction faults. */
  find(phys: number, compat: boolean, source: CodeSource): number {
    const known = this.byAddress.get(phys * 2 + (compat ? 1 : 0));
    if (known === undefined) return this.make(phys, compat, source);
    this.enter(phys, known, compat);
    return known;
  }
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
  /** Decodes anew, in place of what may be known. */
  make(phys: number, compat: boolean, source: CodeSource): number {
    if (this.next + (BLOCK_MAX + 4) * RECORD_BYTES > this.area + S.records + RECORDS_BYTES) this.empty();
    const page = phys - phys % PAGE_BYTES, limit = page + PAGE_BYTES, start = this.next;
    let at = phys, crossed = 0;
    this.announce(page / PAGE_BYTES);
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
      if (decode(this.bytes, at, limit, at - page, compat, this.d)) { if (n === 0 || !this.fuse(this.d)) this.put(this.d); }
      else {
        // An instruction across the page border stands alone, guarded by a check of the second page.
        if (n > 0) break;
        const second = source.nextPage();
        if (!second) return 0;
        this.announce(second / PAGE_BYTES >>> 0);
        const here = limit - at;
        this.scratch.set(this.bytes.subarray(at, limit));
        this.scratch.set(this.bytes.subarray(second, second + 15), here);
        decode(this.scratch, 0, here + 15, at - page, compat, this.d);
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
    const block: Block = { phys, start, count: (this.next - start) / RECORD_BYTES };
    this.register(page / PAGE_BYTES, block);
    if (crossed) this.register(crossed / PAGE_BYTES >>> 0, block);
    this.byAddress.set(phys * 2 + (compat ? 1 : 0), start);
    this.enter(phys, start, compat);
    return start;
  }

  /** A dropped block's first record leads to the block that stands at its address now. */
  lead(from: number, phys: number, to: number): void {
    const { view } = this;
    if (view.getUint16(from + R.handler, true) !== SPECIAL.stale || view.getUint32(from + R.disp, true) + view.getUint16(from + R.offset, true) !== phys || !this.translations) return;
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
        this.scratch.set(this.bytes.subarray(phys, limit));
        this.scratch.set(this.bytes.subarray(second, second + 15), limit - phys);
        decode(this.scratch, 0, limit - phys + 15, phys - page, compat, this.d);
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
  /** Drops this vCPU's; siblings' and the code map stay, which costs the next writer a look at most. */
  drop(frame: number): void {
    const blocks = this.byFrame.get(frame);
    if (!blocks) return;
    this.byFrame.delete(frame);
    this.view.setInt32(this.area + S.drops, this.view.getInt32(this.area + S.drops, true) + 1 | 0, true);
    for (const b of blocks) {
      this.dropped++;
      for (let i = 0; i < b.count; i++) this.view.setUint16(b.start + i * RECORD_BYTES + R.handler, SPECIAL.stale, true);
      for (const key of [b.phys * 2, b.phys * 2 + 1]) if (this.byAddress.get(key) === b.start) this.byAddress.delete(key);
      this.translations?.dropped(b.start);
      for (const hash of [blockHash(b.phys), blockHash(b.phys) ^ OTHER_OF_PAIR]) {
        const entry = this.area + S.blocks + hash;
        if (this.view.getUint32(entry, true) === b.phys) this.view.setUint32(entry + 4, 0, true);
      }
    }
    this.translations?.frameDropped(frame);
  }

  /** Forgets everything. Only between blocks. */
  empty(): void {
    this.emptied++;
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

  private register(frame: number, block: Block): void {
    const list = this.byFrame.get(frame);
    if (list) list.push(block); else this.byFrame.set(frame, [block]);
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
