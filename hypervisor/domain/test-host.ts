// A hypervisor without threads, for tests: shared state, domains made by Dom0's own code, a clock that stands still.
import { Dom0 } from '../boot/dom0.ts';
import type { ThreadRequest } from '../boot/main.ts';
import { spaceOfMemory } from '../grant/table.ts';
import type { Space } from '../mm/space.ts';
import { type Domid, type Mfn, mfnIndex } from '../public/types.ts';
import type { Hypervisor } from './hypervisor.ts';
import { type DomainMemory, Memories } from './memories.ts';
import { HypervisorState } from './state.ts';

export const PAGE = 4096, KIB_PER_FRAME = 4;
export const UUID = '5d72d3de-a654-4297-829e-9d59efb62889';

export interface TestDomain {
  readonly domid: Domid; readonly slot: number; readonly memory: DomainMemory; readonly space: Space;
  /** Frames the domain was populated with, and their machine frame numbers. */
  readonly frames: number[]; readonly mfns: Mfn[];
}
export interface TestHost {
  readonly hv: Hypervisor; readonly dom0: Dom0;
  /** What Dom0 has asked of main. */
  readonly requests: ThreadRequest[];
  /** System time in ns: moves only when the test moves it. */
  nowNs: bigint;
  addDomain(options?: { vcpus?: number; frames?: number; weight?: number }): TestDomain;
}

export function makeHost(pcpus = 2): TestHost {
  const hv: Hypervisor = { state: HypervisorState.create(pcpus), memories: new Memories() }, requests: ThreadRequest[] = [];
  const dom0 = new Dom0(hv, request => { requests.push(request); });
  const host: TestHost = {
    hv, dom0, requests, nowNs: 1_000_000_000n,
    addDomain({ vcpus = 1, frames = 16, weight = 256 } = {}) {
      const domid = dom0.domainCreate({ uuid: UUID, vcpus, maxMemKib: frames * KIB_PER_FRAME, weight }) as Domid;
      const mfns = dom0.populate(domid, frames);
      if (domid < 0 || typeof mfns === 'number') throw new Error(`no domain for the test: ${domid}, ${String(mfns)}`);
      const slot = hv.state.slotOf(domid), memory = hv.memories.get(slot, domid)!;
      return { domid, slot, memory, space: spaceOfMemory(memory), mfns, frames: mfns.map(mfnIndex) };
    },
  };
  hv.state.now = () => host.nowNs;
  return host;
}
