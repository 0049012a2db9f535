// The domain table as Dom0's hypercalls work on it; no thread runs.
import { beforeEach, describe, expect, test } from 'vitest';
import { INITIALISED, V, D, MAX_SLOTS, DOMAIN_STATE } from '../domain/state.ts';
import { shutdownDomain } from '../domain/hypervisor.ts';
import { makeHost, PAGE, type TestDomain, type TestHost, UUID } from '../domain/test-host.ts';
import { send } from '../event/channels.ts';
import { entryWord } from '../grant/table.ts';
import type { DomainInfo } from '../public/dom0-hypercalls.ts';
import { EBUSY, EINVAL, ENOMEM, ESRCH } from '../public/errno.ts';
import { GTF_permit_access, GTF_reading, GTF_writing } from '../public/grant_table.ts';
import { shared_info, vcpu_info } from '../public/layouts.ts';
import { SHUTDOWN_crash, SHUTDOWN_poweroff, SHUTDOWN_suspend } from '../public/sched.ts';
import { domid, type EvtchnPort, mfn, mfnOf } from '../public/types.ts';
import { Dom0 } from './dom0.ts';

let host: TestHost;
beforeEach(() => { host = makeHost(); });
const info = (d: TestDomain): DomainInfo => host.dom0.domainInfo(d.domid) as DomainInfo;
const L4_ENTRIES = 512;
/** Boots with an empty address space: enough for the checks here. */
const start = (d: TestDomain): number => host.dom0.setContext(d.domid, { rip: 0n, rsp: 0n, rsi: 0n, cr3Mfn: d.mfns[0]! });

describe('creation', () => {
  test('gives a paused domain with shared_info, upcalls masked, and one grant frame', () => {
    const d = host.addDomain({ vcpus: 2, frames: 16 }), shared = host.hv.state.dget(d.slot, D.sharedInfo);
    expect(info(d)).toMatchObject({ domid: 1, uuid: UUID, running: false, blocked: false, paused: true, dying: false, shutdown: false, crashed: false, memKib: 64, maxMemKib: 64, vcpus: 2, vcpusOnline: 0, cpuTimeNs: 0n, sharedInfoMfn: mfnOf(d.slot, shared / PAGE) });
    for (const v of [0, 1]) expect(d.memory.bytes[shared + v * vcpu_info.size + vcpu_info.fields.evtchn_upcall_mask]).toBe(1);
    const wall = d.memory.view.getUint32(shared + shared_info.fields.wc_sec, true);
    expect(Math.abs(wall - Date.now() / 1000)).toBeLessThan(5);
    expect(d.memory.view.getUint32(shared + shared_info.fields.wc_version, true) % 2).toBe(0);
    expect(entryWord(host.hv, d.slot, 0)).toBeGreaterThan(0);
  });
  test('numbers domains upwards, and starts a used slot afresh', async () => {
    const a = host.addDomain(), b = host.addDomain();
    expect([a.domid, b.domid]).toEqual([1, 2]);
    host.dom0.domainShutdown(a.domid, SHUTDOWN_crash);
    host.hv.state.vset(a.slot, 0, V.virq, 3);
    expect(await host.dom0.domainDestroy(a.domid)).toBe(0);
    const c = host.addDomain();
    expect([c.domid, c.slot]).toEqual([3, a.slot]);
    expect(info(c)).toMatchObject({ shutdown: false, shutdownReason: 0 });
    expect(host.hv.state.vget(c.slot, 0, V.virq)).toBe(0);
    expect(c.memory.memory).not.toBe(a.memory.memory);
  });
  test('refuses what cannot be', () => {
    const create = (vcpus: number, maxMemKib: number): number => host.dom0.domainCreate({ uuid: UUID, vcpus, maxMemKib });
    expect([create(0, 1024), create(33, 1024), create(1, 0), create(NaN, 1024), create(1, NaN)]).toEqual(Array(5).fill(-EINVAL));
    expect(create(1, 4 * 1024 * 1024)).toBe(-ENOMEM);
    expect(host.dom0.domainList().map(i => i.domid)).toEqual([0]);
  });
  test('a program has one vCPU, and no room for a processor beside its memory', () => {
    const create = (vcpus: number, program: boolean): number => host.dom0.domainCreate({ uuid: UUID, vcpus, maxMemKib: 8192, program });
    const bytes = (dom: number): number => host.hv.memories.get(host.hv.state.slotOf(dom), dom)!.bytes.length;
    expect(create(2, true)).toBe(-EINVAL);
    const [program, kernel] = [create(1, true), create(1, false)];
    expect([bytes(program) >> 20, bytes(kernel) >> 20]).toEqual([8, 105]);
    expect(host.dom0.populate(domid(program), 2048)).toHaveLength(2048);
  });
  test('does not take more frames than were asked for', () => {
    const d = host.addDomain({ frames: 16 });
    expect(host.dom0.populate(d.domid, 1)).toBe(-ENOMEM);
    expect(host.dom0.domainSetMaxMem(d.domid, 68)).toBe(0);
    expect(host.dom0.populate(d.domid, 1)).toHaveLength(1);
    expect(host.dom0.domainSetMaxMem(d.domid, -1)).toBe(-EINVAL);
  });
});

describe('unknown domains', () => {
  test('are -ESRCH, and so is Dom0 where it makes no sense', async () => {
    for (const dom of [domid(0), domid(9)]) {
      const { dom0 } = host;
      expect([dom0.domainPause(dom), dom0.domainUnpause(dom), dom0.domainShutdown(dom, 0), dom0.domainResume(dom), dom0.populate(dom, 1), dom0.foreign(dom), dom0.setM2p(dom, [], 0), dom0.domainSetMaxMem(dom, 4)]).toEqual(Array(8).fill(-ESRCH));
      expect(await dom0.domainDestroy(dom)).toBe(-ESRCH);
    }
    expect(host.dom0.domainInfo(domid(9))).toBe(-ESRCH);
  });
});

describe('starting', () => {
  test('asks for the thread once: with a context, when the last pause has gone', () => {
    const d = host.addDomain(), starts = (): number => host.requests.filter(r => r.xenolith === 'start').length;
    host.dom0.domainUnpause(d.domid);
    expect(starts()).toBe(0);
    host.dom0.domainPause(d.domid);
    expect(start(d)).toBe(0);
    expect(info(d).vcpusOnline).toBe(1);
    host.dom0.domainPause(d.domid);
    host.dom0.domainUnpause(d.domid);
    expect(starts()).toBe(0);
    host.dom0.domainUnpause(d.domid);
    host.dom0.domainUnpause(d.domid);
    expect(starts()).toBe(1);
    expect(info(d).paused).toBe(false);
  });
  test('refuses tables that are another\'s, or do not validate', () => {
    const a = host.addDomain(), b = host.addDomain(), boot = { rip: 0n, rsp: 0n, rsi: 0n };
    expect(host.dom0.setContext(a.domid, { ...boot, cr3Mfn: b.mfns[0]! })).toBe(-EINVAL);
    expect(host.dom0.setContext(a.domid, { ...boot, cr3Mfn: mfn(a.slot * 2 ** 20) })).toBe(-EINVAL);
    a.memory.view.setBigUint64(a.frames[0]! * PAGE + 8 * (L4_ENTRIES - 1), BigInt(b.mfns[1]!) << 12n | 7n, true);
    expect(start(a)).toBe(-EINVAL);
    expect(info(a).vcpusOnline).toBe(0);
  });
});

describe('events', () => {
  test('wait from when one comes until upcalls have been made', () => {
    const d = host.addDomain(), port = host.dom0.evtchnAllocUnbound(d.domid, domid(0)) as EvtchnPort, mine = host.dom0.evtchnBindInterdomain(d.domid, port) as EvtchnPort;
    host.dom0.serveEvents();
    const seen: boolean[] = [host.dom0.eventsWait()];
    host.dom0.onEvent(mine, () => { seen.push(host.dom0.eventsWait()); });
    expect(send(host.hv, d.slot, port)).toBe(0);
    seen.push(host.dom0.eventsWait());
    host.dom0.serveEvents();
    expect(seen).toEqual([false, true, false]);
  });
});

describe('the end', () => {
  test('the first shutdown reason counts, and Dom0 is told', async () => {
    const d = host.addDomain();
    let told = 0;
    host.dom0.onDomainEvent(() => { told++; });
    shutdownDomain(host.hv, d.slot, SHUTDOWN_crash);
    shutdownDomain(host.hv, d.slot, SHUTDOWN_poweroff);
    expect(info(d)).toMatchObject({ shutdown: true, crashed: true, shutdownReason: SHUTDOWN_crash });
    await expect.poll(() => told).toBe(1);
  });
  test('is not that of one that is suspended: it is resumed, once', () => {
    const d = host.addDomain();
    shutdownDomain(host.hv, d.slot, SHUTDOWN_suspend);
    expect(info(d)).toMatchObject({ shutdown: true, crashed: false, shutdownReason: SHUTDOWN_suspend });
    expect([host.dom0.domainResume(d.domid), host.dom0.domainResume(d.domid)]).toEqual([0, -EINVAL]);
    expect(info(d)).toMatchObject({ shutdown: false });
    shutdownDomain(host.hv, d.slot, SHUTDOWN_crash);
    expect(host.dom0.domainResume(d.domid)).toBe(-EINVAL);
  });
  test('closes its event channels, frees its slot, and has its memory dropped', async () => {
    const d = host.addDomain(), port = host.dom0.evtchnAllocUnbound(d.domid, domid(0)) as EvtchnPort, mine = host.dom0.evtchnBindInterdomain(d.domid, port) as EvtchnPort;
    expect(await host.dom0.domainDestroy(d.domid)).toBe(0);
    expect(host.dom0.domainInfo(d.domid)).toBe(-ESRCH);
    expect(host.hv.memories.get(d.slot, d.domid)).toBeUndefined();
    expect(host.requests.at(-1)).toEqual({ xenolith: 'end', slot: d.slot, domid: d.domid, force: false });
    expect(host.dom0.evtchnSend(mine)).toBe(0);
    expect(host.dom0.evtchnClose(mine)).toBe(0);
  });
  test('waits for the threads, has a stubborn one ended, and is not begun twice', async () => {
    const d = host.addDomain(), { state } = host.hv;
    state.vset(d.slot, 0, V.started, 1);
    const first = host.dom0.domainDestroy(d.domid);
    expect(await host.dom0.domainDestroy(d.domid)).toBe(-EBUSY);
    expect(info(d).dying).toBe(true);
    await expect.poll(() => host.requests.at(-1), { timeout: 10_000 }).toMatchObject({ xenolith: 'end', force: true });
    state.vset(d.slot, 0, V.started, 0);
    Atomics.notify(state.words, state.vcpu(d.slot, 0) + V.started);
    expect(await first).toBe(0);
    expect(state.dget(d.slot, D.state)).toBe(DOMAIN_STATE.free);
  });
});

describe('a Dom0 that takes over', () => {
  test('ends the mappings of the one before and unbinds its ports; the guest\'s ports can be bound anew', () => {
    const d = host.addDomain(), at = entryWord(host.hv, d.slot, 5);
    d.memory.words[at + 1] = d.mfns[3]!;
    d.memory.words[at] = GTF_permit_access;
    const port = host.dom0.evtchnAllocUnbound(d.domid, domid(0)) as EvtchnPort;
    host.dom0.evtchnBindInterdomain(d.domid, port);
    host.dom0.gnttabMap(d.domid, 5 as never, false);
    expect(d.memory.words[at]! & 0xffff).toBe(GTF_permit_access | GTF_reading | GTF_writing);
    const next = new Dom0(host.hv, r => { host.requests.push(r); });
    expect(d.memory.words[at]! & 0xffff).toBe(GTF_permit_access);
    expect(send(host.hv, d.slot, port)).toBe(0);
    expect(next.evtchnBindInterdomain(d.domid, port)).toBeGreaterThan(0);
    expect(next.domainList().map(i => i.domid)).toEqual([0, d.domid]);
  });
  test('finishes a destruction that was begun', async () => {
    const d = host.addDomain();
    host.hv.state.dset(d.slot, D.state, DOMAIN_STATE.dying);
    const next = new Dom0(host.hv, () => {});
    expect(await next.domainDestroy(d.domid)).toBe(0);
    expect(next.domainInfo(d.domid)).toBe(-ESRCH);
  });
});

test('slots run out with an error, not with a crash', () => {
  const { state } = host.hv;
  for (let s = 1; s < MAX_SLOTS; s++) state.dset(s, D.state, DOMAIN_STATE.live);
  expect(host.dom0.domainCreate({ uuid: UUID, vcpus: 1, maxMemKib: 64 })).toBeLessThan(0);
});
test('debug keys write what they know to the console ring, and refuse what they do not', () => {
  const d = host.addDomain();
  host.dom0.evtchnAllocUnbound(d.domid, domid(0));
  host.hv.state.vset(d.slot, 0, V.initialised, INITIALISED.yes);
  for (const key of 'hqregpPdTT') expect(host.dom0.debugKey(key)).toBe(0);
  expect(host.dom0.debugKey('?')).toBe(-EINVAL);
  const text = host.dom0.readConsole(false);
  expect(text.split('\n').slice(0, -1).every(line => /^\(XEN\) \[ *\d+\.\d{6}\] /.test(line))).toBe(true);
  for (const part of [`General information for domain ${d.domid}:`, `handle=${UUID}`, "key 'g'", `d${d.domid} port 1: unbound`, `d${d.domid}v0 weight=256`, 'pCPUs 2, free 2']) expect(text).toContain(part);
  expect(host.hv.state.vget(d.slot, 0, V.dump)).toBe(1);
  host.dom0.readConsole(true);
  expect(host.dom0.readConsole(false)).toBe('');
});
