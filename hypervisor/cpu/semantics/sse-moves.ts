// Moves between vector registers, general registers and memory.
import type { Insn } from '../insn.ts';
import { R } from '../record.ts';
import { S } from '../state.ts';
import { ld64, ld8u, select, splat64, type V128 } from '../wasm/builder.ts';
import { i32x4, i64x2, i8x16, zero128 } from '../wasm/lanes.ts';
import { definer, type Definitions } from './definition.ts';
import { mmxEnter, pendingX87, simdChecks, simdDefiner } from './simd-common.ts';

export const sseMoves: Definitions = new Map();
const simd = simdDefiner(sseMoves);

const low = (v: V128): V128 => zero128.with64(0, v.lane64(0));
for (const name of ['movups', 'movaps', 'movq2dq', 'movdq2q']) simd(name, 'w r', x => x.writeX(0, x.readX(1)));
simd('movq', 'w r', x => x.writeX(0, x.isMemory(0) ? x.readX(1) : low(x.readX(1))));
// Scalar moves merge between registers, and clear the rest when they load.
simd('movss', 'w r', x => { const v = x.readX(1); x.writeX(0, x.isMemory(0) || x.isMemory(1) ? v : x.readX(0).with32(0, v.lane32(0))); });
simd('movsd', 'w r', x => { const v = x.readX(1); x.writeX(0, x.isMemory(0) || x.isMemory(1) ? v : x.readX(0).with64(0, v.lane64(0))); });
simd('movd_in', 'w r', x => x.writeX(0, zero128.with64(0, x.read(1))));
simd('movd_out', 'w r', x => x.write(0, ld64(x.vectorPointer(1))));

simd('movlps', 'w r', x => x.writeX(0, x.readX(0).with64(0, x.readX(1).lane64(0))));
simd('movhps', 'w r', x => x.writeX(0, x.readX(0).with64(1, x.readX(1).lane64(0))));
simd('movlps_out', 'w r', x => x.writeX(0, x.readX(1)));
simd('movhps_out', 'w r', x => x.writeX(0, splat64(x.readX(1).lane64(1))));
simd('movhlps', 'w r', x => x.writeX(0, x.readX(0).with64(0, x.readX(1).lane64(1))));
simd('movlhps', 'w r', x => x.writeX(0, x.readX(0).with64(1, x.readX(1).lane64(0))));
const dup = (name: string, lanes: readonly number[]): void => simd(name, 'w r', x => {
  const v = x.readX(1);
  x.writeX(0, v.shuffle(v, lanes.flatMap(n => [0, 1, 2, 3].map(b => 4 * n + b))));
});
dup('movsldup', [0, 0, 2, 2]);
dup('movshdup', [1, 1, 3, 3]);
dup('movddup', [0, 1, 0, 1]);

const mask = (name: string, opcode: number): void => simd(name, 'w r', x => {
  const bits = x.readX(1).toI32(opcode);
  x.write(0, (x.usesMmx ? bits.and(0xff) : bits).extU());
});
mask('movmskps', i32x4.bitmask);
mask('movmskpd', i64x2.bitmask);
mask('pmovmskb', i8x16.bitmask);

// MASKMOVQ, MASKMOVDQU: the bytes at DS:rDI whose mask bytes have their top bit set. The whole operand must be
// writable, even for an empty mask, and MMX state is entered before that is found out.
simd('maskmov', 'r r', x => {
  const { f } = x, value = f.let(x.vectorPointer(0)), left = f.local('i32');
  f.set(left, x.readX(1).toI32(i8x16.bitmask).and(x.usesMmx ? 0xff : 0xffff));
  const p = maskTarget(x);
  f.block(done => f.loop(again => {
    f.brIf(done, left.get().eqz());
    const n = f.let(left.get().ctz());
    f.st8(p.add(n), ld8u(value.add(n)));
    f.set(left, left.get().and(left.get().sub(1)));
    f.br(again);
  }));
  x.commit(p);
});
function maskTarget(x: Insn): ReturnType<Insn['translate']> {
  const rdi = x.gpr(7), a32 = x.form.address === 'a32', segment = x.slot(x.field8(R.segment));
  const linear = (a32 ? rdi.and(0xffffffffn) : rdi).add(segment);
  const va = x.f.let(a32 ? select(x.state32(S.compat), linear.and(0xffffffffn), linear) : linear);
  // Two accesses of 8 bytes, as for the segment limit: the first one's page fault comes before the second's #GP.
  if (!x.usesMmx) x.translate(va, true, 8);
  return x.translate(va, true, x.usesMmx ? 8 : 16);
}

definer(sseMoves)('emms', '', x => mmxEnter(x, 0), { before: x => { simdChecks(x); pendingX87(x); } });
