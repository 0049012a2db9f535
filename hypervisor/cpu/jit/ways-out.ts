// The ways out of a translation: functions of the interpreter's instance that a translation ends in a tail call of.
// They put flags into memory, where registers are already, and go on with a record, at a virtual address or along a
// direct branch. So each way out is a few bytes of a translation, and one piece of code for all.
import { SPECIAL } from '../decode.ts';
import { jumpHashCode } from '../mmu.ts';
import { R } from '../record.ts';
import { S, SLOT } from '../state.ts';
import { Fn, type FuncRef, type I32, type I64, type Signature, type Type, ld16u, ld32, ld64 } from '../wasm/builder.ts';
import { FLAG_SIZES, SETTLE, wordsOf } from './flag-state.ts';

/** Where to: a record; a virtual address; where the branch of a record leads; a block by its number, in the page that memory names. */
export const DESTINATIONS = ['record', 'jump', 'link', 'block'] as const;
export type Destination = typeof DESTINATIONS[number];
/** How the flags come along: they are in memory; as the two words; as inputs of an operation; as SETTLE's parameters. */
export const CARRIED = ['kept', 'words', ...FLAG_SIZES.flatMap(bits => [`add${bits}`, `sub${bits}`] as const), 'any'] as const;
export type Carried = typeof CARRIED[number];

const NAMES = Object.fromEntries(DESTINATIONS.map(to => [to, Object.fromEntries(CARRIED.map(c => [c, `${to}-${c}`]))])) as Readonly<Record<Destination, Readonly<Record<Carried, string>>>>;
export const wayOut = (to: Destination, carried: Carried): string => NAMES[to][carried];
export const flagTypes = (carried: Carried): readonly Type[] => carried === 'kept' ? [] : carried === 'words' ? ['i64', 'i64'] : carried === 'any' ? SETTLE.params : ['i64', 'i64', 'i64'];
export const wayOutSignature = (to: Destination, carried: Carried): Signature => ({ params: [...WHERE[to], ...flagTypes(carried)], results: [] });
/** A block's number and its first record. */
const WHERE: Readonly<Record<Destination, readonly Type[]>> = { record: ['i32'], jump: ['i64'], link: ['i32'], block: ['i32', 'i32'] };

/** Puts flags into memory that came along as a function's parameters from `first` on. */
export function storeFlags(f: Fn, area: number, carried: Carried, first: number, settle: FuncRef): void {
  const flag = (n: number): I64 => f.param(n + first, 'i64').get();
  const store = (w: { readonly result: I64; readonly aux: I64 }): void => { f.st64(area, w.result, S.flagResult); f.st64(area, w.aux, S.flagAux); };
  const operation = /^(add|sub)(\d+)$/.exec(carried);
  if (operation) store(wordsOf(f, { kind: operation[1] as 'add', a: flag(0), b: flag(1), r: flag(2), bits: Number(operation[2]) as 8, plain: false }));
  else if (carried === 'words') store({ result: flag(0), aux: flag(1) });
  else if (carried === 'any') f.call(settle, ...SETTLE.params.map((type, n) => f.param(n + first, type).get()));
}

export function wayOutFunction(area: number, to: Destination, carried: Carried, im: { readonly handlerType: number; readonly jumpTo: FuncRef; readonly follow: FuncRef; readonly settle: FuncRef }): Fn {
  const signature = wayOutSignature(to, carried), f = new Fn(signature);
  storeFlags(f, area, carried, WHERE[to].length, im.settle);

  const dispatch = (record: I32): void => f.tailCallIndirect(im.handlerType, ld16u(record), record);
  const calm = (): I32 => ld64(area, S.attention).eqz(), target = f.local('i32');
  if (to === 'record') dispatch(f.param(0, 'i32').get());
  if (to === 'link') {
    const record = f.param(0, 'i32').get();
    f.set(target, ld32(record, R.link));
    f.if(target.get().eqz().or(calm().eqz()), () => f.set(target, f.call(im.follow, record)), undefined, false);
    dispatch(target.get());
  }
  if (to === 'jump') {
    const rip = f.param(0, 'i64').get(), cached = f.let(jumpHashCode(rip.wrap()).add(ld32(area, S.jumps)));
    f.if(ld64(cached).eq(rip.xor(ld64(area, S.jumpTag))).and(calm()), () => {
      const number = f.let(ld32(cached, 12));
      f.set(target, ld32(cached, 8));
      f.st64(area, rip.and(-4096n), S.regs + SLOT.pageBase);
      // Not by way of the record, which may have to come from far: its number is known here from the second time on.
      f.if(number.ne(SPECIAL.dispatch), () => f.tailCallIndirect(im.handlerType, number, target.get()), undefined, true);
      f.if(ld16u(target.get()).eq(SPECIAL.translated), () => f.st32(cached, ld32(target.get(), R.number), 12));
    }, () => f.set(target, f.call(im.jumpTo, rip)), true);
    dispatch(target.get());
  }
  if (to === 'block') {
    const number = f.param(0, 'i32').get(), record = f.param(1, 'i32').get();
    f.if(calm(), () => f.tailCallIndirect(im.handlerType, number, record), undefined, true);
    f.set(target, f.call(im.jumpTo, ld64(area, S.regs + SLOT.pageBase).add(ld16u(record, R.offset).extU())));
    dispatch(target.get());
  }
  return f;
}
