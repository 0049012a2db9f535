import { afterEach, describe, expect, it } from 'vitest';
import * as xs from '../../hypervisor/public/io/xs_wire.ts';
import { FakeHypervisor, newPage, settle } from '../bus/fakes.ts';
import { XenStoreError } from './client.ts';
import { Connection } from './connection.ts';
import { RingTransport } from './ring-transport.ts';
import { XenstoreServer } from './server.ts';
import { RingClient } from './test-clients.ts';
import { encodeMessage, WireError, WireParser } from './wire.ts';

const page = xs.xenstore_domain_interface;
const PORT = 1;
let server: XenstoreServer | undefined;
afterEach(async () => { await server?.close(); server = undefined; });

function setup(): { server: XenstoreServer; hypervisor: FakeHypervisor; guest: RingClient; bytes: Uint8Array<SharedArrayBuffer>; kick: () => void; log: string[] } {
  const hypervisor = new FakeHypervisor(), log: string[] = [], bytes = newPage();
  server = new XenstoreServer({ hypercalls: hypervisor.hypercalls, log: line => log.push(line) });
  hypervisor.addDomain(5);
  const store = server.client();
  store.mkdir('/local/domain/5');
  store.setPerms('/local/domain/5', ['n5']);
  server.introduce(5, bytes, PORT);
  return { server, hypervisor, bytes, guest: new RingClient(bytes), kick: () => hypervisor.fire(5, PORT), log };
}

describe('a domain\'s ring', () => {
  it('answers requests, one or several to an event', () => {
    const { guest, kick, hypervisor } = setup();
    const before = hypervisor.sentTo(5, PORT);
    guest.send(xs.XS_WRITE, 'x\0hello', 1);
    guest.send(xs.XS_READ, 'x\0', 2);
    guest.send(xs.XS_READ, 'y\0', 3);
    kick();
    expect(guest.received().map(m => [m.type, m.reqId, m.payload])).toEqual([
      [xs.XS_WRITE, 1, 'OK\0'], [xs.XS_READ, 2, 'hello'], [xs.XS_ERROR, 3, 'ENOENT\0'],
    ]);
    expect(hypervisor.sentTo(5, PORT)).toBeGreaterThan(before);
  });
  it('moves messages larger than the ring, cut anywhere', async () => {
    const { guest, kick, server } = setup();
    server.client().setPerms('/local/domain/5', ['n5']);
    const value = 'v'.repeat(1900);
    for (let i = 0; i < 5; i++) {
      guest.send(xs.XS_WRITE, `x\0${value}${i}`, 10 + i);
      guest.send(xs.XS_READ, 'x\0', 20 + i);
    }
    const got = [];
    for (let i = 0; i < 200 && got.length < 10; i++) { kick(); await settle(); got.push(...guest.received()); }
    expect(got.map(m => m.payload.length)).toEqual(Array.from({ length: 5 }, () => [3, 1901]).flat());
    expect(guest.get(page.req_cons)).toBe(guest.get(page.req_prod));
  });
  it('sends events without being asked', async () => {
    const { guest, kick, server, hypervisor } = setup();
    guest.send(xs.XS_WATCH, 'k\0tok\0');
    kick();
    expect(guest.received().map(m => m.payload)).toEqual(['OK\0', 'k\0tok\0']);
    const before = hypervisor.sentTo(5, PORT);
    server.client().write('/local/domain/5/k', '1');
    await settle();
    expect(hypervisor.sentTo(5, PORT)).toBe(before + 1);
    expect(guest.received().map(m => [m.type, m.reqId, m.payload])).toEqual([[xs.XS_WATCH_EVENT, 0, 'k\0tok\0']]);
  });
  it('indexes may wrap', async () => {
    const { guest, bytes } = setup(), connection = new Connection({ domid: 5 }, 'd5');
    const near = 0xffff_fff0, nothing = new Uint8Array(0);
    for (const index of [page.req_cons, page.req_prod, page.rsp_cons, page.rsp_prod]) guest.set(index, near);
    const ring = new RingTransport({
      page: bytes, connection, handle: m => connection.reply({ ...m, payload: '/local/domain/5\0' }), reset: () => {}, notify: () => {}, maxOutstanding: () => 20, log: () => {},
    });
    ring.resume({ requestBytes: near, partial: nothing, replyBytes: near, unsent: nothing });
    const kick = (): void => ring.onEvent();
    guest.send(xs.XS_GET_DOMAIN_PATH, '5\0');
    kick();
    expect(guest.received().map(m => m.payload)).toEqual(['/local/domain/5\0']);
    expect(guest.get(page.req_prod)).toBeLessThan(100);
  });
  it('stops reading from a guest that does not take its answers', async () => {
    const { guest, kick } = setup();
    guest.send(xs.XS_WRITE, `x\0${'v'.repeat(900)}`);
    kick();
    guest.received();
    const request = encodeMessage({ type: xs.XS_READ, reqId: 7, txId: 0, payload: 'x\0' });
    let prod = guest.get(page.req_prod);
    for (let i = 0; i < 1000; i++) {
      if (((prod + request.length - guest.get(page.req_cons)) >>> 0) > 1024) { kick(); await settle(); }
      if (((prod + request.length - guest.get(page.req_cons)) >>> 0) > 1024) break;
      for (const byte of request) guest.page[page.req + (prod++ & 1023)] = byte;
      guest.set(page.req_prod, prod);
    }
    // The ring is full of requests: some 20 answers wait, no more.
    expect((prod - guest.get(page.req_cons)) >>> 0).toBeGreaterThan(1024 - request.length);
    let answers = 0;
    for (let i = 0; i < 200; i++) { answers += guest.received().length; kick(); await settle(); }
    expect(answers).toBeGreaterThan(20);
    expect(guest.get(page.req_cons)).toBe(prod >>> 0);
  });
  it('gives up a ring with senseless indexes, says so, and comes back when asked to', () => {
    const { guest, kick, server, log, hypervisor } = setup();
    guest.send(xs.XS_WATCH, 'k\0tok\0');
    kick();
    guest.received();
    guest.set(page.req_prod, guest.get(page.req_cons) + 1025);
    kick();
    expect(guest.get(page.error)).toBe(xs.XENSTORE_ERROR_RINGIDX);
    expect(log.join()).toContain('no more requests of d5 are read');
    server.client().write('/local/domain/5/k', '');
    const sent = hypervisor.sentTo(5, PORT);
    kick();
    expect(hypervisor.sentTo(5, PORT)).toBe(sent);
    guest.set(page.connection, xs.XENSTORE_RECONNECT);
    kick();
    expect([guest.get(page.connection), guest.get(page.error), guest.get(page.req_prod)]).toEqual([xs.XENSTORE_CONNECTED, 0, 0]);
    guest.send(xs.XS_READ, 'k\0');
    kick();
    expect(guest.received().map(m => m.type)).toEqual([xs.XS_READ]);
  });
  it('gives up a guest that announces too much', () => {
    const { guest, kick } = setup();
    guest.sendBytes(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 16, 0, 0));
    kick();
    expect(guest.get(page.error)).toBe(xs.XENSTORE_ERROR_PROTO);
  });
  it('lets Dom0 do other work while a guest sends without pause', async () => {
    const bytes = newPage(), guest = new RingClient(bytes), request = encodeMessage({ type: xs.XS_READ, reqId: 1, txId: 0, payload: 'x\0' });
    let handled = 0;
    const transport = new RingTransport({
      page: bytes, connection: new Connection({ domid: 5 }, 'd5'), reset: () => {}, notify: () => {}, maxOutstanding: () => 1, log: () => {},
      handle: () => { handled++; if (handled < 500) guest.sendBytes(request); },
    });
    guest.sendBytes(request);
    transport.onEvent();
    expect(handled).toBe(64);
    await settle();
    expect(handled).toBe(500);
    transport.close();
  });
});

describe('domains', () => {
  it('announces who comes and goes, once', async () => {
    const { server, hypervisor } = setup();
    const seen: string[] = [];
    for (const path of ['@introduceDomain', '@releaseDomain']) server.client().watch(path, 't', p => seen.push(p));
    await settle();
    seen.length = 0;
    hypervisor.addDomain(6);
    hypervisor.grant(6, xs.GNTTAB_RESERVED_XENSTORE);
    server.introduce(6, newPage(), PORT);
    server.introduce(6, newPage(), PORT + 1);
    await settle();
    expect(seen.splice(0)).toEqual(['@introduceDomain']);
    hypervisor.addDomain(6, { shutdown: true });
    server.checkDomains();
    server.checkDomains();
    await settle();
    expect(seen.splice(0)).toEqual(['@releaseDomain']);
    expect(server.isIntroduced(6)).toBe(true);
    hypervisor.domains.delete(6);
    server.checkDomains();
    await settle();
    expect(seen.splice(0)).toEqual(['@releaseDomain']);
    expect(server.isIntroduced(6)).toBe(false);
    expect(hypervisor.boundCount).toBe(1);
  });
  it('refuses a port that cannot be bound, and leaves nothing', () => {
    const { server, hypervisor } = setup();
    hypervisor.unbindable.add(9);
    expect(() => server.introduce(7, newPage(), 9)).toThrow('port 9 cannot be bound');
    expect(server.isIntroduced(7)).toBe(false);
  });
  it('a released domain is served no more', () => {
    const { server, guest, kick, hypervisor } = setup();
    server.release(5);
    server.release(5);
    guest.send(xs.XS_GET_DOMAIN_PATH, '5\0');
    kick();
    expect(guest.received()).toEqual([]);
    expect(hypervisor.boundCount).toBe(0);
    expect(server.client().exists('/local/domain/5')).toBe(false);
  });
});

describe('Dom0\'s own client', () => {
  it('reads, writes and lists', () => {
    const store = setup().server.client();
    store.write('/a/b', '1');
    expect([store.read('/a/b'), store.read('/none'), store.exists('/a'), store.exists('/none')]).toEqual(['1', undefined, true, false]);
    expect([store.list('/a'), store.list('/none'), store.getPerms('/none')]).toEqual([['b'], [], []]);
    store.setPerms('/a', ['n0', 'b5']);
    expect(store.getPerms('/a')).toEqual(['n0', 'b5']);
    store.remove('/a');
    store.remove('/none/below');
    expect(store.exists('/a')).toBe(false);
    expect(() => store.write('/bad path', '')).toThrow(XenStoreError);
    expect(() => store.setPerms('/none', ['n0'])).toThrow('ENOENT');
  });
  it('calls back later, in order, and not after the end of a watch', async () => {
    const store = setup().server.client(), seen: string[] = [];
    const end = store.watch('/w', 'tok', (path, token) => seen.push(`${path} ${token}`));
    store.watch('/w/x', 'same', path => { seen.push(path); if (path === '/w/x' && seen.length < 6) store.write('/w/x', String(seen.length)); });
    expect(seen).toEqual([]);
    store.write('/w/y', '');
    await settle();
    expect(seen.slice(0, 5)).toEqual(['/w tok', '/w/x', '/w/y tok', '/w/x tok', '/w/x']);
    store.write('/w', '');
    end();
    const count = seen.length;
    await settle();
    expect(seen.length).toBe(count);
  });
  it('goes on after a callback that throws', async () => {
    const { server, log } = setup(), seen: string[] = [];
    server.client().watch('/w', 'a', () => { throw new Error('oops'); });
    server.client().watch('/w', 'a', path => seen.push(path));
    await settle();
    expect(seen).toEqual(['/w']);
    expect(log.join()).toContain('oops');
  });
  it('a transaction is all or nothing', async () => {
    const store = setup().server.client(), seen: string[] = [];
    store.watch('/t', '', path => seen.push(path));
    await settle();
    seen.length = 0;
    expect(store.transaction(t => { t.write('/t/a', '1'); t.write('/t/b', '2'); expect(store.exists('/t')).toBe(false); return t.list('/t'); })).toEqual(['a', 'b']);
    expect(() => store.transaction(t => { t.remove('/t'); throw new Error('no'); })).toThrow('no');
    expect(store.list('/t')).toEqual(['a', 'b']);
    await settle();
    expect(seen).toEqual(['/t/a', '/t/b']);
  });
  it('runs a transaction again after a conflict', () => {
    const store = setup().server.client();
    store.write('/n', '1');
    let runs = 0;
    store.transaction(t => {
      const n = Number(t.read('/n'));
      if (runs++ === 0) store.write('/n', '10');
      t.write('/n', String(n + 1));
    });
    expect([store.read('/n'), runs]).toEqual(['11', 2]);
    expect(() => store.transaction(t => { t.read('/n'); store.write('/n', ''); })).toThrow('EAGAIN');
  });
});

describe('the wire parser', () => {
  it('takes a message in any pieces', () => {
    const bytes = encodeMessage({ type: 11, reqId: 0xffff_ffff, txId: 3, payload: '/a\0v' });
    for (let piece = 1; piece <= bytes.length; piece++) {
      const parser = new WireParser(), got = [];
      for (let at = 0; at < bytes.length;) {
        const chunk = bytes.subarray(at, at + Math.min(piece, parser.wanted));
        at += chunk.length;
        const message = parser.push(chunk);
        if (message) got.push(message);
      }
      expect(got).toEqual([{ type: 11, reqId: 0xffff_ffff, txId: 3, payload: '/a\0v' }]);
    }
  });
  it('takes empty and full payloads, and no more', () => {
    const parser = new WireParser();
    expect(parser.push(encodeMessage({ type: 1, reqId: 2, txId: 0, payload: '' }))).toMatchObject({ payload: '' });
    const full = encodeMessage({ type: 1, reqId: 2, txId: 0, payload: 'x'.repeat(4096) });
    expect(parser.push(full.subarray(0, 16))).toBeUndefined();
    expect(parser.push(full.subarray(16))?.payload.length).toBe(4096);
    expect(() => parser.push(encodeMessage({ type: 1, reqId: 2, txId: 0, payload: 'x'.repeat(4097) }).subarray(0, 16))).toThrow(WireError);
  });
});
