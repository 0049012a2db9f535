// The xenstore nodes of a virtual interface, as libxl writes them.
import { createHash } from 'node:crypto';
import type { Domid } from '../../hypervisor/public/types.ts';
import type { VifConfig } from './config/schema.ts';
import type { StorePermissions } from './ports.ts';
import { domainPath, libxlPath, type StoreNode } from './store-tree.ts';

const DEFAULT_MTU = 1500;
const DEFAULT_BRIDGE = 'xenbr0', DEFAULT_SCRIPT = '/etc/xen/scripts/vif-bridge';

export const vifBackendPath = (dom: number, devid: number): string => `/local/domain/0/backend/vif/${dom}/${devid}`;
export const vifFrontendPath = (dom: number, devid: number): string => `${domainPath(dom)}/device/vif/${devid}`;
export const vifLibxlPath = (dom: number, devid: number): string => `${libxlPath(dom)}/device/vif/${devid}`;

/** Xen's own prefix, and the same rest each time the domain starts, so that a guest knows its interface again. */
export function defaultMac(uuid: string, devid: number): string {
  const rest = createHash('sha256').update(`${uuid} ${devid}`).digest();
  return ['00', '16', '3e', (rest[0]! & 0x7f).toString(16).padStart(2, '0'), rest.toString('hex', 1, 2), rest.toString('hex', 2, 3)].join(':');
}

/** Front, back and libxl nodes, both ends in state XenbusStateInitialising. @param vif with its address */
export function vifNodes(dom: Domid, devid: number, vif: VifConfig & { readonly mac: string }): StoreNode[] {
  const front = vifFrontendPath(dom, devid), back = vifBackendPath(dom, devid), libxl = vifLibxlPath(dom, devid), { rate } = vif;
  const toGuest: StorePermissions = ['n0', `r${dom}`], ofGuest: StorePermissions = [`n${dom}`, 'r0'], toolstack: StorePermissions = ['n0'];
  const backend: Record<string, string> = {
    frontend: front, 'frontend-id': String(dom), online: '1', script: vif.script ?? DEFAULT_SCRIPT, mac: vif.mac,
    ...(vif.ip ? { ip: vif.ip } : {}), ...(vif.vifname ? { vifname: vif.vifname } : {}),
    ...(rate ? { rate: `${rate.bytesPerInterval},${rate.intervalUsec}` } : {}), ...(vif.gatewaydev ? { gatewaydev: vif.gatewaydev } : {}),
    ...(vif.vlan ? { vlan: vif.vlan } : {}), bridge: vif.bridge ?? DEFAULT_BRIDGE, handle: String(devid), type: 'vif', 'hotplug-status': '', state: '1',
  };
  // State last: a guest that runs looks at the device when it sees it.
  const frontend: Record<string, string> = {
    backend: back, 'backend-id': '0', handle: String(devid), trusted: vif.trusted ? '1' : '0', mac: vif.mac, mtu: String(vif.mtu ?? DEFAULT_MTU), state: '1',
  };
  const tree = (path: string, values: Record<string, string>, permissions: StorePermissions): StoreNode[] =>
    [{ path, value: '', permissions }, ...Object.entries(values).map(([key, value]) => ({ path: `${path}/${key}`, value, permissions: path === front && key === 'mtu' ? toGuest : permissions }))];
  return [
    { path: `${domainPath(dom)}/device/vif`, value: '', permissions: toGuest },
    { path: `/local/domain/0/backend/vif/${dom}`, value: '', permissions: toolstack },
    { path: `${libxlPath(dom)}/device/vif`, value: '', permissions: toolstack },
    ...tree(libxl, { ...backend, backend: back }, toolstack),
    ...tree(back, backend, toGuest),
    ...tree(front, frontend, ofGuest),
  ];
}
