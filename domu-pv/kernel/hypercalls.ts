// Hypercalls by name. Arguments are structs (public headers) in a frame of the kernel's own; what comes back is read
// from there.
import * as evtchn from '../../hypervisor/public/event_channel.ts';
import { GNTTABOP_setup_table } from '../../hypervisor/public/grant_table.ts';
import * as layouts from '../../hypervisor/public/layouts.ts';
import { XENMEM_decrease_reservation, XENMEM_populate_physmap } from '../../hypervisor/public/memory.ts';
import type { ProgramVcpu } from '../../hypervisor/public/program.ts';
import { SCHEDOP_block, SCHEDOP_poll, SCHEDOP_shutdown, SCHEDOP_yield, SHUTDOWN_suspend } from '../../hypervisor/public/sched.ts';
import { VCPUOP_set_singleshot_timer } from '../../hypervisor/public/vcpu.ts';
import {
  CONSOLEIO_write, DOMID_SELF, __HYPERVISOR_console_io, __HYPERVISOR_event_channel_op, __HYPERVISOR_grant_table_op, __HYPERVISOR_memory_op,
  __HYPERVISOR_sched_op, __HYPERVISOR_set_timer_op, __HYPERVISOR_vcpu_op, __HYPERVISOR_xen_version,
} from '../../hypervisor/public/xen.ts';
import { type Heap, PAGE_BYTES } from './heap.ts';

export class HypercallError extends Error {
  readonly errno: number;
  constructor(what: string, result: number) { super(`${what} failed (error ${result})`); this.errno = -result; }
}

const XENVER_version = 0, TIMER_AT = 1024, SEND_AT = 1280;

export class Hypercalls {
  readonly #vcpu: ProgramVcpu;
  /** Guest address of the frame of arguments: the first half for a struct, the second for what it points to. */
  readonly #at: number;
  readonly #view: DataView<SharedArrayBuffer>;

  constructor(vcpu: ProgramVcpu, heap: Heap) {
    this.#vcpu = vcpu;
    this.#at = heap.allocate() * PAGE_BYTES;
    this.#view = new DataView(vcpu.bytes.buffer, vcpu.bytes.byteOffset + this.#at, PAGE_BYTES);
  }
  #checked(what: string, result: number): number {
    if (result < 0) throw new HypercallError(what, result);
    return result;
  }

  // ---- sched_op
  /** Unmasks upcalls and sleeps until one has been delivered. */
  block(): void { this.#vcpu.hypercall(__HYPERVISOR_sched_op, SCHEDOP_block, 0); }
  yield(): void { this.#vcpu.hypercall(__HYPERVISOR_sched_op, SCHEDOP_yield, 0); }
  /** Sleeps until the port is pending, masked or not. @param deadlineNs system time, 0: for ever */
  poll(port: number, deadlineNs: bigint): number {
    const { fields } = layouts.sched_poll, list = PAGE_BYTES / 2;
    this.#view.setBigUint64(fields.ports, BigInt(this.#at + list), true);
    this.#view.setUint32(fields.nr_ports, 1, true);
    this.#view.setBigUint64(fields.timeout, deadlineNs, true);
    this.#view.setUint32(list, port, true);
    return this.#vcpu.hypercall(__HYPERVISOR_sched_op, SCHEDOP_poll, this.#at);
  }
  /** @param reason SHUTDOWN_* */
  shutdown(reason: number): never {
    this.#view.setUint32(0, reason, true);
    this.#vcpu.hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, this.#at);
    return this.#vcpu.leave();
  }

  /** Returns when the domain is resumed. @returns SUSPEND_CANCELLED in the domain that it was */
  suspend(): number {
    this.#view.setUint32(0, SHUTDOWN_suspend, true);
    return this.#checked('SCHEDOP_shutdown', this.#vcpu.hypercall(__HYPERVISOR_sched_op, SCHEDOP_shutdown, this.#at));
  }

  // ---- event_channel_op
  evtchnSend(port: number): void { this.#view.setUint32(SEND_AT, port, true); this.#evtchn(evtchn.EVTCHNOP_send, SEND_AT); }
  evtchnAllocUnbound(remote: number): number {
    const { fields } = layouts.evtchn_alloc_unbound;
    this.#view.setUint16(fields.dom, DOMID_SELF, true);
    this.#view.setUint16(fields.remote_dom, remote, true);
    this.#evtchn(evtchn.EVTCHNOP_alloc_unbound);
    return this.#view.getUint32(fields.port, true);
  }
  evtchnBindVirq(virq: number): number {
    const { fields } = layouts.evtchn_bind_virq;
    this.#view.setUint32(fields.virq, virq, true);
    this.#view.setUint32(fields.vcpu, 0, true);
    this.#evtchn(evtchn.EVTCHNOP_bind_virq);
    return this.#view.getUint32(fields.port, true);
  }
  evtchnClose(port: number): void { this.#view.setUint32(0, port, true); this.#evtchn(evtchn.EVTCHNOP_close); }
  evtchnUnmask(port: number): void { this.#view.setUint32(0, port, true); this.#evtchn(evtchn.EVTCHNOP_unmask); }
  #evtchn(op: number, at = 0): void { this.#checked(`event_channel_op ${op}`, this.#vcpu.hypercall(__HYPERVISOR_event_channel_op, op, this.#at + at)); }

  // ---- grant_table_op
  /** @returns machine frame numbers of the table's first `frameCount` frames */
  setupGrantTable(frameCount: number): number[] {
    const { fields } = layouts.gnttab_setup_table, list = PAGE_BYTES / 2;
    this.#view.setUint16(fields.dom, DOMID_SELF, true);
    this.#view.setUint32(fields.nr_frames, frameCount, true);
    this.#view.setBigUint64(fields.frame_list, BigInt(this.#at + list), true);
    this.#checked('GNTTABOP_setup_table', this.#vcpu.hypercall(__HYPERVISOR_grant_table_op, GNTTABOP_setup_table, this.#at, 1));
    this.#checked('GNTTABOP_setup_table', this.#view.getInt16(fields.status, true));
    return Array.from({ length: frameCount }, (_, i) => Number(this.#view.getBigUint64(list + 8 * i, true)));
  }

  // ---- memory_op, of one frame
  giveUpFrame(mfn: number): boolean { return this.#reservation(XENMEM_decrease_reservation, mfn) === 1; }
  /** @returns the machine frame number now behind `pfn`, or -1 */
  populateFrame(pfn: number): number { return this.#reservation(XENMEM_populate_physmap, pfn) === 1 ? Number(this.#view.getBigUint64(PAGE_BYTES / 2, true)) : -1; }
  #reservation(op: number, value: number): number {
    const { fields } = layouts.xen_memory_reservation, list = PAGE_BYTES / 2;
    this.#view.setBigUint64(fields.extent_start, BigInt(this.#at + list), true);
    this.#view.setBigUint64(fields.nr_extents, 1n, true);
    this.#view.setUint32(fields.extent_order, 0, true);
    this.#view.setUint32(fields.mem_flags, 0, true);
    this.#view.setUint16(fields.domid, DOMID_SELF, true);
    this.#view.setBigUint64(list, BigInt(value), true);
    return this.#vcpu.hypercall(__HYPERVISOR_memory_op, op, this.#at);
  }

  // ---- time
  /** VIRQ_TIMER at this system time. */
  setTimer(deadlineNs: bigint): void {
    const { fields } = layouts.vcpu_set_singleshot_timer;
    // Not where other structs are: it may be called in an upcall, before the answer to another hypercall has been read.
    this.#view.setBigUint64(TIMER_AT + fields.timeout_abs_ns, deadlineNs, true);
    this.#view.setUint32(TIMER_AT + fields.flags, 0, true);
    this.#vcpu.hypercall(__HYPERVISOR_vcpu_op, VCPUOP_set_singleshot_timer, 0, this.#at + TIMER_AT);
  }
  stopTimer(): void { this.#vcpu.hypercall(__HYPERVISOR_set_timer_op, 0); }

  // ---- the hypervisor's own console, before the domain's is there
  emergency(text: string): void {
    const data = new TextEncoder().encode(text.slice(0, 1000) + '\n');
    this.#vcpu.bytes.set(data, this.#at + PAGE_BYTES / 2);
    this.#vcpu.hypercall(__HYPERVISOR_console_io, CONSOLEIO_write, data.length, this.#at + PAGE_BYTES / 2);
  }
  /** A hypercall that does nothing: events that are pending are delivered on the way. */
  deliverPending(): void { this.#vcpu.hypercall(__HYPERVISOR_xen_version, XENVER_version, 0); }
}
