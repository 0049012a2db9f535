// Code that is kept beyond its end: what the next domain takes over, and that nothing of it is believed.
import { describe, expect, test } from 'vitest';
import { privilegedInstructions } from './decode.ts';
import { KEPT_MAX, type Legacy } from './kept-code.ts';
import { EXIT } from './processor-api.ts';
import type { JitMode } from './jit/mode.ts';
import { CODE_VA, DATA_VA, machine } from './test-machine.ts';

const le32 = (n: number): number[] => [n & 255, n >> 8 & 255, n >> 16 & 255, n >>> 24];
const INT3 = 0xcc;
/** mov ecx, rounds; again: add eax, by; jmp on. At 22, on: add ebx, 1; dec ecx; jnz again; int3 */
const loop = (rounds: number, by: number): number[] => [0xb9, ...le32(rounds), 0x83, 0xc0, by, 0xeb, 12, ...Array(12).fill(0x90), 0x83, 0xc3, 1, 0xff, 0xc9, 0x75, 0xe8, INT3];

/** A domain with this code, which begins with what another one left. */
function domain(code: number[], legacy?: Legacy, { jit = 'on', max = KEPT_MAX }: { jit?: JitMode; max?: typeof KEPT_MAX } = {}) {
  const m = machine(code, { jit, ...jit !== 'off' && { keep: { legacy, max } } }), { cpu } = m;
  const run = (offset = 0): number[] => {
    [cpu.gpr[0], cpu.gpr[3]] = [0n, 0n];
    cpu.rip = CODE_VA + BigInt(offset);
    const exit = cpu.run();
    return exit === EXIT.softwareInterrupt ? [Number(cpu.gpr[0]! & 0xffffffffn), Number(cpu.gpr[3]! & 0xffffffffn)] : [-exit];
  };
  const counters = (...names: string[]): number[] => names.map(n => cpu.counters()[n] ?? 0);
  return { ...m, run, counters, leave: () => cpu.legacy()! };
}
const NOVELTIES = ['blocks_decoded', 'jit_modules'];

describe('what a domain leaves', () => {
  test('the next one with the same code decodes and translates nothing again', () => {
    const first = domain(loop(10_000, 2));
    expect(first.run()).toEqual([20_000, 10_000]);
    expect(first.counters(...NOVELTIES)).toEqual([3, 2]);
    const next = domain(loop(10_000, 2), first.leave());
    expect(next.run()).toEqual([20_000, 10_000]);
    expect(next.counters(...NOVELTIES, 'blocks_revived', 'jit_adopted')).toEqual([0, 0, 3, 1]);
    expect(next.leave()).toBeUndefined();
  });
  // Of the second it is a large translation that is left, a small one of what is before the change is taken.
  test.each([['of two blocks, one within the other', 7, [1, 0]], ['of a block that translations of another one have in them', 24, [2, 1]]] as const)('changed bytes are run as they are: %s', (_, offset, taken) => {
    const first = domain(loop(10_000, 2));
    first.run();
    const changed = loop(10_000, 2);
    changed[offset] = 3;
    const next = domain(changed, first.leave());
    expect(next.run()).toEqual(offset === 7 ? [30_000, 10_000] : [20_000, 30_000]);
    expect(next.counters('blocks_revived', 'jit_adopted')).toEqual(taken);
  });
  test.each([7, 24])('a store into adopted code takes effect: at %i', offset => {
    const first = domain(loop(10_000, 2));
    first.run();
    const next = domain(loop(10_000, 2), first.leave());
    expect(next.run()).toEqual([20_000, 10_000]);
    expect(next.counters('jit_adopted', 'jit_live')).toEqual([1, 1]);
    next.cpu.writeVirtual(CODE_VA + BigInt(offset), new Uint8Array([5]));
    expect(next.counters('jit_live')).toEqual([0]);
    expect(next.run()).toEqual(offset === 7 ? [50_000, 10_000] : [20_000, 50_000]);
    // And back: what was dropped is there again.
    const [decoded] = next.counters('blocks_decoded');
    next.cpu.writeVirtual(CODE_VA + BigInt(offset), new Uint8Array([offset === 7 ? 2 : 1]));
    expect(next.run()).toEqual([20_000, 10_000]);
    expect(next.counters('blocks_decoded')).toEqual([decoded]);
    expect(next.counters('jit_adopted')[0]).toBeGreaterThan(1);
  });
  test('it goes on from domain to domain, and grows', () => {
    const code = [...loop(10_000, 2), ...Array(64 - 30).fill(0x90), ...loop(10_000, 7)];
    let legacy: Legacy | undefined;
    for (const [from, decoded, modules] of [[0, 3, 2], [64, 3, 2], [0, 0, 0], [64, 0, 0]] as const) {
      const d = domain(code, legacy);
      expect(d.run(from)).toEqual([from ? 70_000 : 20_000, 10_000]);
      expect(d.counters(...NOVELTIES)).toEqual([decoded, modules]);
      legacy = d.cpu.legacy() ?? legacy;
    }
    expect([legacy!.blocks.length, legacy!.modules.length]).toEqual([6 * 9, 4]);
  });
  // A translation's ways out and links of records name blocks that came too late to be kept: their records must not become others.
  test.each([1, 2, 3, 4, 5])('no more than %i blocks are kept, and what they lead to is found anew', blocks => {
    // again: dec ecx; test cl, 1; jz even; add eax, 1; jmp round. even: add ebx, 1. round: test ecx, ecx; jnz again; int3
    const code = [0xb9, ...le32(5000), 0xff, 0xc9, 0xf6, 0xc1, 1, 0x74, 5, 0x83, 0xc0, 1, 0xeb, 3, 0x83, 0xc3, 1, 0x85, 0xc9, 0x75, 0xed, INT3];
    let legacy: Legacy | undefined;
    for (let n = 0; n < 4; n++) {
      const d = domain(code, legacy, { max: { ...KEPT_MAX, blocks } });
      // Another program's records come first where those were that are not kept.
      d.cpu.bytes.set([0xb8, ...le32(77), 0xbb, ...le32(78), INT3], d.codeAt + 512);
      expect(d.run(512)).toEqual([77, 78]);
      expect(d.run()).toEqual([2500, 2500]);
      legacy = d.cpu.legacy() ?? legacy;
    }
    expect(legacy!.blocks.length).toBe(blocks * 9);
  });
  test.each([{ moduleBytes: 100 }, { modules: 0 }])('no modules are kept beyond the limit of %o', limit => {
    const first = domain(loop(10_000, 2), undefined, { max: { ...KEPT_MAX, ...limit } });
    first.run();
    const next = domain(loop(10_000, 2), first.leave());
    expect(next.run()).toEqual([20_000, 10_000]);
    expect(next.counters(...NOVELTIES, 'jit_adopted')).toEqual([0, 2, 0]);
  });
  test('a breakpoint amid what may be revived is met', () => {
    const first = domain(loop(10_000, 2));
    first.run();
    const next = domain(loop(10_000, 2), first.leave());
    next.cpu.setBreakpoint(CODE_VA + 25n);
    expect(next.run()).toEqual([-EXIT.breakpoint]);
    expect(next.cpu.rip).toBe(CODE_VA + 25n);
    next.cpu.clearBreakpoint(CODE_VA + 25n);
    expect(next.run()).toEqual([20_000, 10_000]);
  });
  test('an instruction across a page border is revived by the bytes of both pages', () => {
    // mov eax, imm32 with its last two bytes in the next page; int3
    const place = (d: ReturnType<typeof domain>, high: number): void => {
      const behind = d.map(CODE_VA + 4096n);
      d.cpu.bytes.set([0xb8, 1, 0], d.codeAt + 4093);
      d.cpu.bytes.set([high, 0, INT3], behind);
    };
    const first = domain([]);
    place(first, 1);
    expect(first.run(4093)).toEqual([0x10001, 0]);
    const legacy = first.leave(), same = domain([], legacy), other = domain([], legacy);
    place(same, 1);
    place(other, 2);
    expect(same.run(4093)).toEqual([0x10001, 0]);
    expect(other.run(4093)).toEqual([0x20001, 0]);
    expect([...same.counters('blocks_decoded'), ...other.counters('blocks_decoded')]).toEqual([0, 1]);
  });
  test('privileged instructions are those they were, or nothing is taken over', () => {
    const code = [0x0f, 0x20, 0xd8, INT3]; // mov rax, cr3
    const first = domain(code);
    expect(first.run()).toEqual([-EXIT.privileged]);
    const legacy = first.leave(), good = domain(code, legacy);
    expect(good.run()).toEqual([-EXIT.privileged]);
    expect(good.cpu.privileged).toMatchObject({ name: 'mov_from_cr', system: 3 });
    expect(good.counters('blocks_revived')).toEqual([1]);
    // As on a thread that has named others first.
    const shuffled = domain(code, { ...legacy, privileged: [{ ...privilegedInstructions[0]!, length: 15 }, ...legacy.privileged] });
    expect(shuffled.run()).toEqual([-EXIT.privileged]);
    expect(shuffled.cpu.privileged).toMatchObject({ name: 'mov_from_cr', system: 3 });
    expect(shuffled.counters('blocks_revived')).toEqual([0]);
  });
  test('programs that differ by some bytes, each beginning with what the last one left', () => {
    let seed = 20261128;
    const random = (n: number): number => { seed = Math.imul(seed, 1664525) + 1013904223 >>> 0; return Math.floor(seed / 2 ** 32 * n); };
    /** Registers but rcx, rsp: rcx counts. */
    const reg = (): number => [0, 2, 3, 6, 7][random(5)]!;
    const piece = (): number[] => [
      () => [0x83, 0xc0 | random(8) << 3 | reg(), random(128)],             // op r, imm8
      () => [[1, 9, 0x21, 0x29, 0x31, 0x39][random(6)]!, 0xc0 | reg() << 3 | reg()], // op r, r
      () => [0x75, 2, 0xff, 0xc0 | reg()],                                     // jnz over; inc r
      () => [0x41, 0x89, 0x40 | reg() << 3, random(16) * 4],                   // mov [r8 + n], r
      () => [0x41, 0x8b, 0x40 | reg() << 3, random(16) * 4],                   // mov r, [r8 + n]
      () => [0xeb, 1, INT3],                                                   // jmp over
    ][random(6)]!();
    const build = (): number[] => {
      const body = Array.from({ length: 12 }, piece).flat();
      return [0xb9, ...le32(6000), ...body, 0xff, 0xc9, 0x0f, 0x85, ...le32(-(body.length + 8)), INT3];
    };
    let revived = 0, adopted = 0;
    for (let program = 0; program < 12; program++) {
      let code = build(), legacy: Legacy | undefined;
      for (let generation = 0; generation < 5; generation++) {
        const outcome = (jit: JitMode) => {
          const d = domain(code, legacy, { jit });
          d.cpu.gpr[8] = DATA_VA;
          for (const r of [2, 6, 7]) d.cpu.gpr[r] = 0n;
          d.run();
          return { d, found: { gpr: [...d.cpu.gpr], rip: d.cpu.rip, rflags: d.cpu.rflags, data: [...d.cpu.bytes.subarray(d.dataAt, d.dataAt + 64)] } };
        };
        const plain = outcome('off').found, { d, found } = outcome('on');
        expect(found, `program ${program}, generation ${generation}: ${code}`).toEqual(plain);
        const [r, a] = d.counters('blocks_revived', 'jit_adopted');
        revived += r!; adopted += a!;
        legacy = d.cpu.legacy() ?? legacy;
        // Some bytes of operands become others, or what they were.
        if (generation % 2 === 0) { code = code.slice(); const at = 5 + random(code.length - 14); if (code[at]! < 0x40) code[at] = random(0x40); }
      }
    }
    expect([revived > 50, adopted > 20]).toEqual([true, true]);
  }, 60_000);
});
