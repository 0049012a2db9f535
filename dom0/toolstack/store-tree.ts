// The xenstore nodes of a domain, with the paths, values and permissions that libxl writes.
import type { Domid, EvtchnPort, Mfn } from '../../hypervisor/public/types.ts';
import type { DiskConfig, DomainConfig } from './config/schema.ts';
import type { Store, StorePermissions } from './ports.ts';

export interface StoreNode { readonly path: string; readonly value: string; readonly permissions: StorePermissions }

export const domainPath = (dom: number): string => `/local/domain/${dom}`;
export const vmPath = (uuid: string): string => `/vm/${uuid}`;
export const libxlPath = (dom: number): string => `/libxl/${dom}`;
export const vbdBackendPath = (dom: number, devid: number): string => `/local/domain/0/backend/vbd/${dom}/${devid}`;
export const vbdFrontendPath = (dom: number, devid: number): string => `${domainPath(dom)}/device/vbd/${devid}`;

/** Nodes of `/local/domain/N` and `/vm/UUID` that exist before the guest's memory is built. */
export function domainNodes(dom: Domid, config: DomainConfig, startTimeMs: number): StoreNode[] {
  const root = domainPath(dom), vm = vmPath(config.uuid);
  const host: StorePermissions = ['n0', `r${dom}`], guest: StorePermissions = [`n${dom}`], toolstack: StorePermissions = ['n0'];
  const nodes: StoreNode[] = [];
  const add = (permissions: StorePermissions, path: string, value = ''): void => { nodes.push({ path, value, permissions }); };

  add(host, vm);
  add(host, `${vm}/name`, config.name);
  add(host, `${vm}/uuid`, config.uuid);
  add(host, `${vm}/start_time`, (startTimeMs / 1000).toFixed(2));
  add(host, `${vm}/image`);
  add(host, `${vm}/image/ostype`, 'linux');
  add(host, `${vm}/image/kernel`, config.kernel);
  if (config.ramdisk) add(host, `${vm}/image/ramdisk`, config.ramdisk);
  if (config.cmdline) add(host, `${vm}/image/cmdline`, config.cmdline);

  add(host, root);
  add(host, `${root}/vm`, vm);
  add(host, `${root}/name`, config.name);
  add(host, `${root}/domid`, String(dom));
  for (const dir of ['cpu', 'memory', 'device', 'control', 'image', 'store', 'console']) add(host, `${root}/${dir}`);
  add(host, `${root}/device/suspend`);
  for (const open of ['data', 'drivers', 'feature', 'attr', 'error', 'device/suspend/event-channel', 'control/shutdown',
    'control/feature-poweroff', 'control/feature-reboot', 'control/feature-suspend', 'control/sysrq']) add(guest, `${root}/${open}`);
  add(host, `${root}/control/platform-feature-multiprocessor-suspend`, '1');
  add(host, `${root}/control/platform-feature-xs_reset_watches`, '1');
  add(host, `${root}/memory/static-max`, String(config.maxMemKib));
  add(host, `${root}/memory/target`, String(config.memoryKib));
  add(host, `${root}/memory/videoram`, '0');
  for (let cpu = 0; cpu < config.maxVcpus; cpu++) {
    add(host, `${root}/cpu/${cpu}`);
    add(host, `${root}/cpu/${cpu}/availability`, cpu < config.vcpus ? 'online' : 'offline');
  }
  add(toolstack, libxlPath(dom));
  add(toolstack, `${libxlPath(dom)}/type`, 'pv');
  add(toolstack, `${libxlPath(dom)}/dm-version`, 'qemu_xen');
  add(toolstack, `${libxlPath(dom)}/device`);
  return nodes;
}

/** Nodes of the xenstore and console rings, once their frames are known. */
export function ringNodes(dom: Domid, rings: { storeMfn: Mfn; storePort: EvtchnPort; consoleMfn: Mfn; consolePort: EvtchnPort }): StoreNode[] {
  const root = domainPath(dom), host: StorePermissions = ['n0', `r${dom}`];
  const backend = `/local/domain/0/backend/console/${dom}/0`;
  const node = (path: string, value: string, permissions = host): StoreNode => ({ path, value, permissions });
  const device = { frontend: `${root}/console`, 'frontend-id': String(dom), online: '1', state: '1', protocol: 'vt100' };
  const libxl = `${libxlPath(dom)}/device/console`;
  return [
    node(`${root}/store/ring-ref`, String(rings.storeMfn)),
    node(`${root}/store/port`, String(rings.storePort)),
    node(`${root}/console/backend`, backend),
    node(`${root}/console/backend-id`, '0', [`n${dom}`, 'r0']),
    node(`${root}/console/limit`, '1048576'),
    node(`${root}/console/type`, 'xenconsoled'),
    node(`${root}/console/output`, 'pty'),
    node(`${root}/console/port`, String(rings.consolePort)),
    node(`${root}/console/ring-ref`, String(rings.consoleMfn)),
    node(`/local/domain/0/backend/console/${dom}`, '', ['n0']),
    node(backend, ''),
    ...Object.entries(device).map(([key, value]) => node(`${backend}/${key}`, value)),
    node(libxl, '', ['n0']), node(`${libxl}/0`, '', ['n0']), node(`${libxl}/0/backend`, backend, ['n0']),
    ...Object.entries(device).map(([key, value]) => node(`${libxl}/0/${key}`, value, ['n0'])),
  ];
}

/** Front, back and libxl nodes of one virtual disk, both ends in state XenbusStateInitialising. */
export function vbdNodes(dom: Domid, devid: number, disk: DiskConfig): StoreNode[] {
  const front = vbdFrontendPath(dom, devid), back = vbdBackendPath(dom, devid), libxl = `${libxlPath(dom)}/device/vbd`;
  const backend: Record<string, string> = {
    frontend: front, 'frontend-id': String(dom), online: '1', removable: disk.cdrom ? '1' : '0', bootable: '1', state: '1',
    dev: disk.vdev, type: 'phy', mode: disk.readOnly ? 'r' : 'w', 'device-type': disk.cdrom ? 'cdrom' : 'disk',
    'discard-enable': disk.discard ? '1' : '0', specification: 'xen', params: disk.target,
  };
  // State last: a guest that runs looks at the device when it sees it.
  const frontend: Record<string, string> = {
    backend: back, 'backend-id': '0', 'virtual-device': String(devid),
    'device-type': disk.cdrom ? 'cdrom' : 'disk', trusted: disk.trusted ? '1' : '0', state: '1',
  };
  const tree = (path: string, values: Record<string, string>, permissions: StorePermissions): StoreNode[] =>
    [{ path, value: '', permissions }, ...Object.entries(values).map(([key, value]) => ({ path: `${path}/${key}`, value, permissions }))];
  return [
    { path: `${domainPath(dom)}/device/vbd`, value: '', permissions: ['n0', `r${dom}`] },
    { path: `/local/domain/0/backend/vbd/${dom}`, value: '', permissions: ['n0'] },
    { path: libxl, value: '', permissions: ['n0'] },
    ...tree(back, backend, ['n0', `r${dom}`]),
    ...tree(front, frontend, [`n${dom}`, 'r0']),
    ...tree(`${libxl}/${devid}`, { ...backend, backend: back }, ['n0']),
  ];
}

/** Dom0's own nodes, written once when it starts. */
export function dom0Nodes(memoryKib: number): StoreNode[] {
  const root = domainPath(0), permissions: StorePermissions = ['n0'];
  const node = (path: string, value = ''): StoreNode => ({ path, value, permissions });
  return [
    node('/libxl'), node('/vm'), node('/tool'), node('/local/pool/0/name', 'Pool-0'),
    node(root), node(`${root}/domid`, '0'), node(`${root}/name`, 'Domain-0'),
    node(`${root}/memory/static-max`, String(memoryKib)), node(`${root}/memory/target`, String(memoryKib)),
    node(`${root}/control/feature-poweroff`, '1'), node(`${root}/control/feature-reboot`, '1'),
  ];
}

/** Writes nodes in order; permissions after the value, so that children created later inherit them. */
export async function writeNodes(store: Store, nodes: readonly StoreNode[]): Promise<void> {
  for (const { path, value, permissions } of nodes) {
    await store.write(path, value);
    await store.setPermissions(path, permissions);
  }
}

/** Everything a domain has in xenstore: removed on destroy and on a failed create. */
export function domainRoots(dom: number, uuid: string): string[] {
  return [`/local/domain/0/error/backend/vbd/${dom}`, `/local/domain/0/backend/vbd/${dom}`, `/local/domain/0/backend/console/${dom}`, `/local/domain/0/error/backend/vif/${dom}`, `/local/domain/0/backend/vif/${dom}`, libxlPath(dom), domainPath(dom), vmPath(uuid)];
}
