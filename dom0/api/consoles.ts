// GET /v1/domains/:domain/console with `Upgrade: xenolith-console`: after the 101 the connection carries the
// console's bytes both ways, scrollback first. The server ends it when the domain's console is closed.
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Domid } from '../../hypervisor/public/types.ts';
import { ToolstackError } from '../toolstack/errors.ts';
import { CONSOLE_PROTOCOL } from './console-protocol.ts';
import { BadRequest, problemOf } from './problem.ts';
import type { ApiContext } from './server.ts';

const PATH = /^\/v1\/domains\/([^/]+)\/console$/;
/** A reader this far behind is dropped, so that it cannot hold the host's memory. */
const MAX_BACKLOG_BYTES = 8 * 1024 * 1024;

export function serveConsoles(server: Server, { toolstack, consoles }: ApiContext): void {
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    if (request.headers.upgrade?.toLowerCase() === 'websocket') return;
    try {
      const match = PATH.exec(request.url ?? '');
      if (!match || request.headers.upgrade !== CONSOLE_PROTOCOL) throw new BadRequest('no-such-resource', `there is no upgrade to ${request.headers.upgrade} at ${request.url}`);
      attach(toolstack.domid(decodeURIComponent(match[1]!)) as Domid, consoles, socket, head);
    } catch (error) { refuse(socket, error); }
  });
}

function attach(dom: Domid, consoles: ApiContext['consoles'], socket: Duplex, head: Buffer): void {
  const early: Uint8Array[] = [];
  let open = false;
  const send = (data: Uint8Array): void => {
    if (!open) { early.push(data); return; }
    socket.write(data);
    if (socket.writableLength > MAX_BACKLOG_BYTES) socket.destroy();
  };
  const attachment = consoles.attach(dom, send, () => socket.end());
  if (!attachment) throw new ToolstackError('domain-not-running', `domain ${dom} has no console`);
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${CONSOLE_PROTOCOL}\r\n\r\n`);
  open = true;
  for (const data of early) socket.write(data);
  const type = (data: Buffer): void => {
    if (attachment.write(data)) return;
    socket.pause();
    void attachment.drained().then(() => socket.resume());
  };
  if (head.length > 0) type(head);
  socket.on('data', type);
  socket.on('end', () => socket.end());
  socket.on('close', () => attachment.close());
}

/** Ends a connection that fastify knows nothing of. */
export function refuse(socket: Duplex, error: unknown): void {
  const problem = problemOf(error), body = JSON.stringify(problem);
  socket.end(`HTTP/1.1 ${problem.status} ${problem.title}\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`);
}
