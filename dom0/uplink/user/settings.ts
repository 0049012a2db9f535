// What the user-mode network looks like to guests, and what it lets through.
import { parseAddress, formatAddress } from '../../../net/packet/address.ts';
import { UplinkError } from '../uplink-error.ts';

/** A port of the host that leads into a guest, or (`guestfwd`) an address of the network that leads to the host. */
export interface Forward {
  readonly protocol: 'tcp' | 'udp';
  /** Where it is waited for: an address of the host for `hostfwd` ('' for all), of the network for `guestfwd`. */
  readonly address: string;
  readonly port: number;
  /** For `hostfwd` a guest's address; absent: the first of the DHCP pool. */
  readonly toAddress: string | undefined;
  readonly toPort: number;
}

export interface UserSettings {
  /** Network address, four bytes, and its prefix length. */
  readonly network: Uint8Array;
  readonly networkBits: number;
  readonly gateway: Uint8Array;
  readonly dns: Uint8Array;
  /** First address DHCP gives out; the pool reaches to the network's end. */
  readonly dhcpStart: Uint8Array;
  /** A /64; undefined: no IPv6. */
  readonly prefix6: Uint8Array | undefined;
  readonly gateway6: Uint8Array | undefined;
  readonly dns6: Uint8Array | undefined;
  /** Of a guest's link: IP packets up to this many bytes. */
  readonly mtu: number;
  readonly domain: string | undefined;
  /** Resolvers of the host's, `address` or `address:port`; undefined: those the host is configured with. */
  readonly resolvers: readonly string[] | undefined;
  /** The gateway's address leads to the host's own loopback. */
  readonly hostLoopback: boolean;
  /** Guests reach nothing but the gateway's services and forwards. */
  readonly restrict: boolean;
  readonly hostForwards: readonly Forward[];
  readonly guestForwards: readonly Forward[];
}

const MIN_MTU = 1280, MAX_MTU = 65_521;
const GATEWAY_HOST = 2, DNS_HOST = 3, FIRST_LEASE_HOST = 15;

/** `net=10.0.2.0/24,hostfwd=tcp:127.0.0.1:2222-:22,...`; '' gives the usual network. @throws UplinkError names the option */
export function parseUserSettings(text: string): UserSettings {
  const values = new Map<string, string>(), hostForwards: Forward[] = [], guestForwards: Forward[] = [];
  for (const part of text.split(',').map(p => p.trim()).filter(p => p !== '')) {
    const equals = part.indexOf('='), key = equals < 0 ? part : part.slice(0, equals), value = equals < 0 ? 'on' : part.slice(equals + 1);
    if (key === 'hostfwd') hostForwards.push(parseForward(part, value));
    else if (key === 'guestfwd') guestForwards.push(parseForward(part, value));
    else if (['net', 'ipv6-net', 'ipv6', 'mtu', 'domain', 'dns', 'host-loopback', 'restrict'].includes(key)) values.set(key, value);
    else throw new UplinkError(`uplink user: there is no option "${key}"`);
  }
  const { network, bits } = parseNetwork(values.get('net') ?? '10.0.2.0/24');
  const prefix6 = onOff(values, 'ipv6', true) ? parsePrefix6(values.get('ipv6-net') ?? 'fd00::/64') : undefined;
  const mtu = Number(values.get('mtu') ?? 1500);
  if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > MAX_MTU) throw new UplinkError(`uplink user: mtu=${values.get('mtu')} is not between ${MIN_MTU} and ${MAX_MTU}`);
  const resolvers = values.get('dns')?.split('+');
  for (const forward of guestForwards) {
    const address = parseAddress(forward.address);
    if (!address || forward.toAddress === undefined || (address.length === 4 && !inNetwork(address, 0, network, bits))) throw new UplinkError(`uplink user: guestfwd=${forward.protocol}:${forward.address}:${forward.port} has to name an address of the network and one of the host`);
  }
  return {
    network, networkBits: bits, gateway: host4(network, GATEWAY_HOST), dns: host4(network, DNS_HOST), dhcpStart: host4(network, FIRST_LEASE_HOST),
    prefix6, gateway6: prefix6 && host6(prefix6, GATEWAY_HOST), dns6: prefix6 && host6(prefix6, DNS_HOST), mtu, domain: values.get('domain'), resolvers,
    hostLoopback: onOff(values, 'host-loopback', true), restrict: onOff(values, 'restrict', false), hostForwards, guestForwards,
  };
}

function onOff(values: ReadonlyMap<string, string>, key: string, usual: boolean): boolean {
  const value = values.get(key);
  if (value !== undefined && value !== 'on' && value !== 'off') throw new UplinkError(`uplink user: ${key}=${value} is neither on nor off`);
  return value === undefined ? usual : value === 'on';
}

function parseNetwork(text: string): { network: Uint8Array; bits: number } {
  const [address, bitsText] = text.split('/'), network = parseAddress(address ?? ''), bits = Number(bitsText);
  if (network?.length !== 4 || !(bits >= 8 && bits <= 27)) throw new UplinkError(`uplink user: net=${text} is no IPv4 network of 8 to 27 bits, such as 10.0.2.0/24`);
  for (let i = 0; i < 4; i++) network[i]! &= maskByte(bits, i);
  return { network, bits };
}
function parsePrefix6(text: string): Uint8Array {
  const [address, bits] = text.split('/'), prefix = parseAddress(address ?? '');
  if (prefix?.length !== 16 || bits !== '64') throw new UplinkError(`uplink user: ipv6-net=${text} is no IPv6 network of 64 bits, such as fd00::/64`);
  return prefix.fill(0, 8);
}

const FORWARD = /^(tcp|udp):(\[[^\]]*\]|[^:[\]]*):(\d+)-(\[[^\]]*\]|[^:[\]]*):(\d+)$/;
/** `tcp:127.0.0.1:2222-10.0.2.15:22`; IPv6 addresses in brackets; addresses may be left out. */
function parseForward(part: string, value: string): Forward {
  const match = FORWARD.exec(value);
  if (!match) throw new UplinkError(`uplink user: ${part} is not of the form tcp:ADDRESS:PORT-ADDRESS:PORT`);
  const [, protocol, address, port, toAddress, toPort] = match as unknown as [string, 'tcp' | 'udp', string, string, string, string];
  const bare = (a: string): string => a.replace(/^\[|\]$/g, ''), usual = (a: string): string => { const parsed = parseAddress(bare(a)); return parsed ? addressText(parsed) : ''; };
  for (const a of [bare(address), bare(toAddress)]) if (a !== '' && !parseAddress(a)) throw new UplinkError(`uplink user: ${part}: "${a}" is no address`);
  for (const p of [Number(port), Number(toPort)]) if (p > 65_535) throw new UplinkError(`uplink user: ${part}: there is no port ${p}`);
  return { protocol, address: usual(address), port: Number(port), toAddress: usual(toAddress) || undefined, toPort: Number(toPort) };
}

const maskByte = (bits: number, index: number): number => 0xff << (8 - Math.max(0, Math.min(8, bits - 8 * index))) & 0xff;
export const netmask = (bits: number): Uint8Array => Uint8Array.from({ length: 4 }, (_, i) => maskByte(bits, i));
export const inNetwork = (b: Uint8Array, at: number, network: Uint8Array, bits: number): boolean => network.every((byte, i) => (b[at + i]! & maskByte(bits, i)) === byte);
export const inPrefix6 = (b: Uint8Array, at: number, prefix: Uint8Array): boolean => prefix.subarray(0, 8).every((byte, i) => b[at + i] === byte);
/** The n-th address of a network. */
export function host4(network: Uint8Array, n: number): Uint8Array {
  const value = new DataView(network.buffer, network.byteOffset).getUint32(0) + n, out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value);
  return out;
}
const host6 = (prefix: Uint8Array, n: number): Uint8Array => { const out = prefix.slice(); out[15] = n; return out; };
export const addressText = (address: Uint8Array): string => formatAddress(address, 0, address.length);
