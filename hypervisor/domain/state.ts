// The hypervisor's state that every thread shares, in one SharedArrayBuffer. No guest can reach it.
//
//   header words (locks, counters, pCPU slots)   domain table   vCPU table   event-channel buckets
//   Dom0's pending bits   active grants   maptrack   hypercall counts   trace ring   console ring   debug mailboxes
//   performance counters (trace/perf.ts)
//
// Lock order: domain table, then event, then sched, then a domain's grant lock, then its page lock (mm/space.ts); the
// console ring last.
// Fields say who writes them: [any] any thread under the lock named, [vcpu] the vCPU's own thread.

export const MAX_SLOTS = 640;
export const MAX_VCPUS = 32;
/** Ports of one domain: the 2-level ABI has room for 4096, one page of buckets serves 1024. */
export const MAX_PORTS = 1024;
export const CONSOLE_BYTES = 1 << 18;

/** Header words. */
export const H = { tableLock: 0, eventLock: 1, schedLock: 2, consoleLock: 3, nextDomid: 4, pcpus: 5, freePcpus: 6, tickBell: 7, dom0Bell: 8, dom0Exc: 9, consoleHead: 10, waiting: 11, epochLow: 12, epochHigh: 13, wallLow: 14, wallHigh: 15, memoryBell: 16, traceHead: 17, maptrackNext: 18, contendedSince: 20,
  /** i64: when the ticker looks again by itself, in ns of system time; 0 while it looks. [ticker] */
  tickNext: 22,
  /** i64: when Dom0's doorbell was first rung since Dom0 last looked, in ns of system time; 0 for not. [any] */
  dom0Rang: 24 } as const;
/** The locks among them, for whoever cleans up after a thread. */
export const LOCKS = [H.tableLock, H.eventLock, H.schedLock, H.consoleLock] as const;
const HEADER_WORDS = 64;

/** Words of a domain. [any: tableLock] unless said otherwise. */
export const D = {
  /** DOMAIN_STATE */
  state: 0, domid: 1, vcpus: 2, maxMemKib: 3,
  /** Pause count: the domain runs at 0. */
  paused: 4,
  /** SHUTDOWN_* + 1 after SCHEDOP_shutdown, 0 before: that it has shut down and why are never seen apart. */
  shutdown: 5, sharedInfo: 7,
  /** Grant frames: how many, then their frame indexes. */
  grantFrames: 8, grantFrame: 9,
  weight: 44, cap: 45,
  /** Frames that a backend wrote while they held translated code: bumped, the code map says which. [any] */
  dirtyCode: 46,
  /** Rate limit of log lines: window start in ms, lines in it. */
  logWindow: 47, logLines: 48,
  uuid: 49, // 4 words
  totalBytes: 53,
  /** Guards the active grants of this domain. */
  grantLock: 54,
  /** 1: hypercalls and events go to the trace ring. [any] */
  trace: 55,
  /** VMASST_TYPE_* bits. [vcpu] */
  vmAssist: 56,
  /** 1: time is taken at exits and hypercalls, and samples are written when asked for (trace/perf.ts). [dom0] */
  perf: 57,
} as const;
export const GRANT_FRAMES_MAX = 32;
/** Entries of a version 1 grant table in all its frames. */
export const GRANTS_MAX = GRANT_FRAMES_MAX * 512;
/** Grant mappings that Dom0 may hold at once. */
export const MAPTRACK_ENTRIES = 1 << 16;
const DOMAIN_WORDS = 64;
export const DOMAIN_STATE = { free: 0, live: 1, dying: 2 } as const;

/** Words of a vCPU. */
export const V = {
  /** 1 while the vCPU is up (VCPUOP_up). */
  up: 0,
  /** RUNSTATE_*. [vcpu] */
  runstate: 1,
  /** Rung to wake a parked vCPU thread. [any] */
  bell: 2,
  /** 1: blocked until an event is pending. [vcpu] */
  blocked: 3,
  /** Physical address of vcpu_info. [vcpu] */
  info: 4,
  /** Full TLB flushes asked of this vCPU, and done. [any] [vcpu] */
  flushWanted: 5, flushDone: 6,
  /** 1: the thread has been started. */
  started: 7,
  /** Set by the scheduler when a pCPU is handed over; 0 when the vCPU gave it back. [any: schedLock] */
  granted: 8,
  /** 1 while it waits for a pCPU. [any: schedLock] */
  queued: 9,
  /** Credit in microseconds. [any: schedLock] */
  credit: 10,
  /** NMI asked for (VCPUOP_send_nmi). */
  nmi: 12,
  /** INITIALISED, or -errno of a context that was refused. */
  initialised: 13,
  /** i64: singleshot deadline in ns of system time, 0 for none. [vcpu] */
  deadline: 14,
  /** i64: CPU time in ns. [vcpu] */
  cpuTime: 16,
  /** i64: when it began to run. */
  ranSince: 20,
  /** 1: the address where the guest is, please. [dom0] */
  sample: 23,
  /** DUMP bits: what is wanted in the console ring (debug keys c and d). [any] */
  dump: 22,
  /** VIRQ_TIMER port + 1, and the others by number. */
  virq: 24, // 24 words
  /** i64: guest-virtual address of the runstate area, 0 for none. */
  runstateArea: 48,
  /** i64: when the present runstate began; then time spent in each of the four. [vcpu] */
  runstateSince: 50, runstateTime: 52, // 8 words
} as const;
/** V.dump. */
export const DUMP = { registers: 1, counters: 2 } as const;
/** V.initialised: never brought up; a thread is loading its context; has a context. */
export const INITIALISED = { no: 0, loading: 1, yes: 2 } as const;
export const NR_VIRQS = 24;
const VCPU_WORDS = 64;

/** Words of an event-channel bucket. [any: eventLock] */
export const E = { state: 0, remoteSlot: 1, remotePort: 2, vcpu: 3, virq: 4, remoteDomid: 5 } as const;
const PORT_WORDS = 8;

/** Words of a maptrack entry: which grant Dom0 has mapped. [dom0] */
export const M = { flags: 0, domid: 1, ref: 2, index: 3 } as const;
/** M.flags: in use, for reading only; above them the granting domain's slot. */
export const MAPTRACK = { used: 1, readOnly: 2, slotShift: 8 } as const;
const MAPTRACK_WORDS = 4;

export const HYPERCALL_NUMBERS = 64;
/** Records of the trace ring; trace/trace.ts says what is in one. */
export const TRACE_RECORDS = 4096, TRACE_WORDS = 8;

const DOMAINS_AT = HEADER_WORDS, VCPUS_AT = DOMAINS_AT + MAX_SLOTS * DOMAIN_WORDS, PORTS_AT = VCPUS_AT + MAX_SLOTS * MAX_VCPUS * VCPU_WORDS;
const DOM0_PENDING_AT = PORTS_AT + MAX_SLOTS * MAX_PORTS * PORT_WORDS, ACTIVE_AT = DOM0_PENDING_AT + MAX_PORTS / 32 * 2;
const MAPTRACK_AT = ACTIVE_AT + MAX_SLOTS * GRANTS_MAX, HYPERCALLS_AT = MAPTRACK_AT + MAPTRACK_ENTRIES * MAPTRACK_WORDS;
const TRACE_AT = HYPERCALLS_AT + MAX_SLOTS * HYPERCALL_NUMBERS, CONSOLE_AT = TRACE_AT + TRACE_RECORDS * TRACE_WORDS;
/** Debug mailboxes (debug/mailbox.ts), one for each slot. */
const DEBUG_BOX_BYTES = 512 + 4096, DEBUG_AT_BYTES = CONSOLE_AT * 4 + CONSOLE_BYTES;
/** Of one vCPU, as 64-bit numbers. */
export const PERF_NUMBERS = 512;
const PERF_AT_BYTES = Math.ceil((DEBUG_AT_BYTES + MAX_SLOTS * DEBUG_BOX_BYTES) / 8) * 8;
const TOTAL_BYTES = PERF_AT_BYTES + MAX_SLOTS * MAX_VCPUS * PERF_NUMBERS * 8;

export class HypervisorState {
  readonly buffer: SharedArrayBuffer;
  readonly words: Int32Array<SharedArrayBuffer>;
  readonly longs: BigInt64Array<SharedArrayBuffer>;
  readonly console: Uint8Array<SharedArrayBuffer>;
  readonly perf: Float64Array<SharedArrayBuffer>;
  readonly #slots = new Uint16Array(1024);
  constructor(buffer: SharedArrayBuffer) {
    this.perf = new Float64Array(buffer, PERF_AT_BYTES);
    this.buffer = buffer;
    this.words = new Int32Array(buffer);
    this.longs = new BigInt64Array(buffer);
    this.console = new Uint8Array(buffer, CONSOLE_AT * 4, CONSOLE_BYTES);
  }
  static create(pcpus: number): HypervisorState {
    const s = new HypervisorState(new SharedArrayBuffer(TOTAL_BYTES));
    s.words[H.nextDomid] = 1;
    s.words[H.pcpus] = pcpus;
    s.words[H.freePcpus] = pcpus;
    s.longs[H.epochLow / 2] = process.hrtime.bigint();
    s.longs[H.wallLow / 2] = BigInt(Date.now()) * 1_000_000n;
    // Slot 0 is Dom0.
    s.words[s.domain(0) + D.state] = DOMAIN_STATE.live;
    s.words[s.domain(0) + D.vcpus] = 1;
    s.words[s.vcpu(0, 0) + V.up] = 1;
    return s;
  }
  domain(slot: number): number { return DOMAINS_AT + slot * DOMAIN_WORDS; }
  vcpu(slot: number, n: number): number { return VCPUS_AT + (slot * MAX_VCPUS + n) * VCPU_WORDS; }
  port(slot: number, port: number): number { return PORTS_AT + (slot * MAX_PORTS + port) * PORT_WORDS; }
  /** Word of Dom0's pending bits. */
  dom0Pending(port: number): number { return DOM0_PENDING_AT + (port >> 5); }
  /** Word of an active grant: pins for writing << 16 | pins for reading. [any: the domain's grant lock] */
  active(slot: number, ref: number): number { return ACTIVE_AT + slot * GRANTS_MAX + ref; }
  maptrack(n: number): number { return MAPTRACK_AT + n * MAPTRACK_WORDS; }
  /** Word that counts a domain's hypercalls of one number. */
  hypercalls(slot: number, number: number): number { return HYPERCALLS_AT + slot * HYPERCALL_NUMBERS + number; }
  traceRecord(n: number): number { return TRACE_AT + (n & TRACE_RECORDS - 1) * TRACE_WORDS; }
  debugBox(slot: number): { readonly buffer: SharedArrayBuffer; readonly byteOffset: number } { return { buffer: this.buffer, byteOffset: DEBUG_AT_BYTES + slot * DEBUG_BOX_BYTES }; }
  /** First of a vCPU's numbers in `perf`. [vcpu] */
  perfOf(slot: number, n: number): number { return (slot * MAX_VCPUS + n) * PERF_NUMBERS; }
  dget(slot: number, field: number): number { return Atomics.load(this.words, this.domain(slot) + field); }
  dset(slot: number, field: number, v: number): void { Atomics.store(this.words, this.domain(slot) + field, v); }
  vget(slot: number, n: number, field: number): number { return Atomics.load(this.words, this.vcpu(slot, n) + field); }
  vset(slot: number, n: number, field: number, v: number): void { Atomics.store(this.words, this.vcpu(slot, n) + field, v); }
  vlong(slot: number, n: number, field: number): bigint { return Atomics.load(this.longs, (this.vcpu(slot, n) + field) / 2); }
  setVlong(slot: number, n: number, field: number, v: bigint): void { Atomics.store(this.longs, (this.vcpu(slot, n) + field) / 2, v); }

  /** Forgets an earlier domain of this slot. */
  clearSlot(slot: number): void {
    this.words.fill(0, this.domain(slot), this.domain(slot) + DOMAIN_WORDS);
    this.words.fill(0, this.vcpu(slot, 0), this.vcpu(slot, MAX_VCPUS));
    this.words.fill(0, this.hypercalls(slot, 0), this.hypercalls(slot, HYPERCALL_NUMBERS));
    this.perf.fill(0, this.perfOf(slot, 0), this.perfOf(slot + 1, 0));
  }
  /** Slot of a living domain, or -1. Looked for where this thread last found one of that number. */
  slotOf(domid: number): number {
    const hint = domid & this.#slots.length - 1;
    if (this.#isIn(this.#slots[hint]!, domid)) return this.#slots[hint]!;
    for (let s = 0; s < MAX_SLOTS; s++) if (this.#isIn(s, domid)) return this.#slots[hint] = s;
    return -1;
  }
  #isIn(slot: number, domid: number): boolean { return this.dget(slot, D.state) !== DOMAIN_STATE.free && this.dget(slot, D.domid) === domid; }
  /** System time in ns: since the hypervisor started, the same on every thread. */
  now(): bigint { return process.hrtime.bigint() - this.longs[H.epochLow / 2]!; }
  /** Wall-clock time of system time 0, in ns since 1970. */
  wallEpoch(): bigint { return this.longs[H.wallLow / 2]!; }
}
