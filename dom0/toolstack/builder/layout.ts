// Start-of-day layout of a PV domain (public/xen.h, "Start-of-day memory layout"), worked out before anything is
// made, so that what does not fit is refused with nothing to clean up.
//
//   pfn 0 .. below the image      ordinary memory (mapped)
//   kernel                        at VIRT_KSTART
//   initrd                        unless MOD_START_PFN
//   p2m list                      unless INIT_P2M
//   start_info, xenstore, console one page each
//   page tables                   L4 first, then L3, L2, L1
//   boot stack                    one page
//   spare                         at least 512 KiB, up to a 4 MiB boundary: end of the initial mapping
//   initrd, with MOD_START_PFN    not mapped
//   p2m list, with INIT_P2M       mapped at INIT_P2M, its own page tables behind it
import { BuilderError } from './builder-error.ts';
import type { XenParams } from './xen-notes.ts';

export const PAGE_BYTES = 4096;
const SPARE_PAGES = 512 * 1024 / PAGE_BYTES;
const VIRT_END_ALIGN = 0x40_0000n;
const VA_MASK = 0xffff_ffff_ffffn;

/** A run of pseudo-physical frames. */
export interface Segment { readonly pfn: number; readonly pages: number }

/** One contiguous piece of the initial address space: [from, to) backed by frames from `pfn` on; tables lie at `tablesPfn`. */
export interface Mapping {
  /** Virtual addresses cut to 48 bits. */
  readonly from: bigint; readonly to: bigint;
  readonly pfn: number;
  readonly tablesPfn: number; readonly tablePages: number;
}

export interface Layout {
  readonly totalPages: number;
  readonly kernel: Segment;
  readonly ramdisk: Segment | null;
  readonly p2m: Segment;
  readonly startInfoPfn: number; readonly xenstorePfn: number; readonly consolePfn: number;
  readonly pageTables: Segment;
  readonly bootStackPfn: number;
  /** First pfn behind the initial mapping. */
  readonly mappedEnd: number;
  /** Virtual address of the p2m list. */
  readonly p2mVirt: bigint;
  /** The p2m list has a mapping of its own, and its tables are part of the p2m segment. */
  readonly p2mApart: boolean;
  readonly mappings: readonly Mapping[];
}

/** Hands out frames in order, beyond the end too: so the sentence about what does not fit can say how much is needed. */
class FrameAllocator {
  next = 0;
  /** The first part that did not fit. */
  tooLarge: string | null = null;
  readonly total: number;
  constructor(total: number) { this.total = total; }
  take(pages: number, what: string): Segment {
    const pfn = this.next;
    this.next += pages;
    if (this.next > this.total) this.tooLarge ??= what;
    return { pfn, pages };
  }
}

const mib = (pages: number): number => Math.ceil(pages * PAGE_BYTES / 0x100000);

function tooSmall(total: number, needed: number, what: string): BuilderError {
  const code = what === 'initrd' ? 'ramdisk-too-large' : 'memory-too-small';
  return new BuilderError(code, `The ${what} does not fit into ${mib(total)} MiB of memory: at least ${mib(needed)} MiB are needed to load it, and more to run. Raise "memory".`);
}

/**
 * @param ramdiskBytes size as it will lie in memory (unpacked where the builder unpacks), null without one
 * @throws BuilderError when it does not fit
 */
export function planLayout(params: XenParams, totalPages: number, ramdiskBytes: number | null): Layout {
  const frames = new FrameAllocator(totalPages);
  const base = params.virtBase;
  frames.take(Number((params.virtKstart - base) >> 12n), 'kernel');
  const kernel = frames.take(pagesOf(Number(params.virtKend - params.virtKstart)), 'kernel');
  const ramdiskPages = ramdiskBytes === null ? null : pagesOf(ramdiskBytes);
  const p2mPages = pagesOf(totalPages * 8);
  const virtual = (pfn: number): bigint => base + BigInt(pfn) * 4096n;

  let ramdisk: Segment | null = null;
  if (ramdiskPages !== null && !params.modStartPfn) ramdisk = frames.take(ramdiskPages, 'initrd');
  let p2m = params.initP2m === null ? frames.take(p2mPages, 'list of frames') : null;
  let p2mVirt = p2m === null ? params.initP2m! : virtual(p2m.pfn);

  const startInfo = frames.take(3, 'kernel');
  const main = planMain(params, frames.next);
  const pageTables = frames.take(main.tablePages, 'kernel');
  const bootStack = frames.take(1, 'kernel');
  const mappedEnd = Number((main.to - main.from) >> 12n);
  frames.take(mappedEnd - frames.next, 'kernel');

  if (ramdiskPages !== null && ramdisk === null) ramdisk = frames.take(ramdiskPages, 'initrd');
  const mappings = [main];
  if (p2m === null) {
    const from = p2mVirt & VA_MASK, to = from + BigInt(p2mPages) * 4096n;
    const tablePages = countTables([main], from, to);
    p2m = frames.take(p2mPages + tablePages, 'list of frames');
    mappings.push({ from, to, pfn: p2m.pfn, tablesPfn: p2m.pfn + p2mPages, tablePages });
  }
  if (frames.tooLarge !== null) throw tooSmall(totalPages, frames.next, frames.tooLarge);
  return {
    totalPages, kernel, ramdisk, p2m, startInfoPfn: startInfo.pfn, xenstorePfn: startInfo.pfn + 1, consolePfn: startInfo.pfn + 2,
    pageTables, bootStackPfn: bootStack.pfn, mappedEnd, p2mVirt, p2mApart: params.initP2m !== null, mappings,
  };
}

const pagesOf = (bytes: number): number => Math.ceil(bytes / PAGE_BYTES);

/** The main mapping: its tables must map themselves, so its end and their number are solved for together. */
function planMain(params: XenParams, usedPages: number): Mapping {
  const from = params.virtBase & VA_MASK;
  for (let extra = SPARE_PAGES + 1; ;) {
    const end = params.virtBase + BigInt(usedPages + extra) * 4096n;
    const virtEnd = (end + VIRT_END_ALIGN - 1n) / VIRT_END_ALIGN * VIRT_END_ALIGN;
    if (virtEnd > 0x1_0000_0000_0000_0000n) throw new BuilderError('kernel-addresses', 'The kernel and its initrd run past the end of the address space.');
    const to = from + (virtEnd - params.virtBase);
    const tablePages = countTables([], from, to);
    const needed = SPARE_PAGES + 1 + tablePages;
    if (params.virtBase + BigInt(usedPages + needed) * 4096n <= virtEnd) return { from, to, pfn: 0, tablesPfn: usedPages, tablePages };
    extra = needed;
  }
}

/** Bits of a virtual address below the index of a table at each level: one table of level l covers 2^SHIFT[l] bytes. */
const TABLE_SHIFT = [21n, 30n, 39n, 48n];

/** Indexes of the tables of `level` (0: L1 .. 3: L4) that [from, to) needs, without those `earlier` mappings have. */
export function tableIndexes(level: number, earlier: readonly Pick<Mapping, 'from' | 'to'>[], from: bigint, to: bigint): number[] {
  const shift = TABLE_SHIFT[level]!;
  const first = Number(from >> shift), last = Number((to - 1n) >> shift);
  const indexes: number[] = [];
  for (let i = first; i <= last; i++) {
    if (!earlier.some((m) => i >= Number(m.from >> shift) && i <= Number((m.to - 1n) >> shift))) indexes.push(i);
  }
  return indexes;
}

function countTables(earlier: readonly Mapping[], from: bigint, to: bigint): number {
  let count = 0;
  for (let level = 3; level >= 0; level--) count += tableIndexes(level, earlier, from, to).length;
  return count;
}
