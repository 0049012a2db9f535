// Finding the L1 entry of a virtual address in a guest's own tables, without changing anything.
import { PAGE_BYTES } from '../cpu/layout.ts';
import type { Space } from './space.ts';
import { _PAGE_PRESENT } from './page-tables.ts';
import { PGT } from './frame-table.ts';
import { tableLevel } from './update.ts';

export interface L1Location {
  /** Frame index of the L1 table and the byte offset of the entry in it. */
  readonly index: number; readonly offset: number;
}

/** Index of the table's entry for a virtual address, at level 4 to 1. */
export function tableIndex(va: bigint, level: number): number {
  return Number((va >> BigInt(3 + 9 * level)) & 511n);
}

/** The L1 entry that maps `va` under the L4 table in frame `root`, or undefined where a table is missing. */
export function findL1(space: Space, root: number, va: bigint): L1Location | undefined {
  let index = root;
  for (let level = 4; level > 1; level--) {
    const at = (index * PAGE_BYTES) / 4 + tableIndex(va, level) * 2;
    const lo = space.words[at]!, hi = space.words[at + 1]!;
    if ((lo & _PAGE_PRESENT) === 0 || (hi & 0xf_ffff) !== space.slot) return undefined;
    index = lo >>> 12;
  }
  // The hypervisor's own tables are reached here too (M2P): they have no type, so nobody may change them.
  if (tableLevel(space, index) !== PGT.l1_page_table) return undefined;
  return { index, offset: tableIndex(va, 1) * 8 };
}
