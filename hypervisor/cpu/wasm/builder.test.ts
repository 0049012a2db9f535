import { describe, expect, test } from 'vitest';
import { Fn, i32, ModuleBuilder, type Signature } from './builder.ts';

const SIGNATURE: Signature = { params: ['i32'], results: ['i32'] };

/** A module with one function, exported as `f`. */
function moduleOf(fn: Fn): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder();
  m.define(m.declare(SIGNATURE, 'f'), fn);
  return m.build();
}
function run(bytes: Uint8Array<ArrayBuffer>, argument: number): number {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536, shared: true });
  return (new WebAssembly.Instance(new WebAssembly.Module(bytes), { e: { mem: memory } }).exports['f'] as (n: number) => number)(argument);
}
/** Opcode and value of each hint, read back from the section. */
function hintsOf(fn: Fn): [opcode: number, likely: number][] {
  const bytes = (code: string): Buffer => Buffer.from(code, 'latin1'), hints = bytes(fn.branchHints() ?? ''), body = bytes(fn.body()), found: [number, number][] = [];
  // Sizes here are below 128: one byte each. The body starts with its own size.
  for (let at = 1; at < hints.length; at += 3) found.push([body[1 + hints[at]!]!, hints[at + 2]!]);
  return found;
}

describe('branch hints', () => {
  const IF = 0x04, BR_IF = 0x0d;
  const build = (): Fn => {
    const fn = new Fn(SIGNATURE), n = fn.param(0, 'i32'), sum = fn.local('i32');
    fn.if(n.get().eqz(), () => { fn.rarely(); fn.set(sum, i32(7)); });
    const mark = fn.mark();
    fn.if(n.get(), () => fn.rarely());
    fn.rollback(mark);
    fn.block(out => {
      fn.brIf(out, n.get().eqz(), false);
      fn.if(n.get().eq(1), () => fn.set(sum, i32(1)), () => { fn.rarely(); fn.set(sum, i32(2)); });
    });
    fn.if(n.get().eq(9), () => fn.set(sum, i32(9)));
    const before = new Fn(SIGNATURE);
    before.if(n.get().eq(5), () => before.set(sum, i32(5)), undefined, true);
    fn.prepend(before);
    fn.ret(sum.get());
    fn.unreachable();
    return fn;
  };

  test('stand at the branches they were given for, through prepended and withdrawn code', () => {
    expect(hintsOf(build())).toEqual([[IF, 1], [IF, 0], [BR_IF, 0], [IF, 1]]);
  });
  test('change no result', () => {
    const bytes = moduleOf(build());
    expect([0, 1, 2, 9].map(n => run(bytes, n))).toEqual([7, 1, 2, 9]);
    expect(Buffer.from(bytes).includes('metadata.code.branch_hint')).toBe(true);
  });
});

test('a module says how large its memory is at least', () => {
  const m = new ModuleBuilder(2 * 65536 + 1), fn = new Fn(SIGNATURE), module = (): WebAssembly.Module => new WebAssembly.Module(m.build());
  fn.ret(fn.param(0, 'i32').get());
  m.define(m.declare(SIGNATURE, 'f'), fn);
  const withPages = (initial: number) => (): WebAssembly.Instance => new WebAssembly.Instance(module(), { e: { mem: new WebAssembly.Memory({ initial, maximum: 65536, shared: true }) } });
  expect(withPages(2)).toThrow(WebAssembly.LinkError);
  expect(withPages(3)).not.toThrow();
});
