// Shuffles with each immediate and each index: what a translation makes of one that it knows is what the interpreter does.
import { expect, test } from 'vitest';
import type { JitMode } from '../jit/mode.ts';
import { EXIT } from '../processor-api.ts';
import { FX, S } from '../state.ts';
import { machine } from '../test-machine.ts';

const A = Array.from({ length: 16 }, (_, n) => 0x10 + n), B = Array.from({ length: 16 }, (_, n) => 0xa0 + n);
/** Runs code with A in XMM0 and MM0, B in XMM1 and MM1, and rax: XMM0 or MM0 and rax behind it. */
function run(code: readonly number[], jit: JitMode, mmx = false, b: readonly number[] = B): string {
  const { cpu } = machine([...code, 0xcc], { jit }), at = cpu.area + S.fx + (mmx ? FX.st : FX.xmm), bytes = mmx ? 8 : 16;
  cpu.bytes.set(A.slice(0, bytes), at);
  cpu.bytes.set(b.slice(0, bytes), at + 16);
  cpu.gpr[0] = 0x0123_4567_89ab_cdefn;
  expect(cpu.run()).toBe(EXIT.softwareInterrupt);
  return `${Buffer.from(cpu.bytes.slice(at, at + bytes)).toString('hex')} ${cpu.gpr[0]!.toString(16)}`;
}
const XMM: Readonly<Record<string, readonly number[]>> = {
  pshufd: [0x66, 0x0f, 0x70, 0xc1], pshuflw: [0xf2, 0x0f, 0x70, 0xc1], pshufhw: [0xf3, 0x0f, 0x70, 0xc1], shufps: [0x0f, 0xc6, 0xc1], shufpd: [0x66, 0x0f, 0xc6, 0xc1],
  psrldq: [0x66, 0x0f, 0x73, 0xd8], pslldq: [0x66, 0x0f, 0x73, 0xf8], palignr: [0x66, 0x0f, 0x3a, 0x0f, 0xc1],
  blendps: [0x66, 0x0f, 0x3a, 0x0c, 0xc1], blendpd: [0x66, 0x0f, 0x3a, 0x0d, 0xc1], pblendw: [0x66, 0x0f, 0x3a, 0x0e, 0xc1],
  pinsrb: [0x66, 0x0f, 0x3a, 0x20, 0xc0], pinsrw: [0x66, 0x0f, 0xc4, 0xc0], pinsrd: [0x66, 0x0f, 0x3a, 0x22, 0xc0], pinsrq: [0x66, 0x48, 0x0f, 0x3a, 0x22, 0xc0],
  pextrb: [0x66, 0x0f, 0x3a, 0x14, 0xc0], pextrw: [0x66, 0x0f, 0xc5, 0xc0], pextrd: [0x66, 0x0f, 0x3a, 0x16, 0xc0], pextrq: [0x66, 0x48, 0x0f, 0x3a, 0x16, 0xc0], extractps: [0x66, 0x0f, 0x3a, 0x17, 0xc0],
};
const MMX: typeof XMM = { pshufw: [0x0f, 0x70, 0xc1], palignr: [0x0f, 0x3a, 0x0f, 0xc1], pinsrw: [0x0f, 0xc4, 0xc0], pextrw: [0x0f, 0xc5, 0xc0] };
const IMMEDIATES = [0, 1, 2, 3, 4, 5, 8, 15, 16, 17, 20, 31, 32, 0x1b, 0x93, 0xb1, 0xe4, 0xff];

test.each([...Object.entries(XMM).map(([name, code]) => [name, code, false] as const), ...Object.entries(MMX).map(([name, code]) => [`${name} (MMX)`, code, true] as const)])('%s', (_, code, mmx) => {
  const outcomes = IMMEDIATES.map(imm => run([...code, imm], 'off', mmx));
  expect(IMMEDIATES.map(imm => run([...code, imm], 'force', mmx))).toEqual(outcomes);
  // Some immediates say something else than others.
  expect(new Set(outcomes).size).toBeGreaterThan(1);
});
test.each<JitMode>(['off', 'force', 'native-force'])('PSHUFB with each index, translations: %s', jit => {
  for (const mmx of [false, true]) {
    const count = mmx ? 8 : 16, code = [...(mmx ? [] : [0x66]), 0x0f, 0x38, 0x00, 0xc1];
    for (let first = 0; first < 256; first += count) {
      const indexes = Array.from({ length: count }, (_, n) => first + n);
      expect(run(code, jit, mmx, indexes).split(' ')[0]).toBe(Buffer.from(indexes.map(i => i & 0x80 ? 0 : A[i % count]!)).toString('hex'));
    }
  }
});
