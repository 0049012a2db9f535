// The socket gdb connects to: one at a time, for one domain. The domain stops when gdb connects and runs on when gdb
// detaches or goes away.
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import { SHUTDOWN_crash, SHUTDOWN_suspend } from '../../hypervisor/public/sched.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import { GdbSession, type DomainFate } from './gdb-session.ts';

export type GdbListen = { readonly port: number } | { readonly socket: string };
export type GdbEvent = { readonly event: 'listening'; readonly address: string } | { readonly event: 'attached' | 'refused' | 'detached' | 'ended' };
const LOOPBACK = '127.0.0.1';
const LISTEN_BACKLOG = 2;
/** What gdb has not read yet; it never lets this grow. */
const MAX_UNREAD_BYTES = 1 << 20;

/** What gdb's first byte may be: an acknowledgement, a packet, an interrupt. */
const GDB_BEGINS = [...Buffer.from('+-$\x03')];
const LAST_WORDS_MS = 500;
/** Lets the other end read what was sent, not hold the connection. */
function hangUp(socket: Socket): void {
  socket.end();
  setTimeout(() => socket.destroy(), LAST_WORDS_MS).unref();
}

export class GdbServer {
  readonly #hypercalls: Dom0Hypercalls;
  readonly #dom: Domid;
  readonly #listen: GdbListen;
  readonly #say: (event: GdbEvent) => void;
  readonly #server: Server;
  #session: GdbSession | undefined;
  #socket: Socket | undefined;
  #closed = false;

  constructor(hypercalls: Dom0Hypercalls, dom: Domid, listen: GdbListen, say: (event: GdbEvent) => void) {
    this.#hypercalls = hypercalls; this.#dom = dom; this.#listen = listen; this.#say = say;
    this.#server = createServer({ noDelay: true }, socket => this.#accept(socket));
    this.#server.maxConnections = LISTEN_BACKLOG;
  }
  uses(socket: string): boolean { return 'socket' in this.#listen && this.#listen.socket === socket; }
  /** @throws the socket's error */
  async open(): Promise<void> {
    const listen = this.#listen;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      const ready = (): void => { this.#server.off('error', reject); this.#server.on('error', () => this.close()); resolve(); };
      if ('port' in listen) this.#server.listen(listen.port, LOOPBACK, ready); else this.#server.listen(listen.socket, ready);
    });
    if ('socket' in listen) chmodSync(listen.socket, 0o600);
    this.#say({ event: 'listening', address: this.#address() });
  }
  #address(): string {
    const address = this.#server.address();
    return address !== null && typeof address === 'object' ? `${LOOPBACK}:${address.port}` : String(address);
  }
  /** Something about some domain has changed. */
  domainEvent(): void {
    this.#session?.stopped();
    // gdb hears of the end before the connection goes.
    if (typeof this.#hypercalls.domainInfo(this.#dom) === 'number') void (this.#session?.settled() ?? Promise.resolve()).then(() => this.close());
  }
  #fate(): DomainFate {
    const info = this.#hypercalls.domainInfo(this.#dom);
    if (typeof info === 'number') return 'ended';
    if (!info.shutdown && !info.crashed || info.shutdownReason === SHUTDOWN_suspend) return 'lives';
    return info.crashed || info.shutdownReason === SHUTDOWN_crash ? 'crashed' : 'ended';
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const target = this.#session ? -1 : this.#hypercalls.debugAttach(this.#dom, () => this.#session?.stopped());
    if (typeof target === 'number') { this.#say({ event: 'refused' }); socket.destroy(); return; }
    const session = new GdbSession({
      target, fate: () => this.#fate(),
      send: bytes => { if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy(); else socket.write(bytes); },
      finish: () => hangUp(socket),
    });
    this.#session = session;
    this.#socket = socket;
    this.#say({ event: 'attached' });
    session.start();
    let begun = false;
    socket.on('data', (data: Buffer) => {
      // Whatever else finds the port (a browser, say) begins otherwise.
      if (!begun && !GDB_BEGINS.includes(data[0]!)) { socket.destroy(); return; }
      begun = true;
      session.feed(data);
    });
    socket.on('close', () => {
      void session.close().finally(() => {
        if (this.#session === session) this.#session = undefined;
        this.#say({ event: 'detached' });
      });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#socket) hangUp(this.#socket);
    this.#server.close();
    if ('socket' in this.#listen) rmSync(this.#listen.socket, { force: true });
    this.#say({ event: 'ended' });
  }
}
