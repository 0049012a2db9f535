// Reads and unpacks a kernel on a thread of its own: a large XZ payload takes a second, during which Dom0's thread
// must go on serving disks.
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { BuilderError, type BuilderErrorCode } from './builder-error.ts';
import { parseKernel, type KernelImage } from './kernel-image.ts';

/** Marks a thread as started by loadKernel (this file is also the thread's program). */
interface Task { readonly xenolithKernelPath: string }
type Answer = { readonly image: KernelImage } | { readonly code: BuilderErrorCode; readonly message: string };

/** Smaller buffers are cheaper to copy than to hand over, and may be slices of a pool that cannot be. */
const TRANSFER_BYTES = 0x100000;

/** Reads and parses on this thread. @throws BuilderError */
export function readKernel(path: string): KernelImage {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    throw new BuilderError('kernel-unreadable', `The kernel ${path} cannot be read: ${(error as Error).message}.`, error);
  }
  return parseKernel(bytes, `The kernel ${path}`);
}

/** How long a kernel is kept after its last use: unpacking takes longer than all the rest of making a domain. */
const KEPT_MS = 30_000;
/** A file may be written twice within one tick of its time stamps: only older ones tell whether it was. */
const SETTLED_MS = 1000;
let kept: { readonly file: string; readonly image: Promise<KernelImage>; readonly timer: NodeJS.Timeout } | undefined;

/** Reads and parses on another thread, unless it is the kernel of the last domain. Its bytes are not to be changed. @throws BuilderError */
export async function loadKernel(path: string): Promise<KernelImage> {
  const file = await identityOf(path);
  if (file === undefined || file !== kept?.file) forget();
  const image = kept?.image ?? unpacked(path);
  clearTimeout(kept?.timer);
  if (file !== undefined) {
    kept = { file, image, timer: setTimeout(forget, KEPT_MS).unref() };
    image.catch(() => { if (kept?.image === image) forget(); });
  }
  return image;
}
function forget(): void {
  clearTimeout(kept?.timer);
  kept = undefined;
}
/** What changes with the file's content, or undefined: it cannot be told. */
async function identityOf(path: string): Promise<string | undefined> {
  const s = await stat(path, { bigint: true }).catch(() => undefined);
  return s?.isFile() && Date.now() - Number(s.ctimeMs) > SETTLED_MS ? [s.dev, s.ino, s.size, s.mtimeNs, s.ctimeNs].join() : undefined;
}

function unpacked(path: string): Promise<KernelImage> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { xenolithKernelPath: path } satisfies Task });
    worker.once('message', (answer: Answer) => {
      if ('image' in answer) resolve(answer.image);
      else reject(new BuilderError(answer.code, answer.message));
    });
    worker.once('error', reject);
    worker.once('exit', () => reject(new BuilderError('kernel-unreadable', `The kernel ${path} could not be read: its thread ended.`)));
  });
}

function answer(path: string): Answer {
  try {
    return { image: readKernel(path) };
  } catch (error) {
    if (error instanceof BuilderError) return { code: error.code, message: error.message };
    throw error;
  }
}

const task = workerData as Partial<Task> | null | undefined;
if (!isMainThread && parentPort !== null && typeof task?.xenolithKernelPath === 'string') {
  const result = answer(task.xenolithKernelPath);
  const buffers = 'image' in result ? new Set(result.image.loads.map((l) => l.data.buffer as ArrayBuffer)) : new Set<ArrayBuffer>();
  parentPort.postMessage(result, [...buffers].filter((b) => b.byteLength >= TRANSFER_BYTES));
}
