import { expect, it } from 'vitest';
import { ACK, FIN } from '../packet/tcp.ts';
import { SLAB_BYTES, World } from './test-world.ts';

it('what a stuck reader is sent in single bytes, between others\' many, holds little more than itself; all of it arrives', () => {
  const world = new World(), { user } = world, sent = Uint8Array.from({ length: 20_000 }, (_, i) => i * 7);
  for (const [i] of sent.entries()) {
    world.peer(ACK, sent.subarray(i, i + 1));
    world.others(SLAB_BYTES);
  }
  const held = new Set(user.waiting.map(({ bytes }) => bytes.buffer));
  expect([...held].reduce((sum, buffer) => sum + buffer.byteLength, 0)).toBeLessThan(sent.length + 2 * SLAB_BYTES);
  expect(user.waiting.length).toBeLessThan(8);
  const got: Uint8Array[] = [];
  while (user.writableLength > 0) { got.push(user.take()); world.turn(); }
  expect(Buffer.compare(Buffer.concat(got), sent)).toBe(0);
  // One that takes what it is given has everything at once.
  for (const byte of [1, 2, 3]) { world.peer(ACK, Uint8Array.of(byte)); expect([...user.take()]).toEqual([byte]); }
});

it('what was gathered goes out before the end', () => {
  const world = new World(), { user } = world;
  for (const byte of [1, 2, 3]) world.peer(ACK, Uint8Array.of(byte));
  expect([user.writableLength, user.writableEnded]).toEqual([1, false]);
  world.peer(ACK | FIN, Uint8Array.of(4));
  expect([user.writableEnded, ...user.take()]).toEqual([true, 1, 2, 3, 4]);
});

it('an end is sent once, though the peer goes on; what lingers answers repetitions, not acknowledgements', () => {
  const world = new World(), { connection, sent } = world, ends = (): number => sent.filter(segment => segment.flags & FIN).length;
  connection.userEnded();
  world.turn();
  for (let i = 0; i < 5; i++) { world.peer(ACK, Uint8Array.of(i)); world.user.take(); }
  expect(ends()).toBe(1);
  world.peer(ACK | FIN);
  expect([connection.state, ends()]).toEqual(['lingering', 1]);
  const count = sent.length;
  world.peer(ACK);
  expect(sent.length).toBe(count);
  world.peer(ACK, Uint8Array.of(9));
  expect(sent.length).toBe(count + 1);
  world.now = 10_000;
  connection.tick(world.now);
  expect([connection.state, world.removed]).toEqual(['closed', true]);
});

it('the peer\'s last bytes, its end and its acknowledgement of ours in one turn: the user has the bytes', () => {
  const world = new World(), { connection, user } = world;
  connection.userEnded();
  world.turn();
  const [own] = world.sent.splice(-1);
  world.arrives(ACK, Uint8Array.of(1, 2, 3));
  world.arrives(ACK | FIN);
  world.sent.push(own!);
  world.arrives(ACK);
  world.turn();
  expect([user.writableEnded, connection.state, ...user.take()]).toEqual([true, 'lingering', 1, 2, 3]);
});
