// Calls of small functions, replaced by what the functions do. The engine of a host process does not (bin/node26.mjs), and
// a call costs more than a small function does: a frame, a look at the stack and at the attention word, all registers saved.
//
//   call $f   becomes   local.set (parameters, last first), zeroes for $f's other locals, block ($f's result) ... end
//
// with the function's locals as new ones of the caller, and `return` as a branch to the block's end. A function's own label
// has the block's depth, so no other branch changes. $f itself stays, for whoever else calls it. An indirect call is first
// compared with what the table can hold, where that is little and no code changes tables.
//
// What still calls keeps its look at the attention word, and so do loops: who never ends passes one of them for ever. The
// stack is as bounded as before, by the engine. What is written has a bound, for each function and for the module.
import { ModuleError, type Reader, Writer } from './bytes.ts';
import { movedFunction, rewriteExpression, valueType, writeAttentionCheck, writeIndirectCall, type Rewriting, type Target, type Written } from './instructions.ts';

/** Code of functions that are inlined everywhere; in loops, and in what is inlined itself; and of those that call (themselves, perhaps). */
const TINY_BYTES = 16, SMALL_BYTES = 128, CALLING_BYTES = 64;
/** How deep inlined functions are in each other. */
const LEVELS = 4;
const CALLEE_LOCALS = 16, CALLER_LOCALS = 40_000;
/** A function, and the module, may grow by so much and half of what they are. */
const GROWTH_BYTES = 1024;
/** Slots of the table that an indirect call is compared with. */
const SLOTS = 2, GUARD_BYTES = 16;
const V128 = 0x7b, F64 = 0x7c, F32 = 0x7d, I64 = 0x7e, I32 = 0x7f, EMPTY = 0x40;
const ZERO: Readonly<Record<number, readonly number[]>> = { [I32]: [0x41, 0], [I64]: [0x42, 0], [F32]: [0x43, 0, 0, 0, 0], [F64]: [0x44, 0, 0, 0, 0, 0, 0, 0, 0], [V128]: [0xfd, 12, ...new Array<number>(16).fill(0)] };
const isNumber = (type: number): boolean => type in ZERO;

export interface FunctionType { readonly params: readonly number[]; readonly results: readonly number[] }
type Slot = readonly [slot: number, index: number];

interface Callee {
  readonly type: FunctionType;
  readonly locals: readonly number[];
  readonly calls: boolean;
  readonly sizeBytes: number;
  /** Its code, from the start, behind the locals. */
  code(): Reader;
}

/** What all functions of a module share while they are written. */
export class Functions {
  readonly #w: Rewriting;
  readonly #types: readonly FunctionType[]; readonly #typeOf: readonly number[];
  readonly #bodies: readonly Reader[];
  readonly #slots: ReadonlyMap<number, number>;
  readonly #signatures: string[] = [];
  #bySignature: Map<string, Slot[]> | undefined;
  readonly #callees = new Map<number, Callee | undefined>();
  #leftBytes: number;

  /** @param typeOf and bodies: of functions that are not imported @param slots what the first table holds, if always */
  constructor(w: Rewriting, types: readonly FunctionType[], typeOf: readonly number[], bodies: readonly Reader[], slots: ReadonlyMap<number, number>) {
    this.#w = w;
    this.#types = types; this.#typeOf = typeOf;
    this.#bodies = bodies;
    this.#slots = slots;
    this.#leftBytes = bodies.reduce((sum, body) => sum + body.left, 0) / 2 + GROWTH_BYTES;
  }
  type(index: number): FunctionType | undefined { return this.#types[this.#typeOf[index - this.#w.imported] ?? -1]; }
  /** Whether the module may grow by so much more. */
  take(bytes: number): boolean {
    if (bytes > this.#leftBytes) return false;
    this.#leftBytes -= bytes;
    return true;
  }

  callee(index: number): Callee | undefined {
    if (!this.#callees.has(index)) this.#callees.set(index, this.#look(index));
    return this.#callees.get(index);
  }
  #look(index: number): Callee | undefined {
    const body = this.#bodies[index - this.#w.imported], type = this.type(index), locals: number[] = [];
    if (!body || body.left > SMALL_BYTES || !type || type.params.length > CALLEE_LOCALS || !type.params.every(isNumber) || !type.results.every(isNumber) || type.results.length > 1) return undefined;
    const r = body.again();
    for (let groups = r.u32(); groups > 0; groups--) {
      const count = r.u32(), local = r.byte();
      if (!isNumber(local) || locals.length + count > CALLEE_LOCALS) return undefined;
      locals.push(...new Array<number>(count).fill(local));
    }
    const from = r.again(), sizeBytes = r.left, known = type.params.length + locals.length;
    let strange = false;
    const { calls, bound } = rewriteExpression(r, new Writer(), this.#w, { hints: [], inlined: true, local: n => { if (n >= known) strange = true; return n; }, call: () => undefined, indirectCall: () => undefined });
    if (bound || strange || !r.done || calls && sizeBytes > CALLING_BYTES) return undefined;
    return { type, locals, calls, sizeBytes, code: () => from.again() };
  }
  /** The slots of the first table whose functions have this type, where they are few. */
  reachable(type: number): readonly Slot[] {
    const found = (this.#bySignature ??= this.#sorted()).get(this.#signature(type));
    return found && found.length <= SLOTS ? found : [];
  }
  /** The same for types that are the same; made once, for a module may have many calls of a type as large as itself. */
  #signature(type: number): string { return this.#signatures[type] ??= `${this.#types[type]?.params.join()}>${this.#types[type]?.results.join()}`; }
  #sorted(): Map<string, Slot[]> {
    const all = new Map<string, Slot[]>();
    for (const [slot, index] of this.#slots) {
      const type = this.#typeOf[index - this.#w.imported];
      if (type === undefined) continue;
      const key = this.#signature(type), list = all.get(key);
      if (list) list.push([slot, index]); else all.set(key, [[slot, index]]);
    }
    return all;
  }
}

/** One function, as it is written with what is inlined in it. */
export class FunctionWriter {
  readonly #functions: Functions; readonly #w: Rewriting;
  readonly #hints: number[] = [];
  /** Types of locals that were added, and those of them that are not in use. */
  readonly #added: number[] = []; readonly #free = new Map<number, number[]>();
  #locals = 0;
  #leftBytes = 0;

  constructor(functions: Functions, w: Rewriting) { this.#functions = functions; this.#w = w; }

  /** @returns the body, and where in it branches are that are rarely taken */
  write(index: number, r: Reader): { body: Writer; hints: readonly number[] } {
    const body = new Writer(), code = new Writer(), groups = r.u32(), from = r.at;
    this.#locals = this.#functions.type(index)?.params.length ?? CALLER_LOCALS;
    for (let n = groups; n > 0; n--) { this.#locals += r.u32(); valueType(r); }
    const to = r.at, own = this.#locals;
    this.#leftBytes = r.left / 2 + GROWTH_BYTES;
    const { calls } = rewriteExpression(r, code, this.#w, this.#part(0, false, n => { if (n >= own) throw new ModuleError(`local ${n} is not there`); return n; }));
    if (!r.done) throw new ModuleError('a function goes on after its end');
    body.u32(groups + this.#added.length);
    body.bytes(r.bytes.subarray(from, to));
    for (const type of this.#added) body.bytes([1, type]);
    // What neither loops nor calls comes to an end by itself.
    const hints: number[] = [];
    if (calls) writeAttentionCheck(body, this.#w, hints);
    for (const at of this.#hints) hints.push(body.length + at);
    body.bytes(code.taken());
    return { body, hints };
  }

  #part(level: number, often: boolean, local: (index: number) => number): Target {
    return {
      hints: this.#hints, inlined: level > 0, local,
      call: (index, inLoop, out) => this.#inlined(index, level, often || inLoop, out),
      indirectCall: (type, table, inLoop, out) => table === 0 && (often || inLoop) ? this.#compared(type, level, out) : undefined,
    };
  }
  /** @param often in a loop, or in what is inlined itself */
  #inlined(index: number, level: number, often: boolean, out: Writer): Written | undefined {
    const callee = level < LEVELS ? this.#functions.callee(index) : undefined;
    if (!callee || callee.sizeBytes > (often ? SMALL_BYTES : TINY_BYTES) || this.#locals > CALLER_LOCALS || !this.#take(callee.sizeBytes)) return undefined;
    const { type: { params, results }, locals } = callee, types = [...params, ...locals], places = types.map(type => this.#local(type));
    for (let n = params.length - 1; n >= 0; n--) { out.byte(0x21); out.u32(places[n]!); }
    for (let n = params.length; n < types.length; n++) { out.bytes(ZERO[types[n]!]!); out.byte(0x21); out.u32(places[n]!); }
    out.bytes([0x02, results[0] ?? EMPTY]);
    const written = rewriteExpression(callee.code(), out, this.#w, this.#part(level + 1, true, n => places[n]!));
    for (const [n, type] of types.entries()) this.#free.get(type)!.push(places[n]!);
    return written;
  }
  /** if (slot is $a's) call $a, else if (slot is $b's) call $b, else as it was. */
  #compared(type: number, level: number, out: Writer): Written | undefined {
    const slots = this.#functions.reachable(type);
    if (slots.length === 0 || this.#locals > CALLER_LOCALS || !this.#take(GUARD_BYTES * slots.length)) return undefined;
    const at = this.#local(I32);
    out.byte(0x21);
    out.u32(at);
    for (const [slot, index] of slots) {
      out.byte(0x20); out.u32(at); out.byte(0x41); out.s32(slot); out.bytes([0x46, 0x04]); out.s32(type);
      if (!this.#inlined(index, level, true, out)) { out.byte(0x10); out.u32(movedFunction(this.#w, index)); }
      out.byte(0x05);
    }
    out.byte(0x20); out.u32(at);
    writeIndirectCall(out, type, 0);
    for (let n = slots.length; n > 0; n--) out.byte(0x0b);
    this.#free.get(I32)!.push(at);
    return { calls: true, bound: false };
  }
  /** A local of this type that is not in use. */
  #local(type: number): number {
    const free = this.#free.get(type), place = free?.pop();
    if (!free) this.#free.set(type, []);
    if (place !== undefined) return place;
    this.#added.push(type);
    return this.#locals++;
  }
  #take(bytes: number): boolean {
    if (bytes > this.#leftBytes || !this.#functions.take(bytes)) return false;
    this.#leftBytes -= bytes;
    return true;
  }
}
