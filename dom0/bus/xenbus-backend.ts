// The backend half of a split device's life in xenstore, the same for every kind of device: publish features, wait
// for the frontend's details, connect, let go when either side closes, and start over if the frontend comes back.
//
//   frontend   1 Initialising ----------> 3/4 -----------> 5 Closing --> 6 Closed --> 1 (comes back)
//   backend    2 InitWait    connect()--> 4 Connected ---> 5 Closing --> 6 Closed --> 2
//
// The toolstack unplugs by writing online=0 and state=5 to the backend's directory and waits for state 6.
//
// Invariants: one step at a time (hooks may be asynchronous; what changes meanwhile is looked at after); connect()
// and disconnect() alternate, connect() first; after stop() resolves nothing is connected and nothing is written.
import {
  XenbusStateClosed, XenbusStateClosing, XenbusStateConnected, XenbusStateInitialised, XenbusStateInitialising,
  XenbusStateInitWait, XenbusStateUnknown, type XenbusState,
} from '../../hypervisor/public/io/xenbus.ts';
import { domid as asDomid, type Domid } from '../../hypervisor/public/types.ts';
import type { XenStore } from '../xenstore/client.ts';
import type { Backend } from './backend.ts';
import { FrontendDetails } from './frontend.ts';

/** Values for the backend's directory. */
export type Keys = Readonly<Record<string, string | number>>;

export interface BackendHooks {
  /** Opens what the device stands on. @returns features, visible before the frontend starts */
  init(): Keys | Promise<Keys>;
  /** Maps the frontend's ring and serves it. @returns keys that become visible together with state 4 @throws to refuse */
  connect(frontend: FrontendDetails): Keys | Promise<Keys>;
  /** Finishes or drops what is in flight and unmaps everything. Also called after connect() threw. */
  disconnect(): void | Promise<void>;
  /** The device is unplugged for good (closed and offline, or its nodes are gone); its disconnect() is over. */
  removed?(): void;
}

export interface XenbusBackendOptions {
  readonly kind: Backend['kind'];
  readonly store: XenStore;
  /** The backend's directory: /local/domain/0/backend/vbd/5/51712. */
  readonly path: string;
  readonly hooks: BackendHooks;
  /** A line for xl dmesg. */
  readonly log: (line: string) => void;
}

/** A frontend that comes and goes for ever may not fill the log. */
const MAX_LINES = 100;

type Step = () => void | Promise<void>;
const BACKEND_DIR = /^\/local\/domain\/(\d+)\/(backend\/(.+))$/;

export class XenbusBackend implements Backend {
  readonly kind: Backend['kind'];
  readonly name: string;
  readonly #o: XenbusBackendOptions;
  readonly #errorPath: string;
  #frontendPath = '';
  #frontendDomid: Domid = asDomid(0);
  /** As written last. */
  #state: XenbusState = XenbusStateUnknown;
  #connected = false;
  #failed = false;
  #features: Keys | undefined;
  #stopped = false;
  #finished = false;
  #dirty = false;
  #lines = 0;
  #running: Promise<void> | undefined;
  readonly #unwatch: (() => void)[] = [];

  constructor(options: XenbusBackendOptions) {
    const match = BACKEND_DIR.exec(options.path);
    if (!match) throw new Error(`${options.path} is not a backend's directory`);
    this.#o = options;
    this.kind = options.kind;
    this.name = match[3]!;
    this.#errorPath = `/local/domain/${match[1]}/error/${match[2]}/error`;
  }

  get connected(): boolean { return this.#connected; }

  start(): void {
    const { store, path } = this.#o;
    this.#frontendPath = store.read(`${path}/frontend`) ?? '';
    this.#frontendDomid = asDomid(Number(store.read(`${path}/frontend-id`)));
    if (!this.#frontendPath || !Number.isInteger(this.#frontendDomid)) { this.#fail('its directory names no frontend'); return; }
    const look = (): void => this.#look();
    this.#unwatch.push(
      store.watch(`${this.#frontendPath}/state`, 'frontend-state', look),
      store.watch(`${path}/state`, 'backend-state', look),
      store.watch(`${path}/online`, 'backend-online', look),
    );
    this.#look();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const end of this.#unwatch.splice(0)) end();
    await this.#running;
    await this.#disconnect();
  }

  /** Takes steps until nothing is left to do. */
  #look(): void {
    this.#dirty = true;
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    await undefined;
    while (this.#dirty && !this.#stopped) {
      this.#dirty = false;
      try {
        const step = this.#nextStep();
        if (!step) continue;
        await step();
        this.#dirty = true;
      } catch (error) { await this.#giveUp(error); }
    }
    this.#running = undefined;
  }

  #nextStep(): Step | undefined {
    if (this.#finished) return undefined;
    const { store, path } = this.#o, state = this.#state;
    const own = stateOf(store.read(`${path}/state`)), peer = stateOf(store.read(`${this.#frontendPath}/state`));
    const online = store.read(`${path}/online`) === '1';
    const peerGone = peer === XenbusStateClosed || peer === XenbusStateUnknown;
    if (own === XenbusStateUnknown) return () => this.#finish();
    if (own === XenbusStateClosing && (!online || state !== XenbusStateClosing) && !(online && state === XenbusStateUnknown)) return this.#unplugStep(peerGone);
    if (peerGone) return this.#closedStep(peer, online);
    if (this.#failed) return undefined;
    const mayOpen = state === XenbusStateUnknown || (state === XenbusStateClosed && online);
    if (mayOpen) return () => this.#init();
    switch (peer) {
      case XenbusStateInitialising:
      case XenbusStateInitWait:
        // It started anew without having closed: a crash kernel, for one.
        return this.#connected ? () => this.#init() : undefined;
      case XenbusStateInitialised:
      case XenbusStateConnected:
        return state === XenbusStateInitWait ? () => this.#connect() : undefined;
      case XenbusStateClosing:
        return state === XenbusStateInitWait || state === XenbusStateConnected ? () => this.#write({}, XenbusStateClosing) : undefined;
      default:
        return undefined;
    }
  }

  /** The frontend has closed, or its nodes are gone or not there yet. */
  #closedStep(peer: XenbusState, online: boolean): Step | undefined {
    switch (this.#state) {
      case XenbusStateClosed: return online ? undefined : () => this.#finish();
      case XenbusStateUnknown: return online && !this.#failed ? () => this.#init() : () => this.#close(online);
      // Wanted, and nothing has been connected yet: it waits for a frontend to appear.
      case XenbusStateInitWait: return online ? undefined : () => this.#close(online);
      // After a failure the frontend decides when to try again, by closing.
      case XenbusStateClosing: return this.#failed && peer === XenbusStateUnknown && online ? undefined : () => this.#close(online);
      default: return () => this.#close(online);
    }
  }

  /** A frontend that is connected closes itself when it sees state 5; one that is not has nothing to close. */
  #unplugStep(peerGone: boolean): Step | undefined {
    this.#state = XenbusStateClosing;
    return this.#connected && !peerGone ? undefined : () => this.#close(false);
  }

  async #init(): Promise<void> {
    await this.#disconnect();
    this.#features ??= await this.#o.hooks.init();
    if (this.#stopped) return;
    this.#o.store.remove(this.#errorPath);
    this.#write(this.#features, XenbusStateInitWait);
  }

  async #connect(): Promise<void> {
    const { store, hooks } = this.#o;
    const details = store.transaction(t => new FrontendDetails(t, this.#frontendDomid, this.#frontendPath));
    this.#connected = true;
    const keys = await hooks.connect(details);
    if (this.#stopped) return;
    this.#write(keys, XenbusStateConnected);
    this.#log('connected');
  }

  async #close(online: boolean): Promise<void> {
    await this.#disconnect();
    if (this.#stopped) return;
    this.#failed = false;
    this.#write({}, XenbusStateClosed);
    if (!online) await this.#finish();
  }

  #log(what: string): void { if (this.#lines++ < MAX_LINES) this.#o.log(`${this.name}: ${what}`); }

  async #disconnect(): Promise<void> {
    if (!this.#connected) return;
    this.#connected = false;
    try { await this.#o.hooks.disconnect(); } catch (error) { this.#log(`disconnecting failed: ${messageOf(error)}`); }
  }

  /** For good: the toolstack removes the nodes, or has done so. */
  async #finish(): Promise<void> {
    this.#finished = true;
    await this.#disconnect();
    for (const end of this.#unwatch.splice(0)) end();
    try { this.#o.hooks.removed?.(); } catch (error) { this.#log(messageOf(error)); }
  }

  async #giveUp(error: unknown): Promise<void> {
    await this.#disconnect();
    if (!this.#stopped) this.#fail(messageOf(error));
  }

  /** As xenbus_dev_fatal: says why where the toolstack and people look, and closes. */
  #fail(why: string): void {
    this.#failed = true;
    const text = printableLine(why);
    this.#log(text);
    try {
      this.#o.store.write(this.#errorPath, `-22 ${text}`);
      this.#write({}, XenbusStateClosing);
    } catch (error) { this.#log(messageOf(error)); }
    this.#dirty = true;
  }

  /** All at once, and nothing if the toolstack has removed the directory meanwhile. */
  #write(keys: Keys, state: XenbusState): void {
    const { store, path } = this.#o, opening = state < XenbusStateClosing;
    const written = store.transaction(t => {
      const now = stateOf(t.read(`${path}/state`));
      // Unplugged while it was about to open: that is for the next step to see.
      if (now === XenbusStateUnknown || (opening && now === XenbusStateClosing && this.#state !== XenbusStateClosing)) return false;
      for (const [key, value] of Object.entries(keys)) t.write(`${path}/${key}`, String(value));
      if (now !== state) t.write(`${path}/state`, String(state));
      return true;
    });
    if (written) this.#state = state;
  }
}

/** Of a node that the guest may write: anything unknown counts as no state. */
function stateOf(text: string | undefined): XenbusState {
  return text !== undefined && /^[1-8]$/.test(text) ? Number(text) as XenbusState : XenbusStateUnknown;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
const printableLine = (text: string): string => text.slice(0, 512).replace(/[^\x20-\x7e]/g, '?');
