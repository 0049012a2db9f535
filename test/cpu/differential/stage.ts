// Memory behind the guest's frames where cases lie, and the WebAssembly that moves them: into the processor's state,
// out of it, and against the host's outcome. A case is some 1,200 bytes to put, to take and to compare; byte by byte
// in TypeScript that took longer than running it.
import type { MemoryLayout } from '../../../hypervisor/cpu/layout.ts';
import { areaOf, FLAG, S } from '../../../hypervisor/cpu/state.ts';
import { Fn, type I32, i32, ld128, ld16u, ld32, ld64, ModuleBuilder, type Signature, v128 } from '../../../hypervisor/cpu/wasm/builder.ts';
import { CASE, CASE_BYTES, CASE_WORDS, MAX_CASES, REGION_BYTES, REGION_PAGES, regionPattern, REGIONS, WINDOW, WORD } from './layout.ts';
import { COMPARED, FX_MASK } from './masks.ts';

/** Bytes of the pools that fresh states are cut from: general registers, x87 registers, vectors and memory. */
export const POOL = { gpr: 1 << 16, st: 1 << 16, vector: 1 << 18 } as const;
const GPR_BYTES = 128, XMM_BYTES = 256, ST_BYTES = 128, FX_BYTES = 512, XMM_AT = 160, ST_AT = 32;

interface Exports {
  /** A case with registers and memory from these places in the pools; x87 and vector registers only if `fp`. */
  fresh(slot: number, fp: number, gpr: number, xmm: number, st: number, data0: number, data1: number): void;
  /** A case's state and windows become the guest's. */
  enter(input: number): void;
  /** The guest's become the outcome's, and the windows what they were. Not 0 when memory beside them changed. */
  leave(input: number, output: number): number;
  /** Not 0 when two outcomes are equal in all that is ever compared. */
  equal(a: number, b: number): number;
}

/** Places (byte addresses), in the order in which they follow each other. */
interface Places { pristine: number; mask: number; template: number; frames: number; gprPool: number; stPool: number; vectorPool: number; slots: number; end: number }
function placesFrom(start: number): Places {
  let at = start;
  const take = (bytes: number): number => { const here = at; at += Math.ceil(bytes / 64) * 64; return here; };
  return {
    pristine: take(2 * REGION_BYTES), mask: take(CASE_BYTES), template: take(FX_BYTES), frames: take(32),
    gprPool: take(POOL.gpr), stPool: take(POOL.st), vectorPool: take(POOL.vector), slots: take(4 * MAX_CASES * CASE_BYTES + CASE_BYTES), end: at,
  };
}
/** 64-KiB pages that a memory needs for the guest and the stage behind it. */
export const pagesFor = (layout: MemoryLayout): number => Math.ceil(placesFrom(layout.totalBytes).end / 65536);

const copy = (f: Fn, to: I32, from: I32, bytes: number, toAt = 0, fromAt = 0): void => { for (let k = 0; k < bytes; k += 16) f.st128(to, ld128(from, fromAt + k), toAt + k); };
/** x87 registers between an FXSAVE image, which has them in stack order, and the processor's state, in physical order. */
function moveStack(f: Fn, from: I32, to: I32, direction: 1 | -1): void {
  const top = f.let(ld32(from).shrU(27).and(7)), live = v128(Array.from({ length: 16 }, (_, i) => i < 12 ? 255 : 0));
  for (let i = 0; i < 8; i++) f.st128(to.add((direction > 0 ? top.add(i) : i32(i).sub(top)).and(7).shl(4)), ld128(from, ST_AT + 16 * i).and(live), ST_AT);
}

function stageModule(area: number, p: Places): Uint8Array<ArrayBuffer> {
  const m = new ModuleBuilder(), PLACE: Signature = { params: ['i32', 'i32', 'i32', 'i32'], results: [] }, LIFT: Signature = { params: ['i32', 'i32', 'i32'], results: [] };
  const param = (f: Fn, n: number): I32 => f.param(n, 'i32').get();

  // place(region's frames, offset in the region, bytes, whether in the read-only page too)
  const place = m.declare(PLACE), lift = m.declare(LIFT);
  for (const up of [false, true]) {
    const f = new Fn(up ? LIFT : PLACE), frames = f.let(param(f, 0).add(param(f, 1).shrU(12).shl(2))), inPage = f.let(param(f, 1).and(4095)), data = param(f, 2);
    const memory = f.let(ld32(frames).add(inPage)), may = up ? i32(1) : param(f, 1).shrU(12).or(param(f, 3));
    f.if(inPage.leU(4096 - WINDOW), () => { if (up) copy(f, data, memory, WINDOW); else f.if(may, () => copy(f, memory, data, WINDOW)); }, () => {
      const here = f.let(i32(4096).sub(inPage)), next = f.let(ld32(frames, 4)), rest = f.let(i32(WINDOW).sub(here));
      if (up) { f.memoryCopy(data, memory, here); f.memoryCopy(data.add(here), next, rest); }
      else { f.if(may, () => f.memoryCopy(memory, data, here)); f.memoryCopy(next, data.add(here), rest); }
    });
    m.define(up ? lift : place, f);
  }
  const offset = (input: I32, r: number): I32 => ld32(input, CASE.window + 8 * r).sub(REGIONS[r]!), frames = (r: number): I32 => i32(p.frames + 16 * r);

  {
    const signature: Signature = { params: Array(7).fill('i32'), results: [] }, f = new Fn(signature), slot = param(f, 0);
    const zero = v128(Array(16).fill(0));
    for (const at of [0, 16, CASE.window]) f.st128(slot, zero, at);
    copy(f, slot, param(f, 2), GPR_BYTES, CASE.gpr);
    copy(f, slot, i32(p.template), FX_BYTES, CASE.fx);
    f.if(param(f, 1), () => {
      copy(f, slot, param(f, 3), XMM_BYTES, CASE.fx + XMM_AT);
      copy(f, slot, param(f, 4), ST_BYTES, CASE.fx + ST_AT);
    });
    for (const r of [0, 1]) copy(f, slot, param(f, 5 + r), WINDOW, CASE.data + r * WINDOW);
    m.define(m.declare(signature, 'fresh'), f);
  }
  {
    const signature: Signature = { params: ['i32'], results: [] }, f = new Fn(signature), input = param(f, 0);
    copy(f, i32(area), input, GPR_BYTES, S.regs, CASE.gpr);
    const fx = f.let(input.add(CASE.fx)), state = i32(area + S.fx);
    copy(f, state, fx, ST_AT);
    moveStack(f, fx, state, 1);
    copy(f, state, fx, XMM_BYTES, XMM_AT, XMM_AT);
    // hypervisor/cpu/flags.ts: any combination of flags as a result and a carry vector.
    const flags = f.let(ld32(input, CASE.rflags)), bit = (n: number): I32 => flags.shrU(n).and(1), zf = f.let(bit(6)), cf = f.let(bit(0));
    f.st64(i32(area), zf.xor(1).extU(), S.flagResult);
    f.st32(i32(area), bit(7).or(bit(2).xor(zf).shl(8)).or(bit(4).shl(3)), S.flagAux);
    f.st32(i32(area), cf.shl(31).or(cf.xor(bit(11)).shl(30)), S.flagAux + 4);
    f.st32(i32(area), flags.and(FLAG.DF | FLAG.IF), S.flagsOther);
    f.st64(i32(area), ld64(input, CASE.rip), S.rip);
    for (const r of [0, 1]) f.call(place, frames(r), offset(input, r), input.add(CASE.data + r * WINDOW), i32(0));
    m.define(m.declare(signature, 'enter'), f);
  }
  {
    const signature: Signature = { params: ['i32', 'i32'], results: ['i32'] }, f = new Fn(signature), input = param(f, 0), output = param(f, 1), state = i32(area);
    f.st64(output, ld64(state, S.rip), CASE.rip);
    copy(f, output, state, GPR_BYTES, CASE.gpr, S.regs);
    const result = f.let(ld32(state, S.flagResult)), aux = f.let(ld32(state, S.flagAux)), high = f.let(ld32(state, S.flagAux + 4)), cf = f.let(high.shrU(31));
    const parity = result.xor(aux.shrU(8)).and(255).popcnt().and(1).xor(1), zf = ld64(state, S.flagResult).eqz(), sf = ld32(state, S.flagResult + 4).shrU(31).xor(aux).and(1);
    f.st32(output, cf.or(parity.shl(2)).or(aux.shrU(3).and(1).shl(4)).or(zf.shl(6)).or(sf.shl(7)).or(cf.xor(high.shrU(30).and(1)).shl(11)).or(ld32(state, S.flagsOther)).or(2), CASE.rflags);
    f.st32(output, 0, CASE.rflags + 4);
    const fx = i32(area + S.fx), to = f.let(output.add(CASE.fx));
    copy(f, to, fx, ST_AT);
    moveStack(f, fx, to, -1);
    copy(f, to, fx, XMM_BYTES, XMM_AT, XMM_AT);
    const selector = (n: number): I32 => ld16u(state, S.selectors + 2 * n), pair = (a: number, b: number): I32 => selector(a).or(selector(b).shl(16));
    f.st32(output, pair(1, 2), CASE.window + 4);
    f.st32(output, pair(0, 3), CASE.window + 8);
    f.st32(output, pair(4, 5), CASE.window + 12);
    for (const r of [0, 1]) {
      const at = f.let(offset(input, r));
      f.call(lift, frames(r), at, output.add(CASE.data + r * WINDOW));
      f.call(place, frames(r), at, at.add(p.pristine + r * REGION_BYTES), i32(1));
    }
    // What changed beside the windows.
    const changed = f.local('v128'), k = f.local('i32'), UNROLLED = 8;
    f.set(changed, v128(Array(16).fill(0)));
    for (const r of [0, 1]) for (let page = 1; page < REGION_PAGES; page++) {
      const frame = f.let(ld32(frames(r), 4 * page));
      f.set(k, i32(0));
      f.loop(again => {
        const at = f.let(frame.add(k.get())), image = k.get();
        for (let n = 0; n < UNROLLED; n++) f.set(changed, changed.get().or(ld128(at, 16 * n).xor(ld128(image, p.pristine + r * REGION_BYTES + page * 4096 + 16 * n))));
        f.set(k, k.get().add(16 * UNROLLED));
        f.brIf(again, k.get().ltU(4096));
      });
    }
    f.ret(changed.get().toI32(83)); // v128.any_true
    f.unreachable();
    m.define(m.declare(signature, 'leave'), f);
  }
  {
    const signature: Signature = { params: ['i32', 'i32'], results: ['i32'] }, f = new Fn(signature), differs = f.local('v128');
    f.set(differs, v128(Array(16).fill(0)));
    for (let k = 0; k < CASE_BYTES; k += 16) f.set(differs, differs.get().or(ld128(param(f, 0), k).xor(ld128(param(f, 1), k)).and(ld128(i32(0), p.mask + k))));
    f.ret(differs.get().toI32(83).eqz());
    f.unreachable();
    m.define(m.declare(signature, 'equal'), f);
  }
  return m.build();
}

/** Where cases lie, and what moves them. */
export class Stage {
  readonly wasm: Exports;
  private readonly places: Places;
  private readonly buffer: SharedArrayBuffer;

  constructor(memory: WebAssembly.Memory, layout: MemoryLayout, vcpu: number) {
    const p = this.places = placesFrom(layout.totalBytes);
    this.buffer = memory.buffer as unknown as SharedArrayBuffer;
    const words = new Uint32Array(this.buffer), mask = words.subarray(p.mask / 4, p.mask / 4 + CASE_WORDS);
    [0, 1].forEach(r => new Uint8Array(this.buffer).set(regionPattern(r), p.pristine + r * REGION_BYTES));
    mask.fill(0xffffffff);
    mask[WORD.rflags] = COMPARED;
    mask.set(FX_MASK, WORD.fx);
    words[p.template / 4] = 0x37f;
    words[p.template / 4 + 6] = 0x1f80;
    words[p.template / 4 + 7] = 0xffff;
    this.wasm = new WebAssembly.Instance(new WebAssembly.Module(stageModule(areaOf(vcpu), p)), { e: { mem: memory } }).exports as unknown as Exports;
  }

  /** Fills a case from these byte offsets in the pools. */
  fresh(slot: number, fp: boolean, gpr: number, xmm: number, st: number, data0: number, data1: number): void {
    const p = this.places;
    this.wasm.fresh(slot, fp ? 1 : 0, p.gprPool + gpr, p.vectorPool + xmm, p.stPool + st, p.vectorPool + data0, p.vectorPool + data1);
  }
  /** Tells where the pages of the regions are: frames[region][page], physical addresses. */
  placeRegions(frames: readonly (readonly number[])[]): void {
    const at = new Uint32Array(this.buffer, this.places.frames, 8);
    frames.forEach((list, r) => at.set(list, 4 * r));
  }
  /** The n-th of four lists of MAX_CASES cases. */
  slots(n: number): Uint32Array<SharedArrayBuffer> { return new Uint32Array(this.buffer, this.places.slots + n * MAX_CASES * CASE_BYTES, MAX_CASES * CASE_WORDS); }
  /** One more case, of use to nobody. */
  scratch(): Uint32Array<SharedArrayBuffer> { return new Uint32Array(this.buffer, this.places.slots + 4 * MAX_CASES * CASE_BYTES, CASE_WORDS); }
  pool(name: keyof typeof POOL): Uint32Array<SharedArrayBuffer> { return new Uint32Array(this.buffer, this.places[`${name}Pool`], POOL[name] / 4); }
}
