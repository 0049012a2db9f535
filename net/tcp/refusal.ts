// "No such connection" (RFC 9293, 3.10.7.1).
import { put16, put32 } from '../packet/bytes.ts';
import { IPPROTO_TCP, type Ip } from '../packet/ip.ts';
import { ACK, FIN, RST, SYN, TCP_HLEN, type Tcp } from '../packet/tcp.ts';
import { ipFrame } from '../packet/udp.ts';

const CHECKSUM_AT = 16;

/** The frame that answers a segment nobody waits for. @param mac whose it comes from */
export function refusal(b: Uint8Array, ip: Ip, tcp: Tcp, mac: Uint8Array): Uint8Array {
  const packet = new Uint8Array(TCP_HLEN), hasAck = (tcp.flags & ACK) !== 0;
  put16(packet, 0, tcp.destinationPort);
  put16(packet, 2, tcp.sourcePort);
  put32(packet, 4, hasAck ? tcp.acknowledgement : 0);
  put32(packet, 8, hasAck ? 0 : (tcp.sequence + tcp.end - tcp.at + (tcp.flags & SYN ? 1 : 0) + (tcp.flags & FIN ? 1 : 0)) >>> 0);
  packet[12] = TCP_HLEN / 4 << 4;
  packet[13] = hasAck ? RST : RST | ACK;
  return ipFrame({
    sourceMac: mac, destinationMac: b.slice(6, 12),
    source: b.slice(ip.destinationAt, ip.destinationAt + ip.addressBytes), destination: b.slice(ip.sourceAt, ip.sourceAt + ip.addressBytes),
  }, IPPROTO_TCP, packet, CHECKSUM_AT);
}
