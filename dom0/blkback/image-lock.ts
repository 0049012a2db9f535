// Who uses which image. One writer excludes everybody else; readers share. Within this host a table decides;
// other processes are found through /proc, since a lock file would outlive a killed host.
import { readdir, readFile, stat } from 'node:fs/promises';

export interface ImageId { readonly dev: bigint; readonly ino: bigint }
interface Use { writer: boolean; owner: string }

const uses = new Map<string, Use[]>();
const keyOf = (id: ImageId): string => `${id.dev}:${id.ino}`;

export class ImageBusyError extends Error {}

/**
 * @param owner words for messages, e.g. `domain 3 xvda`
 * @returns releases the use
 * @throws ImageBusyError naming the other user
 */
export function lockImage(path: string, id: ImageId, owner: string, writer: boolean): () => void {
  const key = keyOf(id), list = uses.get(key) ?? [];
  const other = list.find(use => writer || use.writer);
  if (other) throw new ImageBusyError(`${path} is already used ${other.writer ? 'read-write' : 'read-only'} by ${other.owner}: two domains may share a disk only if all use it read-only`);
  const use = { writer, owner };
  uses.set(key, [...list, use]);
  return () => {
    const rest = (uses.get(key) ?? []).filter(u => u !== use);
    if (rest.length > 0) uses.set(key, rest); else uses.delete(key);
  };
}

const O_ACCMODE = 3;

/** Another process of this user that has the file open for writing, or undefined. Best effort. */
export async function foreignWriter(id: ImageId): Promise<{ pid: number; name: string } | undefined> {
  const pids = (await readdir('/proc').catch(() => [])).filter(name => /^\d+$/.test(name) && Number(name) !== process.pid);
  for (const pid of pids) {
    const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
    for (const fd of fds) {
      const open = await stat(`/proc/${pid}/fd/${fd}`, { bigint: true }).catch(() => undefined);
      if (!open || open.ino !== id.ino || open.dev !== id.dev) continue;
      const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
      const flags = parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? '0', 8);
      if ((flags & O_ACCMODE) === 0) continue;
      return { pid: Number(pid), name: (await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')).trim() };
    }
  }
  return undefined;
}
