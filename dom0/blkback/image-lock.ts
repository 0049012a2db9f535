// Who uses which image. One writer excludes everybody else; readers share. Within this host a table decides;
// other processes are found through /proc, since a lock file would outlive a killed host.
import { readdirSync, readFileSync, statSync } from 'node:fs';

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

/** Looking goes on for so long before others have their turn on this thread. */
const SLICE_MS = 1;

/**
 * Another process of this user that has the file open for writing, or undefined. Best effort. There are thousands of descriptors to look at:
 * a trip to the thread pool for each would take ten times as long as the look.
 */
export async function foreignWriter(id: ImageId): Promise<{ pid: number; name: string } | undefined> {
  let until = performance.now() + SLICE_MS;
  for (const pid of entries('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    for (const fd of entries(`/proc/${pid}/fd`)) {
      if (isOpen(pid, fd, id)) return { pid: Number(pid), name: text(`/proc/${pid}/comm`).trim() };
      if (performance.now() < until) continue;
      await new Promise(resolve => { setImmediate(resolve); });
      until = performance.now() + SLICE_MS;
    }
  }
  return undefined;
}
function isOpen(pid: string, fd: string, id: ImageId): boolean {
  try {
    const open = statSync(`/proc/${pid}/fd/${fd}`, { bigint: true, throwIfNoEntry: false });
    if (!open || open.ino !== id.ino || open.dev !== id.dev) return false;
  } catch { return false; }
  return (parseInt(/^flags:\s*([0-7]+)/m.exec(text(`/proc/${pid}/fdinfo/${fd}`))?.[1] ?? '0', 8) & O_ACCMODE) !== 0;
}
/** What is gone meanwhile, or others', is empty. */
function entries(folder: string): string[] { try { return readdirSync(folder); } catch { return []; } }
function text(file: string): string { try { return readFileSync(file, 'utf8'); } catch { return ''; } }
