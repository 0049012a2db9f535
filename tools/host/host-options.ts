// Options of `xenolith host`.
import type { BridgeOptions } from '../../dom0/options.ts';

export interface HostOptions { readonly bridges: readonly BridgeOptions[]; readonly help: boolean }

export class HostUsageError extends Error {}

export const HOST_USAGE = `Usage: xenolith host [options]

Runs the host in the foreground. Ctrl-C (or SIGTERM) shuts the guests down in order, a second one ends at once.

Options:
  --bridge NAME=UPLINK  a bridge for guests' interfaces, and its way out; may be given several times:
                          none    guests reach each other only
                          user    and the world, through this host's ordinary sockets (default: xenbr0=user)
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
    bridges.push({ name: match[1]!, uplink: match[2]! });
  }
  return { bridges: bridges.length > 0 ? bridges : DEFAULT_BRIDGES, help };
}
