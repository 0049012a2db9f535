// Where a host keeps its socket, lock and logs: one folder per user, mode 0700.
import { chmod, lstat, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface RunFolder {
  readonly dir: string;
  /** HTTP API. */
  readonly socket: string;
  /** Process id of the host that owns the folder. */
  readonly lock: string;
  readonly logs: string;
  /** xenstore for Debian's xenstore-utils (XENSTORED_RUNDIR=dir). */
  readonly xenstoreSocket: string;
}

/** XENOLITH_RUNDIR, else $XDG_RUNTIME_DIR/xenolith, else ~/.xenolith/run. */
export function runFolder(env: Readonly<Record<string, string | undefined>> = process.env): RunFolder {
  const dir = env['XENOLITH_RUNDIR'] || (env['XDG_RUNTIME_DIR'] ? join(env['XDG_RUNTIME_DIR'], 'xenolith') : join(homedir(), '.xenolith', 'run'));
  return { dir, socket: join(dir, 'api.sock'), lock: join(dir, 'host.pid'), logs: join(dir, 'log'), xenstoreSocket: join(dir, 'socket') };
}

/** Longest path a Unix socket may have on Linux (sun_path less its terminator). */
const SOCKET_PATH_BYTES = 107;

/** @throws Error with the way out, if the folder is somebody else's or too deep */
export async function makeRunFolder(folder: RunFolder): Promise<void> {
  if (Buffer.byteLength(folder.xenstoreSocket) > SOCKET_PATH_BYTES) throw new Error(`the run folder ${folder.dir} is too long for a Unix socket: set XENOLITH_RUNDIR to a shorter path`);
  await mkdir(folder.logs, { recursive: true, mode: 0o700 });
  const info = await lstat(folder.dir);
  if (!info.isDirectory() || (process.getuid && info.uid !== process.getuid())) throw new Error(`the run folder ${folder.dir} does not belong to you: set XENOLITH_RUNDIR to a folder that does`);
  await chmod(folder.dir, 0o700);
}
