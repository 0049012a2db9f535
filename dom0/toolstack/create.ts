// From a configuration to a running domain. Each step that makes something adds its undoing to one roll-back list,
// so a failed create leaves nothing behind.
import { domid as asDomid, type Domid, type EvtchnPort } from '../../hypervisor/public/types.ts';
import type { Dom0Hypercalls } from '../../hypervisor/public/dom0-hypercalls.ts';
import type { DomainConfig } from './config/schema.ts';
import { vdevNumber } from './config/vdev.ts';
import type { AttachedDisk, AttachedVif, DomainRecord } from './domain-record.ts';
import { checked, messageOf, ToolstackError } from './errors.ts';
import type { DomainMemory } from './domain-memory.ts';
import type { Builder, Consoles, DiskBackend, Log, NetBackend, OpenDisk, Store } from './ports.ts';
import { Rollback } from './rollback.ts';
import type { Watch } from './watch.ts';
import { domainNodes, domainRoots, ringNodes, vbdBackendPath, vbdFrontendPath, vbdNodes, writeNodes } from './store-tree.ts';
import { checkVifs, configsOf, plugVif } from './vifs.ts';

export interface Neighbours {
  readonly hypercalls: Dom0Hypercalls; readonly store: Store; readonly consoles: Consoles;
  readonly builder: Builder; readonly disks: DiskBackend; readonly networks: NetBackend; readonly log: Log;
  readonly nowMs: () => number;
  /** Kept over a crash of Dom0. */
  readonly memory?: DomainMemory;
}

const DOM0 = asDomid(0);
const MAX_MEMORY_KIB = 4 * 1024 * 1024;
const MIB = 1024;
/** That a watcher is told of. */
const STEPS = 4;

/** @throws ToolstackError; nothing is left behind */
export async function createDomain(near: Neighbours, config: DomainConfig, watch: Watch = {}): Promise<DomainRecord> {
  checkConfig(config);
  const rollback = new Rollback();
  try {
    const record = await build(near, config, rollback, watch);
    watch.signal?.throwIfAborted();
    rollback.commit();
    return record;
  } catch (error) {
    for (const failure of await rollback.run()) near.log.error({ domain: config.name, failure }, 'could not undo a step of a failed create');
    throw error instanceof ToolstackError ? error : new ToolstackError('build-failed', `cannot build domain "${config.name}": ${messageOf(error)}`, { cause: error });
  }
}

/** What can be said without touching anything. */
export function checkConfig(config: DomainConfig): void {
  if (/[/\x00-\x1f\x7f]/.test(config.name)) throw new ToolstackError('bad-name', config.name.includes('/')
    ? `Domain name "${config.name}" contains a slash: choose a name without` : 'Domain name contains a control character: choose a name without');
  if (config.memoryKib === 0) throw new ToolstackError('bad-memory', 'Out of memory: memory is 0, a Linux guest needs 64 MiB or more');
  if (config.maxMemKib > MAX_MEMORY_KIB) throw new ToolstackError('bad-memory',
    `Out of memory: ${config.maxMemKib / MIB} MiB asked for, but a domain has at most ${MAX_MEMORY_KIB / MIB} MiB`);
  const seen = new Map<number, string>();
  for (const disk of config.disks) {
    if (disk.format !== 'raw' && disk.format !== 'empty') throw new ToolstackError('bad-disk',
      `Disk vdev=${disk.vdev} has format ${disk.format}, but only raw is supported: convert it with qemu-img convert -O raw`);
    if (disk.backendDomain && disk.backendDomain !== '0' && disk.backendDomain !== 'Domain-0') throw new ToolstackError('bad-disk', `Disk vdev=${disk.vdev} names backend domain ${disk.backendDomain}, but disks are served by Domain-0 only`);
    if (disk.script) throw new ToolstackError('bad-disk', `Disk vdev=${disk.vdev} names script ${disk.script}, but only files and block devices are supported`);
  }
  for (const disk of config.disks) {
    const devid = vdevNumber(disk.vdev);
    if (devid === undefined) continue; // said after the disks are opened, as libxl orders its checks
    const other = seen.get(devid);
    if (other) throw new ToolstackError('bad-disk', `Disks ${other} and ${disk.vdev} are the same virtual device: give each its own vdev`);
    seen.set(devid, disk.vdev);
  }
}

async function build(near: Neighbours, config: DomainConfig, rollback: Rollback, { step }: Watch): Promise<DomainRecord> {
  const { hypercalls, store, consoles } = near;
  checkVifs(near, config.vifs);
  step?.('disks', 0, STEPS);
  const disks = await openDisks(near, config, rollback);
  step?.('kernel', 1, STEPS);
  const image = await near.builder.prepare(config);

  step?.('memory', 2, STEPS);
  const created = hypercalls.domainCreate({ uuid: config.uuid, vcpus: config.maxVcpus, maxMemKib: config.maxMemKib, weight: config.weight, cap: config.cap, ...image.program && { program: true } });
  if (created < 0) throw new ToolstackError('bad-memory', `Out of memory: cannot make a domain of ${config.maxMemKib / MIB} MiB and ${config.maxVcpus} vCPUs (error ${created})`);
  const dom = created as Domid;
  rollback.add('destroy the domain', async () => { await hypercalls.domainDestroy(dom); });

  rollback.add('remove its xenstore nodes', () => removeNodes(store, dom, config.uuid));
  await writeNodes(store, domainNodes(dom, config, near.nowMs()));

  const storePort = checked<EvtchnPort>(hypercalls.evtchnAllocUnbound(dom, DOM0), 'allocating the xenstore event channel');
  const consolePort = checked<EvtchnPort>(hypercalls.evtchnAllocUnbound(dom, DOM0), 'allocating the console event channel');
  const { storeMfn, consoleMfn } = await image.build(dom, { storePort, consolePort });

  step?.('devices', 3, STEPS);
  await writeNodes(store, ringNodes(dom, { storeMfn, storePort, consoleMfn, consolePort }));
  await store.introduce(dom, storeMfn, storePort);
  rollback.add('release it in xenstore', () => store.release(dom));
  await consoles.open(dom, config.name, consoleMfn, consolePort);
  rollback.add('close its console', () => consoles.close(dom));

  for (const { devid, config: disk, disk: open } of disks) {
    await writeNodes(store, vbdNodes(dom, devid, disk));
    await open.attach(dom, devid, vbdFrontendPath(dom, devid), vbdBackendPath(dom, devid));
  }
  const vifs: AttachedVif[] = [];
  for (const [i, vif] of config.vifs.entries()) {
    const plugged = await plugVif(near, { domid: dom, uuid: config.uuid }, vif.devid ?? i, vif);
    rollback.add('unplug an interface', () => plugged.vif.close());
    vifs.push(plugged);
  }
  return { domid: dom, config: { ...config, vifs: configsOf(vifs) }, createdMs: near.nowMs(), console: { mfn: consoleMfn, port: consolePort }, disks, vifs, state: 'running', waiters: new Set() };
}

export async function openDisks(near: Neighbours, config: DomainConfig, rollback: Rollback): Promise<AttachedDisk[]> {
  const opened: { open: OpenDisk; config: DomainConfig['disks'][number] }[] = [];
  for (const disk of config.disks) {
    if (disk.format === 'empty') { near.log.warn({ domain: config.name, vdev: disk.vdev }, 'an empty CD-ROM drive is left out'); continue; }
    const open = await near.disks.open(disk, `domain "${config.name}" as ${disk.vdev}`);
    rollback.add(`close ${disk.target}`, () => open.close());
    opened.push({ open, config: disk });
  }
  return opened.map(({ open, config: disk }) => {
    const devid = vdevNumber(disk.vdev);
    if (devid === undefined) throw new ToolstackError('bad-disk', `Invalid or unsupported virtual disk identifier ${disk.vdev}: use xvda, xvdb, ...`);
    return { devid, config: disk, disk: open };
  });
}

export async function removeNodes(store: Store, dom: number, uuid: string): Promise<void> {
  for (const path of domainRoots(dom, uuid)) await store.remove(path);
}
