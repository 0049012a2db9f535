// Emits one translation from a region.
import { PAGE_BYTES } from '../layout.ts';
import { R, RECORD_BYTES } from '../record.ts';
import { SLOT } from '../state.ts';
import { definitionOf } from '../semantics/index.ts';
import { type Fn, type I64, type Label, i32 } from '../wasm/builder.ts';
import { formOfHandler, goesOn, mayBranch, type Region, type RegionInstruction, type Target } from './region.ts';
import { type Flow, needsFlagLocals, StaticInsn, Untranslatable } from './static-insn.ts';
import { Structure } from './structure.ts';
import type { Size } from './job.ts';
import { type Common, common, type Imports, type Known, type Numbers, Translation } from './translation.ts';

export interface Compiled { readonly fn: Fn; readonly instructions: number; readonly untranslatable: readonly string[] }

/** A block that just one way leads to, by a branch: it is emitted behind the one it comes from. */
interface Side { readonly label: Label; known: Known | undefined }

export class Compiler {
  private readonly t: Translation;
  private readonly region: Region;
  private readonly compat: boolean;
  private readonly structure: Structure;
  private readonly loops = new Map<number, Label>();
  private readonly forward = new Map<number, Label>();
  private readonly sides = new Map<number, Side>();
  /** What is known at a block that several ways lead to. */
  private readonly meets = new Map<number, Common>();
  private readonly reasons: string[] = [];
  private instructions = 0;
  private block = 0;
  private at!: RegionInstruction;

  constructor(area: number, view: DataView, im: Imports, entryRecord: number, entryNumber: number, region: Region, code: Numbers, compat: boolean, size: Size, hotLoop: number) {
    this.t = new Translation(area, view, im, entryRecord, entryNumber, code, compat, size, hotLoop);
    this.region = region;
    this.compat = compat;
    const successors = region.blocks.map((_, b) => [...region.successors(b)]);
    this.structure = new Structure(region.entry, b => successors[b]!);
  }
  compile(): Compiled {
    const { space } = this.region.blocks[this.region.entry]!;
    this.t.addresses.found(space.distance, space.phys);
    const fn = this.t.build(() => this.tree(this.region.entry));
    return { fn, instructions: this.instructions, untranslatable: this.reasons };
  }

  /** A block and all that it dominates. */
  private tree(block: number): void {
    const { f } = this.t, loop = this.structure.loops.has(block), merges = this.structure.mergesBelow(block);
    if (loop) {
      this.t.save();
      this.t.flush();
      this.t.loop();
      this.loops.set(block, f.begin('loop'));
    }
    for (const m of merges) this.forward.set(m, f.begin('block'));
    this.body(block);
    for (const m of merges.toReversed()) { f.end(); this.meet(m); }
    if (loop) f.end();
  }
  private meet(block: number): void {
    const known = this.meets.get(block);
    // None of the ways was emitted: what stood before them ends the translation.
    if (!known) return;
    this.t.join(known);
    this.tree(block);
  }
  private body(block: number): void {
    const { t, structure } = this, { f } = t, { instructions } = this.region.blocks[block]!, last = instructions.at(-1)!;
    const on = this.region.wayOn(block), inline = on !== undefined && this.region.at(last.space, last.next) === on;
    const sides: number[] = [];
    const side = (target: Target | undefined): void => {
      const to = target && this.region.at(target.space, target.offset);
      if (to === undefined || structure.isCut(block, to) || structure.isBack(block, to) || structure.merges.has(to)) return;
      this.sides.set(to, { label: f.begin('block'), known: undefined });
      sides.push(to);
    };
    for (const i of instructions) { side(i.taken); side(i.expected); }
    if (on !== undefined && !inline) side(last.falls);
    this.block = block;
    t.level = f.nesting;
    t.distance = instructions[0]!.space.distance;
    t.phys = instructions[0]!.space.phys;
    t.count(this.counterOf(block));
    let goesOn = true;
    for (let n = 0; n < instructions.length && goesOn;) {
      const run = stackRun(t.view, instructions, n);
      if (run > 1) this.stackRun(instructions.slice(n, n + run)); else goesOn = this.instruction(instructions[n]!);
      t.endInstruction();
      n += run;
    }
    if (goesOn) this.wayOn(block, last, inline ? on : undefined);
    for (const to of sides.toReversed()) {
      f.end();
      const { known } = this.sides.get(to)!;
      if (!known) continue;
      t.resume(known);
      this.tree(to);
    }
  }
  private counterOf(block: number): number | undefined {
    const { space, instructions } = this.region.blocks[block]!;
    return space.counters.get(instructions[0]!.offset);
  }
  /** From a block's end to what comes behind it. */
  private wayOn(block: number, last: RegionInstruction, inline: number | undefined): void {
    const { t, structure } = this, after = last.record + RECORD_BYTES;
    if (inline !== undefined && !structure.isCut(block, inline)) {
      if (structure.isBack(block, inline) || structure.merges.has(inline)) this.way(inline, last.next); else this.tree(inline);
      return;
    }
    if (last.falls && this.checked(last.falls)) return;
    if (goesOn(t.view.getUint16(after + R.handler, true))) t.leaveAlong(after); else t.leaveTo(i32(after));
  }

  private readonly flow: Flow = {
    direct: () => this.at.taken !== undefined && this.checked(this.at.taken),
    indirect: rip => {
      const target = this.at.expected;
      if (!target || !this.leadsWithin(target)) return;
      this.t.f.if(rip.eq(this.ripOf(target)), () => { this.checked(target, rip); }, undefined, true);
    },
  };
  private ripOf(target: Target): I64 { return this.t.ripOf(target.space.distance + target.offset); }
  private leadsWithin(target: Target): number | undefined {
    const to = this.region.at(target.space, target.offset);
    return to === undefined || this.structure.isCut(this.block, to) ? undefined : to;
  }
  /** The way to a target, behind a check of the page where one is needed; whether it is always taken. */
  private checked(target: Target, known?: I64): boolean {
    const to = this.leadsWithin(target), place = target.offset + target.space.distance - this.t.distance;
    if (to === undefined) return false;
    const { phys, distance } = target.space, { addresses } = this.t;
    if (!target.guard || addresses.knows(distance, phys)) { this.way(to, place); return true; }
    this.t.f.if(this.t.leadsTo(known ?? this.ripOf(target), target.guard), () => {
      const before = addresses.know();
      addresses.found(distance, phys);
      this.way(to, place);
      addresses.recall(before);
    }, undefined, true);
    return false;
  }
  /** A branch to a block of this region; `place` is where it starts, relative to the page at hand. */
  private way(to: number, place: number): void {
    const { t } = this, { f } = t;
    const turn = (): void => t.turnTo(this.region.blocks[to]!.space.distance);
    t.save();
    if (this.structure.isBack(this.block, to)) {
      f.if(t.mayRepeat(this.counterOf(to)), () => { turn(); t.flush(); f.br(this.loops.get(to)!); }, undefined, true);
      t.leaveToRip(t.ripOf(t.distance + place));
    } else if (this.structure.merges.has(to)) {
      turn();
      t.flush();
      const other = this.meets.get(to), known = t.know();
      this.meets.set(to, other ? common(other, known) : known);
      f.br(this.forward.get(to)!);
    } else {
      turn();
      const side = this.sides.get(to)!;
      side.known = t.know();
      f.br(side.label);
    }
  }

  /** Consecutive pushes or pops: one look at the page for all. */
  private stackRun(run: readonly RegionInstruction[]): void {
    const { t } = this, first = run[0]!, form = formOfHandler(first.handler)!;
    this.at = first;
    const x = new StaticInsn(t, form, first.record, this.compat, this.flow), registers = run.map(i => t.view.getUint8(i.record + R.a));
    if (form.mnemonic === 'push') x.pushAll(registers); else x.popAll(registers);
    this.instructions += run.length;
  }
  /** Whether the next instruction is reached. */
  private instruction(i: RegionInstruction): boolean {
    const { t } = this, { f } = t;
    this.at = i;
    if (i.cross) {
      const next = t.ripOf(t.distance + PAGE_BYTES);
      f.if(t.pageIs(next, t.view.getInt32(i.cross + R.imm, true)).eqz(), () => t.leaveTo(i32(i.cross)), undefined, false);
    }
    const mark = f.mark(), known = t.know();
    for (let attempt = 0; ; attempt++) {
      try {
        const goesOn = this.emit(i);
        this.instructions++;
        return goesOn;
      } catch (e) {
        if (e !== needsFlagLocals && !(e instanceof Untranslatable)) throw e;
        f.rollback(mark);
        t.recall(known);
        for (const target of [i.taken, i.expected]) {
          const side = target && this.sides.get(this.region.at(target.space, target.offset) ?? -1);
          if (side) side.known = undefined;
        }
        if (e === needsFlagLocals && attempt === 0) { t.flushAndForget(); continue; }
        this.reasons.push(e instanceof Untranslatable ? e.message : 'flags set on some ways only');
        t.leaveTo(i32(i.record));
        return false;
      }
    }
  }
  private emit(i: RegionInstruction): boolean {
    const { t } = this, form = formOfHandler(i.handler)!, d = definitionOf(form.mnemonic)!;
    // Once, ahead of the ways that part here.
    if (mayBranch(i.handler)) t.save();
    const x = new StaticInsn(t, form, i.record, this.compat, this.flow);
    x.define(d.define, d.bitString ?? false, d.before);
    return x.fallsThrough && !i.ends;
  }
}

/** The most that one look at the page is made for. */
const STACK_RUN_MAX = 8;
/** What an instruction does if it pushes or pops a whole register that is not the stack pointer. */
function onStack(records: DataView, i: RegionInstruction | undefined): 'push' | 'pop' | undefined {
  const form = i && formOfHandler(i.handler)!, kind = form?.mnemonic;
  if (!i || kind !== 'push' && kind !== 'pop' || form!.bits !== 64 || form!.operands[0]!.kind !== 'gpr' || i.cross) return undefined;
  return records.getUint8(i.record + R.a) === SLOT.gpr(4) ? undefined : kind;
}
/** How many instructions from here on all push, or all pop; at least 1. */
function stackRun(records: DataView, instructions: readonly RegionInstruction[], from: number): number {
  const kind = onStack(records, instructions[from]);
  if (!kind) return 1;
  let n = 1;
  while (n < STACK_RUN_MAX && onStack(records, instructions[from + n]) === kind) n++;
  return n;
}
