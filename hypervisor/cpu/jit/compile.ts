// Emits one translation from a region.
import { R, RECORD_BYTES } from '../record.ts';
import { definitionOf } from '../semantics/index.ts';
import { SPECIAL } from '../decode.ts';
import { S } from '../state.ts';
import { type Fn, type Label, i32, ld64 } from '../wasm/builder.ts';
import { formOfHandler, type Region, type RegionInstruction } from './region.ts';
import { type Flow, needsFlagLocals, StaticInsn, Untranslatable } from './static-insn.ts';
import { type Imports, Translation } from './translation.ts';

/** Iterations before a loop is left and entered again: only then does it run what V8 has optimised meanwhile. */
const LOOP_BUDGET = 20_000;

export interface Compiled { readonly fn: Fn; readonly instructions: number; readonly untranslatable: readonly string[] }

export class Compiler {
  private readonly t: Translation;
  private readonly region: Region;
  private readonly compat: boolean;
  private readonly loops = new Map<number, Label>();
  private readonly forward = new Map<number, Label>();
  private readonly reasons: string[] = [];
  private instructions = 0;
  private current = 0;

  constructor(area: number, view: DataView, im: Imports, entryRecord: number, region: Region, compat: boolean) {
    this.t = new Translation(area, view, im, entryRecord, compat);
    this.region = region;
    this.compat = compat;
  }
  compile(): Compiled {
    const fn = this.t.build(() => {
      if (this.region.blocks.length) this.range(0, this.region.blocks.length - 1, -1);
    });
    return { fn, instructions: this.instructions, untranslatable: this.reasons };
  }

  /** Blocks first..last, which make up loop `parent` (-1: the whole). */
  private range(first: number, last: number, parent: number): void {
    const { f } = this.t, { region } = this, open: number[] = [];
    for (let b = last; b > first; b--) if (region.labelled.has(b) && region.parentLoop(b) === parent) { this.forward.set(b, f.begin('block')); open.push(b); }
    for (let b = first; b <= last;) {
      if (open.at(-1) === b) { this.reach(b); open.pop(); f.end(); }
      const end = b === parent ? undefined : region.loopEnd[b];
      if (end === undefined) { this.block(b); b++; continue; }
      this.reach(b);
      this.loops.set(b, f.begin('loop'));
      this.range(b, end, b);
      f.end();
      b = end + 1;
    }
  }
  private reachable = true;
  /** Falls into a place where several ways meet. */
  private reach(_block: number): void {
    if (this.reachable) this.t.flush();
    this.t.join();
  }

  private readonly flow: Flow = {
    branchWithin: offset => {
      const to = offset < 0 || offset >= 4096 ? undefined : this.region.at(offset);
      if (to === undefined || !this.region.allows(this.current, to)) return false;
      // Without an open label for it the jump leaves the region like any other.
      if (!(to > this.current ? this.forward : this.loops).has(to)) return false;
      this.branchTo(to, offset);
      return true;
    },
  };
  private branchTo(to: number, offset: number): void {
    const { t } = this, { f } = t;
    if (to > this.current) { t.flush(); f.br(this.forward.get(to)!); return; }
    // A loop: attention, and now and then a new start.
    const budget = t.loopBudget(LOOP_BUDGET);
    f.set(budget, budget.get().sub(1));
    f.block(stop => {
      f.brIf(stop, ld64(t.area, S.attention).ne(0), false);
      f.brIf(stop, budget.get().eqz(), false);
      t.flush();
      f.br(this.loops.get(to)!);
    });
    t.leaveTo(f.call(t.im.jumpTo, t.ripOf(offset)));
  }

  private block(index: number): void {
    const { instructions } = this.region.blocks[index]!, { t } = this;
    this.current = index;
    if (index === 0 && this.region.loopEnd[0] === undefined) t.flags = { kind: 'memory' };
    this.reachable = true;
    for (const i of instructions) {
      const goesOn = this.instruction(i);
      t.endInstruction();
      if (!goesOn) { this.reachable = false; return; }
    }
    const last = instructions.at(-1)!, next = this.region.at(last.next);
    if (next === index + 1) return;
    if (next !== undefined && this.region.allows(index, next)) this.branchTo(next, last.next);
    else {
      const after = last.record + RECORD_BYTES;
      if (t.view.getUint16(after + R.handler, true) === SPECIAL.fallthrough) t.leaveAlong(after); else t.leaveTo(i32(after));
    }
    this.reachable = false;
  }

  /** Whether the next instruction is reached. */
  private instruction(i: RegionInstruction): boolean {
    const { t } = this, { f } = t, mark = f.mark();
    const saved = { flags: t.flags, narrow: [...t.narrow], simdChecked: t.simdChecked };
    const restore = (): void => {
      f.rollback(mark);
      t.flags = saved.flags;
      t.simdChecked = saved.simdChecked;
      t.narrow.clear();
      for (const n of saved.narrow) t.narrow.add(n);
    };
    for (let attempt = 0; ; attempt++) {
      try {
        const goesOn = this.emit(i);
        this.instructions++;
        return goesOn;
      } catch (e) {
        restore();
        if (e === needsFlagLocals && attempt === 0) { t.flushAndForget(); continue; }
        if (e !== needsFlagLocals && !(e instanceof Untranslatable)) throw e;
        this.reasons.push(e instanceof Untranslatable ? e.message : 'flags set on some ways only');
        t.leaveTo(i32(i.record));
        return false;
      }
    }
  }
  private emit(i: RegionInstruction): boolean {
    const { t } = this, form = formOfHandler(t.view.getUint16(i.record + R.handler, true))!, d = definitionOf(form.mnemonic)!;
    const x = new StaticInsn(t, form, i.record, this.compat, this.flow);
    x.define(d.define, d.bitString ?? false, d.before);
    return x.fallsThrough && !i.ends;
  }
}
