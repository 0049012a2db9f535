import { expect, test } from 'vitest';
import { D, DOMAIN_STATE, HypervisorState } from './state.ts';

test('slotOf finds a domain wherever it is by now, and none that has gone', () => {
  const state = HypervisorState.create(1), put = (slot: number, domid: number): void => { state.dset(slot, D.domid, domid); state.dset(slot, D.state, DOMAIN_STATE.live); };
  put(3, 7);
  put(4, 7 + 1024);
  expect([state.slotOf(7), state.slotOf(7 + 1024), state.slotOf(7), state.slotOf(0), state.slotOf(8)]).toEqual([3, 4, 3, 0, -1]);
  state.dset(3, D.state, DOMAIN_STATE.free);
  expect([state.slotOf(7), state.slotOf(7)]).toEqual([-1, -1]);
  put(5, 7);
  put(3, 9);
  expect([state.slotOf(7), state.slotOf(9)]).toEqual([5, 3]);
});
