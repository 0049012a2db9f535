// The pcap file format with stamps in nanoseconds, as tcpdump and Wireshark read it. Little-endian throughout.
const MAGIC_NANOSECONDS = 0xa1b23c4d, LINKTYPE_ETHERNET = 1;
export const PCAP_HEADER_BYTES = 24, PACKET_HEADER_BYTES = 16;
/** Longer than any frame, so none is cut. */
export const SNAPLEN_BYTES = 262_144;

export function pcapHeader(): Buffer {
  const b = Buffer.alloc(PCAP_HEADER_BYTES);
  b.writeUInt32LE(MAGIC_NANOSECONDS, 0);
  b.writeUInt16LE(2, 4);
  b.writeUInt16LE(4, 6);
  b.writeUInt32LE(SNAPLEN_BYTES, 16);
  b.writeUInt32LE(LINKTYPE_ETHERNET, 20);
  return b;
}

/** @param timeMs since 1970, with its fraction */
export function pcapPacket(timeMs: number, bytes: Uint8Array): Buffer {
  const b = Buffer.allocUnsafe(PACKET_HEADER_BYTES + bytes.length), seconds = Math.floor(timeMs / 1000);
  b.writeUInt32LE(seconds, 0);
  b.writeUInt32LE(Math.min(999_999_999, Math.round((timeMs - seconds * 1000) * 1e6)), 4);
  b.writeUInt32LE(bytes.length, 8);
  b.writeUInt32LE(bytes.length, 12);
  b.set(bytes, PACKET_HEADER_BYTES);
  return b;
}
