// HYPERVISOR_iret: the guest kernel leaves to where it was interrupted, or to user mode.
// Frame at rsp (struct iret_context): rax, r11, rcx, flags, rip, cs, rflags, rsp, ss, 8 bytes each.
import { SEG } from '../cpu/processor-api.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { isCanonicalAddress } from '../mm/address.ts';
import { copyInWords } from '../mm/guest-access.ts';
import { VMASST_TYPE_architectural_iopl, injectFailsafe } from './bounce.ts';
import { domainCrash } from './dump.ts';
import { EFLAGS, IOPL_SHIFT, REG, setUpcallMask, toggleGuestMode } from './mode.ts';
import { FLAT_RING3_CS32, FLAT_RING3_CS64, FLAT_RING3_SS64, codeSegment, stackSegmentOk } from './segments.ts';

const VGCF_in_syscall = 0x100n;
const FRAME_WORDS = 9;
const frame = new BigUint64Array(FRAME_WORDS);
const field = (n: number): bigint => frame[n]!;

/** Runs the call; the result is the guest's new rax (already the interrupted context's). */
export function iret(ctx: VcpuContext): bigint {
  const { processor, pv } = ctx;
  const { gpr, selectors } = processor;
  if (!copyInWords(ctx, gpr[REG.rsp]!, frame, FRAME_WORDS)) {
    domainCrash(ctx, `Fault while reading IRET context from guest stack at ${gpr[REG.rsp]!.toString(16)}`);
    return 0n;
  }
  const rax = field(0), flags = field(3), rflags = field(6);
  const named = Number(field(5) & 0xffffn);
  let cs = named | 3, ss = Number(field(8) & 0xffffn) | 3;
  if ((named & 3) === 3) {
    if (pv.userRoot < 0) { domainCrash(ctx, 'Guest switching to user mode with no user page tables'); return 0n; }
    toggleGuestMode(ctx);
  }
  if ((pv.vmAssist & (1 << VMASST_TYPE_architectural_iopl)) !== 0) pv.iopl = Number((rflags & EFLAGS.IOPL) >> IOPL_SHIFT);
  processor.rip = field(4);
  processor.rflags = (rflags & ~(EFLAGS.IOPL | EFLAGS.VM)) | EFLAGS.IF;
  gpr[REG.rsp] = field(7);
  if ((flags & VGCF_in_syscall) === 0n) {
    gpr[REG.r11] = field(1);
    gpr[REG.rcx] = field(2);
  } else {
    // As SYSRET leaves it: flat segments, rcx and r11 hold what was returned to.
    gpr[REG.rcx] = field(4);
    gpr[REG.r11] = processor.rflags;
    cs = cs === FLAT_RING3_CS32 ? FLAT_RING3_CS32 : FLAT_RING3_CS64;
    ss = FLAT_RING3_SS64;
  }
  setUpcallMask(ctx, (rflags & EFLAGS.IF) === 0n);
  selectors[SEG.cs] = cs;
  selectors[SEG.ss] = ss;
  const code = codeSegment(ctx, cs);
  if (code === undefined || !stackSegmentOk(ctx, ss) || (code.longMode && !isCanonicalAddress(processor.rip))) {
    gpr[REG.rax] = rax;
    injectFailsafe(ctx);
    return gpr[REG.rax]!;
  }
  processor.longMode = code.longMode;
  return rax;
}
