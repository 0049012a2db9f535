import { describe, expect, test } from 'vitest';
import { framePacket, PACKET_BYTES, PacketReader } from './gdb-packets.ts';

const text = (reader: PacketReader, bytes: string | Uint8Array): string[] =>
  reader.feed(Buffer.from(bytes as string, 'latin1')).map(i => i.kind === 'packet' ? i.data.toString('latin1') : `<${i.kind}>`);

describe('packets', () => {
  test('are cut from a stream, whatever its pieces', () => {
    const reader = new PacketReader(), whole = '+$m1000,4#8e\x03-$?#3f';
    expect([...whole].flatMap(c => text(reader, c))).toEqual(['<ack>', 'm1000,4', '<interrupt>', '<nak>', '?']);
    expect(text(new PacketReader(), whole)).toEqual(['<ack>', 'm1000,4', '<interrupt>', '<nak>', '?']);
  });
  test('with a wrong checksum, or none that is hex, are refused; the next is taken', () => {
    expect(text(new PacketReader(), '$?#40$?#zz$?#3f')).toEqual(['<bad>', '<bad>', '?']);
  });
  test('escapes stand for the bytes that have a meaning', () => {
    const reader = new PacketReader();
    for (const data of ['a#b', 'a$b', 'a}b', 'a*b', '\x00\xff']) expect(text(reader, framePacket(data))).toEqual([data]);
    expect(framePacket('#').toString('latin1')).toBe('$}\x03#80');
  });
  test('a packet of more than the announced size is dropped whole', () => {
    const reader = new PacketReader(), long = 'x'.repeat(PACKET_BYTES + 1);
    expect(text(reader, `$${long}#00$?#3f`).filter(t => t !== '')).toEqual(['<bad>', '?']);
    expect(text(reader, framePacket('x'.repeat(PACKET_BYTES)))[0]).toHaveLength(PACKET_BYTES);
  });
  test('a new $ begins anew: the one before was cut off', () => { expect(text(new PacketReader(), '$abc$?#3f')).toEqual(['?']); });
});
