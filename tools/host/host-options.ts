// Options of `xenolith host`.
import type { BridgeOptions } from '../../dom0/options.ts';
import { uplinkOf, UplinkError } from '../../dom0/uplink/index.ts';

export interface HostOptions { readonly bridges: readonly BridgeOptions[]; readonly help: boolean }

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
  --help                this help
`;

const DEFAULT_BRIDGES: readonly BridgeOptions[] = [{ name: 'xenbr0', uplink: 'user' }];
/** As interface names may be: they appear in paths and messages. */
const BRIDGE = /^([A-Za-z0-9_.-]{1,15})=(.+)$/;

/** @throws HostUsageError */
export function parseHostOptions(argv: readonly string[]): HostOptions {
  const bridges: BridgeOptions[] = [];
  let help = false;
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === '--help' || word === '-h') { help = true; continue; }
    if (word !== '--bridge' && !word.startsWith('--bridge=')) throw new HostUsageError(`unknown option ${word}`);
    const value = word === '--bridge' ? argv[++i] : word.slice('--bridge='.length), match = BRIDGE.exec(value ?? '');
    if (!match) throw new HostUsageError(`--bridge takes NAME=UPLINK, not "${value ?? ''}"`);
    if (bridges.some(b => b.name === match[1])) throw new HostUsageError(`bridge ${match[1]} is given twice`);
    try { uplinkOf(match[2]!); } catch (error) { if (error instanceof UplinkError) throw new HostUsageError(`--bridge ${match[1]}: ${error.message}`); throw error; }
    bridges.push({ name: match[1]!, uplink: match[2]! });
  }
  return { bridges: bridges.length > 0 ? bridges : DEFAULT_BRIDGES, help };
}
