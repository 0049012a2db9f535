// MMX, SSE to SSE4.2, SHA and PCLMULQDQ, as in opcodes/sse.ts.
import { HELPER } from '../helpers.ts';
import type { Insn } from '../insn.ts';
import { S } from '../state.ts';
import { type I32, i32, ld8u, select, splat8, type V128 } from '../wasm/builder.ts';
import { i8x16, zero128 } from '../wasm/lanes.ts';
import type { Definitions } from './definition.ts';
import { carryless } from './carryless.ts';
import { sha } from './sha.ts';
import { simdDefiner } from './simd-common.ts';
import { sseConvert } from './sse-convert.ts';
import { sseFloat } from './sse-float.ts';
import { sseInteger } from './sse-integer.ts';
import { sseMoves } from './sse-moves.ts';
import { sseShuffle } from './sse-shuffle.ts';

const strings: Definitions = new Map();
// String comparisons are carried out by a helper on copies of the operands (string-compare.ts).
const byHelper = (x: Insn, name: string): void => {
  x.f.st128(x.area + S.readScratch, x.readX(0), 0x200);
  x.f.st128(x.area + S.readScratch, x.readX(1), 0x210);
  x.helper(HELPER.stringCompare, (name.includes('estr') ? 1 : 0) | (name.endsWith('m') ? 2 : 0));
};
for (const name of ['pcmpestrm', 'pcmpestri', 'pcmpistrm']) simdDefiner(strings)(name, 'r r r', x => byHelper(x, name));

// What string functions of C libraries ask most: the first byte that is one of a set, or that differs.
const FORMAT_AND_KIND = 0x0d, EACH = 8;
simdDefiner(strings)('pcmpistri', 'r r r', x => {
  const { f } = x, control = f.let(x.imm32()), kind = f.let(control.and(FORMAT_AND_KIND));
  f.if(kind.eqz().or(kind.eq(EACH)), () => {
    const a = x.readX(0), b = x.readX(1), mask = f.local('i32'), left = f.local('i32');
    const length = (v: V128): I32 => f.let(v.op(i8x16.eq, zero128).toI32(i8x16.bitmask).or(0x10000).ctz());
    const length1 = length(a), length2 = length(b), valid = f.let(i32(1).shl(length2).sub(1));
    f.if(kind, () => {
      // Where both have ended they are equal, where one has they are not.
      const valid1 = f.let(i32(1).shl(length1).sub(1));
      f.set(mask, a.op(i8x16.eq, b).toI32(i8x16.bitmask).and(valid).and(valid1).or(valid.or(valid1).xor(0xffff)));
    }, () => {
      const set = x.vectorPointer(0);
      f.set(mask, i32(0));
      f.set(left, length1);
      f.block(done => f.loop(again => {
        f.brIf(done, left.get().eqz());
        f.set(left, left.get().sub(1));
        f.set(mask, mask.get().or(b.op(i8x16.eq, splat8(ld8u(set.add(left.get())))).toI32(i8x16.bitmask)));
        f.br(again);
      }));
      f.set(mask, mask.get().and(valid));
    });
    f.if(control.and(0x10), () => f.set(mask, mask.get().xor(select(control.and(0x20), valid, i32(0xffff)))));
    const m = f.let(mask.get()), index = select(control.and(0x40), i32(31).sub(m.clz()), m.ctz());
    x.setGpr(1, select(m, index, i32(16)).extU());
    const flag = (v: I32, bit: number): I32 => v.shl(bit);
    x.setArithmeticFlags(flag(m.ne(0), 0).or(flag(length2.ltU(16), 6)).or(flag(length1.ltU(16), 7)).or(flag(m.and(1), 11)).extU());
  }, () => byHelper(x, 'pcmpistri'));
});
export const sse: Definitions = new Map([...sseMoves, ...sseInteger, ...sseShuffle, ...sseFloat, ...sseConvert, ...strings, ...sha, ...carryless]);
