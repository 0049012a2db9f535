// The thread of one vCPU: waits until it may run, runs guest code, answers its exits.
//
// No wake-up is lost: whoever wants something writes it down first, then sets the attention word and rings the bell.
// This thread reads the bell before it looks at what is written down and sleeps only on the bell it has read; while it
// runs guest code it clears the attention word before it looks.
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from 'node:worker_threads';
import { attentionOffset, CODE } from '../cpu/layout.ts';
import { EXIT, type ProcessorHost } from '../cpu/processor-api.ts';
import { CodeBudget } from '../cpu/jit/budget.ts';
import type { JitMode } from '../cpu/jit/mode.ts';
import type { Helper, Response } from '../cpu/jit/translator.ts';
import type { Legacy } from '../cpu/kept-code.ts';
import { createProcessor } from '../cpu/processor.ts';
import { DebugAgent } from '../debug/agent.ts';
import { kick } from '../domain/hypervisor.ts';
import { Memories } from '../domain/memories.ts';
import { D, DOMAIN_STATE, DUMP, HypervisorState, INITIALISED, V } from '../domain/state.ts';
import { Vcpu } from '../domain/vcpu.ts';
import { isPending, sendVirq } from '../event/channels.ts';
import { setRemoteFlush, flushLocal } from '../mm/flush.ts';
import type { BootContext } from '../public/dom0-hypercalls.ts';
import { DEBUG_STOP } from '../public/debug.ts';
import { RUNSTATE_blocked, RUNSTATE_offline, RUNSTATE_runnable, RUNSTATE_running } from '../public/vcpu.ts';
import { VIRQ_TIMER } from '../public/xen.ts';
import { HaltPoll } from '../sched/halt-poll.ts';
import { holdsPcpu, leavePcpu, requestPcpu, sliceOver } from '../sched/pcpus.ts';
import { fillTimeInfo, VCPU_TIME_INFO } from '../time/pvclock.ts';
import { appendConsole } from '../trace/console.ts';
import { KIND } from '../trace/perf.ts';
import { createPvState } from '../traps/pv-state.ts';
import { FLAT_RING3_CS64, FLAT_RING3_SS64, lookupDescriptor } from '../traps/segments.ts';
import { upcallMasked, upcallPending } from '../traps/mode.ts';
import { deliverPending, dumpRegisters, handleExit, initialContext, loadGuestContext } from '../traps/index.ts';
import type { Start, ThreadRequest } from './main.ts';
import { nameThread, runBelowDom0 } from './thread-priority.ts';

export interface VcpuThreadData {
  readonly buffer: SharedArrayBuffer; readonly memoryPort: MessagePort; readonly slot: number; readonly domid: number;
  readonly vcpu: number; readonly module: WebAssembly.Module; readonly start: Start;
  readonly jit: JitMode;
  /** Address of memory for native code (cpu/native/executable-memory.ts). */
  readonly native?: number;
  /** To the thread that translates. */
  readonly translations?: MessagePort;
  /** What an earlier domain left of its code; and what this one's is to be called (main.ts). */
  readonly keep?: { readonly key: string; readonly legacy: Legacy | undefined };
  /** Of all translators of the process, and which of them is this vCPU's (jit/budget.ts). */
  readonly code?: { readonly shares: Int32Array; readonly own: number };
}

/** What a spare thread is told when it becomes a vCPU's. */
type Assignment = Omit<VcpuThreadData, 'buffer'> & { readonly name: string };
async function assigned(): Promise<Assignment> {
  const assignment = await new Promise<Assignment>(resolve => { parentPort!.once('message', resolve); });
  nameThread(assignment.name);
  return assignment;
}

const given = workerData as Pick<VcpuThreadData, 'buffer'> & Partial<VcpuThreadData>;
const data: Omit<VcpuThreadData, 'buffer'> = given.slot === undefined ? await assigned() : given as VcpuThreadData, { slot, domid } = data, id = data.vcpu;
const state = new HypervisorState(given.buffer), hv = { state, memories: new Memories(data.memoryPort) };
const { words } = state, bell = state.vcpu(slot, id) + V.bell, poll = new HaltPoll(words, bell);
const live = (): boolean => state.dget(slot, D.state) === DOMAIN_STATE.live;
const halted = (v: Vcpu): boolean => agent?.held === true || state.dget(slot, D.paused) > 0 || v.stopped || !state.vget(slot, id, V.up);
runBelowDom0();
let current: Vcpu | undefined, agent: DebugAgent | undefined;

// A sibling's translations go by request; the asker waits until each has done it or is certain to before guest code.
setRemoteFlush((ctx, vcpus) => {
  for (let n = 0; n < ctx.layout.vcpus; n++) {
    if (!(vcpus >> BigInt(n) & 1n) || !state.vget(slot, n, V.started)) continue;
    const wanted = Atomics.add(words, state.vcpu(slot, n) + V.flushWanted, 1) + 1;
    kick(hv, slot, n);
    while (live() && state.vget(slot, n, V.runstate) === RUNSTATE_running && state.vget(slot, n, V.flushDone) - wanted < 0) flushIfAsked();
  }
}, flushIfAsked);
function flushIfAsked(): void {
  const wanted = state.vget(slot, id, V.flushWanted);
  if (!current || wanted === state.vget(slot, id, V.flushDone)) return;
  flushLocal(current);
  state.vset(slot, id, V.flushDone, wanted);
}

/** Code that a backend wrote over. */
function dropDirtyCode(v: Vcpu): void {
  const n = Atomics.exchange(words, state.domain(slot) + D.dirtyCode, 0);
  if (n === 0) return;
  const { bytes, layout } = v.memory;
  for (let f = layout.first; f < layout.end; f++) if (bytes[layout.codeMap + f]! & CODE.dirtied) v.processor.invalidateCode(f);
}
function fireTimer(v: Vcpu): void {
  const deadline = state.vlong(slot, id, V.deadline);
  if (deadline === 0n || deadline > state.now()) return;
  state.setVlong(slot, id, V.deadline, 0n);
  sendVirq(hv, slot, v.vcpuId, VIRQ_TIMER);
}
/** What may be asked of a vCPU whether it runs or not. */
function lookAround(v: Vcpu): void {
  hv.memories.refresh(state);
  agent?.serve();
  flushIfAsked();
  fireTimer(v);
  v.perf.lookAround(v.processor.rip, v.pv.kernelMode, v.processor.leftTranslation, () => v.processor.counters());
  v.pv.vmAssist = state.dget(slot, D.vmAssist);
  if (Atomics.exchange(words, state.vcpu(slot, id) + V.nmi, 0)) v.pv.nmiPending = true;
  const dump = Atomics.exchange(words, state.vcpu(slot, id) + V.dump, 0);
  if (dump & DUMP.registers) for (const line of dumpRegisters(v)) appendConsole(state, line);
  if (dump & DUMP.counters) appendConsole(state, `d${domid}v${id} processor: ${Object.entries(v.processor.counters()).map(([name, n]) => `${name}=${n}`).join(' ')}`);
}
function pollDone(v: Vcpu): boolean {
  const { poll } = v;
  if (!poll) return false;
  return poll.ports.some(p => isPending(hv, slot, p)) || poll.deadline !== 0n && state.now() >= poll.deadline || !poll.upcallBefore && upcallPending(v);
}

/** Parks until the vCPU has reason to run; false when the domain goes away. */
function waitRunnable(v: Vcpu): boolean {
  for (;;) {
    const seen = Atomics.load(words, bell);
    if (!live()) return false;
    lookAround(v);
    const blocked = state.vget(slot, id, V.blocked);
    if (!halted(v)) {
      if (!blocked) return true;
      if (upcallPending(v) && !upcallMasked(v) || v.pv.nmiPending && v.pv.nmi.address !== 0n || blocked === 2 && pollDone(v)) {
        state.vset(slot, id, V.blocked, 0);
        v.poll = undefined;
        return true;
      }
    }
    const offline = !state.vget(slot, id, V.up) || v.stopped;
    v.setRunstate(offline ? RUNSTATE_offline : blocked ? RUNSTATE_blocked : RUNSTATE_runnable);
    let until = state.vlong(slot, id, V.deadline);
    if (v.poll?.deadline && (until === 0n || v.poll.deadline < until)) until = v.poll.deadline;
    const ms = until === 0n || halted(v) ? undefined : Math.max(0, Number(until - state.now()) / 1e6);
    if (blocked && !offline) poll.wait(seen, ms); else Atomics.wait(words, bell, seen, ms);
  }
}
function waitPcpu(v: Vcpu): boolean {
  if (requestPcpu(hv, slot, id)) return true;
  v.setRunstate(RUNSTATE_runnable);
  for (;;) {
    const seen = Atomics.load(words, bell);
    if (holdsPcpu(hv, slot, id)) return true;
    if (!live()) return false;
    lookAround(v);
    Atomics.wait(words, bell, seen);
  }
}

/** One instruction at a time, until the attention word calls or the vCPU has reason to stop (true). */
function runSlowly(v: Vcpu, debug: DebugAgent): boolean {
  do {
    if (debug.mayDeliver) deliverPending(v);
    if (v.stopped || !debug.before()) return true;
    const exit = v.processor.step();
    if (exit === EXIT.watchpoint) { debug.stop(DEBUG_STOP.watch); return true; }
    if (exit && exit !== EXIT.attention) handleExit(v, exit);
    if (debug.after()) return true;
    if (state.vget(slot, id, V.blocked) || v.stopped || !state.vget(slot, id, V.up) || v.yielded) { v.yielded = false; return true; }
  } while (!Atomics.load(v.memory.words, attentionOffset(id) / 4));
  return false;
}

/** Holding a pCPU: guest code until there is a reason to stop. */
function runGuest(v: Vcpu): void {
  const attention = attentionOffset(id) / 4;
  v.setRunstate(RUNSTATE_running);
  // A flush asked for while this vCPU was not running was not waited for: from here on askers wait.
  flushIfAsked();
  agent?.keepSlow();
  for (;;) {
    if (Atomics.load(v.memory.words, attention)) {
      // Cleared before the reasons are looked at: a later one sets it again.
      Atomics.store(v.memory.words, attention, 0);
      if (!live() || halted(v)) return;
      lookAround(v);
      v.perf.exit(KIND.attention);
      dropDirtyCode(v);
      if (agent?.held || sliceOver(hv, slot, id)) return;
      if (agent?.slow) { if (runSlowly(v, agent)) return; continue; }
    }
    if (deliverPending(v)) v.perf.exit(KIND['event upcall']);
    if (v.stopped) return;
    const begin = v.perf.timed ? performance.now() : 0, exit = v.processor.run(), end = v.perf.timed ? performance.now() : 0;
    if (v.perf.timed) v.perf.guestTook(end - begin);
    if (exit === EXIT.breakpoint || exit === EXIT.watchpoint) { agent?.stop(exit === EXIT.breakpoint ? DEBUG_STOP.breakpoint : DEBUG_STOP.watch); return; }
    if (exit !== EXIT.attention) {
      const kind = handleExit(v, exit);
      v.perf.exit(kind);
      if (v.perf.timed) v.perf.exitTook(kind, performance.now() - end);
    }
    if (state.vget(slot, id, V.blocked) || v.stopped || !state.vget(slot, id, V.up)) return;
    if (v.yielded) { v.yielded = false; return; }
  }
}

const tellMain = (request: ThreadRequest): void => parentPort!.postMessage(request);

/** The vCPU with its start state, or undefined when that was refused. */
function bringUp(): Vcpu | undefined {
  const memory = hv.memories.get(slot, domid);
  if (!memory) throw new Error(`no memory for domain ${domid}`);
  const v = new Vcpu(hv, memory, id, createPvState(), {
    startSibling: (vcpu, image) => tellMain({ xenolith: 'start', slot, domid, vcpu, start: { image } }),
    answer: flushIfAsked,
  });
  const host: ProcessorHost = {
    descriptor: selector => lookupDescriptor(v, selector),
    unchanging: { cs: FLAT_RING3_CS64, ss: FLAT_RING3_SS64 },
    foreign: () => 0,
    clock: () => v.systemTimeNs(),
    unimplemented: (rip, bytes) => v.log(`instruction not implemented at ${rip.toString(16)}: ${bytes}`),
  };
  const port = data.translations, helper: Helper | undefined = port && { post: r => port.postMessage(r), take: () => receiveMessageOnPort(port)?.message as Response | undefined };
  v.processor = createProcessor({ memory: memory.memory, layout: memory.layout, vcpu: id, slot, module: data.module, host, jit: data.jit, ...helper && { translations: helper }, ...data.keep && { keep: data.keep }, ...data.native !== undefined && { code: data.native }, ...data.code && { codeBudget: new CodeBudget(data.code.shares, data.code.own) } });
  v.pv.vmAssist = state.dget(slot, D.vmAssist);
  current = v;
  fillTimeInfo(memory.view, v.vcpuInfo + VCPU_TIME_INFO);
  const { start } = data;
  const error = 'boot' in start ? initialContext(v, start.boot as BootContext) : loadGuestContext(v, new DataView(start.image.buffer, start.image.byteOffset, start.image.byteLength));
  state.vset(slot, id, V.initialised, error || INITIALISED.yes);
  Atomics.notify(words, state.vcpu(slot, id) + V.initialised);
  if (!error) return v;
  if ('boot' in start) v.crash(`start state refused (${error})`);
  return undefined;
}

function main(): void {
  const v = bringUp();
  if (!v) return;
  agent = new DebugAgent(v);
  try {
    while (waitRunnable(v)) {
      if (!waitPcpu(v)) break;
      try { runGuest(v); } finally { v.setRunstate(v.stopped ? RUNSTATE_offline : RUNSTATE_runnable); leavePcpu(hv, slot, id); }
    }
  } finally { leavePcpu(hv, slot, id); }
}

try {
  main();
} catch (error) {
  // Whatever went wrong on this thread is this domain's end and nobody else's.
  current?.crash(`processor: ${error instanceof Error ? error.stack?.split('\n').slice(0, 4).join(' | ') : String(error)}`);
}
const legacy = data.keep && current?.processor.legacy?.();
if (legacy) tellMain({ xenolith: 'legacy', key: data.keep!.key, legacy });
parentPort?.close();
data.memoryPort.close();
data.translations?.close();
