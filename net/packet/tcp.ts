// TCP headers and options (RFC 9293, 7323, 2018).
import { put16, u16, u32 } from './bytes.ts';
import type { Ip } from './ip.ts';
import { upperChecksumRight } from './udp.ts';

export const TCP_HLEN = 20;
export const FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16;
const TCPOPT_EOL = 0, TCPOPT_NOP = 1, TCPOPT_MAXSEG = 2, TCPOPT_WINDOW = 3, TCPOPT_SACK_PERMITTED = 4, TCPOPT_TIMESTAMP = 8;
const MAX_WINDOW_SHIFT = 14;

/** Payload from `at` to `end`; `window` is not scaled. */
export interface Tcp {
  readonly sourcePort: number; readonly destinationPort: number;
  readonly sequence: number; readonly acknowledgement: number;
  readonly flags: number; readonly window: number;
  readonly optionsAt: number; readonly at: number; readonly end: number;
}

/** @param verify the checksum is there and has to be right @returns undefined: malformed */
export function parseTcp(b: Uint8Array, ip: Ip, verify: boolean): Tcp | undefined {
  const { at, end } = ip;
  if (at + TCP_HLEN > end) return undefined;
  const headerBytes = (b[at + 12]! >> 4) * 4;
  if (headerBytes < TCP_HLEN || at + headerBytes > end) return undefined;
  if (verify && !upperChecksumRight(b, ip, end)) return undefined;
  return {
    sourcePort: u16(b, at), destinationPort: u16(b, at + 2), sequence: u32(b, at + 4), acknowledgement: u32(b, at + 8),
    flags: b[at + 13]! & 0x3f, window: u16(b, at + 14), optionsAt: at + TCP_HLEN, at: at + headerBytes, end,
  };
}

export interface TcpOptions {
  mss?: number;
  /** Bits the window is shifted by, at most 14. */
  windowShift?: number;
  sackPermitted?: boolean;
  timestamp?: { value: number; echo: number };
}

/** Unknown options are skipped; a malformed one ends the list. */
export function parseTcpOptions(b: Uint8Array, from: number, to: number): TcpOptions {
  const out: TcpOptions = {};
  for (let at = from; at < to;) {
    const kind = b[at]!;
    if (kind === TCPOPT_EOL) break;
    if (kind === TCPOPT_NOP) { at++; continue; }
    if (at + 2 > to) break;
    const length = b[at + 1]!;
    if (length < 2 || at + length > to) break;
    if (kind === TCPOPT_MAXSEG && length === 4) out.mss = u16(b, at + 2);
    else if (kind === TCPOPT_WINDOW && length === 3) out.windowShift = Math.min(b[at + 2]!, MAX_WINDOW_SHIFT);
    else if (kind === TCPOPT_SACK_PERMITTED && length === 2) out.sackPermitted = true;
    else if (kind === TCPOPT_TIMESTAMP && length === 10) out.timestamp = { value: u32(b, at + 2), echo: u32(b, at + 6) };
    at += length;
  }
  return out;
}

/** The options a SYN of ours carries: MSS, and the window shift if there is to be one. A multiple of four bytes. */
export function synOptions(mss: number, windowShift: number | undefined): Uint8Array {
  const b = new Uint8Array(windowShift === undefined ? 4 : 8);
  b[0] = TCPOPT_MAXSEG;
  b[1] = 4;
  put16(b, 2, mss);
  if (windowShift !== undefined) b.set([TCPOPT_NOP, TCPOPT_WINDOW, 3, windowShift], 4);
  return b;
}
