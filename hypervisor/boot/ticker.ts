// The hypervisor's clock: sleeps until the next deadline, then makes the vCPU concerned look: its singleshot timer is
// due, or its slice is over and others wait.
import { workerData, type MessagePort } from 'node:worker_threads';
import { H, HypervisorState, V } from '../domain/state.ts';
import { type Hypervisor, kick } from '../domain/hypervisor.ts';
import { Memories } from '../domain/memories.ts';
import { forEachVcpu, SLICE_NS } from '../sched/pcpus.ts';

const IDLE_MS = 1000;
const { buffer, memoryPort } = workerData as { buffer: SharedArrayBuffer; memoryPort: MessagePort };
const state = new HypervisorState(buffer), hv: Hypervisor = { state, memories: new Memories(memoryPort) };

for (;;) {
  const bell = Atomics.load(state.words, H.tickBell), now = state.now();
  let next = now + BigInt(IDLE_MS) * 1_000_000n;
  const waiting = Atomics.load(state.words, H.waiting) > 0;
  forEachVcpu(hv, (s, v) => {
    const deadline = state.vlong(s, v, V.deadline);
    if (deadline > 0n) {
      // Not before a little later for one that is due: its thread clears it.
      if (deadline <= now) { kick(hv, s, v); if (now + 1_000_000n < next) next = now + 1_000_000n; } else if (deadline < next) next = deadline;
    }
    if (waiting && state.vget(s, v, V.granted)) {
      const end = state.vlong(s, v, V.ranSince) + SLICE_NS;
      if (end <= now) { kick(hv, s, v); if (now + 1_000_000n < next) next = now + 1_000_000n; } else if (end < next) next = end;
    }
  });
  const ms = Number(next - state.now()) / 1e6;
  if (ms > 0) Atomics.wait(state.words, H.tickBell, bell, ms);
}
