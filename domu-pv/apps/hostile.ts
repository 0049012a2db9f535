// A frontend that breaks every rule it can, from a seeded generator: rings of disk, network, console and xenstore, grants and
// event channels. Arguments: seed, number of operations. What it must not achieve is for others to say: that anybody
// else notices. It says how much it did.
import { BLKIF_OP_DISCARD, BLKIF_OP_INDIRECT, REQUEST_BYTES, blkif_request, blkif_request_indirect } from '../../hypervisor/public/io/blkif.ts';
import { sring } from '../../hypervisor/public/io/ring.ts';
import { XenbusStateClosed, XenbusStateClosing, XenbusStateConnected, XenbusStateInitialised, XenbusStateInitialising, XenbusStateInitWait } from '../../hypervisor/public/io/xenbus.ts';
import { xencons_interface as con } from '../../hypervisor/public/io/console.ts';
import { XENSTORE_PAYLOAD_MAX, xenstore_domain_interface as xs, xsd_sockmsg } from '../../hypervisor/public/io/xs_wire.ts';
import { __HYPERVISOR_event_channel_op, __HYPERVISOR_grant_table_op, __HYPERVISOR_vcpu_op, __HYPERVISOR_xen_version } from '../../hypervisor/public/xen.ts';
import { findDisk } from '../front/blkfront.ts';
import { HostileNet } from './hostile-net.ts';
import { Random } from './random.ts';
import { HypercallError } from '../kernel/hypercalls.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { StoreError, type XenStore } from '../kernel/xenstore.ts';
import { PAGE_BYTES } from '../kernel/heap.ts';

const FRAMES = 24, BATCH = 28, ENTRIES = 32, PATIENCE_NS = 20_000_000n, LONG_NS = 2_000_000_000n, ANSWER_NS = 250_000_000n, TELL = 50_000;
const WORDS = ['data', 'data/a', 'device', 'control/shutdown', '/local/domain/0', '/local', '/', '', '..', 'a'.repeat(300), '@releaseDomain', 'n0', 'r5', '\xff\xfe', '/local/domain/0/backend'];

export function hostile(kernel: Kernel, args: readonly string[]): void {
  const random = new Random(Number(args[0] ?? 1)), limit = Number(args[1] ?? 100_000), kinds = args[2]?.split(',') ?? ['disk', 'net', 'console', 'store', 'calls'];
  const disk = new HostileDisk(kernel, random), net = new HostileNet(kernel, random), counts: Record<string, number> = { disk: 0, net: 0, console: 0, store: 0, calls: 0, reconnects: 0 };
  // Console and xenstore are granted as well: where a disk's request names those, its data goes into their rings.
  kernel.store.deadline = () => kernel.clock.systemNs() + ANSWER_NS;
  for (let done = 0, told = 0; done < limit;) {
    // In the hypervisor's log: the console is among what is misused.
    if (done - told >= TELL) { told = done; kernel.log(`hostile: ${done} of ${limit} operations`); }
    const kind = random.pick(kinds);
    const n = attempt(() => kind === 'disk' ? disk.batch() : kind === 'net' ? net.batch() : kind === 'console' ? scribbleConsole(kernel, random) : kind === 'store' ? askStore(kernel, random) : callAround(kernel, random));
    counts[kind]! += n;
    done += n;
  }
  counts['reconnects'] = disk.reconnects + net.reconnects;
  for (const device of [disk, net]) attempt(() => { device.close(); return 0; });
  settleConsole(kernel);
  const sum = `hostile: seed ${args[0] ?? 1}, ${Object.entries(counts).map(([kind, n]) => `${kind} ${n}`).join(', ')}`;
  kernel.log(sum);
  kernel.console.print(`${sum}\n`);
}

/** What xenstore refuses, one way or another, is an operation done. */
function attempt(work: () => number): number {
  try { return work(); } catch (error) { if (error instanceof StoreError) return 1; throw error; }
}

/** A ring of its own, without a driver to keep it sane. */
class HostileDisk {
  reconnects = 0;
  readonly #kernel: Kernel; readonly #random: Random;
  readonly #path: string | undefined;
  readonly #backend: string;
  readonly #ringPfn: number;
  readonly #words: Int32Array<SharedArrayBuffer>; readonly #page: Uint8Array<SharedArrayBuffer>;
  #ringRef = -1;
  #port = 0;
  #produced = 0;
  #broken = true;
  readonly #frames: number[];
  readonly #refs: number[] = [];

  constructor(kernel: Kernel, random: Random) {
    this.#kernel = kernel; this.#random = random;
    this.#path = findDisk(kernel, 'xvda');
    this.#backend = this.#path === undefined ? '' : kernel.store.read(`${this.#path}/backend`);
    this.#ringPfn = kernel.heap.allocate();
    this.#page = kernel.heap.page(this.#ringPfn);
    this.#words = new Int32Array(this.#page.buffer, this.#page.byteOffset, PAGE_BYTES / 4);
    this.#frames = Array.from({ length: FRAMES }, () => kernel.heap.allocate());
    for (const pfn of this.#frames) this.#refs.push(kernel.grants.grant(0, pfn, random.chance(4)));
  }
  #backendState(): number { return Number(this.#kernel.store.tryRead(`${this.#backend}/state`) ?? 0); }
  #await(states: readonly number[]): boolean {
    const { clock, events } = this.#kernel, end = clock.systemNs() + LONG_NS;
    while (!states.includes(this.#backendState())) {
      if (clock.systemNs() > end) return false;
      events.waitFor(() => false, clock.systemNs() + 1_000_000n);
    }
    return true;
  }
  /** The proper way in, now and then with a lie. */
  #connect(): void {
    const { store, grants, hypercalls, events, heap } = this.#kernel, r = this.#random, path = this.#path!;
    this.reconnects++;
    store.write(`${path}/state`, XenbusStateClosing);
    store.write(`${path}/state`, XenbusStateClosed);
    this.#await([XenbusStateClosed, XenbusStateInitWait]);
    if (this.#port > 0) events.unbind(this.#port);
    if (this.#ringRef >= 0) grants.end(this.#ringRef);
    store.write(`${path}/state`, XenbusStateInitialising);
    this.#await([XenbusStateInitWait]);
    heap.page(this.#ringPfn).fill(0);
    this.#words[sring.req_event / 4] = 1;
    this.#words[sring.rsp_event / 4] = 1;
    this.#produced = 0;
    this.#ringRef = grants.grant(0, this.#ringPfn);
    this.#port = hypercalls.evtchnAllocUnbound(0);
    events.bind(this.#port, () => {});
    const lie = r.chance(6);
    store.transaction(tx => {
      const write = (key: string, value: string | number): void => store.write(`${path}/${key}`, value, tx);
      write('ring-ref', lie && r.chance(2) ? r.edge() : this.#ringRef);
      write('event-channel', lie && r.chance(2) ? r.edge() : this.#port);
      write('protocol', lie && r.chance(3) ? r.pick(WORDS) : 'x86_64-abi');
      write('feature-persistent', r.below(2));
      write('state', XenbusStateInitialised);
    });
    this.#broken = !this.#await([XenbusStateConnected, XenbusStateClosing, XenbusStateClosed]) || this.#backendState() !== XenbusStateConnected;
    if (!this.#broken) store.write(`${path}/state`, XenbusStateConnected);
  }
  /** @returns operations done */
  batch(): number {
    if (this.#path === undefined) return 1;
    const { clock, events } = this.#kernel, r = this.#random;
    if (this.#broken) { this.#connect(); return 1; }
    const count = 1 + r.below(BATCH), answered = this.#words[sring.rsp_prod / 4]!;
    for (let n = 0; n < count; n++) this.#request((this.#produced + n) % ENTRIES);
    this.#produced = this.#produced + count >>> 0;
    Atomics.store(this.#words, sring.req_prod / 4, this.#produced | 0);
    if (r.chance(200)) Atomics.store(this.#words, sring.rsp_event / 4, r.edge() | 0); else Atomics.store(this.#words, sring.rsp_event / 4, answered + count);
    if (r.chance(8)) this.#regrant();
    if (r.chance(2000)) { Atomics.store(this.#words, sring.req_prod / 4, r.edge() | 0); this.#broken = true; }
    events.notify(this.#port);
    // Requests change under the backend's eyes.
    for (let n = 0; n < 4; n++) this.#page[sring.ring + r.below(ENTRIES * REQUEST_BYTES)] = r.u32();
    if (!events.waitFor(() => (this.#words[sring.rsp_prod / 4]! - answered >>> 0) >= count, clock.systemNs() + PATIENCE_NS) && this.#backendState() !== XenbusStateConnected) this.#broken = true;
    return count;
  }
  #request(slot: number): void {
    const r = this.#random, at = sring.ring + slot * REQUEST_BYTES, v = new DataView(this.#page.buffer, this.#page.byteOffset + at, REQUEST_BYTES);
    const operation = r.chance(50) ? 6 + r.below(250) : r.chance(100) ? r.pick([2, 3, BLKIF_OP_DISCARD]) : r.pick([0, 1, BLKIF_OP_INDIRECT]), count = r.chance(10) ? r.u32() & 0xff : r.below(12);
    for (let i = 0; i < REQUEST_BYTES; i += 4) v.setUint32(i, r.chance(3) ? r.u32() : 0, true);
    v.setUint8(blkif_request.operation, operation);
    v.setUint8(blkif_request.nr_segments, count);
    v.setBigUint64(blkif_request.id, BigInt(r.u32()), true);
    v.setBigUint64(blkif_request.sector_number, r.chance(10) ? BigInt(r.edge()) << BigInt(r.below(33)) : BigInt(r.below(1000)), true);
    if (operation === BLKIF_OP_INDIRECT) {
      v.setUint8(blkif_request_indirect.indirect_op, r.below(3));
      v.setUint16(blkif_request_indirect.nr_segments, r.chance(5) ? r.u32() : r.below(20), true);
      v.setUint32(blkif_request_indirect.indirect_grefs, this.#ref(), true);
      return;
    }
    for (let s = 0; s < 11; s++) {
      const seg = blkif_request.seg + 8 * s, first = r.below(8);
      v.setUint32(seg, this.#ref(), true);
      v.setUint8(seg + 4, r.chance(20) ? r.u32() : first);
      v.setUint8(seg + 5, r.chance(20) ? r.u32() : first + r.below(8 - first));
    }
  }
  #ref(): number { return this.#random.chance(15) ? this.#random.edge() : this.#random.pick(this.#refs); }
  /** Takes a grant back, used or not, or makes nonsense of its entry, and grants anew. */
  #regrant(): void {
    const r = this.#random, i = r.below(this.#refs.length), { grants } = this.#kernel, ref = this.#refs[i]!;
    if (r.chance(4)) { const [words, at] = grants.raw(ref); words[at + 1] = r.edge() | 0; }
    grants.end(ref);
    this.#refs[i] = grants.grant(0, this.#frames[i]!, r.chance(4));
  }
  close(): void {
    if (this.#path === undefined) return;
    this.#kernel.store.write(`${this.#path}/state`, XenbusStateClosing);
    this.#kernel.store.write(`${this.#path}/state`, XenbusStateClosed);
    this.#await([XenbusStateClosed, XenbusStateInitWait]);
  }
}

function scribbleConsole(kernel: Kernel, r: Random): number {
  const { page, words } = kernel.console.raw();
  for (let n = 0; n < 16; n++) {
    const index = r.pick([con.in_cons, con.in_prod, con.out_cons, con.out_prod]) / 4;
    if (r.chance(3)) Atomics.store(words, index, r.edge() | 0);
    else if (r.chance(2)) Atomics.add(words, con.out_prod / 4, r.below(4096));
    else page[r.below(con.in_cons)] = r.u32();
  }
  kernel.console.ring();
  return 16;
}
/** The indexes as the backend has them: output works again. */
function settleConsole(kernel: Kernel): void {
  const { words } = kernel.console.raw();
  kernel.events.waitFor(() => false, kernel.clock.systemNs() + PATIENCE_NS);
  Atomics.store(words, con.out_prod / 4, Atomics.load(words, con.out_cons / 4));
  kernel.console.print('\n');
}

function askStore(kernel: Kernel, r: Random): number {
  const { store } = kernel;
  for (let n = 0; n < 8; n++) {
    const payload = Array.from({ length: r.below(4) }, () => r.pick(WORDS) + (r.chance(10) ? '' : '\0')).join(''), body = Uint8Array.from(payload, c => c.charCodeAt(0)), message = new Uint8Array(xsd_sockmsg.sizeof + body.length);
    const v = new DataView(message.buffer);
    v.setUint32(xsd_sockmsg.type, r.chance(20) ? r.edge() : r.below(24), true);
    v.setUint32(xsd_sockmsg.req_id, 0xffff_0000 + r.below(100), true);
    v.setUint32(xsd_sockmsg.tx_id, r.chance(3) ? r.below(8) : 0, true);
    v.setUint32(xsd_sockmsg.len, body.length, true);
    message.set(body, xsd_sockmsg.sizeof);
    if (!store.send(message)) { store.reconnect(); return n + 1; }
  }
  if (!r.chance(500)) return 8;
  // Lengths and indexes that make no sense end the connection; the domain asks for another, and for nothing in between.
  kernel.events.critical(() => { breakStore(store, r); store.reconnect(); });
  return 9;
}
function breakStore(store: XenStore, r: Random): void {
  if (r.chance(2)) { const v = new Uint8Array(xsd_sockmsg.sizeof); new DataView(v.buffer).setUint32(xsd_sockmsg.len, XENSTORE_PAYLOAD_MAX + 1 + r.below(1 << 20), true); store.send(v); } else store.poke(r.pick([xs.req_prod, xs.rsp_cons]), r.edge() | 0);
}

/** Hypercalls that can be made with any arguments without ending oneself. */
function callAround(kernel: Kernel, r: Random): number {
  const { vcpu, hypercalls } = kernel, ports: number[] = [];
  const arg = (): number => r.chance(3) ? r.edge() : r.below(1 << 20);
  for (let n = 0; n < 6; n++) {
    vcpu.hypercall(__HYPERVISOR_event_channel_op, r.pick([5, 100, 12, 13]), arg(), arg());
    vcpu.hypercall(__HYPERVISOR_grant_table_op, r.pick([0, 1, 3, 4, 6, 7, 9, 11, 99]), r.edge(), r.below(3));
    vcpu.hypercall(__HYPERVISOR_vcpu_op, r.pick([3, 12, 99]), arg(), r.edge());
    vcpu.hypercall(r.pick([__HYPERVISOR_xen_version, 60, 36, 35, 1, 3, 26]), r.pick([0, 2, 6, 77]), r.chance(2) ? r.edge() : 0xffff_ffff);
    try { ports.push(hypercalls.evtchnAllocUnbound(r.edge() & 0x7fff)); hypercalls.evtchnSend(r.edge()); } catch (error) { if (!(error instanceof HypercallError)) throw error; }
  }
  for (const port of ports) hypercalls.evtchnClose(port);
  return 36;
}
