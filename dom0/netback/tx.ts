// The transmit half of one queue: packets from the guest go into the switch. Each is copied out of the granted frames
// once; what is checked and forwarded is the copy.
// Invariant: requests taken are answered before the loop waits, in ring order.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import {
  NETIF_RSP_ERROR, NETIF_RSP_NULL, NETIF_RSP_OKAY, netif_tx_request, netif_tx_response as response, type NetifStatus,
} from '../../hypervisor/public/io/netif.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import { put16 } from '../../hypervisor/public/io/fields.ts';
import { RingError, type BackRing } from '../bus/ring.ts';
import { findL4 } from '../switch/offload.ts';
import { MAX_FRAME_BYTES, type Frame } from '../switch/port.ts';
import type { Credit } from './credit.ts';
import type { NetbackMetrics } from './metrics.ts';
import { NetifError, takePacket, type TxPacket } from './request.ts';

/** After so much the others get their turn. */
const BUDGET_PACKETS = 64;
const BUDGET_BYTES = 512 * 1024;
/** What a segment costs at least, should the packet have to be cut. */
const SEGMENT_BYTES = 512;

export interface TxOptions {
  readonly ring: Pick<BackRing, 'take' | 'finalCheck' | 'respond' | 'push'>;
  readonly dom: Domid;
  readonly hypercalls: Pick<Dom0Hypercalls, 'gnttabCopyFrom'>;
  readonly metrics: NetbackMetrics;
  readonly credit: Credit | undefined;
  notify(): void;
  send(frame: Frame): void;
  multicast(change: { readonly add: boolean; readonly mac: Uint8Array }): boolean;
  /** The guest did what it must not. */
  complain(what: string): void;
  /** Nothing sensible can come from this ring any more. */
  broken(what: string): void;
}

export class TxQueue {
  readonly #o: TxOptions;
  readonly #scratch = new Uint8Array(MAX_FRAME_BYTES);
  readonly #response = new Uint8Array(netif_tx_request.bytes);
  #stopped = false;
  #later: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TxOptions) { this.#o = options; }

  /** Sends what is there; to be called at each event. */
  kick(): void {
    if (this.#stopped || this.#later || this.#timer) return;
    try {
      if (!this.#run()) this.#later = setImmediate(() => { this.#later = undefined; this.kick(); });
    } catch (error) {
      if (!(error instanceof RingError || error instanceof NetifError)) throw error;
      this.stop();
      this.#o.broken(error.message);
    }
  }

  stop(): void {
    this.#stopped = true;
    clearImmediate(this.#later);
    clearTimeout(this.#timer);
  }

  /** @returns true if there is nothing more to do until an event or the timer comes */
  #run(): boolean {
    const { ring, credit, metrics } = this.#o;
    let packets = 0, byteCount = 0;
    try {
      do {
        while (packets < BUDGET_PACKETS && byteCount < BUDGET_BYTES) {
          const waitMs = credit?.waitMs() ?? 0;
          if (waitMs > 0) {
            metrics.throttled++;
            this.#timer = setTimeout(() => { this.#timer = undefined; this.kick(); }, waitMs);
            return true;
          }
          const packet = takePacket(ring);
          if (!packet) break;
          packets++;
          byteCount += costOf(packet);
          this.#answer(packet, this.#process(packet));
        }
        if (packets >= BUDGET_PACKETS || byteCount >= BUDGET_BYTES) return false;
      } while (ring.finalCheck());
      return true;
    } finally { if (packets > 0 && ring.push()) this.#o.notify(); }
  }

  #process(packet: TxPacket): NetifStatus {
    const { metrics } = this.#o;
    if (packet.bad === undefined && packet.multicast) return this.#o.multicast(packet.multicast) ? NETIF_RSP_OKAY : NETIF_RSP_ERROR;
    const bytes = this.#scratch.subarray(0, packet.byteCount), why = packet.bad ?? this.#copy(packet, bytes) ?? this.#check(packet, bytes);
    if (why !== undefined) {
      metrics.tx_errors++;
      this.#o.complain(why);
      return NETIF_RSP_ERROR;
    }
    metrics.tx_packets++;
    metrics.tx_bytes += packet.byteCount;
    this.#o.credit?.spend(packet.byteCount);
    this.#o.send(packet.gso ? { bytes, checksum: packet.checksum, gso: packet.gso } : { bytes, checksum: packet.checksum });
    return NETIF_RSP_OKAY;
  }

  /** @returns what is wrong */
  #copy(packet: TxPacket, bytes: Uint8Array): string | undefined {
    const { hypercalls, dom } = this.#o;
    let at = 0;
    for (const { gref, offset, byteCount } of packet.parts) {
      if (byteCount === 0) continue;
      const error = hypercalls.gnttabCopyFrom(dom, gref, offset, byteCount === bytes.length ? bytes : bytes.subarray(at, at + byteCount));
      if (error) return `grant ${gref} cannot be read (error ${error})`;
      at += byteCount;
    }
    return undefined;
  }

  /** Others rely on what a packet claims to be. */
  #check(packet: TxPacket, bytes: Uint8Array): string | undefined {
    if (packet.checksum !== 'blank') return undefined;
    const l4 = findL4(bytes);
    if (!l4) return 'a blank checksum in what is neither TCP nor UDP';
    if (packet.gso && (l4.protocol !== 6 || (packet.gso.type === 'tcpv4') !== (l4.version === 4))) return `GSO ${packet.gso.type} on another kind of packet`;
    return undefined;
  }

  /** One response per slot, where the slot lay: the first, extra info, the rest. */
  #answer(packet: TxPacket, status: NetifStatus): void {
    const { parts, extraCount } = packet;
    for (let i = 0; i < parts.length; i++) {
      this.#respond(parts[i]!.id, status);
      if (i === 0) for (let n = 0; n < extraCount; n++) this.#respond(0, NETIF_RSP_NULL);
    }
  }

  #respond(id: number, status: NetifStatus): void {
    const out = this.#response;
    put16(out, response.id, id);
    put16(out, response.status, status);
    this.#o.ring.respond(out);
  }
}

const costOf = ({ byteCount, gso }: TxPacket): number => gso ? Math.max(byteCount, byteCount / gso.size * SEGMENT_BYTES) : byteCount;
