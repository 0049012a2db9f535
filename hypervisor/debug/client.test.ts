// The mailbox between Dom0 and a vCPU's thread, with a thread that answers, one that does not and one that lies.
import { expect, test } from 'vitest';
import { Memories } from '../domain/memories.ts';
import { D, DOMAIN_STATE, HypervisorState, V } from '../domain/state.ts';
import { DEBUG, DEBUG_DATA_BYTES, DEBUG_STOP } from '../public/debug.ts';
import { EBUSY, EINVAL, ESRCH, ETIMEDOUT } from '../public/errno.ts';
import { DebugClient } from './client.ts';
import { B, Mailbox } from './mailbox.ts';

const SLOT = 3, DOMID = 7;
function world(): { state: HypervisorState; client: DebugClient; box: Mailbox; answer: (act: (box: Mailbox) => void) => void } {
  const state = HypervisorState.create(1);
  state.dset(SLOT, D.state, DOMAIN_STATE.live);
  state.dset(SLOT, D.domid, DOMID);
  state.dset(SLOT, D.vcpus, 2);
  state.vset(SLOT, 0, V.started, 1);
  const box = new Mailbox(state, SLOT);
  return {
    state, box, client: new DebugClient({ state, memories: new Memories() }),
    answer: act => {
      const look = (): void => {
        if (box.get(B.asked) === box.get(B.answered)) { setImmediate(look); return; }
        act(box);
        box.set(B.answered, box.get(B.asked));
        Atomics.notify(box.words, box.at + B.answered);
      };
      setImmediate(look);
    },
  };
}
const request = { operation: DEBUG.readMemory, address: 0xffff_8000_0000_1234n, length: 16 } as const;

test('a request and its answer', async () => {
  const { client, answer } = world();
  answer(box => {
    expect([box.get(B.domid), box.get(B.vcpu), box.get(B.operation), box.get(B.length), box.address]).toEqual([DOMID, 0, DEBUG.readMemory, 16, request.address]);
    box.data.set([1, 2, 3]);
    box.set(B.length, 3);
    box.set(B.result, 3);
  });
  const { result, data } = await client.request(DOMID, 0, request);
  expect([result, ...data]).toEqual([3, 1, 2, 3]);
});
test('a length that no answer can have is cut', async () => {
  const { client, answer } = world();
  answer(box => box.set(B.length, 0x7fffffff));
  expect((await client.request(DOMID, 0, request)).data.length).toBe(DEBUG_DATA_BYTES);
  answer(box => box.set(B.length, -1));
  expect((await client.request(DOMID, 0, request)).data.length).toBe(0);
});
test('vCPUs and domains that are not there; data that is too long', async () => {
  const { client } = world();
  const results = await Promise.all([client.request(DOMID, 1, request), client.request(DOMID, 2, request), client.request(DOMID, -1, request), client.request(99, 0, request), client.request(0, 0, request), client.request(DOMID, 0, { ...request, length: 4097 })]);
  expect(results.map(r => r.result)).toEqual([-ESRCH, -ESRCH, -ESRCH, -ESRCH, -ESRCH, -EINVAL]);
});
test('a thread that does not answer is given up, and not asked again until it has', async () => {
  const { client, box } = world();
  expect((await client.request(DOMID, 0, request)).result).toBe(-ETIMEDOUT);
  expect((await client.request(DOMID, 0, request)).result).toBe(-EBUSY);
  box.set(B.answered, box.get(B.asked));
  void client.request(DOMID, 0, request);
  await new Promise(resolve => { setImmediate(resolve); });
  expect(box.get(B.asked) - box.get(B.answered)).toBe(1);
});
test('the end of the domain ends the waiting', async () => {
  const { client, state } = world(), waiting = client.request(DOMID, 0, request);
  setTimeout(() => state.dset(SLOT, D.state, DOMAIN_STATE.free), 20);
  expect((await waiting).result).toBe(-ESRCH);
});
test('one debugger at a time; what it held is let go when it goes', async () => {
  const { client, box, answer } = world();
  box.set(B.domid, 5);
  box.setStop(0, DEBUG_STOP.breakpoint);
  const session = client.attach(DOMID, () => {});
  if (typeof session === 'number') throw new Error(`refused: ${session}`);
  // Nothing of the slot's last domain is left.
  expect([session.vcpus, session.isStarted(0), session.isStarted(1), session.stopOf(0)]).toEqual([2, true, false, DEBUG_STOP.none]);
  expect(client.attach(DOMID, () => {})).toBe(-EBUSY);
  expect(client.attach(99, () => {})).toBe(-ESRCH);
  let asked = 0;
  answer(b => { asked = b.get(B.operation); });
  await session.close();
  expect([asked, box.get(B.holdNew)]).toEqual([DEBUG.release, 0]);
  const again = client.attach(DOMID, () => {});
  expect(typeof again).toBe('object');
});
test('what an earlier Dom0 held runs on, also when it went in the middle of a request', async () => {
  const { state, box, client, answer } = world();
  box.takeFor(DOMID);
  box.set(B.holdNew, 1);
  box.set(B.asked, 5);
  let asked = 0;
  setTimeout(() => { box.set(B.answered, 5); answer(b => { asked = b.get(B.operation); }); }, 30);
  await client.releaseAll();
  expect([asked, box.get(B.holdNew), state.vget(SLOT, 0, V.started)]).toEqual([DEBUG.release, 0, 1]);
});
test('a stop is told', async () => {
  const { client, box } = world(), told = new Promise<void>(resolve => { client.attach(DOMID, resolve); });
  await new Promise(resolve => { setImmediate(resolve); });
  box.bump(B.stops);
  await told;
});
