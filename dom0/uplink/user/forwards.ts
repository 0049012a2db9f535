// Ports of the host's that lead into guests (`hostfwd`).
// Invariant: a UDP forward remembers at most MAX_CLIENTS callers, each under a port of its own at the gateway; at most
// MAX_EARLY datagrams wait for guests to be found.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server } from 'node:net';
import { isIPv6 } from 'node:net';
import { parseAddress } from '../../../net/packet/address.ts';
import { UplinkError } from '../uplink-error.ts';
import { sendUdp, type Link } from './link.ts';
import { addressText, type Forward } from './settings.ts';
import type { TcpTable } from './tcp.ts';

export const MAX_CLIENTS = 256, MAX_EARLY = 64;
const EARLY_MS = 3000, SOLICIT_MS = 500;
const FIRST_CLIENT_PORT = 40_000, LAST_CLIENT_PORT = 49_000;

interface Client { readonly host: string; readonly port: number; readonly socket: UdpSocket; readonly gatewayPort: number; readonly guest: string; readonly guestPort: number }

export class Forwards {
  readonly #link: Link;
  readonly #tcp: TcpTable;
  readonly #servers: (Server | UdpSocket)[] = [];
  /** By the port they have at the gateway, in order of use. */
  readonly #clients = new Map<number, Client>();
  readonly #ports = new Map<string, number>();
  #nextPort = FIRST_CLIENT_PORT;
  #early = 0;

  constructor(link: Link, tcp: TcpTable) { this.#link = link; this.#tcp = tcp; }

  /** Opens all of them, or none. @returns the ports really opened, in the settings' order @throws UplinkError */
  async open(forwards: readonly Forward[]): Promise<number[]> {
    const ports: number[] = [];
    for (const forward of forwards) {
      const guest = forward.toAddress === undefined ? this.#link.settings.dhcpStart : parseAddress(forward.toAddress)!;
      const source = guest.length === 4 ? this.#link.settings.gateway : this.#link.settings.gateway6;
      try {
        if (!source) throw new Error('the network has no IPv6');
        ports.push(await (forward.protocol === 'tcp' ? this.#openTcp(forward, guest, source) : this.#openUdp(forward, guest)));
      } catch (error) {
        this.close();
        throw new UplinkError(`uplink user: port ${forward.port}${forward.address ? ` of ${forward.address}` : ''} cannot be forwarded: ${(error as NodeJS.ErrnoException).code === 'EADDRINUSE' ? 'it is in use' : (error as Error).message}`, { cause: error });
      }
    }
    return ports;
  }

  #openTcp(forward: Forward, guest: Uint8Array, source: Uint8Array): Promise<number> {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, socket => this.#tcp.call(socket, source, guest, forward.toPort));
    this.#servers.push(server);
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen({ port: forward.port, ...forward.address ? { host: forward.address } : {} }, () => {
        server.off('error', reject);
        server.on('error', error => this.#link.log(`forward of port ${forward.port}: ${error.message}`));
        resolve((server.address() as { port: number }).port);
      });
    });
  }

  /** Without an address it is there for callers of both kinds, as a TCP one is; a host without IPv6 has one kind. */
  async #openUdp(forward: Forward, guest: Uint8Array): Promise<number> {
    if (forward.address !== '') return this.#bindUdp(isIPv6(forward.address) ? 'udp6' : 'udp4', forward, guest);
    return this.#bindUdp('udp6', forward, guest).catch((error: NodeJS.ErrnoException) => { if (error.code === 'EADDRINUSE') throw error; return this.#bindUdp('udp4', forward, guest); });
  }
  #bindUdp(type: 'udp4' | 'udp6', forward: Forward, guest: Uint8Array): Promise<number> {
    const socket = createSocket(type);
    socket.on('message', (data, from) => this.#fromClient(socket, data, from, guest, forward.toPort));
    return new Promise((resolve, reject) => {
      socket.once('error', error => { socket.close(); reject(error); });
      socket.bind({ port: forward.port, ...forward.address ? { address: forward.address } : {} }, () => {
        socket.removeAllListeners('error');
        socket.on('error', error => this.#link.log(`forward of port ${forward.port}: ${error.message}`));
        this.#servers.push(socket);
        resolve(socket.address().port);
      });
    });
  }

  #fromClient(socket: UdpSocket, data: Buffer, from: { address: string; port: number }, guest: Uint8Array, guestPort: number): void {
    const source = guest.length === 4 ? this.#link.settings.gateway : this.#link.settings.gateway6!, mac = this.#link.neighbours.macOf(guest);
    if (!mac) { this.#later(guest, () => this.#fromClient(socket, data, from, guest, guestPort)); return; }
    const key = `${from.address} ${from.port} ${addressText(guest)} ${guestPort}`;
    let gatewayPort = this.#ports.get(key);
    if (gatewayPort === undefined) {
      if (this.#clients.size >= MAX_CLIENTS) this.#forget(this.#clients.keys().next().value!);
      do { gatewayPort = this.#nextPort++; if (this.#nextPort > LAST_CLIENT_PORT) this.#nextPort = FIRST_CLIENT_PORT; } while (this.#clients.has(gatewayPort));
      this.#ports.set(key, gatewayPort);
    }
    const client = this.#clients.get(gatewayPort) ?? { host: from.address, port: from.port, socket, gatewayPort, guest: addressText(guest), guestPort };
    this.#clients.delete(gatewayPort);
    this.#clients.set(gatewayPort, client);
    if (this.#link.room(mac) < data.length + 100) return;
    sendUdp(this.#link, { sourceMac: this.#link.mac, destinationMac: mac, source, destination: guest }, gatewayPort, guestPort, data);
  }
  /** Once the guest is found, if it is soon. */
  #later(guest: Uint8Array, send: () => void): void {
    if (this.#early >= MAX_EARLY) return;
    this.#early++;
    const end = (): void => { this.#early--; clearTimeout(timer); clearInterval(asking); forget(); };
    const forget = this.#link.neighbours.whenKnown(guest, () => { end(); send(); });
    const timer = setTimeout(end, EARLY_MS).unref(), asking = setInterval(() => this.#link.solicit(guest), SOLICIT_MS).unref();
    this.#link.solicit(guest);
  }
  #forget(gatewayPort: number): void {
    const client = this.#clients.get(gatewayPort)!;
    this.#clients.delete(gatewayPort);
    this.#ports.delete(`${client.host} ${client.port} ${client.guest} ${client.guestPort}`);
  }

  /** A guest's datagram to the gateway: the answer to a forwarded one? @returns whether it was */
  answer(guest: string, guestPort: number, gatewayPort: number, payload: Uint8Array): boolean {
    const client = this.#clients.get(gatewayPort);
    if (!client || client.guest !== guest || client.guestPort !== guestPort) return false;
    client.socket.send(Buffer.from(payload), client.port, client.host, () => {});
    return true;
  }

  close(): void { for (const server of this.#servers.splice(0)) server.close(); this.#clients.clear(); this.#ports.clear(); }
}
