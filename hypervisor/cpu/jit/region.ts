// What one translation covers: instructions of one page reached from a hot block by direct branches and by falling
// through, split where branches lead, and the nesting of loops and forward branches that WebAssembly needs.
import { SPECIAL, SPECIAL_COUNT } from '../decode.ts';
import { allForms } from '../fusion.ts';
import { R, RECORD_BYTES } from '../record.ts';

const PAGE = 4096;

export interface RegionInstruction { readonly record: number; readonly offset: number; readonly next: number; readonly branch: number | undefined; readonly ends: boolean }
export interface RegionBlock { readonly offset: number; readonly instructions: RegionInstruction[] }

/** Instructions that never reach the next one. */
const STOPS = new Set(['jmp', 'jmp_rm', 'call', 'call_rm', 'ret', 'ret_imm', 'retf', 'retf_imm', 'iret', 'call_far', 'jmp_far', 'call_far_imm', 'jmp_far_imm', 'int', 'int3', 'int1', 'ud', 'syscall', 'sysenter', 'privileged']);
const BRANCHES = new Set(allForms.filter(f => /^(j\d+|jmp|jrcxz|loop|loope|loopne|(cmp|test)\+j\d+)$/.test(f.mnemonic) && f.mnemonic !== 'jmp_rm').map(f => f.mnemonic));
export const formOfHandler = (handler: number) => allForms[handler - SPECIAL_COUNT];

/** Finds the first record of a block by its offset in the page, when it is worth having in a translation. */
export type BlockFinder = (offset: number) => number;

export class Region {
  readonly blocks: RegionBlock[] = [];
  private readonly indexOf = new Map<number, number>();
  /** Last block of the loop that starts at a block. */
  readonly loopEnd: (number | undefined)[] = [];
  /** Blocks reached by a forward branch from before them. */
  readonly labelled = new Set<number>();
  private readonly view: DataView;

  constructor(view: DataView, start: number, find: BlockFinder, budget: number) {
    this.view = view;
    const found = this.collect(start, find, budget);
    this.split(found, view.getUint16(start + R.offset, true));
    this.nest();
  }

  /** Instructions by offset. */
  private collect(start: number, find: BlockFinder, budget: number): Map<number, RegionInstruction> {
    const found = new Map<number, RegionInstruction>(), todo = [start], seen = new Set<number>([start]);
    for (let first = todo.shift(); first !== undefined; first = todo.shift()) {
      const visit = (offset: number): void => {
        if (offset < 0 || offset >= PAGE || found.has(offset)) return;
        const record = find(offset);
        if (record && !seen.has(record)) { seen.add(record); todo.push(record); }
      };
      for (let record = first; ; record += RECORD_BYTES) {
        const handler = this.view.getUint16(record + R.handler, true), offset = this.view.getUint16(record + R.offset, true);
        const form = formOfHandler(handler);
        if (!form) {
          // A handler beyond all forms is a translation in the place of the counter.
          if (handler === SPECIAL.count || handler >= SPECIAL_COUNT) continue;
          if (handler === SPECIAL.fallthrough) visit(offset);
          break;
        }
        if (found.has(offset) || found.size >= budget) break;
        const branch = BRANCHES.has(form.mnemonic) ? this.view.getInt32(record + R.target, true) : undefined, ends = STOPS.has(form.mnemonic);
        found.set(offset, { record, offset, next: offset + this.view.getUint8(record + R.length), branch, ends });
        if (branch !== undefined) visit(branch);
        if (ends) break;
      }
    }
    return found;
  }

  private split(found: Map<number, RegionInstruction>, entry: number): void {
    const targets = new Set<number>([entry]);
    for (const i of found.values()) if (i.branch !== undefined && found.has(i.branch)) targets.add(i.branch);
    // In address order, but the entry first.
    const place = (offset: number): number => offset >= entry ? offset - entry : offset - entry + PAGE;
    const order = [...found.values()].sort((a, b) => place(a.offset) - place(b.offset));
    order.forEach((i, n) => { const next = order[n + 1]; if (!i.ends && found.has(i.next) && next?.offset !== i.next) targets.add(i.next); });
    let previous: RegionInstruction | undefined;
    for (const i of order) {
      if (!previous || previous.ends || previous.next !== i.offset || targets.has(i.offset)) {
        this.indexOf.set(i.offset, this.blocks.push({ offset: i.offset, instructions: [] }) - 1);
      }
      this.blocks.at(-1)!.instructions.push(i);
      previous = i;
    }
  }

  /** Index of the block that starts at an offset. */
  at(offset: number): number | undefined { return this.indexOf.get(offset); }
  /** Loop (by its first block) that a block is in, not counting one that it starts; -1: none. */
  parentLoop(block: number): number {
    for (let h = block - 1; h >= 0; h--) if ((this.loopEnd[h] ?? -1) >= block) return h;
    return -1;
  }
  /** Whether a branch is possible: not into the middle of a loop from outside. */
  allows(from: number, to: number): boolean { return to <= from ? (this.loopEnd[to] ?? -1) >= from : this.parentLoop(to) <= from; }

  private *edges(): Generator<[from: number, to: number]> {
    for (const [from, block] of this.blocks.entries()) {
      for (const i of block.instructions) if (i.branch !== undefined) { const to = this.at(i.branch); if (to !== undefined) yield [from, to]; }
      const last = block.instructions.at(-1)!, next = last.ends ? undefined : this.at(last.next);
      if (next !== undefined && next !== from + 1) yield [from, next];
    }
  }
  private nest(): void {
    const { loopEnd } = this;
    for (const [from, to] of this.edges()) if (to <= from) loopEnd[to] = Math.max(loopEnd[to] ?? to, from);
    // Loops that overlap are made to lie within each other.
    for (let changed = true; changed;) {
      changed = false;
      this.blocks.forEach((_, outer) => {
        const end = loopEnd[outer];
        if (end === undefined) return;
        for (let inner = outer + 1; inner <= end; inner++) {
          const e = loopEnd[inner];
          if (e !== undefined && e > loopEnd[outer]!) { loopEnd[outer] = e; changed = true; }
        }
      });
    }
    for (const [from, to] of this.edges()) if (to > from && this.allows(from, to)) this.labelled.add(to);
  }
}
