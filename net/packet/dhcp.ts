// DHCP for IPv4 (RFC 2131, 2132).
import { put16, put32, u32 } from './bytes.ts';

export const DHCPDISCOVER = 1, DHCPOFFER = 2, DHCPREQUEST = 3, DHCPDECLINE = 4, DHCPACK = 5, DHCPNAK = 6, DHCPRELEASE = 7, DHCPINFORM = 8;
export const DHCP_SERVER_PORT = 67, DHCP_CLIENT_PORT = 68;
export const OPT_MASK = 1, OPT_ROUTER = 3, OPT_DNS = 6, OPT_HOSTNAME = 12, OPT_DOMAIN = 15, OPT_MTU = 26, OPT_BROADCAST = 28,
  OPT_REQUESTED_IP = 50, OPT_LEASE_SECONDS = 51, OPT_OVERLOAD = 52, OPT_TYPE = 53, OPT_SERVER = 54, OPT_PARAMETERS = 55, OPT_RENEW = 58, OPT_REBIND = 59;
const OPT_PAD = 0, OPT_END = 255;
const BOOTREQUEST = 1, BOOTREPLY = 2, COOKIE = 0x6382_5363, FIXED_BYTES = 240, MIN_REPLY_BYTES = 300, FLAG_BROADCAST = 0x80;

/** Addresses are four bytes, `mac` six. Options by code; one that comes in parts is joined (RFC 3396). */
export interface DhcpRequest {
  readonly type: number; readonly xid: number; readonly broadcast: boolean; readonly clientIp: Uint8Array; readonly relayIp: Uint8Array; readonly mac: Uint8Array;
  readonly options: ReadonlyMap<number, Uint8Array>;
}

/** @returns undefined: no request of an Ethernet client, or malformed */
export function parseDhcp(b: Uint8Array): DhcpRequest | undefined {
  if (b.length < FIXED_BYTES || b[0] !== BOOTREQUEST || b[1] !== 1 || b[2] !== 6 || u32(b, 236) !== COOKIE) return undefined;
  const options = parseOptions(b), type = options?.get(OPT_TYPE);
  if (!options || type?.length !== 1) return undefined;
  return { type: type[0]!, xid: u32(b, 4), broadcast: (b[10]! & FLAG_BROADCAST) !== 0, clientIp: b.slice(12, 16), relayIp: b.slice(24, 28), mac: b.slice(28, 34), options };
}

/** @returns undefined: malformed */
function parseOptions(b: Uint8Array): Map<number, Uint8Array> | undefined {
  const options = new Map<number, Uint8Array>();
  for (let at = FIXED_BYTES; at < b.length;) {
    const code = b[at]!;
    if (code === OPT_END) break;
    if (code === OPT_PAD) { at++; continue; }
    const length = b[at + 1];
    if (length === undefined || at + 2 + length > b.length) return undefined;
    const value = b.slice(at + 2, at + 2 + length), before = options.get(code);
    options.set(code, before ? Uint8Array.of(...before, ...value) : value);
    at += 2 + length;
  }
  return options;
}

/** @property yourIp what the server gives */
export interface DhcpReply { readonly type: number; readonly yourIp: Uint8Array; readonly options: ReadonlyMap<number, Uint8Array> }
/** @param xid of the request that it has to answer @returns undefined: it does not, or is malformed */
export function parseDhcpReply(b: Uint8Array, xid: number): DhcpReply | undefined {
  if (b.length < FIXED_BYTES || b[0] !== BOOTREPLY || u32(b, 4) !== xid || u32(b, 236) !== COOKIE) return undefined;
  const options = parseOptions(b), type = options?.get(OPT_TYPE);
  return options && type?.length === 1 ? { type: type[0]!, yourIp: b.slice(16, 20), options } : undefined;
}
/** A client's message, to be answered to everybody. @param options in order, without type and end */
export function dhcpRequest(type: number, xid: number, mac: Uint8Array, options: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  const list: readonly (readonly [number, Uint8Array])[] = [[OPT_TYPE, Uint8Array.of(type)], ...options];
  const b = new Uint8Array(Math.max(MIN_REPLY_BYTES, FIXED_BYTES + 1 + list.reduce((n, [, value]) => n + 2 + value.length, 0)));
  b.set([BOOTREQUEST, 1, 6, 0]);
  put32(b, 4, xid);
  b[10] = FLAG_BROADCAST;
  b.set(mac, 28);
  put32(b, 236, COOKIE);
  let at = FIXED_BYTES;
  for (const [code, value] of list) { b.set([code, value.length, ...value], at); at += 2 + value.length; }
  b[at] = OPT_END;
  return b;
}

/** @param yourIp what the client gets; zeros in a refusal @param options in order, without type and end */
export function dhcpReply(request: DhcpRequest, type: number, yourIp: Uint8Array, options: readonly (readonly [number, Uint8Array])[]): Uint8Array {
  const byteCount = FIXED_BYTES + 4 + options.reduce((n, [, value]) => n + 2 + value.length, 0);
  const b = new Uint8Array(Math.max(byteCount, MIN_REPLY_BYTES));
  b.set([BOOTREPLY, 1, 6, 0]);
  put32(b, 4, request.xid);
  put16(b, 10, request.broadcast ? FLAG_BROADCAST << 8 : 0);
  if (type === DHCPACK) b.set(request.clientIp, 12);
  b.set(yourIp, 16);
  b.set(request.relayIp, 24);
  b.set(request.mac, 28);
  put32(b, 236, COOKIE);
  let at = FIXED_BYTES;
  const add = (code: number, value: Uint8Array): void => { b[at] = code; b[at + 1] = value.length; b.set(value, at + 2); at += 2 + value.length; };
  add(OPT_TYPE, Uint8Array.of(type));
  for (const [code, value] of options) add(code, value);
  b[at] = OPT_END;
  return b;
}
