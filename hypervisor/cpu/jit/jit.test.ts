// Translations against the interpreter, and where they must stop: faults, stores into their own code, attention.
import { afterAll, describe, expect, test } from 'vitest';
import { Worker } from 'node:worker_threads';
import { SPECIAL } from '../decode.ts';
import { compileInterpreter } from '../interpreter.ts';
import { layoutMemory } from '../layout.ts';
import { createProcessor, type SoftwareProcessor } from '../processor.ts';
import { EXIT } from '../processor-api.ts';
import { R } from '../record.ts';
import { S } from '../state.ts';
import { RUNS_NATIVELY } from '../test-machine.ts';
import { CodeBudget } from './budget.ts';
import type { JitMode } from './mode.ts';
import { type Helper, type Request, type Response, thresholdsOf, translated } from './translator.ts';

const module = compileInterpreter(0);
const CODE_VA = 0x400000n, DATA_VA = 0x500000n, STACK_VA = 0x600000n;

/** Two pages of code, one of data with nothing behind it, one of stack. */
function machine(code: number[], jit: JitMode, at = 0, codeBudget?: CodeBudget, clock?: () => bigint, translations?: Helper) {
  const layout = layoutMemory(1, 64), pages = layout.totalBytes / 65536;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  const cpu = createProcessor({ memory, layout, vcpu: 0, slot: 0, module, jit, ...codeBudget && { codeBudget }, ...translations && { translations }, host: { descriptor: () => undefined, foreign: () => 0, unimplemented: () => {}, ...clock && { clock } } });
  let next = layout.first;
  const frame = (): number => next++ * 4096, root = frame();
  const map = (va: bigint): number => {
    let table = root;
    for (const shift of [39n, 30n, 21n]) {
      const entry = table + Number(va >> shift & 511n) * 8;
      if (!(cpu.view.getBigUint64(entry, true) & 1n)) cpu.view.setBigUint64(entry, BigInt(frame()) | 7n, true);
      table = Number(cpu.view.getBigUint64(entry, true) & 0xfffff000n);
    }
    const p = frame();
    cpu.view.setBigUint64(table + Number(va >> 12n & 511n) * 8, BigInt(p) | 7n, true);
    return p;
  };
  const codeAt = map(CODE_VA), behind = map(CODE_VA + 4096n), dataAt = map(DATA_VA);
  map(STACK_VA);
  code.forEach((b, i) => { const p = at + i; cpu.bytes[p < 4096 ? codeAt + p : behind + p - 4096] = b; });
  cpu.setRoot(0, BigInt(root));
  cpu.rip = CODE_VA + BigInt(at);
  cpu.gpr[4] = STACK_VA + 4096n;
  /** Puts another frame behind a virtual address that is mapped. */
  const pageOf = (va: bigint, p: number): void => {
    let table = root;
    for (const shift of [39n, 30n, 21n]) table = Number(cpu.view.getBigUint64(table + Number(va >> shift & 511n) * 8, true) & 0xfffff000n);
    cpu.view.setBigUint64(table + Number(va >> 12n & 511n) * 8, BigInt(p) | 7n, true);
  };
  return { cpu, codeAt, behind, dataAt, map, pageOf };
}
const state = (cpu: SoftwareProcessor) => ({ gpr: [...cpu.gpr], rip: cpu.rip, rflags: cpu.rflags, vector: cpu.vector });
const translations = (cpu: SoftwareProcessor): number => cpu.counters()['jit_translations'] ?? 0;

/** Runs the same program in all modes and expects the same outcome; what came of it with translations. */
function agree(code: number[], setUp: (cpu: SoftwareProcessor) => void = () => {}, at = 0) {
  const outcome = (jit: JitMode) => {
    const m = machine(code, jit, at);
    setUp(m.cpu);
    const exit = m.cpu.run();
    return { exit, ...state(m.cpu), data: [...m.cpu.bytes.subarray(m.dataAt, m.dataAt + 4096)], cpu: m.cpu };
  };
  const plain = ({ cpu: _, ...rest }: ReturnType<typeof outcome>) => rest;
  const off = outcome('off'), on = outcome('on'), force = outcome('force'), native = outcome('native'), nativeForce = outcome('native-force');
  for (const translated of [on, force, native, nativeForce]) expect(plain(translated)).toEqual(plain(off));
  expect(translations(force.cpu)).toBeGreaterThan(0);
  if (RUNS_NATIVELY) expect(nativeForce.cpu.counters()['native_blocks']).toBeGreaterThan(0);
  for (const { cpu } of [native, nativeForce]) cpu.release();
  return force;
}
const le32 = (n: number): number[] => [n & 255, n >> 8 & 255, n >> 16 & 255, n >>> 24];

describe('translations', () => {
  test('a hot loop is translated twice, the second time with more around it, and gives what the interpreter gives', () => {
    const { cpu } = machine([0xb9, ...le32(100_000), 0x31, 0xc0, /* again: */ 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xcc], 'on');
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.gpr[0]).toBe(5_000_050_000n & 0xffffffffn);
    expect(translations(cpu)).toBe(2);
  });

  test('a block that a translation leads to has a number before it is hot', () => {
    // again: inc eax; test al, 15; jz rare; back: dec ecx; jnz again; int3; rare: inc ebx; jmp back
    const { cpu, codeAt } = machine([0xb9, ...le32(700), 0xff, 0xc0, 0xa8, 0x0f, 0x74, 0x05, 0xff, 0xc9, 0x75, 0xf6, 0xcc, 0xff, 0xc3, 0xeb, 0xf7], 'on');
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect([cpu.gpr[0], cpu.gpr[3], translations(cpu)]).toEqual([700n, 43n, 1]);
    const rare = cpu.blocks.known(codeAt + 16, false);
    expect(cpu.view.getUint16(rare + R.handler, true)).toBe(SPECIAL.count);
    expect(cpu.view.getUint32(rare + R.number, true)).toBeGreaterThan(0);
  });

  test('nested loops, forward branches, high bytes, partial registers and every flag at the end', () => {
    agree([
      0x31, 0xc0, 0xbb, ...le32(40),       // xor eax, eax; mov ebx, 40
      0xb9, ...le32(30),                   // outer: mov ecx, 30
      0x00, 0xc4,                          // inner: add ah, al
      0x66, 0x83, 0xc0, 0x07,              // add ax, 7
      0xa8, 0x10, 0x74, 0x03,              // test al, 16; jz over
      0x48, 0xff, 0xc2,                    // inc rdx
      0xd3, 0xc0,                          // over: rol eax, cl
      0x11, 0xd0,                          // adc eax, edx
      0xff, 0xc9, 0x75, 0xeb,              // dec ecx; jnz inner
      0x28, 0xdc,                          // sub ah, bl
      0xff, 0xcb, 0x75, 0xe0,              // dec ebx; jnz outer
      0xcc,
    ]);
  });

  test('INC and DEC keep the carry of before, across a loop\'s end', () => {
    agree([0xb9, ...le32(1000), 0xf9, /* again: */ 0x48, 0x11, 0xc0, 0x48, 0x83, 0xd2, 0x00, 0xff, 0xc9, 0x75, 0xf5, 0x0f, 0x92, 0xc3, 0xcc]);
  });

  test('a page fault in the middle of a loop is precise: registers, flags, address', () => {
    // mov rbx, DATA_VA; again: add rax, 3; mov [rbx], rax; add rbx, 8; cmp rax, -1; jnz again
    const m = agree([0x48, 0xbb, ...le32(Number(DATA_VA)), 0, 0, 0, 0, 0x48, 0x83, 0xc0, 3, 0x48, 0x89, 0x03, 0x48, 0x83, 0xc3, 8, 0x48, 0x83, 0xf8, 0xff, 0x75, 0xef, 0xcc]);
    expect(m.exit).toBe(EXIT.exception);
    expect([m.vector, m.cpu.cr2, m.rip, m.gpr[0]]).toEqual([14, DATA_VA + 4096n, CODE_VA + 14n, 3n * 513n]);
  });

  test('a store across two pages, and one whose second page is missing', () => {
    const at = (va: bigint) => (cpu: SoftwareProcessor): void => { cpu.gpr[3] = va; cpu.gpr[0] = 0x1122334455667788n; };
    const stores = [0x31, 0xc9, /* again: */ 0x48, 0x89, 0x03, 0x48, 0x01, 0x03, 0xff, 0xc1, 0x83, 0xf9, 0x05, 0x75, 0xf3, 0xcc];
    expect(agree(stores, at(CODE_VA + 4093n)).exit).toBe(EXIT.softwareInterrupt);
    expect(agree(stores, at(DATA_VA + 4090n)).vector).toBe(14);
  });

  test('a loop over two pages knows where it is in each', () => {
    const second = 4096 - 4080;
    const first = [0xb9, ...le32(9000), /* again: */ 0x48, 0x8d, 0x15, 0, 0, 0, 0, 0xeb, second - 14]; // mov ecx, 9000; lea rdx, [rip]; jmp second
    const behind = [
      0x48, 0x8d, 0x35, 0, 0, 0, 0,                               // lea rsi, [rip]
      0x48, 0x01, 0xf7, 0x48, 0x31, 0xd7,                         // add rdi, rsi; xor rdi, rdx
      0xe8, 0, 0, 0, 0, 0x5d, 0x48, 0x01, 0xef,                   // call next; pop rbp; add rdi, rbp
      0x48, 0x89, 0x3b,                                           // mov [rbx], rdi
      0xff, 0xc9, 0x75, -(second + 25 + 4 - 5) & 255, 0xcc,       // dec ecx; jnz again
    ];
    const m = agree([...first, ...Array(second - first.length).fill(0x90), ...behind], cpu => { cpu.gpr[3] = DATA_VA; }, 4080);
    expect([m.exit, m.gpr[2], m.gpr[6], m.gpr[5]]).toEqual([EXIT.softwareInterrupt, CODE_VA + 4092n, CODE_VA + 4103n, CODE_VA + 4114n]);
  });

  test('pushes and pops in a row, and where the stack ends among them', () => {
    const pushes = [0x50, 0x53, 0x41, 0x50, 0x54, 0x41, 0x51, 0x55], pops = [0x5a, 0x5e, 0x5f, 0x41, 0x5a, 0x41, 0x5b, 0x41, 0x5c]; // rax rbx r8, rsp, r9 rbp; rdx rsi rdi r10 r11 r12
    const values = (cpu: SoftwareProcessor): void => { for (const [n, r] of [0, 3, 5, 8, 9].entries()) cpu.gpr[r] = 0x1111n * BigInt(n + 1); };
    const whole = agree([0xb9, ...le32(20), ...pushes, ...pops, 0xff, 0xc9, 0x75, -(pushes.length + pops.length + 4) & 255, 0xcc], values);
    expect([whole.gpr[4], whole.gpr[2], whole.gpr[12]]).toEqual([STACK_VA + 4096n, 0x3333n, 0x1111n]);
    const short = agree([...pushes, 0xcc], cpu => { values(cpu); cpu.gpr[4] = STACK_VA + 16n; });
    expect([short.exit, short.vector, short.rip, short.gpr[4], short.cpu.cr2]).toEqual([EXIT.exception, 14, CODE_VA + 2n, STACK_VA, STACK_VA - 8n]);
  });

  test('a loop that rewrites an instruction of its own runs as rewritten', () => {
    // again: inc byte [rip + 2] (the immediate below); add eax, imm8; dec ecx; jnz again
    const m = agree([0xb9, ...le32(100), 0x31, 0xc0, 0xfe, 0x05, 2, 0, 0, 0, 0x83, 0xc0, 0, 0xff, 0xc9, 0x75, 0xf3, 0xcc]);
    expect(m.gpr[0]).toBe(BigInt([...Array(100).keys()].reduce((s, n) => s + ((n + 1) << 24 >> 24), 0)));
  });

  test('dropped code is not run again, however often it is translated anew', () => {
    const { cpu, codeAt } = machine([0xb8, 1, 0, 0, 0, 0xcc], 'force');
    for (let n = 0; n < 50; n++) {
      cpu.bytes[codeAt + 1] = n;
      cpu.invalidateCode(codeAt >>> 12);
      cpu.rip = CODE_VA;
      expect(cpu.run()).toBe(EXIT.softwareInterrupt);
      expect(cpu.gpr[0]).toBe(BigInt(n));
    }
    expect(cpu.counters()['jit_live']).toBe(1);
    expect(cpu.counters()['jit_translations']).toBe(50);
  });

  test('emptying the decode cache empties the translations', () => {
    const { cpu } = machine([0xb8, 1, 0, 0, 0, 0xcc], 'force');
    cpu.run();
    cpu.blocks.empty();
    expect(cpu.counters()['jit_live']).toBe(0);
    cpu.rip = CODE_VA;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.counters()['jit_live']).toBe(1);
  });

  test('what translations hold counts against the budget; over it all are dropped and the code runs on', () => {
    // again: forty blocks of add eax, ecx; jmp next; then dec ecx; jnz again
    const blocks = Array.from({ length: 40 }, () => [0x01, 0xc8, 0xeb, 0x00]).flat(), code = [0xb9, ...le32(300), ...blocks, 0xff, 0xc9, 0x0f, 0x85, ...le32(-(blocks.length + 8)), 0xcc];
    const shares = new Int32Array(2), { cpu } = machine(code, 'force', 0, new CodeBudget(shares, 1, 6000));
    let most = 0;
    for (let n = 0; n < 20; n++) {
      cpu.rip = CODE_VA;
      cpu.gpr[0] = 0n;
      expect(cpu.run()).toBe(EXIT.softwareInterrupt);
      expect(cpu.gpr[0]).toBe(BigInt(40 * 300 * 301 / 2));
      expect(shares).toEqual(Int32Array.of(0, cpu.counters()['jit_held_bytes']!));
      most = Math.max(most, shares[1]!);
    }
    expect(cpu.counters()['jit_evicted']).toBeGreaterThan(0);
    expect(most).toBeLessThan(20_000);
    cpu.blocks.empty();
    expect(shares[1]).toBe(0);
  });

  test('room is made by dropping what is entered least', () => {
    // mov ecx, N; again: add eax, ecx; dec ecx; jnz again. Once for long; then, in the next page, 120 times for a little.
    const loop = (runs: number): number[] => [0xb9, ...le32(runs), 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa], first = [...loop(100_000), 0xcc];
    const shares = new Int32Array(2), { cpu, codeAt } = machine([...first, ...Array(4096 - first.length).fill(0x90), ...Array.from({ length: 120 }, () => loop(400)).flat(), 0xcc], 'on', 0, new CodeBudget(shares, 1, 5000));
    const isTranslated = (): boolean => cpu.view.getUint16(cpu.blocks.known(codeAt + 5, false), true) === SPECIAL.translated;
    expect([cpu.run(), isTranslated()]).toEqual([EXIT.softwareInterrupt, true]);
    cpu.rip = CODE_VA + 4096n;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.counters()['jit_evicted']).toBeGreaterThan(5);
    expect([isTranslated(), shares[1]! < 7000]).toEqual([true, true]);
  });

  test('attention ends a translated loop, at an instruction boundary, and it goes on afterwards', () => {
    const { cpu } = machine([/* again: */ 0xff, 0xc0, 0xeb, 0xfc /* inc eax; jmp again */], 'force');
    cpu.view.setInt32(cpu.area, 1, true);
    expect(cpu.run()).toBe(EXIT.attention);
    const before = cpu.gpr[0]!;
    cpu.view.setInt32(cpu.area, 0, true);
    setAttentionLater(cpu);
    expect(cpu.run()).toBe(EXIT.attention);
    expect(cpu.rip).toBe(CODE_VA);
    expect(cpu.gpr[0]).toBeGreaterThan(before + 1000n);
    expect(cpu.leftTranslation).toBe(true);
  });
  test('what is left for attention is told apart: the interpreter after a translation too', () => {
    const { cpu, behind } = machine([0xff, 0xc0, 0xeb, 0xfc], 'on');
    setAttentionLater(cpu);
    expect([cpu.run(), cpu.leftTranslation]).toEqual([EXIT.attention, true]);
    cpu.rip = CODE_VA + 4096n;
    cpu.bytes.set([0xeb, 0xfe], behind);
    expect([cpu.run(), cpu.leftTranslation]).toEqual([EXIT.attention, false]);
  });

  test('an instruction across the page border, within a hot loop', () => {
    // at 4096-10: mov ecx, 2000; again: add eax, ecx; add eax, 0x01020304 (across); dec ecx; jnz again
    agree([0xb9, ...le32(2000), 0x01, 0xc8, 0x05, 4, 3, 2, 1, 0xff, 0xc9, 0x75, 0xf5, 0xcc], () => {}, 4096 - 10);
  });

  test('calls and returns between translated blocks; push and pop', () => {
    agree([
      0xb9, ...le32(3000),                  // mov ecx, 3000
      0x51, 0xe8, 6, 0, 0, 0,               // again: push rcx; call f
      0x59, 0xff, 0xc9, 0x75, 0xf5, 0xcc,   // pop rcx; dec ecx; jnz again; int3
      0x48, 0x01, 0xc8, 0xc3,               // f: add rax, rcx; ret
    ]);
  });

  test('locked instructions, string instructions and divisions in a loop', () => {
    agree([
      0x48, 0xbb, ...le32(Number(DATA_VA)), 0, 0, 0, 0, // mov rbx, DATA_VA
      0xbd, ...le32(700),                   // mov ebp, 700
      0xf0, 0x48, 0x0f, 0xc1, 0x03,         // again: lock xadd [rbx], rax
      0x48, 0x8d, 0x73, 0x08, 0x48, 0x8d, 0x7b, 0x40, 0xb9, ...le32(20), // lea rsi, [rbx+8]; lea rdi, [rbx+64]; mov ecx, 20
      0xf3, 0xa4,                           // rep movsb
      0x31, 0xd2, 0x89, 0xe8, 0xb9, ...le32(7), 0xf7, 0xf1, // xor edx, edx; mov eax, ebp; mov ecx, 7; div ecx
      0x89, 0x53, 0x0c,                     // mov [rbx+12], edx
      0xff, 0xcd, 0x75, 0xda,               // dec ebp; jnz again
      0xcc,
    ]);
  });
});

describe('regions', () => {
  test('a loop through a call, a jump through a table in memory and a return, over two pages', () => {
    const { cpu } = agree([
      0xb9, ...le32(20_000),                // mov ecx, 20000
      0xe8, ...le32(0x40 - 10),             // again: call stub
      0xff, 0xc9, 0x75, 0xf7, 0xcc,         // dec ecx; jnz again; int3
      ...Array(0x40 - 15).fill(0x90),
      0xff, 0x25, ...le32(0x100 - 0x46),    // stub: jmp [table]
      ...Array(0x100 - 0x46).fill(0x90),
      ...le32(Number(CODE_VA) + 4096 + 16), 0, 0, 0, 0, // table
      ...Array(4096 + 16 - 0x108).fill(0x90),
      0x48, 0x01, 0xc8, 0xc3,               // add rax, rcx; ret
    ]);
    expect(cpu.gpr[0]).toBe(200_010_000n);
    expect(cpu.counters()['jit_wide']).toBeGreaterThan(0);
  });

  test('a return that goes elsewhere than its call expects', () => {
    // again: call f; back: dec ecx; jnz again; int3; f: inc eax; test al, 7; jnz out; add qword [rsp], 0; lea rdx, [rip + skip]; mov [rsp], rdx; out: ret; skip: inc ebx; jmp back
    agree([
      0xb9, ...le32(20_000), 0xe8, 5, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf7, 0xcc,
      0xff, 0xc0, 0xa8, 0x07, 0x75, 0x0b, 0x48, 0x8d, 0x15, 5, 0, 0, 0, 0x48, 0x89, 0x14, 0x24, 0xc3, 0xff, 0xc3, 0xeb, 0xe7,
    ]);
  });

  test.each(['off', 'on', 'force'] as const)('the time stamp is read without leaving, or exits where it shall (jit %s)', jit => {
    // again: rdtscp; add rsi, rax; add rdi, rdx; rdtsc; add rsi, rax; dec ebx; jnz again; int3
    const code = [0x0f, 0x01, 0xf9, 0x48, 0x01, 0xc6, 0x48, 0x01, 0xd7, 0x0f, 0x31, 0x48, 0x01, 0xc6, 0xff, 0xcb, 0x75, 0xee, 0xcc];
    let now = 0x7_0000_0000n, read = 0;
    const { cpu } = machine(code, jit, 0, undefined, () => { read++; return now++; });
    cpu.tscAux = 0x8000_0005;
    cpu.gpr.set([-1n, -1n, -1n, 5000n].map(v => BigInt.asUintN(64, v)));
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect([read, cpu.gpr[6], cpu.gpr[7], cpu.gpr[1], cpu.gpr[2]]).toEqual([10_000, 9999n * 10_000n / 2n, 35_000n, 0x8000_0005n, 7n]);
    if (jit !== 'off') expect(translations(cpu)).toBeGreaterThan(0);
    cpu.tscExits = true;
    cpu.rip = CODE_VA;
    expect(cpu.run()).toBe(EXIT.privileged);
    expect([cpu.privileged.name, cpu.rip, read]).toEqual(['rdtscp', CODE_VA, 10_000]);
    cpu.tscExits = false;
    cpu.rip = CODE_VA + 9n;
    cpu.gpr[3] = 1n;
    expect([cpu.run(), read]).toEqual([EXIT.softwareInterrupt, 10_001]);
  });

  test('hot blocks gather while another is being made, and go together', () => {
    const requests: Request[] = [], helper: Helper = { post: r => { requests.push(r); }, take: () => undefined };
    // 70 times: mov ecx, 400; again: dec ecx; jnz again
    const { cpu } = machine([...Array.from({ length: 70 }, () => [0xb9, ...le32(400), 0xff, 0xc9, 0x75, 0xfc]).flat(), 0xcc], 'on', 0, undefined, undefined, helper);
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(requests.map(r => r.jobs.length)).toEqual([1, 64]);
  });

  test('a small translation ends where another begins', () => {
    const responses: Response[] = [], made: { start: number; size: string; instructions: number }[] = [];
    const helper: Helper = {
      post: request => {
        responses.push(translated({ view: cpu.view, area: cpu.area, slot: 0, thresholds: thresholdsOf('on') }, request));
        made.push(...responses.at(-1)!.outcome.made);
        Atomics.store(new Int32Array(cpu.memory.buffer), (cpu.area + S.translated) / 4, 1);
        Atomics.or(new Int32Array(cpu.memory.buffer), (cpu.area + S.selfAttention) / 4, 4);
      },
      take: () => responses.shift(),
    };
    // mov ebx, 350; outer: mov ecx, 9; inner: add eax, ecx; dec ecx; jnz inner; nop; dec ebx; jnz outer; int3
    const { cpu } = machine([0xbb, ...le32(350), 0xb9, ...le32(9), 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0x90, 0xff, 0xcb, 0x75, 0xf0, 0xcc], 'on', 0, undefined, undefined, helper);
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.gpr[0]).toBe(350n * 45n);
    // The inner loop with all around it; then the outer block, up to the loop.
    expect(made.map(m => [m.size, m.instructions])).toEqual([['small', 7], ['small', 1]]);
  });

  /** A loop that calls into the next page: mov ecx, 5000; again: call f; dec ecx; jnz again; int3. f: `instruction`; ret. The instruction has three bytes. */
  const calling = (instruction: number[]): number[] => {
    const first = [0xb9, ...le32(5000), 0xe8, ...le32(4096 - 10), 0xff, 0xc9, 0x75, 0xf7, 0xcc];
    return [...first, ...Array(4096 - first.length).fill(0x90), ...instruction, 0xc3];
  };
  const ADD = [0x48, 0x01, 0xc8], SUBTRACT = [0x48, 0x29, 0xc8], SUM = 5000n * 5001n / 2n;
  const again = (cpu: SoftwareProcessor): bigint => {
    cpu.rip = CODE_VA;
    cpu.gpr[0] = 0n;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    return BigInt.asIntN(64, cpu.gpr[0]!);
  };
  test.each(['on', 'force'] as const)('translations lead to each other by number, into another page too, but not where the page is another one now (jit %s)', jit => {
    const { cpu, codeAt, map, pageOf } = machine(calling(ADD), jit);
    for (let n = 0; n < 5; n++) expect(again(cpu)).toBe(SUM);
    const other = map(DATA_VA + 0x10000n);
    cpu.bytes.set([...SUBTRACT, 0xc3], other);
    pageOf(CODE_VA + 4096n, other);
    cpu.flushTlb();
    for (let n = 0; n < 5; n++) expect(again(cpu)).toBe(-SUM);
    pageOf(CODE_VA + 4096n, codeAt + 4096);
    cpu.flushTlb();
    expect(again(cpu)).toBe(SUM);
  });
  test.each(['on', 'force'] as const)('what leads to a block by number finds that it was overwritten, and what stands there now (jit %s)', jit => {
    const { cpu, codeAt } = machine(calling(ADD), jit);
    for (let n = 0; n < 5; n++) expect(again(cpu)).toBe(SUM);
    for (const [code, sum] of [[SUBTRACT, -SUM], [ADD, SUM]] as const) {
      cpu.bytes.set(code, codeAt + 4096);
      cpu.invalidateCode((codeAt + 4096) / 4096);
      for (let n = 0; n < 5; n++) expect(again(cpu)).toBe(sum);
    }
    cpu.blocks.empty();
    expect(again(cpu)).toBe(SUM);
  });
  test('a loop over blocks that lead to each other by number gives way to attention, where it is', () => {
    // again: 200 times inc ecx; rdtsc; jmp on. on, in the next page: 200 times inc edx; jmp again. More than one translation takes.
    const long = (register: number): number[] => Array.from({ length: 200 }, () => [0xff, register]).flat(), ahead = [...long(0xc1), 0x0f, 0x31, 0xe9, ...le32(4096 - 407)];
    let reads = 0;
    const { cpu } = machine([...ahead, ...Array(4096 - ahead.length).fill(0x90), ...long(0xc2), 0xe9, ...le32(-(4096 + 405))], 'force', 0, undefined, () => {
      if (++reads === 500) cpu.view.setInt32(cpu.area, 1, true);
      if (reads > 510) throw new Error('attention is not looked at');
      return 0n;
    });
    expect(cpu.run()).toBe(EXIT.attention);
    const at = cpu.rip - CODE_VA, inFirst = at < 4096n;
    expect(cpu.gpr[1]).toBe(500n * 200n + (inFirst ? at / 2n : 0n));
    if (!inFirst) expect(cpu.gpr[2]).toBe((at - 4096n) / 2n);
  });
  test('what was asked for before everything was forgotten does not come where another has its number', () => {
    const held: Response[] = [], ready: Response[] = [], deliver = (r: Response): void => {
      ready.push(r);
      Atomics.store(new Int32Array(cpu.memory.buffer), (cpu.area + S.translated) / 4, 1);
    };
    const helper: Helper = { post: request => { held.push(translated({ view: cpu.view, area: cpu.area, slot: 0, thresholds: thresholdsOf('on') }, request)); }, take: () => ready.shift() };
    // mov ecx, 1000; again: inc eax; dec ecx; jnz again; int3; the same with inc ebx
    const loop = (register: number): number[] => [0xb9, ...le32(1000), 0xff, register, 0xff, 0xc9, 0x75, 0xfa, 0xcc], first = loop(0xc0);
    const { cpu } = machine([...first, ...loop(0xc3)], 'on', 0, undefined, undefined, helper), run = (at: number): void => { cpu.rip = CODE_VA + BigInt(at); expect(cpu.run()).toBe(EXIT.softwareInterrupt); };
    run(0);
    expect(held.length).toBe(1);
    cpu.blocks.empty();
    run(first.length);
    expect(held.map(r => r.outcome.made[0]!.number)).toEqual(Array(2).fill(held[0]!.outcome.made[0]!.number));
    for (const r of held.toReversed()) deliver(r);
    run(first.length);
    expect([cpu.gpr[0], cpu.gpr[3], translations(cpu)]).toEqual([1000n, 2000n, 1]);
  });

  test.each([
    ['into the block asked for', 7, [0, 1]], ['into another block that it is made of', 24, [0, 1]], ['beside, into a block of the same page', 65, [1, 0]], ['into no block at all', 48, [1, 0]],
  ] as const)('a store while a translation is being made: %s', (_, offset, [installed, late]) => {
    const held: Response[] = [], ready: Response[] = [];
    const helper: Helper = { post: request => { held.push(translated({ view: cpu.view, area: cpu.area, slot: 0, thresholds: thresholdsOf('on') }, request)); }, take: () => ready.shift() };
    // mov ecx, 350; again: add eax, 1; jmp on. on: add ebx, 1; dec ecx; jnz again; int3. At 64 another block.
    const code = [0xb9, ...le32(350), 0x83, 0xc0, 1, 0xeb, 12, ...Array(12).fill(0x90), 0x83, 0xc3, 1, 0xff, 0xc9, 0x75, 0xe8, 0xcc, ...Array(34).fill(0x90), 0xb8, ...le32(1), 0xcc];
    const { cpu } = machine(code, 'on', 0, undefined, undefined, helper), run = (at: number): void => { cpu.rip = CODE_VA + BigInt(at); expect(cpu.run()).toBe(EXIT.softwareInterrupt); };
    run(64);
    cpu.gpr[0] = 0n;
    run(0);
    expect(held[0]!.outcome.made.map(({ ranges }) => ranges.map(p => p % 4096))).toEqual([[5, 10, 22, 30]]);
    cpu.writeVirtual(CODE_VA + BigInt(offset), new Uint8Array([2]));
    ready.push(held[0]!);
    Atomics.store(new Int32Array(cpu.memory.buffer), (cpu.area + S.translated) / 4, 1);
    [cpu.gpr[0], cpu.gpr[3]] = [0n, 0n];
    run(0);
    expect([cpu.gpr[0], cpu.gpr[3]]).toEqual([offset === 7 ? 700n : 350n, offset === 24 ? 700n : 350n]);
    expect([translations(cpu), cpu.counters()['jit_late']]).toEqual([installed, late]);
  });
  test('a translation names the bytes that it is made of, in each page those of an instruction that reaches into it too', () => {
    const held: Response[] = [];
    const helper: Helper = { post: request => { held.push(translated({ view: cpu.view, area: cpu.area, slot: 0, thresholds: thresholdsOf('force') }, request)); }, take: () => undefined };
    // add ebx, 1; jmp on. on, at the page's end: nop; nop; jmp, across the border, to int3 in the first page
    const { cpu, codeAt } = machine([0x83, 0xc3, 1, 0xe9, ...le32(4090 - 8)], 'force', 0, undefined, undefined, helper);
    cpu.bytes.set([0xcc], codeAt + 64);
    cpu.bytes.set([0x66, 0x90, 0x90, 0xe9, ...le32(64 - 4098)], codeAt + 4090);
    for (let n = 0; n < 20; n++) { cpu.rip = CODE_VA; expect(cpu.run()).toBe(EXIT.softwareInterrupt); }
    const ranges = held.flatMap(r => r.outcome.made).map(made => made.ranges.map(p => p - codeAt).join()).sort();
    expect([...new Set(ranges)]).toEqual(['0,8', '4090,4093', '4093,4096,4096,4098', '64,65']);
  });
  test.each([[10, [1, 0]], [100, [0, 1]]] as const)('%i drops in its page while a translation is being made are each remembered, or all of it counts as dropped', (drops, outcome) => {
    const held: Response[] = [], ready: Response[] = [];
    const helper: Helper = { post: request => { held.push(translated({ view: cpu.view, area: cpu.area, slot: 0, thresholds: thresholdsOf('on') }, request)); }, take: () => ready.shift() };
    const { cpu } = machine([0xb9, ...le32(350), 0xff, 0xc0, 0xff, 0xc9, 0x75, 0xfa, 0xcc, ...Array(52).fill(0x90), 0xb8, ...le32(1), ...Array(51).fill(0xcc)], 'on', 0, undefined, undefined, helper), run = (at: number): void => { cpu.rip = CODE_VA + BigInt(at); expect(cpu.run()).toBe(EXIT.softwareInterrupt); };
    run(0);
    expect(held.length).toBe(1);
    // So many blocks that the page is not given up.
    for (let n = 70; n < 120; n++) run(n);
    for (let n = 0; n < drops; n++) { run(64); cpu.writeVirtual(CODE_VA + 65n, new Uint8Array([n])); }
    expect(cpu.counters()['code_pages_given_up']).toBe(0);
    ready.push(held[0]!);
    Atomics.store(new Int32Array(cpu.memory.buffer), (cpu.area + S.translated) / 4, 1);
    run(0);
    expect([translations(cpu), cpu.counters()['jit_late']]).toEqual(outcome);
  });

  test('a way into the middle of a loop', () => {
    // mov ecx, 9000; test cl, 1; jmp mid; top: add eax, 3; mid: add eax, ecx; dec ecx; test ecx, 15; jz mid; cmp ecx, 0; jg top; int3
    agree([0xb9, ...le32(9000), 0xeb, 0x03, 0x83, 0xc0, 0x03, 0x01, 0xc8, 0xff, 0xc9, 0xf7, 0xc1, ...le32(15), 0x74, 0x07, 0x83, 0xf9, 0x00, 0x7f, 0xec, 0xcc, 0xcc, 0x85, 0xc9, 0x75, 0xe9, 0xcc]);
  });
});

const workers: (() => void)[] = [];
afterAll(() => workers.forEach(end => end()));
/** Another thread sets the attention word a little later. */
function setAttentionLater(cpu: SoftwareProcessor): void {
  const code = "const { workerData: d } = require('node:worker_threads'); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50); Atomics.store(new Int32Array(d.buffer), d.at / 4, 1);";
  const worker = new Worker(code, { eval: true, workerData: { buffer: cpu.memory.buffer, at: cpu.area } });
  workers.push(() => void worker.terminate());
}
