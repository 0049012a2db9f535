// Finds the running host, or starts one in the background.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeRunFolder, type RunFolder } from '../../dom0/api/run-folder.ts';
import { Client } from '../xl/client.ts';
import { moduleUrl } from './entry.ts';
import { lockHolder } from './host-lock.ts';

const START_LIMIT_MS = 30_000, END_LIMIT_MS = 5000, POLL_MS = 50;
const LOG_TAIL_LINES = 8;

export function answers(socketPath: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(socketPath);
    socket.on('connect', () => { socket.destroy(); resolve(true); });
    socket.on('error', () => resolve(false));
  });
}

/** @param say gets a line when a host has to be started */
export async function ensureHost(folder: RunFolder, say: (text: string) => void): Promise<RunFolder> {
  if (await answers(folder.socket)) return folder;
  await makeRunFolder(folder);
  const log = join(folder.logs, 'host.log'), fd = openSync(log, 'a', 0o600);
  const child = spawn(process.execPath, [...process.execArgv, fileURLToPath(moduleUrl('tools/host/index')), 'host'], { detached: true, stdio: ['ignore', fd, fd], env: process.env });
  closeSync(fd);
  say(`no host runs: starting one in the background (process ${child.pid}, log ${log})\n`);
  let ended: string | undefined;
  child.on('error', error => { ended = error.message; });
  child.on('exit', (code, signal) => { ended = signal ? `signal ${signal}` : `exit code ${code}`; });
  for (const start = Date.now(); Date.now() - start < START_LIMIT_MS;) {
    if (await answers(folder.socket)) { child.unref(); return folder; }
    // One that others have started meanwhile, as it seems, soon answers.
    if (ended !== undefined && await lockHolder(folder.lock) === undefined) throw new Error(`the host ended as it started (${ended}):\n${tail(log)}`);
    await new Promise(resolve => setTimeout(resolve, POLL_MS));
  }
  child.unref();
  throw new Error(`the host does not answer on ${folder.socket} after ${START_LIMIT_MS / 1000} s:\n${tail(log)}`);
}

/** A host that was started for one command ends with it, unless there is a guest. Returns when it has gone. */
export async function endIdleHost(folder: RunFolder): Promise<void> {
  const ending = await new Client(folder.socket).shutdownHost(false, true).catch(() => false);
  // Its lock goes last.
  for (const start = Date.now(); ending && existsSync(folder.lock) && Date.now() - start < END_LIMIT_MS;) await new Promise(resolve => setTimeout(resolve, POLL_MS));
}

const tail = (path: string): string => {
  try { return readFileSync(path, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n'); } catch { return ''; }
};
