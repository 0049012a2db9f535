// Flags inside a translation. Instead of the two flag words (flags.ts), the inputs of the last operation that set
// them are kept: at compile time while control flow is straight, in locals across joins, and the words are computed
// only where somebody reads them and at exits. INC and DEC, which leave CF alone, lie over what set CF.
import { type Bits, sx } from '../insn.ts';
import { S } from '../state.ts';
import { Fn, type I32, type I64, type Local, type Signature, i32, i64, ld64 } from '../wasm/builder.ts';

export type BaseState =
  /** The words in memory are right. */
  | { readonly kind: 'memory' }
  /** The locals of FlagLocals tell. */
  | { readonly kind: 'locals' }
  /** r = a + b or a - b; `plain` without a carry in. */
  | { readonly kind: 'add' | 'sub'; readonly a: I64; readonly b: I64; readonly r: I64; readonly bits: Bits; readonly plain: boolean }
  | { readonly kind: 'logic'; readonly r: I64; readonly bits: Bits }
  /** CF and OF are expressions over the locals `over`. */
  | { readonly kind: 'shift'; readonly r: I64; readonly bits: Bits; readonly cf: I64; readonly of: I64; readonly over: readonly number[] }
  | { readonly kind: 'words'; readonly result: I64; readonly aux: I64 };
export interface StepState { readonly kind: 'step'; readonly up: boolean; readonly r: I64; readonly bits: Bits; readonly base: BaseState }
export type FlagState = BaseState | StepState;

/** The state in locals: `kind` (0: words in memory) with its three inputs, and a step over it (0: none). */
export interface FlagLocals {
  readonly kind: Local<'i32'>; readonly a: Local<'i64'>; readonly b: Local<'i64'>; readonly r: Local<'i64'>;
  readonly step: Local<'i32'>; readonly stepped: Local<'i64'>;
}
const WORDS = 1, SUB = 8, ADD = 12, INC = 1, DEC = 5;
const size = (bits: Bits): number => Math.log2(bits) - 3;
export const FLAG_SIZES = [8, 16, 32, 64] as const;

export const SETTLE: Signature = { params: ['i32', 'i64', 'i64', 'i64', 'i32', 'i64'], results: [] };

/** Locals that a state needs to stay as they are. */
export function localsOf(s: FlagState): number[] {
  const of = (...values: I64[]): number[] => values.flatMap(v => v.kept ?? []);
  switch (s.kind) {
    case 'add': case 'sub': return of(s.a, s.b, s.r);
    case 'logic': return of(s.r);
    case 'shift': return [...of(s.r), ...s.over];
    case 'words': return of(s.result, s.aux);
    case 'step': return [...of(s.r), ...localsOf(s.base)];
    default: return [];
  }
}

/** Puts a state into the locals. */
export function flushFlags(f: Fn, l: FlagLocals, s: FlagState): void {
  if (s.kind === 'locals') return;
  if (s.kind === 'step') {
    flushFlags(f, l, s.base);
    f.set(l.step, i32((s.up ? INC : DEC) + size(s.bits)));
    f.set(l.stepped, s.r);
    return;
  }
  f.set(l.step, i32(0));
  f.set(l.stepped, i64(0));
  // What is not needed is cleared: it would be kept in a register over a loop for nothing.
  const [kind, a, b, r] = baseArguments(f, l, s);
  f.set(l.kind, kind);
  for (const [local, v] of [[l.a, a], [l.b, b], [l.r, r]] as const) f.set(local, v);
}
type BaseArguments = readonly [kind: I32, a: I64, b: I64, r: I64];
function baseArguments(f: Fn, l: FlagLocals, s: BaseState): BaseArguments {
  const put = (kind: number, a: I64 = i64(0), b: I64 = i64(0), r: I64 = i64(0)): BaseArguments => [i32(kind), a, b, r];
  switch (s.kind) {
    case 'memory': return put(0);
    case 'locals': return [l.kind.get(), l.a.get(), l.b.get(), l.r.get()];
    case 'add': return put(ADD + size(s.bits), s.a, s.b, s.r);
    case 'sub': return put(SUB + size(s.bits), s.a, s.b, s.r);
    default: { const { result, aux } = wordsOf(f, s); return put(WORDS, result, aux); }
  }
}
/** What SETTLE is called with to have the words of a state in memory. */
export function settleArguments(f: Fn, l: FlagLocals, s: FlagState): (I32 | I64)[] {
  if (s.kind === 'step') return [...baseArguments(f, l, s.base), i32((s.up ? INC : DEC) + size(s.bits)), s.r];
  return [...baseArguments(f, l, s), ...s.kind === 'locals' ? [l.step.get(), l.stepped.get()] : [i32(0), i64(0)]];
}

const CARRIES = 0xc000000000000000n;
/** Carry or borrow vector, as Insn computes it. */
const addVector = (a: I64, b: I64, r: I64): I64 => a.and(b).or(a.or(b).and(r.not()));
const subVector = (a: I64, b: I64, r: I64): I64 => a.not().and(b).or(a.xor(b).not().and(r));
const carries = (f: Fn, vector: I64, bits: Bits): I64 => {
  const c = f.let(vector);
  return bits === 64 ? c.and(CARRIES | 8n) : c.shl(64 - bits).and(CARRIES).or(c.and(8n));
};
const stepAux = (f: Fn, r: I64, bits: Bits, up: boolean, carry: I64): I64 => {
  const a = f.let(up ? r.sub(1) : r.add(1)), fresh = f.let(carries(f, up ? addVector(a, i64(1), r) : subVector(a, i64(1), r), bits));
  const of = f.let(fresh.xor(fresh.shl(1)).shrU(63)), cf = f.let(carry);
  return fresh.and(8n).or(cf.shl(63)).or(cf.xor(of).shl(62));
};

const shiftAux = (f: Fn, cf: I64, of: I64): I64 => { const carry = f.let(cf); return f.let(carry.shl(63).or(carry.xor(of).shl(62))); };

/** The two words of a state that is known (not in locals, nor stepped over what is). */
export function wordsOf(f: Fn, s: Exclude<BaseState, { kind: 'memory' | 'locals' }>): { result: I64; aux: I64 } {
  switch (s.kind) {
    case 'add': return { result: f.let(sx(s.r, s.bits)), aux: f.let(carries(f, addVector(s.a, s.b, s.r), s.bits)) };
    case 'sub': return { result: f.let(sx(s.r, s.bits)), aux: f.let(carries(f, subVector(s.a, s.b, s.r), s.bits)) };
    case 'logic': return { result: f.let(sx(s.r, s.bits)), aux: i64(0) };
    case 'shift': return { result: f.let(sx(s.r, s.bits)), aux: shiftAux(f, s.cf, s.of) };
    case 'words': return s;
  }
}
/** Words of a step whose base's CF is known. */
export const stepWords = (f: Fn, s: StepState, carry: I64): { result: I64; aux: I64 } =>
  ({ result: f.let(sx(s.r, s.bits)), aux: f.let(stepAux(f, s.r, s.bits, s.up, carry)) });

/** Condition codes 0..14 (even) straight from a state's inputs, where that is shorter than from the words. */
export function directCondition(s: FlagState, code: number): I32 | undefined {
  if (s.kind === 'sub' && s.plain) {
    const { a, b, r, bits } = s;
    // Of 32 bits compared as such: the baseline compiler makes a branch of that at once.
    if (bits === 32) switch (code) {
      case 2: return a.wrap().ltU(b.wrap());
      case 4: return a.wrap().eq(b.wrap());
      case 6: return a.wrap().leU(b.wrap());
      case 8: return r.wrap().ltS(0);
      case 12: return a.wrap().ltS(b.wrap());
      case 14: return a.wrap().leS(b.wrap());
      default: return undefined;
    }
    switch (code) {
      case 2: return a.ltU(b);
      case 4: return a.eq(b);
      case 6: return a.leU(b);
      case 8: return sx(r, bits).ltS(0n);
      case 12: return sx(a, bits).ltS(sx(b, bits));
      case 14: return sx(a, bits).leS(sx(b, bits));
      default: return undefined;
    }
  }
  if (s.kind === 'memory' || s.kind === 'locals' || s.kind === 'words') return undefined;
  const word = s.bits === 32, zero = word ? s.r.wrap().eqz() : s.r.eqz(), sign = word ? s.r.wrap().ltS(0) : sx(s.r, s.bits).ltS(0n);
  if (code === 4) return zero;
  if (code === 8) return sign;
  if (s.kind === 'logic') return code === 0 || code === 2 ? i32(0) : code === 6 ? zero : code === 12 ? sign : code === 14 ? word ? s.r.wrap().leS(0) : sx(s.r, s.bits).leS(0n) : undefined;
  if (s.kind === 'add' && s.plain) return code === 2 ? s.r.ltU(s.a) : code === 6 ? s.r.ltU(s.a).or(zero) : undefined;
  if (s.kind === 'shift') return code === 2 ? s.cf.wrap() : code === 6 ? s.cf.wrap().or(zero) : undefined;
  if (s.kind === 'step') {
    const carry = code === 2 || code === 6 ? directCondition(s.base, 2) : undefined;
    if (carry) return code === 2 ? carry : carry.or(zero);
    if (code === 0) return s.r.eq(BigInt.asIntN(64, s.up ? 1n << BigInt(s.bits - 1) : (1n << BigInt(s.bits - 1)) - 1n));
  }
  return undefined;
}

/** Stores the words of the state in locals (SETTLE's parameters) into memory. */
export function settleFunction(area: number): Fn {
  const f = new Fn(SETTLE), kind = f.param(0, 'i32').get(), a = f.param(1, 'i64').get(), b = f.param(2, 'i64').get(), r = f.param(3, 'i64').get();
  const step = f.param(4, 'i32').get(), stepped = f.param(5, 'i64').get();
  const store = (w: { result: I64; aux: I64 }): void => { f.st64(area, w.result, S.flagResult); f.st64(area, w.aux, S.flagAux); };
  f.block(done => {
    const is = (word: I32, n: number, then: () => void): void => f.if(word.eq(n), () => { then(); f.br(done); });
    f.block(based => {
      const based1 = (n: number, then: () => void): void => f.if(kind.eq(n), () => { then(); f.br(based); });
      based1(0, () => {});
      for (const bits of FLAG_SIZES) based1(SUB + size(bits), () => store(wordsOf(f, { kind: 'sub', a, b, r, bits, plain: false })));
      based1(WORDS, () => store({ result: a, aux: b }));
      for (const bits of FLAG_SIZES) based1(ADD + size(bits), () => store(wordsOf(f, { kind: 'add', a, b, r, bits, plain: false })));
    });
    is(step, 0, () => {});
    for (const up of [true, false]) for (const bits of FLAG_SIZES) {
      is(step, (up ? INC : DEC) + size(bits), () => store(stepWords(f, { kind: 'step', up, r: stepped, bits, base: { kind: 'memory' } }, f.let(ld64(area, S.flagAux).shrU(63)))));
    }
  });
  return f;
}
