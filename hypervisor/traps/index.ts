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

function handleException(ctx: VcpuContext): void {
  const { processor } = ctx;
  const { vector, errorCode } = processor;
  switch (vector) {
    case TRAP.page_fault: {
      const cr2 = processor.cr2;
      if (!emulatePageTableWrite(ctx, cr2, errorCode)) injectPageFault(ctx, cr2, errorCode);
      return;
    }
    case TRAP.invalid_op:
      if (!forcedCpuid(ctx)) injectTrap(ctx, vector, -1);
      return;
    case TRAP.no_device:
      // Xen hands the guest the fault with TS already clear.
      if ((ctx.pv.cr0 & CR0.TS) !== 0n) { injectTrap(ctx, vector, -1); ctx.pv.cr0 &= ~CR0.TS; }
      setTaskSwitched(ctx, false);
      return;
    default:
      injectTrap(ctx, vector, errorCode);
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

/** Acts on what run() returned. EXIT.attention and EXIT.breakpoint are the vCPU loop's own. */
export function handleExit(ctx: VcpuContext, exit: number): void {
  switch (exit) {
    case EXIT.exception: handleException(ctx); return;
    case EXIT.softwareInterrupt: handleSoftwareInterrupt(ctx); return;
    case EXIT.syscall: handleSyscall(ctx); return;
    case EXIT.sysenter: handleSysenter(ctx); return;
    case EXIT.privileged: emulatePrivileged(ctx); return;
    default:
  }
}

/** Before the guest runs on: an NMI, or the event upcall when one is pending and not masked. */
export function deliverPending(ctx: VcpuContext): void {
  const { pv } = ctx;
  if (pv.nmiPending && pv.nmi.address !== 0n) {
    pv.nmiPending = false;
    bounce(ctx, pv.nmi, -1);
    return;
  }
  if (pv.event.address === 0n || !upcallPending(ctx) || upcallMasked(ctx)) return;
  bounce(ctx, pv.event, -1);
  setUpcallMask(ctx, true);
}
