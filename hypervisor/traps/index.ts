// What becomes of a processor exit: guest exceptions are bounced to the guest's handlers, system calls and privileged
// instructions emulated, page-table writes done. Then pending events are delivered and the processor runs on.
import { EXIT } from '../cpu/processor-api.ts';
import type { VcpuContext } from '../domain/vcpu-context.ts';
import { TRAP, bounce, injectGp, injectPageFault, injectTrap } from './bounce.ts';
import { emulateCpuid, emulatePrivileged } from './emulate.ts';
import { setUpcallMask, upcallMasked, upcallPending } from './mode.ts';
import { emulatePageTableWrite } from './ptwr.ts';
import { CR0 } from './pv-state.ts';
import { handleSyscall, handleSysenter } from './syscall.ts';
import { KIND } from '../trace/perf.ts';
import { setTaskSwitched } from './task-switched.ts';

export { initialContext } from './context.ts';
export { loadGuestContext, VCPU_GUEST_CONTEXT_BYTES } from './guest-context.ts';
export { dumpRegisters } from './dump.ts';

/** ud2, "xen", cpuid: the form by which a PV guest asks for the hypervisor's answer. */
const FORCED_CPUID = [0x0f, 0x0b, 0x78, 0x65, 0x6e, 0x0f, 0xa2];
const codeBytes = new Uint8Array(FORCED_CPUID.length);

function forcedCpuid(ctx: VcpuContext): boolean {
  const { processor } = ctx;
  if (!processor.readVirtual(processor.rip, codeBytes)) return false;
  if (!FORCED_CPUID.every((byte, i) => codeBytes[i] === byte)) return false;
  emulateCpuid(ctx);
  processor.rip = BigInt.asUintN(64, processor.rip + BigInt(FORCED_CPUID.length));
  return true;
}

/** Returns the kind of exit it was (public/perf.ts). */
function handleException(ctx: VcpuContext): number {
  const { processor } = ctx;
  const { vector, errorCode } = processor;
  switch (vector) {
    case TRAP.page_fault: {
      const cr2 = processor.cr2;
      if (emulatePageTableWrite(ctx, cr2, errorCode)) return KIND['page-table write'];
      injectPageFault(ctx, cr2, errorCode);
      return KIND['page fault'];
    }
    case TRAP.invalid_op:
      if (forcedCpuid(ctx)) return KIND['forced cpuid'];
      injectTrap(ctx, vector, -1);
      return KIND['other exception'];
    case TRAP.no_device:
      // Xen hands the guest the fault with TS already clear.
      if ((ctx.pv.cr0 & CR0.TS) !== 0n) { injectTrap(ctx, vector, -1); ctx.pv.cr0 &= ~CR0.TS; }
      setTaskSwitched(ctx, false);
      return KIND['device not available'];
    default:
      injectTrap(ctx, vector, errorCode);
      return KIND['other exception'];
  }
}

const INT3_BYTES = 1n, INT_N_BYTES = 2n;
/** Error code of a refused software interrupt: the gate's number, with the IDT bit. */
const idtErrorCode = (vector: number): number => vector * 8 + 2;

function handleSoftwareInterrupt(ctx: VcpuContext): void {
  const { vector } = ctx.processor;
  const gate = ctx.pv.traps[vector]!;
  // Int3 and into have gates open to everybody; int n asks the guest's gate, whose level 0 and 1 mean its kernel.
  const allowed = vector === TRAP.int3 || vector === TRAP.overflow || gate.dpl >= (ctx.pv.kernelMode ? 1 : 3);
  if (allowed && gate.address !== 0n) { injectTrap(ctx, vector, -1); return; }
  ctx.processor.rip -= vector === TRAP.int3 ? INT3_BYTES : INT_N_BYTES;
  injectGp(ctx, idtErrorCode(vector));
}

/** Acts on what run() returned, and returns the kind of exit it was (public/perf.ts). EXIT.attention and EXIT.breakpoint are the vCPU loop's own. */
export function handleExit(ctx: VcpuContext, exit: number): number {
  switch (exit) {
    case EXIT.exception: return handleException(ctx);
    case EXIT.softwareInterrupt: handleSoftwareInterrupt(ctx); return KIND['software interrupt'];
    case EXIT.syscall: {
      const kind = ctx.pv.kernelMode ? KIND.hypercall : KIND['system call'];
      handleSyscall(ctx);
      return kind;
    }
    case EXIT.sysenter: handleSysenter(ctx); return KIND.sysenter;
    case EXIT.privileged: emulatePrivileged(ctx); return KIND['privileged instruction'];
    default: return KIND.attention;
  }
}

/** Before the guest runs on: an NMI, or the event upcall when one is pending and not masked: whether there was one. */
export function deliverPending(ctx: VcpuContext): boolean {
  const { pv } = ctx;
  if (pv.nmiPending && pv.nmi.address !== 0n) {
    pv.nmiPending = false;
    bounce(ctx, pv.nmi, -1);
    return true;
  }
  if (pv.event.address === 0n || !upcallPending(ctx) || upcallMasked(ctx)) return false;
  bounce(ctx, pv.event, -1);
  setUpcallMask(ctx, true);
  return true;
}
