// What one vCPU's guest has told the hypervisor about itself, and the virtual registers the processor does not have.
// Owned by the vCPU's thread; nobody else reads it.

/** One registered entry point. Address 0: none. */
export interface Callback {
  address: bigint;
  /** CALLBACKF_mask_events, or bit 2 of trap_info.flags: event upcalls are masked on entry. */
  masksEvents: boolean;
}

export interface TrapGate extends Callback {
  /** Least privilege that may raise it by software interrupt (trap_info.flags bits 0-1). */
  dpl: number;
  cs: number;
}

/** A hypercall to be run again with these arguments: its guest is sent back to the syscall instruction. */
export interface Continuation { readonly call: number; readonly args: readonly bigint[] }

export interface PvState {
  readonly traps: TrapGate[];
  readonly event: Callback; readonly failsafe: Callback; readonly nmi: Callback;
  readonly syscall: Callback; readonly syscall32: Callback; readonly sysenter: Callback;
  nmiPending: boolean;

  /** Guest kernel (true) or guest user: both run at CPL 3 of the processor. */
  kernelMode: boolean;
  kernelSp: bigint; kernelSs: number;
  /** GS bases of the two modes; the one of the current mode is the processor's and this copy is stale. */
  gsBaseKernel: bigint; gsBaseUser: bigint;
  /** Frame indexes of the two L4 tables, each holding a type reference; -1: none. */
  kernelRoot: number; userRoot: number;

  /** Frame indexes of the GDT's pages (each a typed reference), entries in use, and the LDT by linear address. */
  gdtFrames: number[]; gdtEntries: number;
  ldtBase: bigint; ldtEntries: number;

  /** Virtual I/O privilege level, 0..3. */
  iopl: number;
  /** Virtual control registers; cr3 follows from the roots. TS is also the processor's taskSwitched. */
  cr0: bigint; cr2: bigint; cr4: bigint;
  specCtrl: bigint;
  /** VMASST_TYPE_* bits. */
  vmAssist: number;
  /** PHYSDEVOP_set_iobitmap: linear address of the bitmap and how many ports it covers. Kept, grants nothing. */
  ioBitmap: bigint; ioBitmapPorts: number;
  continuation: Continuation | undefined;
}

export const CR0 = { PE: 1n, MP: 2n, TS: 8n, ET: 0x10n, NE: 0x20n, WP: 0x1_0000n, AM: 0x4_0000n, PG: 0x8000_0000n } as const;
export const CR4 = { TSD: 4n, DE: 8n, PAE: 0x20n, OSFXSR: 0x200n, OSXMMEXCPT: 0x400n } as const;

const callback = (): Callback => ({ address: 0n, masksEvents: false });

const VECTOR_NMI = 2;

export function createPvState(): PvState {
  const traps = Array.from({ length: 256 }, () => ({ address: 0n, masksEvents: false, dpl: 0, cs: 0 }));
  return {
    // As in Xen, CALLBACKTYPE_nmi and entry 2 of the trap table are one place: Linux registers the latter alone.
    traps, event: callback(), failsafe: callback(), nmi: traps[VECTOR_NMI]!, syscall: callback(), syscall32: callback(), sysenter: callback(),
    nmiPending: false,
    kernelMode: true, kernelSp: 0n, kernelSs: 0, gsBaseKernel: 0n, gsBaseUser: 0n, kernelRoot: -1, userRoot: -1,
    gdtFrames: [], gdtEntries: 0, ldtBase: 0n, ldtEntries: 0,
    iopl: 0,
    cr0: CR0.PG | CR0.WP | CR0.NE | CR0.ET | CR0.MP | CR0.PE | CR0.AM, cr2: 0n,
    cr4: CR4.PAE | CR4.OSFXSR | CR4.OSXMMEXCPT,
    specCtrl: 0n, vmAssist: 0, ioBitmap: 0n, ioBitmapPorts: 0, continuation: undefined,
  };
}
