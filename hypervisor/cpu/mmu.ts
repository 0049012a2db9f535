// Address translation, generated as WebAssembly: the page walk behind a TLB miss, page-crossing accesses, and the
// lookup that finds the record for a branch target.
import { SPECIAL } from './decode.ts';
import { ACCESS, EXIT, PFEC, VIEW } from './processor-api.ts';
import { PAGE_BYTES } from './layout.ts';
import { BIT_IS_LOWER, BLOCK_ENTRIES, INTERNAL, JUMP_ENTRIES, JUMP_PAGES, S, SLOT, TLB_BYTES, TLB_EMPTY, TLB_ENTRY_BYTES, VIEW_BYTES } from './state.ts';
import { R } from './record.ts';
import { Fn, type FuncRef, type I32, type I64, type Signature, i32, i64, ld32, ld64, ld64from32s, ld16u, ld8u, select } from './wasm/builder.ts';

export const TRANSLATE: Signature = { params: ['i64', 'i32', 'i32'], results: ['i32'] };
export const COMMIT: Signature = { params: [], results: [] };
export const LOOKUP: Signature = { params: ['i64'], results: ['i32'] };
/** (entry low, entry high, access) -> physical address of the frame, or 0. */
export const FOREIGN: Signature = { params: ['i32', 'i32', 'i32'], results: ['i32'] };
/** () -> time stamp. */
export const CLOCK: Signature = { params: [], results: ['i64'] };
/** (physical address, bytes, 0: any of its frame's): what is made of code there is dropped (blocks.ts). */
export const CODE_WRITE: Signature = { params: ['i32', 'i32'], results: [] };

/** Page-table entry bits. */
const P = 1n, RW = 2n, ACCESSED = 0x20n, DIRTY = 0x40n, NX = 1n << 63n;

/** Hash of a physical code address into the block table, as a byte offset: a block stands there, or in the other entry of the pair. */
export const blockHash = (phys: number): number => ((phys ^ phys >>> 12) & (BLOCK_ENTRIES - 1)) * 8;
export const OTHER_OF_PAIR = 8;
const blockHashCode = (phys: I32): I32 => phys.xor(phys.shrU(12)).and(BLOCK_ENTRIES - 1).shl(3);
export const jumpHash = (low: number): number => ((low ^ low >>> 13) & (JUMP_ENTRIES - 1)) * 16;
export const jumpHashCode = (low: I32): I32 => low.xor(low.shrU(13)).and(JUMP_ENTRIES - 1).shl(4);

/** (virtual address, access | bytes << 8): whether the access is watched; without bytes, whether the page is (watches.ts). */
export const WATCHED: Signature = { params: ['i64', 'i32'], results: ['i32'] };

export interface MmuImports { foreign: FuncRef; codeWrite: FuncRef; walk: FuncRef; watched: FuncRef }

function fault(f: Fn, area: number, vector: number | I32, errorCode: I32, va: I64, rec: I32): void {
  f.st32(area, EXIT.exception, S.exit);
  f.st32(area, vector, S.vector);
  f.st32(area, errorCode, S.errorCode);
  if (vector === 14) f.st64(area, va, S.cr2);
  f.st32(area, rec, S.current);
  f.ret(i32(0));
}

/** #SS for an address formed from rsp or rbp in the stack segment, else #GP. */
function stackOrOther(f: Fn, rec: I32): I32 {
  const base = f.let(ld8u(rec, R.base)), segment = f.let(ld8u(rec, R.segment));
  const stack = segment.eq(SLOT.ssBase).or(segment.eq(SLOT.zero).and(base.eq(SLOT.gpr(4)).or(base.eq(SLOT.gpr(5)))));
  return f.let(select(rec.ne(0).and(stack), i32(12), i32(13)));
}

/** The walk behind a TLB miss, which is to be seen from outside while it lasts. */
export function visibleWalkFunction(area: number, walk: FuncRef): Fn {
  const f = new Fn(TRANSLATE);
  f.st32(area, i32(1), S.walking);
  const p = f.let(f.call<I32>(walk, f.param(0, 'i64').get(), f.param(1, 'i32').get(), f.param(2, 'i32').get()));
  f.st32(area, i32(0), S.walking);
  f.ret(p);
  f.unreachable();
  return f;
}

/**
 * Page walk for one page: returns the physical address of `va`, or 0 with the fault recorded. Its second operand is `kind | bytes << 8`: how
 * many are going to be written there, 0 when nobody knows.
 */
export function walkFunction(area: number, im: MmuImports): Fn {
  const f = new Fn(TRANSLATE), va = f.param(0, 'i64').get(), what = f.param(1, 'i32').get(), kind = f.let(what.and(255)), rec = f.param(2, 'i32').get();
  const sign = va.shrS(47);
  f.if(sign.ne(0).and(sign.ne(-1n)), () => fault(f, area, stackOrOther(f, rec), i32(0), va, rec));
  f.st32(area, ld32(area, S.walks).add(1), S.walks);
  const view = f.let(ld32(area, S.activeView));
  const table = f.local('i32'), entry = f.local('i64'), rights = f.local('i64'), nx = f.local('i64'), at = f.local('i32'), frame = f.local('i32');
  const code = (present: number): I32 => select(kind.eq(1), i32(PFEC.write), select(kind.eq(2), i32(PFEC.fetch), i32(0))).or(present | PFEC.user);
  f.set(table, ld32(view.shl(2).add(area), S.roots));
  f.set(rights, i64(RW));
  f.set(nx, i64(0));
  for (const shift of [39, 30, 21, 12]) {
    f.set(at, table.get().add(va.shrU(shift).wrap().and(511).shl(3)));
    f.set(entry, ld64(at.get()));
    f.if(entry.get().and(P).eqz(), () => fault(f, area, 14, code(0), va, rec));
    f.set(rights, rights.get().and(entry.get()));
    f.set(nx, nx.get().or(entry.get()));
    if (shift === 12) break;
    f.if(entry.get().and(ACCESSED).eqz(), () => f.atomicOr64(at.get(), ACCESSED));
    f.set(table, entry.get().wrap().and(-4096));
  }
  f.if(kind.eq(1).and(rights.get().and(RW).eqz()), () => fault(f, area, 14, code(PFEC.present), va, rec));
  f.if(kind.eq(2).and(nx.get().and(NX).ne(0)), () => fault(f, area, 14, code(PFEC.present), va, rec));
  const wanted = f.let(select(kind.eq(1), i64(ACCESSED | DIRTY), i64(ACCESSED)));
  f.if(entry.get().and(wanted).ne(wanted), () => {
    f.if(kind.eq(1), () => f.atomicOr64(at.get(), ACCESSED | DIRTY), () => f.atomicOr64(at.get(), ACCESSED));
  });
  f.set(frame, entry.get().wrap().and(-4096));
  f.if(entry.get().shrU(32).wrap().and(0xfffff).ne(ld32(area, S.slot)), () => {
    const p = f.call<I32>(im.foreign, entry.get().wrap(), entry.get().shrU(32).wrap(), kind);
    f.if(p.eqz(), () => fault(f, area, 14, code(PFEC.present), va, rec));
    f.set(frame, p);
  });
  f.if(kind.eq(1), () => {
    // What is made of the bytes goes before they are written. A page that has code still is not for the write TLB.
    const code = frame.get().shrU(12).add(ld32(area, S.codeMap)), here = f.let(frame.get().add(va.wrap().and(4095)));
    f.if(ld8u(code), () => {
      f.call(im.codeWrite, here, what.shrU(8));
      f.if(ld8u(code), () => f.ret(here));
    });
  });
  f.if(ld32(area, S.watching), () => f.if(f.call<I32>(im.watched, va, kind), () => f.ret(frame.get().add(va.wrap().and(4095)))));
  // What is no memory traps here, not in native code.
  f.let(ld8u(frame.get(), PAGE_BYTES - 1));
  const tlb = f.let(view.mul(VIEW_BYTES).add(kind.mul(TLB_BYTES)).add(va.shrU(8).wrap().and(0x3ff0)).add(area));
  f.st64(tlb, i64(0).sub(va.and(-4096n)), S.tlbs);
  f.st32(tlb, frame.get().sub(va.and(-4096n).wrap()), S.tlbs + 8);
  f.st32(tlb, frame.get(), S.tlbs + 12);
  f.ret(frame.get().add(va.wrap().and(4095)));
  f.unreachable();
  return f;
}

/** (physical address of a frame): takes it out of the TLBs for writing. */
export const KEEP_FROM_WRITING: Signature = { params: ['i32'], results: [] };
export function keepFromWritingFunction(area: number): Fn {
  const f = new Fn(KEEP_FROM_WRITING), frame = f.param(0, 'i32').get(), at = f.local('i32'), end = f.local('i32');
  for (const view of [VIEW.kernel, VIEW.user]) {
    const tlb = area + S.tlbs + view * VIEW_BYTES + ACCESS.write * TLB_BYTES;
    f.set(at, i32(tlb));
    f.set(end, i32(tlb + TLB_BYTES));
    f.loop(again => {
      // The address drops out of the difference of an entry's two halves; an empty one's are no frame's.
      f.if(ld32(at.get(), 8).sub(ld32(at.get())).eq(frame), () => f.st64(at.get(), TLB_EMPTY.minus), undefined, false);
      f.set(at, at.get().add(TLB_ENTRY_BYTES));
      f.brIf(again, at.get().ltU(end.get()));
    });
    for (const n of TLB_EMPTY.own) f.if(ld64(i32(tlb), n * TLB_ENTRY_BYTES).eq(TLB_EMPTY.minus), () => f.st64(i32(tlb), TLB_EMPTY.other, n * TLB_ENTRY_BYTES), undefined, false);
  }
  return f;
}

export const FETCH: Signature = { params: ['i32'], results: ['i32'] };
/** The walk for the code at S.rip, or in its next page. */
export function fetchFunction(area: number, walk: FuncRef): Fn {
  const f = new Fn(FETCH), rip = ld64(area, S.rip);
  f.if(f.param(0, 'i32').get(), () => f.ret(f.call(walk, rip.and(-4096n).add(4096n), i32(2), i32(0))));
  f.ret(f.call(walk, rip, i32(2), i32(0)));
  f.unreachable();
  return f;
}

/** Rt.translate: like the walk, for `kind | bytes << 8`, gathering page-crossing operands in a scratch area. */
export function translateFunction(area: number, im: MmuImports): Fn {
  const f = new Fn(TRANSLATE), va = f.param(0, 'i64').get(), what = f.param(1, 'i32').get(), rec = f.param(2, 'i32').get();
  const kind = f.let(what.and(255)), bytes = f.let(what.shrU(8)), inPage = f.let(va.wrap().and(4095)), room = f.let(i32(PAGE_BYTES).sub(inPage));
  // Segments of compatibility mode end at 4 GiB.
  f.if(bytes.gtU(room).and(ld32(area, S.compat)).and(va.shrU(12).eq(0xfffffn)), () => fault(f, area, stackOrOther(f, rec), i32(0), va, rec));
  // An operand that reaches beyond the lower half is not canonical, whatever its first page is.
  f.if(bytes.gtU(room).and(va.shrU(12).eq(0x7ffffffffn)), () => fault(f, area, stackOrOther(f, rec), i32(0), va, rec));
  const ahead = f.let(ld32(area, S.ahead));
  f.st32(area, 0, S.ahead);
  const first = f.call<I32>(im.walk, va, f.let(kind.or(select(ahead.gtU(bytes), ahead, bytes).shl(8))), rec);
  f.if(first.eqz(), () => f.ret(i32(0)));
  const stopIfWatched = (): void => f.if(ld32(area, S.watching), () => f.if(f.call<I32>(im.watched, va, what), () => {
    f.st32(area, INTERNAL.watched, S.exit);
    f.st32(area, rec, S.current);
    f.ret(i32(0));
  }));
  f.if(bytes.leU(room), () => { stopIfWatched(); f.ret(first); });
  const second = f.call<I32>(im.walk, f.let(va.add(room.extU())), f.let(kind.or(bytes.sub(room).shl(8))), rec);
  f.if(second.eqz(), () => f.ret(i32(0)));
  stopIfWatched();
  f.st32(area, first, S.crossFirst);
  f.st32(area, second, S.crossSecond);
  f.st32(area, room, S.crossFirstBytes);
  f.st32(area, bytes, S.crossBytes);
  const scratch = f.let(select(kind.eq(1), i32(area + S.scratch), i32(area + S.readScratch)));
  f.memoryCopy(scratch, first, room);
  f.memoryCopy(scratch.add(room), second, bytes.sub(room));
  f.ret(scratch);
  f.unreachable();
  return f;
}

/** Bits of a translation's request beside kind and bytes. */
export const FROM_STACK = 0x1000000;
/**
 * For translations: like translateFunction, minus 1 (compilers know then that what is made of it has 32 bits). -1 when the translation has to be left, to the record in S.leaveTo: the exit
 * for a fault, or the instruction's own for a store that crosses pages or before which code was dropped, maybe the
 * translation's; of it nothing has been done.
 */
export const REACH: Signature = TRANSLATE;
export function reachFunction(area: number, translate: FuncRef): Fn {
  const f = new Fn(REACH), va = f.param(0, 'i64').get(), what = f.param(1, 'i32').get(), rec = f.param(2, 'i32').get();
  const access = f.let(what.and(255)), known = f.let(ld32(area, S.tlb).add(access.mul(TLB_BYTES)).add(va.shrU(8).wrap().and(0x3ff0)));
  // A translation that had another page at hand did not look.
  f.if(ld64(known).add(va).leU(i32(4096).sub(what.shrU(8).and(0xffff)).extU()), () => f.ret(va.wrap().add(ld32(known, 8)).sub(1)));
  const drops = f.let(ld32(area, S.drops)), p = f.call<I32>(translate, va, what.and(FROM_STACK - 1), rec);
  f.if(p.eqz(), () => {
    f.if(what.and(FROM_STACK).ne(0).and(ld32(area, S.vector).eq(13)), () => f.st32(area, 12, S.vector));
    f.st32(area, area + S.exitRecord, S.leaveTo);
    f.ret(i32(-1));
  });
  f.if(what.and(255), () => f.if(p.eq(area + S.scratch).or(ld32(area, S.drops).ne(drops)), () => { f.st32(area, rec, S.leaveTo); f.ret(i32(-1)); }));
  f.ret(p.sub(1));
  f.unreachable();
  return f;
}

/** For native code: the walk for S.missed, `kind | bytes << 8`. Whether a TLB has the page now; where not, the interpreter finds out why. */
export const REACH_PAGE: Signature = { params: ['i32'], results: ['i32'] };
export function reachPageFunction(area: number, walk: FuncRef): Fn {
  const f = new Fn(REACH_PAGE), what = f.param(0, 'i32').get(), va = f.let(ld64(area, S.missed));
  f.if(f.call<I32>(walk, va, what, i32(0)).eqz(), () => f.ret(i32(0)));
  const known = f.let(ld32(area, S.tlb).add(what.and(255).mul(TLB_BYTES)).add(va.shrU(8).wrap().and(0x3ff0)));
  f.ret(ld64(known).add(va).leU(4095n));
  f.unreachable();
  return f;
}
/** For native code: the record at S.rip. */
export const LOOK_UP_RIP: Signature = { params: [], results: ['i32'] };
export function lookUpRipFunction(area: number, lookup: FuncRef): Fn {
  const f = new Fn(LOOK_UP_RIP);
  f.ret(f.call(lookup, ld64(area, S.rip)));
  f.unreachable();
  return f;
}

export function commitFunction(area: number): Fn {
  const f = new Fn(COMMIT), room = f.let(ld32(area, S.crossFirstBytes));
  f.memoryCopy(ld32(area, S.crossFirst), i32(area + S.scratch), room);
  f.memoryCopy(ld32(area, S.crossSecond), i32(area + S.scratch).add(room), ld32(area, S.crossBytes).sub(room));
  return f;
}

/** Rt.lookup: jump cache, then page walk and block table, then the exit that has the block decoded. */
export function lookupFunction(area: number, im: MmuImports): Fn {
  const f = new Fn(LOOKUP), rip = f.param(0, 'i64').get();
  f.st64(area, rip.and(-4096n), S.regs + SLOT.pageBase);
  const cached = f.let(jumpHashCode(rip.wrap()).add(ld32(area, S.jumps)));
  const rec = f.local('i32');
  f.block(found => {
    const marked = f.let(rip.xor(ld64(area, S.jumpTag)));
    f.if(ld64(cached).eq(marked), () => { f.set(rec, ld32(cached, 8)); f.br(found); });
    f.st32(area, ld32(area, S.lookups).add(1), S.lookups);
    f.if(ld32(area, S.watching), () => f.if(f.call<I32>(im.watched, rip, i32(2)), () => { f.st32(area, 0, S.patch); f.st32(area, INTERNAL.none, S.exit); f.ret(i32(area + S.exitRecord)); }));
    const exec = f.let(ld32(area, S.tlb).add(rip.shrU(8).wrap().and(0x3ff0))), p = f.local('i32');
    f.if(ld64(exec, 2 * TLB_BYTES).add(rip).leU(4095n), () => f.set(p, rip.wrap().add(ld32(exec, 2 * TLB_BYTES + 8))), () => {
      f.set(p, f.call(im.walk, rip, i32(2), i32(0)));
      // A fetch fault is reported at the target: current is 0 and rip is stored.
      f.if(p.get().eqz(), () => { f.st32(area, 0, S.patch); f.ret(i32(area + S.exitRecord)); });
    });
    const first = f.let(blockHashCode(p.get())), word = f.local('i32');
    const missing = (entry: I32): I32 => {
      f.set(word, ld32(entry, S.blocks + 4));
      return ld32(entry, S.blocks).eq(p.get()).and(word.get().ne(0)).and(word.get().and(1).eq(ld32(area, S.compat))).eqz();
    };
    f.if(missing(first.add(area)), () => f.if(missing(f.let(first.xor(OTHER_OF_PAIR).add(area))), () => {
      f.st32(area, INTERNAL.decode, S.exit);
      f.ret(i32(area + S.exitRecord));
    }));
    f.set(rec, word.get().and(-2));
    f.st64(cached, marked);
    f.st32(cached, rec.get(), 8);
    f.st32(cached, select(ld16u(rec.get()).eq(SPECIAL.translated), ld32(rec.get(), R.number), i32(SPECIAL.dispatch)), 12);
    f.st8(ld32(area, S.activeView).mul(JUMP_PAGES).add(rip.shrU(12).wrap().and(JUMP_PAGES - 1)).add(area), i32(1), S.jumpPages);
    f.if(rip.shrS(BIT_IS_LOWER).eqz(), () => f.st8(ld32(area, S.activeView).add(area), i32(1), S.jumpLower));
  });
  const patch = f.let(ld32(area, S.patch));
  f.if(patch, () => { f.st32(patch, rec.get(), R.link); f.st32(area, 0, S.patch); });
  f.ret(rec.get());
  f.unreachable();
  return f;
}

/** For translations: the record to go on with at a virtual address; every way there passes the attention check. */
export function jumpToFunction(area: number, lookup: FuncRef): Fn {
  const f = new Fn(LOOKUP), rip = f.param(0, 'i64').get();
  f.st64(area, rip, S.rip);
  f.st32(area, 0, S.current);
  f.if(ld64(area, S.attention).ne(0), () => { f.st32(area, 1, S.noticed); f.st32(area, EXIT.attention, S.exit); f.ret(i32(area + S.exitRecord)); });
  f.ret(f.call(lookup, rip));
  f.unreachable();
  return f;
}
export const FOLLOW: Signature = { params: ['i32'], results: ['i32'] };
/** For translations: the record behind a direct branch (or the end of a block) whose link is not known, or must not be taken. */
export function followFunction(area: number, jumpTo: FuncRef): Fn {
  const f = new Fn(FOLLOW), rec = f.param(0, 'i32').get(), target = f.let(ld64from32s(rec, R.target));
  // Within the page the lookup may patch the link: the page's records live and die together.
  f.if(target.and(-4096n).eqz(), () => f.st32(area, rec, S.patch));
  const rip = f.let(ld64(area, S.regs + SLOT.pageBase).add(target).and(select(ld32(area, S.compat), i64(0xffffffffn), i64(-1n))));
  f.ret(f.call(jumpTo, rip));
  f.unreachable();
  return f;
}
