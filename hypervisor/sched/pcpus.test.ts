import { describe, expect, test } from 'vitest';
import { H, V } from '../domain/state.ts';
import { makeHost, type TestDomain, type TestHost } from '../domain/test-host.ts';
import { holdsPcpu, leavePcpu, requestPcpu, sliceEndNs, sliceOver } from './pcpus.ts';

const MS = 1_000_000n;
const words = (host: TestHost, n: number): number => host.hv.state.words[n]!;
const request = (host: TestHost, d: TestDomain): boolean => requestPcpu(host.hv, d.slot, 0);
const leave = (host: TestHost, d: TestDomain): void => leavePcpu(host.hv, d.slot, 0);
const holds = (host: TestHost, d: TestDomain): boolean => holdsPcpu(host.hv, d.slot, 0);
const cpuTime = (host: TestHost, d: TestDomain): number => Number(host.hv.state.vlong(d.slot, 0, V.cpuTime));

/** Everybody wants to run all the time; the clock moves in steps, and slices end when they should. */
function compete(host: TestHost, domains: readonly TestDomain[], totalMs: number): void {
  for (const d of domains) request(host, d);
  for (let t = 0; t < totalMs; t++) {
    host.nowNs += MS;
    for (const d of domains) if (holds(host, d) && sliceOver(host.hv, d.slot, 0)) { leave(host, d); request(host, d); }
  }
  for (const d of domains) leave(host, d);
}

describe('pCPUs', () => {
  test('are given out while there are some; then one waits its turn', () => {
    const host = makeHost(2), [a, b, c] = [host.addDomain(), host.addDomain(), host.addDomain()] as const;
    expect([a, b, c].map(d => request(host, d))).toEqual([true, true, false]);
    expect([words(host, H.freePcpus), words(host, H.waiting), holds(host, c)]).toEqual([0, 1, false]);
    const bell = host.hv.state.vget(c.slot, 0, V.bell);
    leave(host, a);
    expect([holds(host, c), holds(host, a), words(host, H.waiting), words(host, H.freePcpus)]).toEqual([true, false, 0, 0]);
    expect(host.hv.state.vget(c.slot, 0, V.bell)).toBe(bell + 1);
  });
  test('one that leaves the queue is not handed anything', () => {
    const host = makeHost(1), a = host.addDomain(), b = host.addDomain();
    request(host, a); request(host, b);
    leave(host, b);
    leave(host, a);
    expect([holds(host, b), words(host, H.freePcpus), words(host, H.waiting)]).toEqual([false, 1, 0]);
    leave(host, a);
    expect(words(host, H.freePcpus)).toBe(1);
  });
  test('time held is counted', () => {
    const host = makeHost(1), a = host.addDomain();
    request(host, a);
    host.nowNs += 7n * MS;
    leave(host, a);
    host.nowNs += 5n * MS;
    request(host, a);
    host.nowNs += 1n * MS;
    leave(host, a);
    expect(cpuTime(host, a)).toBe(8e6);
  });
});

describe('slices', () => {
  test('end only when somebody waits', () => {
    const host = makeHost(1), a = host.addDomain(), b = host.addDomain();
    request(host, a);
    host.nowNs += 1000n * MS;
    expect([sliceEndNs(host.hv, a.slot, 0), sliceOver(host.hv, a.slot, 0)]).toEqual([undefined, false]);
    request(host, b);
    host.nowNs += 2n * MS;
    expect(sliceOver(host.hv, a.slot, 0)).toBe(true);
  });
  test('last longer against an equal than against one with more credit', () => {
    const host = makeHost(1), a = host.addDomain(), b = host.addDomain(), start = host.nowNs;
    request(host, a); request(host, b);
    expect(sliceEndNs(host.hv, a.slot, 0)).toBe(start + 10n * MS);
    host.nowNs += 2n * MS;
    expect(sliceEndNs(host.hv, a.slot, 0)).toBe(start + 1n * MS);
    expect(sliceOver(host.hv, a.slot, 0)).toBe(true);
  });
});

describe('shares', () => {
  test('follow the weights', () => {
    const host = makeHost(1), light = host.addDomain({ weight: 256 }), same = host.addDomain({ weight: 256 }), heavy = host.addDomain({ weight: 512 });
    compete(host, [light, same, heavy], 4000);
    const share = [light, same, heavy].map(d => cpuTime(host, d) / 4e9);
    expect(share[0]).toBeCloseTo(0.25, 1);
    expect(share[1]).toBeCloseTo(0.25, 1);
    expect(share[2]).toBeCloseTo(0.5, 1);
    expect(share.reduce((s, x) => s + x)).toBeCloseTo(1, 5);
  });
  test('one that was away gets a turn soon; time that nobody wanted is not held against the other', () => {
    const host = makeHost(1), hog = host.addDomain(), late = host.addDomain();
    request(host, hog);
    host.nowNs += 10_000n * MS;
    request(host, late);
    host.nowNs += 2n * MS;
    expect(sliceOver(host.hv, hog.slot, 0)).toBe(true);
    leave(host, hog);
    expect(holds(host, late)).toBe(true);
    leave(host, late);
    const before = [cpuTime(host, hog), cpuTime(host, late)];
    compete(host, [hog, late], 400);
    expect((cpuTime(host, hog) - before[0]!) / 400e6).toBeCloseTo(0.5, 1);
    expect((cpuTime(host, late) - before[1]!) / 400e6).toBeCloseTo(0.5, 1);
  });
});
