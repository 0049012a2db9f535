// The terminal on the console page, with a backend that types into the ring and reads what it shows.
import { expect, test } from 'vitest';
import { XENCONS_IN_SIZE, XENCONS_OUT_SIZE, xencons_interface as ring } from '../../hypervisor/public/io/console.ts';
import { Console } from './console.ts';
import type { Events } from './events.ts';

const INPUT_MAX = 4096, BEL = '\x07';

function terminal() {
  const page = new Uint8Array(new SharedArrayBuffer(4096)), words = new Int32Array(page.buffer);
  let upcall = (): void => {}, shown = '';
  const drain = (): void => {
    for (let at = words[ring.out_cons / 4]!; at !== words[ring.out_prod / 4]!; at++) shown += String.fromCharCode(page[ring.out + (at & XENCONS_OUT_SIZE - 1)]!);
    words[ring.out_cons / 4] = words[ring.out_prod / 4]!;
  };
  const events = {
    bind: (_port: number, handler: () => void) => { upcall = handler; }, notify: drain, later: (work: () => void) => { work(); },
    waitFor: (done: () => boolean) => { if (!done()) throw new Error('it would wait for ever'); return true; },
  } as unknown as Events;
  const console = new Console(page, events, 1);
  const type = (text: string): string => {
    shown = '';
    for (let at = 0; at < text.length; at += XENCONS_IN_SIZE) {
      for (const c of text.slice(at, at + XENCONS_IN_SIZE)) { page[ring.in + (words[ring.in_prod / 4]! & XENCONS_IN_SIZE - 1)] = c.charCodeAt(0); words[ring.in_prod / 4]!++; }
      upcall();
    }
    return shown;
  };
  const read = (maxBytes = 65536): string => String.fromCharCode(...console.readLine(maxBytes));
  return { console, type, read };
}

test('lines and the ends of input are read one by one, long ones in pieces', () => {
  const { console, type, read } = terminal();
  expect(type('ab\x7fc\rlonger\n\x04half\x04')).toBe('ab\b \bc\r\nlonger\r\nhalf');
  expect([read(), read(3), read(), read(), read(), console.hasInput]).toEqual(['ac\n', 'lon', 'ger\n', '', 'half', false]);
});

test('what nobody reads is kept up to a limit; then keys are answered by the bell, and a line can still be ended', () => {
  const { console, type, read } = terminal(), line = `${'x'.repeat(99)}\r`;
  for (let n = 0; n < 40; n++) expect(type(line)).not.toContain(BEL);
  expect(type('y'.repeat(95))).toBe('y'.repeat(95));
  expect(type('zz')).toBe(BEL.repeat(2));
  expect(type('\r')).toBe('\r\n');
  expect(type('\r\x04\x04z')).toBe(BEL.repeat(4));
  for (let n = 0; n < 100; n++) type(line);
  let total = 0;
  while (console.hasInput) total += read().length;
  expect(total).toBe(INPUT_MAX);
  // There is room again.
  expect(type('again\r')).toBe('again\r\n');
  expect(read()).toBe('again\n');
});

test('ends of input count too, and one long line', () => {
  const { console, type, read } = terminal();
  type('\x04'.repeat(2 * INPUT_MAX));
  let ends = 0;
  while (console.hasInput) { expect(read()).toBe(''); ends++; }
  expect(ends).toBe(INPUT_MAX);
  expect(type('x'.repeat(5000)).replaceAll('x', '')).toBe(BEL.repeat(5000 - INPUT_MAX + 1));
  type('\x7f\x7f');
  expect(type('yz')).toBe('yz');
  type('\x03');
  expect([console.hasInput, type('a\r'), read()]).toEqual([false, 'a\r\n', 'a\n']);
});
