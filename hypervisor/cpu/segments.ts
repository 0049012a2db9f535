// Segment registers: descriptor loads, far transfers, IRET, and what LAR, LSL, VERR and VERW ask.
import { SEG } from './processor-api.ts';
import { FLAG, SEGMENT_SLOT, SLOT } from './state.ts';
import type { SoftwareProcessor } from './processor.ts';
import { R } from './record.ts';

const base = (d: bigint): bigint => (d >> 16n & 0xffffffn) | (d >> 32n & 0xff000000n);
const limit = (d: bigint): number => {
  const raw = Number((d & 0xffffn) | (d >> 32n & 0xf0000n));
  return d >> 55n & 1n ? (raw * 4096 + 4095) >>> 0 : raw;
};
const access = (d: bigint): number => Number(d >> 40n & 0xffn);
const isCode = (a: number): boolean => (a & 0x18) === 0x18;

export class SegmentUnit {
  private readonly cpu: SoftwareProcessor;
  /** Bases of es cs ss ds as their descriptors say; in force in compatibility mode only. */
  private readonly bases = [0n, 0n, 0n, 0n];
  constructor(cpu: SoftwareProcessor) { this.cpu = cpu; }

  /** Puts the bases in force for the mode into their slots. */
  placeBases(): void {
    this.bases.forEach((b, n) => this.cpu.setSlotValue(SEGMENT_SLOT[n]!, this.cpu.longMode ? 0n : b));
  }
  /** Loads a data segment register: 0, or the vector to raise with the selector as error code. */
  load(segment: number, selector: number): number {
    const b = this.check(segment, selector);
    if (typeof b === 'number') return b;
    this.set(segment, selector, b);
    return 0;
  }
  /** The base a data segment load would set, or the vector it would raise. */
  private check(segment: number, selector: number): bigint | number {
    const { cpu } = this;
    // Only inner rings may have a null stack segment.
    if ((selector & 0xfffc) === 0) return segment === SEG.ss ? 13 : 0n;
    const d = cpu.host.descriptor(selector);
    if (d === undefined) return 13;
    const a = access(d);
    const usable = (a & 0x10) !== 0 && (segment === SEG.ss ? (a & 0x0a) === 2 && (a >> 5 & 3) === 3 && (selector & 3) === 3 : !isCode(a) || (a & 2) !== 0) && ((a >> 5 & 3) === 3 || (isCode(a) && (a & 4) !== 0));
    if (!usable) return 13;
    if (!(a & 0x80)) return segment === SEG.ss ? 12 : 11;
    return base(d);
  }
  private set(segment: number, selector: number, b: bigint): void {
    const { cpu } = this;
    cpu.selectors[segment] = selector;
    if (segment === SEG.fs) cpu.fsBase = b;
    else if (segment === SEG.gs) cpu.gsBase = b;
    else { this.bases[segment] = b; if (!cpu.longMode) cpu.setSlotValue(SEGMENT_SLOT[segment]!, b); }
  }
  /** Loads cs at the same privilege, for a target offset: 0, or the vector to raise. `more` is checked last. */
  loadCode(selector: number, offset: bigint, more = (): number => 0): number {
    const { cpu } = this, d = (selector & 0xfffc) === 0 || (selector & 3) !== 3 ? undefined : cpu.host.descriptor(selector);
    if (d === undefined) return 13;
    const a = access(d), long = (d >> 53n & 1n) === 1n, big = (d >> 54n & 1n) === 1n;
    if (!isCode(a) || !(a & 0x10) || (a & 4 ? false : (a >> 5 & 3) !== 3) || long && big) return 13;
    if (!(a & 0x80)) return 11;
    if (long ? BigInt.asIntN(48, offset) !== BigInt.asIntN(64, offset) : BigInt.asUintN(64, offset) > 0xffffffffn) return 13;
    const last = more();
    if (last) return last;
    cpu.selectors[SEG.cs] = selector;
    this.bases[SEG.cs] = base(d);
    cpu.longMode = long;
    this.placeBases();
    return 0;
  }

  private read(va: bigint, bytes: number): bigint | undefined {
    if (bytes === 8) return this.cpu.read64(va);
    const b = new Uint8Array(bytes);
    if (!this.cpu.readVirtual(va, b)) return undefined;
    return b.reduceRight((v, x) => v << 8n | BigInt(x), 0n);
  }
  private stack(index: number, bytes: number): bigint | undefined {
    const { cpu } = this, sp = cpu.gpr[4]! + BigInt(index * bytes);
    return this.read(cpu.longMode ? sp : (sp & 0xffffffffn) + cpu.slotValue(SLOT.ssBase), bytes);
  }
  private fault(rec: number): number { return this.cpu.raise(rec, this.cpu.vector, this.cpu.errorCode); }

  /** IRET to the same privilege level (CPL 3 knows no other). */
  iret(rec: number, bytes: number): number {
    const { cpu } = this, count = cpu.longMode || bytes === 8 ? 5 : 3, v: bigint[] = [];
    for (let i = 0; i < count; i++) { const x = this.stack(i, bytes); if (x === undefined) return this.fault(rec); v.push(x); }
    const cs = Number(v[1]! & 0xffffn), sp = cpu.gpr[4]!;
    const ss = count === 5 ? Number(v[4]! & 0xffffn) : 0;
    const bad = this.loadCode(cs, v[0]!, () => { const b = count === 5 ? this.check(SEG.ss, ss) : 0n; return typeof b === 'number' ? b : 0; });
    if (bad) return cpu.raise(rec, bad, cs & 0xfffc);
    const may = FLAG.TF | FLAG.DF | FLAG.NT | (bytes === 2 ? 0 : FLAG.AC | FLAG.ID | FLAG.RF);
    cpu.rflags = cpu.rflags & ~BigInt(may | 0x8d5) | v[2]! & BigInt(may | 0x8d5);
    if (count === 5) { cpu.gpr[4] = v[3]!; this.load(SEG.ss, ss); } else cpu.gpr[4] = (sp + BigInt(3 * bytes)) & 0xffffffffn;
    cpu.goTo(cpu.longMode ? v[0]! : v[0]! & 0xffffffffn);
    return 0;
  }
  /** RETF, CALL FAR, JMP FAR. `kind` by mnemonic; the far pointer is in memory at p, in the record, or on the stack. */
  farTransfer(rec: number, kind: 'ret' | 'call' | 'jmp', bytes: number, p: number): number {
    const { cpu } = this, { view } = cpu;
    let offset: bigint, selector: number;
    if (kind === 'ret') {
      const a = this.stack(0, bytes), b = this.stack(1, bytes);
      if (a === undefined || b === undefined) return this.fault(rec);
      offset = a; selector = Number(b & 0xffffn);
    } else if (p) {
      offset = bytes === 8 ? view.getBigUint64(p, true) : bytes === 4 ? BigInt(view.getUint32(p, true)) : BigInt(view.getUint16(p, true));
      selector = view.getUint16(p + bytes, true);
    } else { offset = BigInt(view.getUint32(rec + R.disp, true)); selector = view.getUint32(rec + R.imm, true) & 0xffff; }
    const next = cpu.slotValue(SLOT.pageBase) + BigInt(view.getUint16(rec + R.offset, true) + view.getUint8(rec + R.length));
    const wasLong = cpu.longMode, oldCs = cpu.selectors[SEG.cs]!, sp = cpu.gpr[4]!;
    if (kind === 'call') {
      const out = new Uint8Array(2 * bytes), dv = new DataView(out.buffer);
      if (bytes === 8) { dv.setBigUint64(0, next, true); dv.setBigUint64(8, BigInt(oldCs), true); }
      else if (bytes === 4) { dv.setUint32(0, Number(next & 0xffffffffn), true); dv.setUint32(4, oldCs, true); }
      else { dv.setUint16(0, Number(next & 0xffffn), true); dv.setUint16(2, oldCs, true); }
      const to = sp - BigInt(2 * bytes);
      if (!cpu.host.descriptor(selector)) return cpu.raise(rec, 13, selector & 0xfffc);
      if (!cpu.writeVirtual(wasLong ? to : (to & 0xffffffffn) + cpu.slotValue(SLOT.ssBase), out)) return this.fault(rec);
      cpu.gpr[4] = wasLong ? to : to & 0xffffffffn;
    }
    // Calls and jumps stay at their privilege whatever the selector asks; returns must name it.
    const bad = this.loadCode(kind === 'ret' || (selector & 0xfffc) === 0 ? selector : selector | 3, offset);
    if (bad) { cpu.gpr[4] = sp; return cpu.raise(rec, bad, selector & 0xfffc); }
    if (kind === 'ret') {
      const up = sp + BigInt(2 * bytes) + BigInt(view.getInt32(rec + R.imm, true));
      cpu.gpr[4] = wasLong ? up : up & 0xffffffffn;
    }
    cpu.goTo(cpu.longMode ? offset : offset & 0xffffffffn);
    return 0;
  }
  /** LAR 0, LSL 1, VERR 2, VERW 3 of the selector in `temp`: answer in `temp`, ZF set when allowed. */
  describe(question: number): void {
    const { cpu } = this, selector = Number(cpu.slotValue(SLOT.temp) & 0xffffn);
    const d = (selector & 0xfffc) === 0 ? undefined : cpu.host.descriptor(selector);
    let ok = false;
    if (d !== undefined) {
      const a = access(d), dpl = a >> 5 & 3, conforming = isCode(a) && (a & 4) !== 0;
      const visible = conforming || dpl >= 3;
      if ((a & 0x10) && visible) {
        if (question === 0) { ok = true; cpu.setSlotValue(SLOT.temp, d >> 32n & 0x00ffff00n); }
        else if (question === 1) { ok = true; cpu.setSlotValue(SLOT.temp, BigInt(limit(d))); }
        else if (question === 2) ok = !isCode(a) || (a & 2) !== 0;
        else ok = !isCode(a) && (a & 2) !== 0;
      }
    }
    cpu.rflags = ok ? cpu.rflags | 64n : cpu.rflags & ~64n;
  }
}
