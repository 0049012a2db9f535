// Native code against the interpreter where it has to stop, to find another way, or to be another.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { SPECIAL } from '../decode.ts';
import { EXIT, VIEW } from '../processor-api.ts';
import type { SoftwareProcessor } from '../processor.ts';
import { FX, S } from '../state.ts';
import { CODE_VA, DATA_VA, HIGH_VA, machine as plainMachine, RUNS_NATIVELY, STACK_VA } from '../test-machine.ts';
import { Addresses, CONTROL, JUMP_TABLE_BYTES } from './addresses.ts';
import { Assembler } from './assembler.ts';
import { BlockTranslator } from './block.ts';
import { writeWays } from './entry.ts';
import { mapCode, openCode, unmapCode } from './executable-memory.ts';
import { hostFeatures } from './features.ts';

const le32 = (n: number): number[] => [n & 255, n >> 8 & 255, n >> 16 & 255, n >>> 24];
const made: SoftwareProcessor[] = [];
function machine(code: number[], jit: 'native' | 'native-force' | 'off' = 'native-force', more: Parameters<typeof plainMachine>[1] = {}) {
  const m = plainMachine(code, { jit, ...more });
  made.push(m.cpu);
  return m;
}
afterEach(() => { for (const cpu of made.splice(0)) cpu.release(); });
const count = (cpu: SoftwareProcessor, name: string): number => cpu.counters()[`native_${name}`] ?? 0;
const isNative = (cpu: SoftwareProcessor, phys: number): boolean => cpu.view.getUint16(cpu.blocks.known(phys, false), true) === SPECIAL.native;
const again = (cpu: SoftwareProcessor, va = CODE_VA): number => { cpu.rip = va; return cpu.run(); };
/** Runs some code often enough for it to be native, each time from the same state, and gives what came of the last time there and in the interpreter. */
function both(code: number[], setUp: (cpu: SoftwareProcessor) => void, isTaken = true) {
  const outcome = (jit: 'native-force' | 'off') => {
    const { cpu } = machine(code, jit);
    let exit = 0;
    for (let n = 0; n < 4; n++) { cpu.gpr.fill(0n); cpu.gpr[4] = STACK_VA + 2048n; cpu.rflags = 0x202n; setUp(cpu); exit = again(cpu); }
    return { exit, vector: cpu.vector, rip: cpu.rip, flags: cpu.rflags, gpr: [...cpu.gpr], entries: count(cpu, 'entries'), failed: count(cpu, 'left') };
  };
  const native = outcome('native-force'), { entries, failed, ...seen } = native, { entries: _, failed: __, ...expected } = outcome('off');
  expect(seen).toEqual(expected);
  if (isTaken) expect(entries).toBeGreaterThan(0);
  return { ...seen, failed };
}

describe.skipIf(!RUNS_NATIVELY)('native code', () => {
  test('a hot loop becomes native, and is left for what it cannot do', () => {
    // mov ecx, N; again: add eax, ecx; dec ecx; jnz again; int3
    const { cpu, codeAt } = machine([0xb9, ...le32(100_000), 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xfa, 0xcc], 'native');
    expect([cpu.run(), cpu.gpr[0], isNative(cpu, codeAt + 5)]).toEqual([EXIT.softwareInterrupt, 5_000_050_000n & 0xffffffffn, true]);
    expect(count(cpu, 'entries')).toBeLessThan(10);
  });

  test('a loop is left for attention, with all registers in their places, and goes on', () => {
    const { cpu } = machine([0x48, 0xff, 0xc0, 0xeb, 0xfb], 'native'); // again: inc rax; jmp again
    Atomics.store(new Int32Array(cpu.memory.buffer), (cpu.area + S.attention) / 4, 0);
    let looks = 0;
    // As a ticker would: from another thread.
    const { Worker } = process.getBuiltinModule('node:worker_threads'), ready = new Int32Array(new SharedArrayBuffer(4));
    const ticker = new Worker(`const { workerData: { buffer, at, ready } } = require('node:worker_threads'); const w = new Int32Array(buffer); Atomics.store(ready, 0, 1); Atomics.notify(ready, 0); for (let n = 0; n < 20; n++) { Atomics.wait(ready, 0, 1, 5); Atomics.store(w, at, 1); }`, { eval: true, workerData: { buffer: cpu.memory.buffer, at: (cpu.area + S.attention) / 4, ready } });
    Atomics.wait(ready, 0, 0, 5000);
    let before = 0n;
    while (looks < 10) {
      expect(cpu.run()).toBe(EXIT.attention);
      Atomics.store(new Int32Array(cpu.memory.buffer), (cpu.area + S.attention) / 4, 0);
      expect(cpu.gpr[0]).toBeGreaterThanOrEqual(before);
      before = cpu.gpr[0]!;
      looks++;
    }
    expect(before).toBeGreaterThan(100_000n);
    expect(cpu.leftTranslation).toBe(true);
    void ticker.terminate();
  });

  test('code that is written anew is made anew, and what led to the old leads to it', () => {
    // main: call f; dec ecx; jnz main; int3; at 0x800: f: mov al, 1; add ebx, eax; ret
    const { cpu, codeAt } = machine([0xe8, ...le32(0x800 - 5), 0xff, 0xc9, 0x75, 0xf7, 0xcc]);
    cpu.bytes.set([0xb8, ...le32(1), 0x01, 0xc3, 0xc3], codeAt + 0x800);
    const rounds = (n: number): number => { cpu.gpr[1] = BigInt(n); cpu.gpr[3] = 0n; again(cpu); return Number(cpu.gpr[3]); };
    expect(rounds(50)).toBe(50);
    cpu.bytes[codeAt + 0x801] = 7;
    cpu.invalidateCode(codeAt >>> 12);
    expect(rounds(50)).toBe(350);
    const left = count(cpu, 'left');
    expect(rounds(50)).toBe(350);
    // Nothing is left any more but the loop's end.
    expect(count(cpu, 'left') - left).toBeLessThan(5);
  });

  test('flags are right where code that needed none is replaced by code that does', () => {
    // cmp ecx, 5; jmp f; f: xor eax, eax; setc al; int3: then f becomes sbb eax, eax
    const { cpu, codeAt } = machine([0x83, 0xf9, 5, 0xeb, 0, 0x31, 0xc0, 0x0f, 0x92, 0xc0, 0xcc]);
    for (let n = 0; n < 4; n++) { cpu.gpr[1] = 3n; again(cpu); }
    expect(cpu.gpr[0]).toBe(0n);
    cpu.bytes.set([0x19, 0xc0, 0x90, 0x90, 0x90], codeAt + 5);
    cpu.blocks.written(codeAt + 5, 5);
    for (const [ecx, eax] of [[3n, 0xffffffffn], [9n, 0n], [4n, 0xffffffffn]] as const) { cpu.gpr[0] = 0n; cpu.gpr[1] = ecx; again(cpu); expect(cpu.gpr[0]).toBe(eax); }
  });

  test('an instruction across pages, whose second page becomes another', () => {
    const { cpu, codeAt, map } = machine(Array(4093).fill(0x90).concat([0xb8, 0x44, 0x33]));
    const next = map(CODE_VA + 4096n), other = map(HIGH_VA + 4096n);
    cpu.bytes.set([0x22, 0x11, 0xcc], next);
    cpu.bytes.set([0x99, 0x88, 0xcc], other);
    const from = (): bigint => { again(cpu, CODE_VA + 4090n); return cpu.gpr[0]!; };
    for (let n = 0; n < 5; n++) expect(from()).toBe(0x11223344n);
    expect(isNative(cpu, codeAt + 4093)).toBe(true);
    map(CODE_VA + 4096n, other);
    cpu.flushPage(CODE_VA + 4096n);
    for (let n = 0; n < 3; n++) expect(from()).toBe(0x88993344n);
  });

  test('a branch into another page goes where that page leads now', () => {
    const { cpu, map } = machine([0xe9, ...le32(4096 - 5)]); // jmp next page
    const next = map(CODE_VA + 4096n), other = map(HIGH_VA + 4096n);
    cpu.bytes.set([0xb8, ...le32(1), 0xcc], next);
    cpu.bytes.set([0xb8, ...le32(2), 0xcc], other);
    const goes = (): bigint => { again(cpu); return cpu.gpr[0]!; };
    for (let n = 0; n < 5; n++) expect(goes()).toBe(1n);
    map(CODE_VA + 4096n, other);
    cpu.flushPage(CODE_VA + 4096n);
    for (let n = 0; n < 5; n++) expect(goes()).toBe(2n);
    map(CODE_VA + 4096n, next);
    cpu.flushTlb();
    for (let n = 0; n < 5; n++) expect(goes()).toBe(1n);
  });

  test('a call through a register is not remembered beyond a flush', () => {
    const { cpu, map } = machine([0xff, 0xd0, 0xcc]); // call rax; int3
    const next = map(CODE_VA + 4096n), other = map(HIGH_VA + 4096n), target = CODE_VA + 4096n;
    cpu.bytes.set([0xbb, ...le32(1), 0xc3], next);
    cpu.bytes.set([0xbb, ...le32(2), 0xc3], other);
    const goes = (): bigint => { cpu.gpr[0] = target; cpu.gpr[4] = STACK_VA + 2048n; again(cpu); return cpu.gpr[3]!; };
    for (let n = 0; n < 5; n++) expect(goes()).toBe(1n);
    map(target, other);
    cpu.flushPage(target);
    for (let n = 0; n < 5; n++) expect(goes()).toBe(2n);
  });

  test('what would fault on the host faults in the guest alone', () => {
    const misaligned = (cpu: SoftwareProcessor): void => { cpu.gpr[3] = DATA_VA + 8n; };
    // movaps xmm0, [rbx]: #GP, as the interpreter has it
    expect(both([0x0f, 0x28, 0x03, 0xcc], misaligned).vector).toBe(13);
    expect(both([0x66, 0x0f, 0xfe, 0x03, 0xcc], misaligned).vector).toBe(13);
    // div, by zero and with a quotient that does not fit; idiv of the least number by minus one
    for (const divide of [[0xf7, 0xf3], [0x48, 0xf7, 0xf3], [0xf7, 0xfb], [0x48, 0xf7, 0xfb], [0x66, 0xf7, 0xf3], [0xf6, 0xf3]]) for (const [a, d, b] of [[5n, 0n, 0n], [5n, 7n, 3n], [1n << 63n, (1n << 64n) - 1n, (1n << 64n) - 1n], [0x8000_0000n, 0xffff_ffffn, 0xffff_ffffn], [100n, 0n, 7n]] as const)
      both([...divide, 0xcc], cpu => { cpu.gpr[0] = a; cpu.gpr[2] = d; cpu.gpr[3] = b; }, divide[0] !== 0xf6);
    // lock add [rbx], eax across a cache line and across a page
    for (const at of [61n, 4094n]) both([0xf0, 0x01, 0x03, 0xcc], cpu => { cpu.gpr[3] = DATA_VA + at; cpu.gpr[0] = 3n; cpu.write64(DATA_VA + at, 5n); });
  });

  test('targets that no address space has are reported at the branch', () => {
    const nowhere = 0x8000_0000_0000n;
    for (const code of [[0xff, 0xe0], [0xff, 0xd0], [0x58, 0xff, 0xe0]]) both(code, cpu => { cpu.gpr[0] = nowhere; cpu.write64(STACK_VA + 2048n, nowhere); });
    for (const code of [[0xc3], [0xc2, 0x10, 0], [0x5b, 0x5d, 0xc3]]) {
      const seen = both(code, cpu => { for (let n = 0n; n < 32n; n += 8n) cpu.write64(STACK_VA + 2048n + n, nowhere); });
      expect([seen.vector, seen.rip]).toEqual([13, CODE_VA + BigInt(code.indexOf(code.at(-1) === 0xc3 ? 0xc3 : 0xc2))]);
    }
  });

  test('with CR0.TS set, or exceptions of floating point unmasked, it is the interpreter\'s turn', () => {
    const code = [0xf3, 0x0f, 0x5e, 0xc1, 0xcc]; // divss xmm0, xmm1
    const { cpu } = machine(code);
    for (let n = 0; n < 4; n++) expect(again(cpu)).toBe(EXIT.softwareInterrupt);
    cpu.taskSwitched = true;
    expect([again(cpu), cpu.vector]).toEqual([EXIT.exception, 7]);
    cpu.taskSwitched = false;
    cpu.view.setUint32(cpu.area + S.fx + FX.mxcsr, 0x1f80 & ~0x80, true);
    cpu.view.setFloat32(cpu.area + S.fx + FX.xmm, 1, true);
    cpu.view.setFloat32(cpu.area + S.fx + FX.xmm + 16, 1, true);
    // 0 / 0 and 1 / 0: invalid is unmasked.
    cpu.view.setFloat32(cpu.area + S.fx + FX.xmm, 0, true);
    cpu.view.setFloat32(cpu.area + S.fx + FX.xmm + 16, 0, true);
    expect([again(cpu), cpu.vector]).toEqual([EXIT.exception, 19]);
  });

  test('exceptions of floating point leave their flags in the guest\'s MXCSR, and rounding is the guest\'s', () => {
    const { cpu } = machine([0xf3, 0x0f, 0x5e, 0xc1, 0xcc]), at = cpu.area + S.fx;
    for (let n = 0; n < 5; n++) {
      cpu.view.setUint32(at + FX.mxcsr, 0x1f80 | 0x4000, true); // upwards
      cpu.view.setFloat32(at + FX.xmm, 1, true);
      cpu.view.setFloat32(at + FX.xmm + 16, 3, true);
      again(cpu);
      expect([cpu.view.getUint32(at + FX.xmm, true), cpu.view.getUint32(at + FX.mxcsr, true)]).toEqual([0x3eaaaaab, 0x5fa0]);
    }
    cpu.view.setUint32(at + FX.mxcsr, 0x1f80 | 0x2000, true); // downwards
    cpu.view.setFloat32(at + FX.xmm, 1, true);
    again(cpu);
    expect(cpu.view.getUint32(at + FX.xmm, true)).toBe(0x3eaaaaaa);
    expect(1 / 3).toBe(0.3333333333333333);
  });

  test('a block that one view has native code of is interpreted in the other', () => {
    const { cpu } = machine([0xb8, ...le32(9), 0xcc]);
    for (let n = 0; n < 4; n++) again(cpu);
    const entries = count(cpu, 'entries');
    expect(entries).toBeGreaterThan(0);
    cpu.setRoot(VIEW.user, BigInt(cpu.view.getUint32(cpu.area + S.roots, true)));
    cpu.activeView = VIEW.user;
    cpu.gpr[0] = 0n;
    expect([again(cpu), cpu.gpr[0], count(cpu, 'entries')]).toEqual([EXIT.softwareInterrupt, 9n, entries]);
  });

  test('RDTSC and RDTSCP tell the driver\'s time, or exit', () => {
    const { cpu } = machine([0x0f, 0x31, 0x89, 0xc3, 0x0f, 0x01, 0xf9, 0xcc], 'native-force', { host: { clock: () => 0x1234_5678_9abcn } });
    cpu.tscAux = 77;
    for (let n = 0; n < 4; n++) { cpu.gpr.fill(-1n & 0xffff_ffff_ffff_ffffn, 0, 4); expect(again(cpu)).toBe(EXIT.softwareInterrupt); expect([...cpu.gpr.subarray(0, 4)]).toEqual([0x5678_9abcn, 77n, 0x1234n, 0x5678_9abcn]); }
    cpu.tscExits = true;
    expect([again(cpu), cpu.rip]).toEqual([EXIT.privileged, CODE_VA]);
  });

  test('a store into its own block is seen by the next instruction', () => {
    // mov byte [rip + 1], cl (the immediate below); mov eax, imm8...; int3
    const { cpu } = machine([0x88, 0x0d, ...le32(1), 0xb8, ...le32(0), 0xcc]);
    for (let n = 1n; n < 12n; n++) { cpu.gpr[1] = n; again(cpu); expect(cpu.gpr[0]).toBe(n); }
  });

  test('when its memory is full all native code goes, and what is run is made again', () => {
    const code = Array.from({ length: 60 }, () => [0x01, 0xc8, 0xeb, 0x00]).flat().concat(0xcc), length = CONTROL.BYTES + 2 * JUMP_TABLE_BYTES + 256 * 1024, own = mapCode(length)!;
    const { cpu } = machine(code, 'native-force', { code: own, codeBytes: length });
    for (let n = 0; n < 300; n++) {
      // Each time other code.
      cpu.bytes[Number(cpu.translate(CODE_VA, 0))] = n & 1 ? 0x01 : 0x29;
      cpu.invalidateCode(Number(cpu.translate(CODE_VA, 0)) >>> 12);
      cpu.gpr[0] = 0n; cpu.gpr[1] = 1n;
      expect([again(cpu), cpu.gpr[0]! & 0xffffffffn]).toEqual([EXIT.softwareInterrupt, n & 1 ? 60n : 58n]);
      if (n === 0) again(cpu);
    }
    unmapCode(own, length);
  });
});

describe.skipIf(!RUNS_NATIVELY)('what is written', () => {
  /** How memory may be named: the guest's and the state through GS with 32 bits; the code memory's own words; a jump table; the thread's stack. */
  const ALLOWED = [
    /^%gs:0x[0-9a-f]+$/, /^%gs:(0x[0-9a-f]+)?\((%eax|%r15d)\)$/, /^%gs:0x[0-9a-f]+\(%r15\)$/, /^%gs:0x[0-9a-f]+\(%rbx\)$/, /^%gs:0x0\(%ebx,%edx,1\)$/, /^%gs:\(%ebx\)$/, /^-?0x[0-9a-f]+\(%rip\)$/,
  ];
  const OPERAND = /(%[c-g]s:)?(-?0x[0-9a-f]+)?\([^)]*\)|%[c-g]s:0x[0-9a-f]+/;
  const objdump = spawnSync('objdump', ['--version']).status === 0;
  if (!objdump) console.warn('SKIPPED the look at native code: no objdump (package binutils)');
  test.skipIf(!objdump)('names no memory but through GS with 32 bits, whatever the guest\'s code is', () => {
    const length = 16 * 2 ** 20, address = mapCode(length)!, code = openCode(address, length), features = hostFeatures(code)!;
    const a = new Assembler(code.bytes);
    a.at = CONTROL.BYTES + 2 * JUMP_TABLE_BYTES;
    const first = a.at, at = new Addresses(0x10000), blocks = new BlockTranslator(a, at, writeWays(a, at), features), waysEnd = a.at;
    let seed = 12345, instructions = 0;
    const random = (): number => (seed = Math.imul(seed, 1103515245) + 12345 >>> 0) >>> 16, guest = new Uint8Array(8192);
    // Opcodes of both maps with all kinds of prefixes and operands.
    for (let n = 0; n < 30_000; n++) {
      for (let i = 0; i < 64; i++) guest[i] = random();
      let p = 0;
      if (random() % 4 === 0) guest[p++] = [0x66, 0xf0, 0xf2, 0xf3, 0x64, 0x65][random() % 6]!;
      if (random() % 2) guest[p++] = 0x40 | random() & 15;
      if (random() % 8 === 0) { guest.set([0xc4, 0xe2 | random() & 0x60, random() & 0xfb, 0xf2 + random() % 6], p); p += 3; }
      else if (random() % 2) { guest[p++] = 0x0f; if (random() % 4 === 0) guest[p++] = random() % 2 ? 0x38 : 0x3a; }
      const made = blocks.translate(guest, 0, 1, 0, 0, n & 1 ? VIEW.user : VIEW.kernel, () => undefined, () => n);
      if (!made) continue;
      instructions += made.instructions;
      if (!blocks.hasRoom) break;
    }
    expect(instructions).toBeGreaterThan(5000);
    const dir = mkdtempSync(join(tmpdir(), 'xenolith-native-'));
    try {
      const wrong: string[] = [];
      let operands = 0;
      for (const { from, bytes } of [{ from: first, bytes: waysEnd - first }, ...blocks.used]) {
        const file = join(dir, String(from));
        writeFileSync(file, code.bytes.subarray(from, from + bytes));
        const { stdout } = spawnSync('objdump', ['-D', '-b', 'binary', '-m', 'i386:x86-64', '--no-show-raw-insn', file], { encoding: 'utf8', maxBuffer: 2 ** 30 });
        for (const line of stdout.split('\n')) {
          const text = line.replace(/^\s*[0-9a-f]+:\s*/, '').replace(/\s*#.*$/, '').trim();
          if (!/\(|%gs/.test(text) || /^lea|^nop|^file format|:\s+file/.test(text) || /^.*>:$/.test(text)) continue;
          operands++;
          // What is written once, strings.ts: from 32 bits of a physical address and where the memory begins.
          if (from === first && /^rep (stos|movs)/.test(text)) continue;
          // The jump table's entry, from an index that was cut to its size.
          if (/^cmp +0x0\(%r15\),%rax$|^jmp +\*0x8\(%r15\)$/.test(text)) continue;
          const operand = OPERAND.exec(text)?.[0] ?? text;
          if (!ALLOWED.some(pattern => pattern.test(operand))) wrong.push(text);
        }
      }
      expect(operands).toBeGreaterThan(20_000);
      expect(wrong.slice(0, 20)).toEqual([]);
    } finally { rmSync(dir, { recursive: true, force: true }); unmapCode(address, length); }
  });
});
