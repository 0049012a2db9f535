// What a guest kernel in TypeScript gets from the hypervisor: one vCPU whose program is WebAssembly. Everything else it
// reaches by hypercalls, with arguments in its own memory, as a PV kernel in machine code does.

/** A guest address: byte offset from the domain's first frame. Frame n of the domain is at n * 4096; the program's address 0 is 0. */
export type GuestAddress = number;

/**
 * Words (u32) in the start_info page behind struct start_info, which has no field for them: where the module lies, and
 * the frames that are the guest kernel's to use (rings, buffers). pt_base, mfn_list and their counts are zero.
 */
export const program_info = { image: 1200, imageBytes: 1204, heapPfn: 1208, heapFrames: 1212 } as const;

export interface ProgramVcpu {
  /** All guest frames, from pfn 0. The program can write to all of it at any time. */
  readonly bytes: Uint8Array<SharedArrayBuffer>;
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly view: DataView<SharedArrayBuffer>;
  /** Where struct start_info is. */
  readonly startInfo: GuestAddress;
  /** Machine frame number of a guest frame. */
  mfnOf(pfn: number): number;
  /** A frame that the hypervisor shares with the domain (shared_info, grant table): out of the program's reach. @throws RangeError */
  sharedFrame(mfn: number): Uint8Array<SharedArrayBuffer>;

  /**
   * A hypercall. Returns what the hypervisor answers (negative: -errno). One that blocks returns when the vCPU runs
   * again; events that are pending then are delivered before it returns. Does not return when the domain has ended.
   */
  hypercall(number: number, ...args: (number | bigint)[]): number;
  /** Called with upcalls masked when an event is pending and upcalls are not masked. It unmasks them at its end. */
  onUpcall(handler: () => void): void;
  /** Nanoseconds of system time: what the TSC counts here (public/xen.h, vcpu_time_info). */
  readTsc(): bigint;
  randomBytes(into: Uint8Array): void;

  /**
   * Makes an instance of a module whose memory is this domain's. Its loops and calls look at the vCPU's attention word.
   * @param memory what memory.size and memory.grow answer
   * @throws Error with a sentence: not valid, imports what is not there, wants too much memory
   */
  instantiate(module: Uint8Array, imports: ProgramImports, memory: ProgramMemory): WebAssembly.Instance;
  /** Leaves the program, whatever it would like to catch. */
  leave(): never;
  /** Ends the domain with a reason in the console ring. */
  crash(reason: string): never;
}

/** A function that a program may import. Begun only where the stack has room for all that it may call. */
export type ProgramImport = (...args: (number | bigint)[]) => number | bigint | void;
/** What there is by a name of the module's choice, or undefined: a lookup, not an object, which would have names of its own (constructor, ...). */
export type ProgramImports = (from: string, name: string) => ProgramImport | undefined;

/** The program's memory, in pages of 64 KiB. */
export interface ProgramMemory {
  /** Called once, with what the module declares. @throws Error when that is too much */
  begin(minPages: number, maxPages: number): void;
  pages(): number;
  /** @returns the pages before, or -1 */
  grow(by: number): number;
}

/** A guest kernel: runs until it returns, which is the end of the domain (a crash: it should have shut down). */
export type ProgramKernel = (vcpu: ProgramVcpu) => void;
