// Two vCPUs on threads of their own, counting in the same memory with locked instructions.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Worker } from 'node:worker_threads';
import { compileInterpreter } from './interpreter.ts';
import { layoutMemory } from './layout.ts';
import { createProcessor, type SoftwareProcessor } from './processor.ts';
import type { JitMode } from './jit/mode.ts';
import { EXIT } from './processor-api.ts';
import { S } from './state.ts';
import { addressSpace, RUNS_NATIVELY } from './test-machine.ts';

const ROUNDS = 300_000, VCPUS = 2, PAUSE = 20;
const CODE_VA = 0x400000n, DATA_VA = 0x500000n, TOGETHER_VA = DATA_VA + 0x800n;
const le32 = (n: number): number[] => [n & 255, n >> 8 & 255, n >> 16 & 255, n >>> 24];
const url = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);

/** Both wait until both are there (rsi: a word for that), or one might be done before the other begins. */
const TOGETHER = [0xf0, 0xff, 0x06, 0x83, 0x3e, VCPUS, 0x75, 0xfb]; // lock inc dword [rsi]; cmp dword [rsi], 2; jne the comparison
/** Runs this ROUNDS times: rbx the operand, r8 is 1; then int3. */
const counting = (...body: number[]): number[] => [...TOGETHER, 0x41, 0xb9, ...le32(ROUNDS), ...body, 0x41, 0xff, 0xc9, 0x0f, 0x85, ...le32(-(body.length + 9)), 0xcc];
/** Counts in the high half, and attempts in r12. */
const CMPXCHG16B = counting(
  0x48, 0x8b, 0x03, 0x48, 0x8b, 0x53, 0x08, //                           mov rax, [rbx]; mov rdx, [rbx + 8]
  0x49, 0x89, 0xda, 0x48, 0x8d, 0x4a, 0x01, 0x49, 0xff, 0xc4, //         mov r10, rbx; lea rcx, [rdx + 1]; inc r12
  0x48, 0x89, 0xc3, 0xf0, 0x49, 0x0f, 0xc7, 0x0a, //                     mov rbx, rax; lock cmpxchg16b [r10]
  0x4c, 0x89, 0xd3, 0x75, 0xe2, //                                       mov rbx, r10; jne the beginning
);
/** Counts in the low half meanwhile, with pauses in which the other's comparison can hold: what comes between its load and its store is lost. */
const LOW_HALF = counting(0xf0, 0x4c, 0x01, 0x03, 0xb9, ...le32(PAUSE), 0xff, 0xc9, 0x75, 0xfc); // lock add [rbx], r8; mov ecx, PAUSE; dec ecx; jne the dec
const PROGRAMS: readonly [name: string, code: number[], at: bigint][] = [
  ['aligned', counting(0xf0, 0x4c, 0x01, 0x03), DATA_VA], //                            lock add [rbx], r8
  ['not aligned', counting(0xf0, 0x4c, 0x01, 0x03), DATA_VA + 3n],
  ['across pages', counting(0xf0, 0x4c, 0x01, 0x03), DATA_VA + 4093n],
  ['xadd across pages', counting(0x4d, 0x89, 0xc2, 0xf0, 0x4c, 0x0f, 0xc1, 0x13), DATA_VA + 4092n], // mov r10, r8; lock xadd [rbx], r10
];
/** On a busy machine the two take turns and no count is lost whatever happens: so it is also counted who took the lock. */
const RUNS = 8, SPOILT = 2000;

describe.each<JitMode>(['off', 'force', 'native-force'])('locked instructions of two vCPUs, translations %s', jit => {
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
        parentPort.on('message', ({ rip, rbx, rsi }) => {
          cpu.rip = rip; cpu.gpr[3] = rbx; cpu.gpr[6] = rsi; cpu.gpr[8] = 1n; cpu.gpr[12] = 0n;
          const before = cpu.counters().bus_locks, exit = cpu.run();
          parentPort.postMessage({ exit, busLocks: cpu.counters().bus_locks - before, attempts: Number(cpu.gpr[12]) });
        });
        parentPort.postMessage('ready');
      });`, { eval: true, workerData: { memory, module, vcpu, root: BigInt(root) } }));
    await Promise.all(threads.map(t => new Promise(resolve => t.once('message', resolve))));
  }, 60_000);
  afterAll(async () => { await Promise.all(threads.map(t => t.terminate())); });

  interface Ran { readonly exit: number; readonly busLocks: number; readonly attempts: number }
  /** Both threads from where their programs are, with the counters at 0. */
  const run = async (at: bigint, ...starts: [number, number]): Promise<Ran[]> => {
    cpus[0]!.bytes.fill(0, data, data + 4096);
    const next = cpus[0]!.translate(DATA_VA + 4096n, 0);
    cpus[0]!.bytes.fill(0, next, next + 4096);
    const ran = await Promise.all(threads.map((t, n) => new Promise<Ran>(resolve => { t.once('message', resolve); t.postMessage({ rip: CODE_VA + BigInt(starts[n]!), rbx: at, rsi: TOGETHER_VA }); })));
    expect(ran.map(({ exit }) => exit)).toEqual([EXIT.softwareInterrupt, EXIT.softwareInterrupt]);
    // Nobody holds the lock, nobody is in guest code.
    expect([0, 1].map(n => cpus[0]!.view.getInt32(cpus[n]!.area + S.inGuest, true))).toEqual([0, 0]);
    expect(cpus[0]!.view.getInt32(cpus[0]!.area + S.busLock, true)).toBe(0);
    return ran;
  };

  test.each(PROGRAMS)('%s: no count is lost', async (name, program, at) => {
    // Each where no code has been.
    const offset = PROGRAMS.findIndex(p => p[0] === name) * 256;
    cpus[0]!.bytes.set(program, code + offset);
    await run(at, offset, offset);
    expect(cpus[0]!.read64(at)).toBe(BigInt(VCPUS * ROUNDS));
  }, 60_000);

  test('sixteen bytes: no count is lost beside one that changes half of them', async () => {
    const at = DATA_VA + 0x20n, offset = PROGRAMS.length * 256;
    cpus[0]!.bytes.set(CMPXCHG16B, code + offset);
    cpus[0]!.bytes.set(LOW_HALF, code + offset + 128);
    // Comparisons that the other's count has spoilt: so often were the two at work at once.
    let spoilt = 0;
    // The host's processor has an instruction for it.
    const native = jit === 'native-force' && RUNS_NATIVELY;
    for (let n = 0; n < RUNS && spoilt < SPOILT; n++) {
      const [sixteen, other] = await run(at, offset, offset + 128);
      expect([cpus[0]!.read64(at), cpus[0]!.read64(at + 8n)]).toEqual([BigInt(ROUNDS), BigInt(ROUNDS)]);
      expect([sixteen!.busLocks, other!.busLocks]).toEqual([native ? 0 : sixteen!.attempts, 0]);
      spoilt += sixteen!.attempts - ROUNDS;
    }
  }, 60_000);
});
