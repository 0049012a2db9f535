import { describe, expect, test } from 'vitest';
import type { JitMode } from '../jit/mode.ts';
import { EXIT } from '../processor-api.ts';
import { DATA_VA, machine } from '../test-machine.ts';

const CF = 1n, ZF = 0x40n, SF = 0x80n, OF = 0x800n, ALL = CF | ZF | SF | OF;
const RAX = 0, RCX = 1, RDX = 2, RBX = 3;
/** Runs one instruction with all flags set that count here. */
function run(code: readonly number[], jit: JitMode, registers: Readonly<Record<number, bigint>>, memory = 0n) {
  const { cpu, dataAt } = machine([...code, 0xcc], { jit });
  cpu.view.setBigUint64(dataAt, memory, true);
  for (const [n, v] of Object.entries(registers)) cpu.gpr[Number(n)] = v;
  cpu.gpr[7] = DATA_VA;
  cpu.rflags |= ALL;
  expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  return { gpr: cpu.gpr, flags: cpu.rflags & ALL };
}
/** C4 with an opcode map, a prefix (0 none, 1 66, 2 F3, 3 F2), 64 bits, rcx as VEX.vvvv; to rax from rbx. */
const vex = (map: number, pp: number, opcode: number, vvvv = RCX, modrm = 0xc3, wide = true): number[] => [0xc4, 0xe0 | map, (wide ? 0x80 : 0) | (~vvvv & 15) << 3 | pp, opcode, modrm];

describe.each<JitMode>(['off', 'force', 'native-force'])('translations: %s', jit => {
  const V = 0x8000_0000_0000_f0f0n;
  test.each<[name: string, code: number[], by: bigint, value: bigint, result: bigint, flags: bigint]>([
    ['andn', vex(2, 0, 0xf2), 0xf0n, V, 0x8000_0000_0000_f000n, SF],
    ['andn of 32 bits', vex(2, 0, 0xf2, RCX, 0xc3, false), 0xf0n, V, 0xf000n, 0n],
    ['bextr', vex(2, 0, 0xf7), 0x0c04n, V, 0xf0fn, 0n],
    ['bextr from beyond', vex(2, 0, 0xf7), 0x0840n, V, 0n, ZF],
    ['bextr of more than there is', vex(2, 0, 0xf7), 0xff08n, V, 0x80_0000_0000_00f0n, 0n],
    ['bzhi', vex(2, 0, 0xf5), 0xff08n, V, 0xf0n, 0n],
    ['bzhi that takes all', vex(2, 0, 0xf5), 64n, V, V, CF | SF],
    ['pext', vex(2, 2, 0xf5), V, 0xff00_0000_0000_0f0fn, 0x8000n, ALL],
    ['pdep', vex(2, 3, 0xf5), 0b101n, V, 0x50n, ALL],
    ['shlx', vex(2, 1, 0xf7), 65n, V, 0x1_e1e0n, ALL],
    ['sarx', vex(2, 2, 0xf7), 68n, V, 0xf800_0000_0000_0f0fn, ALL],
    ['shrx', vex(2, 3, 0xf7), 4n, V, 0x0800_0000_0000_0f0fn, ALL],
    ['sarx of 32 bits', vex(2, 2, 0xf7, RCX, 0xc3, false), 36n, 0x8000_0000n, 0xf800_0000n, ALL],
    ['rorx', [...vex(3, 3, 0xf0, 0), 68], 0n, V, 0x0800_0000_0000_0f0fn, ALL],
    ['tzcnt', [0xf3, 0x48, 0x0f, 0xbc, 0xc3], 0n, V, 4n, 0n],
    ['tzcnt of an odd number', [0xf3, 0x48, 0x0f, 0xbc, 0xc3], 0n, 1n, 0n, ZF],
    ['tzcnt of nothing', [0xf3, 0x0f, 0xbc, 0xc3], 0n, 0n, 32n, CF],
    ['lzcnt', [0xf3, 0x48, 0x0f, 0xbd, 0xc3], 0n, V, 0n, ZF],
    ['lzcnt of nothing, in 16 bits', [0x66, 0xf3, 0x0f, 0xbd, 0xc3], 0n, 0n, 16n, CF],
  ])('%s', (name, code, by, value, result, flags) => {
    const after = run(code, jit, { [RCX]: by, [RBX]: value });
    expect(after.gpr[RAX]).toBe(result);
    const defined = /^[tl]zcnt/.test(name) ? CF | ZF : /^bextr/.test(name) ? CF | ZF | OF : ALL;
    expect(after.flags & defined).toBe(flags);
  });

  test.each<[name: string, extension: number, value: bigint, result: bigint, flags: bigint]>([
    ['blsr', 1, V, 0x8000_0000_0000_f0e0n, SF], ['blsr of one bit', 1, 8n, 0n, ZF], ['blsr of nothing', 1, 0n, 0n, CF | ZF],
    ['blsmsk', 2, V, 0x1fn, 0n], ['blsmsk of nothing', 2, 0n, 0xffff_ffff_ffff_ffffn, CF | SF],
    ['blsi', 3, V, 0x10n, CF], ['blsi of nothing', 3, 0n, 0n, ZF],
  ])('%s', (_, extension, value, result, flags) => {
    const after = run(vex(2, 0, 0xf3, RCX, 0xc3 | extension << 3), jit, { [RBX]: value });
    expect([after.gpr[RCX], after.flags]).toEqual([result, flags]);
  });

  test('mulx: high half, low half, no flags; from memory; into one register the high half', () => {
    const factors = { [RDX]: 0xffff_ffff_ffff_fffen, [RBX]: 0xffff_ffff_ffff_fffdn };
    const { gpr, flags } = run(vex(2, 3, 0xf6), jit, factors);
    expect([gpr[RAX], gpr[RCX], gpr[RDX], flags]).toEqual([0xffff_ffff_ffff_fffbn, 6n, factors[RDX], ALL]);
    const from = run(vex(2, 3, 0xf6, RCX, 0x07), jit, { [RDX]: 1n << 63n }, 6n);
    expect([from.gpr[RAX], from.gpr[RCX]]).toEqual([3n, 0n]);
    expect(run(vex(2, 3, 0xf6, RAX), jit, factors).gpr[RAX]).toBe(0xffff_ffff_ffff_fffbn);
    const half = run(vex(2, 3, 0xf6, RCX, 0xc3, false), jit, factors);
    expect([half.gpr[RAX], half.gpr[RCX]]).toEqual([0xffff_fffbn, 6n]);
  });
});
