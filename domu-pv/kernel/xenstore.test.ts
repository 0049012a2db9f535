// The client against xenstored itself, over one page: Dom0 gets to run only where the guest blocks.
import { expect, test } from 'vitest';
import { xenstore_domain_interface as ring, XENSTORE_PAYLOAD_MAX, XS_READ, XS_WRITE, xsd_sockmsg as header } from '../../hypervisor/public/io/xs_wire.ts';
import { FakeHypervisor, newPage } from '../../dom0/bus/fakes.ts';
import { XenstoreServer } from '../../dom0/xenstore/server.ts';
import { shared_info, vcpu_info } from '../../hypervisor/public/layouts.ts';
import type { ProgramVcpu } from '../../hypervisor/public/program.ts';
import { Events } from './events.ts';
import type { Hypercalls } from './hypercalls.ts';
import { StoreError, XenStore } from './xenstore.ts';

const DOMID = 5, STORE_PORT = 1, TIMER_PORT = 2;

interface Guest { readonly store: XenStore; readonly events: Events; readonly server: XenstoreServer; readonly log: string[] }

/** One vCPU whose hypercalls are event channels and block. A block that nothing can end is an error. */
function guest(): Guest {
  const hypervisor = new FakeHypervisor(), log: string[] = [], server = new XenstoreServer({ hypercalls: hypervisor.hypercalls, log: line => log.push(line) }), page = newPage(), info = newPage();
  const words = new Int32Array(info.buffer);
  let upcall = (): void => {}, seen = 0, isKicked = false;
  hypervisor.addDomain(DOMID);
  server.client().mkdir(`/local/domain/${DOMID}`);
  server.client().setPerms(`/local/domain/${DOMID}`, [`n${DOMID}`]);
  server.introduce(DOMID, page, STORE_PORT);
  const deliver = (): void => {
    const sent = hypervisor.sentTo(DOMID, STORE_PORT);
    if (sent > seen) { seen = sent; Atomics.or(words, shared_info.fields.evtchn_pending / 4, 1 << STORE_PORT); words[vcpu_info.fields.evtchn_pending_sel / 4] = 1; info[0] = 1; }
    while (info[0] && !info[1]) { info[1] = 1; upcall(); }
  };
  const hypercalls = {
    evtchnBindVirq: () => TIMER_PORT, evtchnUnmask: () => {}, deliverPending: deliver, setTimer: () => { throw new Error('no timer here'); },
    evtchnSend: () => { isKicked = true; deliver(); },
    block: () => {
      const before = seen;
      info[1] = 0;
      if (isKicked) { isKicked = false; hypervisor.fire(DOMID, STORE_PORT); }
      deliver();
      if (seen === before) throw new Error('both sides wait');
    },
  };
  const vcpu = { sharedFrame: () => info, onUpcall: (handler: () => void) => { upcall = handler; } };
  const events = new Events(vcpu as unknown as ProgramVcpu, hypercalls as unknown as Hypercalls, 0);
  return { store: new XenStore(page, events, STORE_PORT), events, server, log };
}

function request(type: number, payload: string, byteCount = payload.length): Uint8Array {
  const message = new Uint8Array(header.sizeof + payload.length), v = new DataView(message.buffer);
  v.setUint32(header.type, type, true);
  v.setUint32(header.req_id, 0xffff_0000, true);
  v.setUint32(header.len, byteCount, true);
  message.set(Uint8Array.from(payload, c => c.charCodeAt(0)), header.sizeof);
  return message;
}

test('asks, watches, and runs a transaction again that another came into', () => {
  const { store, events, server } = guest(), seen: string[] = [];
  store.write('a', 'x');
  expect(store.read('a')).toBe('x');
  expect(() => store.read('none')).toThrow(StoreError);
  const unwatch = store.watch('a', path => seen.push(path));
  store.write('a', 'y');
  events.runDeferred();
  unwatch();
  expect(seen).toEqual(['a', 'a']);
  let runs = 0;
  store.transaction(tx => { store.read('a', tx); if (runs++ === 0) server.client().write(`/local/domain/${DOMID}/a`, 'other'); store.write('a', 'mine', tx); });
  expect([runs, store.read('a')]).toEqual([2, 'mine']);
});

test('writes many at once; one that is refused is said, the others are done', () => {
  const { store, server } = guest();
  server.client().write('/local/domain/5/theirs', '');
  server.client().setPerms('/local/domain/5/theirs', ['n0']);
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`many/${n}`, `value ${n}`]));
  store.writeAll(many);
  expect([store.read('many/0'), store.read('many/99'), store.list('many').length]).toEqual(['value 0', 'value 99', 100]);
  expect(() => store.writeAll({ a: 1, theirs: 2, b: 3 })).toThrow('theirs: EACCES');
  expect([store.read('a'), store.read('b')]).toEqual(['1', '3']);
  expect(() => store.writeAll({ a: 4, theirs: 5 })).toThrow('EACCES');
  store.writeAll({ a: 6 });
  store.writeAll({});
  store.transaction(tx => store.writeAll({ a: 7, b: 8 }, tx));
  expect([store.read('a'), store.read('b')]).toEqual(['7', '8']);
});

test('what a watch asks does not come into the middle of a message that waits for room', () => {
  const { store, events } = guest(), seen: (string | undefined)[] = [];
  store.watch('news', () => { seen.push(store.tryRead('news')); });
  // The first fires the watch, the last does not fit in whole.
  store.send(request(XS_WRITE, 'news\x001'));
  for (let n = 0; n < 3; n++) store.send(request(XS_WRITE, `big\0${'v'.repeat(600)}`));
  expect(store.read('big')).toBe('v'.repeat(600));
  events.runDeferred();
  expect(seen).toContain('1');
});

test('a connection that the other side gives up is made anew, with its watches, and what was asked is asked again', () => {
  const { store, events, log } = guest(), seen: string[] = [];
  store.watch('a', path => seen.push(path));
  store.write('a', '1');
  events.runDeferred();
  seen.length = 0;
  store.send(request(XS_READ, '', XENSTORE_PAYLOAD_MAX + 1));
  expect(store.read('a')).toBe('1');
  expect(log.join()).toContain(`no more requests of d${DOMID} are read`);
  store.write('a', '2');
  events.runDeferred();
  expect(seen.length).toBeGreaterThan(0);
  store.poke(ring.req_prod, -5);
  expect(store.read('a')).toBe('2');
});

test('a transaction that the connection takes with it begins again', () => {
  const { store } = guest();
  let runs = 0;
  store.transaction(tx => {
    if (runs++ === 0) store.send(request(XS_READ, '', XENSTORE_PAYLOAD_MAX + 1));
    store.write('t', runs, tx);
  });
  expect([runs, store.read('t')]).toEqual([2, '2']);
});
