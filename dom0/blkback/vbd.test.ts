import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import { domid, type EvtchnPort } from '../../hypervisor/public/types.ts';
import { BLKIF_OP_READ, REQUEST_BYTES } from '../../hypervisor/public/io/blkif.ts';
import { FrontRing } from '../bus/ring.ts';
import { XenstoreServer } from '../xenstore/server.ts';
import { encodeRequest, FakeGuest } from './fake-frontend.ts';
import { Blkback } from './index.ts';

const FRONT = '/local/domain/5/device/vbd/51712', BACK = '/local/domain/0/backend/vbd/5/51712';

describe('a virtual disk and its frontend', () => {
  let dir: string, path: string;
  beforeEach(async () => { dir = await mkdtemp(join(tmpdir(), 'vbd-')); path = join(dir, 'd.img'); await writeFile(path, new Uint8Array(65536).fill(0x5a)); });
  afterEach(() => rm(dir, { recursive: true }));

  async function setUp(readOnly = false) {
    const guest = new FakeGuest(), complaints: string[] = [], handlers = new Map<number, () => void>();
    let sent = 0, closed = 0;
    const hypercalls = {
      ...guest.hypercalls, evtchnBindInterdomain: (_: number, port: number) => port === 8 ? 77 : -22, evtchnSend: () => { sent++; return 0; },
      evtchnClose: (port: EvtchnPort) => { handlers.delete(port); closed++; return 0; }, onEvent: (port: EvtchnPort, handler: () => void) => { handlers.set(port, handler); },
    } as unknown as Dom0Hypercalls;
    const store = new XenstoreServer({ hypercalls }).client();
    for (const [p, v] of [[BACK, ''], [`${BACK}/frontend`, FRONT], [`${BACK}/frontend-id`, '5'], [`${BACK}/online`, '1'], [`${BACK}/state`, '1'], [FRONT, ''], [`${FRONT}/state`, '1']] as const) store.write(p, v);
    const blkback = new Blkback({ hypercalls, store, log: what => complaints.push(what) });
    const open = await blkback.open({ target: path, format: 'raw', vdev: 'xvda', readOnly, cdrom: false, discard: true, trusted: true }, 'test');
    open.attach(domid(5), 51712, FRONT, BACK);
    await settle();
    const front = async (values: Record<string, string>) => { for (const [k, v] of Object.entries(values)) store.write(`${FRONT}/${k}`, v); await settle(); };
    return { store, guest, complaints, handlers, open, front, back: (key: string) => store.read(`${BACK}/${key}`), counts: () => ({ sent, closed }) };
  }
  const settle = () => new Promise(resolve => setTimeout(resolve, 5));

  test('states, features, a read, and a second life after the frontend closed', async () => {
    const { guest, handlers, open, front, back, counts } = await setUp();
    expect(Object.fromEntries(['state', 'max-ring-page-order', 'feature-max-indirect-segments', 'feature-persistent', 'feature-barrier', 'feature-flush-cache', 'feature-discard', 'hotplug-status', 'multi-queue-max-queues'].map(k => [k, back(k)])))
      .toEqual({ state: '2', 'max-ring-page-order': '4', 'feature-max-indirect-segments': '256', 'feature-persistent': '1', 'feature-barrier': '1', 'feature-flush-cache': '1', 'feature-discard': '1', 'hotplug-status': 'connected', 'multi-queue-max-queues': '1' });
    for (let life = 0; life < 2; life++) {
      const ring = new FrontRing([guest.grant(20), guest.grant(21)], REQUEST_BYTES), data = guest.grant(1);
      await front({ 'ring-page-order': '1', 'ring-ref0': '20', 'ring-ref1': '21', 'event-channel': '8', protocol: 'x86_64-abi', 'feature-persistent': '1', state: '3' });
      expect([back('state'), back('sectors'), back('sector-size'), back('physical-sector-size'), back('info')]).toEqual(['4', '128', '512', '512', '0']);
      ring.request(encodeRequest(BLKIF_OP_READ, 6, 0, [{ gref: 1 }]));
      ring.push();
      handlers.get(77)!();
      let answer: Uint8Array | undefined;
      await expect.poll(() => answer = ring.take()).toBeDefined();
      expect([answer![0], new DataView(answer!.buffer).getInt16(10, true), data[0], counts().sent]).toEqual([6, 0, 0x5a, 2 * (life + 1)]); // one event each when it connects and with the answer
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
    [{ 'ring-ref': '99', 'event-channel': '8' }, 'grant reference 99'], [{ 'ring-ref': 'x', 'event-channel': '8' }, 'ring-ref is "x"'], [{ 'event-channel': '8' }, 'ring-ref is missing'],
    [{ 'ring-ref': '20', 'event-channel': '9' }, 'event channel 9 cannot be bound'], [{ 'ring-ref': '20' }, 'event-channel is missing'], [{ 'ring-page-order': '5' }, 'ring-page-order is "5"'],
    [{ 'ring-ref': '20', 'event-channel': '8', protocol: 'x86_32-abi' }, 'protocol x86_32-abi'], [{ 'ring-ref': '20', 'event-channel': '4294967296' }, 'event-channel is'],
  ])('a frontend that offers %j is closed, and nothing stays mapped', async (values, message) => {
    const { store, guest, complaints, open, front, back } = await setUp();
    guest.grant(20);
    await front({ ...values, state: '3' } as unknown as Record<string, string>);
    expect(back('state')).toBe('5');
    expect([complaints.join(), store.read('/local/domain/0/error/backend/vbd/5/51712/error')]).toEqual([expect.stringContaining(message), expect.stringContaining(message)]);
    expect(guest.mappedCount).toBe(0);
    await open.close();
  });

  test('read-only disks say so, and close unmaps a live ring', async () => {
    const { guest, open, front, back, counts } = await setUp(true);
    new FrontRing([guest.grant(20)], REQUEST_BYTES);
    await front({ 'ring-ref': '20', 'event-channel': '8', state: '4' });
    expect([back('state'), back('info'), back('feature-discard'), back('feature-flush-cache')]).toEqual(['4', '4', undefined, '0']);
    expect(guest.mappedCount).toBe(1);
    await open.close();
    expect([guest.mappedCount, counts().closed]).toEqual([0, 1]);
  });
});
