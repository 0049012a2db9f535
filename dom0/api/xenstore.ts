// /v1/xenstore: nodes as Dom0 sees them, and watches as server-sent events.
import type { FastifyInstance } from 'fastify';
import { XenStoreError, type XenStore } from '../xenstore/client.ts';
import { CONTRACT } from './contract.ts';
import type { StoreNodeView } from './devices-contract.ts';
import { BadRequest } from './problem.ts';
import { serve } from './route.ts';
import type { ApiContext } from './server.ts';

const MAX_WATCHES = 256, MAX_BACKLOG_BYTES = 256 * 1024, ALIVE_MS = 15_000;

export function xenstoreRoutes(api: FastifyInstance, { xenstore: store }: ApiContext): void {
  if (!store) return;
  let watches = 0;
  serve(api, CONTRACT.readStore, ({ query: { path } }) => nodeOf(store, path));
  serve(api, CONTRACT.writeStore, ({ query: { path }, body: { value, permissions } }) => asked(() => store.transaction(t => {
    t.write(path, value);
    if (permissions) t.setPerms(path, permissions);
    return nodeOf(t, path);
  })));
  serve(api, CONTRACT.removeStore, ({ query: { path } }) => {
    nodeOf(store, path);
    asked(() => store.remove(path));
  });
  serve(api, CONTRACT.watchStore, ({ query: { path }, reply }) => {
    if (watches >= MAX_WATCHES) throw new BadRequest('too-many-readers', `${MAX_WATCHES} watches are there already: try again later`);
    const { raw } = reply;
    const end = asked(() => store.watch(path, 'api', changed => {
      // Read when it is told: a change that was overtaken by another is seen as that one.
      raw.write(`event: changed\ndata: ${JSON.stringify({ path: changed, value: store.read(changed) ?? null })}\n\n`);
      if (raw.writableLength > MAX_BACKLOG_BYTES) raw.destroy();
    }));
    watches++;
    reply.hijack();
    raw.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
    const alive = setInterval(() => raw.write(': alive\n\n'), ALIVE_MS).unref();
    raw.on('error', () => raw.destroy());
    raw.on('close', () => { watches--; clearInterval(alive); end(); });
    return '';
  });
}

function nodeOf(store: XenStore, path: string): StoreNodeView {
  return asked(() => {
    const value = store.read(path);
    if (value === undefined) throw new BadRequest('no-such-node', `there is no ${path} in xenstore`);
    return { path, value, permissions: store.getPerms(path), children: store.list(path) };
  });
}

/** What xenstore refuses is the caller's mistake. */
function asked<T>(run: () => T): T {
  try { return run(); } catch (error) {
    throw error instanceof XenStoreError ? new BadRequest('bad-path', error.message) : error;
  }
}
