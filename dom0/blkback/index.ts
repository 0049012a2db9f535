// blkback: the backend of virtual disks. A Vbd gives a disk to one frontend: it publishes what the disk can do,
// and runs a ring while both ends are connected (dom0/bus follows the states).
// Invariant: the ring's pages are mapped and its event channel is bound exactly while #link is set.
import type { Dom0Hypercalls, GrantMapping } from '../../hypervisor/public/dom0-hypercalls.ts';
import { REQUEST_BYTES, SECTOR_BYTES, VDISK_CDROM, VDISK_READONLY } from '../../hypervisor/public/io/blkif.ts';
import { evtchnPort, type Domid, type EvtchnPort } from '../../hypervisor/public/types.ts';
import { FrontendError, mapRing, printable, type FrontendDetails } from '../bus/frontend.ts';
import { BackRing } from '../bus/ring.ts';
import { XenbusBackend, type Keys } from '../bus/xenbus-backend.ts';
import { boundLog } from '../log-context.ts';
import type { DiskConfig } from '../toolstack/config/schema.ts';
import { messageOf, ToolstackError } from '../toolstack/errors.ts';
import type { DiskBackend, OpenDisk } from '../toolstack/ports.ts';
import type { XenStore } from '../xenstore/client.ts';
import { ImageDisk, type Disk } from './device.ts';
import { newMetrics, type BlkbackMetrics } from './metrics.ts';
import { MAX_INDIRECT_SEGMENTS } from './request.ts';
import { BlkRing } from './ring.ts';

export const MAX_RING_PAGE_ORDER = 4;

export interface BlkbackNeighbours {
  readonly hypercalls: Dom0Hypercalls; readonly store: XenStore;
  /** A line for xl dmesg. */
  log(line: string): void;
}

export class Blkback implements DiskBackend {
  readonly #near: BlkbackNeighbours;
  constructor(near: BlkbackNeighbours) { this.#near = near; }

  async open(config: DiskConfig, owner: string): Promise<OpenDisk> {
    const disk = await ImageDisk.open({ path: config.target, readOnly: config.readOnly, discard: config.discard, owner })
      .catch(error => { throw new ToolstackError('bad-disk', `Disk vdev=${config.vdev} ${messageOf(error)}`, { cause: error }); });
    let vbd: Vbd | undefined, removed = (): void => {};
    const gone = new Promise<void>(resolve => { removed = resolve; });
    return {
      removed: gone,
      attach: (dom, _devid, _frontend, backend) => { vbd = new Vbd(this.#near, disk, dom, backend, config.cdrom, removed); vbd.start(); },
      close: async () => { await vbd?.stop(); await disk.close(); },
      info: () => ({ ...(vbd?.metrics() ?? newMetrics()) }),
    };
  }
}

interface Link { readonly ring: BlkRing; readonly pages: readonly GrantMapping[]; readonly port: EvtchnPort }

export class Vbd {
  readonly #near: BlkbackNeighbours; readonly #disk: Disk; readonly #dom: Domid; readonly #cdrom: boolean;
  readonly #backend: XenbusBackend;
  readonly #log: (line: string) => void;
  #link: Link | undefined;
  /** Counters of rings before the present one. */
  #past: BlkbackMetrics = newMetrics();

  /** @param path the backend's directory in xenstore @param removed the device has been unplugged for good */
  constructor(near: BlkbackNeighbours, disk: Disk, dom: Domid, path: string, cdrom: boolean, removed: () => void = () => {}) {
    this.#near = near; this.#disk = disk; this.#dom = dom; this.#cdrom = cdrom;
    this.#log = boundLog(line => near.log(line), { domid: dom });
    this.#backend = new XenbusBackend({
      kind: 'vbd', store: near.store, path, log: this.#log,
      hooks: { init: () => this.#features(), connect: front => this.#connect(front), disconnect: () => this.#disconnect(), removed },
    });
  }

  start(): void { this.#backend.start(); }
  /** Finishes requests in flight, unmaps, ends. */
  stop(): Promise<void> { return this.#backend.stop(); }

  metrics(): BlkbackMetrics {
    const now = this.#link?.ring.metrics ?? newMetrics();
    const sum = Object.fromEntries(Object.entries(now).map(([key, value]) => [key, value + this.#past[key as keyof BlkbackMetrics]]));
    return { ...(sum as unknown as BlkbackMetrics), in_flight: now.in_flight, persistent_grants: now.persistent_grants };
  }

  #connect(front: FrontendDetails): Keys {
    const { hypercalls } = this.#near, dom = this.#dom;
    const protocol = front.get('protocol');
    if (protocol !== undefined && protocol !== 'x86_64-abi') throw new FrontendError(`ring protocol ${printable(protocol)} is not supported`);
    const pages = mapRing(hypercalls, dom, front.ringRefs({ maxOrder: MAX_RING_PAGE_ORDER }));
    try {
      const shared = new BackRing(pages.map(page => page.bytes), REQUEST_BYTES);
      const remote = front.number('event-channel'), bound = hypercalls.evtchnBindInterdomain(dom, evtchnPort(remote));
      if (bound < 0) throw new FrontendError(`event channel ${remote} cannot be bound (error ${bound})`);
      const port = bound as EvtchnPort;
      const ring = new BlkRing({
        ring: shared, disk: this.#disk, dom, persistent: front.flag('feature-persistent'), hypercalls,
        notify: () => { hypercalls.evtchnSend(port); }, complain: what => this.#log(`${this.#backend.name}: ${what}`),
      });
      this.#link = { ring, pages, port };
      hypercalls.onEvent(port, () => ring.kick());
      // Requests may have been waiting since before the event channel was bound, and responses of a backend before this one.
      queueMicrotask(() => { ring.kick(); hypercalls.evtchnSend(port); });
    } catch (error) {
      for (const page of pages) hypercalls.gnttabUnmap(page);
      throw error;
    }
    return this.#properties();
  }

  async #disconnect(): Promise<void> {
    const link = this.#link;
    if (!link) return;
    this.#near.hypercalls.evtchnClose(link.port);
    await link.ring.stop();
    for (const page of link.pages) this.#near.hypercalls.gnttabUnmap(page);
    this.#past = this.metrics();
    this.#link = undefined;
  }

  #features(): Keys {
    const { discard, readOnly, discardGranularityBytes } = this.#disk;
    return {
      'max-ring-page-order': MAX_RING_PAGE_ORDER, 'multi-queue-max-queues': 1, 'feature-max-indirect-segments': MAX_INDIRECT_SEGMENTS,
      'feature-persistent': 1, 'feature-flush-cache': readOnly ? 0 : 1, 'feature-barrier': readOnly ? 0 : 1, 'hotplug-status': 'connected',
      ...(discard ? { 'feature-discard': 1, 'discard-granularity': discardGranularityBytes, 'discard-alignment': 0, 'discard-secure': 0 } : {}),
    };
  }

  #properties(): Keys {
    const info = (this.#disk.readOnly ? VDISK_READONLY : 0) | (this.#cdrom ? VDISK_CDROM : 0);
    return { sectors: this.#disk.sectors, info, 'sector-size': SECTOR_BYTES, 'physical-sector-size': this.#disk.physicalSectorBytes };
  }
}
