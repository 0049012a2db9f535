import { beforeEach, describe, expect, test } from 'vitest';
import { CODE } from '../cpu/layout.ts';
import { D, GRANT_FRAMES_MAX, V } from '../domain/state.ts';
import { makeHost, PAGE, type TestDomain, type TestHost } from '../domain/test-host.ts';
import { freeFrames } from '../mm/frames.ts';
import { isOwned, PGT, typeCount } from '../mm/frame-table.ts';
import { getPageAndType, putPageAndType } from '../mm/page-tables.ts';
import { withPageLock } from '../mm/space.ts';
import { GNTST_bad_copy_arg, GNTST_bad_domain, GNTST_bad_gntref, GNTST_bad_page, GNTST_general_error, GNTST_okay, GNTST_permission_denied, GTF_accept_transfer, GTF_invalid, GTF_permit_access, GTF_reading, GTF_readonly, GTF_writing } from '../public/grant_table.ts';
import { type GrantRef, mfnOf } from '../public/types.ts';
import type { GrantMapping } from '../public/dom0-hypercalls.ts';
import { type CopyEnd, copyGrant } from './copy.ts';
import { entryWord, ENTRIES_PER_FRAME, forgetGrants, grantUses, growTable, type Pin, pinGrant, unpinGrant } from './table.ts';
import { untrackAll } from './maptrack.ts';

const REF = 8;
let host: TestHost, a: TestDomain, b: TestDomain;
beforeEach(() => { host = makeHost(); a = host.addDomain(); b = host.addDomain(); });

const word = (d: TestDomain, ref: number): number => entryWord(host.hv, d.slot, ref);
const flags = (d: TestDomain, ref = REF): number => d.memory.words[word(d, ref)]! & 0xffff;
/** As a guest grants: the frame first, then the flags. */
function grant(d: TestDomain, ref: number, frame: number, grantee: number, extra = 0): void {
  d.memory.words[word(d, ref) + 1] = mfnOf(d.slot, frame);
  d.memory.words[word(d, ref)] = grantee << 16 | GTF_permit_access | extra;
}
const pin = (grantee: number, readOnly: boolean, ref = REF): Pin => pinGrant(host.hv, a.memory, ref, grantee, readOnly) as Pin;

describe('uses of a grant', () => {
  test('mark the entry while they last, and hold the frame', () => {
    grant(a, REF, a.frames[2]!, b.domid);
    const p = pin(b.domid, false);
    expect([p.index, flags(a), typeCount(a.space, a.frames[2]!)]).toEqual([a.frames[2], GTF_permit_access | GTF_reading | GTF_writing, 1]);
    unpinGrant(host.hv, a.memory, p);
    expect([flags(a), typeCount(a.space, a.frames[2]!)]).toEqual([GTF_permit_access, 0]);
  });
  test('are counted by kind: the flags go with the last of theirs', () => {
    grant(a, REF, a.frames[2]!, b.domid);
    const r1 = pin(b.domid, true), w = pin(b.domid, false), r2 = pin(b.domid, true);
    expect(grantUses(host.hv, a.slot, REF)).toEqual({ reading: 2, writing: 1 });
    unpinGrant(host.hv, a.memory, w);
    expect(flags(a)).toBe(GTF_permit_access | GTF_reading);
    unpinGrant(host.hv, a.memory, r1);
    expect(flags(a)).toBe(GTF_permit_access | GTF_reading);
    unpinGrant(host.hv, a.memory, r2);
    expect(flags(a)).toBe(GTF_permit_access);
  });
  test('a write use that outlasts the read ones keeps both flags', () => {
    grant(a, REF, a.frames[2]!, b.domid);
    const r = pin(b.domid, true), w = pin(b.domid, false);
    unpinGrant(host.hv, a.memory, r);
    expect(flags(a)).toBe(GTF_permit_access | GTF_reading | GTF_writing);
    unpinGrant(host.hv, a.memory, w);
    expect(flags(a)).toBe(GTF_permit_access);
  });
  test('what the entry does not allow is refused, and leaves no mark', () => {
    const cases: [number, number, boolean, number][] = [
      [GTF_invalid, b.domid, true, GNTST_general_error], [GTF_accept_transfer, b.domid, true, GNTST_general_error],
      [GTF_permit_access, a.domid, true, GNTST_general_error], [GTF_permit_access | GTF_readonly, b.domid, false, GNTST_general_error],
    ];
    for (const [entryFlags, grantee, readOnly, status] of cases) {
      grant(a, REF, a.frames[2]!, grantee);
      a.memory.words[word(a, REF)] = grantee << 16 | entryFlags;
      expect(pinGrant(host.hv, a.memory, REF, b.domid, readOnly)).toBe(status);
      expect([flags(a), grantUses(host.hv, a.slot, REF)]).toEqual([entryFlags, { reading: 0, writing: 0 }]);
    }
    grant(a, REF, a.frames[2]!, b.domid, GTF_readonly);
    expect(pin(b.domid, true)).toMatchObject({ readOnly: true });
    expect(flags(a)).toBe(GTF_permit_access | GTF_readonly | GTF_reading);
  });
  test('frames that are not the granter\'s, or that may not be written, are refused', () => {
    for (const frame of [mfnOf(b.slot, b.frames[0]!), mfnOf(a.slot, 0), mfnOf(a.slot, a.memory.layout.end), 0xffff_ffff]) {
      grant(a, REF, a.frames[2]!, b.domid);
      a.memory.words[word(a, REF) + 1] = frame | 0;
      expect(pinGrant(host.hv, a.memory, REF, b.domid, true)).toBe(GNTST_bad_page);
      expect(flags(a)).toBe(GTF_permit_access);
    }
    // A page table: reading is harmless, writing would be the end of the wall.
    grant(a, REF, a.frames[3]!, b.domid);
    withPageLock(a.space, () => expect(getPageAndType(a.space, a.frames[3]!, PGT.l1_page_table)).toBe(0));
    expect(pinGrant(host.hv, a.memory, REF, b.domid, false)).toBe(GNTST_bad_page);
    expect(pin(b.domid, true)).toMatchObject({ index: a.frames[3] });
    withPageLock(a.space, () => putPageAndType(a.space, a.frames[3]!));
  });
  test('a frame that is given up while in use stays until the use ends', () => {
    grant(a, REF, a.frames[4]!, b.domid);
    const p = pin(b.domid, false);
    expect(freeFrames(a.space, [a.frames[4]!])).toBe(1);
    expect(isOwned(a.space, a.frames[4]!)).toBe(true);
    unpinGrant(host.hv, a.memory, p);
    expect(isOwned(a.space, a.frames[4]!)).toBe(false);
  });
  test('references beyond the table', () => {
    for (const ref of [-1, 0.5, ENTRIES_PER_FRAME, 0xffff_ffff]) expect(pinGrant(host.hv, a.memory, ref, b.domid, true)).toBe(GNTST_bad_gntref);
    expect(growTable(host.hv, a.space, a.slot, 2)).toBe(2);
    expect(pinGrant(host.hv, a.memory, ENTRIES_PER_FRAME, b.domid, true)).toBe(GNTST_general_error);
    expect(growTable(host.hv, a.space, a.slot, 1000)).toBe(GRANT_FRAMES_MAX);
  });
  test('ending one of a domain that has gone does nothing to its slot\'s next', async () => {
    grant(a, REF, a.frames[2]!, b.domid);
    const p = pin(b.domid, false);
    expect(await host.dom0.domainDestroy(a.domid)).toBe(0);
    const next = host.addDomain();
    expect(next.slot).toBe(a.slot);
    expect(grantUses(host.hv, next.slot, REF)).toEqual({ reading: 0, writing: 0 });
    unpinGrant(host.hv, a.memory, p);
    expect(grantUses(host.hv, next.slot, REF)).toEqual({ reading: 0, writing: 0 });
    expect(pinGrant(host.hv, a.memory, REF, b.domid, true)).toBe(GNTST_bad_domain);
  });
  test('forgetGrants clears what was counted', () => {
    grant(a, REF, a.frames[2]!, b.domid);
    pin(b.domid, true);
    forgetGrants(host.hv, a.slot);
    expect(grantUses(host.hv, a.slot, REF)).toEqual({ reading: 0, writing: 0 });
  });
});

describe('Dom0\'s mappings', () => {
  const map = (readOnly = false, ref = REF): GrantMapping => host.dom0.gnttabMap(a.domid, ref as GrantRef, readOnly) as GrantMapping;
  test('show the granter\'s own frame', () => {
    grant(a, REF, a.frames[5]!, 0);
    const m = map();
    m.bytes[17] = 42;
    expect(a.memory.bytes[a.frames[5]! * PAGE + 17]).toBe(42);
    expect([m.bytes.length, m.mfn]).toEqual([PAGE, a.mfns[5]]);
    expect(host.dom0.gnttabUnmap(m)).toBe(0);
    expect(flags(a)).toBe(GTF_permit_access);
  });
  test('are unmapped once, and only by who holds them', () => {
    grant(a, REF, a.frames[5]!, 0);
    const m = map(), other = map();
    expect(other.handle).not.toBe(m.handle);
    expect(host.dom0.gnttabUnmap({ ...m, ref: 9 as GrantRef })).toBeLessThan(0);
    expect(host.dom0.gnttabUnmap(m)).toBe(0);
    expect(host.dom0.gnttabUnmap(m)).toBeLessThan(0);
    expect(flags(a)).toBe(GTF_permit_access | GTF_reading | GTF_writing);
    for (const handle of [-1, 0.5, 1e9]) expect(host.dom0.gnttabUnmap({ ...other, handle })).toBeLessThan(0);
    host.dom0.gnttabUnmap(other);
    expect(flags(a)).toBe(GTF_permit_access);
  });
  test('all end when another Dom0 takes over', () => {
    grant(a, REF, a.frames[5]!, 0);
    grant(a, 9, a.frames[6]!, 0, GTF_readonly);
    map(); map(); map(true, 9);
    expect(untrackAll(host.hv)).toBe(3);
    expect([flags(a), flags(a, 9), typeCount(a.space, a.frames[5]!)]).toEqual([GTF_permit_access, GTF_permit_access | GTF_readonly, 0]);
  });
  test('a backend\'s write is told to the domain when there was code in the frame, and only then', () => {
    grant(a, REF, a.frames[5]!, 0);
    const m = map(), at = a.memory.layout.codeMap + a.frames[5]!, told = (): number => host.hv.state.dget(a.slot, D.dirtyCode);
    host.dom0.gnttabWrote(m);
    expect([a.memory.bytes[at], told()]).toEqual([0, 0]);
    a.memory.bytes[at] = CODE.translated;
    const bell = host.hv.state.vget(a.slot, 0, V.bell);
    host.dom0.gnttabWrote(m);
    expect([a.memory.bytes[at], told(), host.hv.state.vget(a.slot, 0, V.bell)]).toEqual([CODE.translated | CODE.dirtied, 1, bell + 1]);
  });
  test('a copy is as a use that has ended: checked alike, nothing left of it', () => {
    const to = new Uint8Array(5), from = Uint8Array.of(1, 2, 3, 4, 5), at = a.frames[5]! * PAGE + 4091, copyFrom = (offset: number, ref = REF): number => host.dom0.gnttabCopyFrom(a.domid, ref as GrantRef, offset, to);
    const copyTo = (offset: number, ref = REF): number => host.dom0.gnttabCopyTo(a.domid, ref as GrantRef, offset, from), read = (): number[] => [...a.memory.bytes.subarray(at, at + 5)];
    grant(a, REF, a.frames[5]!, 0);
    expect([copyTo(4091), read()]).toEqual([0, [1, 2, 3, 4, 5]]);
    expect([copyFrom(4091), [...to]]).toEqual([0, [1, 2, 3, 4, 5]]);
    expect([flags(a), grantUses(host.hv, a.slot, REF), typeCount(a.space, a.frames[5]!)]).toEqual([GTF_permit_access, { reading: 0, writing: 0 }, 0]);
    // One that is in use otherwise stays so.
    const m = map();
    expect([copyFrom(0), copyTo(0), flags(a)]).toEqual([0, 0, GTF_permit_access | GTF_reading | GTF_writing]);
    host.dom0.gnttabUnmap(m);
    a.memory.bytes[a.memory.layout.codeMap + a.frames[5]!] = CODE.translated;
    expect([copyTo(0), host.hv.state.dget(a.slot, D.dirtyCode)]).toEqual([0, 1]);
    for (const offset of [-1, 4092, 0.5, NaN]) expect(copyFrom(offset)).toBeLessThan(0);
    grant(a, 9, a.frames[6]!, 0, GTF_readonly);
    expect([copyFrom(0, 9), copyTo(0, 9) < 0]).toEqual([0, true]);
    grant(a, 10, a.frames[6]!, b.domid);
    for (const ref of [10, 11, -1, 1e6]) expect([copyFrom(0, ref) < 0, copyTo(0, ref) < 0]).toEqual([true, true]);
    // Never into a page table.
    grant(a, 12, a.frames[7]!, 0);
    expect(withPageLock(a.space, () => getPageAndType(a.space, a.frames[7]!, PGT.seg_desc_page))).toBe(0);
    expect([copyTo(0, 12) < 0, copyFrom(0, 12), flags(a, 12)]).toEqual([true, 0, GTF_permit_access]);
  });
  test('a seeded entry is as if the guest had granted it', () => {
    expect(host.dom0.gnttabSeed(a.domid, 1 as GrantRef, a.mfns[7]!, 0 as never)).toBe(0);
    expect(map(false, 1).mfn).toBe(a.mfns[7]);
    expect(host.dom0.gnttabSeed(a.domid, 1e6 as GrantRef, a.mfns[7]!, 0 as never)).toBeLessThan(0);
  });
});

describe('GNTTABOP_copy', () => {
  const own = (d: TestDomain, n: number, offset = 0): CopyEnd => ({ isGrant: false, value: BigInt(d.mfns[n]!), domid: d.domid, offset });
  const granted = (d: TestDomain, ref: number, offset = 0): CopyEnd => ({ isGrant: true, value: BigInt(ref), domid: d.domid, offset });
  const copy = (source: CopyEnd, dest: CopyEnd, bytes: number): number => copyGrant({ hv: host.hv, slot: b.slot, domid: b.domid, space: b.space }, source, dest, bytes);
  const fill = (d: TestDomain, n: number, at: number, ...values: number[]): void => d.memory.bytes.set(values, d.frames[n]! * PAGE + at);
  const read = (d: TestDomain, n: number, at: number, count: number): number[] => [...d.memory.bytes.subarray(d.frames[n]! * PAGE + at, d.frames[n]! * PAGE + at + count)];

  test('from a granted page into an own one, and back', () => {
    grant(a, REF, a.frames[2]!, b.domid);
    fill(a, 2, 100, 1, 2, 3);
    expect(copy(granted(a, REF, 100), own(b, 4, 8), 3)).toBe(GNTST_okay);
    expect(read(b, 4, 7, 5)).toEqual([0, 1, 2, 3, 0]);
    fill(b, 4, 8, 9);
    expect(copy(own(b, 4, 8), granted(a, REF, PAGE - 1), 1)).toBe(GNTST_okay);
    expect(read(a, 2, PAGE - 1, 1)).toEqual([9]);
    expect(flags(a)).toBe(GTF_permit_access);
  });
  test('what is not granted for writing is not written', () => {
    grant(a, REF, a.frames[2]!, b.domid, GTF_readonly);
    fill(b, 4, 0, 7);
    expect(copy(own(b, 4), granted(a, REF), 1)).toBe(GNTST_general_error);
    expect(read(a, 2, 0, 1)).toEqual([0]);
  });
  test('somebody else\'s frame by number, pages left by the offset, domains that are not there', () => {
    expect(copy(own(a, 2), own(b, 4), 1)).toBe(GNTST_permission_denied);
    expect(copy({ ...own(a, 2), domid: b.domid }, own(b, 4), 1)).toBe(GNTST_bad_page);
    expect(copy(own(b, 4), { ...own(b, 5), value: 1n << 60n }, 1)).toBe(GNTST_bad_page);
    grant(a, REF, a.frames[2]!, b.domid);
    expect(copy(granted(a, REF, PAGE - 1), own(b, 4), 2)).toBe(GNTST_bad_copy_arg);
    expect(copy(granted(a, REF), own(b, 4, 1), PAGE)).toBe(GNTST_bad_copy_arg);
    expect(copy({ ...granted(a, REF), domid: 99 }, own(b, 4), 1)).toBe(GNTST_bad_domain);
    expect(copy({ ...granted(a, REF), domid: 0 }, own(b, 4), 1)).toBe(GNTST_bad_domain);
    expect(flags(a)).toBe(GTF_permit_access);
  });
  test('code in the page written to is told to its domain', () => {
    grant(a, REF, a.frames[2]!, b.domid);
    a.memory.bytes[a.memory.layout.codeMap + a.frames[2]!] = CODE.translated;
    copy(own(b, 4), granted(a, REF), 1);
    expect(host.hv.state.dget(a.slot, D.dirtyCode)).toBe(1);
  });
});
