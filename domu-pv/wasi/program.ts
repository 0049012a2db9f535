// From the module's image to its end: files are put together, the program starts, its exit is the domain's.
import { SHUTDOWN_poweroff } from '../../hypervisor/public/sched.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { openTar } from '../fs/tar.ts';
import { Files } from './files.ts';
import { parseCommandLine } from './command-line.ts';
import { wasiCalls } from './calls.ts';

/** Both names that toolchains have used, with the same calls. */
const NAMES = ['wasi_snapshot_preview1', 'wasi_unstable'] as const;

export function runProgram(kernel: Kernel): never {
  const { vcpu, start } = kernel, line = parseCommandLine(start.cmdline);
  const initrd = start.initrd.byteCount > 0 ? openTar(vcpu.bytes.subarray(start.initrd.at, start.initrd.at + start.initrd.byteCount)) : undefined;
  const files = new Files(kernel, line, initrd);
  const exit = (code: number): never => {
    kernel.log(`program ended with status ${code}`);
    return kernel.end(SHUTDOWN_poweroff);
  };
  const calls = wasiCalls(kernel, { arguments: ['program', ...line.arguments], environment: line.environment, root: files.root, exit });
  const image = vcpu.bytes.slice(start.image.at, start.image.at + start.image.byteCount);
  // From here on its place in memory is the program's.
  kernel.memory.release(start.image.at, start.initrd.byteCount > 0 ? start.initrd.at : start.heapPfn * 4096);
  const instance = vcpu.instantiate(image, Object.fromEntries(NAMES.map(name => [name, calls as WebAssembly.ModuleImports])), kernel.memory);
  const { _start: main, _initialize: reactor } = instance.exports as Record<string, (() => void) | undefined>;
  if (typeof main === 'function') main();
  else if (typeof reactor === 'function') reactor();
  else vcpu.crash('its program has no _start');
  return exit(0);
}
