// Two vCPUs of one memory, run in turns: what one writes is what the other runs from its next run() on.
import { describe, expect, test } from 'vitest';
import { Worker } from 'node:worker_threads';
import { compileInterpreter } from './interpreter.ts';
import { layoutMemory } from './layout.ts';
import { createProcessor, type SoftwareProcessor } from './processor.ts';
import { EXIT } from './processor-api.ts';
import { S } from './state.ts';
import { addressSpace } from './test-machine.ts';
import type { JitMode } from './jit/mode.ts';

const modules = [0, 1].map(compileInterpreter);
const CODE_VA = 0x400000n, ALIAS_VA = 0x500000n, WRITER_VA = 0x600000n, COUNT_VA = 0x700000n;
const ANSWER = [0xb0, 0x11, 0xcc]; // mov al, 0x11; int3
const WRITER = [0x88, 0x0b, 0xcc]; // mov [rbx], cl; int3

function machine(jit: JitMode) {
  const layout = layoutMemory(2, 64), pages = layout.totalBytes / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const cpus = modules.map((module, vcpu) => createProcessor({ memory, layout, vcpu, slot: 0, module, jit, host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } }));
  const { view, bytes } = cpus[0]!;
  const { root, map } = addressSpace(view, layout);
  const code = map(CODE_VA);
  map(ALIAS_VA, code);
  bytes.set(ANSWER, code);
  bytes.set(WRITER, map(WRITER_VA));
  const count = map(COUNT_VA);
  for (const cpu of cpus) cpu.setRoot(0, BigInt(root));
  return { runner: cpus[0]!, writer: cpus[1]!, code, count };
}
const answer = (cpu: SoftwareProcessor, at = CODE_VA): bigint => {
  cpu.rip = at;
  expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  return cpu.gpr[0]! & 0xffn;
};
const write = (cpu: SoftwareProcessor, value: bigint, at = 1n): void => {
  cpu.gpr[1] = value;
  cpu.gpr[3] = ALIAS_VA + at;
  cpu.rip = WRITER_VA;
  expect(cpu.run()).toBe(EXIT.softwareInterrupt);
};

describe.each<JitMode>(['off', 'force', 'native-force'])('code that a sibling overwrites, translations %s', jit => {
  test('blocks are dropped where another vCPU has them', () => {
    const { runner, writer } = machine(jit);
    expect(answer(runner)).toBe(0x11n);
    write(writer, 0x22n);
    expect(answer(runner)).toBe(0x22n);
  });
  test('so they are when the writer had the page in its TLB before it was code', () => {
    const { runner, writer } = machine(jit);
    write(writer, 0x21n);
    expect(answer(runner)).toBe(0x21n);
    write(writer, 0x22n);
    expect(answer(runner)).toBe(0x22n);
    for (let n = 0x23n; n < 0x40n; n++) { write(writer, n); if (n % 3n) expect(answer(runner)).toBe(n); }
  });
  test('both run it and both write it', () => {
    const { runner, writer } = machine(jit);
    for (let n = 1n; n < 0x60n; n++) {
      const [a, b] = n & 1n ? [runner, writer] : [writer, runner];
      write(a, n);
      expect([answer(a), answer(b), answer(a)]).toEqual([n, n, n]);
      if (n % 5n === 0n) { write(b, n + 0x80n); write(a, n + 0x81n); expect([answer(b), answer(a)]).toEqual([n + 0x81n, n + 0x81n]); }
    }
  });
  test('a writer that has other blocks in the page does not know its sibling\'s', () => {
    const { runner, writer, code } = machine(jit);
    runner.bytes.set([...ANSWER, ...ANSWER], code + 64);
    for (let n = 0; n < 5; n++) expect([answer(runner), answer(writer, CODE_VA + 64n), answer(writer, CODE_VA + 67n)]).toEqual([0x11n, 0x11n, 0x11n]);
    write(writer, 0x22n);
    expect([answer(runner), answer(writer)]).toEqual([0x22n, 0x22n]);
    write(writer, 0x23n, 65n);
    expect([answer(runner, CODE_VA + 64n), answer(writer, CODE_VA + 64n)]).toEqual([0x23n, 0x23n]);
  });
  test('a vCPU that forgets all its blocks leaves siblings\' guarded', () => {
    const { runner, writer } = machine(jit);
    expect([answer(runner), answer(writer)]).toEqual([0x11n, 0x11n]);
    writer.blocks.empty();
    write(writer, 0x33n);
    expect(answer(runner)).toBe(0x33n);
  });
  test('what the hypervisor overwrites on one vCPU\'s thread', () => {
    const { runner, writer, code } = machine(jit);
    expect(answer(runner)).toBe(0x11n);
    runner.bytes[code + 1] = 0x44;
    writer.invalidateCode(code / 4096);
    expect(answer(runner)).toBe(0x44n);
  });
});

test('a vCPU on its own thread leaves a loop that a sibling rewrites', async () => {
  const { runner, writer, code, count } = machine('off');
  // again: mov al, 0x11; inc dword [rdx]; cmp al, 0x77; jne again; int3
  runner.bytes.set([0xb0, 0x11, 0xff, 0x02, 0x3c, 0x77, 0x75, 0xf8, 0xcc], code);
  const words = new Int32Array(runner.bytes.buffer), root = words[(runner.area + S.roots) / 4]!, url = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);
  const thread = new Worker(`
    const { workerData: { memory, module, root, va, counted }, parentPort } = require('node:worker_threads');
    Promise.all([import(${url('./processor.ts')}), import(${url('./layout.ts')})]).then(([{ createProcessor }, { layoutMemory }]) => {
      const cpu = createProcessor({ memory, layout: layoutMemory(2, 64), vcpu: 0, slot: 0, module, jit: 'off', host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } });
      cpu.setRoot(0, root);
      cpu.rip = va;
      cpu.gpr[2] = counted;
      parentPort.postMessage('runs');
      const exit = cpu.run();
      parentPort.postMessage({ exit, al: cpu.gpr[0] & 0xffn, read: cpu.counters().sibling_code_read });
    });`, { eval: true, workerData: { memory: runner.memory, module: modules[0], root: BigInt(root >>> 0), va: CODE_VA, counted: COUNT_VA } });
  try {
    const said: unknown[] = [];
    thread.on('message', m => said.push(m));
    await expect.poll(() => said.length, { timeout: 20_000 }).toBe(1);
    await expect.poll(() => runner.view.getUint32(count, true), { timeout: 20_000 }).toBeGreaterThan(1000);
    write(writer, 0x77n);
    await expect.poll(() => said[1], { timeout: 20_000 }).toMatchObject({ exit: EXIT.softwareInterrupt, al: 0x77n });
  } finally { await thread.terminate(); }
}, 60_000);
