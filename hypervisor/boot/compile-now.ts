// What V8 is told about the WebAssembly that is made here. Its flags hold for the whole process.
import { setFlagsFromString } from 'node:v8';

/** Without this one, which cannot be given later (bin/node26.mjs does), the optimising compiler wants what the baseline one has counted. */
const standsAlone = process.execArgv.includes('--no-wasm-inlining');

/**
 * Compiles now, not when a function is first called: by the baseline compiler, or by the optimising one alone. What other
 * threads compile meanwhile is compiled the same way, which costs them no more than time.
 */
export function compileNow(bytes: Uint8Array<ArrayBuffer>, optimised: boolean): WebAssembly.Module {
  const flags = ['wasm-lazy-compilation', ...optimised && standsAlone ? ['liftoff'] : []];
  for (const flag of flags) setFlagsFromString(`--no-${flag}`);
  // One thread at a time, in all: the other processors are the guests'.
  setFlagsFromString('--wasm-num-compilation-tasks=1');
  // What runs often gets a translation of its own kind: V8 is not to compile this one a second time.
  setFlagsFromString('--wasm-tiering-budget=2000000000');
  try { return new WebAssembly.Module(bytes); } finally {
    for (const flag of flags) setFlagsFromString(`--${flag}`);
    setFlagsFromString('--wasm-tiering-budget=13000000');
    setFlagsFromString('--wasm-num-compilation-tasks=128');
  }
}
