// Hardware breakpoints: the guest's own, in DR0-3 and DR7, and what a debugger watches.
//
// They cost nothing while there are none, and little then: a page with a watched byte stays out of the read and write
// TLBs, one with an execution breakpoint out of the jump caches, so that whatever touches them takes the slow path
// (mmu.ts), which asks here. An access to a watched byte leaves its instruction before it has done anything; it is then
// run alone, with what it touches noted, and reported behind it, as processors do.
import { PAGE_BYTES } from './layout.ts';
import { ACCESS, type Access, type Watch } from './processor-api.ts';

interface Armed extends Watch { /** Of DR0-3; undefined for a debugger's. */ readonly register?: number }

const CONDITION = { execute: 0n, write: 1n, io: 2n, access: 3n } as const;
/** By DR7's two bits. */
export const BREAKPOINT_BYTES = [1, 2, 8, 4] as const;
const page = (va: bigint): bigint => va >> 12n;
const overlap = (w: Watch, va: bigint, bytes: number): boolean => w.va < va + BigInt(bytes) && va < w.va + BigInt(w.bytes);

export class Watches {
  private readonly debug: BigUint64Array;
  private readonly debuggers = new Set<Watch>();
  private armed: Armed[] = [];
  /** Addresses of execution breakpoints, by debug register. */
  private readonly executions = new Map<number, bigint>();
  /** Whether accesses are noted instead of stopping their instruction. */
  noting = false;
  /** What has been noted: bits of DR6, and the debugger's. */
  hits = 0;
  hit: Watch | undefined;

  constructor(debug: BigUint64Array) { this.debug = debug; }

  add(watch: Watch): void { this.debuggers.add(watch); }
  remove(watch: Watch): void { this.debuggers.delete(watch); }

  /** After a change: addresses of the pages that have to leave TLBs and jump caches. */
  arm(): bigint[] {
    const control = this.debug[7]!;
    this.armed = [...this.debuggers];
    this.executions.clear();
    for (let n = 0; n < 4; n++) {
      if ((control >> BigInt(2 * n) & 3n) === 0n) continue;
      const condition = control >> BigInt(16 + 4 * n) & 3n, bytes = BREAKPOINT_BYTES[Number(control >> BigInt(18 + 4 * n) & 3n)]!;
      // Processors do not look at the low bits that a length implies.
      const va = this.debug[n]! & ~BigInt(bytes - 1);
      if (condition === CONDITION.execute && bytes === 1) this.executions.set(n, va);
      if (condition === CONDITION.write || condition === CONDITION.access) this.armed.push({ va, bytes, reads: condition === CONDITION.access, writes: true, register: n });
    }
    const pages = this.armed.flatMap(({ va, bytes }) => { const first = page(va), last = page(va + BigInt(bytes - 1)); return Array.from({ length: Number(last - first) + 1 }, (_, i) => first + BigInt(i) << 12n); });
    return [...pages, ...this.executions.values()];
  }
  get any(): boolean { return this.armed.length > 0 || this.executions.size > 0; }

  /** Whether the page must not be reached without asking. */
  keepsOut(va: bigint, access: Access): boolean {
    if (access === ACCESS.execute) return this.stepsAt(va);
    // Who looked at a page for writing may read there without another look, so it stays out of both TLBs.
    return this.armed.some(w => overlap(w, va & ~BigInt(PAGE_BYTES - 1), PAGE_BYTES));
  }
  /** Whether code of this page is run one instruction at a time. */
  stepsAt(rip: bigint): boolean {
    if (this.executions.size === 0) return false;
    for (const va of this.executions.values()) if (page(va) === page(rip)) return true;
    return false;
  }
  /** Bits of DR6 for the instruction about to run. */
  executing(rip: bigint): number {
    let bits = 0;
    for (const [n, va] of this.executions) if (va === rip) bits |= 1 << n;
    return bits;
  }
  /** An access that is about to be made: true when it stops its instruction. */
  touches(va: bigint, access: Access, bytes: number): boolean {
    const touched = this.touching(va, bytes, access);
    if (!this.noting) return touched.length > 0;
    for (const watch of touched) if (watch.register === undefined) this.hit = watch; else this.hits |= 1 << watch.register;
    return false;
  }
  private touching(va: bigint, bytes: number, access: Access): Armed[] {
    return this.armed.filter(w => (access === ACCESS.write ? w.writes : w.reads) && overlap(w, va, bytes));
  }
}
