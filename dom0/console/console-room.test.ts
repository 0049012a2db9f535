// Viewers of one console: who may write, who answers, what a slow or returning one is given.
import { expect, test } from 'vitest';
import { ConsoleRoom, type RoomMessage, type ViewerLink } from './console-room.ts';
import type { ConsoleSource } from './console-source.ts';
import { Scrollback } from './scrollback.ts';

class FakeSource implements ConsoleSource {
  readonly id = 'one';
  readonly #scrollback = new Scrollback(4096);
  readonly #readers = new Set<{ onData: (chunk: Uint8Array) => void; onEnd: (() => void) | undefined }>();
  typed = '';
  get start(): number { return this.#scrollback.start; }
  get position(): number { return this.#scrollback.end; }
  get readers(): number { return this.#readers.size; }
  read(from: number, limit: number): Uint8Array { return this.#scrollback.read(from, limit); }
  attach(onData: (chunk: Uint8Array) => void, _from?: number, onEnd?: () => void): { detach(): void } {
    const reader = { onData, onEnd };
    this.#readers.add(reader);
    return { detach: () => { this.#readers.delete(reader); } };
  }
  say(text: string): void { this.#scrollback.append(Buffer.from(text)); for (const reader of this.#readers) reader.onData(Buffer.from(text)); }
  close(): void { for (const reader of this.#readers) reader.onEnd?.(); }
  write(data: Uint8Array): boolean { this.typed += Buffer.from(data).toString(); return true; }
  async drained(): Promise<void> {}
}

class FakeLink implements ViewerLink {
  text = ''; backlogBytes = 0; ended = false;
  readonly messages: RoomMessage[] = [];
  output(data: Uint8Array): void { this.text += Buffer.from(data).toString(); this.backlogBytes += data.length; }
  tell(message: RoomMessage): void { this.messages.push(message); }
  end(): void { this.ended = true; }
  last(type: RoomMessage['type']): RoomMessage | undefined { return this.messages.findLast(m => m.type === type); }
}

const typed = (text: string): Uint8Array => Buffer.from(text);

test('several viewers see the same; scrollback first; one that returns misses nothing', () => {
  const source = new FakeSource(), room = new ConsoleRoom(source), [a, b, c] = [new FakeLink(), new FakeLink(), new FakeLink()];
  source.say('boot ');
  const first = room.join(a!, 'shared');
  source.say('more');
  expect(a!.messages[0]).toEqual({ type: 'attached', console: 'one', position: 0, end: 5 });
  room.join(b!, 'read');
  expect([a!.text, b!.text]).toEqual(['boot more', 'boot more']);
  first.leave();
  source.say(' meanwhile');
  room.join(c!, 'shared', { id: 'one', position: 9 });
  expect([a!.text, c!.text]).toEqual(['boot more', ' meanwhile']);
  const other = new FakeLink();
  room.join(other, 'shared', { id: 'of another life', position: 9 });
  expect(other.text).toBe('boot more meanwhile');
});

test('a slow viewer is given no more than its connection takes, and is told what it missed', () => {
  const source = new FakeSource(), room = new ConsoleRoom(source), slow = new FakeLink(), quick = new FakeLink();
  const viewer = room.join(slow, 'read');
  room.join(quick, 'read');
  slow.backlogBytes = 1024 * 1024;
  let all = '';
  for (let i = 0; i < 100; i++) { const line = `${i} `.repeat(40); all += line; source.say(line); quick.backlogBytes = 0; }
  expect(quick.text).toBe(all);
  expect(slow.text).toBe('');
  slow.backlogBytes = 0;
  viewer.pump();
  expect(slow.last('lost')).toEqual({ type: 'lost', from: 0, to: source.start });
  expect(slow.text).toBe(all.slice(-4096));
});

test('shared until somebody takes the keyboard; taking over is explicit; what leaves gives it back', () => {
  const source = new FakeSource(), room = new ConsoleRoom(source), links = [new FakeLink(), new FakeLink(), new FakeLink()] as const;
  const a = room.join(links[0], 'shared'), b = room.join(links[1], 'shared'), looker = room.join(links[2], 'read');
  a.input(typed('a')); b.input(typed('b')); looker.input(typed('x'));
  expect(source.typed).toBe('ab');
  expect(links[2].last('refused')).toBeDefined();
  expect([links[0].last('role'), links[1].last('role')]).toMatchObject([{ writer: true, answers: true, viewers: 3 }, { writer: true, answers: false }]);
  b.take();
  a.input(typed('A')); b.input(typed('B'));
  expect(source.typed).toBe('abB');
  expect([links[0].last('role'), links[1].last('role')]).toMatchObject([{ writer: false, answers: false, exclusive: true }, { writer: true, answers: true }]);
  a.take();
  b.input(typed('C'));
  expect(links[1].last('refused')).toBeDefined();
  a.leave();
  b.input(typed('D'));
  looker.take();
  b.input(typed('E'));
  expect(source.typed).toBe('abBDE');
  const late = new FakeLink();
  b.take();
  room.join(late, 'exclusive').input(typed('no'));
  expect(late.last('role')).toMatchObject({ writer: false, exclusive: true });
  expect(source.typed).toBe('abBDE');
});

test('the size of the one that answers is what others show', () => {
  const room = new ConsoleRoom(new FakeSource()), one = new FakeLink(), two = new FakeLink(), late = new FakeLink();
  const a = room.join(one, 'shared'), b = room.join(two, 'shared');
  a.resize({ columns: 100, rows: 30 });
  b.resize({ columns: 5, rows: 5 });
  expect(two.last('size')).toEqual({ type: 'size', columns: 100, rows: 30 });
  expect(one.last('size')).toBeUndefined();
  room.join(late, 'read');
  expect(late.last('size')).toEqual({ type: 'size', columns: 100, rows: 30 });
});

test('the end of the console ends all; without viewers nobody listens', () => {
  const source = new FakeSource(), room = new ConsoleRoom(source), links = [new FakeLink(), new FakeLink()] as const;
  const a = room.join(links[0], 'shared');
  room.join(links[1], 'shared');
  expect(source.readers).toBe(1);
  a.leave(); a.leave();
  source.close();
  expect([links[0].ended, links[1].ended, room.viewers, source.readers]).toEqual([false, true, 0, 0]);
});
