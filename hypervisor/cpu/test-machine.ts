// A vCPU with a little memory, for tests of the processor alone.
import { compileInterpreter } from './interpreter.ts';
import type { JitMode } from './jit/mode.ts';
import { hostFeatures } from './native/features.ts';
import { mapCode, openCode, unmapCode } from './native/executable-memory.ts';
import { layoutMemory, type MemoryLayout } from './layout.ts';
import { createProcessor, type ProcessorOptions } from './processor.ts';
import type { ProcessorHost } from './processor-api.ts';

const module = compileInterpreter(0);
/** Whether this host runs native code; where it does not, `native` modes are WebAssembly's. */
export const RUNS_NATIVELY = ((): boolean => {
  const address = mapCode(), can = address !== undefined && hostFeatures(openCode(address)) !== undefined;
  if (address !== undefined) unmapCode(address);
  if (!can) console.warn('SKIPPED native code: this host does not run any (Linux on x86-64, its kernel and processor permitting)');
  return can;
})();
export const CODE_VA = 0x400000n, DATA_VA = 0x500000n, STACK_VA = 0x600000n, HIGH_VA = 0xffff_ffff_8100_0000n;

/** Page tables in frames that nobody has: `map` gives a virtual page a physical one, a fresh one when none is named. */
export function addressSpace(view: DataView, layout: MemoryLayout, slot = 0) {
  let next = layout.first;
  const frame = (): number => next++ * 4096, entry = (p: number, rights = 7n): bigint => BigInt(slot) << 32n | BigInt(p) | rights, root = frame();
  const map = (va: bigint, p = frame(), rights = 7n): number => {
    let table = root;
    for (const shift of [39n, 30n, 21n]) {
      const at = table + Number(va >> shift & 511n) * 8;
      if (!(view.getBigUint64(at, true) & 1n)) view.setBigUint64(at, entry(frame()), true);
      table = Number(view.getBigUint64(at, true) & 0xfffff000n);
    }
    view.setBigUint64(table + Number(va >> 12n & 511n) * 8, entry(p, rights), true);
    return p;
  };
  return { root, map };
}

/** One vCPU with four mapped areas: one code page, two data pages (the third absent), one stack page, one data page in the upper half. */
export function machine(code: number[], { slot = 0, jit = 'off', host = {}, ...more }: { slot?: number; jit?: JitMode; host?: Partial<ProcessorHost> } & Pick<ProcessorOptions, 'keep' | 'code' | 'codeBytes'> = {}) {
  const layout = layoutMemory(1, 64);
  const memory = new WebAssembly.Memory({ initial: layout.totalBytes / 65536, maximum: layout.totalBytes / 65536, shared: true });
  const cpu = createProcessor({ memory, layout, vcpu: 0, slot, module, jit, ...more, host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {}, ...host } });
  const { root, map } = addressSpace(cpu.view, layout, slot);
  const codeAt = map(CODE_VA), dataAt = map(DATA_VA);
  map(DATA_VA + 4096n);
  map(STACK_VA);
  map(HIGH_VA);
  cpu.bytes.set(code, codeAt);
  cpu.setRoot(0, BigInt(slot) << 32n | BigInt(root));
  cpu.rip = CODE_VA;
  cpu.gpr[4] = STACK_VA + 4096n;
  return { cpu, codeAt, dataAt, map };
}
