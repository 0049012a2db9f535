// A vCPU's registers as the debug interface carries them (public/debug.ts REGISTERS).
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { REGISTERS, REGISTERS_BYTES } from '../public/debug.ts';
import { mfnOf } from '../public/types.ts';

/** Flags a debugger may change: the arithmetic ones, DF, AC, ID. */
const WRITABLE_FLAGS = 0x2404d5n | 0x800n;
const FX_BYTES = 512;

const viewOf = (block: Uint8Array): DataView => new DataView(block.buffer, block.byteOffset, REGISTERS_BYTES);

export function readRegisters(ctx: VcpuContext): Uint8Array {
  const { processor: p, pv } = ctx, out = new Uint8Array(REGISTERS_BYTES), view = viewOf(out);
  for (let i = 0; i < 16; i++) view.setBigUint64(REGISTERS.gpr + 8 * i, p.gpr[i]!, true);
  view.setBigUint64(REGISTERS.rip, p.rip, true);
  view.setBigUint64(REGISTERS.rflags, p.rflags, true);
  view.setBigUint64(REGISTERS.fsBase, p.fsBase, true);
  view.setBigUint64(REGISTERS.gsBase, p.gsBase, true);
  for (let i = 0; i < 6; i++) view.setUint16(REGISTERS.selectors + 2 * i, p.selectors[i]!, true);
  out[REGISTERS.kernelMode] = pv.kernelMode ? 1 : 0;
  out[REGISTERS.longMode] = p.longMode ? 1 : 0;
  view.setBigUint64(REGISTERS.cr2, pv.cr2, true);
  const root = pv.kernelMode ? pv.kernelRoot : pv.userRoot;
  view.setBigUint64(REGISTERS.cr3, root < 0 ? 0n : BigInt(mfnOf(ctx.slot, root)) << 12n, true);
  p.fxsave(out.subarray(REGISTERS.fx, REGISTERS.fx + FX_BYTES));
  return out;
}

/** Everything but selectors, modes and control registers. An image of x87 and SSE that is not valid changes neither. */
export function writeRegisters(ctx: VcpuContext, block: Uint8Array): void {
  const { processor: p } = ctx, view = viewOf(block);
  for (let i = 0; i < 16; i++) p.gpr[i] = view.getBigUint64(REGISTERS.gpr + 8 * i, true);
  p.rip = view.getBigUint64(REGISTERS.rip, true);
  p.rflags = (p.rflags & ~WRITABLE_FLAGS) | (view.getBigUint64(REGISTERS.rflags, true) & WRITABLE_FLAGS);
  p.fsBase = view.getBigUint64(REGISTERS.fsBase, true);
  p.gsBase = view.getBigUint64(REGISTERS.gsBase, true);
  p.fxrstor(block.slice(REGISTERS.fx, REGISTERS.fx + FX_BYTES));
}
