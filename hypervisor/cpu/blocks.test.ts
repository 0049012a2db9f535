import { expect, test } from 'vitest';
import { compileInterpreter } from './interpreter.ts';
import { layoutMemory } from './layout.ts';
import { createProcessor } from './processor.ts';
import { EXIT } from './processor-api.ts';

test('emptying the cache forgets the way to its records', () => {
  const layout = layoutMemory(1, 16), pages = layout.totalBytes / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const cpu = createProcessor({ memory, layout, vcpu: 0, slot: 0, module: compileInterpreter(0), host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } });
  const [root, l3, l2, l1, code] = [0, 1, 2, 3, 4].map(n => (layout.first + n) * 4096) as [number, number, number, number, number];
  for (const [table, next] of [[root, l3], [l3, l2], [l2, l1], [l1, code]] as const) cpu.view.setBigUint64(table, BigInt(next) | 7n, true);
  cpu.setRoot(0, BigInt(root));
  cpu.bytes.set([0xb8, 1, 0, 0, 0, 0xcc], code);       // mov eax, 1; int3
  cpu.bytes.set([0xb8, 2, 0, 0, 0, 0xcc], code + 64);  // mov eax, 2; int3
  const runAt = (rip: bigint): bigint => { cpu.rip = rip; expect(cpu.run()).toBe(EXIT.softwareInterrupt); return cpu.gpr[0]!; };
  expect(runAt(0n)).toBe(1n);
  cpu.blocks.empty();
  expect(runAt(64n)).toBe(2n);
  expect(runAt(0n)).toBe(1n);
});
