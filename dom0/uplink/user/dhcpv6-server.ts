// DHCPv6 for the guests of one bridge (RFC 8415): one address per Ethernet address, which follows from it, so that
// nothing has to be remembered for it to stay the same. What is kept is only whom one was given.
import { formatMac, parseMac } from '../../../net/packet/address.ts';
import { sameBytes } from '../../../net/packet/bytes.ts';
import * as v6 from '../../../net/packet/dhcpv6.ts';
import { addressText } from './settings.ts';

export const LEASE_SECONDS = 86_400, MAX_GIVEN = 4096;

export interface Dhcpv6Settings { readonly prefix6: Uint8Array; readonly dns6: Uint8Array; readonly mac: Uint8Array }

export class Dhcpv6Server {
  readonly #settings: Dhcpv6Settings;
  readonly #duid: Uint8Array;
  readonly #nowMs: () => number;
  /** When each ends, by Ethernet address, in order of giving. */
  readonly #given = new Map<string, number>();
  onChange: (mac: string) => void = () => {};

  constructor(settings: Dhcpv6Settings, nowMs: () => number = Date.now) {
    this.#settings = settings;
    this.#duid = v6.duidOf(settings.mac);
    this.#nowMs = nowMs;
  }

  /** Addresses that are given out, by Ethernet address. */
  leases(): Map<string, { readonly address: string; readonly expiresMs: number }> {
    const nowMs = this.#nowMs();
    return new Map([...this.#given].filter(([, ends]) => ends > nowMs).map(([mac, expiresMs]) => [mac, { address: addressText(this.addressOf(parseMac(mac)!)), expiresMs }]));
  }

  /** fd00::1:16:3e00:1 of 00:16:3e:00:00:01. */
  addressOf(mac: Uint8Array): Uint8Array { return Uint8Array.of(...this.#settings.prefix6.subarray(0, 8), 0, 1, ...mac); }

  /** An address that was given before. */
  remember(mac: string, address: Uint8Array): void {
    const owner = parseMac(mac);
    if (owner && sameBytes(address, 0, this.addressOf(owner), 0, 16)) this.#give(mac);
  }

  /** @param payload of a datagram to port 547 @param mac who sent it @returns the answer's payload */
  answer(payload: Uint8Array, mac: Uint8Array): Uint8Array | undefined {
    const message = v6.parseDhcpv6(payload), client = message?.options.get(v6.OPTION_CLIENTID);
    if (!message) return undefined;
    const server = message.options.get(v6.OPTION_SERVERID);
    if (server && !(server.length === this.#duid.length && sameBytes(server, 0, this.#duid, 0, server.length))) return undefined;
    const named = server !== undefined, reply = (type: number, options: readonly v6.Option[]): Uint8Array | undefined => client && this.#reply(type, message.transaction, client, options);
    switch (message.type) {
      case v6.DHCPV6_INFORMATION_REQUEST: return this.#reply(v6.DHCPV6_REPLY, message.transaction, client, []);
      case v6.DHCPV6_SOLICIT: {
        if (named) return undefined;
        const rapid = message.options.has(v6.OPTION_RAPID_COMMIT);
        return reply(rapid ? v6.DHCPV6_REPLY : v6.DHCPV6_ADVERTISE, [...this.#associations(message, mac, rapid), ...rapid ? [[v6.OPTION_RAPID_COMMIT, new Uint8Array(0)] as const] : []]);
      }
      case v6.DHCPV6_REQUEST: case v6.DHCPV6_RENEW: return named ? reply(v6.DHCPV6_REPLY, this.#associations(message, mac, true)) : undefined;
      case v6.DHCPV6_REBIND: return reply(v6.DHCPV6_REPLY, this.#associations(message, mac, true));
      case v6.DHCPV6_CONFIRM: return reply(v6.DHCPV6_REPLY, [v6.statusCode(this.#isRight(message, mac) ? v6.STATUS_SUCCESS : v6.STATUS_NOT_ON_LINK)]);
      case v6.DHCPV6_RELEASE: case v6.DHCPV6_DECLINE: {
        if (!named) return undefined;
        if (this.#given.delete(formatMac(mac))) this.onChange(formatMac(mac));
        return reply(v6.DHCPV6_REPLY, [v6.statusCode(v6.STATUS_SUCCESS)]);
      }
      default: return undefined;
    }
  }

  #associations(message: v6.Dhcpv6, mac: Uint8Array, give: boolean): v6.Option[] {
    const value = message.options.get(v6.OPTION_IA_NA), asked = value && v6.parseIdentityAssociation(value);
    if (!asked) return [];
    if (give) this.#give(formatMac(mac));
    return [v6.identityAssociation(asked.id, this.addressOf(mac), LEASE_SECONDS)];
  }

  #give(mac: string): void {
    this.#given.delete(mac);
    if (this.#given.size >= MAX_GIVEN) this.#given.delete(this.#given.keys().next().value!);
    this.#given.set(mac, this.#nowMs() + LEASE_SECONDS * 1000);
    this.onChange(mac);
  }

  /** Whether the address that the client has is the one it should have. */
  #isRight(message: v6.Dhcpv6, mac: Uint8Array): boolean {
    const value = message.options.get(v6.OPTION_IA_NA), address = value && v6.parseIdentityAssociation(value)?.address;
    return address !== undefined && sameBytes(address, 0, this.addressOf(mac), 0, 16);
  }

  #reply(type: number, transaction: Uint8Array, client: Uint8Array | undefined, options: readonly v6.Option[]): Uint8Array {
    return v6.dhcpv6Message(type, transaction, [...client ? [[v6.OPTION_CLIENTID, client] as const] : [], [v6.OPTION_SERVERID, this.#duid], ...options, [v6.OPTION_DNS_SERVERS, this.#settings.dns6]]);
  }
}
