// Options of `xenolith host`.
import type { BridgeOptions, ListenOptions } from '../../dom0/options.ts';
import { resolve } from 'node:path';
import { uplinkOf, UplinkError } from '../../dom0/uplink/index.ts';
import { JIT_MODES, type JitMode } from '../../hypervisor/cpu/jit/mode.ts';

export interface HostOptions { readonly bridges: readonly BridgeOptions[]; readonly roots: readonly string[]; readonly listen?: ListenOptions; readonly jit: JitMode; readonly help: boolean }

export class HostUsageError extends Error {}

export const HOST_USAGE = `Usage: xenolith host [options]

Runs the host in the foreground. Ctrl-C (or SIGTERM) shuts the guests down in order, a second one ends at once.

Options:
  --bridge NAME=UPLINK  a bridge for guests' interfaces, and its way out; may be given several times:
                          none    guests reach each other only
                          user    and the world, through this host's ordinary sockets (default: xenbr0=user).
                                  user:OPTION,OPTION...
                                    hostfwd=tcp:127.0.0.1:2222-:22   a port of this host's leads into a guest;
                                                                     an address left out: any, and the first guest
                                    guestfwd=tcp:10.0.2.100:80-127.0.0.1:8080   and the other way
                                    net=10.0.2.0/24  ipv6-net=fd00::/64  ipv6=off  mtu=1500  domain=NAME
                                    dns=ADDRESS+ADDRESS   resolvers instead of this host's
                                    host-loopback=off     the gateway's address does not lead to this host
                                    restrict=on           nothing but forwards
                          socket  another program: socket:/run/passt.sock, socket:HOST:PORT, socket:listen=...
                          tap     tap:NAME, a TAP device; tap:fd=N, an open descriptor; tap:/dev/tapN, a macvtap device
  --listen ADDRESS:PORT the API over TCP too, with TLS; callers show a token (xenolith token create)
  --tls-cert FILE       its certificate and key in PEM form; without them the host makes its own and keeps it
  --tls-key FILE
  --root FOLDER         remote callers may name kernels, ramdisks and disks below it; may be given several times
  --jit MODE            native: what guests run often is translated into code of this host's processor, on Linux and
                        x86-64, and elsewhere into WebAssembly (default); on: into WebAssembly; off: all is interpreted;
                        force, native-force: all is translated before it runs, for tests. XENOLITH_JIT says the same
                        where the option is not given
  --help                this help
`;

const DEFAULT_BRIDGES: readonly BridgeOptions[] = [{ name: 'xenbr0', uplink: 'user' }];
/** As interface names may be: they appear in paths and messages. */
const BRIDGE = /^([A-Za-z0-9_.-]{1,15})=(.+)$/;

/** A host name or address, IPv6 in brackets. */
const LISTEN = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/;
const VALUED = ['--bridge', '--listen', '--tls-cert', '--tls-key', '--root', '--jit'] as const;

/** @throws HostUsageError */
export function parseHostOptions(argv: readonly string[], env: NodeJS.ProcessEnv = process.env): HostOptions {
  const given = new Map<string, string[]>(VALUED.map(name => [name, []]));
  let help = false;
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!, [name, ...rest] = word.split('=');
    if (word === '--help' || word === '-h') { help = true; continue; }
    const values = given.get(name!);
    if (!values) throw new HostUsageError(`unknown option ${word}`);
    const value = rest.length > 0 ? rest.join('=') : argv[++i];
    if (!value) throw new HostUsageError(`${name} wants a value`);
    values.push(value);
  }
  const bridges: BridgeOptions[] = [];
  for (const value of given.get('--bridge')!) bridges.push(bridgeOf(value, bridges));
  const listen = listenOf(given);
  return { bridges: bridges.length > 0 ? bridges : DEFAULT_BRIDGES, roots: given.get('--root')!.map(folder => resolve(folder)), ...(listen ? { listen } : {}), jit: jitOf(given.get('--jit')!.at(-1), env), help };
}

function jitOf(option: string | undefined, env: NodeJS.ProcessEnv): JitMode {
  const value = option ?? (env['XENOLITH_JIT'] || 'native'), mode = JIT_MODES.find(each => each === value);
  if (!mode) throw new HostUsageError(`${option === undefined ? 'XENOLITH_JIT' : '--jit'} is one of ${JIT_MODES.join(', ')}, not "${value}"`);
  return mode;
}

function bridgeOf(value: string, others: readonly BridgeOptions[]): BridgeOptions {
  const [, name, uplink] = BRIDGE.exec(value) ?? [];
  if (name === undefined || uplink === undefined) throw new HostUsageError(`--bridge takes NAME=UPLINK, not "${value}"`);
  if (others.some(b => b.name === name)) throw new HostUsageError(`bridge ${name} is given twice`);
  try { uplinkOf(uplink); } catch (error) { if (error instanceof UplinkError) throw new HostUsageError(`--bridge ${name}: ${error.message}`); throw error; }
  return { name, uplink };
}

function listenOf(given: ReadonlyMap<string, readonly string[]>): ListenOptions | undefined {
  const [where, certFile, keyFile] = ['--listen', '--tls-cert', '--tls-key'].map(name => {
    const values = given.get(name)!;
    if (values.length > 1) throw new HostUsageError(`${name} is given twice`);
    return values[0];
  });
  if ((certFile === undefined) !== (keyFile === undefined)) throw new HostUsageError('--tls-cert and --tls-key go together');
  if (where === undefined) { if (certFile !== undefined) throw new HostUsageError('--tls-cert is for --listen'); return undefined; }
  const match = LISTEN.exec(where), port = Number(match?.[3]);
  if (!match || port > 65535) throw new HostUsageError(`--listen takes ADDRESS:PORT, not "${where}"; an IPv6 address stands in brackets`);
  return { host: match[1] ?? match[2]!, port, ...(certFile !== undefined && keyFile !== undefined ? { certFile: resolve(certFile), keyFile: resolve(keyFile) } : {}) };
}
