// One host per run folder: a file with the owner's process id and start time, so that a lock left by a killed host
// is recognised even after its process id was given out again.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { link, readFile, rm, writeFile } from 'node:fs/promises';

export class HostRunsError extends Error {
  readonly pid: number;
  constructor(pid: number, path: string) { super(`a host runs already (process ${pid}, ${path}): use xl with it, or end it first`); this.pid = pid; }
}

/** Field 22 of /proc/PID/stat, in clock ticks since boot; empty if there is no such process. */
function startTime(pid: number): string {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    // A zombie holds nothing any more; it only waits for its parent to look.
    return fields[0] === 'Z' || fields[0] === 'X' ? '' : fields[19] ?? '';
  } catch { return ''; }
}

/** @returns process id of the host that holds the lock, or undefined */
export async function lockHolder(path: string): Promise<number | undefined> {
  const [pid, started] = (await readFile(path, 'utf8').catch(() => '')).trim().split(' ');
  if (!pid || !started || startTime(Number(pid)) !== started) return undefined;
  return Number(pid);
}

/** @returns gives the lock up @throws HostRunsError */
export async function takeHostLock(path: string): Promise<() => Promise<void>> {
  // Whole from the first moment on: what is empty would look left behind.
  const own = `${path}.${process.pid}-${randomUUID().slice(0, 8)}`;
  await writeFile(own, `${process.pid} ${startTime(process.pid)}\n`, { mode: 0o600 });
  try { return await linkAt(own, path); } finally { await rm(own, { force: true }); }
}
async function linkAt(own: string, path: string): Promise<() => Promise<void>> {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      await link(own, path);
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const holder = await lockHolder(path);
      if (holder !== undefined) throw new HostRunsError(holder, path);
      await rm(path, { force: true });
    }
  }
  throw new Error(`cannot take the lock ${path}: another host is starting`);
}
