// The Unix socket that tools in Dom0 connect to (libxenstore: $XENSTORED_PATH, or $XENSTORED_RUNDIR/socket). Whoever
// may open it is Dom0; the socket's file mode says who that is.
import { chmodSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { Connection } from './connection.ts';
import { WireError, WireParser, type WireMessage } from './wire.ts';

/** sizeof(sockaddr_un.sun_path) less its NUL. */
const MAX_PATH_BYTES = 107;
/** Bytes not yet taken by the kernel at which no more requests are read from a socket. */
const HIGH_WATER_BYTES = 256 * 1024;

export interface SocketHost {
  open(connection: Connection): void;
  handle(connection: Connection, message: WireMessage): void;
  closed(connection: Connection): void;
  log(line: string): void;
}

/** The socket's path in a run folder, as libxenstore makes it up. */
export const xenstoreSocketPath = (runFolder: string): string => join(runFolder, 'socket');

export class SocketTransport {
  readonly path: string;
  readonly #host: SocketHost;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #count = 0;

  private constructor(path: string, host: SocketHost) {
    this.path = path;
    this.#host = host;
    this.#server = createServer(socket => this.#accept(socket));
    this.#server.on('error', error => host.log(`xenstore: socket: ${error.message}`));
  }

  /** @throws Error whose message names the path and the way out */
  static async listen(path: string, host: SocketHost): Promise<SocketTransport> {
    if (Buffer.byteLength(path) > MAX_PATH_BYTES) throw new Error(`${path} is longer than the ${MAX_PATH_BYTES} bytes a socket's path may have: use a shorter run folder`);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    if (isSocket(path)) {
      if (await answers(path)) throw new Error(`${path} belongs to a xenstore that is running: stop its host, or use another run folder`);
      rmSync(path);
    }
    const transport = new SocketTransport(path, host);
    await new Promise<void>((resolve, reject) => transport.#server.once('error', reject).listen(path, () => { transport.#server.off('error', reject); resolve(); }));
    chmodSync(path, 0o600);
    return transport;
  }

  /** Ends all connections and removes the socket. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>(resolve => this.#server.close(() => resolve()));
  }

  #accept(socket: Socket): void {
    const connection = new Connection({ domid: 0 }, `socket ${++this.#count}`), parser = new WireParser();
    this.#sockets.add(socket);
    connection.onOutput = () => this.#flush(socket, connection);
    connection.onOverflow = () => socket.destroy();
    this.#host.open(connection);
    socket.on('data', (data: Buffer) => {
      try {
        for (let at = 0; at < data.length;) {
          const chunk = data.subarray(at, at + parser.wanted);
          at += chunk.length;
          const message = parser.push(chunk);
          if (message) this.#host.handle(connection, message);
        }
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
        this.#host.log(`xenstore: ${connection.name} is closed: ${error.message}`);
        socket.destroy();
      }
      if (socket.writableLength > HIGH_WATER_BYTES) socket.pause();
    });
    socket.on('drain', () => { this.#flush(socket, connection); socket.resume(); });
    socket.on('error', () => socket.destroy());
    socket.on('end', () => socket.end());
    socket.on('close', () => { this.#sockets.delete(socket); this.#host.closed(connection); });
  }

  #flush(socket: Socket, connection: Connection): void {
    for (let chunk = connection.peek(); chunk && socket.writable && socket.writableLength <= HIGH_WATER_BYTES; chunk = connection.peek()) {
      socket.write(chunk);
      connection.sent(chunk.length);
    }
  }
}

const isSocket = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isSocket() ?? false;

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const probe = connect(path, () => { probe.destroy(); resolve(true); });
    probe.on('error', () => resolve(false));
  });
}
