// A comparison and the conditional jump behind it as one handler: the most frequent pair there is. The condition
// comes straight from the operands; the flags are set all the same.
import { type Insn, sx, zx } from '../insn.ts';
import type { I32 } from '../wasm/builder.ts';
import { definer, type Definitions } from './definition.ts';

export const fused: Definitions = new Map();
const def = definer(fused);

/** Condition codes worth a handler: B Z BE S L LE and their opposites. */
export const FUSED_CONDITIONS = [2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15] as const;
export const fusedName = (first: string, condition: number): string => `${first}+j${condition}`;

function finish(x: Insn, condition: number, base: I32): void {
  x.f.if(condition & 1 ? base.eqz() : base, () => x.branch());
  x.next();
}
for (const c of FUSED_CONDITIONS) {
  def(fusedName('cmp', c), 'r r', x => {
    const a = x.read(0), b = x.read(1), bits = x.bits, r = x.f.let(zx(a.sub(b), bits));
    x.flagsSub(a, b, r, bits);
    const even = c & ~1;
    finish(x, c, even === 2 ? a.ltU(b) : even === 4 ? a.eq(b) : even === 6 ? a.leU(b) : even === 8 ? sx(r, bits).ltS(0n) : even === 12 ? sx(a, bits).ltS(sx(b, bits)) : sx(a, bits).leS(sx(b, bits)));
  });
  def(fusedName('test', c), 'r r', x => {
    const bits = x.bits, r = x.f.let(x.read(0).and(x.read(1))), s = (): I32 => sx(r, bits).ltS(0n), even = c & ~1;
    x.flagsLogic(r, bits);
    finish(x, c, even === 2 ? r.ne(r) : even === 4 || even === 6 ? r.eqz() : even === 8 || even === 12 ? s() : r.eqz().or(s()));
  });
}
