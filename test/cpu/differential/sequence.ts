// Sequences of integer, MMX and SSE instructions with jumps, loops and calls: what single instructions cannot show is how
// flags kept lazily by one instruction are read by a later one, and what the translator makes of several together.
// Undefined flags are tracked, and never read. Addresses are formed from registers that no instruction of a sequence writes.
import { SPECIAL } from '../../../hypervisor/cpu/decode.ts';
import { CODE, REGIONS, WORD } from './layout.ts';
import type { CaseMaker, Meta, Operands, Place } from './cases.ts';
import type { Random } from './random.ts';
import { ARITHMETIC, isShift, undefinedAfter, undefinedAfterShift } from './masks.ts';
import { recipes, type Recipe } from './rows.ts';

export const SEQUENCE_STRIDE = 900;
const CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800;
const CONDITION = [OF, CF, ZF, CF | ZF, SF, PF, SF | OF, ZF | SF | OF];

/** Integer mnemonics that neither leave nor write registers which a sequence keeps, but by their operands. */
const USABLE = /^(add|or|adc|sbb|and|sub|xor|cmp|rol|ror|rcl|rcr|shl|shr|sar|set\d+|cmov\d+|j\d+|jmp|mov|movabs|bswap|inc|dec|xchg|test|movzx|movsx|not|neg|mul|imul1|imul|imul3|shld|shrd|bt|bts|btr|btc|bsf|bsr|popcnt|xadd|cmpxchg|cmpxchg8b|cbw|cwd|sahf|lahf|cmc|clc|stc|cld|std|lea|crc32|salc|daa|das|movnti|push|pop|nop|nop_rm|[tl]zcnt|andn|bextr|bls(r|msk|i)|bzhi|pext|pdep|mulx|rorx|shlx|sarx|shrx)$/;
/** Vector mnemonics that write memory which nothing steers, or whose results are the maker's own. */
const LEFT_OUT = /^(maskmov|rsqrt|rcp|dpp)/;
const usable = (compat: boolean): Recipe[] => recipes.filter(r => (USABLE.test(r.mnemonic) || r.vector && !LEFT_OUT.test(r.mnemonic)) && (compat ? r.compat : r.long));

function flagsRead(m: string): number {
  const condition = /^(?:set|cmov|j)(\d+)$/.exec(m);
  if (condition) return CONDITION[Number(condition[1]) >> 1]!;
  if (/^(adc|sbb|rcl|rcr|cmc|salc)$/.test(m)) return CF;
  if (m === 'lahf') return CF | PF | AF | ZF | SF;
  if (m === 'daa' || m === 'das') return CF | AF;
  return 0;
}
/** Flags an instruction gives a defined value whatever they were. */
function flagsDefined(m: string): number {
  if (/^(add|adc|sub|sbb|cmp|neg|xadd|cmpxchg|popcnt)$/.test(m)) return ARITHMETIC;
  if (/^(and|or|xor|test|andn|bls.*|bzhi)$/.test(m)) return ARITHMETIC & ~AF;
  if (/^[tl]zcnt$/.test(m)) return CF | ZF;
  if (m === 'bextr') return CF | ZF | OF;
  if (m === 'inc' || m === 'dec') return ARITHMETIC & ~CF;
  if (/^(clc|stc|cmc|bt|bts|btr|btc)$/.test(m)) return CF;
  if (m === 'sahf') return CF | PF | AF | ZF | SF;
  if (/^(mul|imul[13]?)$/.test(m)) return CF | OF;
  if (/^u?comis|^ptest$|^pcmp[ei]str/.test(m)) return ARITHMETIC;
  if (m === 'cmpxchg8b' || m === 'bsf' || m === 'bsr') return ZF;
  if (m === 'daa' || m === 'das') return ARITHMETIC & ~OF;
  return 0;
}

const lists = { long: usable(false), compat: usable(true) };
/** Sets flags a condition may follow. */
const SETS_FLAGS = /^(add|or|adc|sbb|and|sub|xor|shl|shr|sar|sh[lr]d|inc|dec|neg|xadd|cmpxchg|bt[src]?|u?comis[sd])$/;
const branchesOf = (list: Recipe[]): Recipe[] => list.filter(x => /^j\d/.test(x.mnemonic)), comparisonsOf = (list: Recipe[]): Recipe[] => list.filter(x => /^(cmp|test)$/.test(x.mnemonic));
/** Share of vector instructions, which have more rows than all others. */
const VECTORS = 0.35;
const vectors = { long: lists.long.filter(x => x.vector), compat: lists.compat.filter(x => x.vector) };
/** One list for each mnemonic, conditions aside: a mnemonic with few rows comes up as often as one with many. */
const byMnemonic = (list: Recipe[]): Recipe[][] => [...Map.groupBy(list.filter(x => !x.vector), x => x.mnemonic.replace(/^(j|set|cmov)\d+$/, '$1')).values()];
const integers = { long: byMnemonic(lists.long), compat: byMnemonic(lists.compat) };
const conditionsOf = (list: Recipe[]): Recipe[] => list.filter(x => /^(j|set|cmov)\d/.test(x.mnemonic)), conditions = { long: conditionsOf(lists.long), compat: conditionsOf(lists.compat) };
const branches = { long: branchesOf(lists.long), compat: branchesOf(lists.compat) }, comparisons = { long: comparisonsOf(lists.long), compat: comparisonsOf(lists.compat) };
/** Instructions that follow each other in programs, and hand on what the translator keeps in parts. */
const KIN = [/^sha/];
const kinOf = (list: Recipe[]): Recipe[][] => KIN.map(family => list.filter(x => family.test(x.mnemonic)));
const kin = { long: kinOf(lists.long), compat: kinOf(lists.compat) };
/** What stands for a sequence where a case has a recipe. */
const NEUTRAL = recipes.find(r => r.mnemonic === 'nop')!;
const RSP = 4;
/** In the windows, behind what operands reach: a loop's counter in the first, the stack (which grows down) in the second. */
const COUNTER_AT = 128, STACK_AT = 240, OPERANDS_BYTES = 128;

/** Registers and windows of one sequence, the same for all states it runs with. */
class Kept implements Operands {
  readonly windows: readonly [number, number];
  private readonly r: Random;
  private readonly values = new Map<number, number>();

  constructor(r: Random, compat: boolean) {
    this.r = r;
    this.windows = [0, 1].map(n => REGIONS[n]! + (r.chance(0.6) ? 4096 + 512 : 8192 - 64)) as unknown as [number, number];
    for (const [n, high] of [[5, 13], [6, 14]] as const) for (const register of compat ? [n] : [n, high]) this.values.set(register, this.windows[n - 5]! + r.below(128));
    for (const register of compat ? [7] : [7, 15]) this.values.set(register, r.range(-8, 8));
    this.values.set(RSP, this.windows[1] + STACK_AT);
  }
  value(register: number): number | undefined { return this.values.get(register); }
  get counter(): number { return this.windows[0] + COUNTER_AT; }
  place(recipe: Recipe): Place {
    const { r, windows } = this, region = r.below(2), window = windows[region]!;
    // A hole, or the read-only page. (Whether a fault enters MMX state is the maker's choice.)
    if (r.chance(0.02) && !recipe.operands.some(o => 'PQN'.includes(o.letter))) return { window, focus: r.chance(0.5) ? REGIONS[region]! - 1 - r.below(64) : REGIONS[region]! + r.below(4000) };
    const at = r.below(OPERANDS_BYTES - 15);
    return { window, focus: window + (recipe.vector && r.chance(0.97) ? at & ~15 : at) };
  }
  /** Puts the registers and windows into a case. */
  fill(words: Uint32Array, base: number): void {
    for (const [n, v] of this.values) { words[base + WORD.gpr + 2 * n] = v; words[base + WORD.gpr + 2 * n + 1] = v < 0 ? 0xffffffff : 0; }
    this.windows.forEach((w, n) => { words[base + WORD.window + 2 * n] = w; words[base + WORD.window + 2 * n + 1] = 0; });
  }
}

/** Jumps whose targets are not laid down yet. */
interface Forward { at: number; size: number; remaining: number; undefinedFlags: number }

class SequenceMaker {
  private readonly maker: CaseMaker;
  private readonly code: Uint8Array;
  private readonly compat: boolean;
  private readonly meta: Meta;
  readonly kept: Kept;
  p: number;
  undefinedFlags = 0;
  /** Flags that were undefined anywhere. */
  everUndefined = 0;
  /** Where functions are, and what flags they leave undefined. */
  private readonly functions: { at: number; undefinedFlags: number }[] = [];

  constructor(maker: CaseMaker, code: Uint8Array, at: number, compat: boolean, meta: Meta) {
    this.maker = maker; this.code = code; this.compat = compat; this.meta = meta;
    this.kept = new Kept(maker.r, compat);
    this.p = at;
  }
  emit(...bytes: number[]): void { for (const b of bytes) this.code[this.p++] = b & 255; }
  emit32(v: number): void { this.emit(v, v >> 8, v >> 16, v >> 24); }
  /** A function of a few instructions, with flags it knows nothing of. */
  addFunction(): void {
    const at = this.p;
    this.undefinedFlags = ARITHMETIC;
    this.run(this.maker.r.range(1, 5), true);
    this.emit(0xc3);
    this.functions.push({ at, undefinedFlags: this.undefinedFlags });
  }
  private call(): void {
    const f = this.maker.r.pick(this.functions);
    if (this.maker.r.chance(0.7)) { this.emit(0xe8); this.emit32(f.at - this.p - 4); }
    else if (this.compat) { this.emit(0xb8); this.emit32(CODE + f.at); this.emit(0xff, 0xd0); } // mov eax, ...; call eax
    else { this.emit(0x41, 0xbb); this.emit32(CODE + f.at); this.emit(0x41, 0xff, 0xd3); } // mov r11d, ...; call r11
    this.undefinedFlags = f.undefinedFlags;
  }
  /** What an accepted instruction leaves undefined; undefined when it must not be. */
  private flagsAfter(recipe: Recipe): number | undefined {
    const m = recipe.mnemonic, form = this.meta.form!, before = this.undefinedFlags;
    if (!isShift(m)) return before & ~flagsDefined(m) | undefinedAfter(m);
    const last = recipe.operands.at(-1)!;
    if (last.letter === 'C') {
      if (/^sh[lr]d$/.test(m) && form.bits === 16) return undefined;
      // The count is not known: what it may leave undefined adds to what is.
      return before | OF | (/^r/.test(m) ? 0 : AF) | (form.bits < 32 && /^sh[lr]$/.test(m) ? CF : 0);
    }
    const c = (last.letter === '1' ? 1 : this.meta.decoded.imm & 255) & (form.bits === 64 ? 63 : 31);
    if (/^sh[lr]d$/.test(m) && c > form.bits) return undefined;
    return c ? before & ~(/^r/.test(m) ? CF | OF : ARITHMETIC) | undefinedAfterShift(m, form.bits, c) : before;
  }
  /** Whether the instruction just made writes a register that is kept, or is none, or by a further prefix another one. */
  private unfit(): boolean {
    const { form, decoded, recipe } = this.meta;
    return !form || !recipe.fp && decoded.mnemonic !== recipe.mnemonic || decoded.handler === SPECIAL.undefined || form.operands.some(o => o.kind === 'gpr' && o.access !== 'r' && o.access !== 'addr' && this.kept.value(decoded[o.field as 'a'] >> 3) !== undefined);
  }
  /** So many instructions; forward jumps skip some of them. */
  run(count: number, inFunction: boolean): void {
    const { maker, code, meta } = this, { r } = maker, mode = this.compat ? 'compat' : 'long', forward: Forward[] = [];
    let previous = '';
    for (let n = 0; n < count;) {
      // Comparisons with a branch behind them are what compilers make (and what the decoder fuses).
      const compared = previous === 'cmp' || previous === 'test', family = kin[mode][KIN.findIndex(k => k.test(previous))];
      const recipe = family?.length && r.chance(0.6) ? r.pick(family) : r.pick(compared && r.chance(0.5) ? branches[mode] : SETS_FLAGS.test(previous) && r.chance(0.2) ? conditions[mode] : r.chance(0.1) ? comparisons[mode] : r.chance(VECTORS) ? vectors[mode] : r.pick(integers[mode])), m = recipe.mnemonic;
      if (flagsRead(m) & this.undefinedFlags || inFunction && (m === 'push' || m === 'pop')) continue;
      if (!inFunction && this.functions.length && r.chance(0.1)) this.call();
      else {
        maker.make(recipe, maker.spare, 0, code, this.p, this.compat, meta, false, this.kept);
        const after = this.unfit() ? undefined : this.flagsAfter(recipe);
        // One that was too long too leaves nothing behind.
        if (after === undefined) { code.fill(0xcc, this.p, this.p + 32); continue; }
        this.p += meta.length;
        if (recipe.relative) {
          const size = recipe.operands[0]!.size === 'b' ? 1 : 4;
          code.fill(0, this.p - size, this.p);
          forward.push({ at: this.p, size, remaining: r.below(4) + 1, undefinedFlags: this.undefinedFlags });
        }
        this.undefinedFlags = after;
      }
      n++;
      previous = m;
      for (const f of forward) if (f.remaining > 0 && (--f.remaining === 0 || n === count)) {
        f.remaining = 0;
        const d = this.p - f.at;
        for (let k = 0; k < f.size; k++) code[f.at - f.size + k] = d >> 8 * k & 255;
        this.undefinedFlags |= f.undefinedFlags;
      }
      this.everUndefined |= this.undefinedFlags;
    }
  }
}

/** What the sequence that was made last keeps: its further states need it. */
let lastKept: Kept | undefined;

/**
 * Makes a sequence of 2 to 30 instructions, ended by the INT3 that fills the code image. Half of the sequences are loops,
 * counted in memory; a third call functions, which stand in front.
 */
export function makeSequence(maker: CaseMaker, words: Uint32Array, base: number, code: Uint8Array, at: number, compat: boolean, meta: Meta): void {
  const { r } = maker, s = new SequenceMaker(maker, code, at, compat, meta), { kept } = s, count = r.range(2, 30), loops = r.chance(0.5);
  if (r.chance(0.3)) {
    s.emit(0xe9); // jmp over the functions
    const from = s.p;
    s.emit32(0);
    for (let n = r.range(1, 2); n > 0; n--) s.addFunction();
    const d = s.p - from - 4;
    code.set([d & 255, d >> 8, 0, 0], from);
  }
  const start = s.p;
  s.undefinedFlags = loops ? CF : 0;
  s.run(count, false);
  if (loops) { // dec dword [counter]; jnz to the start
    s.emit(0xff, ...(compat ? [0x0d] : [0x0c, 0x25]));
    s.emit32(kept.counter);
    s.emit(0x0f, 0x85);
    s.emit32(start - s.p - 4);
    s.undefinedFlags &= CF;
  }
  lastKept = kept;
  meta.at = at; meta.length = s.p - at; meta.compat = compat; meta.undefinedFlags = s.undefinedFlags; meta.faultFlags = s.everUndefined;
  sequenceInputs(maker, words, base, meta, meta);
}

/** Fresh inputs for the sequence that was made last, as `first` describes it. */
export function sequenceInputs(maker: CaseMaker, words: Uint32Array, base: number, first: Meta, meta: Meta): void {
  const { r } = maker, fx = base + WORD.fx, { compat } = first;
  maker.begin(words, base, compat, true);
  lastKept!.fill(words, base);
  words[base + WORD.data + COUNTER_AT / 4] = r.range(1, 6);
  // Nothing pending, and mostly nothing unmasked: what runs to its end shows more.
  words[fx] = 0x37f;
  if (r.chance(0.95)) words[fx + 6]! |= 0x1f80;
  meta.recipe = NEUTRAL; meta.form = undefined; meta.formIndex = -1; meta.step = false;
  meta.at = first.at; meta.length = first.length; meta.compat = compat; meta.undefinedFlags = first.undefinedFlags; meta.faultFlags = first.faultFlags;
  words[base + WORD.rip] = CODE + first.at; words[base + WORD.rip + 1] = 0;
  if (compat) for (let n = 0; n < 16; n++) words[base + WORD.gpr + 2 * n + 1] = 0;
}
