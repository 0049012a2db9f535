// Copying structures between a guest and the hypervisor: one copy in, then only the copy is looked at.
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { ACCESS } from '../cpu/processor-api.ts';
import { PAGE_BYTES } from '../cpu/layout.ts';
import { isCanonicalAddress } from './address.ts';
import { spaceOf } from './flush.ts';

/** Reads `bytes` bytes at a guest address: a view on a fresh copy, or undefined on a fault. */
export function copyIn(ctx: VcpuContext, va: bigint, bytes: number): DataView<ArrayBuffer> | undefined {
  const data = new Uint8Array(bytes);
  return isCanonicalAddress(va) && ctx.processor.readVirtual(va, data) ? new DataView(data.buffer) : undefined;
}

/** Copies aligned 64-bit words in: false on a fault. What lies within one page goes by without a copy between. */
export function copyInWords(ctx: VcpuContext, va: bigint, out: BigUint64Array<ArrayBuffer>, count: number): boolean {
  if (!isCanonicalAddress(va)) return false;
  const inPage = Number(va & 0xfffn);
  if ((inPage & 7) !== 0 || inPage + count * 8 > PAGE_BYTES) return ctx.processor.readVirtual(va, new Uint8Array(out.buffer, out.byteOffset, count * 8));
  const physical = ctx.processor.translate(va, ACCESS.read);
  if (physical < 0) return false;
  const { quads } = spaceOf(ctx), from = physical / 8;
  for (let i = 0; i < count; i++) out[i] = quads[from + i]!;
  return true;
}

/** Writes a 32-bit value; false on a fault. */
export function copyOut32(ctx: VcpuContext, va: bigint, value: number): boolean {
  const data = new Uint8Array(4);
  new DataView(data.buffer).setUint32(0, value, true);
  return isCanonicalAddress(va) && ctx.processor.writeVirtual(va, data);
}

/** Reads a 64-bit value; undefined on a fault. */
export const copyIn64 = (ctx: VcpuContext, va: bigint): bigint | undefined => (isCanonicalAddress(va) ? ctx.processor.read64(va) : undefined);

export function copyOut64(ctx: VcpuContext, va: bigint, value: bigint): boolean {
  return isCanonicalAddress(va) && ctx.processor.write64(va, value);
}

/** A bitmap of vCPUs in guest memory (vcpumask of mmuext_op and update_va_mapping), cut to the domain's vCPUs. */
export function copyVcpuMask(ctx: VcpuContext, va: bigint): bigint | undefined {
  const bytes = Math.ceil(ctx.layout.vcpus / 8);
  const data = copyIn(ctx, va, bytes);
  if (data === undefined) return undefined;
  let mask = 0n;
  for (let i = bytes - 1; i >= 0; i--) mask = (mask << 8n) | BigInt(data.getUint8(i));
  return mask & ((1n << BigInt(ctx.layout.vcpus)) - 1n);
}
