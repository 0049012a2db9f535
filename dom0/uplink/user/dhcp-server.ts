// DHCP for the guests of one bridge (RFC 2131).
// Invariant: one lease per Ethernet address, which keeps its IP address as long as others leave it free; at most as
// many as the pool has addresses.
import { formatMac, parseMac } from '../../../net/packet/address.ts';
import * as dhcp from '../../../net/packet/dhcp.ts';
import { sameBytes } from '../../../net/packet/bytes.ts';
import { addressText, host4, inNetwork, netmask, type UserSettings } from './settings.ts';
import type { Neighbours } from './neighbours.ts';

/** @property expiresMs of Date.now()'s clock @property bound false: only offered */
export interface Lease { readonly address: string; readonly hostname: string | undefined; readonly expiresMs: number; readonly bound: boolean }
interface Entry { readonly address: Uint8Array; hostname: string | undefined; expiresMs: number; bound: boolean; declined: boolean }

const LEASE_SECONDS = 86_400, OFFER_MS = 60_000, DECLINED_MS = 600_000;
/** Pools of large networks are not longer than this. */
const MAX_POOL = 4096;

/** What a request is answered with; `broadcast`: the client cannot be reached by its address yet. */
export interface DhcpAnswer { readonly payload: Uint8Array; readonly to: Uint8Array; readonly broadcast: boolean }

export class DhcpServer {
  readonly #settings: UserSettings;
  readonly #neighbours: Neighbours;
  readonly #nowMs: () => number;
  /** By Ethernet address. */
  readonly #leases = new Map<string, Entry>();
  onChange: (mac: string) => void = () => {};

  constructor(settings: UserSettings, neighbours: Neighbours, nowMs: () => number = Date.now) {
    this.#settings = settings;
    this.#neighbours = neighbours;
    this.#nowMs = nowMs;
  }

  leases(): Map<string, Lease> {
    const nowMs = this.#nowMs();
    return new Map([...this.#leases].filter(([, e]) => e.bound && e.expiresMs > nowMs).map(([mac, e]) => [mac, view(e)]));
  }

  /** An address that was given before: bound again, where it is in the pool and nobody else's. */
  remember(mac: string, address: Uint8Array): void {
    const owner = parseMac(mac), taken = new Set([...this.#leases.values()].map(e => addressText(e.address)));
    if (!owner || this.#leases.has(mac) || !this.#inPool(address) || taken.has(addressText(address))) return;
    this.#leases.set(mac, { address, hostname: undefined, expiresMs: this.#nowMs() + LEASE_SECONDS * 1000, bound: true, declined: false });
    this.#neighbours.learn(address, owner);
  }

  /** @param payload of a datagram to port 67 @param frameMac who really sent it */
  answer(payload: Uint8Array, frameMac: Uint8Array): DhcpAnswer | undefined {
    const request = dhcp.parseDhcp(payload);
    // A guest asks for itself: it cannot use up the pool under invented addresses.
    if (!request || !sameBytes(request.mac, 0, frameMac, 0, 6)) return undefined;
    const server = request.options.get(dhcp.OPT_SERVER);
    if (server && !same(server, this.#settings.gateway)) return undefined;
    switch (request.type) {
      case dhcp.DHCPDISCOVER: return this.#offer(request);
      case dhcp.DHCPREQUEST: return this.#request(request);
      case dhcp.DHCPDECLINE: this.#decline(request); return undefined;
      case dhcp.DHCPRELEASE: this.#release(request); return undefined;
      case dhcp.DHCPINFORM: return this.#reply(request, dhcp.DHCPACK, new Uint8Array(4), false);
      default: return undefined;
    }
  }

  #offer(request: dhcp.DhcpRequest): DhcpAnswer | undefined {
    const mac = formatMac(request.mac), entry = this.#assign(mac, request.options.get(dhcp.OPT_REQUESTED_IP));
    if (!entry) return undefined;
    if (!entry.bound) entry.expiresMs = this.#nowMs() + OFFER_MS;
    return this.#reply(request, dhcp.DHCPOFFER, entry.address, true);
  }

  #request(request: dhcp.DhcpRequest): DhcpAnswer | undefined {
    const mac = formatMac(request.mac), renewing = !isZero(request.clientIp);
    const wanted = renewing ? request.clientIp : request.options.get(dhcp.OPT_REQUESTED_IP);
    if (wanted?.length !== 4) return undefined;
    const entry = this.#assign(mac, wanted);
    if (!entry || !same(entry.address, wanted)) return this.#reply(request, dhcp.DHCPNAK, new Uint8Array(4), false);
    entry.bound = true;
    entry.expiresMs = this.#nowMs() + LEASE_SECONDS * 1000;
    entry.hostname = hostnameOf(request.options.get(dhcp.OPT_HOSTNAME));
    this.#neighbours.learn(entry.address, request.mac);
    this.onChange(mac);
    return this.#reply(request, dhcp.DHCPACK, entry.address, true);
  }

  #decline(request: dhcp.DhcpRequest): void {
    const mac = formatMac(request.mac), entry = this.#leases.get(mac);
    if (!entry) return;
    // Somebody has the address already: it rests a while, in a name of its own.
    this.#leases.delete(mac);
    this.#leases.set(`declined ${addressText(entry.address)}`, { ...entry, bound: false, declined: true, expiresMs: this.#nowMs() + DECLINED_MS });
    this.onChange(mac);
  }

  #release(request: dhcp.DhcpRequest): void {
    const mac = formatMac(request.mac), entry = this.#leases.get(mac);
    if (!entry || !same(entry.address, request.clientIp)) return;
    entry.bound = false;
    entry.expiresMs = 0;
    this.onChange(mac);
  }

  /** The client's old address, the one it wishes, the first free one, or the one longest unused. */
  #assign(mac: string, wanted: Uint8Array | undefined): Entry | undefined {
    const old = this.#leases.get(mac);
    if (old) return old;
    const taken = new Map([...this.#leases].map(([owner, e]) => [addressText(e.address), owner]));
    const wish = wanted?.length === 4 && this.#inPool(wanted) && this.#isFree(wanted, mac, taken) ? wanted : undefined;
    let address = wish ?? this.#firstFree(mac, taken);
    if (!address) {
      const nowMs = this.#nowMs();
      let oldest: string | undefined;
      for (const [owner, e] of this.#leases) if (e.expiresMs < nowMs && (oldest === undefined || e.expiresMs < this.#leases.get(oldest)!.expiresMs)) oldest = owner;
      if (oldest === undefined) return undefined;
      address = this.#leases.get(oldest)!.address;
      this.#leases.delete(oldest);
    }
    const entry: Entry = { address, hostname: undefined, expiresMs: this.#nowMs() + OFFER_MS, bound: false, declined: false };
    this.#leases.set(mac, entry);
    return entry;
  }

  #firstFree(mac: string, taken: ReadonlyMap<string, string>): Uint8Array | undefined {
    for (const address of this.#pool()) if (this.#isFree(address, mac, taken)) return address;
    return undefined;
  }
  #isFree(address: Uint8Array, mac: string, taken: ReadonlyMap<string, string>): boolean {
    const text = addressText(address);
    if (taken.has(text) || this.#settings.guestForwards.some(f => f.address === text)) return false;
    const neighbour = this.#neighbours.macOf(address);
    return neighbour === undefined || formatMac(neighbour) === mac;
  }
  *#pool(): Generator<Uint8Array> {
    const { dhcpStart, networkBits } = this.#settings, last = 2 ** (32 - networkBits) - 2 - (dhcpStart[3]! - this.#settings.network[3]!);
    for (let n = 0; n <= Math.min(last, MAX_POOL); n++) yield host4(dhcpStart, n);
  }
  #inPool(address: Uint8Array): boolean {
    const { network, networkBits, dhcpStart } = this.#settings;
    if (!inNetwork(address, 0, network, networkBits)) return false;
    const number = (a: Uint8Array): number => new DataView(a.buffer, a.byteOffset).getUint32(0), broadcast = number(network) + 2 ** (32 - networkBits) - 1;
    return number(address) >= number(dhcpStart) && number(address) < broadcast;
  }

  #reply(request: dhcp.DhcpRequest, type: number, address: Uint8Array, lease: boolean): DhcpAnswer {
    const s = this.#settings, options: (readonly [number, Uint8Array])[] = [[dhcp.OPT_SERVER, s.gateway]];
    if (lease) options.push([dhcp.OPT_LEASE_SECONDS, seconds(LEASE_SECONDS)], [dhcp.OPT_RENEW, seconds(LEASE_SECONDS / 2)], [dhcp.OPT_REBIND, seconds(LEASE_SECONDS * 7 / 8)]);
    if (type !== dhcp.DHCPNAK) {
      options.push([dhcp.OPT_MASK, netmask(s.networkBits)], [dhcp.OPT_ROUTER, s.gateway], [dhcp.OPT_DNS, s.dns], [dhcp.OPT_BROADCAST, host4(s.network, 2 ** (32 - s.networkBits) - 1)], [dhcp.OPT_MTU, Uint8Array.of(s.mtu >> 8, s.mtu & 255)]);
      if (s.domain !== undefined) options.push([dhcp.OPT_DOMAIN, Buffer.from(s.domain.slice(0, 255), 'latin1')]);
    }
    const broadcast = type === dhcp.DHCPNAK || request.broadcast, to = isZero(request.clientIp) ? address : request.clientIp;
    return { payload: dhcp.dhcpReply(request, type, address, options), to, broadcast };
  }
}

const view = (e: Entry): Lease => ({ address: addressText(e.address), hostname: e.hostname, expiresMs: e.expiresMs, bound: e.bound });
const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && sameBytes(a, 0, b, 0, a.length);
const isZero = (a: Uint8Array): boolean => a.every(byte => byte === 0);
const seconds = (n: number): Uint8Array => Uint8Array.of(n >>> 24, n >>> 16 & 255, n >>> 8 & 255, n & 255);
/** Host names come from guests and go to people's terminals. */
const hostnameOf = (value: Uint8Array | undefined): string | undefined => {
  const text = value && Buffer.from(value).toString('latin1').replace(/\0+$/, '');
  return text !== undefined && /^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$/.test(text) ? text : undefined;
};
