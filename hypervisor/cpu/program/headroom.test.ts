import { expect, test } from 'vitest';
import { HEADROOM_BYTES, newHeadroom } from './headroom.ts';

/** (func $down (export "down") call 0 call $down): an import is called at every depth, until the stack is at its end. */
const DOWN = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 2, 7, 1, 1, 0x61, 1, 0x66, 0, 0, 3, 2, 1, 0, 7, 8, 1, 4, 0x64, 0x6f, 0x77, 0x6e, 0, 1, 10, 8, 1, 6, 0, 0x10, 0, 0x10, 1, 0x0b);
/** Uses the stack as deep calls in TypeScript do. */
const use = (levels: number): number => levels === 0 ? 0 : 1 + use(levels - 1);

test('what a program calls has room on the stack, or is not begun', () => {
  const headroom = newHeadroom();
  let begun = 0, done = 0;
  // The engine has made what it can of it.
  for (let n = 0; n < 300_000; n++) headroom();
  const work = (levels: number): void => { headroom(); begun++; use(levels); done++; };
  // An interpreted frame has a hundred bytes or more.
  for (const levels of [1, 10, 100, HEADROOM_BYTES / 256]) {
    const { down } = new WebAssembly.Instance(new WebAssembly.Module(DOWN), { a: { f: () => work(levels) } }).exports as { down: () => void };
    expect(down).toThrow(RangeError);
    expect(begun).toBeGreaterThan(1000);
    expect(done).toBe(begun);
  }
});
