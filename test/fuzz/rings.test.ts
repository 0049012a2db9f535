// What a guest can write into device rings and the console page.
import { expect, it } from 'vitest';
import { sring } from '../../hypervisor/public/io/ring.ts';
import { xencons_interface as con } from '../../hypervisor/public/io/console.ts';
import { newPage } from '../../dom0/bus/fakes.ts';
import { BackRing, RingError } from '../../dom0/bus/ring.ts';
import { DomainConsole } from '../../dom0/console/domain-console.ts';
import { fuzz } from './random.ts';

it('a device ring: nothing but RingError, and never more requests than the ring holds', () => {
  fuzz(r => {
    const pages = Array.from({ length: r.pick([1, 2, 4]) }, newPage), words = new Uint32Array(pages[0]!.buffer), size = r.pick([8, 12, 112]);
    if (r.chance(2)) { words[0] = r.edge(); words[2] = r.edge(); }
    let ring: BackRing;
    try { ring = new BackRing(pages, size); } catch (error) { expect(error).toBeInstanceOf(RingError); return; }
    let taken = 0;
    for (let i = 0; i < 100; i++) {
      if (r.chance(3)) words[sring.req_prod >> 2] = r.chance(2) ? (words[sring.rsp_prod >> 2]! + r.below(2 * ring.entryCount)) >>> 0 : r.edge();
      if (r.chance(5)) words[r.below(4)] = r.u32();
      try {
        const entry = ring.take();
        if (entry) { taken++; expect(entry.length).toBe(size); }
        ring.finalCheck();
      } catch (error) { expect(error).toBeInstanceOf(RingError); }
      expect(ring.inFlight).toBe(taken);
      expect(taken).toBeLessThanOrEqual(ring.entryCount);
      if (taken > 0 && r.chance(2)) { ring.respond(new Uint8Array(size)); taken--; ring.push(); }
    }
  });
});

it('the console page: sane output arrives whole after any nonsense, input is never made up', () => {
  fuzz(r => {
    const page = newPage(), words = new Uint32Array(page.buffer), lines: string[] = [];
    for (const at of [con.in_cons, con.in_prod, con.out_cons, con.out_prod]) if (r.chance(2)) words[at >> 2] = r.edge();
    const console = new DomainConsole(page, () => {}, { log: line => lines.push(line), scrollbackBytes: 8192 });
    for (let i = 0; i < 60; i++) {
      if (r.chance(2)) words[r.pick([con.in_cons, con.in_prod, con.out_cons, con.out_prod]) >> 2] = r.chance(2) ? r.edge() : r.u32();
      if (r.chance(4)) page.set(r.bytes(32), r.below(4064));
      if (r.chance(3)) console.write(r.bytes(r.below(3000)));
      const before = console.position;
      console.onEvent();
      expect(console.position - before).toBeLessThanOrEqual(2048);
    }
    expect(lines.length).toBeLessThanOrEqual(10);
    const start = words[con.out_cons >> 2] = words[con.out_prod >> 2]!, end = console.position;
    for (let i = 0; i < 5; i++) page[con.out + ((start + i) & 2047)] = 'hello'.charCodeAt(i);
    words[con.out_prod >> 2] = start + 5;
    console.onEvent();
    expect(console.position).toBe(end + 5);
    expect(Buffer.from(console.scrollback().subarray(-5)).toString()).toBe('hello');
  });
});
