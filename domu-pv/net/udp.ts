// UDP: sockets by port, each with what came for it. Invariant: at most MAX_SOCKETS; of what nobody reads a socket keeps
// QUEUE_BYTES, and drops the rest.
import { IPPROTO_UDP, IPV4_HLEN } from '../../net/packet/ip.ts';
import { parseUdp, UDP_HLEN, udpFrame } from '../../net/packet/udp.ts';
import { BROADCAST_MAC } from '../../net/packet/ethernet.ts';
import type { Interface } from './interface.ts';
import { BROADCAST, numberOf } from './ipv4.ts';
import { EphemeralPorts } from './ports.ts';
import { SocketError } from './socket-error.ts';

const MAX_SOCKETS = 512, QUEUE_BYTES = 256 * 1024;
/** What a datagram costs beside its bytes. */
const OVERHEAD_BYTES = 64;
export interface Datagram { readonly address: number; readonly port: number; readonly data: Uint8Array }

export class UdpSocket {
  readonly #table: UdpTable;
  port: number;
  /** Datagrams of others are not taken. */
  peer: { readonly address: number; readonly port: number } | undefined;
  /** Something has come. */
  onInput: () => void = () => {};
  readonly #queue: Datagram[] = [];
  #queuedBytes = 0;
  constructor(table: UdpTable, port: number) { this.#table = table; this.port = port; }

  get hasInput(): boolean { return this.#queue.length > 0; }
  get nextBytes(): number { return this.#queue[0]?.data.length ?? 0; }
  take(): Datagram | undefined {
    const next = this.#queue.shift();
    if (next) this.#queuedBytes -= next.data.length + OVERHEAD_BYTES;
    return next;
  }
  peek(): Datagram | undefined { return this.#queue[0]; }
  /** It may be lost, as any datagram. @throws SocketError */
  send(address: number, port: number, data: Uint8Array): void { this.#table.send(this.port, address, port, data); }
  close(): void { this.#table.remove(this); }

  deliver(from: Datagram): void {
    if (this.peer && (this.peer.address !== from.address || this.peer.port !== from.port)) return;
    if (this.#queuedBytes + from.data.length > QUEUE_BYTES) return;
    this.#queue.push(from);
    this.#queuedBytes += from.data.length + OVERHEAD_BYTES;
    this.onInput();
  }
}

export class UdpTable {
  readonly #interface: Interface;
  readonly #sockets = new Map<number, UdpSocket>();
  readonly #ports: EphemeralPorts;

  constructor(net: Interface) {
    this.#interface = net;
    this.#ports = new EphemeralPorts(net.kernel.vcpu);
    net.protocols.set(IPPROTO_UDP, (frame, ip) => {
      const udp = parseUdp(frame.bytes, ip, frame.checksum === 'complete'), socket = udp && this.#sockets.get(udp.destinationPort);
      if (socket) socket.deliver({ address: numberOf(frame.bytes, ip.sourceAt), port: udp.sourcePort, data: frame.bytes.slice(udp.at, udp.end) });
    });
  }
  /** @param port 0: any @throws SocketError */
  open(port: number): UdpSocket {
    if (this.#sockets.size >= MAX_SOCKETS) throw new SocketError('full');
    const own = port || this.#ports.next(p => !this.#sockets.has(p));
    if (this.#sockets.has(own)) throw new SocketError('inUse');
    const socket = new UdpSocket(this, own);
    this.#sockets.set(own, socket);
    return socket;
  }
  remove(socket: UdpSocket): void { if (this.#sockets.get(socket.port) === socket) this.#sockets.delete(socket.port); }

  send(ownPort: number, address: number, port: number, data: Uint8Array): void {
    const net = this.#interface, copy = data.slice();
    if (IPV4_HLEN + UDP_HLEN + copy.length > net.mtu) throw new SocketError('tooLong');
    const send = (mac: Uint8Array | undefined): void => { if (mac) net.send({ bytes: udpFrame(net.ends(address, mac), ownPort, port, copy), checksum: 'valid' }); };
    // Before there is an address nobody can be asked for one.
    if (!net.lease && address === BROADCAST) send(BROADCAST_MAC); else net.resolve(address, send);
  }
}
