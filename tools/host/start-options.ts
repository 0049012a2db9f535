// Options of `xenolith start`, which is what `npm start` runs.
import { XEN_LEGACY_MAX_VCPUS } from '../../hypervisor/public/xen.ts';

export interface StartOptions {
  readonly exec?: string; readonly kernel?: string; readonly ramdisk?: string;
  readonly disk: string; readonly memoryMib: number; readonly vcpus: number; readonly name?: string; readonly append?: string; readonly help: boolean;
  /** The small guest that comes with Xenolith, instead of Debian's kernel. */
  readonly embedded: boolean;
}

export class UsageError extends Error {}

export const START_USAGE = `Usage: xenolith start [options]      (npm start -- [options])

Boots Debian's kernel as a domain and attaches its console; Ctrl-] leaves, the domain goes on.
With standard input from a file or pipe, its lines go to the guest's shell and its end leaves the shell.

Options:
  --exec CMD       run CMD in the guest with sh, print its output alone, end with its status
  --kernel FILE    boot this kernel instead of Debian's
  --ramdisk FILE   with this initrd
  --disk FILE      disk image, made if it is missing (default demo.img here; kept between runs)
  --memory MIB     memory of the domain (default 256)
  --vcpus COUNT    virtual processors (default 1)
  --name NAME      name of the domain (default demo)
  --append TEXT    further words for the kernel's command line
  --embedded       boot the small guest that comes with Xenolith (a shell; nothing is fetched);
                   also what is booted where no kernel can be had
  --help           this help
`;

const VALUES = ['exec', 'kernel', 'ramdisk', 'disk', 'memory', 'vcpus', 'name', 'append'] as const;

/** @throws UsageError */
export function parseStartOptions(argv: readonly string[]): StartOptions {
  const given: Partial<Record<(typeof VALUES)[number], string>> = {};
  let help = false, embedded = false;
  for (let i = 0; i < argv.length; i++) {
    const [word, ...rest] = argv[i]!.split('=');
    if (word === '--help' || word === '-h') { help = true; continue; }
    if (word === '--embedded') { embedded = true; continue; }
    const key = VALUES.find(v => `--${v}` === word);
    if (!key) throw new UsageError(`unknown option ${argv[i]}`);
    const value = rest.length > 0 ? rest.join('=') : argv[++i];
    if (value === undefined || value === '') throw new UsageError(`${word} needs a value`);
    given[key] = value;
  }
  if (embedded && given.exec !== undefined) throw new UsageError('--exec needs a guest with sh: leave --embedded out, or pipe lines to the small guest\'s own shell');
  const { memory = '256', vcpus = '1', disk = 'demo.img', exec, kernel, ramdisk, name, append } = given;
  if (!/^\d+$/.test(memory) || Number(memory) < 1) throw new UsageError(`--memory takes a number of MiB, not "${memory}"`);
  if (!/^\d+$/.test(vcpus) || Number(vcpus) < 1 || Number(vcpus) > XEN_LEGACY_MAX_VCPUS) throw new UsageError(`--vcpus takes a number from 1 to ${XEN_LEGACY_MAX_VCPUS}, not "${vcpus}"`);
  return {
    disk, memoryMib: Number(memory), vcpus: Number(vcpus), help, embedded, ...(exec === undefined ? {} : { exec }), ...(kernel === undefined ? {} : { kernel }),
    ...(ramdisk === undefined ? {} : { ramdisk }), ...(name === undefined ? {} : { name }), ...(append === undefined ? {} : { append }),
  };
}
