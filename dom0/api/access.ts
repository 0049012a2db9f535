// Who calls, and what they may do. The Unix socket is its user's: whoever can open it may do everything. Everybody else
// shows a token.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Management } from '../management/index.ts';
import { allows, type Scope } from '../management/tokens.ts';
import { Limiter } from './limiter.ts';
import { BadRequest, PROBLEMS } from './problem.ts';

export interface Caller {
  /** As the audit log has it. */
  readonly who: string;
  readonly remote: boolean;
  readonly address?: string;
}
declare module 'fastify' { interface FastifyRequest { caller: Caller } }

/** Wrong tokens of one address and noted refusals of one token in a minute, and requests of one token in ten seconds. */
const FAILURES = 10, FAILURES_MS = 60_000, REQUESTS = 2000, REQUESTS_MS = 10_000;
/** Of a call, as noted. */
const MAX_URL_CHARS = 2048;
/** Tokens that have run out are looked for so often. */
const SWEEP_MS = 30_000;
/** How a browser's WebSocket, which can set no header, shows its token. */
const PROTOCOL_PREFIX = 'xenolith.bearer.';
const LOCAL: Caller = { who: `uid:${process.getuid?.() ?? 0}`, remote: false };

/** Refused for now. */
export class TooMany extends BadRequest {
  readonly waitSec: number;
  constructor(message: string, waitSec: number) { super('too-many-requests', message); this.waitSec = waitSec; }
}

export class Access {
  readonly #management: Management;
  /** Connections that came over the Unix socket; a connection that is not in here is a stranger's. */
  readonly #local = new WeakSet<Socket>();
  readonly #remote = new Map<Socket, string>();
  readonly #ofToken = new Map<string, Set<Socket>>();
  readonly #failures = new Limiter(FAILURES, FAILURES_MS);
  readonly #requests = new Limiter(REQUESTS, REQUESTS_MS);
  readonly #forbidden = new Limiter(FAILURES, FAILURES_MS);
  readonly #sweep: NodeJS.Timeout;

  constructor(management: Management) {
    this.#management = management;
    management.tokens.onRevoked = id => this.#cut(id);
    this.#sweep = setInterval(() => { for (const id of this.#ofToken.keys()) if (!management.tokens.holds(id)) this.#cut(id); }, SWEEP_MS).unref();
  }

  isLocal(socket: Socket): boolean { return this.#local.has(socket); }
  acceptLocal(socket: Socket): void { this.#local.add(socket); }
  acceptRemote(socket: Socket): void {
    // The address is gone once the peer is.
    this.#remote.set(socket, socket.remoteAddress ?? 'unknown');
    socket.once('close', () => { this.#remote.delete(socket); });
  }

  /** @throws BadRequest 'unauthorized', 'forbidden', 'too-many-requests' */
  admit(request: IncomingMessage, needs: Scope | 'none'): Caller {
    const { socket } = request;
    if (this.#local.has(socket)) return LOCAL;
    const address = this.#remote.get(socket);
    if (needs === 'none') return { who: 'anybody', remote: true, ...(address === undefined ? {} : { address }) };
    if (address === undefined) throw new BadRequest('unauthorized', 'the connection is gone');
    const waitSec = this.#failures.waitSec(networkOf(address));
    if (waitSec > 0) throw new TooMany('too many wrong tokens came from this address: try again later', waitSec);
    const shown = tokenOf(request);
    if (shown === undefined) throw new BadRequest('unauthorized', 'show a token: Authorization: Bearer xen_...');
    const token = this.#management.tokens.check(shown);
    if (!token) {
      this.#failures.take(networkOf(address));
      this.#management.audit.add({ who: 'anybody', from: address, what: 'a wrong token', detail: shown.slice(0, 14) }).catch(() => {});
      throw new BadRequest('unauthorized', 'the token is not known, was revoked, or has run out');
    }
    const pauseSec = this.#requests.waitSec(token.id);
    if (pauseSec > 0) throw new TooMany('too many requests with this token: slow down', pauseSec);
    this.#requests.take(token.id);
    const caller = { who: `token:${token.id} (${token.name})`, remote: true, address };
    if (!allows(token.scope, needs)) {
      this.#noteForbidden(token.id, caller, request);
      throw new BadRequest('forbidden', `that needs a token of scope ${needs}; this one has ${token.scope}`);
    }
    this.#remember(token.id, socket);
    return caller;
  }

  /** As admit(), of a connection that is to become something else: what is typed there changes things, so it is noted. */
  admitUpgrade(request: IncomingMessage): Caller {
    const { who, address, remote } = this.admit(request, 'operate');
    this.#management.audit.add({ who, ...(address === undefined ? {} : { from: address }), what: `UPGRADE ${request.url?.slice(0, MAX_URL_CHARS)}`, detail: String(request.headers.upgrade).slice(0, 64) }).catch(() => {});
    return { who, remote, ...(address === undefined ? {} : { address }) };
  }

  close(): void { clearInterval(this.#sweep); }

  /** What a token may not do is noted, but not so often that it fills the log. */
  #noteForbidden(id: string, { who, address }: Required<Caller>, { method, url }: IncomingMessage): void {
    if (this.#forbidden.waitSec(id) > 0) return;
    this.#forbidden.take(id);
    this.#management.audit.add({ who, from: address, what: `${method} ${url?.slice(0, MAX_URL_CHARS)}`, status: PROBLEMS.forbidden.status, detail: 'refused: the scope of the token' }).catch(() => {});
  }
  #remember(id: string, socket: Socket): void {
    let sockets = this.#ofToken.get(id);
    if (!sockets) this.#ofToken.set(id, sockets = new Set());
    if (sockets.has(socket)) return;
    sockets.add(socket);
    socket.once('close', () => { sockets.delete(socket); if (sockets.size === 0) this.#ofToken.delete(id); });
  }
  #cut(id: string): void { for (const socket of this.#ofToken.get(id) ?? []) socket.destroy(); }
}

/** To be called before any route is added. */
export function checkAccess(api: FastifyInstance, access: Access): void {
  api.server.on('connection', socket => access.acceptLocal(socket));
  api.server.on('upgrade', request => { if (access.isLocal(request.socket)) access.admitUpgrade(request); });
  api.decorateRequest('caller', null as unknown as Caller);
  api.addHook('onClose', async () => access.close());
  api.addHook('onRequest', (request, reply, done) => {
    try { request.caller = access.admit(request.raw, request.routeOptions.config.scope ?? 'read'); } catch (error) {
      if (error instanceof TooMany) reply.header('retry-after', error.waitSec);
      if (error instanceof BadRequest && error.code === 'unauthorized') reply.header('www-authenticate', 'Bearer');
      throw error;
    }
    done();
  });
}

function tokenOf({ headers }: IncomingMessage): string | undefined {
  const bearer = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '')?.[1];
  return bearer ?? headers['sec-websocket-protocol']?.split(/ *, */).find(p => p.startsWith(PROTOCOL_PREFIX))?.slice(PROTOCOL_PREFIX.length);
}

/** Whoever has one IPv6 address has a /64 of them. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address;
  if (address.toLowerCase().startsWith('::ffff:') && address.includes('.')) return address.slice(7);
  const [head, tail] = address.split('::'), front = head!.split(':').filter(Boolean), back = (tail ?? '').split(':').filter(Boolean);
  const groups = tail === undefined ? front : [...front, ...Array<string>(Math.max(0, 8 - front.length - back.length)).fill('0'), ...back];
  return groups.slice(0, 4).join(':');
}
