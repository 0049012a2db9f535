// The page tables a PV domain starts on. PTE: machine frame << 12 | flags.
import type { GuestFrames } from './guest-frames.ts';
import { tableIndexes, type Layout, type Mapping } from './layout.ts';

const _PAGE_PRESENT = 0x1n, _PAGE_RW = 0x2n, _PAGE_USER = 0x4n, _PAGE_ACCESSED = 0x20n, _PAGE_DIRTY = 0x40n;
/** _PAGE_USER in L1 entries is what the hypervisor would force in anyway (guest kernels run at CPL 3). */
const L1_FLAGS = _PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED;
const TABLE_FLAGS = _PAGE_PRESENT | _PAGE_RW | _PAGE_USER | _PAGE_ACCESSED | _PAGE_DIRTY;

/** Which table holds what: by level, from table index to pfn. */
type Directory = ReadonlyMap<number, number>[];

/** Gives every table its frame: per mapping L4 first, then L3, L2, L1. */
function placeTables(mappings: readonly Mapping[]): Directory {
  const directory = [0, 1, 2, 3].map(() => new Map<number, number>());
  mappings.forEach((m, i) => {
    let pfn = m.tablesPfn;
    for (let level = 3; level >= 0; level--) {
      for (const index of tableIndexes(level, mappings.slice(0, i), m.from, m.to)) directory[level]!.set(index, pfn++);
    }
  });
  return directory;
}

/** Writes all tables; frames that hold tables are mapped read-only. */
export function writePageTables(layout: Layout, frames: GuestFrames): void {
  const directory = placeTables(layout.mappings);
  const isTable = new Set(directory.flatMap((d) => [...d.values()]));
  const entry = (pfn: number, flags: bigint): bigint => BigInt(frames.mfn(pfn)) << 12n | flags;
  const table = (level: number, index: number): DataView => {
    const page = frames.page(directory[level]!.get(index)!);
    return new DataView(page.buffer, page.byteOffset, page.byteLength);
  };

  for (let level = 3; level > 0; level--) {
    for (const [index, pfn] of directory[level - 1]!) {
      table(level, Math.floor(index / 512)).setBigUint64(index % 512 * 8, entry(pfn, TABLE_FLAGS), true);
    }
  }
  for (const m of layout.mappings) {
    const first = Number(m.from >> 12n), pages = Number((m.to - m.from) >> 12n);
    let l1 = table(0, Math.floor(first / 512));
    for (let i = 0; i < pages; i++) {
      const page = first + i;
      if (page % 512 === 0) l1 = table(0, page / 512);
      const pfn = m.pfn + i;
      l1.setBigUint64(page % 512 * 8, entry(pfn, isTable.has(pfn) ? L1_FLAGS & ~_PAGE_RW : L1_FLAGS), true);
    }
  }
}

/** pfn of the L4 table. */
export const rootTablePfn = (layout: Layout): number => layout.pageTables.pfn;
