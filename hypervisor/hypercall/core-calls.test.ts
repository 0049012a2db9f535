// The hypercalls of scheduling, vCPUs, events, grants and versions, called as a guest calls them: arguments in its memory.
import { beforeEach, describe, expect, test } from 'vitest';
import { D, GRANT_FRAMES_MAX, INITIALISED, V } from '../domain/state.ts';
import { resumeDomain, shutdownDomain, shutdownReason } from '../domain/hypervisor.ts';
import { makeHost, type TestDomain, type TestHost } from '../domain/test-host.ts';
import { Vcpu } from '../domain/vcpu.ts';
import { bindIpi, send } from '../event/channels.ts';
import { newBasePointer } from '../mm/base-pointer.ts';
import { FakeProcessor } from '../mm/fake-processor.ts';
import { pinTable } from '../mm/page-tables.ts';
import { noteFlush, withPageLock } from '../mm/space.ts';
import * as errno from '../public/errno.ts';
import { EVTCHNOP_alloc_unbound, EVTCHNOP_init_control, EVTCHNOP_reset, EVTCHNOP_send, EVTCHNOP_status, EVTCHNSTAT_ipi } from '../public/event_channel.ts';
import { GNTST_bad_handle, GNTST_general_error, GNTST_okay, GNTST_permission_denied, GNTTABOP_copy, GNTTABOP_get_version, GNTTABOP_map_grant_ref, GNTTABOP_query_size, GNTTABOP_set_version, GNTTABOP_setup_table, GNTTABOP_unmap_grant_ref, GTF_permit_access } from '../public/grant_table.ts';
import * as layouts from '../public/layouts.ts';
import { SCHEDOP_block, SCHEDOP_pin_override, SCHEDOP_poll, SCHEDOP_shutdown, SHUTDOWN_poweroff, SHUTDOWN_reboot, SHUTDOWN_suspend } from '../public/sched.ts';
import * as vcpu from '../public/vcpu.ts';
import { XENVER_extraversion, XENVER_get_features, XENVER_guest_handle, XENVER_version } from '../public/version.ts';
import * as xen from '../public/xen.ts';
import { createPvState } from '../traps/pv-state.ts';
import { entryWord } from '../grant/table.ts';
import { HYPERCALLS, dispatchHypercall } from './table.ts';

const PAGE = 4096, BASE = 0xffff_ffff_8000_0000n, FRAMES = 24, SHARED = 20;
const va = (page: number, offset = 0): bigint => BASE + BigInt(page * PAGE + offset);
const ARG = va(10), NOWHERE = 0x1000n;
let host: TestHost, d: TestDomain, v: Vcpu, started: { vcpu: number; image: Uint8Array }[];

/** A guest of two vCPUs with a linear map of its frames at BASE; shared_info at page SHARED. */
beforeEach(() => {
  host = makeHost();
  d = host.addDomain({ vcpus: 2, frames: FRAMES });
  const { view } = d.memory, entry = (table: number, n: number, frame: number, flags: number): void => view.setBigUint64(d.frames[table]! * PAGE + n * 8, BigInt(d.slot) << 32n | BigInt(frame * PAGE + flags), true);
  entry(0, 511, d.frames[1]!, 0x67);
  entry(1, 510, d.frames[2]!, 0x67);
  entry(2, 0, d.frames[3]!, 0x67);
  for (let n = 0; n < FRAMES; n++) entry(3, n, n === SHARED ? host.hv.state.dget(d.slot, D.sharedInfo) / PAGE : d.frames[n]!, n < 4 ? 0x65 : 0x67);
  started = [];
  v = new Vcpu(host.hv, d.memory, 0, createPvState(), { startSibling: (n, image) => { started.push({ vcpu: n, image }); host.hv.state.vset(d.slot, n, V.initialised, outcome); }, answer: () => {} });
  v.processor = new FakeProcessor(d.memory.memory, d.slot);
  noteFlush(d.space, 0);
  expect(withPageLock(d.space, () => pinTable(d.space, d.frames[0]!, 4))).toBe(0);
  expect(newBasePointer(v, d.frames[0]!)).toBe(0);
  host.hv.state.vset(d.slot, 0, V.up, 1);
  host.hv.state.vset(d.slot, 0, V.initialised, INITIALISED.yes);
  outcome = INITIALISED.yes;
});
let outcome: number = INITIALISED.yes;

const NUMBERS = new Map(HYPERCALLS.map(([n, name]) => [name, n]));
function call(name: string, ...args: (number | bigint)[]): number {
  const padded = [...args.map(a => BigInt.asUintN(64, BigInt(a))), 0n, 0n, 0n, 0n, 0n].slice(0, 5);
  dispatchHypercall(v, NUMBERS.get(name) ?? Number(name), padded[0]!, padded[1]!, padded[2]!, padded[3]!, padded[4]!);
  return Number(BigInt.asIntN(64, v.processor.gpr[0]!));
}
/** Fills a structure at ARG from its layout: 2, 4 or 8 bytes as `width` says (4 where it does not). */
function put<F extends string>(layout: layouts.Layout<F>, values: Partial<Record<F, number | bigint>>, width: Partial<Record<F, 2 | 8>> = {}): bigint {
  const bytes = new Uint8Array(layout.size), view = new DataView(bytes.buffer);
  for (const [field, value] of Object.entries(values) as [F, number | bigint][]) {
    const at = layout.fields[field];
    if (width[field] === 8) view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
    else if (width[field] === 2) view.setUint16(at, Number(value), true); else view.setUint32(at, Number(value), true);
  }
  expect(v.processor.writeVirtual(ARG, bytes)).toBe(true);
  return ARG;
}
function peek(at: bigint, bytes: number): DataView {
  const out = new Uint8Array(bytes);
  expect(v.processor.readVirtual(at, out)).toBe(true);
  return new DataView(out.buffer);
}
const port = (p: number): bigint => { v.processor.writeVirtual(ARG, Uint8Array.of(p, p >> 8, 0, 0)); return ARG; };
const upcall = (pending: number, mask: number): void => { d.memory.bytes[v.vcpuInfo] = pending; d.memory.bytes[v.vcpuInfo + 1] = mask; };
const blocked = (): number => host.hv.state.vget(d.slot, 0, V.blocked);

describe('the table', () => {
  test('numbers that are not there, and those only Dom0 may use', () => {
    for (const n of ['11', '34', '63', '64', '4096', String(0xffff_ffff)]) expect(call(n)).toBe(-errno.ENOSYS);
    for (const name of ['platform_op', 'sysctl', 'domctl']) expect(call(name)).toBe(-errno.EPERM);
    expect(call('xenpmu_op')).toBe(-errno.ENOSYS);
  });
  test('names its hypercalls as the header does, and counts calls', () => {
    for (const [n, name] of HYPERCALLS) expect((xen as Record<string, unknown>)[`__HYPERVISOR_${name}`], name).toBe(n);
    call('xen_version', XENVER_version);
    call('xen_version', XENVER_version);
    expect(host.hv.state.words[host.hv.state.hypercalls(d.slot, xen.__HYPERVISOR_xen_version)]).toBe(2);
  });
});

describe('sched_op', () => {
  test('block unmasks, and sleeps only when nothing is pending', () => {
    upcall(0, 1);
    expect(call('sched_op', SCHEDOP_block)).toBe(0);
    expect([blocked(), d.memory.bytes[v.vcpuInfo + 1]]).toEqual([1, 0]);
    host.hv.state.vset(d.slot, 0, V.blocked, 0);
    upcall(1, 1);
    call('sched_op', SCHEDOP_block);
    expect([blocked(), d.memory.bytes[v.vcpuInfo + 1]]).toEqual([0, 0]);
  });
  test('poll returns at once for a pending port or a deliverable upcall, not for a masked one', () => {
    const p = bindIpi(host.hv, d.slot, 0), list = va(11), poll = put(layouts.sched_poll, { ports: list, nr_ports: 1, timeout: 99n }, { ports: 8, timeout: 8 });
    v.processor.writeVirtual(list, Uint8Array.of(p, 0, 0, 0));
    upcall(1, 0);
    expect([call('sched_op', SCHEDOP_poll, poll), blocked()]).toEqual([0, 0]);
    upcall(1, 1);
    expect([call('sched_op', SCHEDOP_poll, poll), blocked(), v.poll]).toEqual([0, 2, { ports: [p], deadline: 99n, upcallBefore: true }]);
    host.hv.state.vset(d.slot, 0, V.blocked, 0);
    send(host.hv, d.slot, p);
    expect([call('sched_op', SCHEDOP_poll, poll), blocked()]).toEqual([0, 0]);
  });
  test('poll refuses long lists and bad addresses', () => {
    expect(call('sched_op', SCHEDOP_poll, put(layouts.sched_poll, { nr_ports: 129 }))).toBe(-errno.EINVAL);
    expect(call('sched_op', SCHEDOP_poll, put(layouts.sched_poll, { nr_ports: 1, ports: NOWHERE }, { ports: 8 }))).toBe(-errno.EFAULT);
    expect(call('sched_op', SCHEDOP_poll, NOWHERE)).toBe(-errno.EFAULT);
  });
  test('shutdown keeps its first reason; others are refused', () => {
    expect(call('sched_op', SCHEDOP_shutdown, port(77))).toBe(-errno.EINVAL);
    expect(call('sched_op', SCHEDOP_shutdown, NOWHERE)).toBe(-errno.EFAULT);
    expect(call('sched_op', SCHEDOP_shutdown, port(SHUTDOWN_reboot))).toBe(0);
    shutdownDomain(host.hv, d.slot, SHUTDOWN_poweroff);
    expect(shutdownReason(host.hv, d.slot)).toBe(SHUTDOWN_reboot);
    expect([call('sched_op', SCHEDOP_pin_override), call('sched_op', 99)]).toEqual([-errno.EPERM, -errno.ENOSYS]);
  });
});

describe('suspend', () => {
  test('answers who is resumed that it was cancelled', () => {
    expect(call('sched_op', SCHEDOP_shutdown, port(SHUTDOWN_suspend))).toBe(1);
    expect([shutdownReason(host.hv, d.slot), v.stopped, v.suspended]).toEqual([SHUTDOWN_suspend, true, true]);
    expect([resumeDomain(host.hv, d.slot), v.stopped, v.suspended, resumeDomain(host.hv, d.slot)]).toEqual([true, false, false, false]);
    shutdownDomain(host.hv, d.slot, SHUTDOWN_reboot);
    expect([shutdownReason(host.hv, d.slot), v.stopped, v.suspended]).toEqual([SHUTDOWN_reboot, true, false]);
  });
});

describe('vcpu_op', () => {
  const info = (n: number): number => host.hv.state.vget(d.slot, n, V.info);
  const register = (n: number, page: number, offset: number): number => call('vcpu_op', vcpu.VCPUOP_register_vcpu_info, n, put(layouts.vcpu_register_vcpu_info, { mfn: d.mfns[page]!, offset }, { mfn: 8 }));

  test('vcpu_info moves once, with its contents, and everything is raised there', () => {
    d.memory.bytes[v.vcpuInfo + 1] = 1;
    expect(register(0, 12, 4096 - 63)).toBe(-errno.EINVAL);
    expect(call('vcpu_op', vcpu.VCPUOP_register_vcpu_info, 0, put(layouts.vcpu_register_vcpu_info, { mfn: 5n << 40n }, { mfn: 8 }))).toBe(-errno.EINVAL);
    expect(register(0, 0, 0)).toBe(-errno.EINVAL); // a page table
    expect(register(0, 12, 128)).toBe(0);
    const at = d.frames[12]! * PAGE + 128;
    expect([info(0), v.vcpuInfo, d.memory.bytes[at], d.memory.bytes[at + 1]]).toEqual([at, at, 1, 1]);
    expect(d.memory.view.getBigUint64(at + layouts.vcpu_info.fields.evtchn_pending_sel, true)).toBe(0xffff_ffff_ffff_ffffn);
    expect(register(0, 13, 0)).toBe(-errno.EINVAL);
  });
  test('that of a sibling moves while it is down, and not while it runs', () => {
    host.hv.state.vset(d.slot, 1, V.up, 1);
    expect(register(1, 12, 0)).toBe(-errno.EINVAL);
    host.hv.state.vset(d.slot, 1, V.up, 0);
    expect([register(1, 12, 0), info(1)]).toEqual([0, d.frames[12]! * PAGE]);
    expect(register(1, 13, 0)).toBe(-errno.EINVAL);
  });
  test('a sibling is initialised once, then up, then down', () => {
    const op = (cmd: number, n = 1): number => call('vcpu_op', cmd, n, ARG);
    expect([op(vcpu.VCPUOP_is_up), op(vcpu.VCPUOP_up)]).toEqual([0, -errno.EINVAL]);
    v.processor.writeVirtual(ARG, Uint8Array.of(1, 2, 3));
    expect(op(vcpu.VCPUOP_initialise)).toBe(0);
    expect(started.map(s => [s.vcpu, s.image.length, ...s.image.subarray(0, 4)])).toEqual([[1, 5168, 1, 2, 3, 0]]);
    expect([op(vcpu.VCPUOP_initialise), op(vcpu.VCPUOP_initialise, 0)]).toEqual([-errno.EEXIST, -errno.EEXIST]);
    expect([op(vcpu.VCPUOP_up), op(vcpu.VCPUOP_is_up), op(vcpu.VCPUOP_down), op(vcpu.VCPUOP_is_up)]).toEqual([0, 1, 0, 0]);
    expect(host.hv.state.dget(d.slot, D.shutdown)).toBe(0);
    expect([op(vcpu.VCPUOP_is_up, 2), op(vcpu.VCPUOP_initialise, 31), op(99)]).toEqual([-errno.ENOENT, -errno.ENOENT, -errno.ENOSYS]);
  });
  test('a context that is refused can be given again', () => {
    outcome = -errno.EINVAL;
    expect(call('vcpu_op', vcpu.VCPUOP_initialise, 1, ARG)).toBe(-errno.EINVAL);
    outcome = INITIALISED.yes;
    expect(call('vcpu_op', vcpu.VCPUOP_initialise, 1, ARG)).toBe(0);
    expect(call('vcpu_op', vcpu.VCPUOP_initialise, 1, NOWHERE)).toBe(-errno.EFAULT);
  });
  test('the last vCPU to go down takes the domain with it', () => {
    expect(call('vcpu_op', vcpu.VCPUOP_down, 0)).toBe(0);
    expect(shutdownReason(host.hv, d.slot)).toBe(SHUTDOWN_poweroff);
  });
  test('the time area is where the guest has memory, or nowhere', () => {
    const time = (address: bigint): number => { v.processor.write64(ARG, address); return call('vcpu_op', vcpu.VCPUOP_register_vcpu_time_memory_area, 0, ARG); };
    expect([time(va(11)), time(NOWHERE), time(0n)]).toEqual([0, -errno.EFAULT, 0]);
  });
  test('singleshot timers: past ones fire unless the guest says not to', () => {
    const timer = (timeout: bigint, flags = 0): number => call('vcpu_op', vcpu.VCPUOP_set_singleshot_timer, 0, put(layouts.vcpu_set_singleshot_timer, { timeout_abs_ns: timeout, flags }, { timeout_abs_ns: 8 }));
    const deadline = (): bigint => host.hv.state.vlong(d.slot, 0, V.deadline);
    expect([timer(host.nowNs + 5n), deadline()]).toEqual([0, host.nowNs + 5n]);
    expect([timer(host.nowNs - 1n, vcpu.VCPU_SSHOTTMR_future), deadline()]).toEqual([-errno.ETIME, host.nowNs + 5n]);
    expect([timer(host.nowNs - 1n), deadline()]).toEqual([0, host.nowNs - 1n]);
    expect([call('vcpu_op', vcpu.VCPUOP_stop_singleshot_timer, 0), deadline()]).toEqual([0, 0n]);
    expect([call('set_timer_op', 77n), deadline(), call('set_timer_op', 0n), deadline()]).toEqual([0, 77n, 0, 0n]);
  });

  describe('runstate', () => {
    const AREA = va(14, PAGE - 16); // crosses a page border
    const F = layouts.vcpu_runstate_info.fields;
    const area = (): DataView => peek(AREA, layouts.vcpu_runstate_info.size);
    const times = (w: DataView): bigint[] => [0, 1, 2, 3].map(n => w.getBigUint64(F.time + 8 * n, true));
    function change(to: number, afterNs: bigint): void { host.nowNs += afterNs; v.setRunstate(to); }
    const registerArea = (n = 0): number => { v.processor.write64(ARG, AREA); return call('vcpu_op', vcpu.VCPUOP_register_runstate_memory_area, n, ARG); };

    test('is accounted, and written where the guest wants it', () => {
      change(vcpu.RUNSTATE_running, 10n);
      expect(registerArea()).toBe(0);
      change(vcpu.RUNSTATE_blocked, 100n);
      change(vcpu.RUNSTATE_running, 1000n);
      expect([area().getInt32(F.state, true), area().getBigUint64(F.state_entry_time, true), times(area())]).toEqual([vcpu.RUNSTATE_running, host.nowNs, [100n, 10n, 1000n, 0n]]);
      host.nowNs += 7n;
      expect(call('vcpu_op', vcpu.VCPUOP_get_runstate_info, 0, va(13))).toBe(0);
      expect(times(peek(va(13), 48))).toEqual([107n, 10n, 1000n, 0n]);
    });
    test('a reader never sees the area change without the flag or another entry time', () => {
      v.pv.vmAssist = 1 << xen.VMASST_TYPE_runstate_update_flag;
      expect(registerArea()).toBe(0);
      const seen: [bytes: number, flag: boolean][] = [], { bytes } = d.memory, set = bytes.set.bind(bytes);
      bytes.set = (data: ArrayLike<number>, at?: number) => {
        set(data, at);
        seen.push([data.length, (area().getBigUint64(F.state_entry_time, true) & vcpu.XEN_RUNSTATE_UPDATE) !== 0n]);
      };
      try { change(vcpu.RUNSTATE_blocked, 100n); } finally { delete (bytes as { set?: unknown }).set; }
      // The entry time with the flag; the area, in two pieces; the entry time without.
      expect(seen).toEqual([[8, true], [16, true], [32, true], [8, false]]);
      expect([area().getInt32(F.state, true), area().getBigUint64(F.state_entry_time, true)]).toEqual([vcpu.RUNSTATE_blocked, host.nowNs]);
    });
    test('an area that is not mapped is left alone; a sibling\'s can be registered', () => {
      v.processor.write64(ARG, NOWHERE);
      expect(call('vcpu_op', vcpu.VCPUOP_register_runstate_memory_area, 0, ARG)).toBe(0);
      change(vcpu.RUNSTATE_blocked, 1n);
      expect(registerArea(1)).toBe(0);
      expect(host.hv.state.vlong(d.slot, 1, V.runstateArea)).toBe(BigInt.asIntN(64, AREA));
    });
  });
});

describe('event_channel_op', () => {
  test('copies in and out', () => {
    const arg = put(layouts.evtchn_alloc_unbound, { dom: xen.DOMID_SELF, remote_dom: 0 }, { dom: 2, remote_dom: 2 });
    expect(call('event_channel_op', EVTCHNOP_alloc_unbound, arg)).toBe(0);
    expect(peek(arg, 8).getUint32(4, true)).toBe(1);
    const p = bindIpi(host.hv, d.slot, 1);
    put(layouts.evtchn_status, { dom: xen.DOMID_SELF, port: p }, { dom: 2 });
    expect(call('event_channel_op', EVTCHNOP_status, ARG)).toBe(0);
    expect([peek(ARG, 16).getUint32(8, true), peek(ARG, 16).getUint32(12, true)]).toEqual([EVTCHNSTAT_ipi, 1]);
  });
  test('refuses other domains\' tables, bad addresses and what is not there', () => {
    expect(call('event_channel_op', EVTCHNOP_alloc_unbound, put(layouts.evtchn_alloc_unbound, { dom: 0 }, { dom: 2 }))).toBe(-errno.EPERM);
    expect(call('event_channel_op', EVTCHNOP_reset, ARG)).toBe(-errno.EPERM);
    expect(call('event_channel_op', EVTCHNOP_send, NOWHERE)).toBe(-errno.EFAULT);
    expect(call('event_channel_op', EVTCHNOP_send, port(900))).toBe(-errno.EINVAL);
    expect(call('event_channel_op', EVTCHNOP_init_control, ARG)).toBe(-errno.ENOSYS);
  });
});

describe('grant_table_op', () => {
  test('sets the table up and says how large it may be', () => {
    const Q = layouts.gnttab_query_size, S = layouts.gnttab_setup_table;
    put(Q, { dom: xen.DOMID_SELF }, { dom: 2 });
    expect(call('grant_table_op', GNTTABOP_query_size, ARG, 1)).toBe(0);
    let got = peek(ARG, Q.size);
    expect([got.getUint32(Q.fields.nr_frames, true), got.getUint32(Q.fields.max_nr_frames, true), got.getInt16(Q.fields.status, true)]).toEqual([1, GRANT_FRAMES_MAX, GNTST_okay]);
    put(S, { dom: xen.DOMID_SELF, nr_frames: 3, frame_list: va(11) }, { dom: 2, frame_list: 8 });
    expect(call('grant_table_op', GNTTABOP_setup_table, ARG, 1)).toBe(0);
    expect(peek(ARG, S.size).getInt16(S.fields.status, true)).toBe(GNTST_okay);
    const frames = [0, 1, 2].map(i => Number(peek(va(11), 24).getBigUint64(8 * i, true)));
    expect(frames.map(f => f % 2 ** 20 * PAGE / 4)).toEqual([0, 512, 1024].map(ref => entryWord(host.hv, d.slot, ref)));
    for (const [dom, count, status] of [[0, 1, GNTST_permission_denied], [xen.DOMID_SELF, GRANT_FRAMES_MAX + 1, GNTST_general_error]] as const) {
      put(S, { dom, nr_frames: count, frame_list: va(11) }, { dom: 2, frame_list: 8 });
      call('grant_table_op', GNTTABOP_setup_table, ARG, 1);
      got = peek(ARG, S.size);
      expect(got.getInt16(S.fields.status, true)).toBe(status);
    }
  });
  test('has version 1 only', () => {
    expect([1, 2, 3].map(n => { port(n); return call('grant_table_op', GNTTABOP_set_version, ARG, 1); })).toEqual([0, -errno.ENOSYS, -errno.EINVAL]);
    put(layouts.evtchn_alloc_unbound, { dom: xen.DOMID_SELF }, { dom: 2 });
    expect([call('grant_table_op', GNTTABOP_get_version, ARG, 1), peek(ARG, 8).getUint32(4, true)]).toEqual([0, 1]);
  });
  test('copies, and answers each request of a batch by itself', () => {
    const other = host.addDomain(), C = layouts.gnttab_copy, at = entryWord(host.hv, other.slot, 8);
    other.memory.words[at + 1] = other.mfns[2]!;
    other.memory.words[at] = d.domid << 16 | GTF_permit_access;
    other.memory.bytes.set([7, 8, 9], other.frames[2]! * PAGE);
    const batch = new Uint8Array(2 * C.size), view = new DataView(batch.buffer);
    for (const [i, ref] of [8, 9].entries()) {
      const f = (name: keyof typeof C.fields): number => i * C.size + C.fields[name];
      view.setUint32(f('source.u.gmfn'), ref, true);
      view.setUint16(f('source.domid'), other.domid, true);
      view.setBigUint64(f('dest.u.gmfn'), BigInt(d.mfns[15]!), true);
      view.setUint16(f('dest.domid'), xen.DOMID_SELF, true);
      view.setUint16(f('len'), 3, true);
      view.setUint16(f('flags'), 1, true);
    }
    v.processor.writeVirtual(ARG, batch);
    expect(call('grant_table_op', GNTTABOP_copy, ARG, 2)).toBe(0);
    const status = peek(ARG, 2 * C.size);
    expect([status.getInt16(C.fields.status, true), status.getInt16(C.size + C.fields.status, true)]).toEqual([GNTST_okay, GNTST_general_error]);
    expect([...d.memory.bytes.subarray(d.frames[15]! * PAGE, d.frames[15]! * PAGE + 4)]).toEqual([7, 8, 9, 0]);
  });
  test('maps nothing for a domain without privilege, and says so', () => {
    expect(call('grant_table_op', GNTTABOP_map_grant_ref, ARG, 1)).toBe(0);
    expect(peek(ARG, 32).getInt16(layouts.gnttab_map_grant_ref.fields.status, true)).toBe(GNTST_general_error);
    expect(host.dom0.readConsole(false)).toContain('domains without privilege map no grants');
    expect(call('grant_table_op', GNTTABOP_unmap_grant_ref, ARG, 1)).toBe(0);
    expect(peek(ARG, 24).getInt16(layouts.gnttab_unmap_grant_ref.fields.status, true)).toBe(GNTST_bad_handle);
    expect([call('grant_table_op', GNTTABOP_copy, NOWHERE, 1), call('grant_table_op', GNTTABOP_copy, ARG, 1n << 40n), call('grant_table_op', 99, ARG, 1)]).toEqual([-errno.EFAULT, -errno.EINVAL, -errno.ENOSYS]);
  });
});

describe('xen_version and vm_assist', () => {
  const features = (): number => { v.processor.write64(ARG, 0n); expect(call('xen_version', XENVER_get_features, ARG)).toBe(0); return peek(ARG, 8).getUint32(4, true); };
  test('say what the recorded Xen says', () => {
    expect(call('xen_version', XENVER_version)).toBe(4 << 16 | 17);
    expect(call('xen_version', XENVER_extraversion, ARG)).toBe(0);
    expect(String.fromCharCode(...new Uint8Array(peek(ARG, 16).buffer)).replace(/\0+$/, '')).toBe('.7');
    expect(features()).toBe(0x220e0);
    expect(call('vm_assist', xen.VMASST_CMD_enable, xen.VMASST_TYPE_pae_extended_cr3)).toBe(0);
    expect(features()).toBe(0x220f0);
    expect(call('xen_version', XENVER_guest_handle, ARG)).toBe(0);
    expect(Buffer.from(peek(ARG, 16).buffer).toString('hex')).toBe('5d72d3dea6544297829e9d59efb62889');
    expect(call('xen_version', XENVER_get_features, NOWHERE)).toBe(-errno.EFAULT);
  });
  test('an assist is the domain\'s, not the vCPU\'s', () => {
    call('vm_assist', xen.VMASST_CMD_enable, xen.VMASST_TYPE_runstate_update_flag);
    expect([v.pv.vmAssist, host.hv.state.dget(d.slot, D.vmAssist)]).toEqual([0x20, 0x20]);
    call('vm_assist', xen.VMASST_CMD_disable, xen.VMASST_TYPE_runstate_update_flag);
    expect([v.pv.vmAssist, call('vm_assist', 0, 77), call('vm_assist', 9, 0)]).toEqual([0, -errno.EINVAL, -errno.ENOSYS]);
  });
});

test('multicall runs its entries in turn, each with its result', () => {
  const entry = layouts.multicall_entry, list = new Uint8Array(3 * entry.size), view = new DataView(list.buffer);
  [xen.__HYPERVISOR_xen_version, 63, xen.__HYPERVISOR_vcpu_op].forEach((n, i) => view.setBigUint64(i * entry.size, BigInt(n), true));
  view.setBigUint64(2 * entry.size + entry.fields.args, BigInt(vcpu.VCPUOP_is_up), true);
  v.processor.writeVirtual(ARG, list);
  expect(call('multicall', ARG, 3)).toBe(0);
  const out = peek(ARG, list.length);
  expect([0, 1, 2].map(i => Number(out.getBigInt64(i * entry.size + entry.fields.result, true)))).toEqual([4 << 16 | 17, -errno.ENOSYS, 1]);
  expect(call('multicall', NOWHERE, 1)).toBe(-errno.EFAULT);
  expect(call('multicall', ARG, 1n << 32n)).toBe(-errno.EINVAL);
});
test('console_io writes whole lines with the domain\'s prefix', () => {
  const write = (s: string): number => { v.processor.writeVirtual(ARG, new TextEncoder().encode(s)); return call('console_io', xen.CONSOLEIO_write, s.length, ARG); };
  expect([write('hello\nwor'), write('ld\n'), call('console_io', xen.CONSOLEIO_write, 4, NOWHERE)]).toEqual([0, 0, -errno.EFAULT]);
  expect(host.dom0.readConsole(false)).toMatch(/\(d1\) hello\n.*\(d1\) world\n/);
});
