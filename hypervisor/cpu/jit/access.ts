// Memory accesses of small translations: functions of the interpreter's instance, which look at the TLB too. In a large
// translation that look is inline; in a small one, that runs some hundred times, the room it takes costs more than
// a call: programs without a hot spot run as fast as their code comes from the processor's caches.
import { ACCESS } from '../processor-api.ts';
import { FROM_STACK } from '../mmu.ts';
import { S, TLB_BYTES } from '../state.ts';
import { Fn, type FuncRef, type I64, type Signature, i32, i64Words, ld32, ld64 } from '../wasm/builder.ts';
import { CARRIED, type Carried, flagTypes, storeFlags } from './ways-out.ts';

/** Only what the TLB knows: else the instruction is the interpreter's. */
export const ALONE = FROM_STACK << 1;
const BYTES_SHIFT = 8, BYTES_MASK = 0xffff;

const named = (kind: string): Readonly<Record<Carried, string>> => Object.fromEntries(CARRIED.map(c => [c, `${kind}-${c}`])) as Record<Carried, string>;
const READS = named('read'), WRITES = named('write');
export const access = (write: boolean, carried: Carried): string => (write ? WRITES : READS)[carried];
/**
 * (virtual address, record << 32 | flags | bytes << 8 | kind, flags as they are carried) -> physical address. 0 when the
 * translation has to be left, to the record in S.leaveTo (mmu.ts, REACH): flags are in memory then.
 */
export const accessSignature = (carried: Carried): Signature => ({ params: ['i64', 'i64', ...flagTypes(carried)], results: ['i32'] });
export const whatOf = (record: number, write: boolean, bytes: number, more: number): I64 => i64Words(record, (write ? ACCESS.write : ACCESS.read) | bytes << BYTES_SHIFT | more);

export function accessFunction(area: number, write: boolean, carried: Carried, im: { readonly reach: FuncRef; readonly settle: FuncRef }): Fn {
  const f = new Fn(accessSignature(carried)), va = f.param(0, 'i64').get(), word = f.param(1, 'i64').get(), tlb = write ? TLB_BYTES : 0;
  const entry = f.let(ld32(area, S.tlb).add(va.wrap().shrU(8).and(0x3ff0))), bytes = word.wrap().shrU(BYTES_SHIFT).and(BYTES_MASK);
  f.if(ld64(entry, tlb).add(va).gtU(i32(4096).sub(bytes).extU()), () => {
    const what = f.let(word.wrap()), record = f.let(word.shrU(32).wrap()), p = f.local('i32');
    f.if(what.and(ALONE), () => { f.st32(area, record, S.leaveTo); f.set(p, i32(0)); }, () => f.set(p, f.callValue(im.reach, va, what.and(ALONE - 1), record).add(1)));
    f.if(p.get().eqz(), () => storeFlags(f, area, carried, 2, im.settle));
    f.ret(p.get());
  }, undefined, false);
  f.ret(va.wrap().add(ld32(entry, tlb + 8)));
  f.unreachable();
  return f;
}
