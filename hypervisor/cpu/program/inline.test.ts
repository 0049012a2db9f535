import { expect, test } from 'vitest';
import { attentionOffset } from '../layout.ts';
import { ModuleError, Writer } from './bytes.ts';
import { ADDED_IMPORTS, rewriteModule, type RewrittenModule } from './rewrite.ts';

const BASE = 0x20000, PAGES = 8, I32 = 0x7f, I64 = 0x7e, F32 = 0x7d, F64 = 0x7c, V128 = 0x7b, FUNCREF = 0x70, EMPTY = 0x40;
/** The ways in which an instruction is a byte or more. */
const u = (n: number): number[] => { const w = new Writer(); w.u32(n); return [...w.taken()]; };
const i32 = (n: number): number[] => { const w = new Writer(); w.byte(0x41); w.s32(n); return [...w.taken()]; };
const get = (n: number): number[] => [0x20, n], set = (n: number): number[] => [0x21, n], call = (n: number): number[] => [0x10, n];
/** RANDOM_MODULES is the long run. */
const MODULES = Number(process.env['RANDOM_MODULES'] ?? 400);
const RETURN = 0x0f, END = 0x0b, DROP = 0x1a, UNREACHABLE = 0x00, ADD = 0x6a, SUB = 0x6b;

interface Fn { readonly params: number[]; readonly results: number[]; readonly locals?: number[]; readonly code: number[] }
interface Parts {
  readonly functions: readonly Fn[]; readonly table?: readonly number[]; readonly tag?: boolean;
  /** Segments behind the table's own, as they are; types ahead of the functions'; a second table. */
  readonly elements?: readonly number[][]; readonly padding?: number; readonly second?: boolean;
}
/** A module: each function with a type of the same number (behind the padding), exported as f0, f1, ... where JavaScript can call it; an i32 global. */
function moduleOf({ functions, table, tag, elements = [], padding = 0, second }: Parts): Uint8Array<ArrayBuffer> {
  const out = new Writer(), section = (id: number, ...body: number[]): void => { out.byte(id); out.u32(body.length); out.bytes(body); };
  const shown = functions.map((_, n) => n).filter(n => ![...functions[n]!.params, ...functions[n]!.results].includes(V128));
  out.bytes([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
  section(1, ...u(padding + functions.length + 1), ...new Array<number[]>(padding).fill([0x60, 0, 0]).flat(), ...functions.flatMap(f => [0x60, ...u(f.params.length), ...f.params, ...u(f.results.length), ...f.results]), 0x60, 0, 0);
  section(3, ...u(functions.length), ...functions.flatMap((_, n) => u(padding + n)));
  if (table) section(4, second ? 2 : 1, FUNCREF, 0, ...u(table.length + 1), ...second ? [FUNCREF, 0, ...u(table.length + 1)] : []);
  section(5, 1, 1, 1, 4);
  if (tag) section(13, 1, 0, ...u(padding + functions.length));
  section(6, 1, I32, 1, ...i32(0), END);
  section(7, ...u(shown.length + 2), 1, 0x67, 3, 0, 1, 0x6d, 2, 0, ...shown.flatMap(n => { const name = [...`f${n}`].map(c => c.charCodeAt(0)); return [name.length, ...name, 0, ...u(n)]; }));
  if (table) section(9, 1 + elements.length, 0, ...i32(0), END, ...u(table.length), ...table.flatMap(u), ...elements.flat());
  section(10, ...u(functions.length), ...functions.flatMap(f => { const body = [...u(f.locals?.length ?? 0), ...(f.locals ?? []).flatMap(type => [1, type]), ...f.code, END]; return [...u(body.length), ...body]; }));
  return out.taken();
}
interface Loaded {
  readonly call: (name: string, ...args: unknown[]) => unknown;
  /** The global; and the first page of the program's memory. */
  readonly start: (rounds: number) => void; readonly left: () => number; readonly memory: () => Uint8Array;
  /** What lies below it and is the vCPU's, but for the attention word. */
  readonly below: () => Buffer;
  readonly words: Int32Array; readonly attention: { count: number; act: () => void };
}
function load(bytes: Uint8Array<ArrayBuffer>): Loaded {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true }), attention = { count: 0, act: () => {} };
  const added = { memory, attention: () => { attention.count++; attention.act(); }, size: () => 1, grow: () => -1 };
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { [ADDED_IMPORTS]: added });
  const { g, m } = exports as { g: WebAssembly.Global<'i32'>; m: WebAssembly.Memory };
  const below = (): Buffer => { const all = Buffer.from(new Uint8Array(memory.buffer, 0, BASE)); all.writeInt32LE(0, attentionOffset(0)); return all; };
  return { below, start: rounds => { g.value = rounds; }, left: () => g.value, memory: () => new Uint8Array(m.buffer, m === memory ? BASE : 0, 65536), call: (name, ...args) => (exports[name] as (...args: unknown[]) => unknown)(...args), words: new Int32Array(memory.buffer), attention };
}
const rewritten = (parts: Parts): Loaded => load(rewriteModule(moduleOf(parts), BASE).bytes);
/** What a call comes to, and in how many frames of WebAssembly it ends where it traps. */
function outcome(work: () => unknown): { result: unknown; frames: number } {
  try { return { result: work(), frames: 0 }; } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { result: `${error.name}: ${error.message}`, frames: error.stack!.split('\n').filter(line => line.includes('wasm')).length };
  }
}
/** A call of f0 as the module is and rewritten comes to the same. @returns that, with the frames of the rewritten form */
function same(parts: Parts, ...args: unknown[]): { result: unknown; frames: number } {
  const plain = outcome(() => load(moduleOf(parts)).call('f0', ...args)), own = outcome(() => rewritten(parts).call('f0', ...args));
  expect(own.result).toEqual(plain.result);
  return own;
}
/** f0 calls f1 in a loop that ends after one round: f1 is inlined if anything is. */
const inLoop = (f1: Fn, args: number[] = get(0)): Parts => ({ functions: [{ params: [I32], results: f1.results, code: [0x03, f1.results[0] ?? EMPTY, ...args, ...call(1), END] }, f1] });
const TRAP: Fn = { params: [I32], results: [], code: [UNREACHABLE] };

test('a small function is a part of its caller; its arguments are in order, its other locals zero each time', () => {
  expect(same(inLoop(TRAP), 1)).toMatchObject({ result: expect.stringContaining('unreachable'), frames: 1 });
  expect(same(inLoop({ params: [I32, I32], results: [I32], code: [...get(0), ...get(1), SUB] }, [...i32(50), ...get(0)]), 8).result).toBe(42);
  // Twice: what the first round left must not be seen by the second.
  const count: Fn = { params: [], results: [I32], locals: [I32, I64, F32, F64, V128], code: [
    ...get(0), ...i32(1), ADD, ...set(0), ...get(1), 0x42, 1, 0x7c, ...set(1), ...get(2), 0x43, 0, 0, 0x80, 0x3f, 0x92, ...set(2), ...get(3), ...get(2), 0xbb, 0xa0, ...set(3), ...get(4), ...get(0), 0xfd, 17, 0xfd, 0xae, 1, ...set(4),
    ...get(0), ...get(1), 0xa7, ADD, ...get(2), 0xa8, ADD, ...get(3), 0xaa, ADD, ...get(4), 0xfd, 27, 2, ADD] };
  expect(same({ functions: [{ params: [I32], results: [I32], locals: [I32], code: [0x03, EMPTY, ...call(1), ...get(1), ADD, ...set(1), ...get(0), ...i32(1), SUB, 0x22, 0, 0x0d, 0, END, ...get(1)] }, count] }, 4).result).toBe(20);
});
test('parts in each other have locals of their own, and parts behind each other the same', () => {
  const inner: Fn = { params: [I32], results: [I32], locals: [I32], code: [...get(0), ...i32(3), 0x6c, ...set(1), ...get(1)] };
  const outer: Fn = { params: [I32], results: [I32], locals: [I32], code: [...get(0), ...i32(1), ADD, ...set(1), ...get(0), ...get(0), ADD, ...call(2), ...get(1), ADD, ...get(0), ADD] };
  const f0: Fn = { params: [I32], results: [I32], code: [0x03, I32, ...get(0), ...call(1), ...get(0), ...call(1), ADD, END] };
  expect(same({ functions: [f0, outer, inner] }, 5).result).toBe(2 * (30 + 6 + 5));
});
test('return, in the middle and below blocks, leaves the part alone; other branches go where they went', () => {
  // block block block (br_table of the argument) ...: 10, 11, a return of 12, or 13 by the function's own label.
  const choose: Fn = { params: [I32], results: [I32], code: [0x02, EMPTY, 0x02, EMPTY, 0x02, EMPTY, 0x02, EMPTY, ...get(0), 0x0e, 3, 0, 1, 2, 3, END, ...i32(10), RETURN, END, ...i32(11), 0x0c, 2, END, 0x03, I32, ...i32(12), RETURN, ...i32(1), ADD, END, RETURN, END, ...i32(13)] };
  for (let n = 0; n < 5; n++) expect(same(inLoop(choose), n).result).toBe([10, 11, 12, 13, 13][n]);
  const dead: Fn = { params: [I32], results: [I32], code: [...get(0), RETURN, DROP, ...call(1), ADD] };
  expect(same(inLoop(dead), 5).result).toBe(5);
  expect(same({ functions: [{ params: [I32], results: [I32], code: [0x03, I32, ...i32(7), RETURN, ...call(1), END] }, choose] }, 5).result).toBe(7);
});
test('several results, exceptions that are caught and calls in the function\'s place stay in functions of their own', () => {
  const two: Fn = { params: [I32], results: [I32, I32], code: [...get(0), ...i32(3)] };
  expect(same({ functions: [{ params: [I32], results: [I32], code: [0x03, I32, ...get(0), ...call(1), SUB, END] }, two] }, 45).result).toBe(42);
  const bound = { 'a call in its place': [...get(0), 0x12, 2], 'an indirect one': [...get(0), ...i32(0), 0x13, 2, 0], 'try_table': [0x1f, EMPTY, 0, ...get(0), ...call(2), END], 'try': [0x06, EMPTY, ...get(0), ...call(2), 0x19, END] };
  for (const [what, code] of Object.entries(bound)) {
    const parts = inLoop({ params: [I32], results: [], code });
    expect(same({ functions: [...parts.functions, TRAP], table: [2] }, 1), what).toMatchObject({ result: expect.stringContaining('unreachable'), frames: 2 });
  }
  expect(same({ functions: [{ params: [I32], results: [I32], code: [0x03, I32, 0x06, I32, 0x06, I32, ...call(1), ...i32(1), 0x18, 0, 0x19, ...i32(5), END, END] }, { params: [], results: [], code: [0x08, 0] }], tag: true }, 1).result).toBe(5);
  // What is thrown by a part is caught by the caller.
  expect(same({ functions: [{ params: [I32], results: [I32], code: [0x03, I32, 0x02, EMPTY, 0x1f, EMPTY, 1, 2, 0, ...call(1), END, ...i32(1), RETURN, END, ...i32(2), END] }, { params: [], results: [], code: [0x08, 0] }], tag: true }, 1).result).toBe(2);
});
test('an indirect call reaches what the table holds, and traps where it did', () => {
  const indirect = (code: number[] = []): Parts => ({ functions: [{ params: [I32], results: [I32], code: [0x03, I32, ...i32(40), ...get(0), 0x11, 1, 0, END, ...code] }, { params: [I32], results: [I32], code: [...get(0), ...i32(2), ADD] }, { params: [], results: [], code: [] }, { params: [I32], results: [I32], code: [UNREACHABLE] }], table: [1, 2, 3] });
  expect(same(indirect(), 0).result).toBe(42);
  expect(same(indirect(), 1).result).toMatch(/signature|null function/);
  expect(same(indirect(), 2)).toMatchObject({ result: expect.stringContaining('unreachable'), frames: 1 });
  expect(same(indirect(), 3).result).toMatch(/signature|null function/);
  expect(same(indirect(), -1).result).toMatch(/table index|out of bounds/);
  // table[0] = f3, when the call of that slot is compiled already
  const changed = indirect(), functions = changed.functions.with(0, { ...changed.functions[0]!, code: [...i32(0), 0xd2, 3, 0x26, 0, ...changed.functions[0]!.code] });
  expect(same({ ...changed, functions }, 0)).toMatchObject({ result: expect.stringContaining('unreachable'), frames: 2 });
  // The same by table.init from a passive segment, table.copy, table.fill; and by further segments from the start.
  const first = (code: number[]): readonly Fn[] => changed.functions.with(0, { ...changed.functions[0]!, code: [...code, ...changed.functions[0]!.code] }), passive = [1, 0, 1, 3];
  for (const code of [[...i32(0), ...i32(0), ...i32(1), 0xfc, 12, 1, 0], [...i32(0), ...i32(2), ...i32(1), 0xfc, 14, 0, 0], [...i32(0), 0xd2, 3, ...i32(1), 0xfc, 17, 0]]) {
    expect(same({ ...changed, functions: first(code), ...code.at(-3) === 12 ? { elements: [passive] } : {} }, 0), `0xfc ${code.join()}`).toMatchObject({ result: expect.stringContaining('unreachable'), frames: 2 });
  }
  for (const segment of [[0, ...i32(0), END, 1, 3], [2, 0, ...i32(0), END, 0, 1, 3], [4, ...i32(0), END, 1, 0xd2, 3, END]]) expect(same({ ...changed, elements: [segment] }, 0).result, segment.join()).toMatch(/unreachable/);
  expect(same({ ...changed, elements: [passive, [3, 0, 1, 3]] }, 0).result).toBe(42);
  // Another table's slots are others.
  const other: Fn = { params: [I32], results: [I32], code: [0x03, I32, ...i32(40), ...get(0), 0x11, 1, 1, END] };
  expect(same({ ...changed, functions: changed.functions.with(0, other), elements: [[2, 1, ...i32(0), END, 0, 1, 3]], second: true }, 0).result).toMatch(/unreachable/);
  // Types of numbers that take two bytes, also as a block's.
  const far = changed.functions.with(0, { ...changed.functions[0]!, code: changed.functions[0]!.code.toSpliced(changed.functions[0]!.code.indexOf(0x11) + 1, 1, ...u(71)) });
  for (const slot of [0, 1, 2]) same({ ...changed, functions: far, padding: 70 }, slot);
  expect(same({ ...changed, functions: far, padding: 70 }, 0).result).toBe(42);
});

const FIB: Fn = { params: [I32], results: [I32], code: [...get(0), ...i32(2), 0x49, 0x04, EMPTY, ...get(0), RETURN, END, ...get(0), ...i32(1), SUB, ...call(0), ...get(0), ...i32(2), SUB, ...call(0), ADD] };
test('recursion: some levels are one function, and the rest is as before', () => {
  expect(same({ functions: [FIB] }, 15).result).toBe(610);
  const down: Fn = { params: [I32], results: [I32], code: [...get(0), 0x45, 0x04, EMPTY, UNREACHABLE, END, ...get(0), ...i32(1), SUB, ...call(0)] };
  expect(same({ functions: [down] }, 8).frames).toBeLessThan(4);
  expect(same({ functions: [down] }, -1).result).toMatch(/RangeError/);
});
test('whoever goes on for ever looks at the attention word', () => {
  const forever: Record<string, Parts> = {
    'a loop in a part': inLoop({ params: [I32], results: [], code: [0x03, EMPTY, 0x0c, 0, END] }),
    'calls of parts in a loop': { functions: [{ params: [I32], results: [], code: [0x03, EMPTY, ...call(1), 0x0c, 0, END] }, { params: [], results: [], code: [] }] },
    'calls that branch': { functions: [{ ...FIB, code: [...get(0), 0x04, EMPTY, ...i32(1), ...call(0), DROP, END, ...i32(1), ...call(0)] }] },
    'two that call each other': { functions: [{ params: [I32], results: [I32], code: [...get(0), ...call(1), DROP, ...get(0), ...call(1)] }, { params: [I32], results: [I32], code: [...get(0), 0x45, 0x04, EMPTY, ...i32(1), RETURN, END, ...get(0), ...i32(1), SUB, ...call(0)] }] },
    'an indirect call of itself': { functions: [{ params: [I32], results: [], code: [0x03, EMPTY, ...get(0), ...i32(0), 0x11, 0, 0, END] }], table: [0] },
    'a call in its place': { functions: [{ params: [I32], results: [], code: [...get(0), 0x12, 0] }] },
  };
  for (const [what, parts] of Object.entries(forever)) {
    const { call: run, words, attention } = rewritten(parts);
    Atomics.store(words, attentionOffset(0) / 4, 1);
    attention.act = () => { if (attention.count === 1000) throw new Error('stopped'); };
    expect(() => run('f0', 1_000_000), what).toThrow('stopped');
  }
});
test('growth has an end', () => {
  const leaf: Fn = { params: [I32], results: [I32], code: [...get(0), ...new Array<number[]>(20).fill([...i32(1), ADD]).flat()] };
  const many = (calls: number): Parts => ({ functions: [{ params: [I32], results: [I32], code: [0x03, I32, ...get(0), ...new Array<number[]>(calls).fill(call(1)).flat(), END] }, leaf] });
  for (const calls of [100, 10_000]) {
    const module = moduleOf(many(calls));
    expect(rewriteModule(module, BASE).bytes.length).toBeLessThan(module.length * 2 + 2048);
    expect(same(many(calls), 3).result).toBe(3 + 20 * calls);
  }
  // Each calls itself twice: the parts of parts are bounded too.
  const wide: Parts = { functions: Array.from({ length: 200 }, () => FIB) };
  expect(rewriteModule(moduleOf(wide), BASE).bytes.length).toBeLessThan(moduleOf(wide).length * 2.5 + 2048);
});

/** Random functions that are valid, end (they share a global that counts down) and mostly are small enough to be inlined. */
class Maker {
  #state: number;
  #results: number[] = []; #locals: number[] = []; #leaf = false;
  readonly #functions: Fn[] = [];
  constructor(seed: number) { this.#state = seed * 2654435761 >>> 0 || 1; }
  #up(to: number): number { this.#state ^= this.#state << 13; this.#state ^= this.#state >>> 17; this.#state ^= this.#state << 5; return (this.#state >>> 0) % to; }
  #of<T>(list: readonly T[]): T { return list[this.#up(list.length)]!; }
  #type(): number { return this.#of([I32, I32, I32, I64, F32, F64, V128]); }
  #table: number[] = [];
  #signatures: { params: number[]; results: number[] }[] = [];
  #padding = 0;

  module(): Parts {
    const count = 2 + this.#up(5);
    this.#padding = this.#up(4) === 0 ? 70 : 0;
    this.#signatures = Array.from({ length: count }, (_, n) => ({ params: Array.from({ length: this.#up(4) }, () => n === 0 ? I32 : this.#type()), results: n === 0 ? [I32] : Array.from({ length: this.#of([0, 1, 1, 1, 2]) }, () => this.#type()) }));
    this.#table = Array.from({ length: this.#up(4) + 1 }, () => this.#up(count));
    for (const [n, { params, results }] of this.#signatures.entries()) {
      const locals = Array.from({ length: this.#up(4) }, () => this.#type());
      this.#locals = [...params, ...locals]; this.#results = results;
      this.#leaf = n > 0 && this.#up(2) === 0;
      const values = results.flatMap(type => this.#value(type, this.#up(2) + 2 - (n === 0 ? 2 : 0)));
      // if (--global < 0) return ...
      const guard = [0x23, 0, ...i32(1), SUB, 0x24, 0, 0x23, 0, ...i32(0), 0x48, 0x04, EMPTY, ...results.flatMap(type => this.#constant(type)), RETURN, END];
      this.#functions.push({ params, results, locals, code: [...this.#leaf ? [] : guard, ...this.#statements(n === 0 ? 4 : this.#up(2), 1), ...values] });
    }
    return { functions: this.#functions, table: this.#table, padding: this.#padding };
  }
  #constant(type: number): number[] {
    const n = this.#up(100) - 50;
    switch (type) {
      case I32: return i32(n);
      case I64: return [0x42, n & 0x3f];
      case F32: return [...i32(n), 0xb2];
      case F64: return [...i32(n), 0xb7];
      default: return [...i32(n), 0xfd, 17];
    }
  }
  #value(type: number, depth: number): number[] {
    const of = (wanted: number): number[] => this.#value(wanted, depth + 1), known = this.#locals.flatMap((t, n) => t === type ? [n] : []);
    if (depth > 3 || this.#up(4) === 0) return known.length > 0 && this.#up(3) > 0 ? get(this.#of(known)) : this.#constant(type);
    const callable = this.#signatures.flatMap((f, n) => f.results.length === 1 && f.results[0] === type ? [n] : []);
    if (!this.#leaf && callable.length > 0 && this.#up(2) === 0) return this.#called(this.#of(callable), depth);
    if (this.#up(6) === 0) return [...of(I32), 0x04, type, ...of(type), 0x05, ...this.#up(4) === 0 ? [...this.#results.flatMap(of), RETURN] : of(type), END];
    if (this.#up(6) === 0) return [0x02, type, ...of(type), ...of(I32), 0x0d, 0, DROP, ...of(type), ...this.#up(4) === 0 ? [0x0c, 0, ...of(type), DROP, UNREACHABLE] : [], END];
    if (this.#up(12) === 0) return [...of(type), ...of(type), ...of(I32), 0x1c, 1, type];
    switch (type) {
      case I32: return this.#of([() => [...of(I32), ...of(I32), this.#of([ADD, SUB, 0x6c, 0x73, 0x49, 0x6d])], () => [...of(I64), 0xa7], () => [...of(F32), 0xfc, 0], () => [...of(F64), ...of(F64), 0x63], () => [...of(V128), 0xfd, 27, this.#up(4)], () => [...of(I32), ...i32(0xfff), 0x71, 0x28, 0, 0]])();
      case I64: return this.#of([() => [...of(I64), ...of(I64), 0x7c], () => [...of(I32), 0xac], () => [...of(F64), 0xfc, 6]])();
      case F32: return this.#of([() => [...of(F32), ...of(F32), 0x92], () => [...of(I32), 0xb2]])();
      case F64: return this.#of([() => [...of(F64), ...of(F64), 0xa2], () => [...of(I32), 0xb7], () => [...of(F32), 0xbb]])();
      default: return this.#of([() => [...of(V128), ...of(V128), 0xfd, 0xae, 1], () => [...of(I32), 0xfd, 17], () => [...of(I32), ...i32(0xfff), 0x71, ...of(V128), 0xfd, 85, 0, 3, this.#up(8)]])();
    }
  }
  #called(index: number, depth: number): number[] {
    const args = this.#signatures[index]!.params.flatMap(type => this.#value(type, depth + 1));
    const slot = this.#up(40) === 0 ? this.#up(5) : this.#table.indexOf(index);
    return slot >= 0 && this.#up(2) === 0 ? [...args, ...i32(slot), 0x11, ...u(this.#padding + index), 0] : [...args, ...call(index)];
  }
  #statements(count: number, depth: number): number[] { return Array.from({ length: count }, () => this.#statement(depth)).flat(); }
  #statement(depth: number): number[] {
    const inner = (): number[] => depth > 2 ? [] : this.#statements(1 + this.#up(2), depth + 1), local = this.#locals.length > 0 ? this.#up(this.#locals.length) : -1;
    switch (this.#up(8)) {
      case 0: return [0x02, EMPTY, ...inner(), ...this.#value(I32, 2), 0x0d, 0, ...inner(), END];
      // A loop ends when the global has come to its end.
      case 1: return [0x03, EMPTY, ...inner(), 0x23, 0, ...i32(1), SUB, 0x24, 0, 0x23, 0, ...i32(0), 0x4a, ...this.#value(I32, 2), 0x71, 0x0d, 0, END];
      case 2: return [0x02, EMPTY, 0x02, EMPTY, ...inner(), ...this.#value(I32, 2), 0x0e, 2, 0, 1, this.#up(2), END, ...inner(), END];
      case 3: return [...this.#value(I32, 1), ...i32(0xfff), 0x71, ...this.#value(I32, 1), 0x36, 0, 0];
      case 4: return [...this.#value(I32, 2), 0x04, EMPTY, ...inner(), ...this.#up(3) === 0 ? [...this.#results.flatMap(type => this.#value(type, 2)), this.#up(2) ? RETURN : UNREACHABLE] : [], END];
      case 5: { if (this.#leaf) return []; const index = this.#up(this.#signatures.length); return [...this.#called(index, 1), ...this.#signatures[index]!.results.map(() => DROP)]; }
      default: return local < 0 ? [0x01] : [...this.#value(this.#locals[local]!, 0), ...set(local)];
    }
  }
}
test('random modules come to the same, inlined or not', () => {
  let inlined = 0, ended = 0;
  for (let seed = 1; seed <= MODULES; seed++) {
    const parts = new Maker(seed).module(), bytes = moduleOf(parts);
    expect(WebAssembly.validate(bytes), `seed ${seed} makes a module`).toBe(true);
    const form = rewriteModule(bytes, BASE).bytes, plain = load(bytes), own = load(form);
    for (const args of [[0, 0, 0], [1, -7, 1000], [-1, 3, 0x7fff_ffff]]) {
      for (const one of [plain, own]) one.start(200);
      const expected = outcome(() => plain.call('f0', ...args)), is = outcome(() => own.call('f0', ...args));
      expect(is.result, `seed ${seed}, ${args.join()}`).toEqual(expected.result);
      expect(own.left(), `seed ${seed}, ${args.join()}: rounds`).toBe(plain.left());
      expect(Buffer.compare(own.memory(), plain.memory()), `seed ${seed}, ${args.join()}: memory`).toBe(0);
      if (is.frames < expected.frames) inlined++;
      if (typeof is.result === 'number') ended++;
    }
  }
  expect([inlined > 0, ended > MODULES]).toEqual([true, true]);
});
/** Looks at the attention word before a mutant is taken for one that goes on for ever. */
const LOOKS = 2000;
/** What a call of f0 comes to, with what it leaves behind; undefined where it goes on for ever, or hangs on the size of the stack or of memory. */
function effects({ call: run, start, left, memory, words, attention }: Loaded, args: readonly number[]): unknown[] | undefined {
  start(200);
  attention.count = 0;
  attention.act = () => { if (attention.count > LOOKS) throw new Error('stopped'); };
  Atomics.store(words, attentionOffset(0) / 4, 1);
  const { result } = outcome(() => run('f0', ...args));
  return /stopped|RangeError|memory access/.test(String(result)) ? undefined : [result, left(), Buffer.from(memory()).toString('latin1')];
}
/** It still has the names that it is run by. */
const canRun = (bytes: Uint8Array<ArrayBuffer>): boolean => { const shown = WebAssembly.Module.exports(new WebAssembly.Module(bytes)); return ['f0 function', 'g global', 'm memory'].every(wanted => shown.some(e => `${e.name} ${e.kind}` === wanted)); };
test('bytes of all kinds: what is valid stays so and does the same, or is refused by a sentence; what is not does not become so', () => {
  const count = { valid: 0, invalid: 0, refused: 0, ran: 0 };
  for (let seed = 1; seed <= MODULES; seed++) {
    const whole = moduleOf(new Maker(seed).module());
    let state = seed;
    const random = (): number => { state ^= state << 13; state ^= state >>> 17; state ^= state << 5; return state >>> 0; };
    for (let mutant = 0; mutant < 20; mutant++) {
      const bytes = whole.slice();
      for (let n = random() % 3; n >= 0; n--) bytes[8 + random() % (bytes.length - 8)] = random() & (random() % 2 ? 0xff : 0x1f);
      const valid = WebAssembly.validate(bytes), what = `seed ${seed}, mutant ${mutant}`;
      count[valid ? 'valid' : 'invalid']++;
      let form: RewrittenModule;
      try { form = rewriteModule(bytes, BASE); } catch (error) {
        if (!(error instanceof ModuleError)) throw error;
        count.refused++;
        continue;
      }
      expect(WebAssembly.validate(form.bytes), what).toBe(valid);
      if (!valid || form.maxPages > PAGES - BASE / 65536 || !canRun(bytes)) continue;
      let own: Loaded, plain: Loaded;
      try { plain = load(bytes); own = load(form.bytes); } catch { continue; }
      const below = own.below();
      for (const args of [[0, 0, 0], [1, -7, 1000]]) {
        const is = effects(own, args), was = is && effects(plain, args);
        expect(Buffer.compare(own.below(), below), `${what}: what lies below its memory`).toBe(0);
        // What one was interrupted in, the other has not begun.
        if (!was) break;
        expect(is, `${what}, ${args.join()}`).toEqual(was);
        count.ran++;
      }
    }
  }
  expect(Math.min(...Object.values(count))).toBeGreaterThan(MODULES);
});
test('what was added is not for a module to name: locals, helpers', () => {
  const parts = inLoop({ params: [I32], results: [I32], code: get(0) }), naming = (code: number[]): Parts => ({ functions: [{ ...parts.functions[0]!, code: [...parts.functions[0]!.code, ...code] }, parts.functions[1]!] });
  same(naming([...get(0), DROP]), 1);
  expect(() => rewritten(naming([...get(1), DROP]))).toThrow(ModuleError);
  expect(() => rewritten(naming([...i32(0), ...i32(0), ...i32(0), ...call(2)]))).toThrow(ModuleError);
});
