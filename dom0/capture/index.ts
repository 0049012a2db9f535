// Captures: what passes a bridge, or one interface on it, as a pcap file that grows.
// Invariant: a reader this far behind loses frames, so that it cannot hold Dom0's memory.
import type { Writable } from 'node:stream';
import { withChecksum } from '../switch/offload.ts';
import type { Frame } from '../switch/port.ts';
import type { Switch } from '../switch/switch.ts';
import { pcapHeader, pcapPacket } from './pcap.ts';

export const MAX_BACKLOG_BYTES = 16 * 1024 * 1024;

export interface CaptureCounters { captured: number; dropped: number }

/** Writes until the returned function is called. @param port only what this port of the bridge's sends and gets. Large packets are one frame in it, with the checksum a wire would show. */
export function capture(bridge: Switch, out: Writable, port?: string): { stop: () => void; readonly counters: CaptureCounters } {
  const counters: CaptureCounters = { captured: 0, dropped: 0 };
  let corked = false;
  out.write(pcapHeader());
  const see = (frame: Frame): void => {
    if (out.writableLength > MAX_BACKLOG_BYTES) { counters.dropped++; return; }
    if (!corked) {
      corked = true;
      out.cork();
      queueMicrotask(() => { corked = false; out.uncork(); });
    }
    counters.captured++;
    out.write(pcapPacket(performance.timeOrigin + performance.now(), withChecksum(frame).bytes));
  };
  return { stop: port === undefined ? bridge.tap(see) : bridge.tapPort(port, see), counters };
}
