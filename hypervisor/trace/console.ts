// The hypervisor's console ring (xl dmesg): text in shared memory, oldest lines overwritten.
import { CONSOLE_BYTES, H, type HypervisorState } from '../domain/state.ts';
import { locked } from '../lib/lock.ts';

const encoder = new TextEncoder(), decoder = new TextDecoder();

/** Appends a line with Xen's prefix; control characters of guests become question marks. */
export function appendConsole(state: HypervisorState, line: string): void {
  const ns = state.now(), stamp = `${String(ns / 1_000_000_000n).padStart(5)}.${String(ns / 1000n % 1_000_000n).padStart(6, '0')}`;
  // eslint-disable-next-line no-control-regex
  const text = encoder.encode(`(XEN) [${stamp}] ${line.replace(/[\x00-\x1f\x7f]/g, '?')}\n`);
  locked(state.words, H.consoleLock, () => {
    let head = state.words[H.consoleHead]! >>> 0;
    for (const b of text) state.console[head++ % CONSOLE_BYTES] = b;
    state.words[H.consoleHead] = head | 0;
  });
}
/** All of the ring, oldest line first; a clear forgets it. */
export function readConsole(state: HypervisorState, clear: boolean): string {
  return locked(state.words, H.consoleLock, () => {
    const head = state.words[H.consoleHead]! >>> 0, length = Math.min(head, CONSOLE_BYTES), out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = state.console[(head - length + i) % CONSOLE_BYTES]!;
    if (clear) state.words[H.consoleHead] = 0;
    const text = decoder.decode(out);
    return head > CONSOLE_BYTES ? text.slice(text.indexOf('\n') + 1) : text;
  });
}
