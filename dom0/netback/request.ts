// Transmit requests as a frontend may send them: which slots make a packet, and whether they make sense. Nothing is
// mapped here. All of it is the guest's: each slot is a private copy.
import { ETHERNET_HEADER_BYTES, type Gso } from '../switch/port.ts';
import {
  netif_extra_info as extra, netif_tx_request as tx, NETTXF_csum_blank, NETTXF_data_validated, NETTXF_extra_info, NETTXF_more_data,
  XEN_NETIF_EXTRA_FLAG_MORE, XEN_NETIF_EXTRA_TYPE_GSO, XEN_NETIF_EXTRA_TYPE_HASH, XEN_NETIF_EXTRA_TYPE_MCAST_ADD, XEN_NETIF_EXTRA_TYPE_MCAST_DEL,
  XEN_NETIF_GSO_TYPE_NONE, XEN_NETIF_GSO_TYPE_TCPV4, XEN_NETIF_GSO_TYPE_TCPV6, XEN_NETIF_NR_SLOTS_MIN,
} from '../../hypervisor/public/io/netif.ts';
import { get16, get32 } from '../../hypervisor/public/io/fields.ts';
import { grantRef, type GrantRef } from '../../hypervisor/public/types.ts';

/** The ring's content is beyond understanding: nothing can be said of where the next packet starts. */
export class NetifError extends Error {}

/** As Linux's netback: a little more than the protocol promises; beyond, the frontend is taken for broken. */
export const FATAL_SLOTS = 20;
const PAGE_BYTES = 4096;
/** As Linux's TCP: one large packet may not become tens of thousands of small ones. */
const MIN_GSO_BYTES = 48;

export interface TxPart { readonly id: number; readonly gref: GrantRef; readonly offset: number; readonly byteCount: number }
export interface TxPacket {
  /** In ring order; they hold `byteCount` together. */
  readonly parts: readonly TxPart[];
  readonly byteCount: number;
  readonly checksum: 'complete' | 'blank' | 'valid';
  readonly gso: Gso | undefined;
  /** Slots of extra info, which lie after the first. */
  readonly extraCount: number;
  /** A request to change the multicast filter: there is no packet. */
  readonly multicast: { readonly add: boolean; readonly mac: Uint8Array } | undefined;
  /** Why it is not to be sent. Its slots are answered with an error. */
  readonly bad: string | undefined;
}

/** What a packet is taken from. */
export interface RequestSource { take(): Uint8Array | undefined }

interface Extras { gso?: Gso; multicast?: TxPacket['multicast']; count: number; bad?: string }

/**
 * The next packet: one request, its extra info, and the requests that continue it.
 * @throws NetifError if it does not end where the ring ends; RingError
 */
export function takePacket(ring: RequestSource): TxPacket | undefined {
  const first = ring.take();
  if (!first) return undefined;
  const flags = get16(first, tx.flags), totalBytes = get16(first, tx.size);
  const extras: Extras = flags & NETTXF_extra_info ? takeExtras(ring) : { count: 0 };
  const parts: TxPart[] = [partOf(first)];
  let more = (flags & NETTXF_more_data) !== 0, laterBytes = 0, bad = extras.bad;
  while (more) {
    if (parts.length >= FATAL_SLOTS) throw new NetifError(`a packet of more than ${FATAL_SLOTS} slots`);
    const next = ring.take();
    if (!next) throw new NetifError('a packet continues past the last request');
    const part = partOf(next);
    parts.push(part);
    laterBytes += part.byteCount;
    more = (get16(next, tx.flags) & NETTXF_more_data) !== 0;
  }
  // The first slot tells the whole packet's size; its own is what the others leave.
  if (laterBytes > 0) parts[0] = { ...parts[0]!, byteCount: Math.max(0, totalBytes - laterBytes) };
  if (parts.length > XEN_NETIF_NR_SLOTS_MIN) bad ??= `a packet of ${parts.length} slots`;
  if (laterBytes > totalBytes) bad ??= `a packet of ${totalBytes} bytes with ${laterBytes} in later slots`;
  if (totalBytes < ETHERNET_HEADER_BYTES) bad ??= `a packet of ${totalBytes} bytes`;
  for (const part of parts) if (part.offset + part.byteCount > PAGE_BYTES) bad ??= `a slot of ${part.byteCount} bytes at offset ${part.offset}`;
  const blank = (flags & NETTXF_csum_blank) !== 0 || extras.gso !== undefined;
  return {
    parts, byteCount: totalBytes, gso: extras.gso, extraCount: extras.count, multicast: extras.multicast, bad,
    checksum: blank ? 'blank' : flags & NETTXF_data_validated ? 'valid' : 'complete',
  };
}

function takeExtras(ring: RequestSource): Extras {
  const out: Extras = { count: 0 };
  for (let more = true; more;) {
    const slot = ring.take();
    if (!slot) throw new NetifError('extra info continues past the last request');
    if (++out.count > FATAL_SLOTS) throw new NetifError(`more than ${FATAL_SLOTS} slots of extra info`);
    const type = slot[extra.type]!;
    more = (slot[extra.flags]! & XEN_NETIF_EXTRA_FLAG_MORE) !== 0;
    switch (type) {
      case XEN_NETIF_EXTRA_TYPE_GSO: takeGso(slot, out); break;
      case XEN_NETIF_EXTRA_TYPE_MCAST_ADD: case XEN_NETIF_EXTRA_TYPE_MCAST_DEL:
        out.multicast = { add: type === XEN_NETIF_EXTRA_TYPE_MCAST_ADD, mac: slot.slice(extra.mcast_addr, extra.mcast_addr + 6) };
        break;
      case XEN_NETIF_EXTRA_TYPE_HASH: break; // The guest's own hash is of no use here.
      default: throw new NetifError(`extra info of type ${type}`);
    }
  }
  return out;
}

function takeGso(slot: Uint8Array, out: Extras): void {
  const size = get16(slot, extra.gso_size), type = slot[extra.gso_type]!;
  if (type === XEN_NETIF_GSO_TYPE_NONE) return;
  if (type !== XEN_NETIF_GSO_TYPE_TCPV4 && type !== XEN_NETIF_GSO_TYPE_TCPV6) out.bad ??= `GSO of type ${type}`;
  else if (size < MIN_GSO_BYTES) out.bad ??= `GSO with segments of ${size} bytes`;
  else out.gso = { type: type === XEN_NETIF_GSO_TYPE_TCPV4 ? 'tcpv4' : 'tcpv6', size };
}

const partOf = (slot: Uint8Array): TxPart => ({ id: get16(slot, tx.id), gref: grantRef(get32(slot, tx.gref)), offset: get16(slot, tx.offset), byteCount: get16(slot, tx.size) });
