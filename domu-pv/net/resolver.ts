// Names to addresses (RFC 1035), by the resolvers that came with the lease.
import { answers, DNS_HLEN, DNS_PORT, dnsAddresses, dnsQuestion } from '../../net/packet/dns.ts';
import { u16 } from '../../net/packet/bytes.ts';
import type { Interface } from './interface.ts';
import { addressOf, numberOf } from './ipv4.ts';
import type { UdpTable } from './udp.ts';
import { SocketError } from './socket-error.ts';

const TRIES = 2, TRY_NS = 3_000_000_000n;

/** Addresses of a name; one that is an address is taken as that. Waits. @throws SocketError */
export function lookUp(net: Interface, udp: UdpTable, name: string): number[] {
  const given = addressOf(name), random = new Uint8Array(2), { vcpu, events, clock } = net.kernel;
  if (given !== undefined) return [given];
  if (name === 'localhost' && net.lease) return [net.lease.address];
  vcpu.randomBytes(random);
  const id = u16(random, 0), question = dnsQuestion(id, name);
  if (!question) throw new SocketError('noName');
  for (let n = 0; n < TRIES; n++) for (const resolver of net.lease?.resolvers ?? []) {
    // A port of its own for each: answers that are not asked for are harder to make up.
    const socket = udp.open(0);
    socket.peer = { address: resolver, port: DNS_PORT };
    try {
      let answer: Uint8Array | undefined;
      socket.send(resolver, DNS_PORT, question);
      events.waitFor(() => {
        for (let d = socket.take(); d && !answer; d = socket.take()) if (d.data.length >= DNS_HLEN && answers(d.data, id, question, question.length)) answer = d.data;
        return answer !== undefined;
      }, clock.systemNs() + TRY_NS);
      if (!answer) continue;
      const found = dnsAddresses(answer);
      if (found.length > 0) return found.map(b => numberOf(b));
      // It knows that there is none; another one need not be asked.
      if ((answer[3]! & 15) !== 2) throw new SocketError('noName');
    } finally { socket.close(); }
  }
  throw new SocketError('timedOut');
}
