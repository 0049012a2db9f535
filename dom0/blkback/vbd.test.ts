import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import { domid, type EvtchnPort } from '../../hypervisor/public/types.ts';
import { FakeStore } from '../toolstack/fakes.ts';
import type { XenStore } from '../xenstore/client.ts';
import { BLKIF_OP_READ, REQUEST_BYTES } from '../../hypervisor/public/io/blkif.ts';
import { encodeRequest, FakeGuest } from './fake-frontend.ts';
import { Blkback } from './index.ts';
import { ringEntries, SharedRing } from './shared-ring.ts';

const FRONT = '/local/domain/5/device/vbd/51712', BACK = '/local/domain/0/backend/vbd/5/51712';

function xenStore(fake: FakeStore): XenStore {
  const store: XenStore = {
    read: path => fake.read(path), write: (path, value) => fake.write(path, value), mkdir: path => fake.write(path, ''), remove: path => fake.remove(path), list: path => fake.list(path),
    exists: path => fake.nodes.has(path), setPerms: (path, perms) => fake.setPermissions(path, perms), getPerms: path => [...fake.nodes.get(path)?.permissions ?? []],
    watch: (path, token, cb) => fake.watch(path, changed => cb(changed, token)), transaction: fn => fn(store),
  };
  return store;
}

/** The frontend's half of a shared ring, over pages that are not neighbours. */
class FrontRing {
  readonly pages: Uint8Array<SharedArrayBuffer>[];
  readonly #entries: number;
  #prod = 0;
  constructor(pages: Uint8Array<SharedArrayBuffer>[]) { this.pages = pages; this.#entries = ringEntries(pages.length); this.index(1, 1); this.index(3, 1); }
  index(i: number, set?: number): number { const words = new Int32Array(this.pages[0]!.buffer, 0, 4); if (set !== undefined) words[i] = set; return words[i]!; }
  put(entry: Uint8Array): void {
    const start = 64 + (this.#prod++ % this.#entries) * REQUEST_BYTES;
    entry.forEach((byte, i) => { this.pages[(start + i) >> 12]![(start + i) & 4095] = byte; });
    this.index(0, this.#prod);
  }
  response(i: number): { id: number; status: number } {
    const bytes = Uint8Array.from({ length: 16 }, (_, k) => { const at = 64 + (i % this.#entries) * REQUEST_BYTES + k; return this.pages[at >> 12]![at & 4095]!; });
    const d = new DataView(bytes.buffer);
    return { id: d.getUint32(0, true), status: d.getInt16(10, true) };
  }
}

describe('the shared ring', () => {
  const pages = (n: number) => Array.from({ length: n }, () => new Uint8Array(new SharedArrayBuffer(4096)));
  test('has the sizes of __RING_SIZE', () => expect([1, 2, 4, 8, 16].map(ringEntries)).toEqual([32, 64, 128, 256, 512]));
  test.each([1, 2, 16])('%d pages: every slot, wrapped twice, in order', count => {
    const front = new FrontRing(pages(count)), back = new SharedRing(front.pages);
    let answered = 0;
    for (let n = 0; n < 2 * ringEntries(count) + 5; n++) {
      front.put(encodeRequest(BLKIF_OP_READ, n, n, [{ gref: n }]));
      const entry = back.take()!;
      expect([new DataView(entry.buffer).getUint32(8, true), new DataView(entry.buffer).getUint32(24, true), back.take()]).toEqual([n, n, undefined]);
      const response = new Uint8Array(16); new DataView(response.buffer).setUint32(0, n, true);
      back.respond(response);
      back.push();
      expect([front.index(2), front.response(answered++).id]).toEqual([n + 1, n]);
    }
  });
  test('an event is sent only if asked for', () => {
    const front = new FrontRing(pages(1)), back = new SharedRing(front.pages), answer = (): boolean => { front.put(new Uint8Array(112)); back.take(); back.respond(new Uint8Array(16)); return back.push(); };
    expect([answer(), answer()]).toEqual([true, false]);
    front.index(3, 3);
    expect(answer()).toBe(true);
    expect(back.finalCheck()).toBe(false);
    expect(front.index(1)).toBe(4);
  });
  test('a producer out of range is refused', () => {
    const front = new FrontRing(pages(1)), back = new SharedRing(front.pages);
    front.index(0, 33);
    expect(() => back.take()).toThrow('more than 32 ahead');
    front.index(0, -1);
    expect(() => new SharedRing(front.pages)).toThrow('ahead');
  });
  test('a ring with a past is taken up where it was', () => {
    const front = new FrontRing(pages(1)), old = new SharedRing(front.pages);
    for (let n = 0; n < 3; n++) front.put(encodeRequest(BLKIF_OP_READ, n, 0));
    old.take(); old.respond(new Uint8Array(16)); old.push(); old.take();
    expect(new DataView(new SharedRing(front.pages).take()!.buffer).getUint32(8, true)).toBe(1);
  });
});

describe('a virtual disk and its frontend', () => {
  let dir: string, path: string;
  beforeEach(async () => { dir = await mkdtemp(join(tmpdir(), 'vbd-')); path = join(dir, 'd.img'); await writeFile(path, new Uint8Array(65536).fill(0x5a)); });
  afterEach(() => rm(dir, { recursive: true }));

  async function setUp(readOnly = false) {
    const fake = new FakeStore(), guest = new FakeGuest(), complaints: string[] = [], handlers = new Map<number, () => void>();
    let sent = 0, closed = 0;
    const hypercalls = {
      ...guest.hypercalls, evtchnBindInterdomain: (_: number, port: number) => port === 8 ? 77 : -22, evtchnSend: () => { sent++; return 0; },
      evtchnClose: (port: EvtchnPort) => { handlers.delete(port); closed++; return 0; }, onEvent: (port: EvtchnPort, handler: () => void) => { handlers.set(port, handler); },
    } as unknown as Dom0Hypercalls;
    for (const [p, v] of [[BACK, ''], [`${BACK}/state`, '1'], [FRONT, ''], [`${FRONT}/state`, '1']] as const) fake.write(p, v);
    const blkback = new Blkback({ hypercalls, store: xenStore(fake), complain: what => complaints.push(what) });
    const open = await blkback.open({ target: path, format: 'raw', vdev: 'xvda', readOnly, cdrom: false, discard: true, trusted: true }, 'test');
    open.attach(domid(5), 51712, FRONT, BACK);
    await settle();
    const front = async (values: Record<string, string>) => { for (const [k, v] of Object.entries(values)) fake.write(`${FRONT}/${k}`, v); await settle(); };
    return { fake, guest, complaints, handlers, open, front, back: (key: string) => fake.read(`${BACK}/${key}`), counts: () => ({ sent, closed }) };
  }
  const settle = () => new Promise(resolve => setTimeout(resolve, 5));

  test('states, features, a read, and a second life after the frontend closed', async () => {
    const { guest, handlers, open, front, back, counts } = await setUp();
    expect(Object.fromEntries(['state', 'max-ring-page-order', 'feature-max-indirect-segments', 'feature-persistent', 'feature-barrier', 'feature-flush-cache', 'feature-discard', 'hotplug-status', 'multi-queue-max-queues'].map(k => [k, back(k)])))
      .toEqual({ state: '2', 'max-ring-page-order': '4', 'feature-max-indirect-segments': '256', 'feature-persistent': '1', 'feature-barrier': '1', 'feature-flush-cache': '1', 'feature-discard': '1', 'hotplug-status': 'connected', 'multi-queue-max-queues': '1' });
    for (let life = 0; life < 2; life++) {
      const ring = new FrontRing([guest.grant(20), guest.grant(21)]), data = guest.grant(1);
      await front({ 'ring-page-order': '1', 'ring-ref0': '20', 'ring-ref1': '21', 'event-channel': '8', protocol: 'x86_64-abi', 'feature-persistent': '1', state: '3' });
      expect([back('state'), back('sectors'), back('sector-size'), back('physical-sector-size'), back('info')]).toEqual(['4', '128', '512', '512', '0']);
      ring.put(encodeRequest(BLKIF_OP_READ, 6, 0, [{ gref: 1 }]));
      handlers.get(77)!();
      await expect.poll(() => ring.index(2)).toBe(1);
      expect([ring.response(0), data[0], counts().sent]).toEqual([{ id: 6, status: 0 }, 0x5a, life + 1]);
      await front({ state: '5' });
      expect(back('state')).toBe('5');
      await front({ state: '6' });
      expect([back('state'), guest.mappedCount, handlers.size]).toEqual(['6', 0, 0]);
      await front({ state: '1' });
      expect(back('state')).toBe('2');
    }
    expect(open.info()).toMatchObject({ rd_req: 2, rd_sect: 16 });
    await open.close();
  });

  test.each([
    [{ 'ring-ref': '99', 'event-channel': '8' }, 'ring page 99 cannot be mapped'], [{ 'ring-ref': 'x', 'event-channel': '8' }, 'ring-ref is "x"'], [{ 'event-channel': '8' }, 'ring-ref is missing'],
    [{ 'ring-ref': '20', 'event-channel': '9' }, 'event channel 9 cannot be bound'], [{ 'ring-ref': '20' }, 'event-channel is missing'], [{ 'ring-page-order': '5' }, 'ring-page-order 5'],
    [{ 'ring-ref': '20', 'event-channel': '8', protocol: 'x86_32-abi' }, 'protocol x86_32-abi'], [{ 'ring-ref': '20', 'event-channel': '4294967296' }, 'event-channel is'],
  ])('a frontend that offers %j is closed, and nothing stays mapped', async (values, message) => {
    const { guest, complaints, open, front, back } = await setUp();
    guest.grant(20);
    await front({ ...values, state: '3' } as unknown as Record<string, string>);
    expect(back('state')).toBe('5');
    expect([complaints.join(), back('error')]).toEqual([expect.stringContaining(message), expect.stringContaining(message)]);
    expect(guest.mappedCount).toBe(0);
    await open.close();
  });

  test('read-only disks say so, and close unmaps a live ring', async () => {
    const { guest, open, front, back, counts } = await setUp(true);
    new FrontRing([guest.grant(20)]);
    await front({ 'ring-ref': '20', 'event-channel': '8', state: '4' });
    expect([back('state'), back('info'), back('feature-discard'), back('feature-flush-cache')]).toEqual(['4', '4', undefined, '0']);
    expect(guest.mappedCount).toBe(1);
    await open.close();
    expect([guest.mappedCount, counts().closed]).toEqual([0, 1]);
  });
});
