// Makes one case: an encoding of a recipe's row, and registers and memory steered so that it mostly succeeds.
import { decode, forms, newDecoded, SPECIAL, SPECIAL_COUNT, type Decoded } from '../../../hypervisor/cpu/decode.ts';
import type { Form } from '../../../hypervisor/cpu/insn.ts';
import { CASE, CASE_WORDS, CODE, CS32, CS64, FS_BASE, GS_BASE, REGIONS, REGION_BYTES, WINDOW, WORD } from './layout.ts';
import { hardPool, Random, registerPool, x87Pool } from './random.ts';
import type { Recipe } from './rows.ts';
import { POOL, type Stage } from './stage.ts';

export interface Meta {
  recipe: Recipe;
  /** Length of the instruction; place of its bytes in the code image. */
  length: number; at: number;
  /** Ends by the trap flag (else by the INT3 behind it). */
  step: boolean;
  compat: boolean;
  /** Undefined when it decodes to #UD. */
  form: Form | undefined; formIndex: number;
  decoded: Decoded;
  /** Flags that its last instruction leaves undefined; -1: work it out from the recipe (masks.ts). */
  undefinedFlags: number;
  /** The same where it ended by a fault: of a sequence, anywhere. */
  faultFlags: number;
  /** Memory operand's displacement is unsteered. */
  wild: boolean;
}
export const newMeta = (recipe: Recipe): Meta => ({ recipe, length: 0, at: 0, step: true, compat: false, form: undefined, formIndex: -1, decoded: newDecoded(), undefinedFlags: -1, faultFlags: 0, wild: false });

/** Where a sequence's memory operands go: it forms their addresses from registers whose values it keeps (sequence.ts). */
export interface Operands {
  place(recipe: Recipe): Place;
  /** Value of a register that is kept; undefined for others. */
  value(register: number): number | undefined;
}

const FLAG_BITS = 0x8d5;
export const CLEAR = 0x8000;
/** x87 control words. */
const CONTROLS = [0x37f, 0x27f, 0x7f, 0x37f];
/** Fresh states are cut from pools, which are filled anew after so many batches. */
const POOL_BATCHES = 64;
/** Share of locked operands that may cross a cache line, where they are run once. Hosts that hold such locks back (Linux: split_lock_detect) take up to a second for one. */
const SPLIT_LOCKS = 0.02;
const withinLine = (at: number, bits: boolean): number => bits ? at & ~7 : (at & 63) > 56 ? at - 8 : at;

/** An operand's place, and its window's. */
export interface Place { window: number; focus: number }
/** What an encoding asks of the states it runs with. */
interface Steering {
  readonly recipe: Recipe; readonly p0: Place; readonly p1: Place; readonly segmentBase: number; readonly addr: boolean;
  /** Registers set for its operands: number, low and high word, one after the other. */
  readonly registers: number[];
}

export class CaseMaker {
  readonly r: Random;
  private readonly stage: Stage;
  /** A case that is of no use otherwise. */
  readonly spare: Uint32Array;
  private batches = 0;
  private stays = false;
  private words: Uint32Array;
  private bytes: Uint8Array;
  private base = 0;
  private compat = false;
  private readonly scratch = new Uint32Array(2);
  /** How the last encoding wants its states, for again(). */
  private last: Steering | undefined;

  constructor(seed: number, stage: Stage) {
    this.r = new Random(seed);
    this.stage = stage;
    this.words = this.spare = stage.scratch();
    this.bytes = new Uint8Array(this.words.buffer);
    this.refill();
  }

  /** Before each batch. */
  nextBatch(): void { if (++this.batches % POOL_BATCHES === 0) this.refill(); }
  private refill(): void {
    hardPool(this.r, this.stage.pool('vector'));
    registerPool(this.r, this.stage.pool('gpr'));
    x87Pool(this.r, this.stage.pool('st'));
  }

  // ---- state of the case
  /** Starts a case at words[base], which lies on the stage: random everything. */
  begin(words: Uint32Array, base: number, compat: boolean, fp: boolean): void {
    const { r, stage } = this;
    this.words = words; this.base = base; this.compat = compat;
    const gpr = r.below(POOL.gpr / 8 - 16) * 8, data0 = r.below(POOL.vector / 4 - WINDOW / 4) * 4, data1 = r.below(POOL.vector / 4 - WINDOW / 4) * 4;
    const xmm = fp ? r.below(POOL.vector / 16 - 16) * 16 : 0, st = fp ? r.below(POOL.st / 16 - 8) * 16 : 0;
    stage.fresh(words.byteOffset + 4 * base, fp, gpr, xmm, st, data0, data1);
    words[base + WORD.trap] = compat ? CS32 : CS64;
    if (fp) this.floatingPoint();
    words[base + WORD.rflags] = 0x202 | r.u32() & FLAG_BITS | (r.chance(0.25) ? 0x400 : 0);
  }
  /** Random MXCSR and x87 control and status. */
  private floatingPoint(): void {
    const { r, words, base } = this, fx = base + WORD.fx;
    // Rounding, FTZ, DAZ, sticky flags; exceptions unmasked now and then.
    words[fx + 6] = r.u32() & 0xe07f | (r.chance(0.85) ? 0x1f80 : r.u32() & 0x1f80);
    const top = r.below(8), used = r.chance(0.5) ? 0xff : r.chance(0.5) ? 0 : r.below(256);
    words[fx] = r.pick(CONTROLS) | r.below(4) << 10 | (top << 11 | (r.below(16) & 7) << 8 | r.below(2) << 14) << 16;
    if (r.chance(0.1)) words[fx] = words[fx]! & ~0x3f | r.below(64);
    if (r.chance(0.3)) words[fx] = words[fx]! | (r.below(128) & ~(r.chance(0.9) ? 0 : 64)) << 16;
    this.pendingBits();
    words[fx + 1] = used;
  }
  /** ES and B follow from unmasked exception flags. */
  private pendingBits(): void {
    const fx = this.base + WORD.fx, w = this.words[fx]!, pending = (w >>> 16 & ~w & 0x3f) !== 0;
    this.words[fx] = (w & 0x7f7fffff) | (pending ? 0x80800000 : 0);
  }
  private set(n: number, lo: number, hi = 0): void {
    this.last?.registers.push(n, lo, hi);
    this.words[this.base + WORD.gpr + 2 * n] = lo; this.words[this.base + WORD.gpr + 2 * n + 1] = hi;
  }
  private lo(n: number): number { return this.words[this.base + WORD.gpr + 2 * n]!; }
  private setWindow(i: number, p: Place): Place { this.words[this.base + WORD.window + 2 * i] = p.window; this.words[this.base + WORD.window + 2 * i + 1] = 0; return p; }
  /** 32 bits of window content at an address (which may lie outside: then nothing). */
  private poke(i: number, at: number, bytes: readonly number[]): void {
    const start = at - this.words[this.base + WORD.window + 2 * i]!, data = this.words.byteOffset + this.base * 4 + CASE.data + i * WINDOW;
    for (let k = 0; k < bytes.length; k++) if (start + k >= 0 && start + k < WINDOW) this.bytes[data + start + k] = bytes[k]!;
  }
  private poke64(i: number, at: number, lo: number, hi: number): void { this.poke(i, at, [lo, lo >>> 8, lo >>> 16, lo >>> 24, hi, hi >>> 8, hi >>> 16, hi >>> 24].map(b => b & 255)); }


  /** Where an operand goes: inside a page, across pages, into the hole, into the read-only page. */
  place(region: number, writable = false): Place {
    const { r } = this, start = REGIONS[region]!, a = start + 4096, b = a + 4096, end = start + REGION_BYTES, k = r.below(100);
    if (k < 62 || writable && k >= 90) { const window = a + 16 * r.below((4096 - WINDOW) / 16); return { window, focus: r.chance(0.55) ? window + 64 + 16 * r.below(8) : window + 64 + r.below(128) }; }
    if (k < 82) return { window: b - 128, focus: r.chance(0.75) ? b - r.below(20) : b - 96 + 16 * r.below(10) };
    if (k < 90) return { window: end - WINDOW, focus: r.chance(0.8) ? end - r.below(24) : end - 16 * r.below(6) };
    if (k < 94) { const window = start + 16 * r.below((4096 - WINDOW) / 16); return { window, focus: window + 64 + r.below(128) }; }
    if (k < 97) return { window: a - 128, focus: a - r.below(20) };
    return { window: start, focus: start - r.below(12) };
  }

  // ---- encoding
  /**
   * One case of a recipe into words[base] and code[at]; `rip` is where code[at] will stand.
   * @param stays never single-stepped: ends at the INT3 behind it, or where it jumps to
   * @param operands set for a part of a sequence
   */
  make(recipe: Recipe, words: Uint32Array, base: number, code: Uint8Array, at: number, compat: boolean, meta: Meta, stays = false, operands?: Operands): void {
    const { r } = this, m = recipe.mnemonic;
    this.last = undefined;
    this.stays = stays;
    this.begin(words, base, compat, recipe.fp);
    const wantsRegister = recipe.register && (!recipe.memory || (operands ? recipe.bits || r.chance(0.55) : r.chance(0.4)));
    const lock = recipe.lockable && !wantsRegister ? r.chance(0.45) : !/^(privileged|rdtscp?|x87)$/.test(m) && !recipe.segments && r.chance(0.005);
    const rip = CODE + at, writable = recipe.branch, place0 = operands ? operands.place(recipe) : this.place(0, writable);
    if (recipe.lockable && !wantsRegister && (lock || m === 'xchg') && (operands || stays || !r.chance(SPLIT_LOCKS))) place0.focus = withinLine(place0.focus, recipe.bits);
    const p0 = this.setWindow(0, place0), p1 = this.setWindow(1, this.place(1, writable));
    this.implicit(recipe, p0, p1);

    let p = at;
    const emit = (b: number): void => { code[p++] = b & 255; };
    // Prefixes.
    const free = recipe.freePrefixes, { branch } = recipe;
    const opsize = recipe.prefix !== 0x66 && (free && (!branch || compat && !recipe.relative) && m !== 'bswap' || recipe.sizedVector) && r.chance(0.28);
    const addr = !compat && r.chance(recipe.memory || recipe.string || recipe.absolute ? 0.14 : 0.02) || !compat && recipe.countsAddress && r.chance(0.3);
    let segment = r.chance(recipe.memory || recipe.string ? 0.24 : 0.02) ? r.pick(compat ? [0x26, 0x2e, 0x36, 0x3e] : [0x64, 0x65, 0x64, 0x65, 0x2e, 0x36]) : 0;
    if (compat && segment === 0x2e && !recipe.memory) segment = 0;
    if (compat && segment === 0x2e) segment = 0x3e; // code segments are not writable
    const segmentBase = segment === 0x64 ? FS_BASE : segment === 0x65 ? GS_BASE : 0;
    this.steerString(recipe, segmentBase, addr);
    if (stays) this.last = { recipe, p0, p1, segmentBase, addr, registers: [] };
    let rep = 0;
    if (recipe.string) rep = r.pick([0, 0xf3, 0xf2, 0xf3]);
    else if (free && recipe.map === 0 && !recipe.lockable && !m.startsWith('loop') && r.chance(0.03)) rep = r.pick([0xf2, 0xf3]);
    const order = [opsize ? 0x66 : 0, addr ? 0x67 : 0, segment, lock ? 0xf0 : 0, rep].filter(Boolean);
    if (r.chance(0.3)) order.sort(() => r.chance(0.5) ? 1 : -1);
    if (order.length && r.chance(0.04)) order.push(r.pick(order));
    // So many that it is too long, which comes before what they make of it.
    if (recipe.vex && r.chance(0.03)) for (let n = r.below(8); n > 0; n--) order.push(r.pick([0x3e, 0x3e, 0x66, 0xf3]));
    // Prefixes that select another vector instruction, or none. (What F2 and F3 make of MOVNTPS is one maker's only.)
    if ((recipe.vector || recipe.vex) && r.chance(0.03) && !(recipe.map === 1 && recipe.opcode === 0x2b)) order.push(r.pick([0x66, 0xf2, 0xf3]));
    // A REX prefix before another prefix counts for nothing.
    if (!compat && (order.length || recipe.prefix || recipe.vex) && r.chance(0.03)) order.unshift(0x40 | r.below(16));
    order.forEach(emit);
    if (recipe.prefix && !recipe.vex) emit(recipe.prefix);
    let rex = 0;
    if (!compat && (r.chance(0.6) || m === 'movabs')) {
      rex = 0x40 | (r.chance(0.45) ? 8 : 0) | r.below(8);
      if (r.chance(0.3)) rex &= ~7;
      // Far pointers with 64-bit offsets are one maker's only.
      if (recipe.far) rex &= ~8;
    }
    // Makers differ on F3 90 with REX.B: PAUSE, or an exchange.
    if (recipe.map === 0 && recipe.opcode === 0x90 && (recipe.prefix === 0xf3 || order.includes(0xf3))) rex &= ~1;
    const vvvv = recipe.vvvv || r.chance(0.02) ? r.below(16) : 0;
    if (recipe.vex) this.vex(recipe, rex, vvvv, compat).forEach(emit);
    else if (rex) emit(rex);
    if (recipe.map && !recipe.vex) { emit(0x0f); if (recipe.map > 1) emit(recipe.map === 2 ? 0x38 : 0x3a); }
    emit(recipe.opcode);
    const bits = !compat && rex & 8 ? 64 : opsize ? 16 : 32;
    meta.wild = false;

    // ModRM and what follows.
    let patch = -1, target = p0.focus - segmentBase;
    let reg = r.below(8);
    if (recipe.second >= 0) emit(recipe.second);
    else if (recipe.modrm) {
      if (recipe.extension >= 0) reg = recipe.extension;
      else if (recipe.selector) reg = r.below(r.chance(0.1) ? 8 : 6);
      if (m === 'privileged' && recipe.map === 1 && recipe.opcode >= 0x20 && recipe.opcode <= 0x23) { reg = recipe.opcode & 1 ? r.below(4) : r.pick([0, 2, 3, 4]); if (rex) { code[p - 3] = rex & ~7; } }
      if (wantsRegister || !recipe.memory) {
        const rm = r.below(8);
        emit(0xc0 | reg << 3 | rm);
        if (recipe.through && (m === 'jmp_rm' || (rm | (rex & 1) << 3) !== 4)) this.set(rm | (rex & 1) << 3, this.codeTarget());
      } else if (operands) patch = this.keptOperand(emit, reg, rex, compat, target, operands, () => p);
      else patch = this.memoryOperand(emit, reg, rex, addr, compat, target, meta, () => p);
    }
    const g = reg | (rex & 4) << 1;
    if (recipe.bits && !wantsRegister && r.chance(0.95)) {
      // The bit offset moves the operand: keep it near, unless the register forms the address.
      if (!this.addressRegisters.includes(g)) { const v = r.range(-400, 400); this.set(g, v, v >> 31); }
    }

    // A field's place and length, or a count: mostly within the operand.
    if (recipe.operands.at(-1)?.letter === 'B' && r.chance(0.6) && !this.addressRegisters.includes(vvvv)) this.set(vvvv, r.below(70) | r.below(70) << 8, r.u32());

    // Immediates.
    for (const { letter, size } of recipe.operands) {
      if (letter === 'I' || letter === 'J') {
        let n = size === 'b' ? 1 : size === 'w' ? 2 : size === 'v' ? bits / 8 : bits === 16 ? 2 : 4;
        if (letter === 'J' && size === 'z') n = 4;
        if (recipe.d64 && size === 'z' && opsize && !(rex & 8)) n = 2;
        if (m === 'enter') { if (size === 'b') emit(r.chance(0.5) ? 0 : r.chance(0.8) ? r.below(5) : r.below(256)); else { const v = r.below(1024); emit(v); emit(v >> 8); } continue; }
        if (letter === 'J' && n === 4) { const v = stays && r.chance(0.7) ? this.codeTarget() - rip : r.range(-0x10000000, 0x10000000); emit(v); emit(v >> 8); emit(v >> 16); emit(v >> 24); continue; }
        const v = this.scratch;
        r.hard64(v, 0);
        if (n === 1 && r.chance(0.3)) v[0] = r.below(72);
        // Not into itself, for ever.
        if (stays && letter === 'J') v[0] = r.chance(0.5) ? r.range(16, 127) : r.range(-128, -16);
        for (let k = 0; k < n; k++) emit(k < 4 ? v[0]! >>> 8 * k : v[1]! >>> 8 * (k - 4));
      } else if (letter === 'O') {
        if (compat) target &= -1;
        const wide = !compat && !addr;
        emit(target); emit(target >> 8); emit(target >> 16); emit(target >> 24);
        if (wide) { const s = target < 0 ? 255 : 0; emit(s); emit(s); emit(s); emit(s); }
      }
    }
    const length = p - at;
    if (patch >= 0) { const d = target - (rip + length); for (let k = 0; k < 4; k++) code[patch + k] = d >> 8 * k & 255; }

    meta.recipe = recipe; meta.at = at; meta.length = length; meta.compat = compat; meta.undefinedFlags = -1; meta.faultFlags = 0;
    decode(code, at, at + 15, rip & 4095, compat, meta.decoded);
    meta.formIndex = meta.decoded.handler - SPECIAL_COUNT;
    meta.form = meta.decoded.handler === SPECIAL.undefined ? undefined : forms[meta.formIndex];
    const repeats = recipe.string && rep !== 0 || recipe.stackSegment; // a load of ss holds the trap back
    meta.step = !stays && !repeats && (recipe.stepped || r.chance(0.8));
    words[base + WORD.rip] = rip; words[base + WORD.rip + 1] = 0;
    if (meta.step) words[base + WORD.rflags]! |= 0x100;
    if (compat) for (let n = 0; n < 16; n++) words[base + WORD.gpr + 2 * n + 1] = 0;
  }

  /** A VEX prefix of three bytes; now and then one that nothing goes with. In compatibility mode the first two inverted bits are ones, or it were LES. */
  private vex({ prefix, map }: Recipe, rex: number, vvvv: number, compat: boolean): number[] {
    const { r } = this, w = compat ? r.below(2) : rex >> 3 & 1, b = compat ? r.below(2) : rex & 1, long = r.chance(0.02) ? 4 : 0;
    const pp = r.chance(0.02) ? r.below(4) : [0, 0x66, 0xf3, 0xf2].indexOf(prefix), m = r.chance(0.01) ? r.pick([0, 4, 16 + map, 31]) : map;
    return [0xc4, (~(rex & 6 | b) & 7) << 5 | m, w << 7 | (~vvvv & 15) << 3 | long | pp];
  }

  /** The encoding that was made last, with `stays`, once more with another state. */
  again(words: Uint32Array, base: number, first: Meta, meta: Meta): void {
    const { last } = this;
    if (!last) throw new Error('nothing was made that can be made again');
    const { recipe, p0, p1 } = last;
    this.last = undefined;
    this.begin(words, base, first.compat, recipe.fp);
    this.setWindow(0, p0);
    this.setWindow(1, p1);
    this.implicit(recipe, p0, p1);
    this.steerString(recipe, last.segmentBase, last.addr);
    for (let i = 0; i < last.registers.length; i += 3) this.set(last.registers[i]!, last.registers[i + 1]!, last.registers[i + 2]!);
    this.last = last;
    words[base + WORD.rip] = CODE + first.at; words[base + WORD.rip + 1] = 0;
    if (first.compat) for (let n = 0; n < 16; n++) words[base + WORD.gpr + 2 * n + 1] = 0;
    Object.assign(meta, first);
  }
  /** String instructions address by rsi whatever the prefixes; with 32-bit addresses the upper halves count for nothing. */
  private steerString(recipe: Recipe, segmentBase: number, addr: boolean): void {
    const { r, words, base } = this;
    if (segmentBase && (recipe.string || recipe.mnemonic === 'xlat')) { const n = recipe.mnemonic === 'xlat' ? 3 : 6; this.set(n, this.lo(n) - segmentBase); }
    if (addr && recipe.string && r.chance(0.7)) for (const n of [1, 6, 7]) words[base + WORD.gpr + 2 * n + 1] = r.u32();
  }

  /** Registers that the last memory operand's address was formed from. */
  private addressRegisters: number[] = [];

  /** ModRM, SIB and displacement; returns where a RIP-relative displacement awaits its value, or -1. */
  private memoryOperand(emit: (b: number) => void, reg: number, rex: number, addr: boolean, compat: boolean, target: number, meta: Meta, here: () => number): number {
    const { r } = this, b8 = (rex & 1) << 3, x8 = (rex & 2) << 2, k = r.below(100);
    this.addressRegisters = [];
    const wild = r.chance(0.02);
    meta.wild = wild;
    const disp32 = (v: number): void => { emit(v); emit(v >> 8); emit(v >> 16); emit(v >> 24); };
    /** A register of the address gets hi * 2^32 + lo. */
    const put = (n: number, lo: number, hi: number): void => {
      if (wild) return;
      this.set(n, lo, compat ? 0 : addr ? (r.chance(0.5) ? r.u32() : 0) : hi);
      this.addressRegisters.push(n);
    };
    const putNumber = (n: number, v: number): void => put(n, v | 0, Math.floor(v / 0x100000000));
    const displacement = (): { mod: number; d: number } => { const mod = r.below(3); return { mod, d: mod === 0 ? 0 : mod === 1 ? r.range(-128, 127) : r.chance(0.5) ? r.range(-300, 300) : r.u32() | 0 }; };
    const emitDisp = (mod: number, d: number): void => { if (mod === 1) emit(d); else if (mod === 2) disp32(d); };
    if (k < 8) {
      emit(reg << 3 | 5);
      const at = here();
      disp32(compat ? target : wild ? r.u32() : 0);
      return compat || wild ? -1 : at;
    }
    if (k < 12) { emit(reg << 3 | 4); emit(0x25 | (x8 ? 0 : r.below(4) << 6)); if (x8) { this.set(12, 0); this.addressRegisters.push(12); } disp32(target); return -1; }
    let { mod, d } = displacement();
    if (k < 52) {
      let rm = r.below(8);
      if (rm === 4) rm = 3;
      if (rm === 5 && mod === 0) { mod = 1; d = r.range(-128, 127); }
      emit(mod << 6 | reg << 3 | rm);
      emitDisp(mod, d);
      putNumber(rm | b8, target - d);
      return -1;
    }
    const scale = r.below(4);
    if (k < 58) { // index and displacement alone
      let index = r.below(8);
      if (index === 4 && !x8) index = 1;
      const n = index | x8;
      emit(reg << 3 | 4);
      emit(scale << 6 | index << 3 | 5);
      const v = r.chance(0.5) ? r.range(-1000, 1000) : r.range(-0x4000000, 0x4000000);
      putNumber(n, v);
      disp32(target - v * (1 << scale));
      return -1;
    }
    let baseReg = r.below(8);
    if (baseReg === 5 && mod === 0) { mod = 1; d = r.range(-128, 127); }
    const index = k < 64 && !x8 ? 4 : r.below(8), n = index | x8, bn = baseReg | b8;
    emit(mod << 6 | reg << 3 | 4);
    emit(scale << 6 | index << 3 | baseReg);
    emitDisp(mod, d);
    if (n === 4) putNumber(bn, target - d);
    else if (n === bn) putNumber(bn, Math.floor((target - d) / (1 + (1 << scale))));
    else {
      const small = compat || r.chance(0.7), v = small ? r.range(-200, 200) : this.lo(n) | 0, high = small ? v >> 31 : this.words[this.base + WORD.gpr + 2 * n + 1]! | 0;
      put(n, v, high);
      // target - d - (index << scale), in two words.
      const lo = (v << scale) >>> 0, rest = target - d, low = (rest >>> 0) - lo;
      put(bn, low | 0, Math.floor(rest / 0x100000000) - (high << scale | (scale ? v >>> 32 - scale : 0)) - (low < 0 ? 1 : 0));
    }
    return -1;
  }

  /** A memory operand whose address is formed from kept registers: bases 5 and 6, index 7, and those 8 higher. */
  private keptOperand(emit: (b: number) => void, reg: number, rex: number, compat: boolean, target: number, operands: Operands, here: () => number): number {
    const { r } = this, k = r.below(100), scale = r.below(4), rm = r.pick([5, 6]), base = operands.value(rm | (rex & 1) << 3)!, index = (operands.value(7 | (rex & 2) << 2)! << scale);
    const disp32 = (v: number): void => { emit(v); emit(v >> 8); emit(v >> 16); emit(v >> 24); };
    if (k < 10) { emit(reg << 3 | 5); const at = here(); disp32(compat ? target : 0); return compat ? -1 : at; }
    if (k < 20) { emit(reg << 3 | 4); emit(scale << 6 | 7 << 3 | 5); disp32(target - index); return -1; }
    const indexed = k >= 60, d = target - base - (indexed ? index : 0), mod = d === (d << 24 >> 24) && r.chance(0.9) ? 1 : 2;
    emit(mod << 6 | reg << 3 | (indexed ? 4 : rm));
    if (indexed) emit(scale << 6 | 7 << 3 | rm);
    if (mod === 1) emit(d); else disp32(d);
    return -1;
  }

  /** Cases that stay lie in front of CLEAR, so that a jump to behind it meets INT3. */
  private codeTarget(): number { return this.stays ? CODE + CLEAR + this.r.below(0x20000 - CLEAR) : CODE + this.r.below(0x20000); }

  /** Steers what the instruction uses without naming it. */
  private implicit(recipe: Recipe, p0: Place, p1: Place): void {
    if (!recipe.steered) return;
    const { r, words, base } = this, m = recipe.mnemonic;
    if (/^(push|pop|call|ret|enter)/.test(m) && m !== 'popcnt' || m === 'pushf' || m === 'popf') {
      this.set(4, p1.focus);
      if (m === 'enter' && r.chance(0.9)) this.set(5, p1.focus + r.range(-8, 60));
      if (/^ret/.test(m)) this.poke64(1, p1.focus, this.codeTarget(), 0);
      if (m === 'popf') { const f = r.u32() & ~0x100; this.poke64(1, p1.focus, f, r.u32()); }
    } else if (m === 'leave') this.set(5, p1.focus);
    if (m === 'jmp_rm' || m === 'call_rm') this.poke64(0, p0.focus, this.codeTarget(), 0);
    if (recipe.string) {
      this.set(6, p0.focus, 0);
      this.set(7, r.chance(0.2) ? p0.focus + r.range(-24, 24) : p1.focus);
      const k = r.below(100);
      if (k < 88) this.set(1, r.below(k < 50 ? 12 : 60)); else if (k < 94) this.set(1, r.below(3000)); else if (k < 97) this.set(1, 0); else this.set(1, 0x10000, 0);
      if (/scas|cmps/.test(m)) {
        const data = base + WORD.data;
        if (m === 'cmps' && r.chance(0.7)) { const shift = (p1.focus - words[base + WORD.window + 2]!) - (p0.focus - words[base + WORD.window]!); this.copyWindow(shift); if (r.chance(0.6)) this.poke(1, p1.focus + r.range(-30, 30), [r.below(256)]); }
        if (m === 'scas' && r.chance(0.7)) { const b = r.below(256) * 0x01010101; words.fill(b, data + WINDOW / 4, data + WINDOW / 2); if (r.chance(0.5)) this.set(0, b, b); this.poke(1, p1.focus + r.range(-30, 30), [r.below(256)]); }
      }
      return;
    }
    if (recipe.segments) this.segments(recipe, p0, p1);
    if (m === 'fxrstor' || m === 'ldmxcsr') { const v = r.chance(0.9) ? r.u32() & 0xffff : r.u32() & ~0x20000, at = p0.focus + (m === 'fxrstor' ? 24 : 0); this.poke(0, at, [v & 255, v >> 8 & 255, v >> 16 & 255, v >>> 24]); }
    if (m === 'xlat') { const v = p0.focus - (this.lo(0) & 255); this.set(3, v); }
    if (/^(div|idiv)$/.test(m)) {
      const k = r.below(5);
      if (k === 0) this.set(2, 0, 0); else if (k === 1) { const s = words[base + WORD.gpr + 1]! | 0; this.set(2, s >> 31, s >> 31); } else if (k === 2) { const s = this.lo(0) | 0; this.set(2, s >> 31, s >> 31); } else if (k === 3) this.set(2, r.below(300), 0);
      if (recipe.opcode === 0xf6 && r.chance(0.5)) this.set(0, r.pick([r.below(0x4000), r.below(256), 0x8000, 0xff80, r.below(65536)]));
    }
    if (recipe.counted && r.chance(0.6)) this.set(1, r.below(70), 0);
    if (m === 'cmpxchg' && r.chance(0.5)) this.poke64(0, p0.focus, this.lo(0), words[base + WORD.gpr + 1]!);
    if (m === 'cmpxchg8b' && r.chance(0.6)) {
      const wide = r.chance(0.5);
      this.poke64(0, p0.focus, this.lo(0), wide ? words[base + WORD.gpr + 1]! : this.lo(2));
      if (wide) this.poke64(0, p0.focus + 8, this.lo(2), words[base + WORD.gpr + 5]!);
    }
    if (/^(loop|jrcxz)/.test(m)) { if (r.chance(0.6)) this.set(1, r.below(3), r.chance(0.2) ? r.u32() : 0); }
  }
  /** A selector: usable ones, the kernel's, null ones, absent ones, ones outside the table. */
  private selector(code: boolean): number {
    const { r } = this;
    return r.chance(0.7) ? r.pick(code ? [CS64, CS32] : [0x2b, 0x2b, 0x23, 0x33, 0x28]) : r.pick([0, 1, 2, 3, 0x08, 0x10, 0x13, 0x1b, 0x18, 0x20, 0x22, 0x2a, 0x2b, 0x30, 0x31, 0x63, 0x27, 0x2f, 0x83, 0xff8b, 0xffff]);
  }
  private segments(recipe: Recipe, p0: Place, p1: Place): void {
    const { r, words, base } = this, m = recipe.mnemonic;
    words[base + WORD.error] = 1;
    for (let n = 0; n < 16; n++) if (r.chance(0.8)) this.set(n, this.selector(false) | r.u32() << 16, r.u32());
    const far = m.includes('far') || m === 'retf' || m === 'retf_imm' || m === 'iret', target = far ? this.codeTarget() : r.u32(), selector = this.selector(far);
    // Offset and selector at every distance an operand size may put them.
    const size = r.pick([2, 4, 4, 8]), bytes = [target, target >> 8, target >> 16, target >> 24, 0, 0, 0, 0].slice(0, size).map(b => b & 255);
    const image = [...bytes, selector & 255, selector >> 8];
    if (/^(mov_to_sreg|lar|lsl|verr|verw)$/.test(m)) this.poke(0, p0.focus, [selector & 255, selector >> 8]);
    else if (/^pop/.test(m)) { this.set(4, p1.focus); this.poke(1, p1.focus, [selector & 255, selector >> 8]); }
    else if (m === 'retf' || m === 'retf_imm' || m === 'iret') {
      this.set(4, p1.focus);
      const word = (v: number): number[] => [v, v >> 8, v >> 16, v >> 24, 0, 0, 0, 0].slice(0, size).map(b => b & 255);
      this.poke(1, p1.focus, [...word(target), ...word(selector), ...word(r.u32() & ~0x100 & ~0x4100), ...word(REGIONS[1] + 5000), ...word(this.selector(false))]);
    } else { this.set(4, p1.focus); this.poke(0, p0.focus, image); }
  }
  /** Makes window 1 hold what window 0 holds, `shift` bytes further on. */
  private copyWindow(shift: number): void {
    const at = this.words.byteOffset + this.base * 4 + CASE.data, n = WINDOW - Math.abs(shift), from = Math.max(0, -shift);
    if (n > 0) this.bytes.copyWithin(at + WINDOW + from + shift, at + from, at + from + n);
  }
}
export { CASE_WORDS };
