// GET /v1/domains/{domain}/console with `Upgrade: websocket`. Binary frames are the console's bytes, both ways; text frames
// are JSON: RoomMessage from the host, ClientMessage to it.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { FastifyInstance } from 'fastify';
import { WebSocketServer, type RawData, type WebSocket } from 'ws';
import { z } from 'zod';
import type { Domid } from '../../hypervisor/public/types.ts';
import { ConsoleRoom, type Viewer, type ViewerLink } from '../console/console-room.ts';
import type { ConsoleSource } from '../console/console-source.ts';
import { ToolstackError } from '../toolstack/errors.ts';
import { consoleQuery } from './console-contract.ts';
import { WEBSOCKET_PROTOCOL } from './console-protocol.ts';
import { refuse } from './consoles.ts';
import { BadRequest, validated } from './problem.ts';
import type { ApiContext } from './server.ts';

const PATH = /^\/v1\/domains\/([^/?]+)\/console$/;
const MAX_FRAME_BYTES = 64 * 1024, MAX_SOCKETS = 1024;
/** A viewer that does not answer a ping until the next one is gone. */
const PING_MS = 20_000;
/** How long a guest may leave a viewer's input unread before the viewer is let go. */
const UNREAD_MS = 60_000;
const CLOSE_NORMAL = 1000, CLOSE_POLICY = 1008, CLOSE_TRY_LATER = 1013;
const MAX_TERMINAL = 1000;

const clientMessage = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('take') }), z.strictObject({ type: z.literal('release') }),
  z.strictObject({ type: z.literal('resize'), columns: z.int().min(1).max(MAX_TERMINAL), rows: z.int().min(1).max(MAX_TERMINAL) }),
]);
export type ClientMessage = z.infer<typeof clientMessage>;

export interface ConsoleSocketTimes { readonly pingMs: number; readonly unreadMs: number }

export function serveConsoleSockets(api: FastifyInstance, { toolstack, consoles }: ApiContext, times: ConsoleSocketTimes = { pingMs: PING_MS, unreadMs: UNREAD_MS }): void {
  const server = new WebSocketServer({ noServer: true, maxPayload: MAX_FRAME_BYTES, perMessageDeflate: false, handleProtocols: offered => offered.has(WEBSOCKET_PROTOCOL) && WEBSOCKET_PROTOCOL });
  const rooms = new WeakMap<ConsoleSource, ConsoleRoom>();
  api.addHook('preClose', async () => { for (const socket of server.clients) socket.terminate(); });
  api.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (request.headers.upgrade?.toLowerCase() !== 'websocket') return;
    try {
      const url = new URL(request.url ?? '', 'http://localhost'), match = PATH.exec(url.pathname);
      if (!match) throw new BadRequest('no-such-resource', `there is no WebSocket at ${url.pathname}`);
      sameOrigin(request);
      const query = validated(consoleQuery, Object.fromEntries(url.searchParams), 'query'), domid = toolstack.domid(nameIn(match[1]!));
      const source = consoles.source(domid as Domid);
      if (!source) throw new ToolstackError('domain-not-running', `domain ${domid} has no console`);
      let room = rooms.get(source);
      if (!room) rooms.set(source, room = new ConsoleRoom(source));
      if (room.full || server.clients.size >= MAX_SOCKETS) throw new BadRequest('too-many-readers', 'this console has enough viewers: try again later');
      const from = query.console === undefined || query.from === undefined ? undefined : { id: query.console, position: query.from };
      const chosen = room;
      server.handleUpgrade(request, socket, head, ws => view(ws, link => chosen.join(link, query.access, from), times));
    } catch (error) { refuse(socket, error); }
  });
}

/** @throws BadRequest */
function nameIn(part: string): string {
  try { return decodeURIComponent(part); } catch { throw new BadRequest('bad-request', `${part} is not a name`); }
}

/** Pages of others may open WebSockets to this host: browsers say whose page it is. @throws BadRequest */
function sameOrigin({ headers: { origin, host } }: IncomingMessage): void {
  if (origin === undefined) return;
  const from = URL.canParse(origin) ? new URL(origin).host : origin;
  if (from !== host) throw new BadRequest('wrong-origin', `a page of ${from} may not open consoles of this host`);
}

function view(ws: WebSocket, join: (link: ViewerLink) => Viewer, { pingMs, unreadMs }: ConsoleSocketTimes): void {
  let alive = true, ended = false;
  const taken = (): void => { if (!ended) viewer.pump(); };
  const link: ViewerLink = {
    output: data => ws.send(data, taken), tell: message => ws.send(JSON.stringify(message)),
    get backlogBytes() { return ws.bufferedAmount; },
    end: () => ws.close(CLOSE_NORMAL, 'the console is closed'),
  };
  ws.on('error', () => ws.terminate());
  const viewer = join(link);
  const pinging = setInterval(() => {
    if (!alive) { ws.terminate(); return; }
    // What cannot be read for now cannot hear an answer either.
    if (ws.isPaused) return;
    alive = false;
    ws.ping();
  }, pingMs).unref();
  ws.on('pong', () => { alive = true; });
  ws.on('message', (data: RawData, binary) => {
    if (!binary) { hear(ws, viewer, String(data)); return; }
    if (viewer.input(data as Buffer)) return;
    ws.pause();
    const patience = setTimeout(() => { ws.resume(); ws.close(CLOSE_TRY_LATER, 'the guest does not read its console'); viewer.leave(); }, unreadMs).unref();
    void viewer.drained().then(() => { clearTimeout(patience); ws.resume(); });
  });
  ws.on('close', () => { ended = true; clearInterval(pinging); viewer.leave(); });
}

function hear(ws: WebSocket, viewer: Viewer, text: string): void {
  let value: unknown;
  try { value = JSON.parse(text); } catch { value = undefined; }
  const { success, data } = clientMessage.safeParse(value);
  if (!success) { ws.close(CLOSE_POLICY, 'not understood'); return; }
  switch (data.type) {
    case 'take': viewer.take(); break;
    case 'release': viewer.release(); break;
    case 'resize': viewer.resize({ columns: data.columns, rows: data.rows }); break;
  }
}
