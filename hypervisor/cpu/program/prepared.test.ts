import { expect, test } from 'vitest';
import { ModuleError } from './bytes.ts';
import { isPrepared, prepareModule, PreparedModules } from './prepared.ts';

/** (module (memory n)), with a custom section to tell it from others. */
const module = (pages: number, name = 0): Uint8Array => Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 5, 3, 1, 0, pages, 0, 2, 1, name);

test('a module is prepared for one place and known again by all of its bytes', () => {
  const m = prepareModule(module(3), 8192);
  expect([m.minPages, WebAssembly.Module.imports(m.module).length > 0]).toEqual([3, true]);
  expect([isPrepared(m, module(3), 8192), isPrepared(m, module(3), 4096), isPrepared(m, module(4), 8192), isPrepared(m, module(3, 1), 8192), isPrepared(m, module(3).subarray(1), 8192)]).toEqual([true, false, false, false, false]);
  expect(() => prepareModule(Uint8Array.of(1, 2, 3), 0)).toThrow(ModuleError);
});
test('the last eight are kept, each once', () => {
  const kept = new PreparedModules();
  for (let name = 0; name < 10; name++) kept.keep(prepareModule(module(1, name), 0));
  kept.keep(prepareModule(module(1, 5), 0));
  expect(kept.list.map(m => m.bytes.at(-1))).toEqual([2, 3, 4, 6, 7, 8, 9, 5]);
});
test('large ones push out many small ones', () => {
  const kept = new PreparedModules(), large = { ...prepareModule(module(1), 0), bytes: new Uint8Array(new SharedArrayBuffer(32 << 20)) };
  for (let name = 0; name < 4; name++) kept.keep(prepareModule(module(1, name), 0));
  kept.keep(large);
  expect(kept.list).toEqual([large]);
});
