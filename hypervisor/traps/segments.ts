// Descriptor tables of a PV guest: its GDT is a list of typed frames, followed at entry 7168 by Xen's own flat
// segments; its LDT is read where the guest said it lies. (Selectors: public/arch-x86/xen-x86_64.h, MIT.)
import { ACCESS, VIEW } from '../cpu/processor-api.ts';
import { PAGE_BYTES } from '../cpu/layout.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { FIRST_RESERVED_GDT_ENTRY } from '../mm/gdt.ts';
import { _SEGMENT_CODE, _SEGMENT_DPL, _SEGMENT_L, _SEGMENT_P, _SEGMENT_S, checkDescriptor } from '../mm/descriptors.ts';

export const FLAT_RING3_CS32 = 0xe023, FLAT_RING3_CS64 = 0xe033, FLAT_RING3_SS64 = 0xe02b;

/** Xen's part of every GDT, by selector without RPL. */
const XEN_DESCRIPTORS: ReadonlyMap<number, bigint> = new Map([
  [0xe020, 0x00cf_fb00_0000_ffffn], // FLAT_RING3_CS32
  [0xe028, 0x00cf_f300_0000_ffffn], // FLAT_RING3_SS64
  [0xe030, 0x00af_fb00_0000_ffffn], // FLAT_RING3_CS64
]);

/** LDT contents are the guest's, unchecked until here: the same rules as for a GDT page, at the moment of use. */
function ldtDescriptor(ctx: VcpuContext, entry: number): bigint | undefined {
  if (entry >= ctx.pv.ldtEntries) return undefined;
  const at = ctx.processor.translate(ctx.pv.ldtBase + BigInt(entry * 8), ACCESS.read, VIEW.kernel);
  if (at < 0) return undefined;
  const low = ctx.processor.view.getUint32(at, true);
  const high = checkDescriptor(ctx.processor.view.getUint32(at + 4, true));
  return high < 0 ? undefined : (BigInt(high) << 32n) | BigInt(low);
}

/** ProcessorHost.descriptor: the 8 bytes a selector names, or undefined outside its table. */
export function lookupDescriptor(ctx: VcpuContext, selector: number): bigint | undefined {
  const entry = (selector & 0xffff) >>> 3;
  if ((selector & 4) !== 0) return ldtDescriptor(ctx, entry);
  if (entry >= FIRST_RESERVED_GDT_ENTRY) return XEN_DESCRIPTORS.get(selector & 0xfff8);
  const frame = ctx.pv.gdtFrames[entry >>> 9];
  if (entry >= ctx.pv.gdtEntries || frame === undefined) return undefined;
  return ctx.processor.view.getBigUint64(frame * PAGE_BYTES + (entry & 511) * 8, true);
}

export interface CodeSegment { readonly longMode: boolean }
const LONG: CodeSegment = { longMode: true };

const highHalf = (descriptor: bigint): number => Number(descriptor >> 32n);

/** A code segment that may be returned to at privilege 3, or undefined. */
export function codeSegment(ctx: VcpuContext, selector: number): CodeSegment | undefined {
  if (selector === FLAT_RING3_CS64) return LONG;
  const descriptor = (selector & 0xfffc) === 0 ? undefined : lookupDescriptor(ctx, selector);
  if (descriptor === undefined) return undefined;
  const high = highHalf(descriptor);
  const wanted = _SEGMENT_P | _SEGMENT_S | _SEGMENT_CODE | _SEGMENT_DPL;
  return (high & wanted) === wanted ? { longMode: (high & _SEGMENT_L) !== 0 } : undefined;
}

/** A stack segment that may be returned to: writable data at privilege 3; in 64-bit mode Xen's own flat one or any such. */
export function stackSegmentOk(ctx: VcpuContext, selector: number): boolean {
  if (selector === FLAT_RING3_SS64) return true;
  const descriptor = (selector & 0xfffc) === 0 ? undefined : lookupDescriptor(ctx, selector);
  if (descriptor === undefined) return false;
  const high = highHalf(descriptor);
  const wanted = _SEGMENT_P | _SEGMENT_S | _SEGMENT_DPL | (1 << 9);
  return (high & (wanted | _SEGMENT_CODE)) === wanted;
}
