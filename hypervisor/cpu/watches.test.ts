// Breakpoints in debug registers, and a debugger's watches, on code that is interpreted, translated, or stepped.
import { describe, expect, test } from 'vitest';
import type { JitMode } from './jit/mode.ts';
import { EXIT } from './processor-api.ts';
import { CODE_VA, DATA_VA, HIGH_VA, machine, STACK_VA } from './test-machine.ts';

const WRITE = 1n, ACCESS = 3n, B1 = 0n, B2 = 1n, B4 = 3n, B8 = 2n;
/** DR7 with breakpoint n enabled for this condition and length. */
const control = (n: number, condition: bigint, length: bigint): bigint => 2n << BigInt(2 * n) | (condition | length << 2n) << BigInt(16 + 4 * n);

describe.each<JitMode>(['off', 'force', 'native-force'])('watched accesses, translations %s', jit => {
  /** Runs to the next debug exception. */
  const trap = (cpu: ReturnType<typeof machine>['cpu']): { rip: bigint; dr6: bigint } => {
    expect([cpu.run(), cpu.vector]).toEqual([EXIT.exception, 1]);
    const dr6 = cpu.debug[6]!;
    cpu.setDebugRegister(6, 0xffff0ff0n);
    return { rip: cpu.rip - CODE_VA, dr6: dr6 & 0xffffn };
  };

  test('a write is trapped behind its instruction, a read is not; both are where the register says so', () => {
    // 0: mov rax, [rbx]  3: mov [rbx], rcx  6: add [rbx], rcx  9: int3
    const { cpu } = machine([0x48, 0x8b, 0x03, 0x48, 0x89, 0x0b, 0x48, 0x01, 0x0b, 0xcc], { jit });
    const begin = (): void => { cpu.rip = CODE_VA; cpu.gpr[3] = DATA_VA + 8n; cpu.gpr[1] = 5n; };
    begin();
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    cpu.setDebugRegister(0, DATA_VA + 8n);
    cpu.setDebugRegister(7, control(0, WRITE, B8));
    begin();
    expect(trap(cpu)).toEqual({ rip: 6n, dr6: 0xff1n });
    expect(cpu.read64(DATA_VA + 8n)).toBe(5n);
    expect(trap(cpu)).toEqual({ rip: 9n, dr6: 0xff1n });
    expect(cpu.read64(DATA_VA + 8n)).toBe(10n);
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    cpu.setDebugRegister(7, control(0, ACCESS, B8));
    begin();
    expect([trap(cpu).rip, trap(cpu).rip, trap(cpu).rip]).toEqual([3n, 6n, 9n]);
    cpu.setDebugRegister(7, 0n);
    begin();
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  });

  test('the bytes of the breakpoint alone count, its address aligned to its length; neighbours run on', () => {
    // 0: mov byte [rbx], 1  3: mov byte [rbx + 3], 1  7: mov byte [rbx + 4], 1  b: mov [rbx - 7], rax  f: int3
    const { cpu } = machine([0xc6, 0x03, 1, 0xc6, 0x43, 3, 1, 0xc6, 0x43, 4, 1, 0x48, 0x89, 0x43, 0xf9, 0xcc], { jit });
    cpu.setDebugRegister(2, DATA_VA + 0x102n);
    cpu.setDebugRegister(7, control(2, WRITE, B4));
    cpu.gpr[3] = DATA_VA + 0x100n;
    expect([trap(cpu), trap(cpu), trap(cpu)]).toEqual([{ rip: 3n, dr6: 0xff4n }, { rip: 7n, dr6: 0xff4n }, { rip: 0xfn, dr6: 0xff4n }]);
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    cpu.setDebugRegister(2, DATA_VA + 0x103n);
    cpu.setDebugRegister(7, control(2, WRITE, B1));
    cpu.rip = CODE_VA;
    expect(trap(cpu)).toEqual({ rip: 7n, dr6: 0xff4n });
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  });

  test('an operand across pages; several at once; a fault comes first and is no access', () => {
    // 0: mov [rbx], eax  2: int3
    const { cpu } = machine([0x89, 0x03, 0xcc], { jit });
    cpu.setDebugRegister(0, DATA_VA + 4096n);
    cpu.setDebugRegister(1, DATA_VA + 4094n);
    cpu.setDebugRegister(3, DATA_VA + 4098n);
    cpu.setDebugRegister(7, control(0, WRITE, B2) | control(1, ACCESS, B2) | control(3, WRITE, B1));
    cpu.gpr[0] = 0x11223344n;
    cpu.gpr[3] = DATA_VA + 4094n;
    expect(trap(cpu)).toEqual({ rip: 2n, dr6: 0xff3n });
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.read64(DATA_VA + 4094n)).toBe(0x11223344n);
    cpu.setDebugRegister(0, DATA_VA + 8190n);
    cpu.setDebugRegister(7, control(0, WRITE, B2));
    cpu.gpr[3] = DATA_VA + 8190n;
    cpu.rip = CODE_VA;
    expect([cpu.run(), cpu.vector, cpu.rip, cpu.debug[6]! & 15n]).toEqual([EXIT.exception, 14, CODE_VA, 0n]);
  });

  test('stack, strings (behind the element), locked and vector operands', () => {
    // 0: push rax  1: rep stosb  3: lock inc dword [rbx]  6: movaps [rbx], xmm0  9: int3
    const { cpu, dataAt } = machine([0x50, 0xf3, 0xaa, 0xf0, 0xff, 0x03, 0x0f, 0x29, 0x03, 0xcc], { jit });
    cpu.setDebugRegister(0, STACK_VA + 4088n);
    cpu.setDebugRegister(1, DATA_VA + 0x20n);
    cpu.setDebugRegister(2, DATA_VA + 0x40n);
    cpu.setDebugRegister(7, control(0, WRITE, B8) | control(1, WRITE, B1) | control(2, WRITE, B4));
    cpu.gpr[7] = DATA_VA + 0x10n; cpu.gpr[1] = 0x20n; cpu.gpr[0] = 0x55n; cpu.gpr[3] = DATA_VA + 0x40n;
    expect(trap(cpu)).toEqual({ rip: 1n, dr6: 0xff1n });
    expect(trap(cpu)).toEqual({ rip: 1n, dr6: 0xff2n });
    expect([cpu.gpr[1], cpu.gpr[7]]).toEqual([0xfn, DATA_VA + 0x21n]);
    expect(trap(cpu)).toEqual({ rip: 6n, dr6: 0xff4n });
    expect(trap(cpu)).toEqual({ rip: 9n, dr6: 0xff4n });
    expect(cpu.bytes.subarray(dataAt + 0x10, dataAt + 0x30).every(b => b === 0x55)).toBe(true);
  });

  test('an execution breakpoint faults before its instruction, RF passes over it, also reached from another page', () => {
    // 0: inc eax  2: inc ecx  4: dec edx  6: jnz 0  8: int3
    const { cpu } = machine([0xff, 0xc0, 0xff, 0xc1, 0xff, 0xca, 0x75, 0xf8, 0xcc], { jit });
    cpu.gpr[2] = 1000n;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    cpu.setDebugRegister(1, CODE_VA + 2n);
    cpu.setDebugRegister(7, control(1, 0n, B1));
    for (let n = 0; n < 4; n++) cpu.gpr[n] = 0n;
    cpu.gpr[2] = 3n;
    cpu.rip = CODE_VA;
    for (let n = 1n; n <= 3n; n++) {
      expect(trap(cpu)).toEqual({ rip: 2n, dr6: 0xff2n });
      expect([cpu.gpr[0], cpu.gpr[1]]).toEqual([n, n - 1n]);
      cpu.rflags |= 0x10000n;
    }
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.gpr[1]).toBe(3n);
  });

  test('an execution breakpoint in a page that hot code of another page calls', () => {
    // 0: call DATA_VA  5: dec edx  7: jnz 0  9: int3      DATA_VA: inc ecx  2: ret
    const { cpu, dataAt } = machine([0xe8, 0xfb, 0xff, 0x0f, 0, 0xff, 0xca, 0x75, 0xf7, 0xcc], { jit });
    cpu.bytes.set([0xff, 0xc1, 0xc3], dataAt);
    const begin = (rounds: bigint): void => { cpu.rip = CODE_VA; cpu.gpr[1] = 0n; cpu.gpr[2] = rounds; };
    begin(20_000n);
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.gpr[1]).toBe(20_000n);
    cpu.setDebugRegister(0, DATA_VA + 2n);
    cpu.setDebugRegister(7, control(0, 0n, B1));
    begin(2n);
    for (let n = 1n; n <= 2n; n++) {
      expect(trap(cpu).rip).toBe(DATA_VA + 2n - CODE_VA);
      expect(cpu.gpr[1]).toBe(n);
      cpu.rflags |= 0x10000n;
    }
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    // One that is taken back is one no more.
    cpu.setDebugRegister(7, 0n);
    begin(20_000n);
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.gpr[1]).toBe(20_000n);
  });

  test('a loop that fills a watched page is stopped once, in the round that reaches the watched byte', () => {
    // 0: mov [rbx + rcx*8], rcx  4: inc rcx  7: cmp rcx, 1000  e: jne 0  10: int3
    const { cpu } = machine([0x48, 0x89, 0x0c, 0xcb, 0x48, 0xff, 0xc1, 0x48, 0x81, 0xf9, 0xe8, 3, 0, 0, 0x75, 0xf0, 0xcc], { jit });
    cpu.gpr[3] = DATA_VA;
    cpu.setDebugRegister(0, DATA_VA + 8n * 777n);
    cpu.setDebugRegister(7, control(0, WRITE, B8));
    expect(trap(cpu)).toEqual({ rip: 4n, dr6: 0xff1n });
    expect(cpu.gpr[1]).toBe(777n);
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    expect(cpu.read64(DATA_VA + 8n * 999n)).toBe(999n);
  });

  test('what a debugger watches ends the run behind the access; the guest\'s own trap comes after it', () => {
    const { cpu } = machine([0x48, 0x8b, 0x03, 0x48, 0x89, 0x0b, 0xcc], { jit });
    const reads = { va: DATA_VA + 0x10n, bytes: 100, reads: true, writes: false }, writes = { va: DATA_VA + 0x40n, bytes: 1, reads: false, writes: true };
    cpu.setWatch(reads);
    cpu.setWatch(writes);
    cpu.setDebugRegister(0, DATA_VA + 0x40n);
    cpu.setDebugRegister(7, control(0, WRITE, B1));
    cpu.gpr[3] = DATA_VA + 0x40n;
    expect([cpu.run(), cpu.rip, cpu.watchHit]).toEqual([EXIT.watchpoint, CODE_VA + 3n, reads]);
    expect([cpu.run(), cpu.rip, cpu.watchHit]).toEqual([EXIT.watchpoint, CODE_VA + 6n, writes]);
    expect(trap(cpu)).toEqual({ rip: 6n, dr6: 0xff1n });
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    cpu.clearWatch(reads);
    cpu.clearWatch(writes);
    cpu.setDebugRegister(7, 0n);
    cpu.rip = CODE_VA;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    cpu.setWatch(writes);
    cpu.rip = CODE_VA;
    expect([cpu.step(), cpu.step()]).toEqual([0, EXIT.watchpoint]);
  });

  test('the upper half', () => {
    const { cpu } = machine([0x48, 0x89, 0x0b, 0xcc], { jit });
    cpu.gpr[3] = HIGH_VA + 0xff8n;
    expect(cpu.run()).toBe(EXIT.softwareInterrupt);
    cpu.setDebugRegister(0, HIGH_VA + 0xffcn);
    cpu.setDebugRegister(7, control(0, WRITE, B4));
    cpu.rip = CODE_VA;
    expect(trap(cpu)).toEqual({ rip: 3n, dr6: 0xff1n });
    cpu.setWatch({ va: HIGH_VA, bytes: 4096, reads: false, writes: true });
    cpu.rip = CODE_VA;
    expect(cpu.run()).toBe(EXIT.watchpoint);
  });

  test('single-stepping and a watched write are one exception', () => {
    const { cpu } = machine([0x48, 0x89, 0x0b, 0xcc], { jit });
    cpu.setDebugRegister(3, DATA_VA);
    cpu.setDebugRegister(7, control(3, WRITE, B8));
    cpu.gpr[3] = DATA_VA;
    cpu.rflags |= 0x100n;
    expect(trap(cpu)).toEqual({ rip: 3n, dr6: 0x4ff8n });
  });
});
