// netback: the backend of virtual interfaces. A Vif connects one frontend to the switch of its bridge; dom0/bus
// follows the states. Its port is in the switch while both ends are connected.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import { XenbusStateConnected } from '../../hypervisor/public/io/xenbus.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import type { FrontendDetails } from '../bus/frontend.ts';
import { XenbusBackend, type Keys } from '../bus/xenbus-backend.ts';
import { boundLog } from '../log-context.ts';
import type { Bridges } from '../switch/bridges.ts';
import type { Attachment, Frame, PortOptions, SwitchPort } from '../switch/port.ts';
import type { Switch } from '../switch/switch.ts';
import type { VifConfig } from '../toolstack/config/schema.ts';
import { parseVlan } from '../toolstack/config/vif-spec.ts';
import { ToolstackError } from '../toolstack/errors.ts';
import type { NetBackend, OpenVif } from '../toolstack/ports.ts';
import type { XenStore } from '../xenstore/client.ts';
import { Credit } from './credit.ts';
import { Link, MAX_QUEUES } from './link.ts';
import { newMetrics, type NetbackMetrics } from './metrics.ts';
import { MulticastFilter } from './multicast.ts';

export const DEFAULT_BRIDGE = 'xenbr0';
const MAX_COMPLAINTS = 10;
/** Of an interface's port in its switch, whatever `vifname` says: two may say the same. */
export const vifName = (dom: number, devid: number | string): string => `vif${dom}.${devid}`;

export interface NetbackNeighbours {
  readonly hypercalls: Dom0Hypercalls; readonly store: XenStore; readonly bridges: Bridges;
  /** A line for xl dmesg. */
  log(line: string): void;
}

export class Netback implements NetBackend {
  readonly #near: NetbackNeighbours;
  constructor(near: NetbackNeighbours) { this.#near = near; }

  check(vif: VifConfig): void { this.#switchOf(vif); }

  attach(vif: VifConfig, dom: Domid, backendPath: string): OpenVif {
    const metrics = newMetrics();
    let removed = (): void => {};
    const gone = new Promise<void>(resolve => { removed = resolve; });
    const begin = (): Vif => {
      const device = new Vif(this.#near, { bridge: this.#switchOf(vif), config: vif, dom, path: backendPath, metrics, removed });
      device.start();
      return device;
    };
    let device = begin();
    return {
      removed: gone, close: () => device.stop(), info: () => ({ ...metrics }),
      restart: async () => { await device.stop(); device = begin(); },
    };
  }

  #switchOf(vif: VifConfig): Switch {
    const name = vif.bridge ?? DEFAULT_BRIDGE, found = this.#near.bridges.find(name);
    if (!found) throw new ToolstackError('bad-vif', `Could not find bridge device ${name}: start the host with --bridge ${name}=user`);
    return found;
  }
}

export interface VifOptions {
  readonly bridge: Switch; readonly config: VifConfig; readonly dom: Domid;
  /** The backend's directory in xenstore. */
  readonly path: string;
  readonly metrics: NetbackMetrics;
  /** The device has been unplugged for good. */
  removed(): void;
}

export class Vif implements SwitchPort {
  readonly name: string;
  readonly #near: NetbackNeighbours;
  readonly #o: VifOptions;
  readonly #backend: XenbusBackend;
  readonly #log: (line: string) => void;
  readonly #multicast = new MulticastFilter();
  #link: Link | undefined;
  #attachment: Attachment | undefined;
  #unwatch: (() => void) | undefined;
  #unwatchCarrier: (() => void) | undefined;
  /** The toolstack's `carrier`: without it the guest's frames and those for it are dropped. */
  #carrier = true;
  #complaints = 0;

  constructor(near: NetbackNeighbours, options: VifOptions) {
    const { dom, path } = options;
    this.#near = near; this.#o = options;
    this.name = vifName(dom, path.slice(path.lastIndexOf('/') + 1));
    this.#log = boundLog(line => near.log(line), { domid: dom });
    this.#backend = new XenbusBackend({
      kind: 'vif', store: near.store, path, log: this.#log,
      hooks: { init: () => this.#features(), connect: front => this.#connect(front), disconnect: () => this.#disconnect(), removed: () => options.removed() },
    });
  }

  start(): void {
    const { store } = this.#near, path = `${this.#o.path}/carrier`;
    this.#unwatchCarrier = store.watch(path, 'carrier', () => {
      this.#carrier = store.read(path) !== '0';
      this.#attach();
    });
    this.#backend.start();
  }
  /** Lets go of the rings, leaves the switch. */
  stop(): Promise<void> {
    this.#unwatchCarrier?.();
    return this.#backend.stop();
  }

  // ---- as a port of the switch
  abilities(): NonNullable<Link['abilities']> { return this.#link?.abilities ?? { blankChecksum: true, gsoV4: true, gsoV6: true }; }
  deliver(frame: Frame): void { if (this.#multicast.passes(frame.bytes)) this.#link?.deliver(frame); }
  room(): number { return this.#link?.room ?? 0; }

  #connect(front: FrontendDetails): Keys {
    const { hypercalls, store } = this.#near, { dom, metrics, config: { rate } } = this.#o;
    const broken = (what: string): void => { this.#complain(`${what}: the interface is shut down until the guest connects anew`); this.#drop(); };
    this.#link = new Link({
      dom, hypercalls, metrics, credit: rate && new Credit(rate), multicast: this.#multicast,
      send: frame => this.#attachment?.send(frame), roomGrew: () => this.#attachment?.roomGrew(), complain: what => this.#complain(what), broken,
    }, front);
    this.#attach();
    const path = `${front.path}/request-multicast-control`;
    this.#unwatch = store.watch(path, 'multicast-control', () => { this.#multicast.enabled = store.read(path) === '1'; });
    return {};
  }

  /** In the switch it is while there is a connection and a carrier. */
  #attach(): void {
    if (this.#link && this.#carrier) { this.#attachment ??= this.#o.bridge.attach(this, this.#portOptions()); return; }
    this.#attachment?.detach();
    this.#attachment = undefined;
  }

  #disconnect(): void {
    this.#drop();
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.#multicast.begin(false);
  }

  #drop(): void {
    this.#link?.close();
    this.#link = undefined;
    this.#attach();
  }

  #portOptions(): PortOptions {
    const { vlan, antispoof, mac } = this.#o.config;
    return { ...(vlan === undefined ? {} : { vlan: parseVlan(vlan) ?? {} }), ...(antispoof && mac ? { allowedMacs: [mac] } : {}) };
  }

  #features(): Keys {
    const { store } = this.#near, frontend = store.read(`${this.#o.path}/frontend`);
    this.#multicast.begin(store.read(`${frontend}/state`) === String(XenbusStateConnected));
    return {
      'feature-sg': 1, 'feature-gso-tcpv4': 1, 'feature-gso-tcpv6': 1, 'feature-ipv6-csum-offload': 1, 'feature-rx-copy': 1, 'feature-rx-flip': 0,
      'feature-multicast-control': 1, 'feature-dynamic-multicast-control': 1, 'feature-split-event-channels': 1,
      'multi-queue-max-queues': MAX_QUEUES, 'feature-ctrl-ring': 1, 'hotplug-status': 'connected',
    };
  }

  #complain(what: string): void {
    if (this.#complaints++ < MAX_COMPLAINTS) this.#log(`${this.#backend.name}: ${what}`);
  }
}
