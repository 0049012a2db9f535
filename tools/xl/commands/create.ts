// xl create: a configuration file to a domain.
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { ConfigError } from '../../../dom0/toolstack/config/config-error.ts';
import { parseDomainConfig } from '../../../dom0/toolstack/config/domain-config.ts';
import type { DomainConfig } from '../../../dom0/toolstack/config/schema.ts';
import { restartPolicy } from '../../../dom0/management/definitions.ts';
import type { DomainView } from '../../../dom0/toolstack/action.ts';
import { ApiError, type Client } from '../client.ts';
import { CommandError, type Command, type Context } from '../command.ts';
import { configJson, libxlStringify } from '../config-json.ts';
import { followConsole } from '../console.ts';

const EXIT_TOOLSTACK = 3, EXIT_USAGE = 6;
/** Options that ask for more than real xl gives: a definition. */
const KEEPING = ['managed', 'autostart', 'restart'];

export const create: Command = {
  name: 'create',
  summary: 'Create a domain from config file <filename>',
  usage: '<ConfigFile> [options] [vars]',
  options: [
    { short: 'h', summary: 'Print this help' },
    { short: 'p', summary: 'Leave the domain paused after it is created' },
    { short: 'c', summary: 'Connect to the console after the domain is created' },
    { short: 'f', long: 'defconfig', argument: 'FILE', summary: 'Use the given configuration file' },
    { short: 'q', long: 'quiet', summary: 'Quiet' },
    { short: 'n', long: 'dryrun', summary: 'Dry run - prints the resulting configuration' },
    { short: 'd', summary: 'Enable debug messages (also prints the configuration)' },
    { long: 'managed', summary: 'Keep the definition: the domain can be started again, also after the host was' },
    { long: 'autostart', summary: 'Keep it, and start the domain with the host' },
    { long: 'restart', argument: 'POLICY', summary: 'Keep it, and start the domain again when it ends: always, on-failure or never' },
    { short: 'F', summary: 'Accepted for compatibility: the host watches the domain' },
    { short: 'e', summary: 'Accepted for compatibility: the host watches the domain' },
  ],
  run,
};

async function run(context: Context): Promise<number> {
  const { options, out, err } = context;
  const args = [...context.args];
  const file = typeof options['defconfig'] === 'string' ? options['defconfig']
    : args[0] !== undefined && !args[0].includes('=') ? args.shift() : undefined;
  if (file === undefined) throw new CommandError('Config file not specified and none in save file\n', EXIT_USAGE);
  const config = absolute(await readConfig(file, args, options['quiet'] === true, err));
  if (options['dryrun'] || options['d']) out(`${libxlStringify(configJson(config, false))}\n`);
  if (options['dryrun']) return 0;
  const client = await context.client();
  const attach = options['c'] === true;
  // Paused first, so that a console sees the first line.
  const paused = options['p'] === true || attach, kept = KEEPING.some(option => options[option] !== undefined);
  const domain = await (kept ? createManaged(client, config, paused, options) : client.create(config, paused)).catch(error => { throw createError(error); });
  if (!attach) return 0;
  const console = followConsole(client, domain.domid, domain.name);
  if (!options['p']) await client.act(String(domain.domid), 'unpause');
  await console;
  return 0;
}

/** A definition whose domain does not start is taken back, as a domain that cannot be made leaves nothing. */
async function createManaged(client: Client, config: DomainConfig, paused: boolean, options: Context['options']): Promise<DomainView> {
  const policy = restartPolicy.shape.policy.safeParse(options['restart']);
  if (!policy.success) throw new CommandError(`--restart takes always, on-failure or never, not "${options['restart']}"\n`, 2);
  const { uuid } = await client.define({ config, autostart: options['autostart'] === true, restart: restartPolicy.parse({ policy: policy.data }) });
  try { return await client.startDefinition(uuid, paused); } catch (error) {
    await client.undefine(uuid);
    throw error;
  }
}

/** @throws CommandError with xl's words and exit codes */
export async function readConfig(file: string, overrides: readonly string[], quiet: boolean, err: (text: string) => void): Promise<DomainConfig> {
  let text: string;
  try { text = await readFile(file, 'utf8'); } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const reason = code === 'ENOENT' ? 'No such file or directory' : code === 'EACCES' ? 'Permission denied' : code === 'EISDIR' ? 'Is a directory' : String((error as Error).message);
    throw new CommandError(`Failed to read config file: ${file}: ${reason}\n`, EXIT_TOOLSTACK);
  }
  if (!quiet) err(`Parsing config from ${file}\n`);
  try {
    const { config, warnings } = parseDomainConfig(text + overrideText(text, overrides), file, { pcpus: availableParallelism() });
    for (const warning of warnings) err(`${warning}\n`);
    return config;
  } catch (error) {
    if (error instanceof ConfigError) throw new CommandError(`${error.message}\n`, error.exitCode);
    throw error;
  }
}

/** Command-line settings come after the file's. A bare word, which a shell leaves when it eats the quotes, is a string. */
export function overrideText(text: string, overrides: readonly string[]): string {
  const lines = overrides.map(setting => setting.replace(/^(\s*\w+\s*\+?=\s*)([^\s"'[][^]*)$/, (whole, key: string, value: string) =>
    /^(\d+|0x[0-9a-f]+)$/i.test(value) ? whole : `${key}"${value.replace(/["\\]/g, '\\$&')}"`));
  return lines.length === 0 ? '' : `${text.endsWith('\n') || text === '' ? '' : '\n'}${lines.join('\n')}\n`;
}

/** The host has another working directory: every path becomes absolute here. */
export function absolute(config: DomainConfig): DomainConfig {
  const disks = config.disks.map(disk => {
    if (disk.target === '' || disk.target.startsWith('/')) return disk;
    const here = resolve(disk.target);
    return { ...disk, target: existsSync(here) || !existsSync(`/dev/${disk.target}`) ? here : `/dev/${disk.target}` };
  });
  return { ...config, kernel: resolve(config.kernel), ...(config.ramdisk ? { ramdisk: resolve(config.ramdisk) } : {}), disks };
}

function createError(error: unknown): unknown {
  return error instanceof ApiError ? new CommandError(`xl: error: ${error.message}\n`, EXIT_TOOLSTACK) : error;
}
