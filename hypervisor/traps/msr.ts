// Model-specific registers of a PV guest. One row per register; what has no row is a general protection fault, as
// guests that probe expect.
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { ARCH_CAPABILITIES } from './cpuid.ts';
import { isCanonicalAddress } from '../mm/address.ts';

interface Msr {
  /** undefined: #GP. */
  readonly read?: (ctx: VcpuContext) => bigint;
  /** false: #GP. */
  readonly write?: (ctx: VcpuContext, value: bigint) => boolean;
}

const EFER_VALUE = 0xd01n; // SCE, LME, LMA, NXE
const PAT_VALUE = 0x0000_0501_0007_0406n;
const APIC_BASE_ENABLE_DEFAULT = 0xfee0_0800n, APIC_BASE_BSP = 0x100n;
/** Fast strings; branch trace and PEBS unavailable; xTPR disabled. */
const MISC_ENABLE_VALUE = 0x0080_1801n;
const SPEC_CTRL_ALLOWED = 0x403n; // IBRS, STIBP, BHI_DIS_S

const constant = (value: bigint): Msr => ({ read: () => value, write: (_ctx, written) => written === value });
const base = (read: (ctx: VcpuContext) => bigint, set: (ctx: VcpuContext, value: bigint) => void): Msr => ({
  read,
  write(ctx, value) {
    if (!isCanonicalAddress(value)) return false;
    set(ctx, value);
    return true;
  },
});

const MSRS: ReadonlyMap<number, Msr> = new Map<number, Msr>([
  [0x10, { read: (ctx) => ctx.systemTimeNs() }], // TSC
  [0x1b, { read: (ctx) => APIC_BASE_ENABLE_DEFAULT | (ctx.vcpuId === 0 ? APIC_BASE_BSP : 0n) }],
  [0x48, { read: (ctx) => ctx.pv.specCtrl, write(ctx, v) { if ((v & ~SPEC_CTRL_ALLOWED) !== 0n) return false; ctx.pv.specCtrl = v; return true; } }],
  [0x49, { write: (_ctx, v) => (v & ~1n) === 0n }], // PRED_CMD: nothing is predicted
  [0x8b, { read: () => 0n, write: (_ctx, v) => v === 0n }], // UCODE_REV
  [0xce, constant(0n)], // PLATFORM_INFO
  [0x10a, { read: () => ARCH_CAPABILITIES }],
  [0x140, constant(0n)], // MISC_FEATURES_ENABLES
  [0x1a0, constant(MISC_ENABLE_VALUE)],
  [0x277, constant(PAT_VALUE)],
  [0xc000_0080, constant(EFER_VALUE)],
  [0xc000_0100, base((ctx) => ctx.processor.fsBase, (ctx, v) => { ctx.processor.fsBase = v; })],
  [0xc000_0101, base((ctx) => ctx.processor.gsBase, (ctx, v) => { ctx.pv.gsBaseKernel = v; ctx.processor.gsBase = v; })],
  [0xc000_0102, base((ctx) => ctx.pv.gsBaseUser, (ctx, v) => { ctx.pv.gsBaseUser = v; })],
  [0xc000_0103, { read: (ctx) => BigInt(ctx.processor.tscAux), write(ctx, v) { if (v >> 32n !== 0n) return false; ctx.processor.tscAux = Number(v); return true; } }],
]);

/** RDMSR in guest-kernel mode: undefined means #GP. */
export const readMsr = (ctx: VcpuContext, index: number): bigint | undefined => MSRS.get(index)?.read?.(ctx);
/** WRMSR in guest-kernel mode: false means #GP. */
export const writeMsr = (ctx: VcpuContext, index: number, value: bigint): boolean => MSRS.get(index)?.write?.(ctx, value) ?? false;
