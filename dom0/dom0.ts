// The control domain, put together: xenstore, consoles and blkback below, the toolstack on them, the API on top.
import { chmod, rm } from 'node:fs/promises';
import type { Dom0Hypercalls } from '../hypervisor/public/dom0-hypercalls.ts';
import { runFolder } from './api/run-folder.ts';
import { Access } from './api/access.ts';
import { listenTcp, type TcpListener } from './api/listen.ts';
import { problemOf } from './api/problem.ts';
import { createApi } from './api/server.ts';
import { Blkback } from './blkback/index.ts';
import { DebugServices } from './debug/index.ts';
import { Management } from './management/index.ts';
import { stateFolderAt } from './management/state-folder.ts';
import { Netback } from './netback/index.ts';
import type { Dom0Message, Dom0Options } from './options.ts';
import { Bridges } from './switch/bridges.ts';
import { Uplinks } from './uplink/uplinks.ts';
import { hostView } from './toolstack/host-info.ts';
import { createImageLoader } from './toolstack/image-loader.ts';
import { DomainMemory } from './toolstack/domain-memory.ts';
import type { Builder, Consoles, Log } from './toolstack/ports.ts';
import { StoreAdapter, type RingServer } from './toolstack/store-adapter.ts';
import { dom0Nodes, writeNodes } from './toolstack/store-tree.ts';
import { Toolstack } from './toolstack/toolstack.ts';
import type { XenStore } from './xenstore/client.ts';

export interface Dom0Parts {
  readonly hypercalls: Dom0Hypercalls; readonly store: XenStore; readonly xenstored: RingServer; readonly consoles: Consoles; readonly log: Log;
  readonly builder?: Builder;
  /** What a Dom0 before this one knew of its domains. */
  readonly memory?: DomainMemory;
}

/** How long guests have to power off when the host ends. */
const GRACE_MS = 30_000;
const KIB = 1024;

/** Resolves once the API answers. */
export async function startDom0(parts: Dom0Parts, options: Dom0Options, post: (message: Dom0Message) => void): Promise<void> {
  const { hypercalls, consoles, log } = parts;
  const store = new StoreAdapter(parts.store, parts.xenstored, hypercalls);
  await writeNodes(store, dom0Nodes(Math.round(process.memoryUsage.rss() / KIB)));
  const tell = (line: string): void => { log.info({}, line); hypercalls.log(line); };
  const bridges = new Bridges(options.bridges.map(bridge => bridge.name));
  const uplinks = new Uplinks(parts.store);
  await uplinks.open(bridges, options.bridges, line => { log.warn({}, line); hypercalls.log(line); });
  const toolstack = new Toolstack({
    hypercalls, store, consoles, log, builder: parts.builder ?? createImageLoader(hypercalls),
    disks: new Blkback({ hypercalls, store: parts.store, log: tell }),
    networks: uplinks.watching(new Netback({ hypercalls, store: parts.store, bridges, log: tell })), nowMs: () => Date.now(),
    ...(parts.memory ? { memory: parts.memory } : {}),
  });
  const debug = new DebugServices(hypercalls, options.runDir);
  const state = stateFolderAt(options.stateDir);
  const management = new Management({ toolstack, log, nowMs: () => Date.now(), problemOf, folder: state, hostLife: options.hostLife, roots: options.roots });
  const access = new Access(management);
  const api = createApi({ toolstack, management, consoles, hypercalls, log, xenstore: parts.store, debug, bridges, host: {
    view: () => hostView(hypercalls, options.hostPid),
    dmesg: clear => hypercalls.readConsole(clear),
    debugKeys: keys => { for (const key of keys) hypercalls.debugKey(key); },
    shutdown: (now, ifIdle) => {
      if (ifIdle && !toolstack.idle) return false;
      void end(now);
      return true;
    },
  } }, access);
  let ending = false, tcp: TcpListener | undefined;
  const end = async (now: boolean): Promise<void> => {
    if (ending && !now) return;
    ending = true;
    management.managed.close();
    await (now ? toolstack.destroyAll() : toolstack.shutdownAll(GRACE_MS));
    debug.closeAll();
    uplinks.close();
    tcp?.close();
    await api.close();
    post({ kind: 'finished' });
  };
  await toolstack.adopt();
  const { socket } = runFolder({ XENOLITH_RUNDIR: options.runDir });
  // One that crashed has left its socket behind; the host's lock says that nobody else is there.
  await rm(socket, { force: true });
  await api.listen({ path: socket });
  await chmod(socket, 0o600);
  tcp = options.listen && await listenTcp(api, { access, management }, options.listen, state);
  log.info({ socket, ...(tcp ? { url: tcp.url } : {}) }, 'ready');
  post({ kind: 'ready', ...(tcp ? { tcp: { url: tcp.url, fingerprint: tcp.fingerprint } } : {}) });
  void management.resume();
}
