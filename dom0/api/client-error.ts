import type { Duplex } from 'node:stream';
import { refuse } from './consoles.ts';
import { BadRequest } from './problem.ts';

/** Connections that carry an answer without an end: nothing else may be written into it. */
export const streaming = new WeakSet<Duplex>();

/** Ends a connection on which no HTTP came, or not in time. */
export function clientError(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || streaming.has(socket) || error.code === 'ECONNRESET') { socket.destroy(); return; }
  refuse(socket, error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? new BadRequest('too-slow', 'the request did not arrive in time') : new BadRequest('bad-request', `this is not HTTP: ${error.message}`));
}
