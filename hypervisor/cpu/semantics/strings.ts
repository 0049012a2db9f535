// String instructions. Each step is restartable: registers move after the step's accesses succeeded, and REP loops
// leave at the attention word with rip still at the instruction. Moves and fills run in bulk within pages.
import { EXIT } from '../processor-api.ts';
import { type Bits, type Insn, zx } from '../insn.ts';
import { type I32, type I64, i32, i64, select } from '../wasm/builder.ts';
import { FLAG, S, SLOT } from '../state.ts';
import { R } from '../record.ts';
import { definer, type Definitions } from './definition.ts';

export const strings: Definitions = new Map();
const def = definer(strings);

class StringContext {
  readonly x: Insn; readonly bytes: number; readonly wide: Bits;
  /** Step in bytes, signed by DF. */
  readonly step: I64;
  /** Whether elements may be done many at a time: forwards, and while nobody looks at single bytes. */
  readonly bulk: I32;
  constructor(x: Insn) {
    this.x = x;
    this.bytes = x.bits / 8;
    this.wide = x.form.address === 'a32' ? 32 : 64;
    const forward = x.f.let(x.state32(S.flagsOther).and(FLAG.DF).eqz());
    this.bulk = x.f.let(forward.and(x.state32(S.watching).eqz()));
    this.step = x.f.let(select(forward, i64(this.bytes), i64(-this.bytes)));
  }
  private linear(offset: I64, base: I64): I64 { return this.x.f.let(offset.add(base).and(select(this.x.state32(S.compat), i64(0xffffffffn), i64(-1n)))); }
  source(write = false): I32 { return this.x.translate(this.linear(this.x.gpr(6, this.wide), this.x.slot(this.x.field8(R.segment))), write, this.bytes); }
  destination(write: boolean): I32 { return this.x.translate(this.linear(this.x.gpr(7, this.wide), this.x.slot(SLOT.esBase)), write, this.bytes); }
  /** Where many elements may be written at once: all that this page may get of them. */
  announced(): I32 {
    const { x } = this, count = x.f.let(this.count());
    x.setState32(S.ahead, select(this.bulk, select(count.gtU(4096n), i32(4096), count.wrap()).mul(this.bytes), i32(0)));
    const to = this.destination(true);
    x.setState32(S.ahead, 0);
    return to;
  }
  advance(n: number, by: I64): void { this.x.setGpr(n, this.x.gpr(n, this.wide).add(by), this.wide); }
  count(): I64 { return this.x.gpr(1, this.wide); }
  /** Whole elements from a physical address to the end of its page. */
  room(p: I32): I64 { return i32(4096).sub(p.and(4095)).shrU(Math.log2(this.bytes)).extU(); }
}

/** Runs `body` once, or under REP while the count lasts; `more` is the extra condition of REPE/REPNE. */
function repeated(name: string, body: (s: StringContext, rep: boolean) => I64, compares: boolean): void {
  def(name, '', x => {
    const s = new StringContext(x), { f } = x;
    if (x.form.rep === 'none') { body(s, false); return; }
    f.block(done => f.loop(again => {
      f.brIf(done, s.count().eqz());
      const taken = body(s, true);
      s.advance(1, i64(0).sub(taken));
      if (compares) f.brIf(done, x.form.rep === 'rep' ? x.zf().eqz() : x.zf());
      f.if(x.state64(S.attention).eqz().eqz(), () => {
        // Finished or not, the state is that of an instruction boundary (of the same instruction if not).
        f.if(s.count().ne(0), () => {
          x.setState64(S.rip, x.thisRip());
          x.setState32(S.current, 0);
          x.setState32(S.exit, EXIT.attention);
          x.leave();
        });
      });
      f.br(again);
    }));
  });
}

repeated('movs', (s, rep) => {
  const { x } = s, { f } = x, n = f.local('i64');
  const from = s.source(), to = rep ? s.announced() : s.destination(true);
  f.set(n, i64(1));
  if (rep) {
    // A run within both pages, forwards, not reaching into itself, is one copy.
    const scratch = x.area + S.scratch;
    f.if(s.bulk.and(from.ltU(scratch).or(from.geU(scratch + 4096))).and(to.ltU(scratch).or(to.geU(scratch + 4096))), () => {
      f.set(n, f.let(s.count()));
      for (const p of [from, to]) f.if(n.get().gtU(s.room(p)), () => f.set(n, s.room(p)));
      f.if(to.sub(from).ltU(f.let(n.get().wrap().mul(s.bytes))), () => f.set(n, i64(1)));
    });
  }
  f.if(n.get().eq(1), () => { const v = f.let(x.loadInt(from, x.bits)); x.storeInt(to, x.bits, v); x.commit(to); },
    () => f.memoryCopy(to, from, n.get().wrap().mul(s.bytes)));
  const by = f.let(s.step.mul(n.get()));
  s.advance(6, by);
  s.advance(7, by);
  return n.get();
}, false);

repeated('stos', (s, rep) => {
  const { x } = s, { f } = x, n = f.local('i64');
  const v = f.let(x.gpr(0, x.bits)), to = rep ? s.announced() : s.destination(true);
  f.set(n, i64(1));
  if (rep) {
    const scratch = x.area + S.scratch;
    f.if(s.bulk.and(to.ltU(scratch).or(to.geU(scratch + 4096))), () => {
      f.set(n, f.let(s.count()));
      f.if(n.get().gtU(s.room(to)), () => f.set(n, s.room(to)));
    });
  }
  const p = f.local('i32'), left = f.local('i64');
  f.if(n.get().eq(1), () => { x.storeInt(to, x.bits, v); x.commit(to); }, () => {
    f.if(x.bits === 8 ? i32(1) : v.eqz(), () => f.memoryFillValue(to, v.wrap(), n.get().wrap().mul(s.bytes)), () => {
      f.set(p, to);
      f.set(left, n.get());
      f.loop(again => {
        x.storeInt(p.get(), x.bits, v);
        f.set(p, p.get().add(s.bytes));
        f.set(left, left.get().sub(1));
        f.brIf(again, left.get().ne(0));
      });
    });
  });
  s.advance(7, f.let(s.step.mul(n.get())));
  return n.get();
}, false);

repeated('lods', s => {
  const { x } = s;
  x.setGpr(0, x.f.let(x.loadInt(s.source(), x.bits)), x.bits);
  s.advance(6, s.step);
  return i64(1);
}, false);

const compare = (x: Insn, a: I64, b: I64): void => x.flagsSub(a, b, x.f.let(zx(a.sub(b), x.bits)), x.bits);
repeated('scas', s => {
  const { x } = s, v = x.f.let(x.loadInt(s.destination(false), x.bits));
  compare(x, x.f.let(x.gpr(0, x.bits)), v);
  s.advance(7, s.step);
  return i64(1);
}, true);
repeated('cmps', s => {
  const { x } = s, { f } = x;
  // The first operand is read before the second is translated: both may cross pages through the one scratch area.
  const a = f.let(x.loadInt(s.source(), x.bits)), b = f.let(x.loadInt(s.destination(false), x.bits));
  compare(x, a, b);
  s.advance(6, s.step);
  s.advance(7, s.step);
  return i64(1);
}, true);
