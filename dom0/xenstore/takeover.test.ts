// A server that takes over from one that crashed, at any place: requests are carried out once, replies given once.
import { expect, test } from 'vitest';
import { newHandover } from '../../hypervisor/public/handover.ts';
import * as xs from '../../hypervisor/public/io/xs_wire.ts';
import { FakeHypervisor, newPage, settle } from '../bus/fakes.ts';
import { XenstoreServer } from './server.ts';
import { RingClient } from './test-clients.ts';

const PORT = 1, DOM = 5;

function world() {
  const memory = newPage(), handover = newHandover(), log: string[] = [];
  // Event channels of a thread that ended are closed: each start has a hypervisor of its own.
  let hypervisor = new FakeHypervisor();
  const start = (): XenstoreServer => {
    hypervisor = new FakeHypervisor();
    hypervisor.addDomain(DOM);
    return new XenstoreServer({ hypercalls: { ...hypervisor.hypercalls, foreign: () => ({ bytes: memory, slot: 1 }) }, handover, log: line => log.push(line) });
  };
  const guest = new RingClient(memory), first = start(), store = first.client();
  store.mkdir(`/local/domain/${DOM}`);
  store.setPerms(`/local/domain/${DOM}`, [`n${DOM}`]);
  first.introduce(DOM, memory, PORT);
  return { guest, log, start, kick: (): void => hypervisor.fire(DOM, PORT) };
}

test('nodes, permissions, watches and transactions are there again', async () => {
  const { guest, start, kick, log } = world();
  guest.send(xs.XS_WRITE, 'a\0one');
  guest.send(xs.XS_WATCH, 'a\0token\0');
  guest.send(xs.XS_TRANSACTION_START, '\0');
  kick();
  const tx = Number(guest.received().find(m => m.type === xs.XS_TRANSACTION_START)!.payload.slice(0, -1));
  guest.send(xs.XS_WRITE, 'b\0lost', 1, tx);
  kick();
  guest.received();
  const second = start(), store = second.client();
  expect(store.read(`/local/domain/${DOM}/a`)).toBe('one');
  expect(store.getPerms(`/local/domain/${DOM}/a`)).toEqual([`n${DOM}`]);
  expect(store.read(`/local/domain/${DOM}/b`)).toBeUndefined();
  store.write(`/local/domain/${DOM}/a`, 'two');
  await settle();
  expect(guest.received().map(m => m.payload)).toEqual(['a\0token\0']);
  // The transaction is known, and conflicts: the guest does it again.
  guest.send(xs.XS_TRANSACTION_END, 'T\0', 9, tx);
  kick();
  expect(guest.received().map(m => [m.type, m.reqId, m.payload])).toEqual([[xs.XS_ERROR, 9, 'EAGAIN\0']]);
  expect(second.isIntroduced(DOM)).toBe(true);
  second.release(DOM);
  await settle();
  expect(start().isIntroduced(DOM)).toBe(false);
  expect(log).toEqual([]);
});

test('streams go on in the middle of a message, and with what was not sent', async () => {
  const { guest, start, kick } = world(), big = 'v'.repeat(1900);
  guest.send(xs.XS_WRITE, `big\0${big}`, 1);
  // One ring full of the message has been taken, the rest is not sent yet.
  kick();
  expect(guest.idle).toBe(false);
  start();
  for (let i = 0; i < 10 && !guest.idle; i++) { guest.pump(); kick(); }
  expect(guest.received().map(m => [m.type, m.payload])).toEqual([[xs.XS_WRITE, 'OK\0']]);
  guest.send(xs.XS_READ, 'big\0', 2);
  kick();
  // One ring full of the reply is there, the rest is queued.
  start();
  for (let i = 0; i < 10; i++) { kick(); guest.pump(); }
  expect(guest.received().map(m => [m.reqId, m.payload])).toEqual([[2, big]]);
});

test('a long history becomes a short one', () => {
  const { guest, start, kick } = world();
  for (let i = 0; i < 5000; i++) { guest.send(xs.XS_WRITE, `n\0${'x'.repeat(500)}${i}`); kick(); guest.received(); }
  const store = start().client();
  expect(store.read(`/local/domain/${DOM}/n`)).toBe(`${'x'.repeat(500)}4999`);
  expect(store.list(`/local/domain/${DOM}`)).toEqual(['n']);
});
