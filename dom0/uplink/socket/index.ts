// An uplink that is another program: passt, QEMU, or another host's bridge, at the far end of a stream socket.
// Invariant: at most MAX_BACKLOG_BYTES wait for the other side; beyond that frames are dropped, as a full link does.
import { once } from 'node:events';
import { lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Attachment, Frame } from '../../switch/port.ts';
import type { LeaseView, Uplink } from '../uplink.ts';
import { UplinkError } from '../uplink-error.ts';
import type { Bridge } from '../user/index.ts';
import type { SocketSettings } from './settings.ts';
import { framed, FrameReader } from './stream.ts';

export const MAX_BACKLOG_BYTES = 4 * 1024 * 1024;
const RETRY_MS = 1000;

export class SocketUplink implements Uplink {
  readonly kind = 'socket';
  readonly #settings: SocketSettings;
  readonly #log: (line: string) => void;
  readonly #attachment: Attachment;
  #server: Server | undefined;
  #peer: Socket | undefined;
  #corked = false;
  #closed = false;
  #retry: NodeJS.Timeout | undefined;
  readonly counters = { dropped: 0 };

  private constructor(bridge: Bridge, settings: SocketSettings, log: (line: string) => void) {
    this.#settings = settings;
    this.#log = log;
    // Plain frames only: the length in the stream leaves no place for what is said of checksums and large packets.
    this.#attachment = bridge.attach({
      name: 'socket', abilities: () => ({ blankChecksum: false, gsoV4: false, gsoV6: false }),
      deliver: frame => this.#deliver(frame), room: () => this.#room(),
    });
  }

  /** Resolves once it listens, or is connected for the first time. @throws UplinkError */
  static async open(bridge: Bridge, settings: SocketSettings, log: (line: string) => void): Promise<SocketUplink> {
    const uplink = new SocketUplink(bridge, settings, log);
    try { await (settings.listen ? uplink.#listen() : uplink.#connect()); } catch (error) {
      uplink.close();
      throw new UplinkError(`uplink socket: ${settings.listen ? 'cannot listen' : 'nobody answers'} at ${place(settings)}: ${(error as Error).message}`, { cause: error });
    }
    return uplink;
  }

  leases(): ReadonlyMap<string, LeaseView> { return new Map(); }
  remember(): void { /* likewise */ }
  onLease(): void { /* the other side hands addresses out, and says so to nobody else */ }
  forgetGuest(): void { /* nothing is held */ }
  /** Where it listens, for tests with port 0. */
  get address(): ReturnType<Server['address']> | undefined { return this.#server?.address(); }
  get connected(): boolean { return this.#peer !== undefined; }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#server?.close();
    this.#peer?.destroy();
    this.#attachment.detach();
  }

  #deliver(frame: Frame): void {
    const peer = this.#peer;
    if (!peer || peer.writableLength > MAX_BACKLOG_BYTES) { this.counters.dropped++; return; }
    // Frames of one turn go out in one write.
    if (!this.#corked) {
      this.#corked = true;
      peer.cork();
      queueMicrotask(() => { this.#corked = false; peer.uncork(); });
    }
    peer.write(framed(frame.bytes));
  }
  #room(): number { return this.#peer ? Math.max(0, MAX_BACKLOG_BYTES - this.#peer.writableLength) : 0; }

  async #listen(): Promise<void> {
    const { place: at } = this.#settings, server = this.#server = createServer(socket => {
      if (this.#peer) { socket.destroy(); return; }
      this.#follow(socket);
    });
    const listen = async (): Promise<void> => { server.listen('path' in at ? { path: at.path } : at); await once(server, 'listening'); };
    try { await listen(); } catch (error) {
      if (!('path' in at) || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || !await isLeftOver(at.path)) throw error;
      await unlink(at.path);
      await listen();
    }
  }

  #connect(): Promise<void> {
    const { place: at } = this.#settings;
    return new Promise((resolve, reject) => {
      const socket = connect('path' in at ? { path: at.path } : { ...at, noDelay: true });
      socket.once('error', reject);
      socket.once('connect', () => { socket.off('error', reject); this.#follow(socket); resolve(); });
    });
  }

  #follow(socket: Socket): void {
    this.#peer = socket;
    const reader = new FrameReader(bytes => this.#attachment.send({ bytes, checksum: 'complete' }));
    socket.on('data', (data: Buffer) => { if (!reader.feed(data)) { this.#log(`uplink socket: ${place(this.#settings)} sent no frames; disconnected`); socket.destroy(); } });
    socket.on('drain', () => this.#attachment.roomGrew());
    socket.on('error', error => this.#log(`uplink socket: ${place(this.#settings)}: ${error.message}`));
    socket.on('close', () => {
      this.#peer = undefined;
      if (!this.#settings.listen) this.#again();
    });
    this.#attachment.roomGrew();
  }

  /** The other program may be started anew. */
  #again(): void {
    if (this.#closed) return;
    this.#retry = setTimeout(() => { if (!this.#closed) this.#connect().catch(() => this.#again()); }, RETRY_MS);
    this.#retry.unref();
  }
}

/** A socket that nobody listens at any more: its owner was killed. */
async function isLeftOver(path: string): Promise<boolean> {
  // A file refuses connections, too.
  if (!(await lstat(path)).isSocket()) return false;
  const socket = connect({ path });
  try { await once(socket, 'connect'); return false; } catch (error) { return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED'; } finally { socket.destroy(); }
}

const place = ({ place: at }: SocketSettings): string => 'path' in at ? at.path : `${at.host}:${at.port}`;
