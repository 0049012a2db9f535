// Meanings of opcodes/sse.ts.
import { HELPER } from '../helpers.ts';
import type { Insn } from '../insn.ts';
import { i32, type I32, i64, ld128, ld32, select, splat64, v128, type V128 } from '../wasm/builder.ts';
import { S } from '../state.ts';
import { definer, type Definitions } from './definition.ts';
import { available } from './simd-common.ts';

export const sse: Definitions = new Map();
const def = definer(sse);
const simd = (name: string, access: string, run: (x: Insn) => void): void => def(name, access, x => { available(x); run(x); });
const zero = (): V128 => splat64(i64(0));

simd('movdqa', 'w r', x => x.writeX(0, x.readX(1)));
simd('movss', 'rw r', x => {
  const v = x.readX(1);
  x.writeX(0, x.isMemory(0) || x.isMemory(1) ? v : x.readX(0).with32(0, v.lane32(0)));
});
simd('movsd_xmm', 'rw r', x => {
  const v = x.readX(1);
  x.writeX(0, x.isMemory(0) || x.isMemory(1) ? v : x.readX(0).with64(0, v.lane64(0)));
});
simd('movd_to_xmm', 'w r', x => x.writeX(0, zero().with64(0, x.read(1))));
simd('movd_from_xmm', 'w r', x => { const v = x.f.let(x.readX(1).lane64(0)); x.write(0, x.bits === 64 ? v : v.and(0xffffffffn)); });
simd('movq_xmm', 'w r', x => { const v = x.readX(1); x.writeX(0, zero().with64(0, v.lane64(0))); });
simd('movlps_load', 'rw r', x => x.writeX(0, x.readX(0).with64(0, x.readX(1).lane64(0))));
simd('movhps_load', 'rw r', x => x.writeX(0, x.readX(0).with64(1, x.readX(1).lane64(0))));
simd('movlps_store', 'w r', x => x.writeX(0, x.readX(1)));
simd('movhps_store', 'w r', x => x.writeX(0, splat64(x.readX(1).lane64(1))));
simd('movhlps', 'rw r', x => x.writeX(0, x.readX(0).with64(0, x.readX(1).lane64(1))));
simd('movlhps', 'rw r', x => x.writeX(0, x.readX(0).with64(1, x.readX(1).lane64(0))));
simd('pmovmskb', 'w r', x => x.write(0, x.readX(1).toI32(0x64).extU()));

const binary = (name: string, op: (a: V128, b: V128, x: Insn) => V128): void => simd(name, 'rw r', x => x.writeX(0, op(x.readX(0), x.readX(1), x)));
binary('pand', (a, b) => a.and(b));
binary('pandn', (a, b) => b.andnot(a));
binary('por', (a, b) => a.or(b));
binary('pxor', (a, b) => a.xor(b));
// Opcodes of the WebAssembly SIMD proposal.
for (const [name, code] of Object.entries({
  pcmpeqb: 0x23, pcmpeqw: 0x2d, pcmpeqd: 0x37, pcmpgtb: 0x27, pcmpgtw: 0x31, pcmpgtd: 0x3b, paddb: 0x6e, paddw: 0x8e, paddd: 0xae, paddq: 0xce,
  psubb: 0x71, psubw: 0x91, psubd: 0xb1, psubq: 0xd1, pminub: 0x77, pmaxub: 0x79, psubusb: 0x73, pminsw: 0x96, pmaxsw: 0x98, pmullw: 0x95,
  packsswb: 0x65, packuswb: 0x66, packssdw: 0x85,
})) binary(name, (a, b) => a.op(code, b));
binary('pmuludq', (a, b, x) => {
  const low = splat64(i64(0xffffffffn));
  return x.f.let(a.and(low)).op(0xd5, x.f.let(b.and(low)));
});
const interleave = (bytes: number, high: boolean): number[] => Array.from({ length: 16 }, (_, i) => {
  const element = Math.floor(i / bytes), from = Math.floor(element / 2) * bytes + i % bytes + (high ? 8 : 0);
  return element % 2 ? from + 16 : from;
});
for (const [suffix, bytes] of [['bw', 1], ['wd', 2], ['dq', 4], ['qdq', 8]] as const) {
  binary(`punpckl${suffix}`, (a, b) => a.shuffle(b, interleave(bytes, false)));
  binary(`punpckh${suffix}`, (a, b) => a.shuffle(b, interleave(bytes, true)));
}
binary('pshufb', (a, b) => a.op(14, b.and(v128(Array<number>(16).fill(0x8f)))));

// Immediate shuffles pick 32-bit lanes from the operand as it lies in the scratch area.
const lane = (x: Insn, n: number): I32 => x.imm32().shrU(2 * n).and(3).shl(2);
simd('pshufd', 'w r', x => {
  x.f.st128(x.area + S.readScratch, x.readX(1), 0x200);
  const pick = (n: number): I32 => ld32(lane(x, n).add(x.area + S.readScratch), 0x200);
  x.writeX(0, zero().with32(0, pick(0)).with32(1, pick(1)).with32(2, pick(2)).with32(3, pick(3)));
});
simd('shufps', 'rw r', x => {
  x.f.st128(x.area + S.readScratch, x.readX(0), 0x200);
  x.f.st128(x.area + S.readScratch, x.readX(1), 0x210);
  const pick = (n: number, second: number): I32 => ld32(lane(x, n).add(x.area + S.readScratch), 0x200 + second);
  x.writeX(0, zero().with32(0, pick(0, 0)).with32(1, pick(1, 0)).with32(2, pick(2, 16)).with32(3, pick(3, 16)));
});
// Byte shifts read 16 bytes at an offset from the value with zeros around it.
const clamp = (x: Insn, max: number): I32 => { const n = x.f.let(x.imm32().and(255)); return x.f.let(select(n.gtU(max), i32(max), n)); };
simd('psrldq', 'rw r', x => {
  const at = x.area + S.readScratch + 0x200;
  x.f.st128(at, x.readX(0));
  x.f.st128(at, zero(), 16);
  x.writeX(0, ld128(clamp(x, 16).add(at)));
});
simd('pslldq', 'rw r', x => {
  const at = x.area + S.readScratch + 0x200;
  x.f.st128(at, zero());
  x.f.st128(at, x.readX(0), 16);
  x.writeX(0, ld128(i32(at + 16).sub(clamp(x, 16))));
});
simd('palignr', 'rw r r', x => {
  const at = x.area + S.readScratch + 0x200;
  x.f.st128(at, x.readX(1));
  x.f.st128(at, x.readX(0), 16);
  x.f.st128(at, zero(), 32);
  x.writeX(0, ld128(clamp(x, 32).add(at)));
});
for (const [suffix, bits, left, right, arithmetic] of [['w', 16, 0x8b, 0x8d, 0x8c], ['d', 32, 0xab, 0xad, 0xac], ['q', 64, 0xcb, 0xcd, 0]] as const) {
  const logical = (name: string, code: number): void => simd(name, 'rw r', x => {
    const n = x.f.let(x.imm32().and(255)), v = x.readX(0);
    x.writeX(0, select(n.geU(bits), zero(), v.shift(code, n)));
  });
  logical(`psll${suffix}_imm`, left);
  logical(`psrl${suffix}_imm`, right);
  if (arithmetic) simd(`psra${suffix}_imm`, 'rw r', x => x.writeX(0, x.readX(0).shift(arithmetic, clamp(x, bits - 1))));
}

// String comparisons are carried out by a helper on copies of the operands (string-compare.ts).
for (const name of ['pcmpestrm', 'pcmpestri', 'pcmpistrm', 'pcmpistri']) simd(name, 'r r r', x => {
  x.f.st128(x.area + S.readScratch, x.readX(0), 0x200);
  x.f.st128(x.area + S.readScratch, x.readX(1), 0x210);
  x.helper(HELPER.stringCompare, (name.includes('estr') ? 1 : 0) | (name.endsWith('m') ? 2 : 0));
});
