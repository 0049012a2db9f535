// netback: the backend of virtual interfaces. A Vif connects one frontend to the switch of its bridge; dom0/bus
// follows the states. Its port is in the switch while both ends are connected.
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { Domid } from '../../hypervisor/public/types.ts';
import type { FrontendDetails } from '../bus/frontend.ts';
import { XenbusBackend, type Keys } from '../bus/xenbus-backend.ts';
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
    const device = new Vif(this.#near, this.#switchOf(vif), vif, dom, backendPath);
    device.start();
    return { removed: device.removed, close: () => device.stop(), info: () => ({ ...device.metrics }) };
  }

  #switchOf(vif: VifConfig): Switch {
    const name = vif.bridge ?? DEFAULT_BRIDGE, found = this.#near.bridges.find(name);
    if (!found) throw new ToolstackError('bad-vif', `Could not find bridge device ${name}: start the host with --bridge ${name}=user`);
    return found;
  }
}

export class Vif implements SwitchPort {
  readonly name: string;
  readonly metrics: NetbackMetrics = newMetrics();
  /** Resolves when the device has been unplugged for good. */
  readonly removed: Promise<void>;
  readonly #near: NetbackNeighbours;
  readonly #switch: Switch;
  readonly #config: VifConfig;
  readonly #dom: Domid;
  readonly #backend: XenbusBackend;
  readonly #multicast = new MulticastFilter();
  #link: Link | undefined;
  #attachment: Attachment | undefined;
  #unwatch: (() => void) | undefined;
  #complaints = 0;

  /** @param path the backend's directory in xenstore */
  constructor(near: NetbackNeighbours, bridge: Switch, config: VifConfig, dom: Domid, path: string) {
    this.#near = near; this.#switch = bridge; this.#config = config; this.#dom = dom;
    this.name = config.vifname ?? `vif${dom}.${path.slice(path.lastIndexOf('/') + 1)}`;
    let removed = (): void => {};
    this.removed = new Promise(resolve => { removed = resolve; });
    this.#backend = new XenbusBackend({
      kind: 'vif', store: near.store, path, log: line => near.log(line),
      hooks: { init: () => this.#features(), connect: front => this.#connect(front), disconnect: () => this.#disconnect(), removed },
    });
  }

  start(): void { this.#backend.start(); }
  /** Lets go of the rings, leaves the switch. */
  stop(): Promise<void> { return this.#backend.stop(); }

  // ---- as a port of the switch
  abilities(): NonNullable<Link['abilities']> { return this.#link?.abilities ?? { blankChecksum: true, gsoV4: true, gsoV6: true }; }
  deliver(frame: Frame): void { if (this.#multicast.passes(frame.bytes)) this.#link?.deliver(frame); }
  room(): number { return this.#link?.room ?? 0; }

  #connect(front: FrontendDetails): Keys {
    const { hypercalls, store } = this.#near, { rate } = this.#config;
    const broken = (what: string): void => { this.#complain(`${what}: the interface is shut down until the guest connects anew`); this.#drop(); };
    this.#link = new Link({
      dom: this.#dom, hypercalls, metrics: this.metrics, credit: rate && new Credit(rate), multicast: this.#multicast,
      send: frame => this.#attachment?.send(frame), roomGrew: () => this.#attachment?.roomGrew(), complain: what => this.#complain(what), broken,
    }, front);
    this.#attachment = this.#switch.attach(this, this.#portOptions());
    const path = `${front.path}/request-multicast-control`;
    this.#unwatch = store.watch(path, 'multicast-control', () => { this.#multicast.enabled = store.read(path) === '1'; });
    return {};
  }

  #disconnect(): void {
    this.#drop();
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  #drop(): void {
    this.#attachment?.detach();
    this.#attachment = undefined;
    this.#link?.close();
    this.#link = undefined;
  }

  #portOptions(): PortOptions {
    const { vlan, antispoof, mac } = this.#config;
    return { ...(vlan === undefined ? {} : { vlan: parseVlan(vlan) ?? {} }), ...(antispoof && mac ? { allowedMacs: [mac] } : {}) };
  }

  #features(): Keys {
    return {
      'feature-sg': 1, 'feature-gso-tcpv4': 1, 'feature-gso-tcpv6': 1, 'feature-ipv6-csum-offload': 1, 'feature-rx-copy': 1, 'feature-rx-flip': 0,
      'feature-multicast-control': 1, 'feature-dynamic-multicast-control': 1, 'feature-split-event-channels': 1,
      'multi-queue-max-queues': MAX_QUEUES, 'feature-ctrl-ring': 1, 'hotplug-status': 'connected',
    };
  }

  #complain(what: string): void {
    if (this.#complaints++ < MAX_COMPLAINTS) this.#near.log(`${this.#backend.name}: ${what}`);
  }
}
