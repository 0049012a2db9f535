// Virtual disks of a domain that runs: block-attach, block-detach. (block-list is in list.ts.)
import { resolve } from 'node:path';
import { ConfigError } from '../../../dom0/toolstack/config/config-error.ts';
import { parseDiskSpec, type DiskSpec } from '../../../dom0/toolstack/config/disk-spec.ts';
import { ApiError } from '../client.ts';
import { CommandError, type Command } from '../command.ts';
import { failed } from './errors.ts';

export const blockAttach: Command = {
  name: 'block-attach', summary: 'Create a new virtual block device', usage: '<Domain> <disk-spec-component(s)>...', options: [], requires: 2,
  run: async ({ client, args: [name, ...specs] }) => {
    const disk = parsed(specs.join(','));
    try { await (await client()).attachDisk(name!, { ...disk, target: resolve(disk.target) }); } catch (error) { throw failed(name!, error, 'libxl_device_disk_add failed.'); }
    return 0;
  },
};

export const blockDetach: Command = {
  name: 'block-detach', summary: 'Destroy a domain\'s virtual block device', usage: '<Domain> <DevId>', options: [{ long: 'force', summary: 'Accepted for compatibility: a guest that does not let go within ten seconds loses the disk anyway' }], requires: 2,
  run: async ({ client, args: [name, device] }) => {
    try { await (await client()).detachDisk(name!, device!); } catch (error) {
      if (error instanceof ApiError && error.code === 'device-not-found') throw new CommandError(`Error: Device ${device} not connected.\n`);
      throw failed(name!, error, 'libxl_device_disk_remove failed.');
    }
    return 0;
  },
};

function parsed(spec: string): DiskSpec {
  try { return parseDiskSpec(spec, 'command line'); } catch (error) {
    throw error instanceof ConfigError ? new CommandError(`${error.message}\n`) : error;
  }
}
