// Settings of an xl.cfg(5) file to a DomainConfig. Refuses what would make a domain nobody wants; warns about
// what it does not know.
import { randomUUID } from 'node:crypto';
import { parseCfg, type CfgFile, type CfgValue } from './cfg-parser.ts';
import { ConfigError } from './config-error.ts';
import { parseDiskSpec } from './disk-spec.ts';
import { IGNORED_KEYS, SUPPORTED_KEYS, UNSUPPORTED_KEYS } from './known-keys.ts';
import type { DomainConfig, EventAction } from './schema.ts';
import { parseVifSpec } from './vif-spec.ts';

export interface ParsedConfig { readonly config: DomainConfig; readonly warnings: readonly string[] }
export interface ParseOptions {
  /** Number of processors `cpus` may name. */
  readonly pcpus: number;
}

const DEFAULT_MEMORY_MIB = 32;
const KIB_PER_MIB = 1024;
/** Limit of XEN_LEGACY_MAX_VCPUS: vcpu_info lies in shared_info before a guest registers its own. */
const MAX_VCPUS = 32;
const XL_ACTIONS: readonly string[] = ['destroy', 'restart', 'rename-restart', 'preserve', 'coredump-destroy', 'coredump-restart', 'soft-reset'];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Typed access to settings, with messages that name file and line. */
class Settings {
  readonly file: CfgFile;
  constructor(file: CfgFile) { this.file = file; }

  refuse(name: string, what: string): never {
    throw new ConfigError(`${this.file.source}:${this.file.settings.get(name)?.line ?? 0}: error: ${what}`);
  }
  string(name: string): string | undefined {
    const value = this.file.settings.get(name)?.value;
    if (value === undefined || typeof value === 'string') return value;
    return this.refuse(name, `parameter \`${name}' is a list but should be a single value`);
  }
  number(name: string): number | undefined {
    const text = this.string(name);
    if (text === undefined) return undefined;
    const isNumber = /^\s*(0x[0-9a-f]+|[0-9]+)$/i.test(text);
    if (!isNumber || !Number.isSafeInteger(Number(text))) this.refuse(name, `parameter \`${name}' is not a valid number`);
    return Number(text);
  }
  list(name: string): readonly string[] {
    const value = this.file.settings.get(name)?.value;
    if (value === undefined) return [];
    if (typeof value === 'string') return this.refuse(name, `parameter \`${name}' is a single value but should be a list: write ${name} = [ '${value}' ]`);
    return value.map((item, i) => typeof item === 'string' ? item
      : this.refuse(name, `entry ${i + 1} of \`${name}' is a list but should be a string`));
  }
  value(name: string): CfgValue | undefined { return this.file.settings.get(name)?.value; }
}

/**
 * @param text the file's text, command-line overrides appended as further lines
 * @throws ConfigError with xl's message and exit code
 */
export function parseDomainConfig(text: string, source: string, options: ParseOptions): ParsedConfig {
  const settings = new Settings(parseCfg(text, source));
  const name = settings.string('name');
  if (!name) throw new ConfigError('Domain name must be specified.');
  checkType(settings);
  const { vcpus, maxVcpus } = vcpuCounts(settings);
  const memory = memorySizes(settings);
  const actions = eventActions(settings);
  const cpus = cpuList(settings, options.pcpus);
  const weight = settings.number('cpu_weight') ?? 256;
  if (weight < 1 || weight > 65535) settings.refuse('cpu_weight', `cpu_weight is ${weight} but must be from 1 to 65535`);
  const uuid = (settings.string('uuid') ?? randomUUID()).toLowerCase();
  if (!UUID.test(uuid)) throw new ConfigError(`Failed to parse UUID: ${uuid}`);
  const boot = bootFiles(settings);
  const disks = settings.list('disk').map(spec => parseDiskSpec(spec, source));
  const vifs = settings.list('vif').map(spec => parseVifSpec(spec, source));
  return {
    warnings: keyWarnings(settings.file),
    config: {
      name, uuid, type: 'pv', vcpus, maxVcpus, ...memory, ...boot, weight, cap: settings.number('cap') ?? 0,
      ...(cpus ? { cpus } : {}), ...actions, disks, vifs,
    },
  };
}

function checkType(settings: Settings): void {
  const builder = settings.string('builder');
  const type = settings.string('type') ?? (builder === 'hvm' ? 'hvm' : 'pv');
  if (type === 'pv') return;
  if (type === 'hvm' || type === 'pvh') throw new ConfigError(
    `neither hap nor shadow paging available: this host runs PV guests only, set type="pv" (type is "${type}")`, 6);
  throw new ConfigError(`Invalid domain type ${type}.`);
}

function vcpuCounts(settings: Settings): { vcpus: number; maxVcpus: number } {
  const vcpus = settings.number('vcpus') ?? settings.number('maxvcpus') ?? 1;
  const maxVcpus = settings.number('maxvcpus') ?? vcpus;
  for (const [key, count] of [['vcpus', vcpus], ['maxvcpus', maxVcpus]] as const) {
    if (count < 1) settings.refuse(key, `${key} is ${count}: a domain needs at least one vCPU`);
    if (count > MAX_VCPUS) settings.refuse(key, `${key} is ${count}: at most ${MAX_VCPUS} are possible`);
  }
  if (maxVcpus < vcpus) settings.refuse('maxvcpus', 'xl: maxvcpus < vcpus');
  return { vcpus, maxVcpus };
}

function memorySizes(settings: Settings): { memoryKib: number; maxMemKib: number } {
  const memory = settings.number('memory') ?? DEFAULT_MEMORY_MIB;
  const maxmem = settings.number('maxmem') ?? memory;
  if (maxmem < memory) settings.refuse('maxmem', `maxmem is ${maxmem} MiB but memory is ${memory} MiB: maxmem may not be less`);
  return { memoryKib: memory * KIB_PER_MIB, maxMemKib: maxmem * KIB_PER_MIB };
}

function eventActions(settings: Settings): Pick<DomainConfig, 'onPoweroff' | 'onReboot' | 'onCrash' | 'onWatchdog' | 'onSoftReset'> {
  const action = (key: string, fallback: EventAction): EventAction => {
    const text = settings.string(key);
    if (text === undefined) return fallback;
    if (!XL_ACTIONS.includes(text)) throw new ConfigError(`Unknown ${key} action "${text}" specified`);
    return text as EventAction;
  };
  return {
    onPoweroff: action('on_poweroff', 'destroy'), onReboot: action('on_reboot', 'restart'),
    onCrash: action('on_crash', 'destroy'), onWatchdog: action('on_watchdog', 'destroy'),
    onSoftReset: action('on_soft_reset', 'soft-reset'),
  };
}

function bootFiles(settings: Settings): Pick<DomainConfig, 'kernel' | 'ramdisk' | 'cmdline'> {
  const kernel = settings.string('kernel'), ramdisk = settings.string('ramdisk');
  if (settings.string('bootloader')) settings.refuse('bootloader', 'bootloader is not supported: name the kernel with kernel="/path/to/vmlinuz", or boot grub-x86_64-xen.bin as the kernel');
  if (!kernel) throw new ConfigError('Neither kernel nor bootloader specified');
  const root = settings.string('root'), extra = settings.string('extra');
  const cmdline = settings.string('cmdline') ?? [root === undefined ? '' : `root=${root}`, extra ?? ''].filter(Boolean).join(' ');
  return { kernel, ...(ramdisk ? { ramdisk } : {}), cmdline };
}

/** `cpus`: "all", "0-3,5,^1" or a list of numbers. Refused when it leaves no processor of this host. */
function cpuList(settings: Settings, pcpus: number): number[] | undefined {
  const value = settings.value('cpus');
  if (value === undefined || value === 'all' || value === '') return undefined;
  const cpus = new Set<number>();
  for (const range of (typeof value === 'string' ? value : settings.list('cpus').join(',')).split(',').map(s => s.trim())) {
    const m = /^(\^?)(?:(all)|(\d+)(?:-(\d+))?)$/.exec(range);
    if (!m) settings.refuse('cpus', `failed to parse cpu range \`${range}'`);
    const first = m![2] ? 0 : Number(m![3]), last = m![2] ? pcpus - 1 : Number(m![4] ?? m![3]);
    for (let cpu = first; cpu <= Math.min(last, pcpus - 1); cpu++) { if (m![1]) cpus.delete(cpu); else cpus.add(cpu); }
  }
  if (cpus.size === 0) throw new ConfigError('vcpu hard affinity map is empty');
  return [...cpus].sort((a, b) => a - b);
}

function keyWarnings(file: CfgFile): string[] {
  const warnings: string[] = [];
  for (const { name, line } of file.settings.values()) {
    if (SUPPORTED_KEYS.has(name) || IGNORED_KEYS.has(name)) continue;
    warnings.push(`${file.source}:${line}: warning: ${UNSUPPORTED_KEYS.has(name)
      ? `parameter \`${name}' is not supported on this host and is ignored` : `unknown parameter \`${name}' is ignored`}`);
  }
  return warnings;
}
