// A domain's configuration as callers give it: as JSON, or as the text of an xl.cfg file.
import { availableParallelism } from 'node:os';
import { isAbsolute } from 'node:path';
import { ManagementError } from '../management/errors.ts';
import { ConfigError } from '../toolstack/config/config-error.ts';
import { parseDomainConfig } from '../toolstack/config/domain-config.ts';
import type { DomainConfig } from '../toolstack/config/schema.ts';
import { checkConfig } from '../toolstack/create.ts';

/** @throws ManagementError 'bad-config', ToolstackError */
export function configFrom({ config, xlcfg }: { readonly config?: DomainConfig | undefined; readonly xlcfg?: string | undefined }): DomainConfig {
  const found = config ?? parsed(xlcfg ?? '');
  checkConfig(found);
  for (const path of [found.kernel, found.ramdisk, ...found.disks.map(disk => disk.target)]) {
    if (path && !isAbsolute(path)) throw new ManagementError('bad-config', `${path} is not an absolute path: the host has another working directory`);
  }
  return found;
}

function parsed(text: string): DomainConfig {
  try { return parseDomainConfig(text, 'xlcfg', { pcpus: availableParallelism() }).config; } catch (error) {
    throw error instanceof ConfigError ? new ManagementError('bad-config', error.message, { cause: error }) : error;
  }
}
