// The contract between the switch and what is plugged into it: virtual interfaces, uplinks, captures.
export type { Frame, Gso } from '../../net/packet/frame.ts';
import type { Frame } from '../../net/packet/frame.ts';

/** The largest packet by IP's own length field, with an Ethernet header and a VLAN tag before it. */
export const MAX_FRAME_BYTES = 65_535 + 14 + 4;
/** Ethernet header: destination, source, type. */
export const ETHERNET_HEADER_BYTES = 14;

/** What a port's far end understands beyond plain frames; the switch makes plain frames for one that does not. */
export interface PortAbilities {
  readonly blankChecksum: boolean; readonly gsoV4: boolean; readonly gsoV6: boolean;
  /** Of packets over IPv6, where that differs from `blankChecksum`. */
  readonly blankChecksumV6?: boolean;
}

export interface SwitchPort {
  /** For messages and captures: `vif5.0`, `user`. */
  readonly name: string;
  /** Asked at each frame; absent: all of them. */
  abilities?(): PortAbilities;
  /** A frame leaves the switch towards this port. Takes it, queues a copy, or drops it; never blocks, never throws. */
  deliver(frame: Frame): void;
  /** Bytes of frames it would take now without dropping; absent: any number. */
  room?(): number;
}

export interface PortOptions {
  readonly vlan?: VlanOptions;
  /** Source addresses the port may send from, `00:16:3e:00:00:01`; absent: any. */
  readonly allowedMacs?: readonly string[];
}
/** Without them a port belongs to VLAN 1, untagged. Identifiers are 1 to 4094. */
export interface VlanOptions {
  /** Untagged frames from and to the port belong to it; absent: the port knows tagged frames only. */
  readonly untagged?: number;
  /** VLANs whose frames come and go with a tag. */
  readonly tagged?: readonly number[];
}

/** A port's own hold on the switch. */
export interface Attachment {
  /** The port puts a frame into the switch. After detach(): nothing happens. */
  send(frame: Frame): void;
  /**
   * Bytes that may be sent to this address now without being dropped at the port behind it; Infinity where that is not
   * known. An address nobody has been learned for has room.
   * @param mac six bytes
   */
  room(mac: Uint8Array): number;
  /** Calls back once, soon after some port of the switch has got room again. @returns takes it back */
  whenRoom(callback: () => void): () => void;
  /** To be called by a port whose room() has grown after it was small: wakes those that wait. */
  roomGrew(): void;
  detach(): void;
}
