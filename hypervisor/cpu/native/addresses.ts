// Where native code finds what: offsets in one vCPU's area as addresses in the domain's memory, and the processor's own words.
import { S, SLOT, TLB_BYTES, VIEW_BYTES } from '../state.ts';
import type { View } from '../processor-api.ts';
import { slotOf } from './registers.ts';

/** The processor's own words, beside the code: what native code is told and tells (offsets in bytes). */
export const CONTROL = {
  /** u64: address to go on at; where a missed access is looked up again. */
  target: 0, resume: 8,
  /** u64: where the domain's memory starts in this process. */
  base: 16,
  /** u32: MXCSR of the host's code. */
  mxcsr: 24,
  /** u32: why native code came back (WAY), and what it says beside. */
  way: 28, detail: 32,
  /** u32: physical address of the memory's last byte. */
  last: 36,
  /** u64 each: where the views' jump tables are in this process. */
  jumps: 40,
  /** Zeros: what twalk(3) takes for a tree of one node. */
  node: 64,
  BYTES: 128,
} as const;

/** Why native code was left. */
export const WAY = {
  /** To the instruction `detail` bytes into the page at hand. */
  interpret: 0,
  /** Along a branch whose end was not known when it was written: `detail` is its number. */
  link: 1,
  /** To S.rip, by an indirect branch or across pages; `detail` says by what (BRANCH). */
  jump: 2,
  /** A TLB has no page for S.missed; `detail`: kind | bytes << 2 | offset of the instruction << 16. */
  miss: 3,
  /** Somebody wants attention; goes on as `interpret` does. */
  attention: 4,
  /** RDTSC, or RDTSCP: `detail`: offset of the instruction | 0x10000 for the latter. */
  clock: 5,
} as const;
/** In WAY.jump's detail: offset of the branch | kind << 12 | bytes that a return releases << 16. */
export const BRANCH = { jump: 0, ret: 1 } as const;

export class Addresses {
  readonly area: number;
  constructor(area: number) { this.area = area; }
  state(offset: number): number { return this.area + offset; }
  gpr(n: number): number { return this.area + S.regs + slotOf(n); }
  slot(slot: number): number { return this.area + S.regs + slot; }
  get pageBase(): number { return this.slot(SLOT.pageBase); }
  get flags(): number { return this.area + S.nativeFlags; }
  root(view: View): number { return this.area + S.roots + 4 * view; }
  tlb(view: View, kind: number): number { return this.area + S.tlbs + view * VIEW_BYTES + kind * TLB_BYTES; }
}
/** Of a view's jump table, entries of {u64 rip ^ S.jumpTag, u64 address of code}. An address's place: its low bits, and those JUMP_FOLD above them. */
export const JUMP_TABLE_ENTRIES = 65536, JUMP_TABLE_BYTES = JUMP_TABLE_ENTRIES * 16, JUMP_FOLD = 12;
