// How V8 is to treat the domains' memories, which lie outside its heaps and which every thread's heap names.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** To be called before any other thread starts. */
export function adjustCollector(): void {
  // A destroyed domain's memory goes back at once: the threads ask for a collection then.
  setFlagsFromString('--expose-gc');
  // This thread's context is older than the flag.
  Object.assign(globalThis, { gc: runInNewContext('gc') as () => void });
  // Otherwise a heap is marked whenever 64 MiB outside it have come: several heaps at each start of a domain, which takes
  // as much processor time as the start itself. Now what is outside counts in proportion to what is there.
  setFlagsFromString('--external-memory-accounted-in-global-limit');
  // This thread's heap has got its limit (bin/node26.mjs); the flag would take the place of the others' own.
  setFlagsFromString('--max-old-space-size=0');
}
