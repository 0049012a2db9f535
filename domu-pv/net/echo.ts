// ICMP echo (RFC 792), both ways.
import { ICMP_ECHO, ICMP_ECHO_REPLY, ICMP_HLEN, echoReply, icmpFrame, parseIcmp } from '../../net/packet/icmp.ts';
import { put16 } from '../../net/packet/bytes.ts';
import { IPPROTO_ICMP } from '../../net/packet/ip.ts';
import type { Interface } from './interface.ts';
import { numberOf } from './ipv4.ts';

const IDENTIFIER = 0x4242, NS_PER_MS = 1_000_000n;
export interface Echo { readonly roundTripNs: bigint; readonly byteCount: number }

export class EchoService {
  readonly #interface: Interface;
  #heard: (source: number, sequence: number, byteCount: number) => void = () => {};

  constructor(net: Interface) {
    this.#interface = net;
    net.protocols.set(IPPROTO_ICMP, ({ bytes: b }, ip) => {
      const icmp = parseIcmp(b, ip), source = numberOf(b, ip.sourceAt);
      if (!icmp || !net.lease || numberOf(b, ip.destinationAt) !== net.lease.address) return;
      if (icmp.type === ICMP_ECHO) net.send({ bytes: echoReply(net.ends(source, b.slice(6, 12)), b.subarray(ip.at, ip.end)), checksum: 'complete' });
      else if (icmp.type === ICMP_ECHO_REPLY && icmp.id === IDENTIFIER) this.#heard(source, icmp.sequence, ip.end - ip.at);
    });
  }
  /** One request; undefined where no answer comes in time. */
  ping(target: number, sequence: number, byteCount: number, timeoutMs: number): Echo | undefined {
    const net = this.#interface, { clock, events } = net.kernel, message = Uint8Array.from({ length: ICMP_HLEN + byteCount }, (_, i) => i);
    message.fill(0, 0, ICMP_HLEN);
    message[0] = ICMP_ECHO;
    put16(message, 4, IDENTIFIER);
    put16(message, 6, sequence);
    let echo: Echo | undefined, start = clock.systemNs();
    this.#heard = (source, seen, bytes) => { if (source === target && seen === sequence) echo = { roundTripNs: clock.systemNs() - start, byteCount: bytes }; };
    net.resolve(target, mac => {
      if (!mac) return;
      start = clock.systemNs();
      net.send({ bytes: icmpFrame(net.ends(target, mac), message), checksum: 'complete' });
    });
    events.waitFor(() => echo !== undefined, clock.systemNs() + BigInt(timeoutMs) * NS_PER_MS);
    this.#heard = () => {};
    return echo;
  }
}
