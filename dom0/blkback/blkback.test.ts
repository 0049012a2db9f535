import { execFileSync } from 'node:child_process';
import { mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { domid } from '../../hypervisor/public/types.ts';
import {
  BLKIF_OP_DISCARD, BLKIF_OP_FLUSH_DISKCACHE, BLKIF_OP_READ, BLKIF_OP_WRITE, BLKIF_OP_WRITE_BARRIER, BLKIF_RSP_EOPNOTSUPP, BLKIF_RSP_ERROR, BLKIF_RSP_OKAY,
} from '../../hypervisor/public/io/blkif.ts';
import { ImageDisk, type Disk } from './device.ts';
import { encodeIndirect, encodeRequest, encodeSegments, FakeGuest, FakeRing } from './fake-frontend.ts';
import { GrantCache } from './grants.ts';
import { BlkRing } from './ring.ts';
import { parseIndirect, parseRequest } from './request.ts';

const DISK_BYTES = 1024 * 1024;
let dir: string, path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'blkback-'));
  path = join(dir, 'disk.img');
  await writeFile(path, Uint8Array.from({ length: DISK_BYTES }, (_, i) => (i >> 9) & 0xff));
});
afterEach(() => rm(dir, { recursive: true }));

const openDisk = (options: Partial<Parameters<typeof ImageDisk.open>[0]> = {}) => ImageDisk.open({ path, readOnly: false, discard: true, owner: 'test', ...options });
function harness(disk: Disk, persistent = false) {
  const guest = new FakeGuest(), ring = new FakeRing(), complaints: string[] = [];
  let events = 0;
  const blk = new BlkRing({ ring, disk, dom: domid(5), persistent, hypercalls: guest.hypercalls, notify: () => { events++; }, complain: what => complaints.push(what) });
  const answered = async (count: number) => { while (ring.answers.length < count || ring.pushes === 0) await new Promise(r => setTimeout(r, 1)); };
  return { guest, ring, blk, complaints, answered, events: () => events };
}

describe('a disk over a ring', () => {
  test('reads go into the granted frame, and only there', async () => {
    const disk = await openDisk(), { guest, ring, blk, answered, events } = harness(disk);
    const page = guest.grant(7, 0xee);
    ring.requests.push(encodeRequest(BLKIF_OP_READ, 42, 3, [{ gref: 7, first: 2, last: 4 }]));
    blk.kick();
    await answered(1);
    expect(ring.answers).toEqual([{ id: 42n, operation: BLKIF_OP_READ, status: BLKIF_RSP_OKAY }]);
    expect([page[1023], page[1024], page[1536], page[2048], page[2559], page[2560]]).toEqual([0xee, 3, 4, 5, 5, 0xee]);
    expect(guest.wrote).toEqual([7]);
    expect(guest.mappedCount).toBe(0);
    expect(events()).toBe(1);
    await blk.stop(); await disk.close();
  });

  test('writes over several frames, then a flush', async () => {
    const disk = await openDisk(), { guest, ring, blk, answered } = harness(disk);
    for (let ref = 1; ref <= 11; ref++) guest.grant(ref, 0x80 + ref);
    ring.requests.push(encodeRequest(BLKIF_OP_WRITE, 1, 16, Array.from({ length: 11 }, (_, i) => ({ gref: i + 1 }))), encodeRequest(BLKIF_OP_FLUSH_DISKCACHE, 2, 0));
    blk.kick();
    await answered(2);
    expect(ring.answers.map(a => a.status)).toEqual([0, 0]);
    const bytes = await readFile(path);
    expect(bytes[16 * 512 - 1]).toBe(15);
    for (let i = 0; i < 11; i++) expect(bytes[16 * 512 + 4096 * i]).toBe(0x81 + i);
    expect(bytes[16 * 512 + 11 * 4096]).toBe((16 + 88) & 0xff);
    expect(blk.metrics).toMatchObject({ wr_req: 1, wr_sect: 88, f_req: 1, in_flight: 0, errors: 0 });
    await blk.stop(); await disk.close();
  });

  test('indirect segments, copied before they are used', async () => {
    const disk = await openDisk(), { guest, ring, blk, answered } = harness(disk);
    const page = guest.grant(100);
    encodeSegments(page, 0, Array.from({ length: 20 }, (_, i) => ({ gref: i + 1 })));
    for (let ref = 1; ref <= 20; ref++) guest.grant(ref);
    ring.requests.push(encodeIndirect(BLKIF_OP_READ, 9, 8, 20, [100]));
    blk.kick();
    page.fill(0xff);
    await answered(1);
    expect(ring.answers).toEqual([{ id: 9n, operation: BLKIF_OP_READ, status: 0 }]);
    expect(guest.frames.get(20)![0]).toBe((8 + 19 * 8) & 0xff);
    await blk.stop(); await disk.close();
  });

  test('persistent grants stay mapped, up to a bound, and go at the end', async () => {
    const disk = await openDisk(), { guest, ring, blk, answered } = harness(disk, true);
    guest.grant(1);
    for (let i = 0; i < 5; i++) ring.requests.push(encodeRequest(i % 2 ? BLKIF_OP_WRITE : BLKIF_OP_READ, i, 0, [{ gref: 1 }]));
    blk.kick();
    await answered(5);
    expect([guest.mapCalls, guest.mappedCount]).toEqual([1, 1]);
    await blk.stop();
    expect(guest.mappedCount).toBe(0);
    await disk.close();

    const other = new FakeGuest(), cache = new GrantCache(other.hypercalls, domid(1), true, 3);
    for (let ref = 0; ref < 5; ref++) other.grant(ref);
    const held = [0, 1].map(ref => cache.borrow(ref as never, false) as never);
    for (const ref of [2, 3, 4]) cache.giveBack(cache.borrow(ref as never, false) as never);
    expect(cache.keptCount).toBe(3);
    expect([0, 1, 2, 3, 4].map(ref => other.mapped.get(ref))).toEqual([1, 1, 0, 0, 1]);
    held.forEach(frame => cache.giveBack(frame));
    cache.clear();
    expect(other.mappedCount).toBe(0);
  });

  test('a barrier keeps what is before it before, and what is after it after', async () => {
    const order: string[] = [], gates: (() => void)[] = [];
    const slow: Disk = {
      sectors: 1000, physicalSectorBytes: 512, readOnly: false, discard: false, discardGranularityBytes: 4096,
      read: async () => {}, discardRange: async () => {}, close: async () => {},
      write: (_, at) => new Promise(resolve => { order.push(`start ${at / 512}`); gates.push(() => { order.push(`end ${at / 512}`); resolve(); }); }),
      flush: async () => { order.push('flush'); },
    };
    const { guest, ring, blk, answered } = harness(slow);
    guest.grant(1);
    const write = (op: number, id: number) => encodeRequest(op, id, id, [{ gref: 1, first: 0, last: 0 }]);
    ring.requests.push(write(BLKIF_OP_WRITE, 1), write(BLKIF_OP_WRITE, 2), write(BLKIF_OP_WRITE_BARRIER, 3), write(BLKIF_OP_WRITE, 4));
    blk.kick();
    for (let done = 0; done < 4; ) { await new Promise(r => setTimeout(r, 1)); const gate = gates.pop(); if (gate) { gate(); done++; } }
    await answered(4);
    expect(order).toEqual(['start 1', 'start 2', 'end 2', 'end 1', 'flush', 'start 3', 'end 3', 'flush', 'start 4', 'end 4']);
    await blk.stop();
  });

  test('stop waits for requests in flight', async () => {
    let release = (): void => {};
    const slow: Disk = { sectors: 8, physicalSectorBytes: 512, readOnly: false, discard: false, discardGranularityBytes: 4096, read: () => new Promise(r => { release = r; }), write: async () => {}, flush: async () => {}, discardRange: async () => {}, close: async () => {} };
    const { guest, ring, blk } = harness(slow);
    guest.grant(1);
    ring.requests.push(encodeRequest(BLKIF_OP_READ, 1, 0, [{ gref: 1 }]));
    blk.kick();
    let stopped = false;
    const stopping = blk.stop().then(() => { stopped = true; });
    await new Promise(r => setTimeout(r, 5));
    expect([stopped, guest.mappedCount]).toEqual([false, 1]);
    release();
    await stopping;
    expect(guest.mappedCount).toBe(0);
  });

  test('discard gives blocks back', async () => {
    const disk = await openDisk(), { ring, blk, answered } = harness(disk);
    const entry = encodeRequest(BLKIF_OP_DISCARD, 3, 8);
    new DataView(entry.buffer).setBigUint64(24, 1024n, true);
    const before = (await stat(path)).blocks;
    ring.requests.push(entry);
    blk.kick();
    await answered(1);
    expect(ring.answers[0]).toEqual({ id: 3n, operation: BLKIF_OP_DISCARD, status: 0 });
    expect((await stat(path)).blocks).toBeLessThan(before);
    expect((await stat(path)).size).toBe(DISK_BYTES);
    await blk.stop(); await disk.close();
  });
});

describe('requests that lie one behind the other', () => {
  const quickDisk = (done: (position: number) => boolean = () => true) => {
    const calls: { op: string; sector: number; bytes: number[] }[] = [];
    const now = (op: string) => (buffers: readonly Uint8Array[], position: number) => { calls.push({ op, sector: position / 512, bytes: buffers.map(b => b.length) }); return done(position); };
    const disk: Disk = {
      sectors: 100_000, physicalSectorBytes: 512, readOnly: false, discard: false, discardGranularityBytes: 4096, flush: async () => {}, discardRange: async () => {}, close: async () => {},
      read: async (buffers, position) => { calls.push({ op: 'slow read', sector: position / 512, bytes: buffers.map(b => b.length) }); }, write: async () => {}, readNow: now('read'), writeNow: now('write'),
    };
    return { disk, calls };
  };
  test('go to the disk as one, and are answered each by itself', async () => {
    const { disk, calls } = quickDisk(), { guest, ring, blk } = harness(disk);
    for (let ref = 1; ref <= 6; ref++) guest.grant(ref);
    const read = (id: number, sector: number, ref: number, op: number = BLKIF_OP_READ) => encodeRequest(op, id, sector, [{ gref: ref }]);
    ring.requests.push(read(1, 8, 1), read(2, 16, 2), read(3, 24, 3), read(4, 40, 4), read(5, 48, 5, BLKIF_OP_WRITE), read(6, 0, 6));
    blk.kick();
    expect(calls).toEqual([{ op: 'read', sector: 8, bytes: [4096, 4096, 4096] }, { op: 'read', sector: 40, bytes: [4096] }, { op: 'write', sector: 48, bytes: [4096] }, { op: 'read', sector: 0, bytes: [4096] }]);
    expect(ring.answers.map(a => [Number(a.id), a.operation, a.status])).toEqual([[1, 0, 0], [2, 0, 0], [3, 0, 0], [4, 0, 0], [5, 1, 0], [6, 0, 0]]);
    expect(blk.metrics).toMatchObject({ rd_req: 5, wr_req: 1, in_flight: 0 });
    expect(guest.mappedCount).toBe(0);
    await blk.stop();
  });
  test('one at a time where together they fail', async () => {
    const { disk, calls } = quickDisk(() => false), { guest, ring, blk, answered } = harness(disk);
    guest.grant(1);
    ring.requests.push(encodeRequest(BLKIF_OP_READ, 1, 8, [{ gref: 1 }]), encodeRequest(BLKIF_OP_READ, 2, 16, [{ gref: 99 }]), encodeRequest(BLKIF_OP_READ, 3, 24, [{ gref: 1 }]));
    blk.kick();
    await answered(3);
    expect(ring.answers.map(a => [Number(a.id), a.status]).sort()).toEqual([[1, BLKIF_RSP_OKAY], [2, BLKIF_RSP_ERROR], [3, BLKIF_RSP_OKAY]]);
    expect(calls.filter(c => c.op === 'slow read').map(c => c.sector)).toEqual([8, 24]);
    expect(guest.mappedCount).toBe(0);
    await blk.stop();
  });
  test('not more than eight, and not more than a megabyte', async () => {
    const { disk, calls } = quickDisk(), { guest, ring, blk } = harness(disk);
    guest.grant(1);
    for (let id = 0; id < 20; id++) ring.requests.push(encodeRequest(BLKIF_OP_READ, id, 8 * id, [{ gref: 1 }]));
    blk.kick();
    expect(calls.map(c => c.bytes.length)).toEqual([8, 8, 4]);
    await blk.stop();
    const page = guest.grant(100), big = harness(disk);
    encodeSegments(page, 0, Array.from({ length: 256 }, () => ({ gref: 1 })));
    for (const [ref, frame] of guest.frames) big.guest.frames.set(ref, frame);
    calls.length = 0;
    big.ring.requests.push(encodeIndirect(BLKIF_OP_READ, 1, 0, 192, [100]), encodeIndirect(BLKIF_OP_READ, 2, 192 * 8, 192, [100]));
    big.blk.kick();
    expect(calls.map(c => c.sector)).toEqual([0, 192 * 8]);
    await big.blk.stop();
  });
  test('what was taken from a ring that breaks is answered', async () => {
    const { disk, calls } = quickDisk(), { guest, ring, blk } = harness(disk);
    guest.grant(1);
    const take = ring.take.bind(ring);
    ring.requests.push(encodeRequest(BLKIF_OP_READ, 1, 8, [{ gref: 1 }]));
    ring.take = () => { const entry = take(); if (!entry) throw new Error('req_prod'); return entry; };
    blk.kick();
    expect([calls.length, ring.answers.length, guest.mappedCount]).toEqual([1, 1, 0]);
    await blk.stop();
  });
  test('a busy ring is looked at before the frontend has to send an event', async () => {
    const { disk } = quickDisk(), { guest, ring, blk } = harness(disk);
    guest.grant(1);
    let pushed = 0, checks = 0;
    const request = (id: number) => encodeRequest(BLKIF_OP_READ, id, 80 * id, [{ gref: 1 }]), finalCheck = ring.finalCheck.bind(ring);
    // The frontend makes the next request of each answer that it is shown.
    ring.push = () => { if (ring.answers.length > pushed && pushed < 5) ring.requests.push(request(++pushed)); return true; };
    ring.finalCheck = () => { checks++; return finalCheck(); };
    ring.requests.push(request(0));
    blk.kick();
    expect([ring.answers.length, checks]).toEqual([6, 1]);
    await blk.stop();
  });
});

describe('hostile requests', () => {
  const limits = { sectors: 2048, readOnly: false, discard: true };
  const refused = (entry: Uint8Array, disk = limits) => { const r = parseRequest(entry, disk); return r.kind === 'refused' ? r.status : r.kind; };
  test('are refused', () => {
    expect(refused(encodeRequest(BLKIF_OP_READ, 1, 0))).toBe(BLKIF_RSP_ERROR);
    expect(refused(encodeRequest(BLKIF_OP_READ, 1, 2041, [{ gref: 1 }]))).toBe(BLKIF_RSP_ERROR);
    expect(refused(encodeRequest(BLKIF_OP_READ, 1, 2 ** 52, [{ gref: 1 }]))).toBe(BLKIF_RSP_ERROR);
    expect(refused(encodeRequest(BLKIF_OP_READ, 1, 0, [{ gref: 1, first: 5, last: 4 }]))).toBe(BLKIF_RSP_ERROR);
    expect(refused(encodeRequest(BLKIF_OP_READ, 1, 0, [{ gref: 1, first: 0, last: 8 }]))).toBe(BLKIF_RSP_ERROR);
    expect(refused(encodeRequest(BLKIF_OP_WRITE, 1, 0, [{ gref: 1 }]), { ...limits, readOnly: true })).toBe(BLKIF_RSP_ERROR);
    expect(refused(encodeRequest(BLKIF_OP_DISCARD, 1, 0), { ...limits, discard: false })).toBe(BLKIF_RSP_EOPNOTSUPP);
    expect(refused(encodeRequest(4, 1, 0))).toBe(BLKIF_RSP_EOPNOTSUPP);
    expect(refused(encodeRequest(200, 1, 0))).toBe(BLKIF_RSP_EOPNOTSUPP);
    const many = encodeRequest(BLKIF_OP_READ, 1, 0, [{ gref: 1 }]); many[1] = 12;
    expect(refused(many)).toBe(BLKIF_RSP_ERROR);
    expect(refused(encodeIndirect(BLKIF_OP_READ, 1, 0, 257, [1]))).toBe(BLKIF_RSP_ERROR);
    expect(refused(encodeIndirect(BLKIF_OP_WRITE_BARRIER, 1, 0, 1, [1]))).toBe(BLKIF_RSP_ERROR);
  });

  test('random bytes: everything accepted lies on the disk', () => {
    let seed = 1;
    const random = (): number => { seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0; return seed >>> 24; };
    for (let i = 0; i < 20000; i++) {
      const entry = Uint8Array.from({ length: 112 }, random);
      entry[0] = random() % 8;
      if (random() < 200) { entry[1]! %= 12; entry.fill(0, 18, 24); }
      let request = parseRequest(entry, limits);
      if (request.kind === 'indirect') request = parseIndirect(request, request.pages.map(() => Uint8Array.from({ length: 4096 }, random)), limits);
      if (request.kind === 'transfer' || request.kind === 'discard') {
        expect(request.sector + request.sectorCount).toBeLessThanOrEqual(limits.sectors);
        if (request.kind === 'transfer') for (const s of request.segments) expect(s.sectorCount >= 1 && s.firstSector + s.sectorCount <= 8).toBe(true);
      }
    }
  });

  test('a disk that throws breaks its own ring alone, and is not asked a second time', async () => {
    const disk = await openDisk(), { guest, ring, blk, complaints } = harness(Object.create(disk, { readNow: { value: () => { asked++; throw new Error('no disk'); } } }) as Disk);
    let asked = 0;
    guest.grant(1, 0);
    ring.requests.push(encodeRequest(BLKIF_OP_READ, 1, 0, [{ gref: 1 }]));
    blk.kick();
    blk.kick();
    expect([asked, complaints]).toEqual([1, ['ring is broken (no disk); no more requests are taken']]);
    await blk.stop(); await disk.close();
  });

  test('bad grants and a broken ring end in an error, not in a crash', async () => {
    const disk = await openDisk(), { ring, blk, guest, answered, complaints } = harness(disk);
    guest.grant(1);
    ring.requests.push(encodeRequest(BLKIF_OP_READ, 1, 0, [{ gref: 1 }, { gref: 99 }]), encodeIndirect(BLKIF_OP_READ, 2, 0, 3, [98]));
    blk.kick();
    await answered(2);
    expect(ring.answers.map(a => a.status)).toEqual([BLKIF_RSP_ERROR, BLKIF_RSP_ERROR]);
    expect(guest.mappedCount).toBe(0);
    ring.take = () => { throw new Error('req_prod 99 is 99 ahead'); };
    blk.kick(); blk.kick();
    expect(complaints.filter(c => c.includes('broken'))).toHaveLength(1);
    await blk.stop(); await disk.close();
  });
});

describe('images', () => {
  test('one writer, or many readers', async () => {
    const writer = await openDisk({ owner: 'domain "a"' });
    await expect(openDisk()).rejects.toThrow('already used read-write by domain "a"');
    await expect(openDisk({ readOnly: true })).rejects.toThrow('already used');
    await writer.close();
    const readers = await Promise.all([openDisk({ readOnly: true }), openDisk({ readOnly: true })]);
    await expect(openDisk()).rejects.toThrow('already used read-only');
    await Promise.all(readers.map(r => r.close()));
    await (await openDisk()).close();
  });
  test('what cannot be a disk is refused with its name', async () => {
    await expect(openDisk({ path: '/nonexistent.img' })).rejects.toThrow('failed to stat: /nonexistent.img: No such file or directory');
    await expect(openDisk({ path: dir, readOnly: true })).rejects.toThrow('neither a file nor a block device');
    const fifo = join(dir, 'fifo');
    execFileSync('mkfifo', [fifo]);
    for (const readOnly of [true, false]) await expect(openDisk({ path: fifo, readOnly })).rejects.toThrow('neither a file nor a block device');
    await (await open(join(dir, 'empty'), 'w')).close();
    await expect(openDisk({ path: join(dir, 'empty') })).rejects.toThrow('is empty');
  });
  test('what lies past the end of a file that shrank reads as zero', async () => {
    const disk = await openDisk({ readOnly: true });
    await writeFile(path, new Uint8Array(1000).fill(7));
    const page = new Uint8Array(new SharedArrayBuffer(4096)).fill(9);
    await disk.read([page.subarray(0, 512), page.subarray(512, 4096)], 0);
    expect([page[999], page[1000], page[4095]]).toEqual([7, 0, 0]);
    await disk.close();
  });
});
