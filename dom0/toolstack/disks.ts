// Plugging virtual disks in and out, at creation and while the guest runs.
import type { Domid } from '../../hypervisor/public/types.ts';
import type { DiskConfig } from './config/schema.ts';
import { vdevNumber } from './config/vdev.ts';
import { checkConfig } from './create.ts';
import type { AttachedDisk, DomainRecord } from './domain-record.ts';
import { ToolstackError } from './errors.ts';
import type { DiskBackend, OpenDisk, Store } from './ports.ts';
import { libxlPath, vbdBackendPath, vbdFrontendPath, vbdNodes, writeNodes } from './store-tree.ts';

export interface DiskNeighbours { readonly store: Store; readonly disks: DiskBackend }

/** How long a guest may take to let go of a disk before it is taken. */
const UNPLUG_MS = 10_000;
/** As many as one letter of xvda ... xvdz names. */
const MAX_DISKS = 26;

/** Writes the nodes and serves the disk. */
async function plugDisk(store: Store, dom: Domid, devid: number, config: DiskConfig, disk: OpenDisk): Promise<void> {
  await writeNodes(store, vbdNodes(dom, devid, config));
  await disk.attach(dom, devid, vbdFrontendPath(dom, devid), vbdBackendPath(dom, devid));
}

/** Adds a disk to a domain that runs. @throws ToolstackError; nothing is left then */
export async function attachDisk(near: DiskNeighbours, record: DomainRecord, config: DiskConfig): Promise<void> {
  const { config: whole, domid } = record, devid = vdevNumber(config.vdev);
  if (devid === undefined) throw new ToolstackError('bad-disk', `Invalid or unsupported virtual disk identifier ${config.vdev}: use xvda, xvdb, ...`);
  if (config.format === 'empty') throw new ToolstackError('bad-disk', `Disk vdev=${config.vdev} has no target: name an image`);
  if (record.disks.length >= MAX_DISKS) throw new ToolstackError('bad-disk', `domain ${domid} has ${MAX_DISKS} disks already`);
  if (record.disks.some(d => d.devid === devid)) throw new ToolstackError('bad-disk', `Domain ${domid} has a disk ${config.vdev} already: give another vdev`);
  checkConfig({ ...whole, disks: [config] });
  const nothing: OpenDisk = { removed: Promise.resolve(), attach: () => {}, close: async () => {}, info: () => ({}) };
  const place: AttachedDisk = { devid, config, disk: nothing };
  record.disks = [...record.disks, place];
  let open: OpenDisk | undefined;
  try {
    open = await near.disks.open(config, `domain "${whole.name}" as ${config.vdev}`);
    if (record.state !== 'running') throw new ToolstackError('domain-not-running', `domain ${domid} ended meanwhile`);
    await plugDisk(near.store, domid, devid, config, open);
    if (record.state !== 'running') throw new ToolstackError('domain-not-running', `domain ${domid} ended meanwhile`);
    const plugged = { devid, config, disk: open };
    record.disks = record.disks.map(d => d === place ? plugged : d);
    remember(record);
  } catch (error) {
    record.disks = record.disks.filter(d => d !== place);
    remember(record);
    await open?.close();
    if (record.state === 'running') await removeDiskNodes(near.store, domid, devid);
    throw error;
  }
}

/** Asks the guest to let go, and takes the disk when it does not. @param which vdev or devid @throws ToolstackError */
export async function detachDisk({ store }: DiskNeighbours, record: DomainRecord, which: string): Promise<void> {
  const devid = vdevNumber(which) ?? (/^\d{1,9}$/.test(which) ? Number(which) : -1), found = record.disks.find(d => d.devid === devid);
  if (!found) throw new ToolstackError('device-not-found', `Device ${which} not connected.`);
  const back = vbdBackendPath(record.domid, devid);
  await store.write(`${back}/online`, '0');
  await store.write(`${back}/state`, '5');
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([found.disk.removed, new Promise<void>(resolve => { timer = setTimeout(resolve, UNPLUG_MS); })]);
  clearTimeout(timer);
  await found.disk.close();
  if (!record.disks.includes(found)) return;
  await removeDiskNodes(store, record.domid, devid);
  record.disks = record.disks.filter(d => d !== found);
  remember(record);
}

/** As libxl: what was plugged in or out stays so when the guest reboots. */
function remember(record: DomainRecord): void { record.config = { ...record.config, disks: record.disks.map(d => d.config) }; }

async function removeDiskNodes(store: Store, dom: number, devid: number): Promise<void> {
  for (const path of [vbdFrontendPath(dom, devid), vbdBackendPath(dom, devid), `${libxlPath(dom)}/device/vbd/${devid}`]) await store.remove(path);
}
