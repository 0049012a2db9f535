// Two vCPUs on threads of their own, counting in the same memory with locked instructions.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Worker } from 'node:worker_threads';
import { compileInterpreter } from './interpreter.ts';
import { layoutMemory } from './layout.ts';
import { createProcessor, type SoftwareProcessor } from './processor.ts';
import type { JitMode } from './jit/translator.ts';
import { EXIT } from './processor-api.ts';
import { S } from './state.ts';
import { addressSpace } from './test-machine.ts';

const ROUNDS = 300_000, VCPUS = 2;
const CODE_VA = 0x400000n, DATA_VA = 0x500000n;
const le32 = (n: number): number[] => [n & 255, n >> 8 & 255, n >> 16 & 255, n >>> 24];
const url = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);

/** Each runs this ROUNDS times: rbx the operand, r8 is 1; then int3. */
const counting = (...body: number[]): number[] => [0x41, 0xb9, ...le32(ROUNDS), ...body, 0x41, 0xff, 0xc9, 0x0f, 0x85, ...le32(-(body.length + 9)), 0xcc];
const CMPXCHG16B = [
  0x48, 0x8b, 0x03, 0x48, 0x8b, 0x53, 0x08, //         mov rax, [rbx]; mov rdx, [rbx + 8]
  0x49, 0x89, 0xda, 0x4c, 0x8d, 0x58, 0x01, //         mov r10, rbx; lea r11, [rax + 1]
  0x48, 0x8d, 0x4a, 0x01, 0x4c, 0x89, 0xdb, //         lea rcx, [rdx + 1]; mov rbx, r11
  0xf0, 0x49, 0x0f, 0xc7, 0x0a, //                     lock cmpxchg16b [r10]
  0x4c, 0x89, 0xd3, 0x75, 0xe1, //                     mov rbx, r10; jne the beginning
];
const PROGRAMS: readonly [name: string, code: number[], at: bigint][] = [
  ['aligned', counting(0xf0, 0x4c, 0x01, 0x03), DATA_VA], //                            lock add [rbx], r8
  ['not aligned', counting(0xf0, 0x4c, 0x01, 0x03), DATA_VA + 3n],
  ['across pages', counting(0xf0, 0x4c, 0x01, 0x03), DATA_VA + 4093n],
  ['xadd across pages', counting(0x4d, 0x89, 0xc2, 0xf0, 0x4c, 0x0f, 0xc1, 0x13), DATA_VA + 4092n], // mov r10, r8; lock xadd [rbx], r10
  ['sixteen bytes', counting(...CMPXCHG16B), DATA_VA + 0x20n],
];

describe.each<JitMode>(['off', 'force'])('locked instructions of two vCPUs, translations %s', jit => {
  let cpus: SoftwareProcessor[], threads: Worker[], code: number, data: number;
  beforeAll(async () => {
    const layout = layoutMemory(VCPUS, 64), pages = layout.totalBytes / 65536, modules = [0, 1].map(compileInterpreter);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    const make = (vcpu: number): SoftwareProcessor => createProcessor({ memory, layout, vcpu, slot: 0, module: modules[vcpu]!, host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } });
    cpus = [make(0), make(1)];
    const { view } = cpus[0]!;
    const { root, map } = addressSpace(view, layout);
    code = map(CODE_VA);
    data = map(DATA_VA);
    map(DATA_VA + 4096n);
    cpus.forEach(cpu => cpu.setRoot(0, BigInt(root)));
    threads = modules.map((module, vcpu) => new Worker(`
      const { workerData: { memory, module, vcpu, root }, parentPort } = require('node:worker_threads');
      Promise.all([import(${url('./processor.ts')}), import(${url('./layout.ts')})]).then(([{ createProcessor }, { layoutMemory }]) => {
        const cpu = createProcessor({ memory, layout: layoutMemory(${VCPUS}, 64), vcpu, slot: 0, module, jit: '${jit}', host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {} } });
        cpu.setRoot(0, root);
        parentPort.on('message', ({ rip, rbx }) => {
          cpu.rip = rip; cpu.gpr[3] = rbx; cpu.gpr[8] = 1n;
          parentPort.postMessage([cpu.run(), cpu.counters().bus_locks]);
        });
        parentPort.postMessage('ready');
      });`, { eval: true, workerData: { memory, module, vcpu, root: BigInt(root) } }));
    await Promise.all(threads.map(t => new Promise(resolve => t.once('message', resolve))));
  }, 60_000);
  afterAll(async () => { await Promise.all(threads.map(t => t.terminate())); });

  test.each(PROGRAMS)('%s: no count is lost', async (name, program, at) => {
    // Each where no code has been.
    const offset = PROGRAMS.findIndex(p => p[0] === name) * 256;
    cpus[0]!.bytes.set(program, code + offset);
    cpus[0]!.bytes.fill(0, data, data + 4096);
    const second = cpus[0]!.translate(DATA_VA + 4096n, 0);
    cpus[0]!.bytes.fill(0, second, second + 4096);
    const exits = await Promise.all(threads.map(t => new Promise<[number, number]>(resolve => { t.once('message', resolve); t.postMessage({ rip: CODE_VA + BigInt(offset), rbx: at }); })));
    expect(exits.map(([exit]) => exit)).toEqual([EXIT.softwareInterrupt, EXIT.softwareInterrupt]);
    expect(cpus[0]!.read64(at)).toBe(BigInt(VCPUS * ROUNDS));
    if (name === 'sixteen bytes') expect(cpus[0]!.read64(at + 8n)).toBe(BigInt(VCPUS * ROUNDS));
    // Nobody holds the lock, nobody is in guest code.
    expect([0, 1].map(n => cpus[0]!.view.getInt32(cpus[n]!.area + S.inGuest, true))).toEqual([0, 0]);
    expect(cpus[0]!.view.getInt32(cpus[0]!.area + S.busLock, true)).toBe(0);
  }, 60_000);
});
