// From the module's image to its end: files are put together, the program starts, its exit is the domain's.
import type { ProgramImport } from '../../hypervisor/public/program.ts';
import { SHUTDOWN_poweroff } from '../../hypervisor/public/sched.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { appOf } from '../apps/index.ts';
import { openTar } from '../fs/tar.ts';
import { FsError } from '../fs/node.ts';
import type { Lease } from '../net/interface.ts';
import { openStack, type Stack } from '../net/stack.ts';
import { ERRNO } from './errno.ts';
import { Files } from './files.ts';
import { SocketNode } from './socket-node.ts';
import { parseCommandLine } from './command-line.ts';
import { WASI_VERSIONS, wasiCalls } from './calls.ts';

const LISTEN_BACKLOG = 128;

export function runProgram(kernel: Kernel): never {
  const { vcpu, start } = kernel, line = parseCommandLine(start.cmdline);
  const image = vcpu.bytes.slice(start.image.at, start.image.at + start.image.byteCount), app = appOf(image);
  const exit = (code: number): never => {
    kernel.log(`program ended with status ${code}`);
    return kernel.end(SHUTDOWN_poweroff);
  };
  if (app) {
    app(kernel, line.arguments);
    return exit(0);
  }
  const initrd = start.initrd.byteCount > 0 ? openTar(vcpu.bytes.subarray(start.initrd.at, start.initrd.at + start.initrd.byteCount)) : undefined;
  const files = new Files(kernel, line, initrd);
  const network = networkOf(kernel, line.lease), settings = { arguments: ['program', ...line.arguments], environment: line.environment, root: files.isEmpty && line.listen.length > 0 ? undefined : files.root, network, sockets: line.listen.map(port => listening(kernel, network, port)), exit };
  // From here on its place in memory is the program's.
  kernel.memory.release(start.image.at, start.initrd.byteCount > 0 ? start.initrd.at : start.heapPfn * 4096);
  const calls = new Map<string, ProgramImport>(WASI_VERSIONS.flatMap(version => Object.entries(wasiCalls(kernel, settings, version)).map(([name, call]) => [`${version}.${name}`, call as ProgramImport] as const)));
  const missing = (name: string) => line.trapMissing ? () => vcpu.crash(`its program called ${name}, which is not there`) : undefined;
  const instance = vcpu.instantiate(image, (from, name) => calls.get(`${from}.${name}`) ?? missing(`${from}.${name}`), kernel.memory);
  const { _start: main, _initialize: reactor } = instance.exports as Record<string, (() => void) | undefined>;
  if (typeof main === 'function') main();
  else if (typeof reactor === 'function') reactor();
  else vcpu.crash('its program has no _start');
  return exit(0);
}

/** A socket that the program is given. @throws Error with a sentence */
function listening(kernel: Kernel, network: () => Stack, port: number): SocketNode {
  try {
    const socket = new SocketNode(kernel, network(), 'stream');
    socket.bind(port);
    socket.listen(LISTEN_BACKLOG);
    return socket;
  } catch (error) {
    if (error instanceof FsError) throw new Error(`tcplisten=${port}: ${error.errno === ERRNO.NETDOWN ? 'the domain has no network interface that has an address' : 'the port is in use'}`);
    throw error;
  }
}

/** The network, once it is wanted. What is still to be sent when the program ends is sent. */
function networkOf(kernel: Kernel, fixed: Lease | undefined): () => Stack {
  let stack: Stack | undefined;
  return () => {
    if (!stack) {
      stack = openStack(kernel);
      if (!stack) throw new FsError(ERRNO.NETDOWN);
      kernel.atEnd(() => stack!.drain());
    }
    if (!stack.configure(fixed)) throw new FsError(ERRNO.NETDOWN);
    return stack;
  };
}
