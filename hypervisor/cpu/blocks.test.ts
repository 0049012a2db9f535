import { expect, test, vi } from 'vitest';
import { compileInterpreter } from './interpreter.ts';
import { layoutMemory } from './layout.ts';
import { createProcessor } from './processor.ts';
import { blockHash } from './mmu.ts';
import { EXIT, type View, VIEW } from './processor-api.ts';
import { S } from './state.ts';
import { addressSpace, CODE_VA, DATA_VA, machine } from './test-machine.ts';

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

test('two blocks that share a place in the table do not push each other out', () => {
  const layout = layoutMemory(1, 128), pages = layout.totalBytes / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const cpu = createProcessor({ memory, layout, vcpu: 0, slot: 0, module: compileInterpreter(0), host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } });
  const { root, map } = addressSpace(cpu.view, layout), first = map(0x1000n), other = first + 64 * 4096;
  map(0x2000n, other);
  cpu.setRoot(0, BigInt(root));
  const offset = (blockHash(first) ^ blockHash(other)) >> 3;
  expect(blockHash(first + offset)).toBe(blockHash(other));
  cpu.bytes.set([0xb8, 1, 0, 0, 0, 0xcc], first + offset);
  cpu.bytes.set([0xb8, 2, 0, 0, 0, 0xcc], other);
  const find = vi.spyOn(cpu.blocks, 'find');
  for (let n = 0; n < 5; n++) for (const [rip, eax] of [[0x1000n + BigInt(offset), 1n], [0x2000n, 2n]] as const) {
    cpu.flushTlb();
    cpu.rip = rip;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.gpr[0]).toBe(eax);
  }
  expect(find).toHaveBeenCalledTimes(2);
  // A dropped one is found in neither place.
  cpu.bytes[first + offset + 1] = 3;
  cpu.invalidateCode(first >>> 12);
  cpu.flushTlb();
  cpu.rip = 0x1000n + BigInt(offset);
  cpu.run();
  expect(cpu.gpr[0]).toBe(3n);
});

test('translations that lead to a dropped block find the one in its place without coming back each time', () => {
  const { cpu, map } = machine([
    0xb9, 0xe8, 3, 0, 0,            // mov ecx, 1000
    0xe8, 0xf6, 0x0f, 0, 0,         // call the next page's start
    0xff, 0xc9, 0x75, 0xf7, 0xcc,   // dec ecx; jnz -9; int3
  ], { jit: 'on' }), at = map(CODE_VA + 4096n);
  const run = (added: number): void => {
    cpu.bytes.set([0x83, 0xc0, added, 0xc3], at);   // add eax, n; ret
    cpu.invalidateCode(at >>> 12);
    cpu.gpr[0] = 0n;
    cpu.rip = CODE_VA;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.gpr[0]).toBe(BigInt(1000 * added));
  };
  run(1);
  const find = vi.spyOn(cpu.blocks, 'find');
  run(2);
  expect(find.mock.calls.length).toBeLessThan(20);
});

test('a page that becomes code leaves the TLBs for writing of both views, and no other page does', () => {
  const { cpu, map } = machine([
    0x66, 0xc7, 0x07, 0xb0, 0x05,   // mov word [rdi], 0x05b0: mov al, 5
    0xc6, 0x06, 0x07, 0xcc,         // mov byte [rsi], 7; int3
  ]), at = map(CODE_VA + 8n * 4096n), root = BigInt(cpu.view.getUint32(cpu.area + S.roots, true));
  const write = (view: View): void => {
    cpu.activeView = view;
    cpu.gpr[7] = CODE_VA + 8n * 4096n;
    cpu.gpr[6] = DATA_VA;
    cpu.rip = CODE_VA;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  };
  const walks = (): number => cpu.view.getInt32(cpu.area + S.walks, true);
  cpu.setRoot(VIEW.user, root);
  for (const view of [VIEW.user, VIEW.kernel]) write(view);
  for (const view of [VIEW.user, VIEW.kernel]) {
    cpu.bytes.set([0xb0, 4, 0xcc], at);
    cpu.invalidateCode(at >>> 12);
    for (const v of [VIEW.user, VIEW.kernel]) write(v);
    cpu.bytes.set([0xb0, 4, 0xcc], at);
    const runIt = (): number => { cpu.activeView = VIEW.kernel; cpu.rip = CODE_VA + 8n * 4096n; cpu.run(); return Number(cpu.gpr[0]! & 0xffn); };
    expect(runIt()).toBe(4);
    const before = walks();
    write(view);
    // The page that was written, and its code anew; the other one is where it was.
    expect(walks() - before).toBe(1);
    expect(runIt()).toBe(5);
  }
});
