// /v1/events: changes of state as server-sent events.
import type { ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { streaming } from './client-error.ts';
import { CONTRACT } from './contract.ts';
import { EventLog, type ApiEvent } from './event-log.ts';
import { BadRequest } from './problem.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

const MAX_READERS = 2000;
/** A reader this far behind is dropped; it resumes by the last id it saw. */
const MAX_BACKLOG_BYTES = 1024 * 1024;
/** Changes that guests make by themselves are looked for so often while somebody listens, and connections kept alive. */
const LOOK_MS = 500, ALIVE_MS = 15_000;

const DEVICE_STATE = /\/(?:device|backend)\/(?:vbd|vif)\/[\d/]+\/(?:state|carrier|addresses)$/;

/** Made once for all readers. */
const frames = new WeakMap<readonly ApiEvent[], Buffer>();
function frameOf(events: readonly ApiEvent[]): Buffer {
  let bytes = frames.get(events);
  if (!bytes) frames.set(events, bytes = Buffer.from(events.map(({ id, type, data }) => `id: ${id}\nevent: ${type}\ndata: ${JSON.stringify(data ?? {})}\n\n`).join('')));
  return bytes;
}

export function eventRoutes(api: FastifyInstance, { toolstack, hypercalls, management, xenstore }: ApiContext): void {
  const log = new EventLog(() => toolstack.list(), Date.now());
  const look = (): void => { void log.refresh().catch(() => {}); };
  const looking = setInterval(() => { if (log.readers > 0) look(); }, LOOK_MS).unref();
  const open = new Set<ServerResponse>(), keeping = setInterval(() => { for (const raw of open) raw.write(': alive\n\n'); }, ALIVE_MS).unref();
  const unhear = management.onEvent(event => log.publish(event));
  api.addHook('onClose', async () => { clearInterval(looking); clearInterval(keeping); unhear(); });
  hypercalls?.onDomainEvent(look);
  toolstack.onChange = view => { if (view) void view.then(each => log.changed(each), () => {}); else look(); };
  // States of devices are told by the guests' drivers in xenstore.
  const unwatch = xenstore?.watch('/local/domain', 'api-events', path => { if (DEVICE_STATE.test(path)) look(); });
  if (unwatch) api.addHook('onClose', async () => unwatch());
  look();
  serve(api, CONTRACT.events, async ({ request, reply }) => {
    if (log.readers >= MAX_READERS) throw new BadRequest('too-many-readers', `${MAX_READERS} readers of events are there already: try again later`);
    await log.refresh();
    reply.hijack();
    streaming.add(request.raw.socket);
    const { raw } = reply, since = request.headers['last-event-id'];
    // The connection's end is the body's: one write for each event, where chunks would take three.
    raw.removeHeader('transfer-encoding');
    raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', connection: 'close' });
    raw.write(': hello\n\n');
    const end = log.subscribe(Array.isArray(since) ? since[0] : since, events => {
      // To the connection itself: the response adds nothing, and its way there costs as much as the write. It has none yet
      // behind another answer that the connection still waits for.
      (raw.socket ?? raw).write(frameOf(events));
      if (raw.writableLength > MAX_BACKLOG_BYTES) raw.destroy();
    });
    open.add(raw);
    raw.on('error', () => raw.destroy());
    raw.on('close', () => { open.delete(raw); end(); });
    return '';
  });
}
