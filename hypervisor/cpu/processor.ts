// One virtual processor: drives the generated interpreter, decodes code it has not seen, and answers the helpers.
// State lives in the domain's memory (state.ts); this object is only a way to reach it, one per vCPU thread.
import { ACCESS, EXIT, VIEW, type Access, type PrivilegedInstruction, type Processor, type ProcessorHost, type View, type Watch } from './processor-api.ts';
import { BlockCache, type CodeSource } from './blocks.ts';
import { type KEPT_MAX, KeptCode, type Legacy } from './kept-code.ts';
import { BusLock } from './bus-lock.ts';
import { privilegedInstructions, SPECIAL } from './decode.ts';
import { composeFlags, splitFlags } from './flags.ts';
import { CODE, PAGE_BYTES, type MemoryLayout } from './layout.ts';
import { jumpHash } from './mmu.ts';
import type { CodeBudget } from './jit/budget.ts';
import type { JitMode } from './jit/mode.ts';
import { type Helper, thresholdsOf, Translator } from './jit/translator.ts';
import { mapCode, openCode, unmapCode } from './native/executable-memory.ts';
import { hostFeatures } from './native/features.ts';
import { NATIVE_THRESHOLDS, NativeTier } from './native/tier.ts';
import { type Tier, Tiers } from './tiers.ts';
import { R, writeRecord } from './record.ts';
import { SegmentUnit } from './segments.ts';
import { SiblingCode } from './sibling-code.ts';
import { runHelper } from './helper-table.ts';
import { vectorTables } from './vector-tables.ts';
import { Watches } from './watches.ts';
import { x87StateOf } from './x87-helper.ts';
import { fxrstor, fxsave } from './x87/index.ts';
import { areaOf, FLAG, FLAGS_OTHER, FX, INTERNAL, JUMP_BYTES, JUMP_PAGES, S, SLOT, emptyTag, TLB_BYTES, TLB_EMPTY, TLB_ENTRIES, VIEW_BYTES } from './state.ts';

export interface ProcessorOptions {
  readonly memory: WebAssembly.Memory;
  readonly layout: MemoryLayout;
  readonly vcpu: number;
  /** Slot of this memory: page-table entries with another one are foreign. */
  readonly slot: number;
  /** From compileInterpreter(vcpu). */
  readonly module: WebAssembly.Module;
  readonly host: ProcessorHost;
  /** Whether hot code is translated (jit/translator.ts); off when not said. */
  readonly jit?: JitMode;
  /** The thread that translates (boot/translator-thread.ts); without one this thread does. */
  readonly translations?: Helper;
  /** Where native code may go (native/executable-memory.ts), `native` modes; when not said, memory of its own until release(). */
  readonly code?: number;
  /** Its length; CODE_BYTES when not said. */
  readonly codeBytes?: number;
  /** What translations may hold; a budget of its own when not said. */
  readonly codeBudget?: CodeBudget;
  /** Whether code is kept beyond its end, beginning with what an earlier domain of the same layout left. For a domain's only vCPU. */
  readonly keep?: { readonly legacy: Legacy | undefined; readonly max?: typeof KEPT_MAX };
}

interface Exports {
  run(record: number): void;
  walk(va: bigint, kindAndBytes: number, record: number): number;
  /** For execution: S.rip (0), or its next page (1). */
  fetch(next: number): number;
  translate(va: bigint, kindAndBytes: number, record: number): number;
  commit(): void;
  /** (address, byte, count): shared memory filled from TypeScript goes byte by byte. */
  fill(at: number, byte: number, count: number): void;
  /** root-switch.ts */
  switchRoot(view: View, old: number, root: number): number;
  /** mmu.ts */
  keepFromWriting(frame: number): void;
  reachPage(what: number): number;
  lookUpRip(): number;
}

/** Index of the page at hand's address among the words. */
const PAGE_WORD = (S.regs + SLOT.pageBase) / 4;

export const createProcessor = (o: ProcessorOptions): SoftwareProcessor => new SoftwareProcessor(o);

export class SoftwareProcessor implements Processor {
  readonly memory: WebAssembly.Memory;
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly view: DataView<SharedArrayBuffer>;
  readonly area: number;
  readonly gpr: BigUint64Array;
  readonly selectors: Uint16Array;
  readonly debug: BigUint64Array;
  readonly host: ProcessorHost;
  readonly wasm: Exports;
  readonly segments: SegmentUnit;
  readonly blocks: BlockCache;
  private readonly translator: Translator | undefined;
  private readonly native: NativeTier | undefined;
  private readonly tier: Tier | undefined;
  private ownCode: number | undefined;
  private readonly siblings: SiblingCode | undefined;
  private readonly bus: BusLock | undefined;
  private readonly words: Int32Array;
  private readonly longs: BigUint64Array;
  private readonly slots: BigUint64Array;
  private readonly jumpMarks: Uint16Array;
  private readonly start: number;
  private readonly source: CodeSource = { nextPage: () => this.wasm.fetch(1) >>> 0 };
  private breakpointVas = new Map<bigint, number>();
  private readonly watches: Watches;
  private stepOver = false;
  /** DR6 bits of a trap behind the last instruction that is still to be raised: a debugger had its turn first. */
  private trapDue = 0n;
  private exitCounts = new Map<number, number>();

  constructor(o: ProcessorOptions) {
    const buffer = o.memory.buffer as unknown as SharedArrayBuffer, area = areaOf(o.vcpu);
    this.memory = o.memory;
    this.host = o.host;
    this.area = area;
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.words = new Int32Array(buffer, area, S.scratch / 4);
    this.longs = new BigUint64Array(buffer, area, S.scratch / 8);
    this.slots = new BigUint64Array(buffer, area + S.regs, 32);
    this.jumpMarks = new Uint16Array(buffer, area + S.jumpMarks, 2);
    this.gpr = new BigUint64Array(buffer, area + S.regs, 16);
    this.selectors = new Uint16Array(buffer, area + S.selectors, 6);
    this.debug = new BigUint64Array(buffer, area + S.debug, 8);
    this.watches = new Watches(this.debug);
    this.start = area + S.exitRecord + 0x20;
    this.word(S.slot, o.slot);
    this.word(S.codeMap, o.layout.codeMap);
    const { unchanging } = o.host;
    this.word(S.unchanging, unchanging ? unchanging.cs | unchanging.ss << 16 : 0);
    this.blocks = new BlockCache(this.bytes, this.view, area, o.layout.codeMap, frame => this.wasm.keepFromWriting(frame * PAGE_BYTES));
    // They name records, which will be others from then on.
    this.blocks.onEmpty = () => { this.flushWritable(); this.flushJumps(VIEW.kernel); this.flushJumps(VIEW.user); };
    this.word(S.siblings, o.layout.vcpus > 1 ? 1 : 0);
    if (o.layout.vcpus > 1) {
      this.bus = new BusLock(buffer, o.vcpu, o.layout.vcpus);
      this.siblings = new SiblingCode(this.view, o.vcpu, o.layout.vcpus, {
        dropFrames: (frame, stride) => { for (let f = frame; f < o.layout.end; f += stride) this.blocks.drop(f); },
      });
      this.blocks.siblings = this.siblings;
    }
    this.bytes.set(vectorTables, area + S.vectorTables);
    this.segments = new SegmentUnit(this);
    writeRecord(new Int32Array(buffer), area + S.exitRecord, { handler: SPECIAL.exit, a: 0, b: 0, base: 0, index: 0, scale: 0, segment: 0, disp: 0, imm: 0, offset: 0, length: 0, c: 0, link: 0, target: 0 });
    if (this.words[(S.fx + FX.mxcsr) / 4] === 0) {
      this.view.setUint16(area + S.fx + FX.fcw, 0x37f, true);
      this.view.setUint32(area + S.fx + FX.mxcsr, 0x1f80, true);
      this.view.setUint32(area + S.fx + FX.mxcsrMask, 0xffff, true);
    }
    const instance = new WebAssembly.Instance(o.module, {
      e: {
        mem: o.memory,
        foreign: (low: number, high: number, access: number) => this.host.foreign(BigInt(high >>> 0) << 32n | BigInt(low >>> 0), access as Access),
        codeWrite: (phys: number, bytes: number) => { this.blocks.translations?.guestWrites(true); this.blocks.written(phys >>> 0, bytes); this.blocks.translations?.guestWrites(false); },
        watched: (signed: bigint, what: number) => {
          const va = BigInt.asUintN(64, signed);
          return Number(what >>> 8 ? this.watches.touches(va, (what & 255) as Access, what >>> 8 & 0xffff) : this.watches.keepsOut(va, what as Access));
        },
        now: () => BigInt.asIntN(64, this.host.clock!()),
        helper: (id: number, rec: number, p: number) => runHelper(this, id, rec >>> 0, p >>> 0),
      },
    });
    this.tscExits = false;
    this.wasm = instance.exports as unknown as Exports;
    if (o.jit === 'native' || o.jit === 'native-force') {
      const address = o.code ?? (this.ownCode = mapCode()), code = address === undefined ? undefined : openCode(address, o.codeBytes), features = code && hostFeatures(code);
      if (code && features) this.native = new NativeTier({ memory: o.memory, view: this.view, bytes: this.bytes, area, blocks: this.blocks, exports: this.wasm, code, features, clock: () => this.host.clock!(), othersAfter: thresholdsOf(o.jit === 'native' ? 'on' : 'force').small }, o.jit === 'native' ? NATIVE_THRESHOLDS : { first: 1, next: 1 });
    }
    if (o.jit && o.jit !== 'off') {
      this.translator = new Translator({ memory: o.memory, view: this.view, area, slot: o.slot, blocks: this.blocks, exports: instance.exports, ...o.translations && { helper: o.translations }, ...o.codeBudget && { budget: o.codeBudget } }, o.jit === 'force' || o.jit === 'native-force' ? 'force' : 'on');
      this.blocks.translations = this.tier = this.native ? new Tiers(this.native, this.translator) : this.translator;
      if (o.keep) {
        const { legacy } = o.keep, taken = legacy && KeptCode.accepts(legacy) ? legacy : undefined;
        this.blocks.takeOver(new KeptCode(this.bytes, this.view, area + S.records, taken, o.keep.max));
        if (taken) this.translator.takeOver(taken);
      }
    }
    this.activeView = VIEW.kernel;
    this.flushTlb();
    this.rflags = 0x202n;
  }

  /** Gives back what is not the domain's. After the last use. */
  release(): void { if (this.ownCode !== undefined) unmapCode(this.ownCode); this.ownCode = undefined; }

  private word(offset: number, value: number): void { this.words[offset / 4] = value; }

  // ---- state
  get rip(): bigint { return this.longs[S.rip / 8]!; }
  set rip(v: bigint) { this.longs[S.rip / 8] = BigInt.asUintN(64, v); }
  get rflags(): bigint {
    return BigInt(composeFlags(this.view.getBigInt64(this.area + S.flagResult, true), this.view.getBigUint64(this.area + S.flagAux, true)) | this.words[S.flagsOther / 4]! | FLAG.ONE);
  }
  set rflags(v: bigint) {
    const low = Number(v & 0xffffffffn) | 0, { result, aux } = splitFlags(low);
    this.view.setBigUint64(this.area + S.flagResult, result, true);
    this.view.setBigUint64(this.area + S.flagAux, aux, true);
    this.word(S.flagsOther, low & FLAGS_OTHER);
  }
  get fsBase(): bigint { return this.slots[SLOT.fsBase / 8]!; }
  set fsBase(v: bigint) { this.slots[SLOT.fsBase / 8] = BigInt.asUintN(64, v); }
  get gsBase(): bigint { return this.slots[SLOT.gsBase / 8]!; }
  set gsBase(v: bigint) { this.slots[SLOT.gsBase / 8] = BigInt.asUintN(64, v); }
  get longMode(): boolean { return this.words[S.compat / 4] === 0; }
  set longMode(long: boolean) {
    if (long === this.longMode) return;
    this.word(S.compat, long ? 0 : 1);
    this.segments.placeBases();
    // Jump caches are keyed by rip alone.
    this.flushJumps(VIEW.kernel);
    this.flushJumps(VIEW.user);
  }
  get activeView(): View { return this.words[S.activeView / 4] as View; }
  set activeView(v: View) {
    this.word(S.activeView, v);
    this.word(S.tlb, this.area + S.tlbs + v * VIEW_BYTES);
    this.word(S.jumps, this.area + S.jumpCaches + v * JUMP_BYTES);
    this.word(S.jumpTag + 4, this.jumpMarks[v]! << 16);
  }
  get taskSwitched(): boolean { return this.words[S.taskSwitched / 4] !== 0; }
  set taskSwitched(on: boolean) { this.word(S.taskSwitched, on ? 1 : 0); }
  get tscExits(): boolean { return this.words[S.tscExits / 4] !== 0; }
  set tscExits(on: boolean) { this.word(S.tscExits, on || !this.host.clock ? 1 : 0); }
  get tscAux(): number { return this.words[S.tscAux / 4]! >>> 0; }
  set tscAux(v: number) { this.word(S.tscAux, v); }
  get vector(): number { return this.words[S.vector / 4]!; }
  get errorCode(): number { return this.words[S.errorCode / 4]!; }
  get cr2(): bigint { return this.longs[S.cr2 / 8]!; }
  get privileged(): PrivilegedInstruction { return privilegedInstructions[this.view.getInt32(this.words[S.current / 4]! + R.imm, true)]!; }
  get slot(): number { return this.words[S.slot / 4]!; }

  /** For helpers: records an exception at a record's instruction. */
  raise(rec: number, vector: number, errorCode = -1): number {
    this.word(S.exit, EXIT.exception);
    this.word(S.vector, vector);
    this.word(S.errorCode, errorCode);
    this.word(S.current, rec);
    return 1;
  }
  /** For helpers that transfer control. */
  goTo(rip: bigint): void {
    this.rip = rip;
    this.word(S.current, 0);
    this.word(S.exit, INTERNAL.none);
  }
  /** For locked instructions (bus-lock.ts). An operand across pages is gathered anew, now that nobody changes it. */
  lockBus(p: number): void {
    this.bus?.take();
    const { area, bytes, view } = this;
    if (p !== area + S.scratch) return;
    const first = view.getUint32(area + S.crossFirst, true), second = view.getUint32(area + S.crossSecond, true), room = view.getUint32(area + S.crossFirstBytes, true), rest = view.getUint32(area + S.crossBytes, true) - room;
    bytes.copyWithin(p, first, first + room);
    bytes.copyWithin(p + room, second, second + rest);
  }
  /** The operand is in its place: what completes a page-crossing store behind the instruction has nothing left to do. */
  unlockBus(p: number): void {
    if (p === this.area + S.scratch) { this.word(S.crossFirstBytes, 0); this.word(S.crossBytes, 0); }
    this.bus?.release();
  }
  slotValue(offset: number): bigint { return this.slots[offset / 8]!; }
  setSlotValue(offset: number, v: bigint): void { this.slots[offset / 8] = BigInt.asUintN(64, v); }

  // ---- running
  run(): number {
    this.siblings?.readMail();
    if (this.words[S.translated / 4]) this.takeTranslations();
    const exit = this.runBlocks();
    // Before what this exit asks for reaches another vCPU.
    this.siblings?.readMail();
    return exit;
  }
  private takeTranslations(): void {
    Atomics.store(this.words, S.translated / 4, 0);
    this.translator?.collect();
  }
  private runBlocks(): number {
    this.word(S.patch, 0);
    // Behind the first record of a block that is not to be run natively.
    let past = 0;
    for (;;) {
      if (this.mustStep()) {
        past = 0;
        const exit = this.stepTrapped();
        if (exit) return this.count(exit);
        if (this.words[S.attention / 4]) return this.count(EXIT.attention);
        continue;
      }
      this.word(S.noticed, 0);
      if (past) { this.word(S.exit, INTERNAL.none); this.runGuest(past); past = 0; } else this.enterAt(this.start);
      let exit = this.settle();
      if (exit === INTERNAL.native) {
        past = this.runNative(this.words[S.hot / 4]! >>> 0);
        if (past >= 0) continue;
        past = 0;
        this.word(S.noticed, 1);
        exit = EXIT.attention;
      }
      if (exit === INTERNAL.none) { this.word(S.patch, 0); continue; }
      if (exit === INTERNAL.decode || exit === INTERNAL.recheck) {
        if (!this.findBlock(exit === INTERNAL.recheck)) return this.count(EXIT.exception);
        continue;
      }
      if (exit === INTERNAL.watched) { this.stepOver = true; continue; }
      if (exit === INTERNAL.hot) { this.tier?.hot(this.words[S.hot / 4]! >>> 0, !this.longMode); continue; }
      if (exit === EXIT.attention && this.words[S.selfAttention / 4]) {
        Atomics.store(this.words, S.selfAttention / 4, 0);
        if (this.siblings?.readMail()) this.word(S.patch, 0);
        if (Atomics.load(this.words, S.translated / 4)) this.takeTranslations();
        if (!Atomics.load(this.words, S.attention / 4)) continue;
      }
      if (exit === EXIT.breakpoint) this.stepOver = true;
      return this.count(exit);
    }
  }

  step(): number {
    this.siblings?.readMail();
    this.word(S.patch, 0);
    this.stepOver = false;
    const exit = this.stepTrapped();
    this.siblings?.readMail();
    return exit ? this.count(exit) : 0;
  }

  private count(exit: number): number { this.exitCounts.set(exit, (this.exitCounts.get(exit) ?? 0) + 1); return exit; }
  private mustStep(): boolean { return this.stepOver || (this.words[S.flagsOther / 4]! & FLAG.TF) !== 0 || this.trapDue !== 0n || (this.words[S.watching / 4] !== 0 && this.watches.stepsAt(this.rip)); }

  /** Runs from a record placed at rip. */
  private enterAt(record: number): void {
    const { words } = this, low = words[S.rip / 4]!;
    words[PAGE_WORD] = low & ~0xfff;
    words[PAGE_WORD + 1] = words[S.rip / 4 + 1]!;
    this.view.setUint16(record + R.handler, SPECIAL.fallthrough, true);
    this.view.setUint16(record + R.offset, low & 0xfff, true);
    this.word(S.exit, INTERNAL.none);
    this.runGuest(record);
  }
  private runGuest(record: number): void {
    if (!this.bus) { this.wasm.run(record); return; }
    this.bus.enter();
    try { this.wasm.run(record); } finally { this.bus.leave(); }
  }

  private runNative(record: number): number {
    this.word(S.patch, 0);
    if (!this.bus) return this.native!.run(record);
    this.bus.enter();
    try { return this.native!.run(record); } finally { this.bus.leave(); }
  }

  /** After guest code came back: makes rip right for the exit, and says which exit it is. */
  private settle(): number {
    const exit = this.words[S.exit / 4]!, current = this.words[S.current / 4]! >>> 0;
    if (current) {
      const { words } = this, after = exit === EXIT.syscall || exit === EXIT.sysenter || exit === EXIT.softwareInterrupt ? this.view.getUint8(current + R.length) : 0;
      const low = (words[PAGE_WORD]! >>> 0) + this.view.getUint16(current + R.offset, true) + after;
      words[S.rip / 4] = low;
      words[S.rip / 4 + 1] = this.longMode ? words[PAGE_WORD + 1]! + (low > 0xffffffff ? 1 : 0) : 0;
    }
    if (exit === INTERNAL.undefined) return this.reportUndefined(current);
    return exit;
  }
  private reportUndefined(current: number): number {
    const bytes = new Uint8Array(15);
    let n = 0;
    while (n < 15 && this.readVirtual(this.rip + BigInt(n), bytes.subarray(n, n + 1))) n++;
    this.host.unimplemented(this.rip, Array.from(bytes.subarray(0, n), b => b.toString(16).padStart(2, '0')).join(' '));
    this.raise(current, 6);
    return EXIT.exception;
  }

  private findBlock(anew: boolean): boolean {
    const { words } = this, p = this.wasm.fetch(0) >>> 0;
    if (!p) return false;
    const record = anew ? this.blocks.make(p, !this.longMode, this.source) : this.blocks.find(p, !this.longMode, this.source);
    if (!record) return false;
    if (words[S.stale / 4]) { this.blocks.lead(words[S.stale / 4]! >>> 0, p, record); this.word(S.stale, 0); }
    // The jump cache may still name a dropped block for this address.
    const low = words[S.rip / 4]!, high = words[S.rip / 4 + 1]!, entry = words[S.jumps / 4]! + jumpHash(low), view = this.activeView;
    this.view.setInt32(entry, low ^ words[S.jumpTag / 4]!, true);
    this.view.setInt32(entry + 4, high ^ words[S.jumpTag / 4 + 1]!, true);
    if (high >= 0) this.bytes[this.area + S.jumpLower + view] = 1;
    this.view.setUint32(entry + 8, record, true);
    this.view.setUint32(entry + 12, SPECIAL.dispatch, true);
    this.bytes[this.area + S.jumpPages + view * JUMP_PAGES + (low >>> 12 & JUMP_PAGES - 1)] = 1;
    return true;
  }

  private stepOne(): number {
    const rip = this.rip;
    this.slots[SLOT.pageBase / 8] = rip & ~0xfffn;
    this.word(S.exit, INTERNAL.none);
    const p = this.wasm.walk(BigInt.asIntN(64, rip), ACCESS.execute, 0) >>> 0;
    if (!p) { this.rip = rip; return EXIT.exception; }
    const record = this.blocks.makeStep(p, !this.longMode, { nextPage: () => this.wasm.walk(BigInt.asIntN(64, (rip & ~0xfffn) + 4096n), ACCESS.execute, 0) >>> 0 });
    if (!record) return EXIT.exception;
    this.word(S.selfAttention, 1);
    this.word(S.exit, INTERNAL.none);
    this.runGuest(record);
    this.word(S.selfAttention, 0);
    const exit = this.settle();
    return exit === INTERNAL.stepped || exit === EXIT.attention || exit === INTERNAL.none || exit === INTERNAL.decode ? 0 : exit;
  }

  /** One instruction under TF or hardware breakpoints; then what a debugger watches for, or the debug exception, if one is due. */
  private stepTrapped(): number {
    const over = this.stepOver, trap = (this.words[S.flagsOther / 4]! & FLAG.TF) !== 0;
    this.stepOver = false;
    if (this.trapDue) { const cause = this.trapDue; this.trapDue = 0n; return this.debugException(cause); }
    if (!over && !(this.words[S.flagsOther / 4]! & FLAG.RF)) {
      const hit = this.watches.executing(this.rip);
      if (hit) return this.debugException(BigInt(hit));
    }
    const { watches } = this;
    watches.hits = 0;
    watches.hit = undefined;
    watches.noting = true;
    const exit = this.stepOne();
    watches.noting = false;
    this.words[S.flagsOther / 4]! &= ~FLAG.RF;
    if (exit) { watches.hit = undefined; return exit; }
    const cause = BigInt(watches.hits) | (trap ? 0x4000n : 0n);
    if (watches.hit) { this.trapDue = cause; return EXIT.watchpoint; }
    return cause ? this.debugException(cause) : 0;
  }
  /** The causes stay in DR6 until the guest clears them. */
  private debugException(cause: bigint): number {
    this.debug[6] = this.debug[6]! | cause | 0xffff0ff0n;
    this.raise(0, 1);
    return EXIT.exception;
  }

  // ---- translation
  setRoot(view: View, maddr: bigint): void {
    const old = this.words[(S.roots + 4 * view) / 4]!, root = Number(maddr & 0xfffff000n) | 0;
    this.word(S.roots + 4 * view, root);
    // The user view has nothing in the upper half worth a look.
    if (view === VIEW.user || old === 0 || this.wasm.switchRoot(view, old, root) === 0) this.flushView(view);
    else if (this.bytes[this.area + S.jumpLower + view]) this.flushJumps(view);
  }
  flushTlb(): void { this.flushView(VIEW.kernel); this.flushView(VIEW.user); }
  private flushView(view: View): void {
    for (let kind = 0; kind < 3; kind++) this.emptyTlb(view, kind);
    this.flushJumps(view);
  }
  private emptyTlb(view: View, kind: number): void {
    const at = this.area + S.tlbs + view * VIEW_BYTES + kind * TLB_BYTES;
    this.wasm.fill(at, TLB_EMPTY.byte, TLB_BYTES);
    for (const n of TLB_EMPTY.own) this.view.setBigInt64(at + 16 * n, TLB_EMPTY.other, true);
  }
  private flushJumps(view: View): void {
    this.jumpMarks[view]!++;
    if (this.jumpMarks[view] === 0) {
      this.wasm.fill(this.area + S.jumpCaches + view * JUMP_BYTES, 0, JUMP_BYTES);
      this.jumpMarks[view] = 1;
      this.native?.forgetJumps(view);
    }
    if (this.activeView === view) this.word(S.jumpTag + 4, this.jumpMarks[view]! << 16);
    this.bytes[this.area + S.jumpLower + view] = 0;
    this.wasm.fill(this.area + S.jumpPages + view * JUMP_PAGES, 0, JUMP_PAGES);
  }
  flushWritable(): void {
    for (const view of [VIEW.kernel, VIEW.user]) this.emptyTlb(view, ACCESS.write);
  }
  flushPage(va: bigint): void {
    const page = Number(va >> 12n & BigInt(JUMP_PAGES - 1)), index = (page & TLB_ENTRIES - 1) * 16;
    for (let view: View = VIEW.kernel; ; view = VIEW.user) {
      const at = this.area + S.tlbs + view * VIEW_BYTES + index;
      for (let kind = 0; kind < 3; kind++) this.view.setBigInt64(at + kind * TLB_BYTES, emptyTag(index >> 4), true);
      // Most pages that are flushed hold data.
      if (this.bytes[this.area + S.jumpPages + view * JUMP_PAGES + page]) this.flushJumps(view);
      if (view === VIEW.user) return;
    }
  }
  invalidateCode(frame: number): void {
    if (this.bytes[this.view.getInt32(this.area + S.codeMap, true) + frame]! & (CODE.translated | CODE.dirtied)) this.blocks.invalidate(frame);
  }

  translate(va: bigint, access: Access, view?: View): number {
    const before = this.activeView;
    if (view !== undefined && view !== before) this.activeView = view;
    const p = this.wasm.walk(BigInt.asIntN(64, va), access, 0) >>> 0;
    if (view !== undefined && view !== before) this.activeView = before;
    return p || -1;
  }
  readVirtual(va: bigint, out: Uint8Array): boolean {
    for (let done = 0; done < out.length;) {
      const at = va + BigInt(done), n = Math.min(out.length - done, PAGE_BYTES - Number(at & 0xfffn)), p = this.translate(at, ACCESS.read);
      if (p < 0) return false;
      out.set(this.bytes.subarray(p, p + n), done);
      done += n;
    }
    return true;
  }
  writeVirtual(va: bigint, data: Uint8Array): boolean {
    const parts: [number, number][] = [];
    for (let done = 0; done < data.length;) {
      const at = va + BigInt(done), n = Math.min(data.length - done, PAGE_BYTES - Number(at & 0xfffn)), p = this.wasm.walk(BigInt.asIntN(64, at), ACCESS.write | n << 8, 0) >>> 0;
      if (!p) return false;
      parts.push([p, n]);
      done += n;
    }
    let done = 0;
    for (const [p, n] of parts) { this.bytes.set(data.subarray(done, done + n), p); done += n; }
    return true;
  }
  read64(va: bigint): bigint | undefined {
    if ((va & 0xfffn) > 0xff8n) { const b = new Uint8Array(8); return this.readVirtual(va, b) ? new DataView(b.buffer).getBigUint64(0, true) : undefined; }
    const p = this.translate(va, ACCESS.read);
    return p < 0 ? undefined : this.view.getBigUint64(p, true);
  }
  write64(va: bigint, value: bigint): boolean {
    if ((va & 0xfffn) > 0xff8n) { const b = new Uint8Array(8); new DataView(b.buffer).setBigUint64(0, BigInt.asUintN(64, value), true); return this.writeVirtual(va, b); }
    const p = this.wasm.walk(BigInt.asIntN(64, va), ACCESS.write | 8 << 8, 0) >>> 0;
    if (!p) return false;
    this.view.setBigUint64(p, BigInt.asUintN(64, value), true);
    return true;
  }

  loadSegment(segment: number, selector: number): number { return this.segments.load(segment, selector); }
  fxsave(out: Uint8Array): void { fxsave(x87StateOf(this), out); }
  fxrstor(image: Uint8Array): void { fxrstor(x87StateOf(this), image); }

  setBreakpoint(va: bigint): void {
    const p = this.translate(va, ACCESS.execute);
    if (p < 0) return;
    this.breakpointVas.set(va, p);
    this.blocks.breakpoints.add(p);
    this.blocks.invalidate(p >>> 12);
  }
  clearBreakpoint(va: bigint): void {
    const p = this.breakpointVas.get(va);
    if (p === undefined) return;
    this.breakpointVas.delete(va);
    this.blocks.breakpoints.delete(p);
    this.blocks.invalidate(p >>> 12);
  }
  setDebugRegister(number: number, value: bigint): void {
    this.debug[number] = value;
    if (number < 4 || number === 7) this.arm();
  }
  setWatch(watch: Watch): void { this.watches.add(watch); this.arm(); }
  clearWatch(watch: Watch): void { this.watches.remove(watch); this.arm(); }
  get watchHit(): Watch | undefined { return this.watches.hit; }
  private arm(): void {
    for (const va of this.watches.arm()) this.flushPage(va);
    this.word(S.watching, this.watches.any ? 1 : 0);
  }
  get leftTranslation(): boolean { return this.words[S.noticed / 4] !== 0; }
  /** What this processor's code can be begun with elsewhere. After the last run. */
  legacy(): Legacy | undefined { return this.translator?.legacy(); }
  counters(): Record<string, number> {
    const names = Object.fromEntries(Object.entries(EXIT).map(([k, v]) => [v, k]));
    return {
      ...Object.fromEntries([...this.exitCounts].map(([e, n]) => [`exit_${names[e] ?? e}`, n])),
      tlb_walks: this.words[S.walks / 4]! >>> 0, lookups: this.words[S.lookups / 4]! >>> 0,
      blocks_decoded: this.blocks.decoded, blocks_revived: this.blocks.revived, blocks_dropped: this.blocks.dropped, code_writes: this.blocks.writes, code_writes_beside: this.blocks.beside, code_pages_given_up: this.blocks.givenUp, cache_emptied: this.blocks.emptied, instructions_decoded: this.blocks.instructions,
      ...this.siblings && { sibling_code_posted: this.siblings.posted, sibling_code_read: this.siblings.read, bus_locks: this.bus!.taken },
      ...this.tier?.counters(),
    };
  }
}
