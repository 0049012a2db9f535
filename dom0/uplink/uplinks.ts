// The uplinks of this host's bridges, and what they know of guests' interfaces: an address handed out is written where
// the toolstack reads it, an interface that goes is forgotten.
import type { BridgeOptions } from '../options.ts';
import type { Bridges } from '../switch/bridges.ts';
import type { NetBackend, OpenVif } from '../toolstack/ports.ts';
import type { XenStore } from '../xenstore/client.ts';
import { uplinkOf, type LeaseView, type Uplink } from './index.ts';

const DEFAULT_BRIDGE = 'xenbr0';

interface Device { readonly bridge: string; readonly mac: string; readonly backendPath: string }

export class Uplinks {
  readonly #store: XenStore;
  readonly #uplinks = new Map<string, Uplink>();
  readonly #devices = new Set<Device>();

  constructor(store: XenStore) { this.#store = store; }

  /** An uplink that cannot be opened leaves its bridge without one, and says why. */
  async open(bridges: Bridges, options: readonly BridgeOptions[], log: (line: string) => void): Promise<void> {
    await Promise.all(options.map(async ({ name, uplink: text }) => {
      try {
        const uplink = await uplinkOf(text)(bridges.find(name)!, line => log(`${name}: ${line}`));
        if (!uplink) return;
        this.#uplinks.set(name, uplink);
        uplink.onLease((mac, lease) => this.#leased(name, mac, lease));
      } catch (error) { log(`${name} has no uplink: ${(error as Error).message}`); }
    }));
  }

  find(bridge: string): Uplink | undefined { return this.#uplinks.get(bridge); }

  /** The same backend; its interfaces are known here while they are plugged in. */
  watching(networks: NetBackend): NetBackend {
    return {
      check: vif => networks.check(vif),
      attach: (vif, dom, backendPath) => {
        const open = networks.attach(vif, dom, backendPath), device: Device = { bridge: vif.bridge ?? DEFAULT_BRIDGE, mac: vif.mac ?? '', backendPath };
        this.#devices.add(device);
        // An interface that was there before this Dom0 keeps its addresses.
        const uplink = this.#uplinks.get(device.bridge), before = this.#store.read(`${backendPath}/addresses`)?.split(' ').filter(Boolean) ?? [];
        uplink?.remember(device.mac, before);
        const lease = uplink?.leases().get(device.mac);
        if (lease) this.#leased(device.bridge, device.mac, lease);
        return this.#watched(open, device);
      },
    };
  }

  #watched(open: OpenVif, device: Device): OpenVif {
    return {
      removed: open.removed, info: () => open.info(), restart: () => open.restart(),
      close: async () => {
        this.#devices.delete(device);
        await open.close();
        this.#uplinks.get(device.bridge)?.forgetGuest(device.mac);
      },
    };
  }

  #leased(bridge: string, mac: string, lease: LeaseView | undefined): void {
    for (const device of this.#devices) if (device.bridge === bridge && device.mac === mac) this.#store.write(`${device.backendPath}/addresses`, lease?.addresses.join(' ') ?? '');
  }

  close(): void { for (const uplink of this.#uplinks.values()) uplink.close(); this.#uplinks.clear(); }
}
