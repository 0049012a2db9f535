// A hypervisor for the builder's tests: one domain's memory, and what was asked of it.
import type { BootContext, Dom0Hypercalls } from '../../../hypervisor/public/dom0-hypercalls.ts';
import { domid, mfnOf, type Domid, type GrantRef, type Mfn } from '../../../hypervisor/public/types.ts';

const FIRST = 64, SLOT = 3, GAP_EVERY = 1000;
const EINVAL = 22, ENOMEM = 12;

export class FakeHypervisor {
  readonly memory: Uint8Array<SharedArrayBuffer>;
  readonly sharedInfoMfn = mfnOf(SLOT, 1);
  readonly grants = new Map<number, { mfn: Mfn; grantee: Domid }>();
  readonly m2p = new Map<Mfn, number>();
  populated: Mfn[] = [];
  context: BootContext | null = null;

  constructor(pages: number) {
    this.memory = new Uint8Array(new SharedArrayBuffer((FIRST + pages + Math.ceil(pages / GAP_EVERY) + 1) * 4096));
  }

  /** Frames are handed out with holes between, so that nothing relies on their being contiguous. */
  populate(count: number): Mfn[] | number {
    const mfns: Mfn[] = [];
    for (let i = 0, index = FIRST; i < count; i++, index++) {
      if (i % GAP_EVERY === GAP_EVERY - 1) index++;
      if ((index + 1) * 4096 > this.memory.length) return -ENOMEM;
      mfns.push(mfnOf(SLOT, index));
    }
    return (this.populated = mfns);
  }

  get calls(): Dom0Hypercalls {
    const calls: Partial<Dom0Hypercalls> = {
      domainInfo: () => ({ sharedInfoMfn: this.sharedInfoMfn, domid: domid(1) }) as ReturnType<Dom0Hypercalls['domainInfo']>,
      populate: (_, count) => this.populate(count),
      foreign: () => ({ bytes: this.memory, slot: SLOT }),
      setM2p: (_, mfns, first) => { mfns.forEach((m, i) => this.m2p.set(m, first + i)); return 0; },
      gnttabSeed: (_, ref: GrantRef, m, grantee) => { this.grants.set(ref, { mfn: m, grantee }); return 0; },
      setContext: (_, start) => { const context = start as BootContext; this.context = context; return context.cr3Mfn > 0 ? 0 : -EINVAL; },
    };
    return calls as Dom0Hypercalls;
  }

  /** Physical bytes of a frame. */
  frame(m: number): DataView {
    return new DataView(this.memory.buffer, m % 0x100000 * 4096, 4096);
  }

  /** Walks the domain's tables: the L1 entry for a virtual address, or null. */
  walk(va: bigint): { mfn: Mfn; writable: boolean } | null {
    let table: number = this.context!.cr3Mfn;
    for (let level = 3; level >= 0; level--) {
      const entry = this.frame(table).getBigUint64(Number(va >> BigInt(12 + level * 9) & 0x1ffn) * 8, true);
      if ((entry & 1n) === 0n) return null;
      table = Number(entry >> 12n & 0xf_ffff_ffffn);
      if (level === 0) return { mfn: table as Mfn, writable: (entry & 2n) !== 0n };
    }
    return null;
  }

  read(va: bigint, count: number): Buffer {
    const out = Buffer.alloc(count);
    for (let i = 0; i < count;) {
      const at = va + BigInt(i), page = this.walk(at);
      if (page === null) throw new Error(`0x${at.toString(16)} is not mapped`);
      const within = Number(at & 0xfffn), n = Math.min(count - i, 4096 - within), from = page.mfn % 0x100000 * 4096 + within;
      out.set(this.memory.subarray(from, from + n), i);
      i += n;
    }
    return out;
  }
}
