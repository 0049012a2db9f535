// SHA-1 and SHA-256. Rounds are a chain of 32-bit operations: they are carried out on lanes in locals, which a further
// round finds there (V128.lanes). Message schedules are done four words at a time. Lane 3 holds what Intel's manual calls
// A, or the first word.
import { type Fn, type I32, i32, type V128 } from '../wasm/builder.ts';
import { fromLanes, i32x4, zero128 } from '../wasm/lanes.ts';
import type { Definitions } from './definition.ts';
import { simdDefiner } from './simd-common.ts';

export const sha: Definitions = new Map();
const simd = simdDefiner(sha);

/** Lane 0 to 3 of the result: 0 to 3 of `a`, 4 to 7 of `b`. */
const pick = (a: V128, b: V128, ...lanes: number[]): V128 => a.shuffle(b, lanes.flatMap(l => [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3]));
const rotated = (v: V128, left: number): V128 => v.shift(i32x4.shl, left).or(v.shift(i32x4.shrU, 32 - left));
const lane = (f: Fn, v: V128, n: number): I32 => f.let(v.lane32(n));

// ---- SHA-1
const parity = (b: I32, c: I32, d: I32): I32 => b.xor(c).xor(d);
const ROUNDS: readonly (readonly [key: number, mix: (b: I32, c: I32, d: I32) => I32])[] = [
  [0x5a827999, (b, c, d) => c.xor(d).and(b).xor(d)], [0x6ed9eba1, parity], [0x8f1bbcdc, (b, c, d) => b.and(c).or(b.or(c).and(d))], [0xca62c1d6, parity],
];
simd('sha1rnds4', 'rw r r', x => {
  const { f } = x, state = x.readX(0), message = x.readX(1), kind = f.let(x.imm32().and(3));
  ROUNDS.forEach(([key, mix], n) => f.if(kind.eq(n), () => {
    let [d, c, b, a] = [0, 1, 2, 3].map(l => lane(f, state, l)) as [I32, I32, I32, I32], e = i32(0);
    for (let word = 3; word >= 0; word--) {
      const next = f.let(lane(f, message, word).add(key).add(e).add(mix(b, c, d)).add(a.rotl(5)));
      [e, d, c, b, a] = [d, c, f.let(b.rotl(30)), a, next];
    }
    x.writeX(0, fromLanes([d, c, b, a]));
  }));
});
simd('sha1nexte', 'rw r', x => {
  const old = x.f.let(x.readX(0).lane32(3).rotl(30)), message = x.readX(1);
  x.writeX(0, message.with32(3, message.lane32(3).add(old)));
});
simd('sha1msg1', 'rw r', x => { const a = x.readX(0); x.writeX(0, a.xor(pick(a, x.readX(1), 6, 7, 0, 1))); });
simd('sha1msg2', 'rw r', x => {
  const { f } = x, words = f.let(rotated(f.let(x.readX(0).xor(pick(x.readX(1), zero128, 4, 0, 1, 2))), 1));
  // The last word needs the first new one.
  x.writeX(0, words.xor(pick(f.let(rotated(words, 1)), zero128, 3, 4, 4, 4)));
});

// ---- SHA-256
simd('sha256rnds2', 'rw r', x => {
  const { f } = x, cdgh = x.readX(0), abef = x.readX(1), keyed = x.xmm0();
  let [f0, e, b, a] = [0, 1, 2, 3].map(l => lane(f, abef, l)) as [I32, I32, I32, I32];
  let [h, g, d, c] = [0, 1, 2, 3].map(l => lane(f, cdgh, l)) as [I32, I32, I32, I32];
  for (let round = 0; round < 2; round++) {
    const choice = f0.xor(g).and(e).xor(g), majority = a.and(b).or(a.or(b).and(c));
    const t = f.let(lane(f, keyed, round).add(h).add(choice).add(e.rotr(6).xor(e.rotr(11)).xor(e.rotr(25))));
    [h, g, f0, e, d, c, b, a] = [g, f0, e, f.let(t.add(d)), c, b, a, f.let(a.rotr(2).xor(a.rotr(13)).xor(a.rotr(22)).add(majority).add(t))];
  }
  x.writeX(0, fromLanes([f0, e, b, a]));
});
const small = (f: Fn, v: V128, r1: number, r2: number, shift: number): V128 => f.let(rotated(v, 32 - r1).xor(rotated(v, 32 - r2)).xor(v.shift(i32x4.shrU, shift)));
simd('sha256msg1', 'rw r', x => {
  const { f } = x, words = x.readX(0), later = f.let(pick(words, x.readX(1), 1, 2, 3, 4));
  x.writeX(0, words.op(i32x4.add, small(f, later, 7, 18, 3)));
});
simd('sha256msg2', 'rw r', x => {
  const { f } = x, sigma = (v: V128): V128 => small(f, f.let(v), 17, 19, 10);
  const first = f.let(x.readX(0).op(i32x4.add, sigma(pick(x.readX(1), zero128, 2, 3, 4, 4))));
  // The last two words need the first two new ones; a lane of zero adds zero.
  x.writeX(0, first.op(i32x4.add, sigma(pick(first, zero128, 4, 4, 0, 1))));
});
