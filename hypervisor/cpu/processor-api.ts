// The processor as the hypervisor sees it. hypervisor/cpu knows nothing of Xen: whoever drives it decides what
// an exception, a system call or a privileged instruction means. Implemented by processor.ts.

import type { Legacy } from './kept-code.ts';

/** Why run() came back. */
export const EXIT = {
  /** A fault or trap: `vector`, `errorCode`, `cr2` are set; rip is at the instruction for faults, after it for traps. */
  exception: 1,
  /** INT n, INT3, INTO: `vector` is set, rip is after the instruction. */
  softwareInterrupt: 2,
  /** SYSCALL: rip is after the instruction; rcx and r11 not yet changed. */
  syscall: 3,
  /** An instruction CPL 3 may not execute: `privileged` describes it; rip is at the instruction. */
  privileged: 4,
  /** The attention word was not zero at a block boundary. */
  attention: 5,
  /** SYSENTER: as syscall. */
  sysenter: 6,
  /** A debugger's breakpoint was reached; rip is at the instruction, which has not run. */
  breakpoint: 7,
  /** An instruction has touched what a debugger watches (watchHit); rip is behind it. */
  watchpoint: 8,
} as const;

export type PrivilegedName =
  | 'in' | 'out' | 'ins' | 'outs' | 'cli' | 'sti' | 'hlt' | 'clts' | 'invd' | 'wbinvd' | 'invlpg' | 'mov_from_cr' | 'mov_to_cr'
  | 'mov_from_dr' | 'mov_to_dr' | 'rdmsr' | 'wrmsr' | 'rdtsc' | 'rdtscp' | 'rdpmc' | 'cpuid' | 'xgetbv' | 'xsetbv' | 'swapgs'
  | 'sysret' | 'sysexit' | 'lgdt' | 'lidt' | 'lldt' | 'ltr' | 'lmsw' | 'vmcall' | 'monitor' | 'mwait';

export interface PrivilegedInstruction {
  readonly name: PrivilegedName;
  /** Instruction length in bytes: the emulation adds it to rip. */
  readonly length: number;
  /** Width of the data in bits: 8, 16 or 32 for in/out/ins/outs. */
  readonly bits: number;
  /** General register number 0..15 of mov cr/dr. */
  readonly reg: number;
  /** Control or debug register number. */
  readonly system: number;
  /** Port from the immediate, or -1 when it is in dx. */
  readonly port: number;
  /** REP prefix on ins/outs. */
  readonly rep: boolean;
}

/** The two address-space roots a PV guest has. */
export const VIEW = { kernel: 0, user: 1 } as const;
export type View = 0 | 1;
export const ACCESS = { read: 0, write: 1, execute: 2 } as const;
export type Access = 0 | 1 | 2;

export const SEG = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5 } as const;

/** Page-fault error code bits (Intel SDM volume 3, 4.7). */
export const PFEC = { present: 1, write: 2, user: 4, reserved: 8, fetch: 16 } as const;

/** What the processor asks of its driver. */
export interface ProcessorHost {
  /** The 8-byte descriptor for a selector (bits 2..15 index GDT or LDT), or undefined outside its table. */
  descriptor(selector: number): bigint | undefined;
  /** Selectors of a 64-bit code segment and of a stack segment whose descriptors are always the same. */
  readonly unchanging?: { readonly cs: number; readonly ss: number };
  /** A page-table entry names a frame outside this memory (slot differs): its translation, or -1 for a fault. */
  foreign(entry: bigint, access: Access): number;
  /** An instruction without an implementation was met (it raises #UD): bytes as hex, for the log. */
  unimplemented(rip: bigint, bytes: string): void;
  /** What RDTSC gives. Without one it exits. */
  clock?(): bigint;
}

/** Bytes [va, va + bytes) whose reading, writing or both is reported. */
export interface Watch { readonly va: bigint; readonly bytes: number; readonly reads: boolean; readonly writes: boolean }

export interface Processor {
  readonly memory: WebAssembly.Memory;
  /** All of the domain's memory. A physical address is an index here: (pte & 0xfffff000). */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly view: DataView<SharedArrayBuffer>;

  /** rax rcx rdx rbx rsp rbp rsi rdi r8..r15, live. */
  readonly gpr: BigUint64Array;
  rip: bigint;
  /** Composed from the lazy flags: arithmetic flags, DF, TF, IF, AC, ID, NT, RF; bit 1 always set. */
  rflags: bigint;
  /** es cs ss ds fs gs, live; writing here loads no descriptor (use loadSegment for that). */
  readonly selectors: Uint16Array;
  fsBase: bigint;
  gsBase: bigint;
  /** 64-bit mode (true) or compatibility mode (false), from the code segment's L bit. */
  longMode: boolean;
  /** Which of the two roots is in use. */
  activeView: View;
  /** CR0.TS: SSE/x87 use raises #NM while set. */
  taskSwitched: boolean;
  /** RDTSC and RDTSCP exit, as they do without a clock. */
  tscExits: boolean;
  /** What RDTSCP gives beside the time. */
  tscAux: number;
  /** DR0-3, 6, 7 by number, to read; set by setDebugRegister. */
  readonly debug: BigUint64Array;

  /** Valid after run() returned EXIT.exception / softwareInterrupt. errorCode is -1 when the vector has none. */
  readonly vector: number;
  readonly errorCode: number;
  readonly cr2: bigint;
  readonly privileged: PrivilegedInstruction;

  /** Runs guest code until something needs its driver. Returns an EXIT value. */
  run(): number;
  /** Runs exactly one instruction; returns 0 when it completed without an exit. */
  step(): number;

  /** Root page table (L4) of a view as a machine address (low 32 bits: physical address). Flushes that view. */
  setRoot(view: View, maddr: bigint): void;
  /** Drops all translations of both views. */
  flushTlb(): void;
  /** Drops those that allow writing, of both views. */
  flushWritable(): void;
  /** Drops the translation of one page in both views. */
  flushPage(va: bigint): void;
  /** The frame (index) is about to change under the processor's feet (page type, DMA): drop translated code in it. */
  invalidateCode(frameIndex: number): void;

  /**
   * Physical address for a virtual one in the active view, or -1 (then vector/errorCode/cr2 describe the fault).
   * Sets accessed/dirty bits. The result is good to the end of the page.
   */
  translate(va: bigint, access: Access, view?: View): number;
  /** Reads or writes guest-virtual memory across pages; false on a fault (details as translate). Writes are all or nothing. */
  readVirtual(va: bigint, out: Uint8Array): boolean;
  writeVirtual(va: bigint, data: Uint8Array): boolean;
  /** 8-byte forms of the same; undefined / false on a fault. */
  read64(va: bigint): bigint | undefined;
  write64(va: bigint, value: bigint): boolean;

  /** Loads a data segment register with its descriptor: sets base; returns 0 or the vector to raise (13/11), state unchanged. */
  loadSegment(segment: number, selector: number): number;
  /** The 512-byte FXSAVE image of x87, MMX and SSE state. */
  fxsave(out: Uint8Array): void;
  fxrstor(image: Uint8Array): void;

  /** Breakpoints of a debugger (guest-virtual), beside the guest's own. */
  setBreakpoint(va: bigint): void;
  clearBreakpoint(va: bigint): void;
  setDebugRegister(number: number, value: bigint): void;
  /** What a debugger watches, beside the guest's own; the same object takes it back. */
  setWatch(watch: Watch): void;
  clearWatch(watch: Watch): void;
  /** What EXIT.watchpoint was about. */
  readonly watchHit: Watch | undefined;
  /** Counters by name: exits, TLB misses, blocks decoded, ... */
  counters(): Record<string, number>;
  /** What the next domain's processor may begin with (kept-code.ts). After the last run. */
  legacy?(): Legacy | undefined;
  /** Whether it was translated code that was left for the last EXIT.attention. */
  readonly leftTranslation: boolean;
}
