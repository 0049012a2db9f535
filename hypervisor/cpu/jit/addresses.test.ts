// Random programs whose pointers move within and across pages: with translations they give what the interpreter gives.
import { expect, test } from 'vitest';
import { DATA_VA, machine, STACK_VA } from '../test-machine.ts';
import type { JitMode } from './mode.ts';

const BASES = [3, 5, 6, 7, 14, 15], VALUES = [0, 2, 8, 9];
const le32 = (n: number): number[] => [n & 255, n >> 8 & 255, n >> 16 & 255, n >>> 24];

/** A generator of numbers below a bound (xorshift). */
function numbers(seed: number) {
  let s = seed * 2654435761 >>> 0 || 1;
  return (below: number): number => { s ^= s << 13; s ^= s >>> 17; s ^= s << 5; return (s >>> 0) % below; };
}

/** mov ecx, 40; a loop of random instructions; int3. */
function program(seed: number): number[] {
  const n = numbers(seed), of = (list: readonly number[]): number => list[n(list.length)]!;
  const rex = (reg: number, rm: number, w = 1): number => 0x40 | w << 3 | reg >> 3 << 2 | rm >> 3;
  const registers = (opcode: number, reg: number, rm: number): number[] => [rex(reg, rm), opcode, 0xc0 | (reg & 7) << 3 | rm & 7];
  const near = (): number => n(4) ? n(240) - 120 : n(9000) - 4500;
  const memory = (opcode: number[], reg: number, w = 1): number[] => { const base = of(BASES), d = near(); return [rex(reg, base, w), ...opcode, 0x80 | (reg & 7) << 3 | base & 7, ...le32(d)]; };
  const kinds: (() => number[])[] = [
    () => memory([0x89], of(VALUES)), () => memory([0x8b], of(VALUES)), () => memory([0x01], of(VALUES)), () => memory([0x03], of(VALUES)),
    () => memory([0x88], of(VALUES), 0), () => memory([0x0f, 0xb7], of(VALUES), 0), () => memory([0x0f, 0x10], n(4), 0), () => memory([0x0f, 0x11], n(4), 0),
    () => memory([0x8d], of(BASES)),                                          // lea base, [base + d]
    () => registers(0x89, of(BASES), of(BASES)),                              // mov base, base
    () => { const b = of(BASES); return [rex(0, b), 0x83, 0xc0 | b & 7, n(256)]; },    // add base, imm8
    () => { const b = of(BASES); return [rex(5, b), 0x83, 0xe8 | b & 7, n(128)]; },    // sub base, imm8
    () => { const b = of(BASES); return [rex(b, b, 0), 0x89, 0xc0 | (b & 7) << 3 | b & 7]; }, // mov base, base of 32 bits
    () => { const b = of(BASES); return [rex(b, 12), 0x89, 0xc0 | (b & 7) << 3 | 4]; },      // mov r12, base
    () => [0x50, 0x52, 0x5a, 0x58],                                            // push rax, rdx; pop rdx, rax
    () => [0x48, 0x89, 0x44, 0x24, 0xf8 - 8 * n(20) & 255, 0x48, 0x03, 0x54, 0x24, 0xf8 - 8 * n(20) & 255], // mov [rsp - x], rax; add rdx, [rsp - y]
    () => [0xe8, 0, 0, 0, 0, 0x41, 0x58],                                     // call next; pop r8
    () => { const over = memory([0x01], of(VALUES)).concat(n(2) ? (b => [rex(0, b), 0x83, 0xc0 | b & 7, n(128)])(of(BASES)) : []); return [0xa8, 1 << n(8), 0x74, over.length, ...over]; }, // test al; jz over
    () => [0xa8, 1 << n(8), ...(b => [rex(b, 12), 0x0f, 0x44, 0xc0 | (b & 7) << 3 | 4])(of(BASES))],            // cmovz base, r12
    () => [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x40, 0x48, 0x89, 0x45, 0xf8 - 8 * n(7), 0x48, 0x03, 0x45, 0xf8 - 8 * n(7), 0xc9], // a frame
  ];
  const body = BASES.flatMap((b, i) => i < 4 ? [rex(13, b), 0x89, 0xc0 | 5 << 3 | b & 7, rex(0, b), 0x81, 0xc0 | b & 7, ...le32(n(60) - 30)] : []); // mov base, r13; add base, imm32
  const count = 6 + n(30);
  for (let i = 0; i < count; i++) body.push(...kinds[n(kinds.length)]!());
  const start = [0xb9, ...le32(40)];
  return [...start, ...body, 0xff, 0xc9, 0x0f, 0x85, ...le32(-(body.length + 8) | 0), 0xcc];
}

function outcome(seed: number, jit: JitMode) {
  const { cpu, dataAt, map } = machine(program(seed), { jit }), n = numbers(seed + 77), second = map(DATA_VA + 4096n);
  // The third page can only be read, the one below the stack is missing or a data page's other name.
  map(DATA_VA + 8192n, second, 5n);
  if (n(2)) map(STACK_VA - 4096n, dataAt);
  for (let i = 0; i < 4096; i++) { cpu.bytes[dataAt + i] = n(256); cpu.bytes[second + i] = n(256); }
  for (const r of [...VALUES, ...BASES]) cpu.gpr[r] = BigInt(n(0x7fffffff));
  for (const r of [...BASES, 12, 13]) cpu.gpr[r] = DATA_VA + BigInt(n(3) ? 4096 + n(80) - 40 : n(12000));
  if (n(3) === 0) cpu.gpr[4] = STACK_VA + BigInt(n(100));
  const exit = cpu.run();
  return { exit, gpr: [...cpu.gpr], rip: cpu.rip, rflags: cpu.rflags, vector: cpu.vector, cr2: exit && cpu.vector === 14 ? cpu.cr2 : 0n,
    data: Buffer.from(cpu.bytes.subarray(dataAt, dataAt + 4096)).toString('hex'), second: Buffer.from(cpu.bytes.subarray(second, second + 4096)).toString('hex'),
    translated: cpu.counters()['jit_translations'] ?? 0 };
}

test('programs that move their pointers across pages', () => {
  let whole = 0;
  for (let seed = 1; seed <= Number(process.env['XENOLITH_ADDRESS_PROGRAMS'] ?? 150); seed++) {
    const { translated: _, ...expected } = outcome(seed, 'off');
    for (const mode of ['force', 'on'] as const) {
      const { translated, ...got } = outcome(seed, mode);
      expect(got, `seed ${seed}, ${mode}`).toEqual(expected);
      if (mode === 'force') expect(translated).toBeGreaterThan(0);
    }
    if (expected.rip === machineEnd(seed)) whole++;
  }
  // Most do not end in a fault at once.
  expect(whole).toBeGreaterThan(10);
}, 120_000);
const machineEnd = (seed: number): bigint => 0x400000n + BigInt(program(seed).length);
