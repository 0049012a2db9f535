import { describe, expect, it } from 'vitest';
import { formatIpv6, formatMac, parseAddress, parseMac } from './address.ts';
import { checksumOf, foldSum, sumBytes } from './checksum.ts';
import { DHCPACK, DHCPDISCOVER, dhcpReply, OPT_HOSTNAME, OPT_TYPE, parseDhcp } from './dhcp.ts';
import { answers, dnsFailure, parseDnsQuery, RCODE_SERVFAIL } from './dns.ts';
import { parseIcmp } from './icmp.ts';
import { ETH_P_IP, ETH_P_IPV6, parseEthernet } from './ethernet.ts';
import { IPPROTO_ICMPV6, IPPROTO_UDP, parseIp, parseIpv4, parseIpv6 } from './ip.ts';
import { ACK, parseTcp, parseTcpOptions, SYN } from './tcp.ts';
import { parseUdp, udpFrame } from './udp.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ''), 'hex'));

describe('checksums', () => {
  it('the example of RFC 1071', () => {
    expect(foldSum(sumBytes(hex('0001 f203 f4f5 f6f7'), 0, 8))).toBe(0xddf2);
  });
  it('an IPv4 header known to be right', () => {
    const header = hex('4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7');
    expect(foldSum(sumBytes(header, 0, 20))).toBe(0xffff);
    header.fill(0, 10, 12);
    expect(checksumOf(header, 0, 20)).toBe(0xb861);
  });
  it('odd lengths, and any length beside the plain sum of 16-bit words', () => {
    for (let n = 0; n < 200; n++) {
      const b = Uint8Array.from({ length: n }, (_, i) => i * 37 + n & 255);
      let plain = 0;
      for (let i = 0; i < n; i += 2) plain += b[i]! << 8 | (b[i + 1] ?? 0);
      while (plain > 0xffff) plain = (plain & 0xffff) + (plain >>> 16);
      expect(foldSum(sumBytes(b, 0, n))).toBe(plain);
    }
  });
});

describe('addresses', () => {
  it.each([['::', 16], ['::1', 16], ['fe80::216:3eff:fe00:1', 16], ['2001:db8:0:1:1:1:1:1', 16], ['1:0:0:2::', 16], ['ff02::1:ff00:1', 16], ['10.0.2.15', 4]])('%s there and back', (text, bytes) => {
    const b = parseAddress(text)!;
    expect(b.length).toBe(bytes);
    expect(bytes === 4 ? b.join('.') : formatIpv6(b)).toBe(text);
  });
  it('embedded IPv4, and texts that are none', () => {
    expect(formatIpv6(parseAddress('::ffff:192.0.2.1')!)).toBe('::ffff:c000:201');
    for (const wrong of ['', 'x', '1.2.3', '1.2.3.256', ':::', 'fe80::1%eth0', 'localhost']) expect(parseAddress(wrong)).toBeUndefined();
    expect(formatMac(parseMac('00:16:3E:00:aa:01')!)).toBe('00:16:3e:00:aa:01');
    expect(parseMac('00:16:3e:00:aa')).toBeUndefined();
  });
});

describe('packets', () => {
  it('a TCP SYN with options, from a wire', () => {
    const options = hex('0204 05b4 0402 080a 0001 e240 0000 0000 0103 0307');
    expect(parseTcpOptions(options, 0, options.length)).toEqual({ mss: 1460, sackPermitted: true, timestamp: { value: 123456, echo: 0 }, windowShift: 7 });
    const b = hex('4500 0028 0000 4000 4006 22c0 0a00 020f 0a00 0202'.concat('8000 0050 00000001 00000000 5002 ffff 0000 0000'));
    const ip = parseIpv4(b, 0)!;
    expect(parseTcp(b, ip, true)).toBeUndefined();
    const tcp = parseTcp(b, ip, false)!;
    expect([tcp.sourcePort, tcp.destinationPort, tcp.sequence, tcp.window, tcp.flags & SYN, tcp.flags & ACK, tcp.end - tcp.at]).toEqual([0x8000, 80, 1, 0xffff, SYN, 0, 0]);
  });
  it('options that lie about their length', () => {
    for (const text of ['02', '0200', '0204', '020405', '03ff07', '0801', '0101010102']) expect(parseTcpOptions(hex(text), 0, text.length / 2)).toEqual({});
    expect(parseTcpOptions(hex('030320'), 0, 3)).toEqual({ windowShift: 14 });
  });
  it.each(['10.0.2.15', 'fd00::15'])('a datagram written is a datagram read: %s', text => {
    const address = parseAddress(text)!, b = udpFrame({ sourceMac: new Uint8Array(6), destinationMac: new Uint8Array(6), source: address, destination: address }, 68, 67, Buffer.from('odd'));
    const ethernet = parseEthernet(b)!, ip = parseIp(b, ethernet.at, ethernet.type)!, udp = parseUdp(b, ip, true)!;
    expect([ethernet.type, ip.protocol, udp.sourcePort, udp.destinationPort, Buffer.from(b.subarray(udp.at, udp.end)).toString()]).toEqual([address.length === 4 ? ETH_P_IP : ETH_P_IPV6, IPPROTO_UDP, 68, 67, 'odd']);
    b[b.length - 1]! ^= 1;
    expect(parseUdp(b, ip, true)).toBeUndefined();
    expect(parseUdp(b, ip, false)).toBeDefined();
  });
  it('IPv6 extension headers up to a fragment; a chain without end is refused', () => {
    const header = '6000 0000 0018 00ff fe80 0000 0000 0000 0000 0000 0000 0001 ff02 0000 0000 0000 0000 0000 0000 0001';
    const b = hex(`${header} 2c00 0502 0000 0100  3a00 0009 0000 0007  8700 0000 0000 0000`);
    const ip = parseIpv6(b, 0)!;
    expect([ip.protocol, ip.at, ip.fragment]).toEqual([IPPROTO_ICMPV6, 56, { id: 7, offsetBytes: 8, more: true }]);
    const endless = new Uint8Array(40 + 80);
    endless.set(hex(header));
    endless[5] = 80;
    expect(parseIpv6(endless, 0)).toBeUndefined();
  });
  it('echo requests are believed only with their checksum', () => {
    const b = hex('4500 001c 0001 0000 4001 62d0 0a00 020f 0a00 0202 0800 f7fd 0001 0001'), ip = parseIpv4(b, 0)!;
    expect(parseIcmp(b, ip)).toMatchObject({ type: 8, id: 1, sequence: 1 });
    b[27] = 2;
    expect(parseIcmp(b, ip)).toBeUndefined();
  });
});

describe('DHCP', () => {
  it('reads a request, and answers under its transaction', () => {
    const b = new Uint8Array(300);
    b.set([1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef]);
    b[10] = 0x80;
    b.set([0, 0x16, 0x3e, 0, 0, 1], 28);
    b.set(hex('63825363 350101 0c02 6869 0c01 21 ff'), 236);
    const request = parseDhcp(b)!;
    expect([request.type, request.xid, request.broadcast, formatMac(request.mac), Buffer.from(request.options.get(OPT_HOSTNAME)!).toString()]).toEqual([DHCPDISCOVER, 0xdeadbeef, true, '00:16:3e:00:00:01', 'hi!']);
    const reply = dhcpReply(request, DHCPACK, Uint8Array.of(10, 0, 2, 15), [[51, Uint8Array.of(0, 0, 14, 16)]]);
    expect(reply.length).toBe(300);
    expect([...reply.subarray(0, 8), ...reply.subarray(16, 20)]).toEqual([2, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 10, 0, 2, 15]);
    expect([...reply.subarray(240, 250)]).toEqual([OPT_TYPE, 1, DHCPACK, 51, 4, 0, 0, 14, 16, 255]);
    expect(parseDhcp(b.subarray(0, 239))).toBeUndefined();
    expect(parseDhcp(b.subarray(0, 241))).toBeUndefined();
  });
});

describe('DNS', () => {
  const query = hex('1234 0100 0001 0000 0000 0000 0364 6562 0361 7069 0000 0100 01');
  it('an answer has to be to the question asked, under its identifier', () => {
    const { id, questionEnd } = parseDnsQuery(query)!;
    expect([id, questionEnd]).toEqual([0x1234, query.length]);
    const answer = dnsFailure(query, questionEnd, RCODE_SERVFAIL);
    expect(answers(answer, id, query, questionEnd)).toBe(true);
    expect(answer[3]! & 15).toBe(RCODE_SERVFAIL);
    expect(answers(answer, id + 1, query, questionEnd)).toBe(false);
    expect(answers(query, id, query, questionEnd)).toBe(false);
    answer[14]! ^= 1;
    expect(answers(answer, id, query, questionEnd)).toBe(false);
  });
  it('no query: answers, several questions, names that do not end or point', () => {
    for (const [at, value] of [[2, 0x81], [5, 2], [12, 0xc0], [12, 64]] as const) { const b = query.slice(); b[at] = value; expect(parseDnsQuery(b)).toBeUndefined(); }
    expect(parseDnsQuery(query.subarray(0, query.length - 1))).toBeUndefined();
  });
});
