// The helpers by number (helpers.ts): what handlers ask of TypeScript. A helper returns 0 for the handler to go on,
// anything else after it recorded an exit.
import { forms, SPECIAL_COUNT } from './decode.ts';
import { HELPER } from './helpers.ts';
import type { SoftwareProcessor } from './processor.ts';
import { R } from './record.ts';
import { SLOT } from './state.ts';
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
    case HELPER.x87: return x87Instruction(cpu, rec, p !== 0);
    case HELPER.x87Wait: return x87Wait(cpu, rec);
    case HELPER.fxsave: return saveImage(cpu, p, formOf(cpu, rec).bits === 64);
    case HELPER.fxrstor: return restoreImage(cpu, rec, p, formOf(cpu, rec).bits === 64);
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
