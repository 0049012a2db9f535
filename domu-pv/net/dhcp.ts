// An address from the network's DHCP server (RFC 2131). Every length that came from outside is checked in net/packet.
import {
  DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DHCPACK, DHCPDISCOVER, DHCPOFFER, DHCPREQUEST, dhcpRequest, OPT_DNS, OPT_MASK, OPT_MTU, OPT_PARAMETERS, OPT_REQUESTED_IP, OPT_ROUTER, OPT_SERVER,
  parseDhcpReply, type DhcpReply,
} from '../../net/packet/dhcp.ts';
import { u16, u32 } from '../../net/packet/bytes.ts';
import type { Interface, Lease } from './interface.ts';
import { BROADCAST, maskOf, numberOf } from './ipv4.ts';
import type { UdpTable } from './udp.ts';

const TRIES = 4, TRY_MS = 1000, MIN_MTU = 576, MAX_MTU = 1500, DEFAULT_MTU = 1500;
const WANTED = [OPT_PARAMETERS, Uint8Array.of(OPT_MASK, OPT_ROUTER, OPT_DNS, OPT_MTU)] as const;

/** Looks for a server's offer and takes it. `done` is told, with undefined where nobody answers. @throws SocketError where another is looking */
export function seekAddress(net: Interface, udp: UdpTable, done: (lease: Lease | undefined) => void): void {
  const socket = udp.open(DHCP_CLIENT_PORT), { vcpu, alarms } = net.kernel;
  let tries = TRIES, stop = (): void => {};
  const end = (lease: Lease | undefined): void => { stop(); socket.close(); done(lease); };
  /** @param isAnswer looks at a reply; where it takes none in time, the next try begins */
  const ask = (type: number, options: readonly (readonly [number, Uint8Array])[], isAnswer: (reply: DhcpReply) => void): void => {
    const random = new Uint8Array(4);
    vcpu.randomBytes(random);
    const xid = u32(random, 0);
    stop();
    stop = alarms.after(TRY_MS, discover);
    socket.onInput = () => {
      for (let d = socket.take(); d; d = socket.take()) { const reply = d.port === DHCP_SERVER_PORT ? parseDhcpReply(d.data, xid) : undefined; if (reply) { isAnswer(reply); return; } }
    };
    socket.send(BROADCAST, DHCP_SERVER_PORT, dhcpRequest(type, xid, net.mac, [...options, WANTED]));
  };
  function discover(): void {
    if (tries-- === 0) { end(undefined); return; }
    ask(DHCPDISCOVER, [], offer => {
      const server = offer.options.get(OPT_SERVER);
      if (offer.type !== DHCPOFFER || server?.length !== 4) return;
      ask(DHCPREQUEST, [[OPT_REQUESTED_IP, offer.yourIp], [OPT_SERVER, server]], answer => { if (answer.type === DHCPACK) end(leaseOf(answer)); else discover(); });
    });
  }
  discover();
}

function leaseOf({ yourIp, options }: DhcpReply): Lease {
  const list = (code: number): number[] => { const b = options.get(code) ?? new Uint8Array(0); return Array.from({ length: Math.floor(b.length / 4) }, (_, i) => numberOf(b, 4 * i)); };
  const mtu = options.get(OPT_MTU), mtuBytes = mtu?.length === 2 ? u16(mtu, 0) : DEFAULT_MTU;
  return { address: numberOf(yourIp), mask: list(OPT_MASK)[0] ?? maskOf(24), router: list(OPT_ROUTER)[0] ?? 0, resolvers: list(OPT_DNS), mtu: Math.max(MIN_MTU, Math.min(MAX_MTU, mtuBytes)) };
}
