// The network's name server: hands queries on to the host's resolvers, one after the other until one answers.
// Invariant: at most MAX_PENDING queries wait, of one guest MAX_PER_GUEST; each has a socket and an identifier of its own.
import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { getServers } from 'node:dns';
import { isIP, isIPv6 } from 'node:net';
import { put16 } from '../../../net/packet/bytes.ts';
import { answers, DNS_PORT, dnsFailure, parseDnsQuery, RCODE_SERVFAIL } from '../../../net/packet/dns.ts';
import { descriptorShares } from './descriptors.ts';
import type { HostTarget } from './link.ts';

export const MAX_PENDING = 256, MAX_PER_GUEST = 128;
const TRY_MS = 2000, MAX_TRIES = 3;

export class DnsForwarder {
  readonly #resolvers: readonly string[] | undefined;
  readonly #pending = new Map<Socket, string>();

  /** @param resolvers `address` or `address:port`; undefined: those of the host, asked for at each query */
  constructor(resolvers: readonly string[] | undefined) { this.#resolvers = resolvers; }
  get pendingCount(): number { return this.#pending.size; }

  resolvers(): HostTarget[] { return (this.#resolvers ?? getServers()).map(targetOf).filter(t => t !== undefined); }

  /** @param guest whoever shares its limit with itself @param reply gets the answer, under the query's own identifier */
  forward(payload: Uint8Array, guest: string, reply: (answer: Uint8Array) => void): void {
    const query = parseDnsQuery(payload);
    if (!query) return;
    let mine = 0;
    for (const other of this.#pending.values()) if (other === guest) mine++;
    const limit = Math.min(MAX_PENDING, descriptorShares().queries);
    if (this.#pending.size >= limit || mine >= Math.min(MAX_PER_GUEST, Math.ceil(limit / 2))) return;
    const targets = this.resolvers().slice(0, MAX_TRIES), bytes = Uint8Array.from(payload), id = randomInt(65_536);
    put16(bytes, 0, id);
    const attempt = (index: number): void => {
      const target = targets[index];
      if (!target) { reply(dnsFailure(payload.slice(), query.questionEnd, RCODE_SERVFAIL)); return; }
      const socket = createSocket(isIPv6(target.host) ? 'udp6' : 'udp4');
      this.#pending.set(socket, guest);
      const end = (): boolean => { clearTimeout(timer); if (!this.#pending.delete(socket)) return false; socket.close(); return true; };
      const timer = setTimeout(() => { if (end()) attempt(index + 1); }, TRY_MS).unref();
      socket.on('error', () => { if (end()) attempt(index + 1); });
      socket.on('message', data => {
        if (!answers(data, id, bytes, query.questionEnd) || !end()) return;
        const answer = Uint8Array.from(data);
        put16(answer, 0, query.id);
        reply(answer);
      });
      socket.on('connect', () => socket.send(bytes, error => { if (error && end()) attempt(index + 1); }));
      socket.connect(target.port, target.host);
    };
    // The query's bytes are the caller's only during this call.
    payload = payload.slice();
    attempt(0);
  }

  close(): void { for (const socket of this.#pending.keys()) socket.close(); this.#pending.clear(); }
}

/** `192.0.2.1`, `192.0.2.1:53`, `[2001:db8::1]:53`. */
function targetOf(text: string): HostTarget | undefined {
  if (isIP(text)) return { host: text, port: DNS_PORT };
  const match = /^\[?([^\]]*?)\]?:(\d+)$/.exec(text);
  return match && isIP(match[1]!) ? { host: match[1]!, port: Number(match[2]) } : undefined;
}
