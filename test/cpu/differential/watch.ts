// Ends a case that does not end here: when no case has begun for a while, the processor's attention word is set to the
// number of the last one.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';

const PERIOD_MS = 1000;

/** Words of the watch: cases begun so far. */
export const BEGUN = 0;
interface Watched { readonly attention: Int32Array; readonly begun: Int32Array }

/** Watches in a thread of its own, which keeps no process alive. */
export function watch(attention: Int32Array): Int32Array {
  const begun = new Int32Array(new SharedArrayBuffer(4));
  new Worker(new URL(import.meta.url), { workerData: { attention, begun } satisfies Watched }).unref();
  return begun;
}

if (!isMainThread && parentPort && (workerData as Watched | undefined)?.begun) {
  const { attention, begun } = workerData as Watched;
  let last = -1;
  setInterval(() => {
    const now = Atomics.load(begun, BEGUN);
    if (now === last) Atomics.store(attention, 0, now);
    last = now;
  }, PERIOD_MS);
}
