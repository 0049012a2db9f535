// A small typed WebAssembly emitter. An expression is a value with a type and the bytes that compute it; a
// function collects statements. Expressions are re-evaluated wherever they are used: `let` keeps a value.

export type Type = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';
const TYPE_CODE: Record<Type, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b };
/** Bytes, as characters up to 255: joining strings is cheap, however long, and they are turned into bytes once. */
export type Code = string;
export const BYTE: readonly string[] = Array.from({ length: 256 }, (_, b) => String.fromCharCode(b));

const ULEB_KEPT = 4096;
const unsigned = (value: number): Code => {
  let out = '', n = value;
  for (; n >= 128; n = Math.floor(n / 128)) out += BYTE[n % 128 | 0x80]!;
  return out + BYTE[n]!;
};
const ulebs: readonly Code[] = Array.from({ length: ULEB_KEPT }, (_, n) => unsigned(n));
export const uleb = (value: number): Code => value < ULEB_KEPT ? ulebs[value]! : unsigned(value);
/** Signed, for 32 bits. */
const sleb32 = (value: number): Code => {
  let out = '', n = value;
  for (; n < -64 || n >= 64; n >>= 7) out += BYTE[n & 0x7f | 0x80]!;
  return out + BYTE[n & 0x7f]!;
};
const sleb = (value: bigint): Code => {
  let out = '', n = value;
  for (; n < -64n || n >= 64n; n >>= 7n) out += BYTE[Number(n & 0x7fn) | 0x80]!;
  return out + BYTE[Number(n & 0x7fn)]!;
};

abstract class Value {
  abstract readonly type: Type;
  readonly code: Code;
  /** The local that `let` put it in: never set again while the value is in use. */
  kept: number | undefined;
  constructor(code: Code) { this.code = code; }
}

/** What a binary operation gives for constants, and the operand it leaves as it is when the other one is `b`. */
const folded32 = (opcode: number, a: number, b: number): number | undefined => {
  switch (opcode) {
    case 0x46: return a === b ? 1 : 0;
    case 0x47: return a !== b ? 1 : 0;
    case 0x49: return a >>> 0 < b >>> 0 ? 1 : 0;
    case 0x4f: return a >>> 0 >= b >>> 0 ? 1 : 0;
    case 0x6a: return a + b | 0;
    case 0x6b: return a - b | 0;
    case 0x71: return a & b;
    case 0x72: return a | b;
    case 0x73: return a ^ b;
    case 0x74: return a << b;
    case 0x76: return a >>> b | 0;
    default: return undefined;
  }
};
const folded64 = (opcode: number, a: bigint, b: bigint): bigint | undefined => {
  const n = b & 63n;
  switch (opcode) {
    case 0x7c: return a + b;
    case 0x7d: return a - b;
    case 0x83: return a & b;
    case 0x84: return a | b;
    case 0x85: return a ^ b;
    case 0x86: return a << n;
    case 0x87: return BigInt.asIntN(64, a) >> n;
    case 0x88: return BigInt.asUintN(64, a) >> n;
    default: return undefined;
  }
};
const compared64 = (opcode: number, a: bigint, b: bigint): boolean | undefined =>
  opcode === 0x51 ? a === b : opcode === 0x52 ? a !== b : undefined;
/** Adding, shifting by, or-ing and xor-ing zero. */
const neutral64 = (opcode: number, b: bigint): boolean => b === 0n && (opcode === 0x7c || opcode === 0x7d || opcode >= 0x84 && opcode <= 0x8a) || b === -1n && opcode === 0x83;

/** 32-bit integer expression. Numbers are accepted where an operand is expected. */
export class I32 extends Value {
  readonly type = 'i32';
  /** Its value, when known now. */
  constant: number | undefined;
  private op(opcode: number, b: I32 | number): I32 {
    const other = i32(b);
    if (other.constant !== undefined) {
      if (this.constant !== undefined) { const v = folded32(opcode, this.constant, other.constant); if (v !== undefined) return i32(v); }
      if (other.constant === 0 && (opcode === 0x6a || opcode === 0x6b || opcode >= 0x72 && opcode <= 0x76)) return this;
    }
    return new I32(this.code + other.code + BYTE[opcode]!);
  }
  private un(opcode: number): I32 { return new I32(this.code + BYTE[opcode]!); }
  eqz(): I32 { return this.constant === undefined ? this.un(0x45) : i32(this.constant === 0 ? 1 : 0); }
  eq(b: I32 | number): I32 { return this.op(0x46, b); }
  ne(b: I32 | number): I32 { return this.op(0x47, b); }
  ltS(b: I32 | number): I32 { return this.op(0x48, b); }
  ltU(b: I32 | number): I32 { return this.op(0x49, b); }
  gtS(b: I32 | number): I32 { return this.op(0x4a, b); }
  gtU(b: I32 | number): I32 { return this.op(0x4b, b); }
  leS(b: I32 | number): I32 { return this.op(0x4c, b); }
  leU(b: I32 | number): I32 { return this.op(0x4d, b); }
  geU(b: I32 | number): I32 { return this.op(0x4f, b); }
  clz(): I32 { return this.un(0x67); }
  ctz(): I32 { return this.un(0x68); }
  popcnt(): I32 { return this.un(0x69); }
  add(b: I32 | number): I32 { return this.op(0x6a, b); }
  sub(b: I32 | number): I32 { return this.op(0x6b, b); }
  mul(b: I32 | number): I32 { return this.op(0x6c, b); }
  and(b: I32 | number): I32 { return this.op(0x71, b); }
  or(b: I32 | number): I32 { return this.op(0x72, b); }
  xor(b: I32 | number): I32 { return this.op(0x73, b); }
  shl(b: I32 | number): I32 { return this.op(0x74, b); }
  shrS(b: I32 | number): I32 { return this.op(0x75, b); }
  shrU(b: I32 | number): I32 { return this.op(0x76, b); }
  rotl(b: I32 | number): I32 { return this.op(0x77, b); }
  rotr(b: I32 | number): I32 { return this.op(0x78, b); }
  /** Sign- or zero-extended to 64 bits. */
  extS(): I64 { return this.constant === undefined ? new I64(this.code + '\xac') : i64(this.constant); }
  extU(): I64 { return this.constant === undefined ? within(new I64(this.code + '\xad'), 32) : i64(this.constant >>> 0); }
  toF32S(): F32 { return new F32(this.code + '\xb2'); }
  toF64S(): F64 { return new F64(this.code + '\xb7'); }
  asF32(): F32 { return new F32(this.code + '\xbe'); }
}

/** Values of one `of` differ by the difference of what was added. */
export interface Origin { readonly of: number; readonly plus: number }

const LOW = 0xffffffffn;
/** 64-bit integer expression. Bigints and numbers are accepted where an operand is expected. */
export class I64 extends Value {
  readonly type = 'i64';
  /** Its value (signed), when known now. */
  constant: bigint | undefined;
  /** It is surely below two to the power of this. */
  within = 64;
  /** It is a value that has been met before, plus a constant. */
  origin: Origin | undefined;
  private op(opcode: number, b: I64 | bigint | number): I64 {
    const other = i64(b), c = other.constant;
    if (c !== undefined) {
      if (this.constant !== undefined) { const v = folded64(opcode, this.constant, c); if (v !== undefined) return i64(v); }
      if (neutral64(opcode, c) || opcode === 0x83 && c === LOW && this.within <= 32) return this;
      // Cut and extended again: the baseline compiler has no AND with a constant that large.
      if (opcode === 0x83 && c === LOW) return within(new I64(this.code + '\xa7\xad'), 32);
      if (opcode === 0x83 && c > 0n) return within(new I64(this.code + other.code + BYTE[opcode]!), bitsOf(c));
    }
    return new I64(this.code + other.code + BYTE[opcode]!);
  }
  private cmp(opcode: number, b: I64 | bigint | number): I32 {
    const other = i64(b), known = this.constant === undefined || other.constant === undefined ? undefined : compared64(opcode, this.constant, other.constant);
    return known === undefined ? new I32(this.code + other.code + BYTE[opcode]!) : i32(known ? 1 : 0);
  }
  private un(opcode: number): I64 { return new I64(this.code + BYTE[opcode]!); }
  eqz(): I32 { return this.constant === undefined ? new I32(this.code + '\x50') : i32(this.constant === 0n ? 1 : 0); }
  eq(b: I64 | bigint | number): I32 { return this.cmp(0x51, b); }
  ne(b: I64 | bigint | number): I32 { return this.cmp(0x52, b); }
  ltS(b: I64 | bigint | number): I32 { return this.cmp(0x53, b); }
  ltU(b: I64 | bigint | number): I32 { return this.cmp(0x54, b); }
  gtS(b: I64 | bigint | number): I32 { return this.cmp(0x55, b); }
  gtU(b: I64 | bigint | number): I32 { return this.cmp(0x56, b); }
  leS(b: I64 | bigint | number): I32 { return this.cmp(0x57, b); }
  leU(b: I64 | bigint | number): I32 { return this.cmp(0x58, b); }
  geU(b: I64 | bigint | number): I32 { return this.cmp(0x5a, b); }
  clz(): I64 { return this.un(0x79); }
  ctz(): I64 { return this.un(0x7a); }
  popcnt(): I64 { return this.un(0x7b); }
  private moved(sum: I64, by: I64 | bigint | number, sign: 1 | -1): I64 {
    const c = i64(by).constant;
    if (this.origin && c !== undefined && sum !== this) sum.origin = { of: this.origin.of, plus: this.origin.plus + sign * Number(c) };
    return sum;
  }
  add(b: I64 | bigint | number): I64 {
    if (this.constant !== undefined && typeof b === 'object' && b.constant === undefined) return b.add(this);
    return this.moved(this.op(0x7c, b), b, 1);
  }
  sub(b: I64 | bigint | number): I64 { return this.moved(this.op(0x7d, b), b, -1); }
  mul(b: I64 | bigint | number): I64 { return this.op(0x7e, b); }
  divS(b: I64 | bigint | number): I64 { return this.op(0x7f, b); }
  divU(b: I64 | bigint | number): I64 { return this.op(0x80, b); }
  remS(b: I64 | bigint | number): I64 { return this.op(0x81, b); }
  remU(b: I64 | bigint | number): I64 { return this.op(0x82, b); }
  and(b: I64 | bigint | number): I64 { return this.op(0x83, b); }
  or(b: I64 | bigint | number): I64 { return this.op(0x84, b); }
  xor(b: I64 | bigint | number): I64 { return this.op(0x85, b); }
  shl(b: I64 | bigint | number): I64 { return this.op(0x86, b); }
  shrS(b: I64 | bigint | number): I64 { return this.op(0x87, b); }
  shrU(b: I64 | bigint | number): I64 { return this.op(0x88, b); }
  rotl(b: I64 | bigint | number): I64 { return this.op(0x89, b); }
  rotr(b: I64 | bigint | number): I64 { return this.op(0x8a, b); }
  not(): I64 { return this.xor(-1n); }
  neg(): I64 { return i64(0n).sub(this); }
  wrap(): I32 { return this.constant === undefined ? new I32(this.code + '\xa7') : i32(Number(BigInt.asIntN(32, this.constant))); }
  sx8(): I64 { return this.un(0xc2); }
  sx16(): I64 { return this.un(0xc3); }
  sx32(): I64 { return this.un(0xc4); }
  toF32S(): F32 { return new F32(this.code + '\xb4'); }
  toF64S(): F64 { return new F64(this.code + '\xb9'); }
  asF64(): F64 { return new F64(this.code + '\xbf'); }
}

export class F32 extends Value {
  readonly type = 'f32';
  op(opcode: number, b: F32): F32 { return new F32(this.code + b.code + BYTE[opcode]!); }
  cmp(opcode: number, b: F32): I32 { return new I32(this.code + b.code + BYTE[opcode]!); }
  abs(): F32 { return new F32(this.code + '\x8b'); }
  sqrt(): F32 { return new F32(this.code + '\x91'); }
  asI32(): I32 { return new I32(this.code + '\xbc'); }
  promote(): F64 { return new F64(this.code + '\xbb'); }
}

export class F64 extends Value {
  readonly type = 'f64';
  op(opcode: number, b: F64): F64 { return new F64(this.code + b.code + BYTE[opcode]!); }
  cmp(opcode: number, b: F64): I32 { return new I32(this.code + b.code + BYTE[opcode]!); }
  abs(): F64 { return new F64(this.code + '\x99'); }
  sqrt(): F64 { return new F64(this.code + '\x9f'); }
  nearest(): F64 { return new F64(this.code + '\x9e'); }
  asI64(): I64 { return new I64(this.code + '\xbd'); }
  demote(): F32 { return new F32(this.code + '\xb6'); }
  /** Truncation with saturation (never traps). */
  truncI32(): I32 { return new I32(this.code + '\xfc\x02'); }
  truncI64(): I64 { return new I64(this.code + '\xfc\x06'); }
}

/** 128-bit vector expression; opcodes are those of the SIMD proposal (prefix 0xfd). */
export class V128 extends Value {
  readonly type = 'v128';
  /** Its 32-bit lanes, lowest first, where they are at hand: in locals. */
  lanes: readonly I32[] | undefined;
  op(opcode: number, b: V128): V128 { return new V128(this.code + b.code + '\xfd' + uleb(opcode)); }
  un(opcode: number): V128 { return new V128(this.code + '\xfd' + uleb(opcode)); }
  shift(opcode: number, count: I32 | number): V128 { return new V128(this.code + i32(count).code + '\xfd' + uleb(opcode)); }
  toI32(opcode: number): I32 { return new I32(this.code + '\xfd' + uleb(opcode)); }
  lane64(n: 0 | 1): I64 { return new I64(this.code + '\xfd\x1d' + BYTE[n]!); }
  lane32(n: number): I32 { return this.lanes?.[n] ?? new I32(this.code + '\xfd\x1b' + BYTE[n]!); }
  lane16u(n: number): I32 { return new I32(this.code + '\xfd\x19' + BYTE[n]!); }
  lane8u(n: number): I32 { return new I32(this.code + '\xfd\x16' + BYTE[n]!); }
  with64(n: 0 | 1, v: I64): V128 { return new V128(this.code + v.code + '\xfd\x1e' + BYTE[n]!); }
  with32(n: number, v: I32): V128 { return new V128(this.code + v.code + '\xfd\x1c' + BYTE[n]!); }
  with16(n: number, v: I32): V128 { return new V128(this.code + v.code + '\xfd\x1a' + BYTE[n]!); }
  with8(n: number, v: I32): V128 { return new V128(this.code + v.code + '\xfd\x17' + BYTE[n]!); }
  lanef64(n: 0 | 1): F64 { return new F64(this.code + '\xfd\x21' + BYTE[n]!); }
  lanef32(n: number): F32 { return new F32(this.code + '\xfd\x1f' + BYTE[n]!); }
  /** i8x16.shuffle: lanes 0-15 of this, 16-31 of b. */
  shuffle(b: V128, lanes: readonly number[]): V128 { return new V128(this.code + b.code + '\xfd\x0d' + String.fromCharCode(...lanes)); }
  and(b: V128): V128 { return this.op(78, b); }
  or(b: V128): V128 { return this.op(80, b); }
  xor(b: V128): V128 { return this.op(81, b); }
  /** this & ~b */
  andnot(b: V128): V128 { return this.op(79, b); }
}

const joined = (values: readonly Value[]): Code => { let out = ''; for (const v of values) out += v.code; return out; };
interface Of { i32: I32; i64: I64; f32: F32; f64: F64; v128: V128 }
const make = <T extends Type>(type: T, code: Code): Of[T] => {
  switch (type as Type) {
    case 'i32': return new I32(code) as Of[T];
    case 'i64': return new I64(code) as Of[T];
    case 'f32': return new F32(code) as Of[T];
    case 'f64': return new F64(code) as Of[T];
    default: return new V128(code) as Of[T];
  }
};

const KEPT_CONSTANTS = 4096;
/** Others, as displacements and addresses of records, are met once: looking for them costs more than making them. */
const common = (v: number): boolean => v >= -KEPT_CONSTANTS && v < 2 ** 20;
export const i32 = (v: I32 | number): I32 => {
  if (typeof v !== 'number') return v;
  const keep = common(v), known = keep ? constants32.get(v) : undefined;
  if (known) return known;
  const c = new I32('\x41' + sleb32(v | 0));
  c.constant = v | 0;
  if (keep && constants32.size < KEPT_CONSTANTS) constants32.set(v, c);
  return c;
};
/** A constant of which both halves are known: for what is met once. */
export function i64Words(high: number, low: number): I64 {
  let code = '\x42', l = low >>> 0, h = high | 0;
  for (;;) {
    const byte = l & 0x7f;
    l = (l >>> 7 | h << 25) >>> 0;
    h >>= 7;
    if (h === 0 && l === 0 && byte < 64 || h === -1 && l === 0xffffffff && byte >= 64) return new I64(code + BYTE[byte]!);
    code += BYTE[byte | 0x80]!;
  }
}
export const i64 = (v: I64 | bigint | number): I64 => {
  if (v instanceof I64) return v;
  const keep = typeof v === 'bigint' || common(v), known = keep ? constants.get(v) : undefined;
  if (known) return known;
  const value = BigInt.asIntN(64, BigInt(v)), small = value >= -0x80000000n && value < 0x80000000n;
  const c = new I64('\x42' + (small ? sleb32(Number(value)) : sleb(value)));
  c.constant = value;
  c.within = bitsOf(value);
  if (keep && constants.size < KEPT_CONSTANTS) constants.set(v, c);
  return c;
};
/** Constants met before. */
const constants = new Map<bigint | number, I64>(), constants32 = new Map<number, I32>();
/** The least of 8, 16, 32, 63 and 64 bits that hold a (signed) constant as an unsigned one. */
const bitsOf = (v: bigint): number => v < 0n ? 64 : v <= 0xffn ? 8 : v <= 0xffffn ? 16 : v <= 0xffffffffn ? 32 : 63;
/** Notes that a value is below 2^bits. */
const within = (v: I64, bits: number): I64 => { v.within = bits; return v; };
/** A vector constant from its 16 bytes. */
export const v128 = (bytes: readonly number[]): V128 => new V128('\xfd\x0c' + String.fromCharCode(...bytes));
export const splat64 = (v: I64): V128 => new V128(v.code + '\xfd\x12');
export const splat32 = (v: I32): V128 => new V128(v.code + '\xfd\x11');
export const splat16 = (v: I32): V128 => new V128(v.code + '\xfd\x10');
export const splat8 = (v: I32): V128 => new V128(v.code + '\xfd\x0f');
/** select(cond, a, b): a when cond is not zero. Both are evaluated. */
export const select = <V extends Value>(cond: I32, a: V, b: V): V => cond.constant !== undefined ? cond.constant ? a : b
  : make(a.type, a.type === 'v128' ? `${a.code}${b.code}${cond.code}\x1c\x01${BYTE[TYPE_CODE.v128]}` : a.code + b.code + cond.code + '\x1b') as unknown as V;

// Memory reads: address, then a constant offset. Alignment hints are 1 byte: x86 promises nothing.
const load = (opcode: number, addr: I32 | number, offset: number): Code => i32(addr).code + BYTE[opcode]! + '\x00' + uleb(offset);
export const ld8u = (a: I32 | number, o = 0): I32 => new I32(load(0x2d, a, o));
export const ld8s = (a: I32 | number, o = 0): I32 => new I32(load(0x2c, a, o));
export const ld16u = (a: I32 | number, o = 0): I32 => new I32(load(0x2f, a, o));
export const ld32 = (a: I32 | number, o = 0): I32 => new I32(load(0x28, a, o));
export const ld64 = (a: I32 | number, o = 0): I64 => new I64(load(0x29, a, o));
export const ld64from8u = (a: I32 | number, o = 0): I64 => within(new I64(load(0x31, a, o)), 8);
export const ld64from16u = (a: I32 | number, o = 0): I64 => within(new I64(load(0x33, a, o)), 16);
export const ld64from32u = (a: I32 | number, o = 0): I64 => within(new I64(load(0x35, a, o)), 32);
export const ld64from32s = (a: I32 | number, o = 0): I64 => new I64(load(0x34, a, o));
export const ld128 = (a: I32 | number, o = 0): V128 => new V128(i32(a).code + '\xfd\x00\x00' + uleb(o));
/** v128.load32_zero / load64_zero. */
export const ld128from32 = (a: I32 | number, o = 0): V128 => new V128(i32(a).code + '\xfd\x5c\x00' + uleb(o));
export const ld128from64 = (a: I32 | number, o = 0): V128 => new V128(i32(a).code + '\xfd\x5d\x00' + uleb(o));

/** A mutable local variable of a function. */
export class Local<T extends Type> {
  readonly index: number; readonly type: T;
  private readonly read: Code;
  constructor(index: number, type: T) { this.index = index; this.type = type; this.read = '\x20' + uleb(index); }
  get(): Of[T] { return make(this.type, this.read); }
}
/** A place in a function's code to go back to. */
export interface Mark { readonly code: Code; readonly depth: number }
export interface Label { readonly depth: number }
export interface Signature { readonly params: readonly Type[]; readonly results: readonly Type[] }
/** A function's index in its module, with its signature; typed by result. */
export interface FuncRef { readonly index: number; readonly signature: Signature }

/** One function under construction: statements append code. */
export class Fn {
  readonly signature: Signature;
  private code: Code = '';
  private readonly types: Type[] = [];
  private depth = 0;
  /** Conditions that nearly always go one way: place of the opcode in the code, and which way. */
  private hints: { at: number; likely: boolean }[] = [];
  /** The conditions around what comes next. */
  private readonly conditions: { readonly at: number; otherwise: boolean }[] = [];
  constructor(signature: Signature) { this.signature = signature; }

  param<T extends Type>(index: number, type: T): Local<T> { return new Local(index, type); }
  local<T extends Type>(type: T): Local<T> {
    this.types.push(type);
    return new Local(this.signature.params.length + this.types.length - 1, type);
  }
  /** Evaluates once, now; the result can be used any number of times. */
  let<V extends Value>(value: V): V {
    if (value.kept !== undefined || (value instanceof I32 || value instanceof I64) && value.constant !== undefined) return value;
    const l = this.local(value.type);
    this.set(l, value as never);
    const kept = l.get() as unknown as V;
    kept.kept = l.index;
    if (value instanceof I64) { (kept as unknown as I64).within = value.within; (kept as unknown as I64).origin = value.origin; }
    if (value instanceof V128) (kept as unknown as V128).lanes = value.lanes;
    return kept;
  }
  /** How many structures enclose what comes next. */
  get nesting(): number { return this.depth; }
  mark(): Mark { return { code: this.code, depth: this.depth }; }
  /** Forgets what was emitted since a mark. */
  rollback(to: Mark): void {
    this.code = to.code;
    this.depth = to.depth;
    this.hints = this.hints.filter(h => h.at < to.code.length);
    while ((this.conditions.at(-1)?.at ?? -1) >= to.code.length) this.conditions.pop();
  }
  /** Opens a block or loop without a closure; end() closes it. */
  begin(kind: 'block' | 'loop'): Label { this.code += BYTE[kind === 'loop' ? 0x03 : 0x02]! + '\x40'; this.depth++; return { depth: this.depth }; }
  end(): void { this.depth--; this.code += '\x0b'; }
  /** Puts the code of another function in front: its locals must be this one's. */
  prepend(other: Fn): void {
    this.hints = [...other.hints, ...this.hints.map(h => ({ ...h, at: h.at + other.code.length }))];
    this.code = other.code + this.code;
  }
  set<T extends Type>(local: Local<T>, value: Of[T]): void { this.code += (value as unknown as Value).code + '\x21' + uleb(local.index); }
  drop(value: Value): void { this.code += value.code + '\x1a'; }

  private store(opcode: number, addr: I32 | number, value: Value, offset: number): void {
    this.code += i32(addr).code + value.code + BYTE[opcode]! + '\x00' + uleb(offset);
  }
  st8(a: I32 | number, v: I32 | number, o = 0): void { this.store(0x3a, a, i32(v), o); }
  st16(a: I32 | number, v: I32 | number, o = 0): void { this.store(0x3b, a, i32(v), o); }
  st32(a: I32 | number, v: I32 | number, o = 0): void { this.store(0x36, a, i32(v), o); }
  st64(a: I32 | number, v: I64 | bigint, o = 0): void { this.store(0x37, a, i64(v), o); }
  st8from64(a: I32 | number, v: I64, o = 0): void { this.store(0x3c, a, v, o); }
  st16from64(a: I32 | number, v: I64, o = 0): void { this.store(0x3d, a, v, o); }
  st32from64(a: I32 | number, v: I64, o = 0): void { this.store(0x3e, a, v, o); }
  st128(a: I32 | number, v: V128, o = 0): void { this.code += i32(a).code + v.code + '\xfd\x0b\x00' + uleb(o); }

  /** i64.atomic.rmwN.cmpxchg_u: returns the old value, zero-extended. The address must be aligned. */
  cmpxchg(bits: 8 | 16 | 32 | 64, addr: I32, expected: I64, replacement: I64): I64 {
    const [opcode, align] = { 8: [0x4c, 0], 16: [0x4d, 1], 32: [0x4e, 2], 64: [0x49, 3] }[bits] as [number, number];
    return this.let(new I64(addr.code + expected.code + replacement.code + '\xfe' + BYTE[opcode]! + BYTE[align]! + '\x00'));
  }
  /** i64.atomic.rmw.or on an aligned address; the old value is dropped. */
  atomicOr64(addr: I32, bits: bigint): void { this.drop(new I64(addr.code + i64(bits).code + '\xfe\x34\x03\x00')); }
  fence(): void { this.code += '\xfe\x03\x00'; }
  memoryFill(addr: I32 | number, byte: number, count: I32 | number): void { this.code += i32(addr).code + i32(byte).code + i32(count).code + '\xfc\x0b\x00'; }
  memoryFillValue(addr: I32, byte: I32, count: I32): void { this.code += addr.code + byte.code + count.code + '\xfc\x0b\x00'; }
  memoryCopy(to: I32, from: I32, count: I32): void { this.code += to.code + from.code + count.code + '\xfc\x0a\x00\x00'; }

  /** @param likely what the condition nearly always is, where that is known: compilers keep the other way out of the way */
  if(cond: I32, then: () => void, otherwise?: () => void, likely?: boolean): void {
    if (cond.constant !== undefined) { if (cond.constant) then(); else otherwise?.(); return; }
    this.code += cond.code;
    const condition = { at: this.code.length, otherwise: false };
    if (likely !== undefined) this.hints.push({ at: condition.at, likely });
    this.conditions.push(condition);
    this.code += '\x04\x40';
    this.depth++;
    then();
    if (otherwise) { this.code += '\x05'; condition.otherwise = true; otherwise(); }
    this.depth--;
    this.code += '\x0b';
    this.conditions.pop();
  }
  /** What comes next is rarely reached: so says the innermost condition around it. */
  rarely(): void {
    const c = this.conditions.at(-1);
    if (c && !this.hints.some(h => h.at === c.at)) this.hints.push({ at: c.at, likely: c.otherwise });
  }
  block(body: (exit: Label) => void): void { this.nest(0x02, body); }
  loop(body: (again: Label) => void): void { this.nest(0x03, body); }
  private nest(opcode: number, body: (label: Label) => void): void {
    this.code += BYTE[opcode]! + '\x40';
    this.depth++;
    body({ depth: this.depth });
    this.depth--;
    this.code += '\x0b';
  }
  br(label: Label): void { this.code += '\x0c' + uleb(this.depth - label.depth); }
  brIf(label: Label, cond: I32, likely?: boolean): void {
    this.code += cond.code;
    if (likely !== undefined) this.hints.push({ at: this.code.length, likely });
    this.code += '\x0d' + uleb(this.depth - label.depth);
  }
  ret(value?: Value): void { if (value) this.code += value.code; this.code += '\x0f'; }
  unreachable(): void { this.code += '\x00'; }
  /** Calls and keeps the result (if any) in a local. */
  call<V extends Value = I32>(f: FuncRef, ...args: Value[]): V {
    const code = joined(args) + '\x10' + uleb(f.index);
    const result = f.signature.results[0];
    if (!result) { this.code += code; return undefined as unknown as V; }
    return this.let(make(result, code)) as unknown as V;
  }
  /** A call as a value, evaluated where it is used. */
  callValue<V extends Value = I32>(f: FuncRef, ...args: Value[]): V { return make(f.signature.results[0]!, joined(args) + '\x10' + uleb(f.index)) as unknown as V; }
  tailCall(f: FuncRef, ...args: Value[]): void { this.code += joined(args) + '\x12' + uleb(f.index); }
  /** The same with code between arguments and call. */
  protected tailCallAfter(f: FuncRef, code: Code, args: readonly Value[]): void { this.code += joined(args) + code + '\x12' + uleb(f.index); }
  /** return_call_indirect through table 0. */
  tailCallIndirect(typeIndex: number, target: I32, ...args: Value[]): void { this.code += joined(args) + target.code + '\x13' + uleb(typeIndex) + '\x00'; }
  callIndirect(typeIndex: number, target: I32, ...args: Value[]): void { this.code += joined(args) + target.code + '\x11' + uleb(typeIndex) + '\x00'; }

  private localTypes(): Code {
    let groups = 0, out = '';
    for (let n = 0; n < this.types.length; groups++) {
      const type = this.types[n]!, first = n;
      while (this.types[n] === type) n++;
      out += uleb(n - first) + BYTE[TYPE_CODE[type]]!;
    }
    return uleb(groups) + out;
  }
  /** The function's entry in the section of branch hints (WebAssembly branch hinting), or undefined. */
  branchHints(): Code | undefined {
    if (!this.hints.length) return undefined;
    const before = this.localTypes().length;
    let out = uleb(this.hints.length);
    for (const h of this.hints.toSorted((a, b) => a.at - b.at)) out += uleb(before + h.at) + (h.likely ? '\x01\x01' : '\x01\x00');
    return out;
  }
  body(): Code {
    const locals = this.localTypes();
    return uleb(locals.length + this.code.length + 1) + locals + this.code + '\x0b';
  }
}

const functionConstant = (index: number): Code => '\xd2' + uleb(index) + '\x0b';

const WASM_PAGE_BYTES = 65536;
/** A module with one imported shared memory ("e" "mem"), imported functions, one table, and its own functions. */
export class ModuleBuilder {
  private readonly memoryPages: number;
  private readonly types: string[] = [];
  private readonly imports: { name: string; type: number }[] = [];
  private readonly fns: { fn: Fn | undefined; type: number; name?: string }[] = [];
  /** Runs of functions in the table, and where each begins. */
  private elements: { at: number; functions: number[] }[] = [];
  private sharedTable = false;
  /** @param memoryBytes what the memory has at least: the baseline compiler makes an address that is known, and below this, part of the instruction */
  constructor(memoryBytes = WASM_PAGE_BYTES) { this.memoryPages = Math.ceil(memoryBytes / WASM_PAGE_BYTES); }

  typeIndex(s: Signature): number {
    const key = `${s.params.join()}>${s.results.join()}`;
    const at = this.types.indexOf(key);
    return at >= 0 ? at : this.types.push(key) - 1;
  }
  /** Imports come before any own function. */
  importFunction(name: string, signature: Signature): FuncRef {
    if (this.fns.length) throw new Error('imports come first');
    return { index: this.imports.push({ name, type: this.typeIndex(signature) }) - 1, signature };
  }
  /** Reserves an index, so that functions can call each other; define() gives the body. */
  declare(signature: Signature, exportName?: string): FuncRef {
    const entry = { fn: undefined, type: this.typeIndex(signature), ...(exportName ? { name: exportName } : {}) };
    return { index: this.imports.length + this.fns.push(entry) - 1, signature };
  }
  define(ref: FuncRef, fn: Fn): void { this.fns[ref.index - this.imports.length]!.fn = fn; }
  /** Table 0 holds these functions, from element 0. */
  setTable(refs: readonly FuncRef[]): void { this.elements = [{ at: 0, functions: refs.map(r => r.index) }]; }
  /** This function goes into the imported table ("e" "table"), as element `at`. */
  extendTable(at: number, ref: FuncRef): void { this.elements.push({ at, functions: [ref.index] }); this.sharedTable = true; }

  /** Functions of one type, and never null: a call through the table need not look what it calls. */
  private elementType(): Code { return '\x64' + sleb32(this.fns[this.elements[0]!.functions[0]! - this.imports.length]!.type); }

  build(): Uint8Array<ArrayBuffer> {
    let out = '\0asm\x01\0\0\0';
    const section = (id: number, items: readonly Code[]): void => {
      const body = uleb(items.length) + items.join('');
      out += BYTE[id]! + uleb(body.length) + body;
    };
    const list = (types: string): Code => { const codes = types ? types.split(',').map(t => BYTE[TYPE_CODE[t as Type]]!) : []; return uleb(codes.length) + codes.join(''); };
    const string = (s: string): Code => uleb(s.length) + s;
    section(1, this.types.map(t => { const [p, r] = t.split('>') as [string, string]; return '\x60' + list(p) + list(r); }));
    section(2, [string('e') + string('mem') + '\x02\x03' + uleb(this.memoryPages) + uleb(65536),
      ...(this.sharedTable ? [string('e') + string('table') + '\x01' + this.elementType() + '\x00\x00'] : []), ...this.imports.map(i => string('e') + string(i.name) + '\x00' + uleb(i.type))]);
    section(3, this.fns.map(f => uleb(f.type)));
    if (this.elements.length && !this.sharedTable) section(4, ['\x40\x00' + this.elementType() + '\x00' + uleb(this.elements.reduce((n, e) => n + e.functions.length, 0)) + functionConstant(this.elements[0]!.functions[0]!)]);
    section(7, [...(!this.elements.length || this.sharedTable ? [] : [string('table') + '\x01\x00']), ...this.fns.flatMap((f, i) => f.name ? [string(f.name) + '\x00' + uleb(this.imports.length + i)] : [])]);
    section(9, this.elements.map(({ at, functions }) => '\x06\x00\x41' + sleb32(at) + '\x0b' + this.elementType() + uleb(functions.length) + functions.map(functionConstant).join('')));
    const hinted = this.fns.flatMap((f, i) => { const h = f.fn?.branchHints(); return h ? [uleb(this.imports.length + i) + h] : []; });
    if (hinted.length) {
      const body = string('metadata.code.branch_hint') + uleb(hinted.length) + hinted.join('');
      out += '\x00' + uleb(body.length) + body;
    }
    section(10, this.fns.map(f => { if (!f.fn) throw new Error('function declared but not defined'); return f.fn.body(); }));
    const bytes = new Uint8Array(out.length);
    Buffer.from(bytes.buffer).write(out, 'latin1');
    return bytes;
  }
}
