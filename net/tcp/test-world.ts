// A peer, a host and a user around one TCP connection, for tests: time stands still until it is moved, and the user takes
// nothing until it is told to.
import { put16, put32 } from '../packet/bytes.ts';
import { parseEthernet } from '../packet/ethernet.ts';
import { parseIp, type Ip } from '../packet/ip.ts';
import { ACK, FIN, parseTcp, SYN, synOptions, TCP_HLEN, type Tcp } from '../packet/tcp.ts';
import { ipFrame } from '../packet/udp.ts';
import { TcpConnection, type TcpEnds, type TcpHost, type TcpUser } from './connection.ts';

const MAC = Uint8Array.of(2, 0, 0, 0, 0, 1), PEER_MAC = Uint8Array.of(2, 0, 0, 0, 0, 2), OWN = Uint8Array.of(10, 0, 2, 2), PEER = Uint8Array.of(10, 0, 2, 15);
export const SLAB_BYTES = 8192, LIMIT_BYTES = 64 * 1024;

/** Takes nothing until it is told to. */
class Reader implements TcpUser {
  waiting: { readonly bytes: Uint8Array; readonly taken: () => void }[] = [];
  writableLength = 0; writableEnded = false; destroyed = false;
  write(bytes: Uint8Array, taken: () => void): void { this.waiting.push({ bytes, taken }); this.writableLength += bytes.length; }
  end(): void { this.writableEnded = true; }
  cork(): void {}
  uncork(): void {}
  resume(): void {}
  resetAndDestroy(): void { this.destroyed = true; }
  destroy(): void { this.destroyed = true; }
  /** All that it has been given. */
  take(): Uint8Array {
    const pieces = this.waiting.splice(0);
    for (const { bytes, taken } of pieces) { this.writableLength -= bytes.length; taken(); }
    return Buffer.concat(pieces.map(piece => piece.bytes));
  }
}

export class World implements TcpHost {
  readonly mac = MAC; readonly mtu = 1500; readonly largestPacketBytes = 65_535; readonly gathers = true;
  readonly sent: Tcp[] = [];
  readonly user = new Reader();
  readonly connection: TcpConnection;
  now = 0;
  #touched = false; #removed = false; #sequence = 1000; #slab = new Uint8Array(0); #slabAt = 0;

  constructor() {
    const ends: TcpEnds = { peer: PEER, peerPort: 40_000, own: OWN, ownPort: 80, peerMac: PEER_MAC };
    this.connection = new TcpConnection(this, ends, this.user, 'opening', 5000);
    const { b, tcp } = this.#segment(SYN, new Uint8Array(0), synOptions(1460, 7));
    this.connection.called(b, tcp);
    this.#sequence++;
    this.connection.connected();
    this.peer(ACK);
  }
  get removed(): boolean { return this.#removed; }

  /** Any segment at all, from the port numbers on; those are put right, and the checksum. */
  any(packet: Uint8Array): void {
    put16(packet, 0, 40_000);
    put16(packet, 2, 80);
    const b = ipFrame({ sourceMac: PEER_MAC, destinationMac: MAC, source: PEER, destination: OWN }, 6, packet, 16), tcp = parseTcp(b, ipOf(b), true);
    if (tcp) this.connection.segment(b, tcp);
    this.turn();
  }
  /** A segment of the peer's, which has seen all that was sent. */
  peer(flags: number, payload: Uint8Array = new Uint8Array(0)): void {
    this.arrives(flags, payload);
    this.turn();
  }
  /** The same, with others to come in the same turn. */
  arrives(flags: number, payload: Uint8Array = new Uint8Array(0)): void {
    const { b, tcp } = this.#segment(flags, payload);
    this.connection.segment(b, tcp);
    this.#sequence = (this.#sequence + payload.length + (flags & FIN ? 1 : 0)) >>> 0;
  }
  turn(): void { if (!this.#touched) return; this.#touched = false; this.connection.flush(); }
  /** What others' bytes take of the memory that all share. */
  others(byteCount: number): void { for (let left = byteCount; left > 0; left -= 1000) this.keep(new Uint8Array(1000), 0, 1000); }

  nowMs(): number { return this.now; }
  send({ bytes }: { readonly bytes: Uint8Array }): void { const b = bytes.slice(); this.sent.push(parseTcp(b, ipOf(b), false)!); }
  room(): number { return Infinity; }
  limit(): number { return LIMIT_BYTES; }
  touch(): void { this.#touched = true; }
  block(): void {}
  arm(): void {}
  keep(b: Uint8Array, from: number, to: number): Uint8Array<ArrayBuffer> {
    if (this.#slabAt + to - from > this.#slab.length) { this.#slab = new Uint8Array(SLAB_BYTES); this.#slabAt = 0; }
    const kept = this.#slab.subarray(this.#slabAt, this.#slabAt += to - from);
    kept.set(b.subarray(from, to));
    return kept;
  }
  remove(): void { this.#removed = true; }

  #segment(flags: number, payload: Uint8Array, options: Uint8Array = new Uint8Array(0)): { b: Uint8Array; tcp: Tcp } {
    const last = this.sent.at(-1), packet = new Uint8Array(TCP_HLEN + options.length + payload.length);
    const seen = last ? last.sequence + last.end - last.at + (last.flags & (SYN | FIN) ? 1 : 0) : 0;
    put16(packet, 0, 40_000);
    put16(packet, 2, 80);
    put32(packet, 4, this.#sequence);
    put32(packet, 8, flags & ACK ? seen >>> 0 : 0);
    packet[12] = (TCP_HLEN + options.length) / 4 << 4;
    packet[13] = flags;
    put16(packet, 14, 1000);
    packet.set(options, TCP_HLEN);
    packet.set(payload, TCP_HLEN + options.length);
    const b = ipFrame({ sourceMac: PEER_MAC, destinationMac: MAC, source: PEER, destination: OWN }, 6, packet, 16);
    return { b, tcp: parseTcp(b, ipOf(b), true)! };
  }
}
function ipOf(b: Uint8Array): Ip { const ethernet = parseEthernet(b)!; return parseIp(b, ethernet.at, ethernet.type)!; }
