// Straight-line sequences of register instructions: what single instructions cannot show is how flags kept lazily
// by one instruction are read by a later one. Undefined flags are tracked, and never read.
import { SPECIAL } from '../../../hypervisor/cpu/decode.ts';
import { CODE, REGIONS, WORD } from './layout.ts';
import type { CaseMaker, Meta } from './cases.ts';
import { ARITHMETIC, isShift, undefinedAfter, undefinedAfterShift } from './masks.ts';
import { recipes, type Recipe } from './rows.ts';

export const SEQUENCE_STRIDE = 600;
const CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800;
const CONDITION = [OF, CF, ZF, CF | ZF, SF, PF, SF | OF, ZF | SF | OF];

/** Mnemonics that neither leave, nor fault, nor touch memory in their register forms. */
const USABLE = /^(add|or|adc|sbb|and|sub|xor|cmp|rol|ror|rcl|rcr|shl|shr|sar|set\d+|cmov\d+|j\d+|mov|movabs|bswap|inc|dec|xchg|test|movzx|movsx|not|neg|mul|imul1|imul|imul3|shld|shrd|bt|bts|btr|btc|bsf|bsr|popcnt|xadd|cmpxchg|cbw|cwd|sahf|lahf|cmc|clc|stc|cld|std|lea|crc32|salc|daa|das)$/;
const usable = (compat: boolean): Recipe[] => recipes.filter(r => USABLE.test(r.mnemonic) && (compat ? r.compat : r.long) && (r.register || !r.memory) && !r.operands.some(o => 'MO'.includes(o.letter)));

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
  if (/^(and|or|xor|test)$/.test(m)) return ARITHMETIC & ~AF;
  if (m === 'inc' || m === 'dec') return ARITHMETIC & ~CF;
  if (/^(clc|stc|cmc|bt|bts|btr|btc)$/.test(m)) return CF;
  if (m === 'sahf') return CF | PF | AF | ZF | SF;
  if (/^i?mul/.test(m)) return CF | OF;
  if (m === 'bsf' || m === 'bsr') return ZF;
  if (m === 'daa' || m === 'das') return ARITHMETIC & ~OF;
  return 0;
}

const lists = { long: usable(false), compat: usable(true) };

/** Conditional jumps whose targets are not laid down yet. */
interface Forward { at: number; size: number; remaining: number; undefinedFlags: number }
/** Loop counter: a word in the first window (sequences place it so). */
const COUNTER = REGIONS[0] + 4096 + 512 + 128;

/**
 * Makes a sequence of 2 to 30 instructions, ended by the INT3 that fills the code image: forward jumps skip some of
 * them, and half of the sequences are loops, counted in memory.
 */
export function makeSequence(maker: CaseMaker, words: Uint32Array, base: number, code: Uint8Array, at: number, compat: boolean, meta: Meta): void {
  const { r } = maker, count = r.range(2, 30), loops = r.chance(0.5), scratch = maker.spare, list = compat ? lists.compat : lists.long;
  const branches = list.filter(x => /^j\d/.test(x.mnemonic)), comparisons = list.filter(x => /^(cmp|test)$/.test(x.mnemonic));
  let previous = '';
  let p = at, undefinedFlags = loops ? CF : 0;
  const forward: Forward[] = [];
  for (let n = 0; n < count;) {
    // Comparisons with a branch behind them are what compilers make (and what the decoder fuses).
    const compared = previous === 'cmp' || previous === 'test', recipe = r.pick(compared && r.chance(0.5) ? branches : r.chance(0.1) ? comparisons : list), m = recipe.mnemonic;
    if (flagsRead(m) & undefinedFlags) continue;
    maker.make(recipe, scratch, 0, code, p, compat, meta);
    const modrm = recipe.modrm ? meta.decoded : undefined, form = meta.form;
    if (!form || modrm && form.address !== 'reg' || meta.decoded.handler === SPECIAL.undefined) { code.fill(0xcc, p, p + 16); continue; }
    if (/^j\d/.test(m)) {
      const size = recipe.operands[0]!.size === 'b' ? 1 : 4;
      code.fill(0, p + meta.length - size, p + meta.length);
      forward.push({ at: p + meta.length, size, remaining: r.below(4) + 1, undefinedFlags });
    }
    if (isShift(m)) {
      const last = recipe.operands.at(-1)!, narrow = form.bits < 32;
      if (last.letter === 'C') {
        if (/^sh[lr]d$/.test(m) && form.bits === 16) { code.fill(0xcc, p, p + 16); continue; }
        // The count is not known: what it may leave undefined adds to what is.
        undefinedFlags |= OF | (/^r/.test(m) ? 0 : AF) | (narrow && /^sh[lr]$/.test(m) ? CF : 0);
      } else {
        const c = (last.letter === '1' ? 1 : meta.decoded.imm & 255) & (form.bits === 64 ? 63 : 31);
        if (/^sh[lr]d$/.test(m) && c > form.bits) { code.fill(0xcc, p, p + 16); continue; }
        if (c) undefinedFlags = undefinedFlags & ~(/^r/.test(m) ? CF | OF : ARITHMETIC) | undefinedAfterShift(m, form.bits, c);
      }
    } else undefinedFlags = undefinedFlags & ~flagsDefined(m) | undefinedAfter(m);
    p += meta.length;
    n++;
    previous = m;
    for (const f of forward) if (f.remaining > 0 && (--f.remaining === 0 || n === count)) {
      f.remaining = 0;
      const d = p - f.at;
      for (let k = 0; k < f.size; k++) code[f.at - f.size + k] = d >> 8 * k & 255;
      undefinedFlags |= f.undefinedFlags;
    }
  }
  if (loops) { // dec dword [COUNTER]; jnz to the start
    const bytes = [0xff, ...(compat ? [0x0d] : [0x0c, 0x25]), COUNTER & 255, COUNTER >> 8 & 255, COUNTER >> 16 & 255, COUNTER >>> 24];
    const back = at - (p + bytes.length + 6);
    code.set([...bytes, 0x0f, 0x85, back & 255, back >> 8 & 255, back >> 16 & 255, back >> 24 & 255], p);
    p += bytes.length + 6;
    undefinedFlags &= CF;
  }
  sequenceInputs(maker, words, base, at, p - at, compat, undefinedFlags, meta);
}

/** Fresh inputs for the sequence at code[at]. */
export function sequenceInputs(maker: CaseMaker, words: Uint32Array, base: number, at: number, length: number, compat: boolean, undefinedFlags: number, meta: Meta): void {
  maker.begin(words, base, compat, false);
  maker.quietWindows();
  words[base + WORD.data + 32] = maker.r.range(1, 6);
  meta.at = at; meta.length = length; meta.step = false; meta.undefinedFlags = undefinedFlags; meta.compat = compat;
  meta.form = undefined; meta.formIndex = -1;
  words[base + WORD.rip] = CODE + at; words[base + WORD.rip + 1] = 0;
  if (compat) for (let n = 0; n < 16; n++) words[base + WORD.gpr + 2 * n + 1] = 0;
}
