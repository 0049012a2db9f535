// Virtual interfaces of a domain that runs: network-attach, network-list, network-detach.
import type { VifView } from '../../../dom0/toolstack/action.ts';
import { ConfigError } from '../../../dom0/toolstack/config/config-error.ts';
import { parseVifSpec } from '../../../dom0/toolstack/config/vif-spec.ts';
import { ApiError } from '../client.ts';
import { CommandError, type Command } from '../command.ts';
import { networkTable } from '../tables.ts';
import { failed } from './errors.ts';

export const networkAttach: Command = {
  name: 'network-attach', summary: 'Create a new virtual network device',
  usage: '<Domain> [type=<type>] [mac=<mac>] [bridge=<bridge>] [ip=<ip>] [script=<script>] [backend=<BackDomain>] [vifname=<name>] [rate=<rate>] [model=<model>]',
  options: [], requires: 1,
  run: async ({ client, args: [name, ...specs] }) => {
    const vif = parsed(specs.join(','));
    try { await (await client()).attachVif(name!, vif); } catch (error) { throw failed(name!, error, 'libxl_device_nic_add failed.'); }
    return 0;
  },
};

export const networkList: Command = {
  name: 'network-list', summary: 'List virtual network interfaces for a domain', usage: '<Domain(s)>', options: [], requires: 1,
  run: async ({ client, args, out, err }) => {
    const host = await client(), vifs: VifView[] = [];
    for (const name of args) {
      const domain = await host.domain(name).catch(error => { if (error instanceof ApiError) { err(`${name} is an invalid domain identifier\n`); return undefined; } throw error; });
      vifs.push(...domain?.vifs ?? []);
    }
    out(networkTable(vifs));
    return 0;
  },
};

export const networkDetach: Command = {
  name: 'network-detach', summary: 'Destroy a domain\'s virtual network device', usage: '<Domain> <DevId|mac>', options: [], requires: 2,
  run: async ({ client, args: [name, device] }) => {
    try { await (await client()).detachVif(name!, device!); } catch (error) {
      if (error instanceof ApiError && error.code === 'device-not-found') throw new CommandError(`${error.message}\n`);
      throw failed(name!, error, 'libxl_device_nic_del failed.');
    }
    return 0;
  },
};

function parsed(spec: string): ReturnType<typeof parseVifSpec> {
  try { return parseVifSpec(spec, 'network-attach'); } catch (error) {
    throw error instanceof ConfigError ? new CommandError(`${error.message}\n`) : error;
  }
}
