// struct vcpu_guest_context (64-bit PV form, 5168 bytes; public/arch-x86/xen.h, MIT): the whole state a vCPU is brought
// up with by VCPUOP_initialise. The image is the guest's: it is checked field by field.
import { SEG, VIEW } from '../cpu/processor-api.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { EINVAL } from '../public/errno.ts';
import { addressOk, isCanonicalAddress, ownFrameIndex } from '../mm/address.ts';
import { newBasePointer, newUserBasePointer } from '../mm/base-pointer.ts';
import { flushLocal, spaceOf } from '../mm/flush.ts';
import { FIRST_RESERVED_GDT_ENTRY, installGdt } from '../mm/gdt.ts';
import { noteFlush } from '../mm/space.ts';
import { setDebugRegister } from './debug-registers.ts';
import { EFLAGS, IOPL_SHIFT, REG } from './mode.ts';
import { codeSegment } from './segments.ts';

export const VCPU_GUEST_CONTEXT_BYTES = 5168;

const OFFSET = {
  fpu: 0, flags: 512, userRegs: 520, traps: 720, ldtBase: 4816, ldtEntries: 4824, gdtFrames: 4832, gdtEntries: 4960, kernelSs: 4968,
  kernelSp: 4976, ctrlreg: 4984, debugreg: 5048, eventCallback: 5112, failsafeCallback: 5120, syscallCallback: 5128, fsBase: 5144,
  gsBaseKernel: 5152, gsBaseUser: 5160,
} as const;
/** Offsets in struct cpu_user_regs; the general registers come first, in this order, 8 bytes each. */
const GENERAL = [15, 14, 13, 12, 5, 3, 11, 10, 9, 8, 0, 1, 2, 6, 7];
const USER_REGS = { rip: 128, cs: 136, rflags: 144, rsp: 152, ss: 160, es: 168, ds: 176, fs: 184, gs: 192 } as const;
const VGCF_i387_valid = 1n, VGCF_in_kernel = 4n, VGCF_failsafe_disables_events = 8n, VGCF_syscall_disables_events = 16n;
const FPU_BYTES = 512, GDT_FRAMES = 16, MAX_LDT_ENTRIES = 8192n;

type Field = keyof typeof OFFSET;
const u64 = (image: DataView, field: Field, n = 0): bigint => image.getBigUint64(OFFSET[field] + n * 8, true);

function callbacksOk(image: DataView): boolean {
  const addresses = [u64(image, 'eventCallback'), u64(image, 'failsafeCallback'), u64(image, 'syscallCallback'), u64(image, 'fsBase'),
    u64(image, 'gsBaseKernel'), u64(image, 'gsBaseUser')];
  for (let v = 0; v < 256; v++) addresses.push(image.getBigUint64(OFFSET.traps + v * 16 + 8, true));
  return addresses.every(isCanonicalAddress);
}

function ldtOk(image: DataView): boolean {
  const base = u64(image, 'ldtBase');
  const entries = u64(image, 'ldtEntries');
  return entries === 0n || (entries <= MAX_LDT_ENTRIES && (base & 0xfffn) === 0n && addressOk(base));
}

function loadTables(ctx: VcpuContext, image: DataView): number {
  const entries = u64(image, 'gdtEntries');
  if (entries > BigInt(FIRST_RESERVED_GDT_ENTRY) || entries > BigInt(GDT_FRAMES * 512)) return -EINVAL;
  const frames = Array.from({ length: Math.ceil(Number(entries) / 512) }, (_, i) => u64(image, 'gdtFrames', i));
  const user = u64(image, 'ctrlreg', 1), inKernel = (u64(image, 'flags') & VGCF_in_kernel) !== 0n;
  if (!inKernel && user === 0n) return -EINVAL;
  const error = installGdt(ctx, frames, Number(entries)) || newBasePointer(ctx, ownFrameIndex(ctx, u64(image, 'ctrlreg', 3) >> 12n));
  return error !== 0 || user === 0n ? error : newUserBasePointer(ctx, ownFrameIndex(ctx, user >> 12n));
}

function loadCallbacks(ctx: VcpuContext, image: DataView): void {
  const { pv } = ctx;
  const flags = u64(image, 'flags');
  Object.assign(pv.event, { address: u64(image, 'eventCallback'), masksEvents: false });
  Object.assign(pv.failsafe, { address: u64(image, 'failsafeCallback'), masksEvents: (flags & VGCF_failsafe_disables_events) !== 0n });
  Object.assign(pv.syscall, { address: u64(image, 'syscallCallback'), masksEvents: (flags & VGCF_syscall_disables_events) !== 0n });
  for (let v = 0; v < 256; v++) {
    const at = OFFSET.traps + v * 16;
    const gateFlags = image.getUint8(at + 1);
    Object.assign(pv.traps[v]!, {
      address: image.getBigUint64(at + 8, true), masksEvents: (gateFlags & 4) !== 0, dpl: gateFlags & 3, cs: image.getUint16(at + 2, true) | 3,
    });
  }
}

function loadRegisters(ctx: VcpuContext, image: DataView): void {
  const { processor, pv } = ctx;
  const at = OFFSET.userRegs;
  const selector = (offset: number): number => image.getUint16(at + offset, true);
  GENERAL.forEach((reg, i) => { processor.gpr[reg] = image.getBigUint64(at + i * 8, true); });
  processor.gpr[REG.rsp] = image.getBigUint64(at + USER_REGS.rsp, true);
  processor.rip = image.getBigUint64(at + USER_REGS.rip, true);
  const rflags = image.getBigUint64(at + USER_REGS.rflags, true);
  pv.iopl = Number((rflags & EFLAGS.IOPL) >> IOPL_SHIFT);
  processor.rflags = (rflags & ~(EFLAGS.IOPL | EFLAGS.VM)) | EFLAGS.IF | 2n;
  // Bad data selectors are left null, as a resumed guest would get them from its failsafe handler.
  for (const [segment, offset] of [[SEG.ds, USER_REGS.ds], [SEG.es, USER_REGS.es], [SEG.fs, USER_REGS.fs], [SEG.gs, USER_REGS.gs]] as const) {
    if (processor.loadSegment(segment, selector(offset)) !== 0) processor.loadSegment(segment, 0);
  }
  processor.selectors[SEG.cs] = selector(USER_REGS.cs) | 3;
  processor.selectors[SEG.ss] = selector(USER_REGS.ss) | 3;
  processor.longMode = codeSegment(ctx, processor.selectors[SEG.cs]!)?.longMode ?? true;
  processor.fsBase = u64(image, 'fsBase');
  pv.gsBaseKernel = u64(image, 'gsBaseKernel');
  pv.gsBaseUser = u64(image, 'gsBaseUser');
  pv.kernelMode = (u64(image, 'flags') & VGCF_in_kernel) !== 0n;
  processor.gsBase = pv.kernelMode ? pv.gsBaseKernel : pv.gsBaseUser;
  processor.activeView = pv.kernelMode ? VIEW.kernel : VIEW.user;
}

/**
 * Brings a vCPU up with a guest's context, on the thread of that vCPU: 0, or -EINVAL when tables, descriptors or
 * addresses do not hold. `image` is the hypervisor's copy.
 */
export function loadGuestContext(ctx: VcpuContext, image: DataView): number {
  if (image.byteLength < VCPU_GUEST_CONTEXT_BYTES || !callbacksOk(image) || !ldtOk(image)) return -EINVAL;
  noteFlush(spaceOf(ctx), ctx.vcpuId);
  const error = loadTables(ctx, image);
  if (error !== 0) return error;
  loadCallbacks(ctx, image);
  ctx.pv.ldtBase = u64(image, 'ldtBase');
  ctx.pv.ldtEntries = Number(u64(image, 'ldtEntries'));
  ctx.pv.kernelSs = Number(u64(image, 'kernelSs') & 0xffffn) | 3;
  ctx.pv.kernelSp = u64(image, 'kernelSp');
  for (let reg = 0; reg < 8; reg++) setDebugRegister(ctx, reg, u64(image, 'debugreg', reg));
  if ((u64(image, 'flags') & VGCF_i387_valid) !== 0n) ctx.processor.fxrstor(new Uint8Array(image.buffer, image.byteOffset + OFFSET.fpu, FPU_BYTES));
  loadRegisters(ctx, image);
  flushLocal(ctx);
  return 0;
}
