import { expect, test } from 'vitest';
import type { Hypervisor } from '../domain/hypervisor.ts';
import { H, HypervisorState } from '../domain/state.ts';
import { newDeadline } from './pcpus.ts';

function ringsFor(tickerLooksAt: bigint, deadline: bigint): boolean {
  const state = HypervisorState.create(1), hv = { state } as unknown as Hypervisor;
  Atomics.store(state.longs, H.tickNext / 2, tickerLooksAt);
  const before = Atomics.load(state.words, H.tickBell);
  newDeadline(hv, deadline);
  return Atomics.load(state.words, H.tickBell) !== before;
}
test('the ticker is woken for a deadline before its next look, and while it looks; not for a later one', () => {
  expect(ringsFor(1000n, 999n)).toBe(true);
  expect(ringsFor(0n, 5000n)).toBe(true);
  expect(ringsFor(1000n, 1000n)).toBe(false);
});
