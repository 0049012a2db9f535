// Between the interpreter and the x87 unit: memory operands, faults, flags.
import type { SoftwareProcessor } from './processor.ts';
import { R } from './record.ts';
import { S, SLOT } from './state.ts';
import { fxrstor, fxsave, FXSAVE_BYTES, x87Execute, x87Operand, x87Pending, X87State } from './x87/index.ts';

const states = new WeakMap<SoftwareProcessor, X87State>();
/** The x87 unit's view of a processor's state. */
export function x87StateOf(cpu: SoftwareProcessor): X87State {
  let s = states.get(cpu);
  if (!s) states.set(cpu, s = new X87State(cpu.view, cpu.area + S.fx));
  return s;
}
const MF = 16, UD = 6, GP = 13;
const FLAGS = 0x8d5n;

/** One instruction D8..DF; its memory operand's address is in `temp`. */
export function x87Instruction(cpu: SoftwareProcessor, rec: number, memory: boolean): number {
  const { view } = cpu, state = x87StateOf(cpu);
  const opcode = view.getUint8(rec + R.a), modrm = view.getUint8(rec + R.b), operand16 = view.getUint8(rec + R.c) !== 0;
  const operand = x87Operand(opcode, modrm, operand16);
  if (!operand) return cpu.raise(rec, UD);
  if (x87Pending(state, opcode, modrm)) return cpu.raise(rec, MF);
  const address = cpu.slotValue(SLOT.temp), va = BigInt.asIntN(64, address);
  let to = 0, bytes: Uint8Array | undefined;
  if (memory && operand.load) {
    const p = cpu.wasm.translate(va, operand.load << 8, rec) >>> 0;
    if (!p) return 1;
    bytes = cpu.bytes.slice(p, p + operand.load);
  }
  if (memory && operand.store) {
    to = cpu.wasm.translate(va, 1 | operand.store << 8, rec) >>> 0;
    if (!to) return 1;
  }
  const rip = cpu.slotValue(SLOT.pageBase) + BigInt(view.getUint16(rec + R.offset, true));
  const result = x87Execute(state, opcode, modrm, memory ? { ...(bytes ? { bytes } : {}), operand16, address } : null, { eflags: Number(cpu.rflags & 0xffffn), rip });
  if (result.status === 'undefined') return cpu.raise(rec, UD);
  if (result.status === 'pending') return cpu.raise(rec, MF);
  if (result.store && to) {
    cpu.bytes.set(result.store, to);
    if (to === cpu.area + S.scratch) cpu.wasm.commit();
  }
  if (result.eflags !== undefined) cpu.rflags = cpu.rflags & ~FLAGS | BigInt(result.eflags);
  if (result.ax !== undefined) cpu.gpr[0] = cpu.gpr[0]! & ~0xffffn | BigInt(result.ax);
  return 0;
}
export const x87Wait = (cpu: SoftwareProcessor, rec: number): number => x87StateOf(cpu).pending ? cpu.raise(rec, MF) : 0;

/** FXSAVE and FXRSTOR of the 512 bytes at a physical address; `wide` with REX.W. */
export function saveImage(cpu: SoftwareProcessor, p: number, wide: boolean): number {
  fxsave(x87StateOf(cpu), cpu.bytes.subarray(p, p + FXSAVE_BYTES), { wide, longMode: cpu.longMode });
  return 0;
}
export function restoreImage(cpu: SoftwareProcessor, rec: number, p: number, wide: boolean): number {
  return fxrstor(x87StateOf(cpu), cpu.bytes.slice(p, p + FXSAVE_BYTES), { wide, longMode: cpu.longMode }) ? 0 : cpu.raise(rec, GP, 0);
}
