// Debugging a domain: what Dom0 may ask of one vCPU, and how registers travel. The vCPU's own thread answers, at an
// instruction's border. Not part of Xen's interface.

/** What is asked. `address` and `length` as each says; a negative result is -errno. */
export const DEBUG = {
  /** Stop; result 0. A vCPU that has stopped answers everything else as before. */
  hold: 1,
  /** Run on. */
  resume: 2,
  /** Run one instruction, then stop with DEBUG_STOP.step. Events wait meanwhile. -EBUSY unless held. */
  step: 3,
  /** Answer's data: the registers (REGISTERS). */
  readRegisters: 4,
  /** Data: REGISTERS_BYTES. Selectors and what only the hypervisor may set keep their values. -EBUSY unless held. */
  writeRegisters: 5,
  /** Guest-virtual address, length. Result: bytes read, up to the first that is not mapped; -EFAULT for none. */
  readMemory: 6,
  /** Guest-virtual address, data. All or nothing: -EFAULT; -EPERM for page tables and descriptor tables. */
  writeMemory: 7,
  /** Guest-virtual address. -EFAULT when it is not mapped. */
  setBreakpoint: 8, clearBreakpoint: 9,
  /** address: instructions to remember, 0 switches the trace off. -EINVAL beyond TRACE_MAX. */
  traceInstructions: 10,
  /** address: how many of the last are wanted, and above bit 32 how many of these to leave out. Data: TRACE_ENTRY records, oldest first. */
  readInstructions: 11,
  /** Data: the processor's counters as JSON. */
  counters: 12,
  /** Breakpoints and holds of a debugger that has gone are undone. */
  release: 13,
  /** Address; data: u8 WATCH, then u16 bytes (1 to WATCH_MAX). An access stops the vCPU with DEBUG_STOP.watch, behind its instruction. -ENOSPC beyond WATCHES_MAX. */
  setWatch: 14, clearWatch: 15,
  /** Data: u64 address and u8 WATCH of what DEBUG_STOP.watch was about; -EINVAL when there is none. */
  readWatch: 16,
} as const;
export type DebugOperation = (typeof DEBUG)[keyof typeof DEBUG];

/** Why a vCPU is held. */
export const DEBUG_STOP = { none: 0, asked: 1, breakpoint: 2, step: 3, start: 4, watch: 5 } as const;
export type DebugStop = (typeof DEBUG_STOP)[keyof typeof DEBUG_STOP];

/** Bits: which accesses are watched. */
export const WATCH = { read: 1, write: 2 } as const;
/** Bytes of one watch, and how many watches there may be on a vCPU. */
export const WATCH_MAX = 4096, WATCHES_MAX = 64;

/** Longest data of one request or answer. */
export const DEBUG_DATA_BYTES = 4096;

/** Byte offsets in the register block. General registers: rax rcx rdx rbx rsp rbp rsi rdi r8..r15. */
export const REGISTERS = {
  gpr: 0, rip: 128, rflags: 136, fsBase: 144, gsBase: 152,
  /** u16 each: es cs ss ds fs gs. */
  selectors: 160,
  /** u8: 1 guest kernel, 0 guest user. */
  kernelMode: 172,
  /** u8: 1 64-bit mode, 0 compatibility mode. */
  longMode: 173,
  cr2: 176, cr3: 184,
  /** 512 bytes: FXSAVE image. */
  fx: 192,
} as const;
export const REGISTERS_BYTES = 704;

/** One remembered instruction: u64 rip, u32 digest of registers and flags before it, u32 1 for guest kernel. */
export const TRACE_ENTRY = { rip: 0, digest: 8, kernelMode: 12 } as const;
export const TRACE_ENTRY_BYTES = 16;
export const TRACE_MAX = 1 << 16;

/** What of the trace ring is wanted: hypercalls with their results, or events, VIRQs and changes of runstate. */
export type TraceKind = 'hypercalls' | 'events';

export interface DebugRequest { readonly operation: DebugOperation; readonly address?: bigint; readonly length?: number; readonly data?: Uint8Array }
export interface DebugAnswer {
  /** Negative: -errno; -ETIMEDOUT when the vCPU's thread does not answer, -ESRCH when there is no such vCPU. */
  readonly result: number;
  readonly data: Uint8Array;
}

/** A debugger's hold on one domain; there is one at most. */
export interface DebugSession {
  readonly vcpus: number;
  /** The vCPU has a thread, and so registers. */
  isStarted(vcpu: number): boolean;
  stopOf(vcpu: number): DebugStop;
  request(vcpu: number, request: DebugRequest): Promise<DebugAnswer>;
  /** Takes breakpoints out and lets every vCPU run on. */
  close(): Promise<void>;
}
