// The helpers by number (helpers.ts): what handlers ask of TypeScript. A helper returns 0 for the handler to go on,
// anything else after it recorded an exit.
import { forms, SPECIAL_COUNT } from './decode.ts';
import { HELPER } from './helpers.ts';
import type { SoftwareProcessor } from './processor.ts';
import { R } from './record.ts';
import { FX, S, SLOT } from './state.ts';
import { sseInstruction } from './sse-helper.ts';
import { compareStrings } from './string-compare.ts';
import { restoreImage, saveImage, x87Instruction, x87Wait } from './x87-helper.ts';

const formOf = (cpu: SoftwareProcessor, rec: number) => forms[cpu.view.getUint16(rec + R.handler, true) - SPECIAL_COUNT]!;

export function runHelper(cpu: SoftwareProcessor, id: number, rec: number, p: number): number {
  switch (id) {
    case HELPER.div64: return divide(cpu, rec, false);
    case HELPER.idiv64: return divide(cpu, rec, true);
    case HELPER.loadSegment: {
      const selector = Number(cpu.slotValue(SLOT.temp) & 0xffffn), bad = p > 5 ? 6 : cpu.segments.load(p, selector);
      return bad ? cpu.raise(rec, bad, bad === 6 ? -1 : selector & 0xfffc) : 0;
    }
    case HELPER.loadFarPointer: {
      const selector = Number(cpu.slotValue(SLOT.temp) & 0xffffn), bad = cpu.segments.load(p, selector);
      return bad ? cpu.raise(rec, bad, selector & 0xfffc) : 0;
    }
    case HELPER.iret: return cpu.segments.iret(rec, formOf(cpu, rec).bits / 8);
    case HELPER.farTransfer: {
      const { mnemonic, bits } = formOf(cpu, rec);
      return cpu.segments.farTransfer(rec, mnemonic.startsWith('ret') ? 'ret' : mnemonic.startsWith('call') ? 'call' : 'jmp', bits / 8, p);
    }
    case HELPER.describe: cpu.segments.describe(p); return 0;
    case HELPER.decimal: decimal(cpu, p); return 0;
    case HELPER.stringCompare: stringCompare(cpu, rec, p); return 0;
    case HELPER.lockBus: cpu.lockBus(p); return 0;
    case HELPER.unlockBus: cpu.unlockBus(p); return 0;
    case HELPER.x87: return x87Instruction(cpu, rec, p !== 0);
    case HELPER.x87Wait: return x87Wait(cpu, rec);
    case HELPER.fxsave: return saveImage(cpu, p, formOf(cpu, rec).bits === 64);
    case HELPER.fxrstor: return restoreImage(cpu, rec, p, formOf(cpu, rec).bits === 64);
    case HELPER.sse: return sseInstruction(cpu, formOf(cpu, rec), rec, p);
    default: return cpu.raise(rec, 6);
  }
}

/** 128 by 64 bits; the divisor is in `temp` (sign-extended for IDIV). */
function divide(cpu: SoftwareProcessor, rec: number, signed: boolean): number {
  const whole = cpu.gpr[2]! << 64n | cpu.gpr[0]!;
  const n = signed ? BigInt.asIntN(128, whole) : whole, d = signed ? BigInt.asIntN(64, cpu.slotValue(SLOT.temp)) : cpu.slotValue(SLOT.temp);
  const q = n / d;
  if (signed ? BigInt.asIntN(64, q) !== q : q >> 64n !== 0n) return cpu.raise(rec, 0);
  cpu.gpr[0] = BigInt.asUintN(64, q);
  cpu.gpr[2] = BigInt.asUintN(64, n % d);
  return 0;
}

/** Operands at readScratch + 0x200; bit 0 of `how`: lengths in eax and edx, bit 1: mask to xmm0 instead of index to ecx. */
function stringCompare(cpu: SoftwareProcessor, rec: number, how: number): void {
  const at = cpu.area + S.readScratch + 0x200, control = cpu.view.getUint8(rec + R.imm), max = control & 1 ? 8 : 16;
  const wide = cpu.view.getUint8(rec + R.c) !== 0, magnitude = (v: bigint): bigint => v < 0n ? -v : v;
  const explicit = (n: number): number => {
    if (!(how & 1)) return -1;
    const length = magnitude(BigInt.asIntN(wide ? 64 : 32, cpu.gpr[n]!));
    return length > BigInt(max) ? max : Number(length);
  };
  const { mask, elements, length1, length2 } = compareStrings(cpu.bytes.slice(at, at + 16), cpu.bytes.slice(at + 16, at + 32), explicit(0), explicit(2), control);
  if (how & 2) {
    const xmm0 = cpu.area + S.fx + FX.xmm, bytes = 16 / elements;
    for (let i = 0; i < 16; i++) cpu.bytes[xmm0 + i] = control & 0x40 ? (mask >> Math.floor(i / bytes) & 1 ? 0xff : 0) : i < 2 ? mask >> 8 * i & 0xff : 0;
  } else cpu.gpr[1] = BigInt(mask === 0 ? elements : control & 0x40 ? 31 - Math.clz32(mask) : 31 - Math.clz32(mask & -mask));
  const flags = (mask ? 1 : 0) | (length2 < elements ? 0x40 : 0) | (length1 < elements ? 0x80 : 0) | (mask & 1 ? 0x800 : 0);
  cpu.rflags = cpu.rflags & ~0x8d5n | BigInt(flags);
}

/** DAA, DAS, AAA, AAS (compatibility mode only). */
function decimal(cpu: SoftwareProcessor, which: number): void {
  let flags = Number(cpu.rflags & 0x3fffffn);
  let al = Number(cpu.gpr[0]! & 0xffn), ah = Number(cpu.gpr[0]! >> 8n & 0xffn);
  const cf = flags & 1, af = flags & 16, adjust = (al & 15) > 9 || af !== 0, old = al;
  if (which < 2) {
    const sign = which === 0 ? 1 : -1;
    let carry = 0;
    if (adjust) { carry = cf | (sign > 0 ? Number(al > 0xf9) : Number(al < 6)); al = (al + sign * 6) & 0xff; }
    if (old > 0x99 || cf) { al = (al + sign * 0x60) & 0xff; carry = 1; }
    flags = flags & ~(1 | 16 | 0xc4) | carry | (adjust ? 16 : 0);
  } else {
    if (adjust) { const ax = ((ah << 8 | al) + (which === 2 ? 0x106 : -0x106)) & 0xffff; al = ax & 0xff; ah = ax >> 8; }
    flags = flags & ~(1 | 16 | 0xc4) | (adjust ? 17 : 0);
    al &= 15;
  }
  let parity = al ^ al >> 4; parity ^= parity >> 2; parity ^= parity >> 1;
  flags |= (al === 0 ? 64 : 0) | (al & 0x80) | (parity & 1 ? 0 : 4);
  cpu.gpr[0] = cpu.gpr[0]! & ~0xffffn | BigInt(ah << 8 | al);
  cpu.rflags = BigInt(flags);
}
