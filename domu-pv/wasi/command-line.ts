// The domain's command line: what the kernel is told, the program's environment, and its arguments.
//
//   root=/dev/xvda mount=/data:xvdb tcplisten=0.0.0.0:8080 ip=10.0.0.2/24,10.0.0.1 missing-imports=trap NAME=value ... -- argument 'with space' ...
//
// Without "--" every word that is not one of the kernel's own five is an argument. tcplisten=ADDRESS:PORT (or PORT) gives
// the program a listening socket, behind the directories it is given; each more the next. ip=ADDRESS/BITS,ROUTER,RESOLVER
// (the latter two may be left out) is its address where there is no DHCP. missing-imports=trap: a program may
// import functions that are not there (bindings to a browser, say); it ends where it calls one.
import type { Lease } from '../net/interface.ts';
import { addressOf, maskOf } from '../net/ipv4.ts';

export interface CommandLine {
  readonly root: string | undefined;
  readonly mounts: readonly { readonly name: string; readonly device: string }[];
  readonly listen: readonly number[];
  readonly lease: Lease | undefined;
  readonly trapMissing: boolean;
  readonly environment: readonly string[];
  readonly arguments: readonly string[];
}

/** Words, with '...' and "..." as a shell has them; a quote that is never closed is none. */
export function words(text: string): string[] {
  const found: string[] = [];
  for (const match of text.matchAll(/(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s'"\\])+/g)) {
    found.push(match[0].replace(/'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)/g, (_, single?: string, double?: string, escaped?: string) => single ?? double?.replace(/\\(.)/g, '$1') ?? escaped ?? ''));
  }
  return found;
}
/** @throws Error with a sentence */
function portOf(text: string): number {
  const port = Number(text.split(':').at(-1));
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error(`tcplisten=${text}: there is no such port`);
  return port;
}
function leaseOf(text: string): Lease {
  const [own = '', ...more] = text.split(','), [address, bits] = [addressOf(own.split('/')[0]!), Number(own.split('/')[1] ?? 24)], [router, ...resolvers] = more.map(addressOf);
  if (address === undefined || !(bits >= 0 && bits <= 32) || [router ?? 0, ...resolvers].length !== Math.max(1, more.length) || more.some(m => addressOf(m) === undefined)) throw new Error(`ip=${text}: give ADDRESS/BITS,ROUTER,RESOLVER`);
  return { address, mask: maskOf(bits), router: router ?? 0, resolvers: resolvers.filter(r => r !== undefined), mtu: 1500 };
}
/** @throws Error with a sentence */
function mountOf(text: string): { name: string; device: string } {
  const [, name, from] = /^\/([^/:]+):(.+)$/.exec(text) ?? [];
  if (name === undefined || name === '.' || name === '..') throw new Error(`mount=${text}: give /NAME:DISK, one name deep`);
  return { name, device: device(from!) };
}
const device = (name: string): string => name.replace(/^\/dev\//, '');

/** @throws Error with a sentence */
export function parseCommandLine(text: string): CommandLine {
  const all = words(text), end = all.indexOf('--'), before = end < 0 ? all : all.slice(0, end), args = end < 0 ? [] : all.slice(end + 1);
  const mounts: { name: string; device: string }[] = [], environment: string[] = [];
  const listen: number[] = [];
  let root: string | undefined, trapMissing = false, lease: Lease | undefined;
  for (const word of before) {
    const m = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(word);
    if (m?.[1] === 'root') root = device(m[2]!);
    else if (word === 'missing-imports=trap') trapMissing = true;
    else if (word.startsWith('missing-imports=')) throw new Error(`${word}: give missing-imports=trap, or leave it out`);
    else if (m?.[1] === 'tcplisten') listen.push(portOf(m[2]!));
    else if (m?.[1] === 'ip') lease = leaseOf(m[2]!);
    else if (m?.[1] === 'mount') mounts.push(mountOf(m[2]!));
    else if (end < 0) args.push(word);
    else if (m) environment.push(word);
  }
  return { root, mounts, listen, lease, trapMissing, environment, arguments: args };
}
