// An address from the network's DHCP server (RFC 2131). Every length that came from outside is checked in net/packet.
import {
  DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DHCPACK, DHCPDISCOVER, DHCPOFFER, DHCPREQUEST, dhcpRequest, OPT_DNS, OPT_MASK, OPT_MTU, OPT_PARAMETERS, OPT_REQUESTED_IP, OPT_ROUTER, OPT_SERVER,
  parseDhcpReply, type DhcpReply,
} from '../../net/packet/dhcp.ts';
import { u16, u32 } from '../../net/packet/bytes.ts';
import type { Interface, Lease } from './interface.ts';
import { BROADCAST, maskOf, numberOf } from './ipv4.ts';
import type { UdpSocket, UdpTable } from './udp.ts';

const TRIES = 4, TRY_NS = 1_000_000_000n, MIN_MTU = 576, MAX_MTU = 1500, DEFAULT_MTU = 1500;
const WANTED = [OPT_PARAMETERS, Uint8Array.of(OPT_MASK, OPT_ROUTER, OPT_DNS, OPT_MTU)] as const;

/** Waits for a server's offer; undefined where nobody answers. */
export function askForAddress(net: Interface, udp: UdpTable): Lease | undefined {
  const socket = udp.open(DHCP_CLIENT_PORT);
  try {
    for (let n = 0; n < TRIES; n++) {
      const offer = exchange(net, socket, DHCPDISCOVER, []), server = offer?.options.get(OPT_SERVER);
      if (offer?.type !== DHCPOFFER || server?.length !== 4) continue;
      const answer = exchange(net, socket, DHCPREQUEST, [[OPT_REQUESTED_IP, offer.yourIp], [OPT_SERVER, server]]);
      if (answer?.type === DHCPACK) return leaseOf(answer);
    }
    return undefined;
  } finally { socket.close(); }
}

function exchange(net: Interface, socket: UdpSocket, type: number, options: readonly (readonly [number, Uint8Array])[]): DhcpReply | undefined {
  const { vcpu, events, clock } = net.kernel, random = new Uint8Array(4);
  vcpu.randomBytes(random);
  const xid = u32(random, 0);
  socket.send(BROADCAST, DHCP_SERVER_PORT, dhcpRequest(type, xid, net.mac, [...options, WANTED]));
  let reply: DhcpReply | undefined;
  events.waitFor(() => {
    for (let d = socket.take(); d && !reply; d = socket.take()) if (d.port === DHCP_SERVER_PORT) reply = parseDhcpReply(d.data, xid);
    return reply !== undefined;
  }, clock.systemNs() + TRY_NS);
  return reply;
}

function leaseOf({ yourIp, options }: DhcpReply): Lease {
  const list = (code: number): number[] => { const b = options.get(code) ?? new Uint8Array(0); return Array.from({ length: Math.floor(b.length / 4) }, (_, i) => numberOf(b, 4 * i)); };
  const mtu = options.get(OPT_MTU), mtuBytes = mtu?.length === 2 ? u16(mtu, 0) : DEFAULT_MTU;
  return { address: numberOf(yourIp), mask: list(OPT_MASK)[0] ?? maskOf(24), router: list(OPT_ROUTER)[0] ?? 0, resolvers: list(OPT_DNS), mtu: Math.max(MIN_MTU, Math.min(MAX_MTU, mtuBytes)) };
}
