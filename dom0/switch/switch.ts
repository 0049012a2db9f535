// A learning Ethernet switch: one per bridge. Frames go where their destination was last seen as a source, and to all
// ports of their VLAN where that is not known. The bridges of a host share nothing.
// Invariant: the tables hold attached ports only, and at most MAX_LEARNED addresses together.
import { isGroup, macAt, macNumber } from './mac.ts';
import { plainFrames } from './offload.ts';
import { ETHERNET_HEADER_BYTES, MAX_FRAME_BYTES, type Attachment, type Frame, type PortOptions, type SwitchPort } from './port.ts';

export const MAX_LEARNED = 4096;
/** Of one port: a guest that invents addresses pushes out its own. */
export const MAX_LEARNED_PER_PORT = 512;
export const AGEING_MS = 300_000;
const DEFAULT_VLAN = 1;
const TPID = 0x8100;
/** An uplink answers from within deliver(): so deep at once. Beyond, frames follow after it, and this many may wait. */
const MAX_DEPTH = 4;
const MAX_NESTED = 256;

interface Member {
  readonly port: SwitchPort;
  readonly untagged: number | undefined;
  readonly tagged: ReadonlySet<number>;
  readonly allowed: ReadonlySet<number> | undefined;
  learned: number;
  attached: boolean;
}
interface Learned { readonly member: Member; seenMs: number }
/** By address. */
type Table = Map<number, Learned>;

export interface SwitchCounters { forwarded: number; flooded: number; dropped: number; spoofed: number }

export class Switch {
  readonly name: string;
  readonly counters: SwitchCounters = { forwarded: 0, flooded: 0, dropped: 0, spoofed: 0 };
  readonly #members = new Set<Member>();
  /** One per VLAN, each in order of first sight. */
  readonly #tables = new Map<number, Table>();
  #learnedCount = 0;
  readonly #waiting = new Set<() => void>();
  readonly #taps = new Set<(frame: Frame) => void>();
  /** By a port's name. */
  readonly #portTaps = new Map<string, Set<(frame: Frame) => void>>();
  readonly #nowMs: () => number;
  #depth = 0;
  #nested: { from: Member; frame: Frame }[] = [];

  constructor(name: string, nowMs: () => number = () => performance.now()) { this.name = name; this.#nowMs = nowMs; }

  get ports(): SwitchPort[] { return [...this.#members].map(m => m.port); }
  get learnedCount(): number { return this.#learnedCount; }

  attach(port: SwitchPort, options: PortOptions = {}): Attachment {
    const { vlan } = options;
    const member: Member = {
      port, untagged: vlan ? vlan.untagged : DEFAULT_VLAN, tagged: new Set(vlan?.tagged),
      allowed: options.allowedMacs && new Set(options.allowedMacs.map(macNumber)), learned: 0, attached: true,
    };
    this.#members.add(member);
    return {
      send: frame => { if (member.attached) this.#send(member, frame); },
      room: mac => this.#room(member, mac),
      whenRoom: callback => { this.#waiting.add(callback); return () => { this.#waiting.delete(callback); }; },
      roomGrew: () => this.#wake(),
      detach: () => this.#detach(member),
    };
  }

  /** Sees every frame that enters the switch, before it is forwarded. @returns ends it */
  tap(see: (frame: Frame) => void): () => void {
    this.#taps.add(see);
    return () => { this.#taps.delete(see); };
  }
  /** Sees what ports of this name send, and what leaves the switch for them. @returns ends it */
  tapPort(name: string, see: (frame: Frame) => void): () => void {
    const taps = this.#portTaps.get(name) ?? new Set();
    this.#portTaps.set(name, taps.add(see));
    return () => { taps.delete(see); if (taps.size === 0) this.#portTaps.delete(name); };
  }
  #passes(member: Member, frame: Frame): void { if (this.#portTaps.size > 0) for (const see of this.#portTaps.get(member.port.name) ?? []) see(frame); }

  #send(from: Member, frame: Frame): void {
    if (this.#depth < MAX_DEPTH) { this.#run(from, frame); return; }
    // A port that answers at once would otherwise recurse without bound.
    if (this.#nested.length >= MAX_NESTED) { this.counters.dropped++; return; }
    this.#nested.push({ from, frame: { ...frame, bytes: frame.bytes.slice() } });
  }

  #run(from: Member, frame: Frame): void {
    this.#depth++;
    try {
      this.#forward(from, frame);
      if (this.#depth > 1) return;
      for (let next = this.#nested.shift(); next; next = this.#nested.shift()) if (next.from.attached) this.#forward(next.from, next.frame);
    } finally { this.#depth--; }
  }

  #forward(from: Member, frame: Frame): void {
    const { bytes } = frame;
    if (bytes.length < ETHERNET_HEADER_BYTES || bytes.length > MAX_FRAME_BYTES) { this.counters.dropped++; return; }
    for (const see of this.#taps) see(frame);
    this.#passes(from, frame);
    const tagged = isTagged(bytes);
    if (tagged && bytes.length < ETHERNET_HEADER_BYTES + 4) { this.counters.dropped++; return; }
    const tag = tagged ? (bytes[14]! << 8 | bytes[15]!) & 0xfff : 0;
    // A tag with VLAN 0 carries only a priority; a port that knows no tagged VLANs lets its guest's own tags pass.
    const mine = tag === 0 || (from.tagged.size === 0 && from.untagged === DEFAULT_VLAN);
    const vlan = mine ? from.untagged : from.tagged.has(tag) ? tag : undefined;
    if (vlan === undefined) { this.counters.dropped++; return; }
    const source = macAt(bytes, 6), destination = macAt(bytes, 0);
    if (isGroup(source) || (from.allowed && !from.allowed.has(source))) { this.counters.spoofed++; return; }
    const nowMs = this.#nowMs();
    this.#learn(from, source, vlan, nowMs);
    const outer = mine ? frame : { ...frame, bytes: withoutTag(bytes) };
    const known = isGroup(destination) ? undefined : this.#lookUp(destination, vlan, nowMs);
    if (known) {
      if (known === from) return;
      this.counters.forwarded++;
      this.#deliver(known, outer, vlan);
      return;
    }
    this.counters.flooded++;
    for (const member of this.#members) if (member !== from && (member.untagged === vlan || member.tagged.has(vlan))) this.#deliver(member, outer, vlan);
  }

  #deliver(to: Member, frame: Frame, vlan: number): void {
    // A tag of a guest's own may not become one of the switch's at a port where tags count.
    if (to.untagged === vlan && to.tagged.size > 0 && isTagged(frame.bytes)) { this.counters.dropped++; return; }
    const out = to.untagged === vlan ? frame : { ...frame, bytes: withTag(frame.bytes, vlan) };
    this.#passes(to, out);
    for (const plain of plainFrames(out, to.port.abilities?.())) to.port.deliver(plain);
  }

  #learn(member: Member, mac: number, vlan: number, nowMs: number): void {
    let table = this.#tables.get(vlan);
    if (!table) this.#tables.set(vlan, table = new Map());
    const entry = table.get(mac);
    if (entry?.member === member) { entry.seenMs = nowMs; return; }
    if (entry) this.#forget(table, mac, entry);
    if (member.learned >= MAX_LEARNED_PER_PORT) this.#forgetOne(e => e.member === member);
    if (this.#learnedCount >= MAX_LEARNED) this.#forgetOne(() => true);
    table.set(mac, { member, seenMs: nowMs });
    member.learned++;
    this.#learnedCount++;
  }

  #lookUp(mac: number, vlan: number, nowMs: number): Member | undefined {
    const table = this.#tables.get(vlan), entry = table?.get(mac);
    if (!entry) return undefined;
    if (nowMs - entry.seenMs <= AGEING_MS) return entry.member;
    this.#forget(table!, mac, entry);
    return undefined;
  }

  #forget(table: Table, mac: number, entry: Learned): void {
    table.delete(mac);
    entry.member.learned--;
    this.#learnedCount--;
  }
  #forgetOne(which: (entry: Learned) => boolean): void {
    for (const table of this.#tables.values()) for (const [mac, entry] of table) if (which(entry)) { this.#forget(table, mac, entry); return; }
  }

  #room(from: Member, mac: Uint8Array): number {
    const vlan = from.untagged ?? [...from.tagged][0] ?? DEFAULT_VLAN;
    const to = isGroup(macAt(mac, 0)) ? undefined : this.#lookUp(macAt(mac, 0), vlan, this.#nowMs());
    return to?.port.room?.() ?? Infinity;
  }

  #wake(): void {
    if (this.#waiting.size === 0) return;
    const callbacks = [...this.#waiting];
    this.#waiting.clear();
    for (const callback of callbacks) queueMicrotask(callback);
  }

  #detach(member: Member): void {
    if (!member.attached) return;
    member.attached = false;
    this.#members.delete(member);
    for (const table of this.#tables.values()) for (const [mac, entry] of table) if (entry.member === member) this.#forget(table, mac, entry);
    this.#wake();
  }
}

const isTagged = (bytes: Uint8Array): boolean => bytes[12] === TPID >> 8 && bytes[13] === (TPID & 0xff);

function withoutTag(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(bytes.length - 4);
  out.set(bytes.subarray(0, 12));
  out.set(bytes.subarray(16), 12);
  return out;
}
function withTag(bytes: Uint8Array, vlan: number): Uint8Array {
  const out = new Uint8Array(bytes.length + 4);
  out.set(bytes.subarray(0, 12));
  out.set([TPID >> 8, TPID & 0xff, vlan >> 8, vlan & 0xff], 12);
  out.set(bytes.subarray(12), 16);
  return out;
}
