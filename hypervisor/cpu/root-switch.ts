// A change of root that keeps what both roots have in common: processes of a guest share their kernel's half of the
// address space, so a switch between them need not forget how the kernel is mapped.
import { BIT_IS_LOWER, S, TLB_BYTES, TLB_EMPTY, TLB_ENTRIES, TLB_ENTRY_BYTES, VIEW_BYTES } from './state.ts';
import { Fn, type I32, type Signature, i32, i64, ld64, type Label } from './wasm/builder.ts';

/** (view, physical address of the old L4, of the new one): 1 when the upper halves agree and only the lower one's TLB entries were flushed, else 0. */
export const SWITCH_ROOT: Signature = { params: ['i32', 'i32', 'i32'], results: ['i32'] };
const ENTRIES = 512, ENTRY_BYTES = 8;
/** Accessed and dirty: the walk sets them, they map nothing. */
const MAPS = ~0x60n;

export function switchRootFunction(area: number): Fn {
  const f = new Fn(SWITCH_ROOT), view = f.param(0, 'i32').get(), old = f.param(1, 'i32').get(), root = f.param(2, 'i32').get();
  const at = f.local('i32');
  f.set(at, i32(ENTRIES / 2 * ENTRY_BYTES));
  f.loop(again => {
    f.if(ld64(old.add(at.get())).xor(ld64(root.add(at.get()))).and(MAPS).ne(0), () => f.ret(i32(0)));
    f.set(at, at.get().add(ENTRY_BYTES));
    f.brIf(again, at.get().ltU(ENTRIES * ENTRY_BYTES));
  });
  // read, write and execute lie one behind the other.
  flushLower(f, f.let(view.mul(VIEW_BYTES).add(area + S.tlbs)), 3 * TLB_BYTES / TLB_ENTRY_BYTES);
  f.ret(i32(1));
  f.unreachable();
  return f;
}

/** Empties entries (64-bit address, then what it stands for) of the lower half; empty ones are not there. */
function flushLower(f: Fn, from: I32, entries: number): void {
  const at = f.local('i32'), end = f.let(from.add(entries * TLB_ENTRY_BYTES));
  const one = (offset: number): void => f.if(i64(0).sub(ld64(at.get(), offset)).shrS(BIT_IS_LOWER).eqz(), () => f.st64(at.get(), i64(TLB_EMPTY.minus), offset), undefined, false);
  f.set(at, from);
  f.loop((again: Label) => {
    one(0);
    one(TLB_ENTRY_BYTES);
    f.set(at, at.get().add(2 * TLB_ENTRY_BYTES));
    f.brIf(again, at.get().ltU(end));
  });
  for (let first = 0; first < entries; first += TLB_ENTRIES) for (const n of TLB_EMPTY.own) {
    const offset = (first + n) * TLB_ENTRY_BYTES;
    f.if(ld64(from, offset).eq(TLB_EMPTY.minus), () => f.st64(from, TLB_EMPTY.other, offset));
  }
}
