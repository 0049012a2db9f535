// The hypervisor's clock: sleeps until the next deadline, then makes the vCPU concerned look: its singleshot timer is
// due, or its slice is over and others wait.
import { workerData, type MessagePort } from 'node:worker_threads';
import { H, HypervisorState, V } from '../domain/state.ts';
import { type Hypervisor, kick } from '../domain/hypervisor.ts';
import { Memories } from '../domain/memories.ts';
import { forEachVcpu, sliceEndNs } from '../sched/pcpus.ts';

const IDLE_NS = 1_000_000_000n;
/** What is due stays so until its thread has acted: it is told again after a while. */
const AGAIN_NS = 1_000_000n;
const { buffer, memoryPort } = workerData as { buffer: SharedArrayBuffer; memoryPort: MessagePort };
const state = new HypervisorState(buffer), hv: Hypervisor = { state, memories: new Memories(memoryPort) };

for (;;) {
  const bell = Atomics.load(state.words, H.tickBell), now = state.now();
  // From here on a new deadline rings: the scan may have passed its place already.
  Atomics.store(state.longs, H.tickNext / 2, 0n);
  hv.memories.refresh(state);
  let next = now + IDLE_NS;
  const waiting = Atomics.load(state.words, H.waiting) > 0;
  const until = (at: bigint): void => { if (at < next) next = at; };
  forEachVcpu(hv, (s, v) => {
    const deadline = state.vlong(s, v, V.deadline), sliceEnd = waiting && state.vget(s, v, V.granted) ? sliceEndNs(hv, s, v) : undefined;
    const due = (at: bigint): void => { if (at > now) until(at); else { kick(hv, s, v); until(now + AGAIN_NS); } };
    if (deadline > 0n) due(deadline);
    if (sliceEnd !== undefined) due(sliceEnd);
  });
  Atomics.store(state.longs, H.tickNext / 2, next);
  const ms = Number(next - state.now()) / 1e6;
  if (ms > 0) Atomics.wait(state.words, H.tickBell, bell, ms);
}
