// The slow path of SSE floating point: instructions whose operands, results or MXCSR are not what WebAssembly's own
// arithmetic treats exactly as x86 does. Whole instructions, with all flags and #XM; the register stays as it was
// when an unmasked exception is raised.
import type { Form } from './insn.ts';
import type { SoftwareProcessor } from './processor.ts';
import { R } from './record.ts';
import { packedFlags, RELATION, reciprocal, reciprocalRoot, sseBinary, sseCompare, sseConvert, sseDotProduct, sseFromInteger, ssePredicate, sseRound, sseSqrt, sseToInteger, unmasked, type SseFormat, type SseOperation, type SseResult } from './softfloat/index.ts';
import { FLAG, FX, S } from './state.ts';

const XM = 19;
const ARITHMETIC_FLAGS = BigInt(FLAG.CF | FLAG.PF | FLAG.AF | FLAG.ZF | FLAG.SF | FLAG.OF);

/** One instruction at hand: where its operands are, and what it reports. */
class Slow {
  readonly cpu: SoftwareProcessor; readonly form: Form; readonly rec: number;
  /** Addresses of the first and second operand's bytes. */
  readonly a: number; readonly b: number;
  readonly imm: number; readonly mxcsr: number;

  constructor(cpu: SoftwareProcessor, form: Form, rec: number, p: number) {
    this.cpu = cpu; this.form = form; this.rec = rec;
    const place = (i: number): number => {
      const operand = form.operands[i], number = cpu.view.getUint8(rec + (i ? R.b : R.a));
      switch (operand?.kind) {
        case 'mem': return p;
        case 'xmm': return cpu.area + S.fx + FX.xmm + 16 * number;
        case 'mmx': return cpu.area + S.fx + FX.st + 16 * number;
        default: return cpu.area + S.regs + number;
      }
    };
    this.a = place(0);
    this.b = place(1);
    this.imm = cpu.view.getUint8(rec + R.imm);
    this.mxcsr = cpu.view.getUint32(cpu.area + S.fx + FX.mxcsr, true);
  }
  element(at: number, fmt: SseFormat, i: number): bigint { return fmt === 32 ? BigInt(this.cpu.view.getUint32(at + 4 * i, true)) : this.cpu.view.getBigUint64(at + 8 * i, true); }
  elements(at: number, fmt: SseFormat, count: number): bigint[] { return Array.from({ length: count }, (_, i) => this.element(at, fmt, i)); }
  signed(i: number, bits: number): bigint { return bits === 64 ? this.cpu.view.getBigInt64(this.b, true) : BigInt(this.cpu.view.getInt32(this.b + 4 * i, true)); }

  /** Notes flags; carries `write` out unless one of them is unmasked. */
  finish(flags: number, write: () => void): number {
    this.cpu.view.setUint32(this.cpu.area + S.fx + FX.mxcsr, this.mxcsr | flags, true);
    if (unmasked(this.mxcsr, flags)) return this.cpu.raise(this.rec, XM);
    write();
    return 0;
  }
  /** Results go to the destination's elements from 0 on; the rest keeps its value, or is cleared. */
  store(fmt: SseFormat, results: readonly SseResult[], clear = false): number {
    return this.finish(packedFlags(this.mxcsr, results.map(r => r.flags)), () => this.put(fmt, results.map(r => r.value), clear));
  }
  put(fmt: SseFormat, values: readonly bigint[], clear = false): void {
    const { view } = this.cpu, { a } = this;
    values.forEach((v, i) => { if (fmt === 32) view.setUint32(a + 4 * i, Number(v), true); else view.setBigUint64(a + 8 * i, v, true); });
    if (this.form.operands[0]!.kind === 'mmx') view.setUint16(a + 8, 0xffff, true);
    else if (clear) view.setBigUint64(a + 8, 0n, true);
  }
}
type Operation = (s: Slow) => number;
const operations = new Map<string, Operation>();
const def = (name: string, operation: Operation): void => { operations.set(name, operation); };

const SHAPES = [['ps', 32, 4], ['ss', 32, 1], ['pd', 64, 2], ['sd', 64, 1]] as const;
/** Element by element. */
const lanes = (fmt: SseFormat, count: number, f: (a: bigint, b: bigint, s: Slow) => SseResult): Operation => s => {
  const a = s.elements(s.a, fmt, count), b = s.elements(s.b, fmt, count);
  return s.store(fmt, a.map((v, i) => f(v, b[i]!, s)));
};
for (const [suffix, fmt, count] of SHAPES) {
  for (const op of ['add', 'sub', 'mul', 'div', 'min', 'max'] as const) def(op + suffix, lanes(fmt, count, (a, b, s) => sseBinary(op, fmt, a, b, s.mxcsr)));
  def(`sqrt${suffix}`, lanes(fmt, count, (_, b, s) => sseSqrt(fmt, b, s.mxcsr)));
  def(`round${suffix}`, lanes(fmt, count, (_, b, s) => sseRound(fmt, b, s.imm, s.mxcsr)));
  const ones = fmt === 32 ? 0xffffffffn : 0xffffffffffffffffn;
  def(`cmp${suffix}`, lanes(fmt, count, (a, b, s) => { const r = ssePredicate(fmt, a, b, s.imm & 7, s.mxcsr); return { value: r.value ? ones : 0n, flags: r.flags }; }));
}
for (const [suffix, fmt, count] of [['ps', 32, 4], ['pd', 64, 2]] as const) {
  for (const [name, op] of [['hadd', 'add'], ['hsub', 'sub']] as const) def(name + suffix, s => {
    const v = [...s.elements(s.a, fmt, count), ...s.elements(s.b, fmt, count)];
    return s.store(fmt, Array.from({ length: count }, (_, i) => sseBinary(op, fmt, v[2 * i]!, v[2 * i + 1]!, s.mxcsr)));
  });
  def(`addsub${suffix}`, s => {
    const b = s.elements(s.b, fmt, count);
    return s.store(fmt, s.elements(s.a, fmt, count).map((v, i) => sseBinary((i & 1 ? 'add' : 'sub') satisfies SseOperation, fmt, v, b[i]!, s.mxcsr)));
  });
  def(`dp${suffix}`, s => {
    const r = sseDotProduct(fmt, s.elements(s.a, fmt, count), s.elements(s.b, fmt, count), s.imm, s.mxcsr);
    return s.finish(r.flags, () => s.put(fmt, r.values));
  });
}
for (const [name, f] of [['rcp', reciprocal], ['rsqrt', reciprocalRoot]] as const) for (const [suffix, count] of [['ps', 4], ['ss', 1]] as const) {
  def(name + suffix, lanes(32, count, (_, b) => ({ value: BigInt(f(Number(b))), flags: 0 })));
}
for (const [name, fmt] of [['s', 32], ['d', 64]] as const) for (const signalling of [false, true]) {
  def(`${signalling ? '' : 'u'}comis${name}`, s => {
    const { relation, flags } = sseCompare(fmt, s.element(s.a, fmt, 0), s.element(s.b, fmt, 0), signalling, s.mxcsr);
    const result = relation === RELATION.unordered ? FLAG.ZF | FLAG.PF | FLAG.CF : relation === RELATION.less ? FLAG.CF : relation === RELATION.equal ? FLAG.ZF : 0;
    return s.finish(flags, () => { s.cpu.rflags = s.cpu.rflags & ~ARITHMETIC_FLAGS | BigInt(result); });
  });
}

// ---- conversions
const fromIntegers = (fmt: SseFormat, count: number): Operation => s => s.store(fmt, Array.from({ length: count }, (_, i) => sseFromInteger(fmt, s.signed(i, s.form.operands[1]!.bits), s.mxcsr)));
def('cvtsi2ss', fromIntegers(32, 1));
def('cvtsi2sd', fromIntegers(64, 1));
def('cvtdq2ps', s => s.store(32, Array.from({ length: 4 }, (_, i) => sseFromInteger(32, s.signed(i, 32), s.mxcsr))));
def('cvtpi2ps', s => s.store(32, Array.from({ length: 2 }, (_, i) => sseFromInteger(32, s.signed(i, 32), s.mxcsr))));
for (const t of ['t', '']) {
  const truncates = t !== '';
  for (const [name, fmt] of [['ss', 32], ['sd', 64]] as const) def(`cvt${t}${name}2si`, s => {
    const bits = s.form.operands[0]!.bits === 64 ? 64 : 32, r = sseToInteger(fmt, s.element(s.b, fmt, 0), bits, truncates, s.mxcsr);
    return s.finish(r.flags, () => s.cpu.view.setBigUint64(s.a, r.value, true));
  });
  const packed = (name: string, fmt: SseFormat, count: number): void => def(`cvt${t}${name}`, s => s.store(32, s.elements(s.b, fmt, count).map(v => sseToInteger(fmt, v, 32, truncates, s.mxcsr)), count === 2));
  packed('ps2dq', 32, 4);
  packed('pd2dq', 64, 2);
  packed('ps2pi', 32, 2);
  packed('pd2pi', 64, 2);
}
const convert = (name: string, from: SseFormat, to: SseFormat, count: number, clear: boolean): void => def(name, s => s.store(to, s.elements(s.b, from, count).map(v => sseConvert(from, to, v, s.mxcsr)), clear));
convert('cvtss2sd', 32, 64, 1, false);
convert('cvtsd2ss', 64, 32, 1, false);
convert('cvtps2pd', 32, 64, 2, false);
convert('cvtpd2ps', 64, 32, 2, true);

/** Carries out the instruction of a record; `p` is its memory operand's physical address. 0: done. */
export function sseInstruction(cpu: SoftwareProcessor, form: Form, rec: number, p: number): number {
  const operation = operations.get(form.mnemonic);
  if (!operation) throw new Error(`${form.mnemonic} has no slow path`);
  return operation(new Slow(cpu, form, rec, p));
}
