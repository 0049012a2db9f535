// `xenolith gdb`: lets a gdb attach to a domain.
import { resolve } from 'node:path';
import { runFolder } from '../../dom0/api/run-folder.ts';
import type { GdbEvent } from '../../dom0/debug/gdb-server.ts';
import { Client } from '../xl/client.ts';
import { DebugUsageError, numberOption, parseDebugOptions } from './options.ts';

export const GDB_USAGE = `Usage: xenolith gdb DOMAIN [--port N | --socket PATH]

Waits for gdb on a socket of your own (or a TCP port of this machine, which its other users can reach too), until
Ctrl-C or the end of the domain. The domain stops when gdb attaches and runs on when gdb detaches. Then, in gdb:

  file vmlinux              (if you have one with symbols)
  target remote ADDRESS     as this command prints it

A domain made with "xl create -p" can be attached to before its first instruction; "xl unpause" lets it run.
`;

const SAID: Readonly<Record<Exclude<GdbEvent['event'], 'listening'>, string>> = {
  attached: 'gdb is attached', refused: 'another gdb was turned away: one at a time', detached: 'gdb has left; the domain runs on', ended: 'closed',
};

/** @returns the exit code */
export async function runGdb(argv: readonly string[]): Promise<number> {
  const options = parseDebugOptions(argv, ['port', 'socket'], []);
  if (!options) { process.stdout.write(GDB_USAGE); return 0; }
  const port = numberOption(options, 'port', 0, 65535), { socket } = options.values;
  if (port !== undefined && socket !== undefined) throw new DebugUsageError('--port or --socket, not both');
  const listen = port !== undefined ? { port } : socket !== undefined ? { socket: resolve(socket) } : {};
  const abort = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => abort.abort());
  await new Client(runFolder().socket).gdb(options.domain, listen, event => {
    if (event.event === 'listening') process.stdout.write(`target remote ${event.address}\n`);
    else process.stderr.write(`xenolith: ${SAID[event.event]}\n`);
  }, abort.signal);
  return 0;
}
