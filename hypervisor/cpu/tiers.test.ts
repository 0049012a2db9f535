// Both ways of translating in one program: integer code natively, MMX in WebAssembly.
import { expect, test } from 'vitest';
import { SPECIAL } from './decode.ts';
import { EXIT } from './processor-api.ts';
import { CODE_VA, DATA_VA, machine, RUNS_NATIVELY } from './test-machine.ts';

const le32 = (n: number): number[] => [n & 255, n >> 8 & 255, n >> 16 & 255, n >>> 24];

test.skipIf(!RUNS_NATIVELY)('a loop that is MMX in part is native and WebAssembly by turns', () => {
  // mov ecx, 5000; pxor mm0, mm0; again: add eax, ecx; jmp f; f: paddd mm0, [rbx + 8]; jmp g; g: dec ecx; jnz again; movq [rbx], mm0; int3
  const code = [0xb9, ...le32(5000), 0x0f, 0xef, 0xc0, /* 8: */ 0x01, 0xc8, 0xeb, 0, /* 12: */ 0x0f, 0xfe, 0x43, 8, 0xeb, 0, /* 18: */ 0xff, 0xc9, 0x75, 0xf2, 0x0f, 0x7f, 0x03, 0xcc];
  const { cpu, codeAt } = machine(code, { jit: 'native' });
  cpu.gpr[3] = DATA_VA;
  cpu.write64(DATA_VA + 8n, 3n);
  expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  expect([cpu.gpr[0], cpu.read64(DATA_VA)]).toEqual([12_502_500n, 15_000n]);
  const handlers = [8, 12, 18].map(at => cpu.view.getUint16(cpu.blocks.known(codeAt + at, false), true));
  expect(handlers).toEqual([SPECIAL.native, SPECIAL.translated, SPECIAL.native]);
  // Other code in the place of both.
  cpu.bytes.set([0x29, 0xc8], codeAt + 8);
  cpu.bytes.set([0x0f, 0xfa], codeAt + 12); // psubd
  cpu.invalidateCode(codeAt >>> 12);
  cpu.rip = CODE_VA;
  cpu.gpr[0] = 0n;
  expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  expect([cpu.gpr[0], cpu.read64(DATA_VA)]).toEqual([BigInt.asUintN(32, -12_502_500n), BigInt.asUintN(32, -15_000n)]);
  cpu.release();
});

test('compatibility mode is WebAssembly\'s', () => {
  const { cpu, codeAt } = machine([0xb9, ...le32(5000), 0x01, 0xc8, 0x49, 0x75, 0xfb, 0xcc], { jit: 'native' });
  cpu.longMode = false;
  expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  expect([cpu.gpr[0], cpu.view.getUint16(cpu.blocks.known(codeAt + 5, true), true)]).toEqual([12_502_500n, SPECIAL.translated]);
  cpu.release();
});
