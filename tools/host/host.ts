// `xenolith host`: one process that runs the hypervisor and its control domain until it is told to end.
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { makeRunFolder, runFolder, type RunFolder } from '../../dom0/api/run-folder.ts';
import { makeStateFolder, stateFolder, type StateFolder } from '../../dom0/management/state-folder.ts';
import type { Dom0Message, Dom0Options } from '../../dom0/options.ts';
import { startHypervisor } from '../../hypervisor/boot/main.ts';
import { Client } from '../xl/client.ts';
import { adjustCollector } from './collector.ts';
import { answers } from './ensure-host.ts';
import { moduleUrl } from './entry.ts';
import { HOST_USAGE, parseHostOptions, type HostOptions } from './host-options.ts';
import { HostRunsError, lockHolder, takeHostLock } from './host-lock.ts';

/** Threads for file input and output: every disk may have several requests under way. */
const IO_THREADS = '16';
/** Dom0 is started again after so many crashes in a while, and then no more. */
const MAX_CRASHES = 5, CRASH_WINDOW_MS = 60_000;

/** @returns the exit code */
export async function runHost(argv: readonly string[]): Promise<number> {
  const options = parseHostOptions(argv);
  if (options.help) { process.stdout.write(HOST_USAGE); return 0; }
  // Read by libuv when its pool starts, which no file access has done yet in this process's threads.
  process.env['UV_THREADPOOL_SIZE'] ??= IO_THREADS;
  adjustCollector();
  const folder = runFolder();
  await makeRunFolder(folder);
  if (await answers(folder.socket)) throw new HostRunsError(await lockHolder(folder.lock) ?? 0, folder.socket);
  const state = stateFolder();
  makeStateFolder(state);
  const unlock = await takeHostLock(folder.lock);
  try {
    const unlockState = await takeHostLock(state.lock).catch(error => { throw error instanceof HostRunsError ? new Error(`another host (process ${error.pid}) keeps its state in ${state.dir}: set XENOLITH_STATEDIR to a folder of this one's own`) : error; });
    try {
      rmSync(folder.socket, { force: true });
      return await serve(folder, state, options);
    } finally { await unlockState(); }
  } finally {
    rmSync(folder.socket, { force: true });
    rmSync(folder.xenstoreSocket, { force: true });
    await unlock();
  }
}

async function serve(folder: RunFolder, state: StateFolder, { bridges, roots, listen, jit }: HostOptions): Promise<number> {
  const options: Dom0Options = { runDir: folder.dir, stateDir: state.dir, hostLife: randomUUID(), roots, ...(listen ? { listen } : {}), hostPid: process.pid, bridges };
  let signals = 0, wasReady = false, crashes: number[] = [];
  let finish: (code: number) => void = () => {};
  const finished = new Promise<number>(resolve => { finish = resolve; });
  const hypervisor = await startHypervisor({
    jit, dom0Module: moduleUrl('dom0/index'), dom0Data: options, programModule: moduleUrl('domu-pv/index'),
    onDom0Message: (message: unknown) => {
      const said = message as Dom0Message, { kind } = said;
      if (said.kind === 'ready') process.stderr.write(`${said.tcp ? `xenolith: listens on ${said.tcp.url}, certificate SHA-256 ${said.tcp.fingerprint}\n` : ''}xenolith: host ready, xl talks to ${folder.socket}\n`);
      if (kind === 'ready') wasReady = true;
      if (said.kind === 'failed') process.stderr.write(`xenolith: ${said.message}\n`);
      if (kind === 'finished') finish(0);
    },
    onDom0Exit: code => {
      const now = performance.now();
      crashes = [...crashes.filter(at => now - at < CRASH_WINDOW_MS), now];
      const again = signals === 0 && wasReady && crashes.length <= MAX_CRASHES;
      process.stderr.write(`xenolith: the control domain ended (${code})${again ? ': it is started again, the guests go on' : ''}\n`);
      if (!again) finish(1);
      return again;
    },
  });
  const client = new Client(folder.socket);
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {
    if (++signals > 1) { finish(1); return; }
    process.stderr.write(`xenolith: ${signal}: shutting the guests down; once more ends at once\n`);
    client.shutdownHost(false).catch(() => finish(1));
  });
  const code = await finished;
  await hypervisor.stop();
  return code;
}
