import { describe, expect, test } from 'vitest';
import { EXIT, SEG } from './processor-api.ts';
import { CODE_VA, DATA_VA, machine, STACK_VA } from './test-machine.ts';

describe('processor', () => {
  test('runs a loop with flags, memory and a call', () => {
    const { cpu } = machine([
      0xb9, 10, 0, 0, 0,             // mov ecx, 10
      0x31, 0xc0,                    // xor eax, eax
      0x48, 0xbb, 0, 0, 0x50, 0, 0, 0, 0, 0, // movabs rbx, DATA_VA
      0x01, 0xc8,                    // again: add eax, ecx
      0x01, 0x03,                    // add [rbx], eax
      0xff, 0xc9,                    // dec ecx
      0x75, 0xf8,                    // jnz again
      0xe8, 1, 0, 0, 0,              // call over
      0xcc,                          // int3
      0x48, 0x8b, 0x13,              // over: mov rdx, [rbx]
      0xc3,                          // ret
    ]);
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.vector).toBe(3);
    expect(cpu.gpr[0]).toBe(55n);
    expect(cpu.gpr[2]).toBe([...Array(10)].reduce<bigint>((s, _, i) => s + BigInt(Array.from({ length: i + 1 }, (_x, k) => 10 - k).reduce((a, b) => a + b, 0)), 0n));
    expect(cpu.rip).toBe(CODE_VA + 31n);
  });

  test('page fault is precise, restartable, with error code and cr2', () => {
    const { cpu } = machine([0xba, 1, 0, 0, 0, 0x48, 0x89, 0x10, 0xcc]); // mov edx, 1; mov [rax], rdx; int3
    cpu.gpr[0] = DATA_VA + 8190n;
    expect(cpu.run()).toBe(EXIT.exception);
    expect([cpu.vector, cpu.errorCode, cpu.cr2, cpu.rip]).toEqual([14, 6, DATA_VA + 8192n, CODE_VA + 5n]);
    cpu.gpr[0] = DATA_VA + 4092n;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.read64(DATA_VA + 4092n)).toBe(1n);
  });

  test('code that rewrites itself runs as rewritten', () => {
    // mov byte [rip+5], 0x2a ; nop.. ; mov al, 0x11 ; int3
    const { cpu } = machine([0xc6, 0x05, 1, 0, 0, 0, 0x2a, 0xb0, 0x11, 0xcc]);
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.gpr[0]! & 0xffn).toBe(0x2an);
  });

  test('string move over a page border, and an overlapping one', () => {
    const { cpu, dataAt } = machine([0xf3, 0xa4, 0xcc]);
    for (let i = 0; i < 256; i++) cpu.bytes[dataAt + i] = i;
    cpu.gpr[6] = DATA_VA; cpu.gpr[7] = DATA_VA + 4000n; cpu.gpr[1] = 256n;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    const out = new Uint8Array(256);
    cpu.readVirtual(DATA_VA + 4000n, out);
    expect([...out]).toEqual(Array.from({ length: 256 }, (_, i) => i));
    cpu.rip = CODE_VA; cpu.gpr[6] = DATA_VA; cpu.gpr[7] = DATA_VA + 1n; cpu.gpr[1] = 100n;
    cpu.run();
    expect(new Set(cpu.bytes.subarray(dataAt, dataAt + 101))).toEqual(new Set([0]));
  });

  test('single step executes one instruction, and TF raises #DB', () => {
    const { cpu } = machine([0xb0, 1, 0xb0, 2, 0xcc]);
    expect(cpu.step()).toBe(0);
    expect([cpu.rip, cpu.gpr[0]]).toEqual([CODE_VA + 2n, 1n]);
    cpu.rflags |= 0x100n;
    expect(cpu.run()).toBe(EXIT.exception);
    expect([cpu.vector, cpu.rip]).toEqual([1, CODE_VA + 4n]);
  });

  test('attention ends a loop at a block border', () => {
    const { cpu } = machine([0xeb, 0xfe]);
    cpu.view.setInt32(cpu.area, 1, true);
    expect(cpu.run()).toBe(EXIT.attention);
    expect(cpu.rip).toBe(CODE_VA);
  });

  describe('IRET', () => {
    const CS = 0x33, SS = 0x2b, CARRY = 1n, TARGET = CODE_VA + 64n, STACK = STACK_VA + 128n;
    const frame = (cs: number): { exit: number; asked: number[]; cpu: ReturnType<typeof machine>['cpu'] } => {
      const asked: number[] = [], { cpu } = machine([0x48, 0xcf], { host: { unchanging: { cs: CS, ss: SS }, descriptor: selector => { asked.push(selector); return undefined; } } });
      cpu.writeVirtual(TARGET, new Uint8Array([0xcc]));
      cpu.selectors[SEG.cs] = CS;
      cpu.selectors[SEG.ss] = SS;
      cpu.gpr[4] = STACK_VA + 256n;
      [TARGET, BigInt(cs), 0x202n | CARRY, STACK, BigInt(SS)].forEach((v, n) => cpu.write64(STACK_VA + 256n + BigInt(8 * n), v));
      return { exit: cpu.run(), asked, cpu };
    };
    test('with the selectors there are asks for no descriptor where those never change', () => {
      const { exit, asked, cpu } = frame(CS);
      expect([exit, cpu.gpr[4], cpu.rflags & CARRY, asked]).toEqual([EXIT.softwareInterrupt, STACK, CARRY, []]);
    });
    test('with another selector asks for its descriptor', () => {
      const { exit, asked, cpu } = frame(0x23);
      expect([exit, cpu.vector, cpu.rip, asked]).toEqual([EXIT.exception, 13, CODE_VA, [0x23]]);
    });
  });
});
