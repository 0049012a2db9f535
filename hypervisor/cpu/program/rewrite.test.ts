import { describe, expect, test } from 'vitest';
import { attentionOffset } from '../layout.ts';
import { ADDED_IMPORTS, rewriteModule } from './rewrite.ts';
import { ModuleError } from './bytes.ts';

const BASE = 0x20000, PAGES = 8, I32 = 0x7f, I64 = 0x7e;
const section = (id: number, ...body: number[]): number[] => [id, body.length, ...body];
const moduleOf = (...sections: number[][]): Uint8Array => Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections.flat()]);
const name = (s: string): number[] => [s.length, ...[...s].map(c => c.charCodeAt(0))];
const MEMORY = section(5, 1, 1, 1, 4);
/** One function "f" with a body, beside a memory of 1 to 4 pages. */
const withFunction = (params: number[], results: number[], body: number[], ...more: number[][]): Uint8Array => moduleOf(
  section(1, 1, 0x60, params.length, ...params, results.length, ...results), section(3, 1, 0), MEMORY, section(7, 1, ...name('f'), 0, 0), ...more.filter(s => s[0]! === 12),
  section(10, 1, body.length + 2, 0, ...body, 0x0b), ...more.filter(s => s[0]! === 11));

function load(module: Uint8Array, seen: { attentions: number } = { attentions: 0 }, imports: WebAssembly.Imports = {}) {
  const memory = new WebAssembly.Memory({ initial: PAGES, maximum: PAGES, shared: true }), words = new Int32Array(memory.buffer), attention = attentionOffset(0) / 4;
  let pages = 1;
  const added = {
    memory, attention: () => { seen.attentions++; Atomics.store(words, attention, 0); }, size: () => pages,
    grow: (by: number) => { const before = pages; if (before + by > 4) return -1; pages += by; return before; },
  };
  const { bytes, minPages, maxPages } = rewriteModule(module, BASE);
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { ...imports, [ADDED_IMPORTS]: added });
  return { exports: instance.exports as Record<string, (...args: unknown[]) => unknown>, f: instance.exports['f'] as (...args: unknown[]) => unknown, bytes: new Uint8Array(memory.buffer), words, attention, minPages, maxPages };
}
const traps = (work: () => unknown): void => { expect(work).toThrow(WebAssembly.RuntimeError); };

describe('memory', () => {
  test('address 0 of the program is at the base, and nothing below can be named', () => {
    const store = load(withFunction([I32, I32], [], [0x20, 0, 0x20, 1, 0x36, 2, 0]));
    store.f(0, 42);
    store.f(65536, 43);
    expect([store.words[BASE / 4], store.words[BASE / 4 + 16384]]).toEqual([42, 43]);
    const before = store.bytes.slice(0, BASE);
    for (const address of [-1, -4, -BASE, -BASE - 4, 0x7fff_ffff, -0x8000_0000]) traps(() => store.f(address, 1));
    expect(store.bytes.slice(0, BASE)).toEqual(before);
  });
  test('constant offsets grow by it; those that cannot trap', () => {
    expect(load(withFunction([I32], [I32], [0x20, 0, 0x28, 2, 8])).f(0)).toBe(0);
    const far = load(withFunction([I32], [I32], [0x20, 0, 0x28, 2, 0xff, 0xff, 0xff, 0xff, 0x0f]));
    traps(() => far.f(0));
    traps(() => far.f(0x7fff_ffff));
  });
  test('copy, fill and init move their addresses and refuse to wrap around', () => {
    const fill = load(withFunction([I32, I32, I32], [], [0x20, 0, 0x20, 1, 0x20, 2, 0xfc, 11, 0]));
    fill.f(4, 0xaa, 3);
    expect([...fill.bytes.subarray(BASE + 3, BASE + 8)]).toEqual([0, 0xaa, 0xaa, 0xaa, 0]);
    const copy = load(withFunction([I32, I32, I32], [], [0x20, 0, 0x20, 1, 0x20, 2, 0xfc, 10, 0, 0]));
    copy.bytes.set([1, 2, 3], BASE + 10);
    copy.f(20, 10, 3);
    expect([...copy.bytes.subarray(BASE + 20, BASE + 23)]).toEqual([1, 2, 3]);
    for (const wrapped of [-BASE, -4, -BASE + 8]) { traps(() => fill.f(wrapped, 1, 4)); traps(() => copy.f(wrapped, 0, 4)); traps(() => copy.f(0, wrapped, 4)); }
    const init = load(withFunction([I32], [], [0x20, 0, 0x41, 0, 0x41, 2, 0xfc, 8, 0, 0], section(12, 1), section(11, 1, 1, 2, 7, 8)));
    init.f(30);
    expect([...init.bytes.subarray(BASE + 30, BASE + 32)]).toEqual([7, 8]);
    traps(() => init.f(-BASE));
  });
  test('size and growth are the thread\'s to answer', () => {
    const { f, minPages, maxPages } = load(withFunction([I32], [I32], [0x20, 0, 0x40, 0, 0x1a, 0x3f, 0]));
    expect([minPages, maxPages, f(2), f(9), f(1)]).toEqual([1, 4, 3, 3, 4]);
  });
  test('data goes above the base; a computed or wrapping place is refused', () => {
    const body = [0x41, 0, 0x28, 2, 0];
    expect(load(withFunction([], [I32], body, section(11, 1, 0, 0x41, 0, 0x0b, 4, 1, 2, 3, 4))).f()).toBe(0x04030201);
    expect(() => load(withFunction([], [I32], body, section(11, 1, 0, 0x41, 0x70, 0x0b, 1, 1)))).toThrow(ModuleError);
    expect(() => load(withFunction([], [I32], body, section(11, 1, 0, 0x41, 0, 0x41, 1, 0x6a, 0x0b, 1, 1)))).toThrow(/computed address/);
  });
  test('vector and atomic accesses too', () => {
    const v = load(withFunction([I32], [I64], [0x20, 0, 0xfd, 0, 0, 0, 0xfd, 0x1d, 0]));
    v.bytes.set([9], BASE + 5);
    expect(v.f(5)).toBe(9n);
    traps(() => v.f(-8));
    const lane = load(withFunction([I32], [I32], [0x20, 0, 0x41, 0, 0xfd, 0x11, 0xfd, 0x55, 0, 1, 2, 0xfd, 0x1b, 1]));
    lane.bytes.set([7], BASE + 6);
    expect(lane.f(5)).toBe(7);
    const add = load(withFunction([I32], [I32], [0x20, 0, 0x41, 5, 0xfe, 0x1e, 2, 0]));
    add.f(8);
    expect([add.f(8), add.words[BASE / 4 + 2]]).toEqual([5, 10]);
    traps(() => add.f(-8));
    expect(() => rewriteModule(withFunction([I32], [I32], [0x20, 0, 0x41, 5, 0x42, 0, 0xfe, 1, 2, 0]), BASE)).toThrow(/waiting on memory/);
  });
});

describe('attention', () => {
  test('is looked at in every loop', () => {
    const seen = { attentions: 0 };
    // loop (countdown) br_if
    const { f, words, attention } = load(withFunction([I32], [], [0x03, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0, 0x0b]), seen);
    f(1000);
    expect(seen.attentions).toBe(0);
    for (const word of [1, 0x100, 0x8000_0000 | 0]) {
      seen.attentions = 0;
      Atomics.store(words, attention, word);
      f(1000);
      expect(seen.attentions).toBe(1);
    }
  });
  test('and in functions that call', () => {
    const seen = { attentions: 0 };
    const { f, words, attention } = load(withFunction([I32], [], [0x20, 0, 0x04, 0x40, 0x20, 0, 0x41, 1, 0x6b, 0x10, 0, 0x0b]), seen);
    Atomics.store(words, attention, 1);
    f(3);
    expect(seen.attentions).toBe(1);
    expect(() => f(10_000_000)).toThrow(RangeError);
  });
});

describe('function indexes', () => {
  test('move behind the added imports, everywhere they are named', () => {
    // import x.i; functions: a = 7, f = i() + table[0]() + a(), start s sets global 0
    const module = moduleOf(
      section(1, 2, 0x60, 0, 1, I32, 0x60, 0, 0), section(2, 1, ...name('x'), ...name('i'), 0, 0), section(3, 3, 0, 0, 1), section(4, 1, 0x70, 0, 1), MEMORY,
      section(6, 2, I32, 1, 0x41, 0, 0x0b, 0x70, 0, 0xd2, 1, 0x0b), section(7, 1, ...name('f'), 0, 2), section(8, 3), section(9, 1, 0, 0x41, 0, 0x0b, 1, 1),
      section(10, 3, 4, 0, 0x41, 7, 0x0b, 16, 0, 0x10, 0, 0x41, 0, 0x11, 0, 0, 0x6a, 0x10, 1, 0x6a, 0x23, 0, 0x6a, 0x0b, 7, 0, 0x41, 0xe4, 0, 0x24, 0, 0x0b));
    expect(load(module, undefined, { x: { i: () => 1000 } }).f()).toBe(1000 + 7 + 7 + 100);
  });
});
describe('what a table holds', () => {
  test('is not known where it is imported, or where another function than the code may put something there', () => {
    // import x.t (table); functions: a = 7, b = 8; f = loop (call_indirect of slot 0). Slot 0 is a from the start, then what the importer says.
    const module = moduleOf(section(1, 1, 0x60, 0, 1, I32), section(2, 1, ...name('x'), ...name('t'), 1, 0x70, 0, 1), section(3, 3, 0, 0, 0), MEMORY, section(7, 2, ...name('f'), 0, 2, ...name('b'), 0, 1),
      section(9, 1, 0, 0x41, 0, 0x0b, 1, 0), section(10, 3, 4, 0, 0x41, 7, 0x0b, 4, 0, 0x41, 8, 0x0b, 10, 0, 0x03, I32, 0x41, 0, 0x11, 0, 0, 0x0b, 0x0b));
    const t = new WebAssembly.Table({ initial: 1, element: 'anyfunc' }), { f, exports } = load(module, undefined, { x: { t } });
    expect(f()).toBe(7);
    t.set(0, exports['b']);
    expect(f()).toBe(8);
  });
  test('may be chosen by a select of references', () => {
    const choose = load(withFunction([I32], [I32], [0xd2, 0, 0xd0, 0x70, 0x20, 0, 0x1c, 1, 0x70, 0xd1]));
    expect([choose.f(0), choose.f(1)]).toEqual([1, 0]);
  });
});
describe('hostile modules', () => {
  test('what is added, and what there is one of, are not for them to name', () => {
    const refused: Record<string, [Uint8Array, RegExp]> = {
      'the vCPU': [moduleOf(section(1, 1, 0x60, 0, 0), section(2, 1, ...name(ADDED_IMPORTS), ...name('attention'), 0, 0), MEMORY), /not for modules to name/],
      'a type that is added, of a block': [withFunction([], [], [0x02, 1, 0x0b]), /type 1 is not there/],
      'of a function': [moduleOf(section(1, 1, 0x60, 0, 0), section(3, 1, 1), MEMORY, section(10, 1, 2, 0, 0x0b)), /type 1 is not there/],
      'of an import': [moduleOf(section(1, 1, 0x60, 0, 0), section(2, 1, ...name('x'), ...name('i'), 0, 1), MEMORY), /type 1 is not there/],
      'of an exception': [moduleOf(section(1, 1, 0x60, 0, 0), MEMORY, section(13, 1, 0, 1)), /type 1 is not there/],
      'of an indirect call': [withFunction([], [], [0x41, 0, 0x11, 1, 0]), /type 1 is not there/],
      'another memory, by an access': [withFunction([], [I32], [0x41, 0, 0x28, 0x42, 1, 0]), /several memories/],
      'by its size': [withFunction([], [I32], [0x3f, 1]), /several memories/],
      'by a copy': [withFunction([], [], [0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 10, 0, 1]), /several memories/],
      'by a fill': [withFunction([], [], [0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 11, 1]), /several memories/],
      'tables of 64 bits': [moduleOf(section(4, 1, 0x70, 4, 1), MEMORY), /unknown flags/],
      'a section behind its place': [moduleOf(MEMORY, section(1, 0)), /comes twice, or too late/],
      'a section twice': [moduleOf(section(1, 0), section(1, 0), MEMORY), /comes twice/],
      'more in a section than it says': [moduleOf(section(5, 1, 1, 1, 4, 0)), /goes on after its end/],
    };
    for (const [what, [module, wanted]] of Object.entries(refused)) expect(() => rewriteModule(module, BASE), what).toThrow(wanted);
    // A zero may take more bytes than one.
    expect(load(withFunction([], [I32], [0x3f, 0x80, 0])).f()).toBe(1);
  });
  test('a function that goes on after its end is refused', () => {
    expect(() => rewriteModule(withFunction([], [], [0x01, 0x0b, 0x01]), BASE)).toThrow(/goes on after its end/);
  });
  test('bytes of all kinds: refused by a sentence, or by the engine', () => {
    let state = 1;
    const random = (): number => { state ^= state << 13; state ^= state >>> 17; state ^= state << 5; return state >>> 0; };
    const seed = withFunction([I32], [I32], [0x20, 0, 0x28, 2, 8, 0x03, 0x40, 0x0b], section(11, 1, 0, 0x41, 0, 0x0b, 4, 1, 2, 3, 4));
    let refused = 0, taken = 0;
    for (let i = 0; i < 4000; i++) {
      const module = seed.slice();
      for (let n = random() % 4; n >= 0; n--) module[8 + random() % (module.length - 8)] = random();
      try { const { bytes } = rewriteModule(module, BASE); if (WebAssembly.validate(bytes)) taken++; } catch (error) { expect(error).toBeInstanceOf(ModuleError); refused++; }
    }
    expect(refused).toBeGreaterThan(1000);
    expect(taken).toBeGreaterThan(0);
  });
});
