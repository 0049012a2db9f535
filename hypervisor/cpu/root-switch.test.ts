import { expect, test } from 'vitest';
import { compileInterpreter } from './interpreter.ts';
import { layoutMemory } from './layout.ts';
import { createProcessor } from './processor.ts';
import { ACCESS, EXIT } from './processor-api.ts';

const LOWER = 0x40_0000n, DATA = 0x50_0000n, UPPER = 0xffff_ffff_8100_0000n;
/** mov eax, n; int3 */
const program = (n: number): number[] => [0xb8, n, 0, 0, 0, 0xcc];
const module = compileInterpreter(0);

function machine() {
  const layout = layoutMemory(1, 64);
  const memory = new WebAssembly.Memory({ initial: layout.totalBytes / 65536, maximum: layout.totalBytes / 65536, shared: true });
  const cpu = createProcessor({ memory, layout, vcpu: 0, slot: 0, module, host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } });
  let next = layout.first;
  const frame = (): number => next++ * 4096;
  const entryAt = (root: number, va: bigint): number => [39n, 30n, 21n].reduce((table, shift) => {
    const at = table + Number(va >> shift & 511n) * 8;
    if (cpu.view.getBigUint64(at, true) === 0n) cpu.view.setBigUint64(at, BigInt(frame()) | 7n, true);
    return Number(cpu.view.getBigUint64(at, true) & 0xffff_f000n);
  }, root) + Number(va >> 12n & 511n) * 8;
  const map = (root: number, va: bigint, to = frame()): number => { cpu.view.setBigUint64(entryAt(root, va), BigInt(to) | 7n, true); return to; };
  const run = (va: bigint): bigint => { cpu.rip = va; expect(cpu.run()).toBe(EXIT.softwareInterrupt); return cpu.gpr[0]!; };
  const walks = (): number => cpu.counters()['tlb_walks']!;
  return { cpu, frame, map, run, walks };
}
/** Two address spaces: programs 1 and 2 at one lower address, one upper half for both. */
function twoSpaces() {
  const m = machine(), { cpu, frame, map } = m, a = frame(), b = frame();
  cpu.bytes.set(program(1), map(a, LOWER));
  cpu.bytes.set(program(2), map(b, LOWER));
  cpu.bytes.set(program(9), map(a, UPPER));
  cpu.view.setBigUint64(b + 511 * 8, cpu.view.getBigUint64(a + 511 * 8, true), true);
  return { ...m, a, b };
}

test('spaces with one upper half: the lower one is forgotten at a switch, the upper one kept', () => {
  const { cpu, run, walks, a, b } = twoSpaces();
  cpu.setRoot(0, BigInt(a));
  expect([run(LOWER), run(UPPER)]).toEqual([1n, 9n]);
  cpu.setRoot(0, BigInt(b));
  const before = walks();
  expect(run(UPPER)).toBe(9n);
  expect(walks()).toBe(before);
  expect(run(LOWER)).toBe(2n);
  expect(walks()).toBeGreaterThan(before);
  cpu.setRoot(0, BigInt(a));
  expect(run(LOWER)).toBe(1n);
});
test('spaces whose upper halves differ share nothing', () => {
  const { cpu, map, run, a, b } = twoSpaces();
  cpu.view.setBigUint64(b + 511 * 8, 0n, true);
  cpu.bytes.set(program(8), map(b, UPPER));
  cpu.setRoot(0, BigInt(a));
  expect(run(UPPER)).toBe(9n);
  cpu.setRoot(0, BigInt(b));
  expect(run(UPPER)).toBe(8n);
});
test('the end of the address space is no program, whatever was flushed', () => {
  const { cpu, a, b } = twoSpaces();
  for (const root of [a, b, a]) cpu.setRoot(0, BigInt(root));
  cpu.rip = 0xffff_ffff_ffff_ffffn;
  expect(cpu.run()).toBe(EXIT.exception);
  expect(cpu.vector).toBe(14);
});
test.each([LOWER, LOWER + 0x7f12_3456_7000n, UPPER])('a flushed page is forgotten as code too, a flushed data page costs no code its place (%s)', code => {
  const { cpu, map, run, a } = twoSpaces(), far = code ^ 0x123_4000n;
  cpu.setRoot(0, BigInt(a));
  cpu.bytes.set(program(1), map(a, code));
  // Of one of them the lower twelve bits of the page number are those of the code's.
  for (const data of [DATA, far, code ^ 0x100_0000n]) {
    map(a, data);
    expect(run(code)).toBe(1n);
    expect(cpu.translate(data, ACCESS.read)).toBeGreaterThan(0);
    const lookups = cpu.counters()['lookups']!;
    cpu.flushPage(data);
    expect(run(code)).toBe(1n);
    expect(cpu.counters()['lookups']).toBe(lookups);
  }
  cpu.bytes.set(program(3), map(a, code));
  cpu.flushPage(code);
  expect(run(code)).toBe(3n);
});
test('translations for writing go alone when asked', () => {
  const { cpu, map, walks, a } = twoSpaces();
  cpu.setRoot(0, BigInt(a));
  map(a, DATA);
  const misses = (access: 0 | 1): number => { const before = walks(); cpu.rip = LOWER; cpu.bytes.set(access === ACCESS.write ? STORE : LOAD, code); cpu.invalidateCode(code / 4096); cpu.run(); return walks() - before; };
  const code = map(a, LOWER);
  cpu.flushTlb();
  cpu.gpr[3] = DATA;
  misses(ACCESS.read);
  misses(ACCESS.write);
  const idle = misses(ACCESS.read);
  cpu.flushWritable();
  expect(misses(ACCESS.read)).toBe(idle);
  expect(misses(ACCESS.write)).toBe(idle + 1);
});
/** mov eax, [rbx]; int3 and mov [rbx], eax; int3 */
const LOAD = [0x8b, 0x03, 0xcc], STORE = [0x89, 0x03, 0xcc];
