// Debug registers with Xen's restrictions: no breakpoint in the hypervisor's hole, no general detect, I/O breakpoints
// only with CR4.DE.
import { ENODEV, EPERM } from '../public/errno.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { addressOk } from '../mm/address.ts';
import { BREAKPOINT_BYTES } from '../cpu/watches.ts';
import { CR4 } from './pv-state.ts';

const DR6_RESERVED_ZERO = 0xffff_ffff_0000_1000n, DR6_RESERVED_ONE = 0xffff_0ff0n;
const DR7_RESERVED_ZERO = 0xffff_ffff_0000_d800n, DR7_RESERVED_ONE = 0x400n, DR7_GENERAL_DETECT = 0x2000n;
const IO_BREAKPOINT = 2n;

const debugExtensions = (ctx: VcpuContext): boolean => (ctx.pv.cr4 & CR4.DE) !== 0n;
/** DR4 and DR5 are other names of DR6 and DR7 unless CR4.DE takes the names away. */
function resolve(ctx: VcpuContext, reg: number): number {
  if (reg !== 4 && reg !== 5) return reg;
  return debugExtensions(ctx) ? -1 : reg + 2;
}

function checkDr7(ctx: VcpuContext, value: bigint): bigint | undefined {
  const fixed = (value & ~DR7_RESERVED_ZERO) | DR7_RESERVED_ONE;
  if ((fixed & DR7_GENERAL_DETECT) !== 0n) return undefined;
  for (let i = 0n; i < 4n; i++) {
    const enabled = ((fixed >> (2n * i)) & 3n) !== 0n;
    if (enabled && ((fixed >> (16n + 4n * i)) & 3n) === IO_BREAKPOINT && !debugExtensions(ctx)) return undefined;
  }
  return fixed;
}

/** 0, or -EPERM, -ENODEV as Xen's set_debugreg. */
export function setDebugRegister(ctx: VcpuContext, number: number, value: bigint): number {
  const reg = resolve(ctx, number);
  const { processor } = ctx;
  if (reg >= 0 && reg <= 3) {
    if (!addressOk(value)) return -EPERM;
    processor.setDebugRegister(reg, value);
    return 0;
  }
  if (reg === 6) { processor.setDebugRegister(6, (value & ~DR6_RESERVED_ZERO) | DR6_RESERVED_ONE); return 0; }
  if (reg !== 7) return -ENODEV;
  const control = checkDr7(ctx, value);
  if (control === undefined) return -EPERM;
  processor.setDebugRegister(7, control);
  return 0;
}

/** Bits of DR6 for an emulated access to ports; the processor knows only addresses. */
export function portBreakpoints(ctx: VcpuContext, port: number, bytes: number): bigint {
  const { debug } = ctx.processor, control = debug[7]!;
  if ((control & 0xffn) === 0n || !debugExtensions(ctx)) return 0n;
  let hits = 0n;
  for (let n = 0; n < 4; n++) {
    const enabled = (control >> BigInt(2 * n) & 3n) !== 0n, condition = control >> BigInt(16 + 4 * n) & 3n;
    const width = BREAKPOINT_BYTES[Number(control >> BigInt(18 + 4 * n) & 3n)]!, start = Number(debug[n]!);
    if (enabled && condition === IO_BREAKPOINT && start < port + bytes && start + width > port) hits |= 1n << BigInt(n);
  }
  return hits;
}

export function getDebugRegister(ctx: VcpuContext, number: number): bigint | undefined {
  const reg = resolve(ctx, number);
  return (reg >= 0 && reg <= 3) || reg === 6 || reg === 7 ? ctx.processor.debug[reg] : undefined;
}

