// The native tier of one vCPU: which blocks have native code, and what happens between stretches of it.
//
// Invariants: a block with native code has SPECIAL.native in its first record, and the number of its code in R.native. Code of
// a block that was dropped is jumped over at both entries, so whatever leads there (jumps of other blocks, the jump table) may stay.
// Nothing is dropped while native code runs: it is this thread that drops.
import { SPECIAL, isDropped } from '../decode.ts';
import type { BlockCache, Translations } from '../blocks.ts';
import { INSTRUCTION_MAX } from '../kept-code.ts';
import { PAGE_BYTES } from '../layout.ts';
import { VIEW, type View } from '../processor-api.ts';
import { R, RECORD_BYTES } from '../record.ts';
import { FX, S, SLOT } from '../state.ts';
import { Addresses, BRANCH, CONTROL, JUMP_FOLD, JUMP_TABLE_BYTES, JUMP_TABLE_ENTRIES, WAY } from './addresses.ts';
import { Assembler } from './assembler.ts';
import { BlockTranslator } from './block.ts';
import { writeWays, type Ways } from './entry.ts';
import { addressOf, type ExecutableMemory } from './executable-memory.ts';
import type { HostFeature } from './instructions.ts';
import { T1 } from './registers.ts';
import type { Link } from './writer.ts';

/** How often a block runs before it is translated; and how often one that native code leads to. */
export interface NativeThresholds { readonly first: number; readonly next: number }
export const NATIVE_THRESHOLDS: NativeThresholds = { first: 30, next: 2 };
/** Where the interpreter goes on: wherever S.rip leads; at the instruction there, native code or not; nowhere. */
const ONWARD = -1, STUCK = -2, ATTENTION = -3;
/** Instructions that are not native code, but can be WebAssembly (block.ts). */
const OTHERS = new Set(['mmx']);
const NEVER = 0x7fffffff, LATER = 1000;
/** Of what leads to a far link's making (block.ts: a move and a jump). */
const FAR_LINK_BYTES = 11;
/** A block that keeps being overwritten stays with the interpreter. */
const DROPS_MAX = 8;
/** MXCSR's mask bits: unless all are set, instructions may fault; and those that may not be set. */
const ALL_MASKED = 0x1f80, RESERVED = ~0xffff;

export interface NativeHost {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  readonly bytes: Uint8Array;
  readonly area: number;
  readonly blocks: BlockCache;
  readonly exports: { reachPage(what: number): number; lookUpRip(): number; fetch(next: number): number };
  readonly code: ExecutableMemory;
  readonly clock: () => bigint;
  /** How often a block that is not for native code runs until another tier is asked. */
  readonly othersAfter: number;
  readonly features: ReadonlySet<HostFeature>;
}
interface Code { readonly start: number; readonly phys: number; readonly view: View; readonly live: number; readonly saved: number }
interface Open extends Link { readonly page: number; readonly view: View; visits: number }

export class NativeTier implements Omit<Translations, 'bytesDropped'> {
  readonly threshold: number;
  private readonly next: number;
  private readonly host: NativeHost;
  private readonly words: Int32Array;
  private readonly own: Int32Array;
  private readonly table: Int32Array;
  private readonly a: Assembler;
  private readonly at: Addresses;
  private readonly ways: Ways;
  private readonly blocks: BlockTranslator;
  private readonly call: () => void;
  private readonly exitRecord: number;
  /** By their numbers, from 1 on. */
  private codes: (Code | undefined)[] = [undefined];
  /** Jumps that lead nowhere yet. */
  private open: (Open | undefined)[] = [undefined];
  /** Code of dropped blocks, by physical address. */
  private readonly diverted = new Map<number, Code[]>();
  /** Blocks that are for another tier; they count on to its threshold. */
  readonly others = new Set<number>();
  private guest = false;
  private readonly drops = new Map<number, number>();
  private readonly counts = { blocks: 0, instructions: 0, dropped: 0, refused: 0, emptied: 0, entries: 0, links: 0, jumps: 0, misses: 0, walksFailed: 0, left: 0, ms: 0 };

  constructor(host: NativeHost, { first, next }: NativeThresholds) {
    const { code } = host, tables = CONTROL.BYTES, begin = tables + 2 * JUMP_TABLE_BYTES;
    this.host = host; this.threshold = first; this.next = next;
    this.words = new Int32Array(host.memory.buffer as unknown as SharedArrayBuffer, host.area, S.vectorTables / 4);
    this.own = new Int32Array(code.bytes.buffer, code.bytes.byteOffset, CONTROL.BYTES / 4);
    this.table = new Int32Array(code.bytes.buffer, code.bytes.byteOffset + tables, 2 * JUMP_TABLE_BYTES / 4);
    this.at = new Addresses(host.area);
    this.a = new Assembler(code.bytes);
    this.a.at = begin;
    this.ways = writeWays(this.a, this.at);
    this.blocks = new BlockTranslator(this.a, this.at, this.ways, host.features);
    this.call = code.callable(this.ways.enter, CONTROL.node);
    this.exitRecord = host.area + S.exitRecord;
    this.putAddress(this.own, CONTROL.base / 4, Number(addressOf(host.memory.buffer)));
    this.own[CONTROL.last / 4] = host.bytes.length - 1;
    for (const view of [VIEW.kernel, VIEW.user]) this.putAddress(this.own, CONTROL.jumps / 4 + 2 * view, code.address + tables + view * JUMP_TABLE_BYTES);
  }

  /** Whether guest code may run natively at all just now. */
  private get may(): boolean {
    const { words } = this;
    return words[S.taskSwitched / 4] === 0 && words[S.watching / 4] === 0 && words[S.compat / 4] === 0 && (words[(S.fx + FX.mxcsr) / 4]! & (ALL_MASKED | RESERVED)) === ALL_MASKED;
  }
  /**
   * From the block that starts with this record, at S.rip, until something else has to go on there. Returns the record to go on with
   * in the interpreter where that is amid a block with native code, 0 where it leads on from S.rip, or -1 when somebody wants attention.
   */
  run(record: number): number {
    const code = this.codes[this.host.view.getUint32(record + R.native, true)];
    if (!code || code.view !== this.words[S.activeView / 4] || !this.may) return record + RECORD_BYTES;
    let target = code.saved;
    for (;;) {
      this.putAddress(this.own, CONTROL.target / 4, this.host.code.address + target);
      this.counts.entries++;
      this.call();
      target = this.after();
      if (target < 0) return target === ONWARD ? 0 : target === ATTENTION ? -1 : this.behindFirst();
    }
  }
  /** Of a block with native code at S.rip, which could not go on there: the second record. */
  private behindFirst(): number {
    const record = this.host.exports.lookUpRip() >>> 0;
    return record !== this.exitRecord && this.host.view.getUint16(record + R.handler, true) === SPECIAL.native ? record + RECORD_BYTES : 0;
  }
  /** Native code came back: where it goes on; or ONWARD, STUCK or ATTENTION. */
  private after(): number {
    const { own, words } = this, detail = own[CONTROL.detail / 4]!;
    switch (own[CONTROL.way / 4]!) {
      case WAY.link: { this.counts.links++; return this.follow(detail); }
      case WAY.jump: { this.counts.jumps++; return this.jumped(detail); }
      case WAY.miss: {
        this.counts.misses++;
        this.standAt(detail >>> 16);
        const bytes = detail >>> 2 & 0x3fff, drops = words[S.drops / 4];
        if ((words[S.missed / 4]! & PAGE_BYTES - 1) + bytes <= PAGE_BYTES && this.host.exports.reachPage(detail & 3 | bytes << 8) !== 0 && words[S.drops / 4] === drops)
          return this.resumeAt();
        this.counts.walksFailed++;
        return STUCK;
      }
      case WAY.clock: {
        if (words[S.tscExits / 4]) { this.standAt(detail & 0xfff); return STUCK; }
        const { view, area } = this.host;
        view.setBigUint64(area + S.missed, this.host.clock(), true);
        this.setRegister(0, words[S.missed / 4]!);
        this.setRegister(2, words[S.missed / 4 + 1]!);
        if (detail & 0x10000) this.setRegister(1, words[S.tscAux / 4]!);
        return this.resumeAt();
      }
      case WAY.attention: this.standAt(detail); return ATTENTION;
      default: this.counts.left++; break;
    }
    this.standAt(detail);
    return STUCK;
  }
  /** Addresses of a process have 47 bits. */
  private putAddress(words: Int32Array, at: number, address: number): void { words[at] = address; words[at + 1] = Math.floor(address / 2 ** 32); }
  private resumeAt(): number { return (this.own[CONTROL.resume / 4]! >>> 0) + this.own[CONTROL.resume / 4 + 1]! * 2 ** 32 - this.host.code.address; }
  private setRegister(n: number, low: number): void { const at = (S.regs + SLOT.gpr(n)) / 4; this.words[at] = low; this.words[at + 1] = 0; }
  /** S.rip, so many bytes into the page at hand. */
  private standAt(offset: number): void {
    const { words } = this, low = (words[PAGE_WORD]! >>> 0) + offset;
    words[S.rip / 4] = low;
    words[S.rip / 4 + 1] = words[PAGE_WORD + 1]! + Math.floor(low / 2 ** 32);
  }
  private follow(n: number): number {
    const link = this.open[n]!, { far } = link;
    this.standAt(link.target);
    const record = far ? this.host.exports.lookUpRip() >>> 0 : this.host.blocks.known(link.page + link.target, false);
    if (!record || record === this.exitRecord) return ONWARD;
    const code = this.codeOf(record, link.view, ++link.visits >= this.next);
    // Making it may have emptied all.
    if (!code) return ONWARD;
    if (this.open[n] !== link) return code.saved;
    this.open[n] = undefined;
    this.a.link(link.from, link.saved ? code.saved : code.live);
    if (far) {
      this.host.exports.fetch(0);
      this.a.put(far.page, code.phys - code.phys % PAGE_BYTES);
      this.a.divert(far.otherwise, far.otherwise + FAR_LINK_BYTES);
    }
    return code.saved;
  }
  private jumped(detail: number): number {
    const { words, host } = this, high = words[S.rip / 4 + 1]!;
    if (high >> 15 !== 0 && high >> 15 !== -1) {
      // The branch is what faults, and has not happened.
      const by = detail >>> 12 & 15, sp = host.area + S.regs + SLOT.gpr(4), moved = by === BRANCH.ret ? -8 - (detail >>> 16) : 0;
      host.view.setBigUint64(sp, host.view.getBigUint64(sp, true) + BigInt(moved), true);
      this.standAt(detail & 0xfff);
      return STUCK;
    }
    if (words[S.attention / 4] || words[S.selfAttention / 4]) return ATTENTION;
    const record = host.exports.lookUpRip() >>> 0;
    if (record === this.exitRecord) return ONWARD;
    const view = words[S.activeView / 4] as View, code = this.codeOf(record, view, this.host.view.getInt32(record + R.imm, true) <= this.threshold - this.next);
    if (!code) return ONWARD;
    const low = words[S.rip / 4]!, entry = (view * JUMP_TABLE_BYTES + ((low ^ low >>> JUMP_FOLD) & JUMP_TABLE_ENTRIES - 1) * 16) / 4, { table } = this;
    table[entry] = low ^ words[S.jumpTag / 4]!;
    table[entry + 1] = words[S.rip / 4 + 1]! ^ words[S.jumpTag / 4 + 1]!;
    this.putAddress(table, entry + 2, host.code.address + code.saved);
    return code.saved;
  }
  /** Of the block that starts with this record; made now, where it has none and is to have one. */
  private codeOf(record: number, view: View, make: boolean): Code | undefined {
    const memory = this.host.view, handler = memory.getUint16(record + R.handler, true);
    if (handler === SPECIAL.count && make && memory.getInt32(record + R.imm, true) <= this.threshold && !this.others.has(record)) return this.make(record, view);
    if (handler !== SPECIAL.native) return undefined;
    const code = this.codes[memory.getUint32(record + R.native, true)];
    return code?.view === view ? code : undefined;
  }
  /** The jump table's entries are marked like the interpreter's (S.jumpTag): where marks begin anew they go. */
  forgetJumps(view: View): void { this.table.fill(0, view * JUMP_TABLE_BYTES / 4, (view + 1) * JUMP_TABLE_BYTES / 4); }

  /** The block of 64-bit code that starts with this record has run often. Only between blocks. */
  hot(start: number): void { if (this.host.view.getUint16(start + R.handler, true) === SPECIAL.count) this.make(start, this.words[S.activeView / 4] as View); }
  private make(start: number, activeView: View): Code | undefined {
    const { view, bytes, blocks } = this.host, phys = view.getUint32(start + R.disp, true) + view.getUint16(start + R.offset, true), page = phys - phys % PAGE_BYTES;
    // A debugger's breakpoints are the interpreter's as long as there are any.
    view.setInt32(start + R.imm, blocks.breakpoints.size ? LATER : NEVER, true);
    const block = blocks.blockOf(phys, start);
    if (!block || blocks.breakpoints.size || (this.drops.get(phys) ?? 0) >= DROPS_MAX) { this.counts.refused++; return undefined; }
    if (!this.blocks.hasRoom) this.empty();
    const begin = performance.now(), number = this.codes.length;
    const { second } = block, from = second ? 0 : phys, to = second ? 1 : block.end;
    const made = this.blocks.translate(second ? crossing(bytes, phys, second) : bytes, from, to, phys - page, second, activeView, (target, saved) => {
      const record = blocks.known(page + target, false), code = record ? this.codeOf(record, activeView, false) : undefined;
      return code && (saved ? code.saved : code.live);
    }, link => this.open.push({ ...link, page, view: activeView, visits: 0 }) - 1);
    this.counts.ms += performance.now() - begin;
    if (!made) {
      this.counts.refused++;
      if (OTHERS.has(this.blocks.refused)) this.leaveToOthers(start);
      return undefined;
    }
    const code: Code = { start, phys, view: activeView, live: made.live, saved: made.saved };
    this.codes.push(code);
    // What still leads to the code that was here before leads here.
    for (const old of this.diverted.get(phys) ?? []) if (old.view === activeView) { this.a.divert(old.live, code.live); this.a.divert(old.saved, code.saved); }
    view.setUint16(start + R.handler, SPECIAL.native, true);
    view.setUint32(start + R.native, number, true);
    this.counts.blocks++;
    this.counts.instructions += made.instructions;
    return code;
  }

  leaveToOthers(start: number): void {
    this.others.add(start);
    this.host.view.setInt32(start + R.imm, this.host.othersAfter, true);
  }
  guestWrites(on: boolean): void { this.guest = on; }
  dropped(start: number): void {
    this.others.delete(start);
    const { view } = this.host, number = view.getUint32(start + R.native, true), code = this.codes[number];
    if (!code || code.start !== start) return;
    this.codes[number] = undefined;
    view.setUint32(start + R.native, 0, true);
    this.counts.dropped++;
    if (this.guest) this.drops.set(code.phys, (this.drops.get(code.phys) ?? 0) + 1);
    this.divert(code);
  }
  /** Whoever comes to a block's code goes on in the interpreter. */
  private divert(code: Code): void {
    const { a } = this, offset = code.phys % PAGE_BYTES;
    if (!this.blocks.hasSomeRoom) { this.empty(); return; }
    const leave = (way: number): number => this.blocks.apart(() => { const at = a.at; a.movWord(T1, offset); a.jmp(way); return at; });
    const live = leave(this.ways.interpretLive), saved = leave(this.ways.interpretSaved);
    a.divert(code.live, live);
    a.divert(code.saved, saved);
    const { phys } = code, others = this.diverted.get(phys);
    if (others) others.push(code); else this.diverted.set(phys, [code]);
  }
  /** All blocks were forgotten. */
  emptied(): void { this.others.clear(); this.codes = [undefined]; this.open = [undefined]; this.reset(); }
  /** Forgets all native code; blocks count anew. */
  private empty(): void {
    const { view } = this.host;
    for (const code of this.codes) if (code && !isDropped(view.getUint16(code.start + R.handler, true))) {
      view.setUint16(code.start + R.handler, SPECIAL.count, true);
      view.setUint32(code.start + R.native, 0, true);
      view.setInt32(code.start + R.imm, this.threshold, true);
    }
    this.counts.emptied++;
    this.codes = [undefined]; this.open = [undefined];
    this.reset();
  }
  private reset(): void { this.diverted.clear(); this.blocks.forget(); this.forgetJumps(0); this.forgetJumps(1); }

  counters(): Record<string, number> {
    const { counts: c } = this;
    return {
      native_blocks: c.blocks, native_instructions: c.instructions, native_dropped: c.dropped, native_refused: c.refused, native_emptied: c.emptied, native_entries: c.entries, native_links: c.links, native_jumps: c.jumps,
      native_misses: c.misses, native_walks_failed: c.walksFailed, native_left: c.left, native_bytes: this.blocks.bytes, native_us: Math.round(c.ms * 1000), ...Object.fromEntries([...this.blocks.left].map(([m, n]) => [`native_left: ${m}`, n])),
    };
  }
}
/** The bytes of an instruction across a page's border, and some behind. */
function crossing(bytes: Uint8Array, phys: number, second: number): Uint8Array {
  const first = bytes.subarray(phys, phys - phys % PAGE_BYTES + PAGE_BYTES), code = new Uint8Array(first.length + INSTRUCTION_MAX);
  code.set(first);
  code.set(bytes.subarray(second, second + INSTRUCTION_MAX), first.length);
  return code;
}
const PAGE_WORD = (S.regs + SLOT.pageBase) / 4;
