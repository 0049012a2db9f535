// What one translation covers: instructions reached from a hot block by falling through, by direct branches and calls,
// by returns to a call it has followed, and by indirect branches to where they last went; over several pages.
//
// An instruction has a place: a page, by its distance in virtual addresses from the entry's page, and a context, the
// calls that led there. Nothing here is sure but the bytes of known blocks: that the page at a distance is the one
// looked at now, and that a return or an indirect branch goes where it is expected, is checked whenever it matters.
import { SPECIAL, SPECIAL_COUNT } from '../decode.ts';
import { allForms } from '../fusion.ts';
import { PAGE_BYTES } from '../layout.ts';
import { R, RECORD_BYTES } from '../record.ts';

/** Distances beyond this many bytes are not followed: they stay exact in a number. */
const FAR = 2 ** 47;

/** The code at hand, as far as it is decoded. All may be out of date: whoever installs a translation checks. */
export interface CodeFinder {
  readonly view: DataView;
  /** First record of the block at a physical address; 0: none that is worth having. */
  block(phys: number): number;
  /** How often the block of a first record has run, about. */
  weight(record: number): number;
  /** Physical address of the page `distance` bytes from the entry's page. */
  page(distance: number): number | undefined;
  /** Distance of a virtual address's page from the entry's page. */
  distanceOf(va: bigint): number;
}

/** Calls followed so far, innermost first: where the return goes. */
interface Context { readonly caller: Space; readonly offset: number; readonly depth: number; readonly callee: string }
/** The instructions found in one page in one context. */
export interface Space { readonly phys: number; readonly distance: number; readonly context: Context | undefined; readonly found: Map<number, RegionInstruction>; readonly starts: Set<number>;
  /** Counting records of the blocks that start here, by offset. */
  readonly counters: Map<number, number>;
}
/** A place that control may go to; `guard` is the first record of its block where that has to be checked. */
export interface Target { readonly space: Space; readonly offset: number; readonly guard: number }
export interface RegionInstruction {
  readonly record: number; readonly handler: number; readonly space: Space; readonly offset: number; readonly next: number;
  /** Never goes on with the next one. */
  readonly ends: boolean;
  /** A direct branch or call's target. */
  readonly taken: Target | undefined;
  /** Where a return or an indirect branch is expected to go. */
  readonly expected: Target | undefined;
  /** Where the block ends without a branch: the way on. */
  readonly falls: Target | undefined;
  /** Record of the check that the next page is still the one this instruction reaches into. */
  readonly cross: number;
}
export interface RegionBlock { readonly space: Space; readonly instructions: readonly RegionInstruction[] }

/** Instructions that never reach the next one. */
const STOPS = new Set(['jmp', 'jmp_rm', 'call', 'call_rm', 'ret', 'ret_imm', 'retf', 'retf_imm', 'iret', 'call_far', 'jmp_far', 'call_far_imm', 'jmp_far_imm', 'int', 'int3', 'int1', 'ud', 'syscall', 'sysenter', 'privileged']);
const isBranch = (mnemonic: string): boolean => /^(j\d+|jmp|jrcxz|loop|loope|loopne|(cmp|test)\+j\d+)$/.test(mnemonic);
const INDIRECT = new Set(['jmp_rm', 'call_rm', 'ret']);
type Kind = 'plain' | 'branch' | 'call' | 'ret' | 'indirect';
const kinds: readonly Kind[] = allForms.map(f => isBranch(f.mnemonic) ? 'branch' : f.mnemonic === 'call' ? 'call' : f.mnemonic === 'ret' ? 'ret' : INDIRECT.has(f.mnemonic) ? 'indirect' : 'plain');
const stops: readonly boolean[] = allForms.map(f => STOPS.has(f.mnemonic));
/** The end of a block that goes on without a branch. */
export const goesOn = (handler: number): boolean => handler === SPECIAL.fallthrough || handler === SPECIAL.onward;
/** Whether control may part at an instruction. */
export const mayBranch = (handler: number): boolean => kinds[handler - SPECIAL_COUNT] !== 'plain';
export const formOfHandler = (handler: number) => allForms[handler - SPECIAL_COUNT];
/** The counter at a block's start, or a translation in its place. */
const isCounter = (handler: number): boolean => handler === SPECIAL.count || handler === SPECIAL.translated;

export class Region {
  readonly blocks: RegionBlock[] = [];
  /** The bytes that this is made of: from, to, from, ... in physical addresses, each pair within a frame, in order. */
  get ranges(): number[] {
    const pairs: [number, number][] = [];
    for (const { phys, found } of this.spaces.values()) for (const i of found.values()) {
      pairs.push([phys + i.offset, phys + Math.min(i.next, PAGE_BYTES)]);
      if (!i.cross) continue;
      const second = this.find.view.getUint32(i.cross + R.imm, true);
      pairs.push([second, second + i.next - PAGE_BYTES]);
    }
    const ranges: number[] = [];
    for (const [from, to] of pairs.sort((a, b) => a[0] - b[0])) {
      const end = ranges.length - 1;
      if (end > 0 && from <= ranges[end]! && Math.floor(from / PAGE_BYTES) === Math.floor(ranges[end - 1]! / PAGE_BYTES)) ranges[end] = Math.max(ranges[end]!, to);
      else ranges.push(from, to);
    }
    return ranges;
  }
  private readonly find: CodeFinder;
  private readonly spaces = new Map<string, Space>();
  private readonly numbers = new Map<Space, Map<number, number>>();
  private readonly wide: boolean;
  private readonly calls: number;
  private readonly todo: { space: Space; record: number; weight: number }[] = [];
  private count = 0;
  /** Whether a call, a return or an indirect branch leads on within it. */
  get follows(): boolean { return [...this.spaces.values()].some(s => s.context !== undefined || [...s.found.values()].some(i => i.expected !== undefined)); }

  /** @param phys physical address of the entry's page @param compat then only what lies in that page is followed @param calls how deep calls are followed */
  constructor(find: CodeFinder, start: number, phys: number, compat: boolean, budget: number, calls: number) {
    this.find = find;
    this.wide = !compat;
    this.calls = calls;
    const space = this.space(phys, 0, undefined), entry = find.view.getUint16(start + R.offset, true);
    space.starts.add(entry);
    this.todo.push({ space, record: start, weight: Infinity });
    while (this.todo.length && this.count < budget) {
      let best = 0;
      this.todo.forEach((t, n) => { if (t.weight > this.todo[best]!.weight) best = n; });
      const [next] = this.todo.splice(best, 1);
      this.walk(next!.space, next!.record);
    }
    this.split(space, entry);
  }

  private space(phys: number, distance: number, context: Context | undefined): Space {
    const key = `${phys} ${distance} ${contextKey(context)}`;
    let s = this.spaces.get(key);
    if (!s) this.spaces.set(key, s = { phys, distance, context, found: new Map(), starts: new Set(), counters: new Map() });
    return s;
  }
  /** Takes a block, whole, into the region until something it has already. */
  private walk(space: Space, first: number): void {
    const { view } = this.find;
    let cross = 0;
    for (let record = first; ; record += RECORD_BYTES) {
      const handler = view.getUint16(record + R.handler, true);
      if (isCounter(handler)) { space.counters.set(view.getUint16(record + R.offset, true), record); continue; }
      if (handler === SPECIAL.crossCheck) { cross = record; continue; }
      if (!formOfHandler(handler)) return;
      const offset = view.getUint16(record + R.offset, true);
      if (space.found.has(offset)) return;
      const kind = kinds[handler - SPECIAL_COUNT]!, ends = stops[handler - SPECIAL_COUNT]!, next = offset + view.getUint8(record + R.length);
      const relative = view.getInt32(record + R.target, true), after = record + RECORD_BYTES;
      const falls = !ends && goesOn(view.getUint16(after + R.handler, true)) ? this.target(space, view.getInt32(after + R.target, true), space.context) : undefined;
      let taken: Target | undefined, expected: Target | undefined;
      if (kind === 'branch') taken = this.target(space, relative, space.context);
      else if (kind === 'call') taken = this.callTarget(space, relative, next);
      else if (kind === 'ret' && space.context) expected = this.returnTarget(space.context);
      else if (kind !== 'plain') expected = this.seen(space, record, next, formOfHandler(handler)!.mnemonic === 'call_rm');
      space.found.set(offset, { record, handler, space, offset, next, ends, taken, expected, falls, cross });
      this.count++;
      cross = 0;
      for (const t of [taken, expected, falls]) if (t) this.visit(t);
      if (ends) return;
    }
  }
  private visit({ space, offset, guard }: Target): void {
    if (space.found.has(offset)) return;
    const record = guard || this.find.block(space.phys + offset);
    if (record && !this.todo.some(t => t.space === space && t.record === record)) this.todo.push({ space, record, weight: this.find.weight(record) - (space.context?.depth ?? 0) });
  }

  /** A place relative to a page, in a context. */
  private target(from: Space, relative: number, context: Context | undefined): Target | undefined {
    if (relative >= 0 && relative < PAGE_BYTES) return { space: context === from.context ? from : this.space(from.phys, from.distance, context), offset: relative, guard: 0 };
    return this.wide ? this.elsewhere(from.distance + Math.floor(relative / PAGE_BYTES) * PAGE_BYTES, relative & PAGE_BYTES - 1, context) : undefined;
  }
  /** A place in a page that has to be checked: the start of a block. */
  private elsewhere(distance: number, offset: number, context: Context | undefined): Target | undefined {
    if (!(Math.abs(distance) < FAR)) return undefined;
    const phys = this.find.page(distance), guard = phys === undefined ? 0 : this.find.block(phys + offset);
    return guard ? { space: this.space(phys!, distance, context), offset, guard } : undefined;
  }
  private enter(from: Space, next: number, callee: string): Context | undefined | 'no' {
    const depth = (from.context?.depth ?? 0) + 1;
    if (!this.wide || depth > this.calls || next >= PAGE_BYTES) return 'no';
    for (let c = from.context; c; c = c.caller.context) if (c.callee === callee) return 'no';
    return { caller: from, offset: next, depth, callee };
  }
  private callTarget(from: Space, relative: number, next: number): Target | undefined {
    const context = this.enter(from, next, `${from.distance + relative}`);
    return context === 'no' ? undefined : this.target(from, relative, context);
  }
  private returnTarget(context: Context): Target { return { space: context.caller, offset: context.offset, guard: 0 }; }
  /** Where an indirect branch went when the interpreter last ran it. */
  private seen(from: Space, record: number, next: number, call: boolean): Target | undefined {
    if (!this.wide || !this.calls) return undefined;
    const va = this.find.view.getBigUint64(record + R.seen, true);
    if (va === 0n) return undefined;
    const distance = this.find.distanceOf(va), offset = Number(va & 0xfffn);
    // A return leaves the context it has none for.
    const context = call ? this.enter(from, next, `${distance + offset}`) : from.context;
    return context === 'no' ? undefined : this.elsewhere(distance, offset, context);
  }

  // ---- blocks
  private split(first: Space, entry: number): void {
    for (const space of this.spaces.values()) for (const i of space.found.values()) for (const t of [i.taken, i.expected, i.falls]) t?.space.starts.add(t.offset);
    const add = (space: Space): void => {
      const numbers = new Map<number, number>(), order = [...space.found.values()].sort((a, b) => a.offset - b.offset);
      this.numbers.set(space, numbers);
      order.forEach((i, n) => { if (!i.ends && i.next !== order[n + 1]?.offset) space.starts.add(i.next); });
      let block: RegionInstruction[] | undefined, previous: RegionInstruction | undefined;
      for (const i of order) {
        if (!block || !previous || previous.ends || previous.next !== i.offset || space.starts.has(i.offset)) {
          block = [];
          numbers.set(i.offset, this.blocks.push({ space, instructions: block }) - 1);
        }
        block.push(i);
        previous = i;
      }
    };
    for (const space of this.spaces.values()) add(space);
    this.entry = this.numbers.get(first)!.get(entry) ?? -1;
  }
  /** Number of the first block; -1 when there is nothing. */
  entry = -1;
  /** Number of the block at a place, when the region has it. */
  at(space: Space, offset: number): number | undefined { return this.numbers.get(space)?.get(offset); }
  /** Blocks that a block's ways lead to, one for each way. */
  *successors(block: number): Generator<number> {
    const { instructions } = this.blocks[block]!;
    for (const i of instructions) for (const t of [i.taken, i.expected]) { const to = t && this.at(t.space, t.offset); if (to !== undefined) yield to; }
    const way = this.wayOn(block);
    if (way !== undefined) yield way;
  }
  /** The block that is reached by falling out of a block's end. */
  wayOn(block: number): number | undefined {
    const last = this.blocks[block]!.instructions.at(-1)!;
    if (last.ends) return undefined;
    return this.at(last.space, last.next) ?? (last.falls && this.at(last.falls.space, last.falls.offset));
  }
}

const contextKeys = new WeakMap<Context, string>();
/** Contexts with the same call site in the same caller are one. */
function contextKey(c: Context | undefined): string {
  if (!c) return '';
  let key = contextKeys.get(c);
  if (key === undefined) contextKeys.set(c, key = `${c.caller.distance} ${c.offset} (${contextKey(c.caller.context)})`);
  return key;
}
