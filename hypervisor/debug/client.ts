// Dom0's side of the mailbox: one request at a time per domain, each answered by the vCPU's thread or given up.
import { type Hypervisor, kick } from '../domain/hypervisor.ts';
import { D, MAX_SLOTS, V } from '../domain/state.ts';
import { DEBUG, DEBUG_DATA_BYTES, type DebugAnswer, type DebugRequest, type DebugSession } from '../public/debug.ts';
import { EBUSY, EINVAL, ESRCH, ETIMEDOUT } from '../public/errno.ts';
import { B, Mailbox } from './mailbox.ts';

const PATIENCE_MS = 2000, LOOK_MS = 100;
const nothing = new Uint8Array(0);
const failed = (error: number): DebugAnswer => ({ result: -error, data: nothing });

export class DebugClient {
  private readonly hv: Hypervisor;
  private readonly queues = new Map<number, Promise<unknown>>();
  private readonly sessions = new Set<number>();
  constructor(hv: Hypervisor) { this.hv = hv; }

  /** A debugger that an earlier Dom0 served is gone with it: what it held runs on. */
  async releaseAll(): Promise<void> {
    const { state } = this.hv;
    for (let slot = 1; slot < MAX_SLOTS; slot++) {
      const box = new Mailbox(state, slot), domid = state.dget(slot, D.domid);
      if (domid === 0 || box.get(B.domid) !== domid) continue;
      box.set(B.holdNew, 0);
      for (let vcpu = 0; vcpu < state.dget(slot, D.vcpus); vcpu++) {
        if (!state.vget(slot, vcpu, V.started)) continue;
        const release = (): Promise<DebugAnswer> => this.request(domid, vcpu, { operation: DEBUG.release });
        // The last request of the earlier Dom0 may still be under way.
        for (let tries = 0; tries < PATIENCE_MS / LOOK_MS && (await release()).result === -EBUSY; tries++) await new Promise(resolve => { setTimeout(resolve, LOOK_MS); });
      }
    }
  }

  /** Answers come in the order of the requests. */
  request(domid: number, vcpu: number, request: DebugRequest): Promise<DebugAnswer> {
    const before = this.queues.get(domid) ?? Promise.resolve(), answer = before.then(() => this.ask(domid, vcpu, request)), done = answer.catch(() => {});
    this.queues.set(domid, done);
    void done.then(() => { if (this.queues.get(domid) === done) this.queues.delete(domid); });
    return answer;
  }
  private async ask(domid: number, vcpu: number, request: DebugRequest): Promise<DebugAnswer> {
    const { state } = this.hv, slot = state.slotOf(domid), data = request.data ?? nothing;
    if (data.length > DEBUG_DATA_BYTES || (request.length ?? 0) > DEBUG_DATA_BYTES) return failed(EINVAL);
    if (slot <= 0 || !(vcpu >= 0 && vcpu < state.dget(slot, D.vcpus)) || !state.vget(slot, vcpu, V.started)) return failed(ESRCH);
    const box = new Mailbox(state, slot);
    box.takeFor(domid);
    // Somebody gave up on a request that is still not answered.
    if (box.get(B.asked) !== box.get(B.answered)) return failed(EBUSY);
    box.data.set(data);
    box.set(B.vcpu, vcpu);
    box.set(B.operation, request.operation);
    box.set(B.length, request.data ? data.length : request.length ?? 0);
    box.address = BigInt.asUintN(64, request.address ?? 0n);
    const asked = box.get(B.asked) + 1 | 0, deadline = performance.now() + PATIENCE_MS;
    box.set(B.asked, asked);
    kick(this.hv, slot, vcpu);
    for (;;) {
      const answered = box.get(B.answered);
      if (answered === asked) break;
      if (state.slotOf(domid) !== slot) return failed(ESRCH);
      if (performance.now() > deadline) return failed(ETIMEDOUT);
      const wait = Atomics.waitAsync(box.words, box.at + B.answered, answered, LOOK_MS);
      if (wait.async) await wait.value;
    }
    return { result: box.get(B.result), data: box.data.slice(0, Math.min(Math.max(0, box.get(B.length)), DEBUG_DATA_BYTES)) };
  }

  /** `onStop`: a vCPU has stopped by itself, or the domain is gone. -EBUSY when another debugger has it. */
  attach(domid: number, onStop: () => void): DebugSession | number {
    const { state } = this.hv, slot = state.slotOf(domid);
    if (slot <= 0) return -ESRCH;
    if (this.sessions.has(domid)) return -EBUSY;
    this.sessions.add(domid);
    const box = new Mailbox(state, slot);
    box.takeFor(domid);
    box.set(B.holdNew, 1);
    let open = true;
    const watch = async (): Promise<void> => {
      for (let seen = box.get(B.stops); open;) {
        const wait = Atomics.waitAsync(box.words, box.at + B.stops, seen, PATIENCE_MS);
        if (wait.async) await wait.value;
        const now = box.get(B.stops), gone = state.slotOf(domid) !== slot;
        if (open && (now !== seen || gone)) onStop();
        if (gone) return;
        seen = now;
      }
    };
    void watch();
    const vcpus = state.dget(slot, D.vcpus), isStarted = (vcpu: number): boolean => state.slotOf(domid) === slot && state.vget(slot, vcpu, V.started) !== 0;
    return {
      vcpus, isStarted, stopOf: vcpu => box.stopOf(vcpu),
      request: (vcpu, request) => this.request(domid, vcpu, request),
      close: async () => {
        if (!open) return;
        open = false;
        if (box.get(B.domid) === domid) box.set(B.holdNew, 0);
        for (let n = 0; n < vcpus; n++) if (isStarted(n)) await this.request(domid, n, { operation: DEBUG.release });
        this.sessions.delete(domid);
      },
    };
  }
}
