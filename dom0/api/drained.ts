import type { IncomingMessage } from 'node:http';

/** What is still read of a body that is refused, and for how long. */
const MAX_BYTES = 64 * 1024 * 1024, MAX_MS = 5000;

/** Reads the rest of a body away: a client that is still sending when its connection ends would not see why. */
export function drained(body: IncomingMessage): Promise<void> {
  if (body.complete || body.destroyed) return Promise.resolve();
  return new Promise(resolve => {
    let bytes = 0;
    const timer = setTimeout(resolve, MAX_MS).unref();
    body.on('data', (data: Buffer) => { if ((bytes += data.length) > MAX_BYTES) resolve(); });
    for (const event of ['end', 'close', 'error']) body.once(event, () => { clearTimeout(timer); resolve(); });
    body.resume();
  });
}
