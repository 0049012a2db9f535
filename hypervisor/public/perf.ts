// Where a vCPU's time goes: what is counted, and what Dom0 reads of it.

/** What brought a vCPU from guest code into the hypervisor, by number. */
export const EXIT_KINDS = [
  'hypercall', 'system call', 'page fault', 'page-table write', 'forced cpuid', 'device not available', 'other exception', 'software interrupt',
  'sysenter', 'privileged instruction', 'attention', 'event upcall',
] as const;
export type ExitKind = (typeof EXIT_KINDS)[number];

/** An address where guest code was when it was asked, in which mode, and whether it was translated code. */
export interface PerfSample { readonly address: bigint; readonly kernelMode: boolean; readonly translated: boolean }

/** Of one vCPU since it was made. Times are taken while the domain is measured only; counts always. */
export interface PerfCounters {
  /** Times in ms. `exits` and `hypercalls` by name: how often, and how long the hypervisor took. A hypercall of a multicall counts for itself alone. */
  readonly exits: Readonly<Record<string, PerfCount>>;
  readonly hypercalls: Readonly<Record<string, PerfCount>>;
  /** In guest code, interpreted or translated, with what the processor does for it (TLB misses, decoding, translating). */
  readonly guestMs: number;
  /** How often Dom0 looked at the vCPU while it ran, and how often of that a TLB miss was being dealt with. */
  readonly looks: number; readonly walking: number;
  /** The processor's own counters by name, as they were when the vCPU last looked. */
  readonly processor: Readonly<Record<string, number>>;
}
export interface PerfCount { readonly count: number; readonly ms: number }

/** What one vCPU's numbers say now, and the samples since the last reading. */
export interface PerfReading { readonly vcpu: number; readonly counters: PerfCounters; readonly samples: readonly PerfSample[] }
