// The HTTP API: contract.ts lists it, one file per resource serves it. It listens on a Unix socket; listen.ts adds TCP.
import Fastify, { type FastifyInstance } from 'fastify';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { HostView } from '../toolstack/action.ts';
import type { Consoles, Log } from '../toolstack/ports.ts';
import type { Bridges } from '../switch/bridges.ts';
import type { Toolstack } from '../toolstack/toolstack.ts';
import type { DebugServices } from '../debug/index.ts';
import type { XenStore } from '../xenstore/client.ts';
import type { Management } from '../management/index.ts';
import { Access, checkAccess } from './access.ts';
import { auditChanges, auditRoutes } from './audit.ts';
import { clientError } from './client-error.ts';
import { serveConsoles } from './consoles.ts';
import { eventRoutes } from './events.ts';
import { consolePageRoutes } from './console-page.ts';
import { serveConsoleSockets } from './console-socket.ts';
import { logRequests } from './request-log.ts';
import { metaRoutes } from './meta.ts';
import { debugRoutes } from './debug.ts';
import { definitionRoutes } from './definitions.ts';
import { deviceRoutes } from './devices.ts';
import { domainRoutes } from './domains.ts';
import { fileRoutes } from './files.ts';
import { hostRoutes } from './host.ts';
import { HTTP_OPTIONS, refuseExpectations, requireHost } from './http-options.ts';
import { captureRoutes } from './captures.ts';
import { operationRoutes } from './operations.ts';
import { drained } from './drained.ts';
import { BadRequest, problemOf, sendProblem } from './problem.ts';
import { CONTRACT } from './contract.ts';
import { MAX_SENT_PARAM_CHARS, methodsOf } from './route.ts';
import { tokenRoutes } from './tokens.ts';
import { xenstoreRoutes } from './xenstore.ts';

/** What the routes act on. */
export interface ApiContext {
  readonly toolstack: Toolstack;
  readonly consoles: Consoles;
  readonly host: HostControl;
  readonly management: Management;
  /** Absent: metrics know what the toolstack knows, events are looked for. */
  readonly hypercalls?: Dom0Hypercalls;
  /** Absent: requests are not logged. */
  readonly log?: Log;
  /** Absent: no xenstore routes. */
  readonly xenstore?: XenStore;
  /** Absent: no debugging routes. */
  readonly debug?: DebugServices;
  /** Absent: no captures. */
  readonly bridges?: Bridges;
}
export interface HostControl {
  view(): HostView;
  dmesg(clear: boolean): string;
  debugKeys(keys: string): void;
  /** Ends the host after the reply: guests are shut down first, unless `now`. `ifIdle`: not while there are any. @returns whether it ends */
  shutdown(now: boolean, ifIdle: boolean): boolean;
}

const methodsAt = methodsOf(Object.values(CONTRACT));

/** How long a client may take to send a request. */
const REQUEST_MS = 30_000;

export function createApi(context: ApiContext, access = new Access(context.management)): FastifyInstance {
  const api = Fastify({
    logger: false, bodyLimit: 1024 * 1024, forceCloseConnections: true, requestTimeout: REQUEST_MS, routerOptions: { maxParamLength: MAX_SENT_PARAM_CHARS }, http: HTTP_OPTIONS,
    frameworkErrors: (error, _request, reply) => { void sendProblem(reply, error); },
    clientErrorHandler: clientError,
  });
  api.setErrorHandler(async (error, request, reply) => {
    if (problemOf(error).code === 'body-too-large') await drained(request.raw);
    return sendProblem(reply, error);
  });
  api.setNotFoundHandler((request, reply) => {
    const { method, url } = request, allowed = methodsAt(url.split('?')[0]!);
    // Or it has the method, but this host does not serve the route.
    if (allowed.length === 0 || allowed.includes(method)) return sendProblem(reply, new BadRequest('no-such-resource', `there is no ${method} ${url}`));
    return sendProblem(reply.header('allow', allowed.join(', ')), new BadRequest('method-not-allowed', `${method} is not done at ${url}: ${allowed.join(', ')}`));
  });
  api.addHook('onClose', () => context.management.close());
  // The guests' rings go before each call: of several that came together the loop takes all before anything else.
  const { hypercalls } = context;
  if (hypercalls) api.server.prependListener('request', () => hypercalls.serveEvents());
  logRequests(api, context.log);
  refuseExpectations(api.server);
  requireHost(api);
  checkAccess(api, access);
  auditChanges(api, context);
  metaRoutes(api, context);
  eventRoutes(api, context);
  hostRoutes(api, context);
  domainRoutes(api, context);
  deviceRoutes(api, context);
  fileRoutes(api, context);
  xenstoreRoutes(api, context);
  debugRoutes(api, context);
  captureRoutes(api, context);
  definitionRoutes(api, context);
  operationRoutes(api, context);
  tokenRoutes(api, context);
  auditRoutes(api, context);
  serveConsoles(api.server, context);
  serveConsoleSockets(api, context);
  consolePageRoutes(api);
  return api;
}
