// Plugging virtual interfaces in and out, at creation and while the guest runs.
import type { Domid } from '../../hypervisor/public/types.ts';
import type { VifView } from './action.ts';
import type { VifConfig } from './config/schema.ts';
import type { AttachedVif, DomainRecord } from './domain-record.ts';
import { ToolstackError } from './errors.ts';
import type { NetBackend, Store } from './ports.ts';
import { writeNodes } from './store-tree.ts';
import { defaultMac, vifBackendPath, vifFrontendPath, vifLibxlPath, vifNodes } from './vif-nodes.ts';

export interface VifNeighbours { readonly store: Store; readonly networks: NetBackend }

/** How long a guest may take to let go of an interface before it is taken. */
const UNPLUG_MS = 10_000;
/** A guest with more has lost its way; xenstore's quota would end it anyway. */
const MAX_VIFS = 64;

/** Said before anything is made. @throws ToolstackError 'bad-vif' */
export function checkVifs(near: VifNeighbours, vifs: readonly VifConfig[]): void {
  if (vifs.length > MAX_VIFS) throw new ToolstackError('bad-vif', `${vifs.length} interfaces are too many: at most ${MAX_VIFS} are possible`);
  const seen = new Set<number>();
  for (const [i, vif] of vifs.entries()) {
    if (vif.backend && vif.backend !== '0' && vif.backend !== 'Domain-0') throw new ToolstackError('bad-vif', `Interface ${i} names backend domain ${vif.backend}, but interfaces are served by Domain-0 only`);
    const devid = vif.devid ?? i;
    if (seen.has(devid)) throw new ToolstackError('bad-vif', `Two interfaces have devid ${devid}: give each its own`);
    seen.add(devid);
    near.networks.check(vif);
  }
}

/** @throws ToolstackError; nothing is left then */
export async function plugVif(near: VifNeighbours, target: { readonly domid: Domid; readonly uuid: string }, devid: number, config: VifConfig): Promise<AttachedVif> {
  const vif = { ...config, mac: config.mac ?? defaultMac(target.uuid, devid) };
  await writeNodes(near.store, vifNodes(target.domid, devid, vif));
  try {
    return { devid, config: vif, vif: near.networks.attach(vif, target.domid, vifBackendPath(target.domid, devid)) };
  } catch (error) { await removeVifNodes(near.store, target.domid, devid); throw error; }
}

/** Adds an interface to a domain that runs. @throws ToolstackError */
export async function attachVif(near: VifNeighbours, record: DomainRecord, config: VifConfig): Promise<void> {
  const used = new Set(record.vifs.map(v => v.devid));
  let devid = config.devid ?? 0;
  if (config.devid === undefined) while (used.has(devid)) devid++;
  if (used.has(devid)) throw new ToolstackError('bad-vif', `Domain ${record.domid} has an interface ${devid} already: give another devid or none`);
  checkVifs(near, [...record.vifs.map(v => ({ ...v.config, devid: v.devid })), { ...config, devid }]);
  const place: AttachedVif = { devid, config, vif: { removed: Promise.resolve(), close: async () => {}, restart: async () => {}, info: () => ({}) } };
  record.vifs = [...record.vifs, place];
  try {
    const plugged = await plugVif(near, { domid: record.domid, uuid: record.config.uuid }, devid, config);
    if (record.state !== 'running') { await plugged.vif.close(); throw new ToolstackError('domain-not-running', `domain ${record.domid} ended meanwhile`); }
    record.vifs = record.vifs.map(v => v === place ? plugged : v);
    remember(record);
  } catch (error) { record.vifs = record.vifs.filter(v => v !== place); throw error; }
}

/** @param which devid or address @throws ToolstackError */
function vifOf(record: DomainRecord, which: string): AttachedVif {
  const found = record.vifs.find(v => /^\d+$/.test(which) ? v.devid === Number(which) : v.config.mac === which.toLowerCase());
  if (!found) throw new ToolstackError('device-not-found', `Unknown device ${which}.`);
  return found;
}

/** Plugs the cable out of an interface that stays, or in again (io/netif.h, "Link state"). @throws ToolstackError */
export async function setCarrier(near: VifNeighbours, record: DomainRecord, which: string, carrier: boolean): Promise<void> {
  const { devid } = vifOf(record, which);
  await writeNodes(near.store, [{ path: `${vifBackendPath(record.domid, devid)}/carrier`, value: carrier ? '1' : '0', permissions: ['n0', `r${record.domid}`] }]);
}

/** Asks the guest to let go, and takes the interface when it does not. @param which devid or address @throws ToolstackError */
export async function detachVif(near: VifNeighbours, record: DomainRecord, which: string): Promise<void> {
  const found = vifOf(record, which), { store } = near, back = vifBackendPath(record.domid, found.devid);
  await store.write(`${back}/online`, '0');
  await store.write(`${back}/state`, '5');
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([found.vif.removed, new Promise<void>(resolve => { timer = setTimeout(resolve, UNPLUG_MS); })]);
  clearTimeout(timer);
  await found.vif.close();
  await removeVifNodes(store, record.domid, found.devid);
  record.vifs = record.vifs.filter(v => v !== found);
  remember(record);
}

/** As libxl: what was plugged in or out stays so when the guest reboots. */
function remember(record: DomainRecord): void { record.config = { ...record.config, vifs: configsOf(record.vifs) }; }
/** Configurations that make the same interfaces again. */
export const configsOf = (vifs: readonly AttachedVif[]): VifConfig[] => vifs.filter(v => v.config.mac !== undefined).map(v => ({ ...v.config, devid: v.devid }));

/** @throws ToolstackError */
export const restartVif = (record: DomainRecord, which: string): Promise<void> => vifOf(record, which).vif.restart();

export async function closeVifs(record: DomainRecord): Promise<void> {
  const { vifs } = record;
  record.vifs = [];
  await Promise.all(vifs.map(({ vif }) => vif.close()));
}

export async function vifView(store: Store, record: DomainRecord, { devid, config, vif }: AttachedVif): Promise<VifView> {
  const front = vifFrontendPath(record.domid, devid), backendPath = vifBackendPath(record.domid, devid);
  const number = async (key: string): Promise<number> => { const text = await store.read(`${front}/${key}`); return text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : -1; };
  const addresses = (await store.read(`${backendPath}/addresses`))?.split(' ').filter(Boolean) ?? [];
  return {
    carrier: (await store.read(`${backendPath}/carrier`)) !== '0',
    devid, mac: config.mac ?? '', bridge: config.bridge ?? 'xenbr0', backendPath, addresses, counters: vif.info(),
    state: await number('state'), eventChannel: await number('event-channel'), txRingRef: await number('tx-ring-ref'), rxRingRef: await number('rx-ring-ref'),
  };
}

async function removeVifNodes(store: Store, dom: number, devid: number): Promise<void> {
  for (const path of [vifFrontendPath(dom, devid), vifBackendPath(dom, devid), vifLibxlPath(dom, devid)]) await store.remove(path);
}
