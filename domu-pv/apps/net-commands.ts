// The shell's commands for the network: names, one HTTP request asked and one answered, and plain connections.
import type { Kernel } from '../kernel/kernel.ts';
import { textOf } from '../net/ipv4.ts';
import { SocketError } from '../net/socket-error.ts';
import type { Stack } from '../net/stack.ts';
import type { TcpSocket } from '../net/tcp-socket.ts';
import type { Command } from './shell.ts';

const IDLE_NS = 30_000_000_000n, PIECE_BYTES = 65_536, HEADER_MAX = 16_384, HTTP_PORT = 80, PORT_MAX = 65_535;
const encoder = new TextEncoder(), decoder = new TextDecoder();
type Out = (data: string | Uint8Array) => void;

/** @param network connected, with an address @param readFile a file's contents; both throw what the shell says @param interrupted whether to wait no longer */
export function netCommands(network: () => Stack, kernel: Kernel, readFile: (path: string) => Uint8Array, interrupted: () => boolean): Record<string, Command> {
  const { events, clock } = kernel;
  const until = (isReady: () => boolean, deadlineNs?: bigint): void => {
    if (!events.waitFor(() => interrupted() || isReady(), deadlineNs)) throw new SocketError('timedOut');
    if (interrupted()) throw new SocketError('interrupted');
  };
  const wait = (isReady: () => boolean): void => until(isReady, clock.systemNs() + IDLE_NS);
  const call = (host: string, port: number): TcpSocket => {
    const net = network(), socket = net.tcp.connect(net.lookUp(host)[0]!, port, 0);
    wait(() => socket.connected || socket.destroyed);
    socket.throwFailure();
    return socket;
  };
  const answer = (port: number): TcpSocket => {
    if (!(Number.isInteger(port) && port > 0 && port <= PORT_MAX)) throw new SocketError('noPort');
    const listener = network().tcp.listen(port, 1);
    kernel.console.print(`waiting at port ${port}\n`);
    try {
      until(() => listener.hasConnection);
      return listener.accept()!;
    } finally { listener.close(); }
  };
  const send = (socket: TcpSocket, data: Uint8Array): void => {
    for (let at = 0; at < data.length;) { wait(() => socket.canWrite); at += socket.send(data.subarray(at)); }
  };
  /** The next piece; undefined at the end. */
  const receive = (socket: TcpSocket): Uint8Array | undefined => {
    const piece = new Uint8Array(PIECE_BYTES);
    wait(() => socket.canRead);
    const count = socket.read(piece);
    return count > 0 ? piece.subarray(0, count) : undefined;
  };
  const receiveAll = (socket: TcpSocket, out: Out): void => { for (let piece = receive(socket); piece; piece = receive(socket)) out(piece); };
  /** Bytes up to an empty line, and those behind it. */
  const receiveHeader = (socket: TcpSocket): [string, Uint8Array] => {
    let all = new Uint8Array(0);
    while (all.length < HEADER_MAX) {
      const piece = receive(socket);
      if (!piece) break;
      all = Uint8Array.from([...all, ...piece]);
      const end = decoder.decode(all).indexOf('\r\n\r\n');
      if (end >= 0) return [decoder.decode(all.subarray(0, end)), all.subarray(end + 4)];
    }
    throw new SocketError('reset');
  };
  const get = (url: string, out: Out): void => {
    const [, host = '', port, path] = /^(?:http:\/\/)?([^/:]+)(?::(\d+))?(\/.*)?$/.exec(url) ?? [], socket = call(host, Number(port ?? HTTP_PORT));
    try {
      send(socket, encoder.encode(`GET ${path ?? '/'} HTTP/1.0\r\nHost: ${host}\r\nConnection: close\r\n\r\n`));
      const [header, rest] = receiveHeader(socket), status = header.split('\r\n')[0]!;
      if (!/^HTTP\/1\.\d 2/.test(status)) out(`${status}\n`);
      out(rest);
      receiveAll(socket, out);
    } finally { network().tcp.orphan(socket); }
  };
  const serve = (port: number, path: string, out: Out): void => {
    const body = path === '' ? encoder.encode(`domain ${kernel.domid} was here\n`) : readFile(path), socket = answer(port);
    try {
      out(`${receiveHeader(socket)[0].split('\r\n')[0]!} from ${textOf(new DataView(socket.connection.ends.peer.buffer).getUint32(0))}\n`);
      send(socket, encoder.encode(`HTTP/1.0 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`));
      send(socket, body);
    } finally { network().tcp.orphan(socket); }
  };
  const netcat = (args: readonly string[], out: Out): void => {
    const listens = args[0] === '-l', socket = listens ? answer(Number(args[1])) : call(args[0] ?? '', Number(args[1]));
    try {
      const words = args.slice(2);
      if (words.length > 0) send(socket, encoder.encode(`${words.join(' ')}\n`));
      socket.endWriting();
      receiveAll(socket, out);
    } finally { network().tcp.orphan(socket); }
  };
  const command = (summary: string, run: Command['run']): Command => ({ summary, run });
  return {
    host: command('NAME its addresses', ([name = ''], out) => out(`${network().lookUp(name).map(textOf).join(' ')}\n`)),
    get: command('URL what a web server has there', ([url = ''], out) => get(url, out)),
    serve: command('PORT [FILE] answers one web request', ([port = '80', path = ''], out) => serve(Number(port), path, out)),
    nc: command('HOST PORT|-l PORT [WORD...] one connection: says that, then what comes', (args, out) => netcat(args, out)),
  };
}
