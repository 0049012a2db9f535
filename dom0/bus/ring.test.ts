import { describe, expect, it } from 'vitest';
import { sring } from '../../hypervisor/public/io/ring.ts';
import { newPage } from './fakes.ts';
import { BackRing, FrontRing, RingError, ringSize } from './ring.ts';

const ENTRY = 112;
const entry = (n: number, length = ENTRY): Uint8Array => Uint8Array.from({ length }, (_, i) => (n * 7 + i) & 0xff);
function setup(pageCount = 1): { pages: Uint8Array<SharedArrayBuffer>[]; front: FrontRing; back: BackRing; set: (offset: number, value: number) => void; get: (offset: number) => number } {
  const pages = Array.from({ length: pageCount }, newPage);
  const words = new Int32Array(pages[0]!.buffer), front = new FrontRing(pages, ENTRY), back = new BackRing(pages, ENTRY);
  return { pages, front, back, set: (o, v) => { words[o >> 2] = v; }, get: o => words[o >> 2]! >>> 0 };
}

describe('shared rings', () => {
  it('have the sizes that io/ring.h gives them', () => {
    // blkif: 112 bytes; netif tx: 12; netif rx: 8.
    expect([ringSize(4096, 112), ringSize(16 * 4096, 112), ringSize(4096, 12), ringSize(4096, 8), ringSize(64, 8)]).toEqual([32, 512, 256, 256, 0]);
  });
  it.each([1, 2, 4, 16])('carry entries there and back, %i pages', pageCount => {
    const { front, back } = setup(pageCount), size = front.entryCount;
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < size; i++) front.request(entry(round * size + i));
      expect(front.free).toBe(0);
      expect(() => front.request(entry(0))).toThrow('full');
      front.push();
      for (let i = 0; i < size; i++) expect(back.take()).toEqual(entry(round * size + i));
      expect(back.take()).toBeUndefined();
      for (let i = 0; i < size; i++) back.respond(entry(1000 + i, 16));
      back.push();
      for (let i = 0; i < size; i++) expect(front.take()?.subarray(0, 16)).toEqual(entry(1000 + i, 16));
      expect(front.take()).toBeUndefined();
    }
  });
  it('ask for an event exactly when the other side waits', () => {
    const { front, back } = setup();
    front.request(entry(1));
    expect(front.push()).toBe(true);
    expect(back.finalCheck()).toBe(true);
    front.request(entry(2));
    expect(front.push()).toBe(false);
    back.take(); back.take();
    expect(back.finalCheck()).toBe(false);
    front.request(entry(3));
    expect(front.push()).toBe(true);
    back.respond(entry(0, 16));
    expect(back.push()).toBe(true);
    back.respond(entry(0, 16));
    expect(back.push()).toBe(false);
    front.take(); front.take();
    expect(front.finalCheck()).toBe(false);
    back.take();
    back.respond(entry(0, 16));
    expect(back.push()).toBe(true);
  });
  it('work across the wrap of the indexes', () => {
    const pages = [newPage()], words = new Int32Array(pages[0]!.buffer);
    for (const o of [sring.req_prod, sring.rsp_prod]) words[o >> 2] = -2;
    for (const o of [sring.req_event, sring.rsp_event]) words[o >> 2] = -1;
    const back = new BackRing(pages, ENTRY);
    words[sring.req_prod >> 2] = 3;
    for (let i = 0; i < 5; i++) { expect(back.take()).toBeDefined(); back.respond(entry(i, 16)); }
    expect(back.push()).toBe(true);
    expect(words[sring.rsp_prod >> 2]).toBe(3);
    expect(back.finalCheck()).toBe(false);
    expect(words[sring.req_event >> 2]).toBe(4);
  });
  it('take no request before there is room for its answer', () => {
    const { front, back, set } = setup();
    for (let i = 0; i < 32; i++) front.request(entry(i));
    front.push();
    for (let i = 0; i < 32; i++) back.take();
    set(sring.req_prod, 32);
    expect(back.take()).toBeUndefined();
    expect(back.inFlight).toBe(32);
    set(sring.req_prod, 33);
    expect(() => back.take()).toThrow(RingError);
  });
  it('detect a frontend that claims more requests than fit', () => {
    const { back, set } = setup();
    set(sring.req_prod, 33);
    expect(() => back.take()).toThrow(RingError);
    set(sring.req_prod, -1);
    expect(() => back.finalCheck()).toThrow(RingError);
    set(sring.req_prod, 32);
    expect(back.take()).toBeDefined();
  });
  it('detect a frontend that takes requests back', () => {
    const { front, back, set } = setup();
    front.request(entry(1)); front.request(entry(2));
    front.push();
    back.take(); back.take();
    set(sring.req_prod, 1);
    expect(() => back.take()).toThrow('went back to 1');
    expect(() => back.finalCheck()).toThrow(RingError);
    set(sring.req_prod, 2);
    expect(back.take()).toBeUndefined();
  });
  it('detect a backend that answers what was not asked', () => {
    const { front, set } = setup();
    front.request(entry(1));
    front.push();
    set(sring.rsp_prod, 2);
    expect(() => front.take()).toThrow(RingError);
  });
  it('give copies: a frontend that changes an entry later changes nothing', () => {
    const { front, back, pages } = setup();
    front.request(entry(1));
    front.push();
    const taken = back.take()!;
    pages[0]!.fill(0xee, 64);
    expect(taken).toEqual(entry(1));
  });
  it('can be taken over where a backend left off, and not with nonsense', () => {
    const { front, back, pages, set } = setup();
    for (let i = 0; i < 3; i++) front.request(entry(i));
    front.push();
    back.take();
    back.respond(entry(0, 16));
    back.push();
    const next = new BackRing(pages, ENTRY);
    expect(next.unconsumed).toBe(2);
    expect(next.take()).toEqual(entry(1));
    set(sring.req_prod, 100);
    expect(() => new BackRing(pages, ENTRY)).toThrow(RingError);
    expect(() => new BackRing([], ENTRY)).toThrow(RingError);
    expect(() => new BackRing([newPage()], 8192)).toThrow(RingError);
  });
  it('can be taken over though answers were given in another order', () => {
    const { front, back, pages } = setup();
    for (let i = 0; i < 6; i++) front.request(entry(i));
    front.push();
    const taken = Array.from({ length: 5 }, () => back.take()!);
    for (const n of [3, 1, 4]) back.answer(taken[n]!, entry(100 + n, 16));
    back.push();
    for (const n of [3, 1, 4]) expect(front.take()!.subarray(0, 16)).toEqual(entry(100 + n, 16));
    const next = new BackRing(pages, ENTRY), left = Array.from({ length: 3 }, () => next.take()!);
    expect(left.map(e => [0, 2, 5].find(n => Buffer.from(entry(n)).equals(e))).sort()).toEqual([0, 2, 5]);
    expect(next.take()).toBeUndefined();
    expect(() => next.answer(taken[0]!, entry(0, 16)) ?? next.push()).toThrow(RangeError);
  });
  it('refuse answers without requests', () => {
    const { back } = setup();
    expect(() => back.respond(entry(0, 16))).toThrow(RangeError);
  });
});
