// A WebAssembly module as its toolchain made it, to one that is a vCPU's program: its memory is the domain's, from the
// first guest frame on; what lies below (page state, attention words) it cannot name. instructions.ts says what becomes
// of its code. The module is not validated here: that is the engine's part, on the rewritten form. What this file must
// guarantee is that no instruction goes through with an address that has not been moved.
import { ModuleError, Reader, Writer } from './bytes.ts';
import { FunctionWriter, Functions, type FunctionType } from './inline.ts';
import { movedFunction, rewriteExpression, typeIndex, valueType, type Rewriting } from './instructions.ts';

const SECTION = { custom: 0, type: 1, import: 2, function: 3, table: 4, memory: 5, global: 6, export: 7, start: 8, element: 9, code: 10, data: 11, dataCount: 12, tag: 13 } as const;
/** Order of sections in a module; ids are not in order. */
const ORDER = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11] as const;
const MAX_PAGES = 65536, WASM_PAGE = 65536;
const I32 = 0x7f;
/** Entries of all tables together: they lie in the host's memory, not in the domain's. */
const TABLE_ENTRIES = 1 << 20;

/** Where the imports that are added come from. A module may not ask for it. */
export const ADDED_IMPORTS = 'xenolith:vcpu';

export interface RewrittenModule {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The memory that the module asks for, in pages of 64 KiB. */
  readonly minPages: number; readonly maxPages: number;
}

export const isModule = (bytes: Uint8Array): boolean => bytes.length >= 8 && bytes[0] === 0 && bytes[1] === 0x61 && bytes[2] === 0x73 && bytes[3] === 0x6d;

/**
 * @param base where the program's address 0 lies in the memory that it will be given
 * @throws ModuleError with a sentence
 */
export function rewriteModule(bytes: Uint8Array, base: number): RewrittenModule {
  const rewriter = new ModuleRewriter(bytes, base, true), rewritten = rewriter.run();
  return rewriter.tablesChange ? new ModuleRewriter(bytes, base, false).run() : rewritten;
}

interface Limits { readonly min: number; readonly max: number }

class ModuleRewriter {
  readonly #sections = new Map<number, Reader>();
  readonly #base: number;
  #fixedTables: boolean;
  /** Known when the module has been rewritten. */
  tablesChange = false;
  #limits: Limits | undefined;
  #imported = 0;
  readonly #types: FunctionType[] = [];
  readonly #typeOf: number[] = [];
  #functions = 0;
  readonly #inits = new Map<number, number>();
  readonly #hints = new Writer();
  #hintedFunctions = 0;

  /** @param fixedTables whether to take for granted that no code changes tables; see `tablesChange` */
  constructor(bytes: Uint8Array, base: number, fixedTables: boolean) {
    this.#base = base;
    this.#fixedTables = fixedTables;
    if (!isModule(bytes)) throw new ModuleError('it is not a WebAssembly module');
    const r = new Reader(bytes, 8);
    if (bytes[4] !== 1 || bytes[5] !== 0 || bytes[6] !== 0 || bytes[7] !== 0) throw new ModuleError(bytes[6] === 1 ? 'it is a component, not a core module' : 'its version is not 1');
    for (let place = -1; !r.done;) {
      const id = r.byte(), part = r.part(r.u32());
      if (id === SECTION.custom) continue;
      const before = place;
      place = (ORDER as readonly number[]).indexOf(id);
      if (place < 0) throw new ModuleError(`section ${id} is not known`);
      if (place <= before) throw new ModuleError(`section ${id} comes twice, or too late`);
      this.#sections.set(id, part);
    }
  }

  run(): RewrittenModule {
    const parts = new Map<number, Writer>();
    const types = this.#typeSection();
    const imports = this.#importSection(types.index);
    const functions = this.#functionSection();
    this.#memorySection();
    if (!this.#limits) throw new ModuleError('it has no memory');
    const w: Rewriting = {
      base: this.#base, types: this.#types.length, imported: this.#imported, added: 3,
      attention: this.#imported, size: this.#imported + 1, grow: this.#imported + 2,
      copy: this.#imported + 3 + this.#functions, fill: this.#imported + 4 + this.#functions,
      init: segment => this.#initHelper(segment),
      tableChanges: () => { this.tablesChange = true; },
    };
    parts.set(SECTION.type, types.writer);
    parts.set(SECTION.import, imports);
    this.#rewritten(SECTION.tag, parts, (r, out) => { const from = r.at; r.skip(1); typeIndex(r, w.types); out.copy(r, from); });
    const dataCount = this.#sections.get(SECTION.dataCount);
    if (dataCount) { const out = new Writer(); out.u32(dataCount.u32()); parts.set(SECTION.dataCount, out); }
    const share = Math.floor(TABLE_ENTRIES / Math.max(1, this.#entries(SECTION.table)));
    this.#rewritten(SECTION.table, parts, (r, out) => tableOf(r, out, share));
    this.#rewritten(SECTION.global, parts, (r, out) => { const from = r.at; valueType(r); r.skip(1); out.copy(r, from); rewriteExpression(r, out, w); });
    this.#rewritten(SECTION.export, parts, (r, out) => {
      const from = r.at;
      r.skip(r.u32());
      const kind = r.byte();
      out.copy(r, from);
      const index = r.u32();
      out.u32(kind === 0 ? movedFunction(w, index) : index);
    });
    const start = this.#sections.get(SECTION.start);
    if (start) { const out = new Writer(); out.u32(movedFunction(w, start.u32())); parts.set(SECTION.start, out); }
    parts.set(SECTION.code, this.#codeSection(w));
    this.#rewritten(SECTION.element, parts, (r, out) => elementSegment(r, out, w));
    // Helpers for memory.init are known now.
    parts.set(SECTION.function, this.#withHelpers(functions, types.index));
    this.#rewritten(SECTION.data, parts, (r, out) => dataSegment(r, out, w));
    for (const [id, r] of this.#sections) if (!r.done) throw new ModuleError(`section ${id} goes on after its end`);
    const whole = new Writer();
    whole.bytes([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
    for (const id of ORDER) {
      const part = parts.get(id);
      if (!part) continue;
      if (id === SECTION.code && this.#hintedFunctions > 0) { whole.byte(SECTION.custom); whole.sized(this.#hintSection()); }
      whole.byte(id);
      whole.sized(part);
    }
    return { bytes: whole.taken(), minPages: this.#limits.min, maxPages: this.#limits.max };
  }

  #entries(id: number): number { const r = this.#sections.get(id); return r ? new Reader(r.bytes, r.at, r.end).u32() : 0; }
  #rewritten(id: number, parts: Map<number, Writer>, entry: (r: Reader, out: Writer) => void): void {
    const r = this.#sections.get(id);
    if (!r) return;
    const out = new Writer(), count = r.u32();
    out.u32(count);
    for (let n = 0; n < count; n++) entry(r, out);
    parts.set(id, out);
  }

  /** The module's types and, behind them, those of what is added. */
  #typeSection(): { writer: Writer; index: (n: number) => number } {
    const out = new Writer(), r = this.#sections.get(SECTION.type), count = r?.u32() ?? 0, from = r?.at ?? 0;
    for (let n = 0; r && n < count; n++) {
      if (r.byte() !== 0x60) throw new ModuleError('types of the garbage collection proposal are not supported');
      this.#types.push({ params: valueTypes(r), results: valueTypes(r) });
    }
    out.u32(count + 4);
    if (r) out.copy(r, from);
    // () -> (), () -> i32, i32 -> i32, (i32 i32 i32) -> ()
    out.bytes([0x60, 0, 0, 0x60, 0, 1, I32, 0x60, 1, I32, 1, I32, 0x60, 3, I32, I32, I32, 0]);
    return { writer: out, index: n => count + n };
  }

  #importSection(type: (n: number) => number): Writer {
    const kept = new Writer(), r = this.#sections.get(SECTION.import);
    let count = 0;
    for (let n = r?.u32() ?? 0; r && n > 0; n--) {
      const from = r.at;
      if (r.name() === ADDED_IMPORTS) throw new ModuleError(`it imports from ${ADDED_IMPORTS}, which is not for modules to name`);
      r.skip(r.u32());
      switch (r.byte()) {
        case 0: this.#imported++; typeIndex(r, this.#types.length); break;
        case 1: this.#fixedTables = false; valueType(r); skipLimits(r); break;
        case 2: this.#takeMemory(memoryLimits(r)); continue;
        case 3: valueType(r); r.skip(1); break;
        case 4: r.skip(1); typeIndex(r, this.#types.length); break;
        default: throw new ModuleError('an import of an unknown kind');
      }
      kept.copy(r, from);
      count++;
    }
    const out = new Writer();
    out.u32(count + 4);
    out.bytes(kept.taken());
    for (const [i, name] of ['attention', 'size', 'grow'].entries()) { out.name(ADDED_IMPORTS); out.name(name); out.byte(0); out.u32(type(i)); }
    out.name(ADDED_IMPORTS);
    out.name('memory');
    out.bytes([2, 3, 0]);
    out.u32(MAX_PAGES);
    return out;
  }
  #functionSection(): Writer {
    const out = new Writer(), r = this.#sections.get(SECTION.function);
    this.#functions = r?.u32() ?? 0;
    if (!r) return out;
    out.bytes(r.bytes.subarray(r.at, r.end));
    for (let n = 0; n < this.#functions; n++) this.#typeOf.push(typeIndex(r, this.#types.length));
    return out;
  }
  #memorySection(): void {
    const r = this.#sections.get(SECTION.memory);
    for (let n = r?.u32() ?? 0; r && n > 0; n--) this.#takeMemory(memoryLimits(r));
  }
  #takeMemory(limits: Limits): void {
    if (this.#limits) throw new ModuleError('several memories are not supported');
    this.#limits = limits;
  }

  #hint(index: number, offsets: readonly number[]): void {
    this.#hintedFunctions++;
    this.#hints.u32(index);
    this.#hints.u32(offsets.length);
    for (const at of offsets) { this.#hints.u32(at); this.#hints.bytes([1, 0]); }
  }
  /** The custom section of the branch hinting proposal: engines keep what is rare out of the way. */
  #hintSection(): Writer {
    const out = new Writer();
    out.name('metadata.code.branch_hint');
    out.u32(this.#hintedFunctions);
    out.bytes(this.#hints.taken());
    return out;
  }

  /** Index of the helper for memory.init of one segment. */
  #initHelper(segment: number): number {
    let index = this.#inits.get(segment);
    if (index === undefined) this.#inits.set(segment, index = this.#imported + 5 + this.#functions + this.#inits.size);
    return index;
  }
  #withHelpers(functions: Writer, type: (n: number) => number): Writer {
    const out = new Writer(), added = 2 + this.#inits.size;
    out.u32(this.#functions + added);
    out.bytes(functions.taken());
    for (let n = 0; n < added; n++) out.u32(type(3));
    return out;
  }
  /** What the first table holds from the start, by slot: functions, as the module counts them. None where that is not plain to see. */
  #slots(): Map<number, number> {
    const r = this.#sections.get(SECTION.element)?.again(), slots = new Map<number, number>();
    if (!r || !this.#fixedTables) return slots;
    for (let segments = r.u32(); segments > 0; segments--) {
      if (r.u32() !== 0 || r.byte() !== 0x41) return new Map();
      let slot = r.s32();
      if (r.byte() !== 0x0b) return new Map();
      for (let n = r.u32(); n > 0; n--) slots.set(slot++, r.u32());
    }
    return slots;
  }
  #codeSection(w: Rewriting): Writer {
    const bodies = new Writer(), r = this.#sections.get(SECTION.code), count = r?.u32() ?? 0;
    if (count !== this.#functions) throw new ModuleError(`${this.#functions} functions are declared, ${count} are there`);
    const code = Array.from({ length: count }, () => r!.part(r!.u32())), functions = new Functions(w, this.#types, this.#typeOf, code, this.#slots());
    for (const [n, part] of code.entries()) {
      const { body, hints } = new FunctionWriter(functions, w).write(this.#imported + n, part.again());
      bodies.sized(body);
      if (hints.length > 0) this.#hint(this.#imported + w.added + n, hints);
    }
    bodies.sized(bulkHelper(w, [0xfc, 10, 0, 0], true));
    bodies.sized(bulkHelper(w, [0xfc, 11, 0], false));
    for (const segment of this.#inits.keys()) {
      const operation = new Writer();
      operation.bytes([0xfc, 8]);
      operation.u32(segment);
      operation.byte(0);
      bodies.sized(bulkHelper(w, operation.taken(), false));
    }
    const out = new Writer();
    out.u32(count + 2 + this.#inits.size);
    out.bytes(bodies.taken());
    return out;
  }
}

/** (destination, source or value, byte count): moves the addresses, and traps where that would wrap around. */
function bulkHelper(w: Rewriting, operation: Uint8Array | readonly number[], sourceToo: boolean): Writer {
  const out = new Writer(), last = 0xffff_ffff - w.base;
  out.byte(0);
  for (const local of sourceToo ? [0, 1] : [0]) {
    out.bytes([0x20, local, 0x41]);
    out.s32(last);
    out.bytes([0x4b, 0x04, 0x40, 0x00, 0x0b]);
  }
  for (const [local, moved] of [[0, true], [1, sourceToo], [2, false]] as const) {
    out.bytes([0x20, local]);
    if (moved) { out.byte(0x41); out.s32(w.base); out.byte(0x6a); }
  }
  out.bytes(operation);
  out.byte(0x0b);
  return out;
}

function elementSegment(r: Reader, out: Writer, w: Rewriting): void {
  const kind = r.u32();
  if (kind > 7) throw new ModuleError(`an element segment of kind ${kind}`);
  out.u32(kind);
  const passive = (kind & 1) !== 0, expressions = (kind & 4) !== 0;
  if (!passive && kind & 2) out.u32(r.u32());
  if (!passive) rewriteExpression(r, out, w);
  if (kind & 3) { const from = r.at; if (expressions) valueType(r); else r.skip(1); out.copy(r, from); }
  const count = r.u32();
  out.u32(count);
  for (let n = 0; n < count; n++) if (expressions) rewriteExpression(r, out, w); else out.u32(movedFunction(w, r.u32()));
}

function dataSegment(r: Reader, out: Writer, w: Rewriting): void {
  const kind = r.u32();
  if (kind > 2) throw new ModuleError(`a data segment of kind ${kind}`);
  if (kind === 2 && r.u32() !== 0) throw new ModuleError('several memories are not supported');
  out.u32(kind === 1 ? 1 : 0);
  if (kind !== 1) {
    // Only a constant can be known not to wrap around below the program's own part.
    if (r.byte() !== 0x41) throw new ModuleError('a data segment at a computed address is not supported');
    const address = (r.s32() >>> 0) + w.base;
    if (r.byte() !== 0x0b) throw new ModuleError('a data segment at a computed address is not supported');
    if (address > 0xffff_ffff) throw new ModuleError('a data segment beyond the end of memory');
    out.byte(0x41);
    out.s32(address);
    out.byte(0x0b);
  }
  const count = r.u32(), part = r.part(count);
  out.u32(count);
  out.bytes(part.bytes.subarray(part.at, part.end));
}

function valueTypes(r: Reader): number[] {
  const types: number[] = [];
  for (let n = r.u32(); n > 0; n--) {
    const from = r.at;
    valueType(r);
    types.push(r.bytes.subarray(from, r.at).reduce((type, byte) => type << 8 | byte, 0));
  }
  return types;
}

/** A table grows to its share of what all may have, whatever it declares. */
function tableOf(r: Reader, out: Writer, share: number): void {
  const from = r.at;
  if (r.byte() === 0x40) throw new ModuleError('tables with an initial value are not supported');
  r.at--;
  valueType(r);
  out.copy(r, from);
  const flags = r.u32();
  if (flags & ~1) throw new ModuleError('a table with unknown flags');
  const min = r.u32(), max = flags & 1 ? r.u32() : share;
  if (min > share) throw new ModuleError(`a table of ${min} entries; there is room for ${share} in each of its tables`);
  out.byte(1);
  out.u32(min);
  out.u32(max < min ? max : Math.min(max, share));
}
function skipLimits(r: Reader): void {
  const flags = r.u32();
  r.skipNumber();
  if (flags & 1) r.skipNumber();
}
function memoryLimits(r: Reader): Limits {
  const flags = r.u32();
  if (flags & ~3) throw new ModuleError(flags & 4 ? 'memories with 64-bit addresses are not supported' : 'a memory with unknown flags');
  const min = r.u32(), max = flags & 1 ? r.u32() : MAX_PAGES;
  if (min > MAX_PAGES || max > MAX_PAGES || max < min) throw new ModuleError(`a memory of ${min} to ${max} pages`);
  return { min, max };
}
export { WASM_PAGE };
