// MMX and SSE to SSE4.2, as in opcodes/sse.ts.
import { HELPER } from '../helpers.ts';
import { S } from '../state.ts';
import type { Definitions } from './definition.ts';
import { simdDefiner } from './simd-common.ts';
import { sseConvert } from './sse-convert.ts';
import { sseFloat } from './sse-float.ts';
import { sseInteger } from './sse-integer.ts';
import { sseMoves } from './sse-moves.ts';
import { sseShuffle } from './sse-shuffle.ts';

const strings: Definitions = new Map();
// String comparisons are carried out by a helper on copies of the operands (string-compare.ts).
for (const name of ['pcmpestrm', 'pcmpestri', 'pcmpistrm', 'pcmpistri']) simdDefiner(strings)(name, 'r r r', x => {
  x.f.st128(x.area + S.readScratch, x.readX(0), 0x200);
  x.f.st128(x.area + S.readScratch, x.readX(1), 0x210);
  x.helper(HELPER.stringCompare, (name.includes('estr') ? 1 : 0) | (name.endsWith('m') ? 2 : 0));
});
export const sse: Definitions = new Map([...sseMoves, ...sseInteger, ...sseShuffle, ...sseFloat, ...sseConvert, ...strings]);
