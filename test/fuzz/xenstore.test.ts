// What a guest can send to xenstore: bytes in any pieces, requests with any payload, indexes of any value.
import { expect, it } from 'vitest';
import * as xs from '../../hypervisor/public/io/xs_wire.ts';
import { FakeHypervisor, newPage } from '../../dom0/bus/fakes.ts';
import { Connection } from '../../dom0/xenstore/connection.ts';
import { Daemon } from '../../dom0/xenstore/daemon.ts';
import { handleMessage } from '../../dom0/xenstore/requests.ts';
import { XenstoreServer } from '../../dom0/xenstore/server.ts';
import { encodeMessage, WireError, WireParser } from '../../dom0/xenstore/wire.ts';
import { MessageReader } from '../../dom0/xenstore/test-clients.ts';
import { fuzz, type Random } from './random.ts';

const WORDS = ['/', '', 'x', 'data', 'data/a', 'data/a/b', '/local/domain/5/data', '/local/domain/6', '/local', '//', '@releaseDomain', '@introduceDomain', '@',
  '/tool', 'a'.repeat(2049), '/' + 'a/'.repeat(1200) + 'a', 'T', 'F', '0', '5', '-1', '4294967296', 'n5', 'r6', 'b0', 'n5x', 'tok', '\xff', 'quota', '__proto__', 'constructor'];
const payload = (r: Random): string => {
  if (r.chance(8)) return Buffer.from(r.bytes(r.below(300))).toString('latin1');
  return Array.from({ length: r.below(5) }, () => r.pick(WORDS) + (r.chance(10) ? '' : '\0')).join('').slice(0, 4096);
};

it('the wire parser: any bytes give messages or an error, never more than announced', () => {
  fuzz(r => {
    const parser = new WireParser(), bytes = r.bytes(6000);
    for (let at = 0; at < bytes.length;) {
      // Mostly sane lengths, so that it gets past the first message.
      if (!parser.midMessage && !r.chance(20) && at + 16 <= bytes.length) new DataView(bytes.buffer).setUint32(at + 12, r.chance(3) ? r.below(4097) : r.below(40), true);
      expect(parser.wanted).toBeGreaterThan(0);
      expect(parser.wanted).toBeLessThanOrEqual(4096);
      const chunk = bytes.subarray(at, at + 1 + r.below(parser.wanted));
      at += chunk.length;
      try {
        const message = parser.push(chunk);
        if (message) expect(message.payload.length).toBeLessThanOrEqual(4096);
      } catch (error) { expect(error).toBeInstanceOf(WireError); return; }
    }
  });
});

it('requests: each has one answer, what is another\'s stays, the store stays sound', () => {
  fuzz(r => {
    const lines: string[] = [], daemon = new Daemon(line => lines.push(line)), dom0 = new Connection({ domid: 0 }, 'dom0'), guest = new Connection({ domid: 5 }, 'd5');
    const ask = (c: Connection, type: number, text: string, txId = 0): void => handleMessage(daemon, c, { type, reqId: 1, txId, payload: text });
    for (const [path, ...perms] of [['/local/domain/5', 'n0', 'r5'], ['/local/domain/5/data', 'n5'], ['/local/domain/6', 'n6'], ['/local/domain/6/secret', 'n6']]) {
      ask(dom0, xs.XS_WRITE, `${path}\0value`);
      ask(dom0, xs.XS_SET_PERMS, `${path}\0${perms.map(p => `${p}\0`).join('')}`);
    }
    const secret = JSON.stringify([...daemon.tree.root.children.get('local')!.children.get('domain')!.children.get('6')!.children.entries()]);
    for (let i = 0; i < 60; i++) {
      const before = new MessageReader();
      for (let chunk = guest.peek(); chunk; chunk = guest.peek()) { before.push(chunk); guest.sent(chunk.length); }
      ask(guest, r.below(24), payload(r), r.chance(2) ? 0 : r.below(6));
      const reader = new MessageReader();
      for (let chunk = guest.peek(); chunk; chunk = guest.peek()) { reader.push(chunk); guest.sent(chunk.length); }
      const replies = reader.messages.filter(m => m.type !== xs.XS_WATCH_EVENT);
      expect(replies.length).toBe(1);
      if (replies[0]!.type === xs.XS_ERROR) expect(xs.xsd_errors).toContain(replies[0]!.payload.slice(0, -1));
    }
    daemon.check();
    expect(lines).toEqual([]);
    expect(daemon.tree.owned(5)).toBeLessThanOrEqual(daemon.quota.nodes);
    expect(JSON.stringify([...daemon.tree.root.children.get('local')!.children.get('domain')!.children.get('6')!.children.entries()])).toBe(secret);
  });
});

it('the ring: any page contents, at any time, leave other domains served', () => {
  fuzz(r => {
    const hypervisor = new FakeHypervisor(), server = new XenstoreServer({ hypercalls: hypervisor.hypercalls });
    const hostile = newPage(), sane = newPage(), words = new Uint32Array(hostile.buffer);
    server.introduce(5, hostile, 1);
    server.introduce(6, sane, 1);
    for (let i = 0; i < 40; i++) {
      switch (r.below(5)) {
        case 0: words[512 + r.below(7)] = r.edge(); break;
        case 1: words[512 + r.below(7)] = r.u32(); break;
        case 2: words[513] = (words[512]! + r.below(1025)) >>> 0; break;
        case 3: hostile.set(encodeMessage({ type: r.below(24), reqId: r.u32(), txId: r.below(3), payload: payload(r).slice(0, 900) }), 0); words[513] = (words[512]! + r.below(1000)) >>> 0; break;
        default: hostile.set(r.bytes(64), r.below(4000));
      }
      hypervisor.fire(5, 1);
    }
    sane.set(encodeMessage({ type: xs.XS_GET_DOMAIN_PATH, reqId: 9, txId: 0, payload: '6\0' }));
    new Uint32Array(sane.buffer)[513] = 18;
    hypervisor.fire(6, 1);
    expect(Buffer.from(sane.subarray(1024 + 16, 1024 + 32)).toString('latin1')).toBe('/local/domain/6\0');
    server.release(5);
  }, 100);
});
