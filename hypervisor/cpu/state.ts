// Where one vCPU keeps its state inside its area (layout.ts: VCPU_AREA + vcpu * VCPU_STRIDE). Offsets are relative
// to the area. The interpreter is generated with the area's address built in.
//
//   0x0000  words polled and exit details      0x1000  FXSAVE-shaped x87/MMX/SSE state
//   0x0100  registers: 32 slots of 8 bytes     0x2000  scratch for page-crossing accesses
//   0x4000  mail from siblings                  0x5000  tables for vector lookups
//   0x10000 TLBs: [view][kind] of 1024 entries {i64 tag, i32 addend, i32 page}
//   0x40000 jump caches: [view] of 16384 entries {i64 rip ^ tag, i32 record, i32 number}
//   0xc0000 pages in jump caches: [view] of 65536 bytes, by the low bits of the page number
//   0x100000 block table: 256 Ki entries {u32 physical address, u32 record | mode}
//   0x300000 by blocks' numbers: how often their translations may still be entered before larger ones are made, i32
//   0x700000 .. VCPU_STRIDE: records
import { ATTENTION, VCPU_AREA, VCPU_STRIDE } from './layout.ts';

export const S = {
  /** i32 set by anyone (Atomics); any bit ends guest code at the next block boundary. */
  attention: ATTENTION,
  /** i32 for the processor's own use, polled together with attention as one i64. */
  selfAttention: ATTENTION + 4,
  /** i32: why the wasm code came back; an EXIT value or one of INTERNAL. */
  exit: 8,
  vector: 12,
  /** i32, -1 for none. */
  errorCode: 16,
  /** i32: address of the record that left. */
  current: 20,
  cr2: 24,
  /** i32: view * VIEW_BYTES + address of the active view's first TLB. */
  tlb: 32,
  /** i32: address of the active view's jump cache. */
  jumps: 36,
  /** i32 each: physical address of the L4 table of the two views. */
  roots: 40,
  /** i32: slot of this memory, compared with bits 32..51 of page-table entries. */
  slot: 48,
  /** i32: 0 in 64-bit mode, 1 in compatibility mode. */
  compat: 52,
  /** i32: base address of the code map (layout.ts). */
  codeMap: 56,
  /** i32: view in use. */
  activeView: 60,
  /** Lazy flags, see flags.ts. */
  flagResult: 64,
  flagAux: 72,
  /** i32: TF, IF, DF, IOPL, NT, RF, AC, ID, in their RFLAGS places. */
  flagsOther: 80,
  /** i32: 0, or 1 while CR0.TS is set. */
  taskSwitched: 84,
  /** i64: rip to continue at, valid whenever the wasm code has come back. */
  rip: 88,
  /** i32: record that wants its link patched by the lookup, or 0. */
  patch: 96,
  /** i32: physical pointers and lengths of a page-crossing store in progress. */
  crossFirst: 100, crossSecond: 104, crossFirstBytes: 108, crossBytes: 120,
  /** i32: number of walks, lookups (counters). */
  walks: 112, lookups: 116,
  /** i32 set by the helper thread: translations are done (boot/translator-thread.ts). */
  translated: 124,
  /** u16 x 6: es cs ss ds fs gs. */
  selectors: 128,
  /** i32: not zero while RDTSC and RDTSCP exit; what RDTSCP gives beside the time. */
  tscExits: 140, tscAux: 144,
  /** u16 each: code and stack selector that need no look at their descriptors when they are loaded again; 0 when there are none. */
  unchanging: 148,
  /** i32: the record of a dropped block that was met last (blocks.ts), or 0. */
  stale: 152,
  /** i32: not zero when it was a translation that noticed the attention word. */
  noticed: 156,
  /** i64 x 8. */
  debug: 160,
  /** i32: where a translation goes on when it is left (mmu.ts, REACH). */
  leaveTo: 224,
  /** i32: first record of the block that has become hot. */
  hot: 228,
  /**
   * i64: what addresses in the active view's jump cache are marked with, in their upper 16 bits: entries made under
   * another mark are no entries. Never 0, so that neither zeros nor ones are an entry of a canonical address.
   */
  jumpTag: 232,
  /** u16 each: the marks of the two views. */
  jumpMarks: 240,
  /** u8 each: whether the view's jump cache may have an address in the lower half. */
  jumpLower: 244,
  /** i32: not zero while accesses or instructions may be watched (watches.ts). */
  watching: 248,
  /** i32: not zero where other vCPUs share the memory. */
  siblings: 252,
  regs: 0x100,
  fx: 0x1000,
  /** Page-crossing stores are gathered in `scratch`, page-crossing loads in `readScratch`. */
  scratch: 0x2000, readScratch: 0x2400,
  /** One record that ends the run: the way out of the tail-call chain. */
  exitRecord: 0x3000,
  /** Records of a block made for single-stepping. */
  stepRecords: 0x3040,
  /** Mail from sibling vCPUs (sibling-code.ts): i32 not zero when there is some, then the bit maps of MAIL. */
  mail: 0x4000,
  /** i32 each, see bus-lock.ts; the lock is vCPU 0's. */
  inGuest: 0x4100, busLock: 0x4140,
  /** i32: how often blocks of a frame were dropped. */
  drops: 0x4180,
  /** i32: bytes that a string instruction will write from where it stands, in this page, before it looks again; 0 otherwise. */
  ahead: 0x4184,
  /** i32: not zero during a page walk, for who measures. */
  walking: 0x4188,
  /** u16: the guest's flags while native code runs (native/block.ts). */
  nativeFlags: 0x4190,
  /** i64: the virtual address that native code found no page for. */
  missed: 0x4198,
  /** Constants that are looked up in, see vector-tables.ts. */
  vectorTables: 0x5000,
  tlbs: 0x10000,
  jumpCaches: 0x40000,
  /** u8: not zero where the view's jump cache may have an address in a page with these low 16 bits of page number. */
  jumpPages: 0xc0000,
  blocks: 0x100000,
  counters: 0x300000,
  records: 0x700000,
} as const;

/** Bit maps behind S.mail, by frame number modulo their size. */
export const MAIL = { becameCode: 0x200, written: 0x400, bytes: 0x200 } as const;

export const TLB_ENTRIES = 1024;
export const TLB_ENTRY_BYTES = 16;
export const TLB_BYTES = TLB_ENTRIES * TLB_ENTRY_BYTES;
/** read, write, execute TLBs of one view. */
export const VIEW_BYTES = 4 * TLB_BYTES;
/**
 * A TLB entry: minus the address of its page (i64), and what makes a virtual address of it a physical one (i32). So an address
 * plus the first is below a page's size if it is in that page; beside it the physical address of the page. In an empty entry that is false for whatever is looked
 * up there, and for what lies around it, canonical addresses being far from it: but where that page of no address
 * (and the next, for it begins amid a page) would itself be looked up, another stands.
 */
export const TLB_EMPTY = { byte: 0x80, minus: -0x7f7f7f7f_7f7f7f80n, own: [1015, 1016], other: 0x40404040_40404040n } as const;
/** What stands in the n-th entry when it is empty. */
export const emptyTag = (n: number): bigint => n === TLB_EMPTY.own[0] || n === TLB_EMPTY.own[1] ? TLB_EMPTY.other : TLB_EMPTY.minus;
export const JUMP_ENTRIES = 16384;
export const JUMP_BYTES = JUMP_ENTRIES * 16;
export const JUMP_PAGES = 65536;
/** An address shifted right (signed) by so many bits is 0 in the lower half alone. */
export const BIT_IS_LOWER = 47;
export const BLOCK_ENTRIES = 0x40000;
/** Blocks that may have a number: its end, that of the table of translations. */
export const NUMBERS_MAX = 1 << 20;
export const RECORDS_BYTES = VCPU_STRIDE - S.records;

/** Register slots: byte offsets from S.regs that fit a record's 8-bit fields. High bytes are slot + 1. */
export const SLOT = {
  gpr: (n: number): number => n * 8,
  zero: 128, pageBase: 136, fsBase: 144, gsBase: 152, esBase: 160, csBase: 168, ssBase: 176, dsBase: 184, temp: 192,
} as const;
/** Slot of a segment's base by x86 segment number (es cs ss ds fs gs). */
export const SEGMENT_SLOT = [SLOT.esBase, SLOT.csBase, SLOT.ssBase, SLOT.dsBase, SLOT.fsBase, SLOT.gsBase] as const;

/** Exits handled inside processor.ts. */
export const INTERNAL = { none: 0, decode: 100, stepped: 101, recheck: 102, undefined: 103, hot: 104, watched: 105, native: 106 } as const;

/** FXSAVE image inside S.fx (Intel SDM, FXSAVE 64-bit map). */
export const FX = { fcw: 0, fsw: 2, ftw: 4, fop: 6, fip: 8, fdp: 16, mxcsr: 24, mxcsrMask: 28, st: 32, xmm: 160 } as const;

export const areaOf = (vcpu: number): number => VCPU_AREA + vcpu * VCPU_STRIDE;

/** RFLAGS bits. */
export const FLAG = { CF: 1, ONE: 2, PF: 4, AF: 16, ZF: 64, SF: 128, TF: 256, IF: 512, DF: 1024, OF: 2048, IOPL: 0x3000, NT: 0x4000, RF: 0x10000, VM: 0x20000, AC: 0x40000, VIF: 0x80000, VIP: 0x100000, ID: 0x200000 } as const;
export const FLAGS_OTHER = FLAG.TF | FLAG.IF | FLAG.DF | FLAG.IOPL | FLAG.NT | FLAG.RF | FLAG.AC | FLAG.ID;
