import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { xencons_interface as page } from '../../hypervisor/public/io/console.ts';
import { domid, evtchnPort } from '../../hypervisor/public/types.ts';
import { FakeHypervisor, newPage } from '../bus/fakes.ts';
import { ConsoleBackend } from './console-backend.ts';
import { DomainConsole, type DomainConsoleOptions } from './domain-console.ts';
import { Scrollback } from './scrollback.ts';

/** hvc_xen, as far as the ring knows it. */
class Guest {
  readonly page = newPage();
  readonly #words = new Int32Array(this.page.buffer);
  get(offset: number): number { return this.#words[offset >> 2]! >>> 0; }
  set(offset: number, value: number): void { this.#words[offset >> 2] = value; }
  /** @returns how much went in */
  say(text: string): number {
    const room = 2048 - ((this.get(page.out_prod) - this.get(page.out_cons)) >>> 0), bytes = Buffer.from(text).subarray(0, room);
    for (const byte of bytes) { this.page[page.out + (this.get(page.out_prod) & 2047)] = byte; this.set(page.out_prod, this.get(page.out_prod) + 1); }
    return bytes.length;
  }
  hear(limit = Infinity): string {
    let text = '';
    while (this.get(page.in_cons) !== this.get(page.in_prod) && text.length < limit) {
      text += String.fromCharCode(this.page[page.in + (this.get(page.in_cons) & 1023)]!);
      this.set(page.in_cons, this.get(page.in_cons) + 1);
    }
    return text;
  }
}
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
function setup(options: DomainConsoleOptions = {}, guest = new Guest()): { guest: Guest; console: DomainConsole; notified: () => number; log: string[] } {
  let count = 0;
  const log: string[] = [];
  const made = new DomainConsole(guest.page, () => { count++; }, { name: 'd5', log: line => log.push(line), ...options });
  return { guest, console: made, notified: () => count, log };
}

describe('output', () => {
  it('is taken whole, across the wrap, with one event', () => {
    const { guest, console, notified } = setup();
    let got = '', sent = '';
    console.attach(chunk => { got += text(chunk); });
    for (let i = 0; i < 10; i++) {
      const line = `${i}`.repeat(700) + '\n';
      expect(guest.say(line)).toBe(701);
      sent += line;
      console.onEvent();
      expect(notified()).toBe(i + 1);
    }
    expect(got).toBe(sent);
    console.onEvent();
    expect(notified()).toBe(10);
  });
  it('makes room for a full ring', () => {
    const { guest, console } = setup();
    expect(guest.say('x'.repeat(5000))).toBe(2048);
    expect(guest.say('y')).toBe(0);
    console.onEvent();
    expect(guest.say('y')).toBe(1);
    expect(console.scrollback().length).toBe(2048);
  });
  it('goes to all readers; each may come back where it stopped', () => {
    const { guest, console } = setup();
    const a: string[] = [], b: string[] = [];
    const first = console.attach(c => a.push(text(c)));
    guest.say('one '); console.onEvent();
    console.attach(c => b.push(text(c)));
    guest.say('two '); console.onEvent();
    first.detach();
    guest.say('three'); console.onEvent();
    expect([a.join(''), b.join(''), first.position]).toEqual(['one two ', 'one two three', 8]);
    const again: string[] = [];
    expect(console.attach(c => again.push(text(c)), first.position).position).toBe(13);
    expect(again).toEqual(['three']);
    expect(text(console.scrollback())).toBe('one two three');
  });
  it('a reader that throws is let go', () => {
    const { guest, console, log } = setup(), got: string[] = [];
    console.attach(() => { throw new Error('gone'); });
    console.attach(c => got.push(text(c)));
    guest.say('1'); console.onEvent();
    guest.say('2'); console.onEvent();
    expect([got, log.length]).toEqual([['1', '2'], 1]);
  });
  it('keeps what was said before anyone came, and goes on where another left off', () => {
    const guest = new Guest();
    guest.say('before');
    const one = setup({}, guest);
    one.console.onEvent();
    guest.say('later');
    const two = setup({}, guest);
    two.console.onEvent();
    expect([text(one.console.scrollback()), text(two.console.scrollback())]).toEqual(['before', 'later']);
  });
});

describe('input', () => {
  it('loses nothing when the ring is full', async () => {
    const { guest, console, notified } = setup();
    const sent = Array.from({ length: 90_000 }, (_, i) => String.fromCharCode(33 + i % 90)).join('');
    expect(console.write(sent.slice(0, 50_000))).toBe(true);
    expect(console.write(sent.slice(50_000))).toBe(false);
    let drained = false, got = '';
    void console.drained().then(() => { drained = true; });
    await Promise.resolve();
    expect(drained).toBe(false);
    expect(notified()).toBe(1);
    for (let i = 0; i < 1000 && got.length < sent.length; i++) { got += guest.hear(100 + i % 900); console.onEvent(); }
    expect(got).toBe(sent);
    await Promise.resolve();
    expect(drained).toBe(true);
  });
  it('keeps bytes as they are, and its own copy', () => {
    const { guest, console } = setup(), bytes = Uint8Array.of(0, 255, 3);
    guest.set(page.in_cons, -2); guest.set(page.in_prod, -2);
    const late = setup({}, guest).console;
    late.write(bytes);
    bytes.fill(9);
    expect([...Buffer.from(guest.hear(), 'latin1')]).toEqual([0, 255, 3]);
    expect(console.write('ok')).toBe(true);
  });
  it('is refused beyond a bound, with a word', () => {
    const { console, log } = setup();
    for (let i = 0; i < 20; i++) console.write(new Uint8Array(64 * 1024));
    expect(log.some(l => l.includes('does not read its console'))).toBe(true);
  });
});

describe('a hostile ring', () => {
  it('indexes out of range are passed over, with a few lines in the log', () => {
    const { guest, console, log } = setup();
    for (let i = 0; i < 50; i++) { guest.set(page.out_prod, guest.get(page.out_cons) + 2049 + i); console.onEvent(); }
    expect(log.length).toBe(10);
    expect(log[0]).toContain('console of d5: out_prod is 2049');
    guest.say('sane'); console.onEvent();
    expect(text(console.scrollback())).toBe('sane');
    guest.set(page.in_cons, guest.get(page.in_prod) + 5);
    console.write('hello');
    expect(guest.hear()).toBe('hello');
  });
  it('Dom0\'s own indexes are not the guest\'s to change', () => {
    const { guest, console } = setup();
    guest.say('abc'); console.onEvent();
    guest.set(page.out_cons, 0); guest.set(page.in_prod, 77);
    console.onEvent();
    expect(text(console.scrollback())).toBe('abc');
    console.write('x');
    expect(guest.get(page.in_prod)).toBe(1);
  });
});

describe('the end', () => {
  it('takes the last words, says its own, and tells the readers', () => {
    const { guest, console, notified } = setup(), got: string[] = [];
    let ended = 0;
    console.attach(c => got.push(text(c)), 0, () => { ended++; });
    guest.say('last words\n');
    console.close('[gone]\n');
    console.close();
    expect([got, ended, console.closed]).toEqual([['last words\n', '[gone]\n'], 1, true]);
    const before = notified();
    guest.say('ghost'); console.onEvent();
    expect([notified(), console.write('x')]).toEqual([before, false]);
    console.attach(c => got.push(text(c)), 0, () => { ended++; });
    expect([got.at(-1), ended]).toEqual(['last words\n[gone]\n', 2]);
  });
});

describe('scrollback', () => {
  it.each([1, 100, 4096, 10_000])('keeps the last %i bytes', limit => {
    const kept = new Scrollback(limit);
    let all = '';
    for (let i = 0; i < 300; i++) { const part = `${i},`.repeat(i % 41); all += part; kept.append(Buffer.from(part)); }
    expect(text(kept.read())).toBe(all.slice(-limit));
    expect([kept.end, kept.start]).toEqual([all.length, Math.max(0, all.length - limit)]);
    expect(text(kept.read(all.length - 7))).toBe(all.slice(-Math.min(7, limit)));
    expect(kept.read(all.length + 5).length).toBe(0);
  });
});

describe('the log file', () => {
  it('has everything, and begins anew at a size', () => {
    const folder = mkdtempSync(join(tmpdir(), 'con-')), path = join(folder, 'log', 'guest-a.log');
    const { guest, console } = setup({ logFile: { path, maxBytes: 1000, keep: 2 } });
    for (let i = 0; i < 40; i++) { guest.say(`line ${i} ${'.'.repeat(80)}\n`); console.onEvent(); }
    console.close();
    expect(readdirSync(join(folder, 'log')).sort()).toEqual(['guest-a.log', 'guest-a.log.1', 'guest-a.log.2']);
    for (const name of readdirSync(join(folder, 'log'))) expect(statSync(join(folder, 'log', name)).size).toBeLessThanOrEqual(1000);
    expect(readFileSync(path, 'utf8')).toContain('line 39 ');
    expect(readFileSync(`${path}.1`, 'utf8') + readFileSync(path, 'utf8')).toMatch(/line 38 .*\nline 39 /s);
    rmSync(folder, { recursive: true });
  });
  it('that cannot be written does not stop the console', () => {
    const { guest, console, log } = setup({ logFile: { path: '/dev/null/log/x.log' } });
    guest.say('on'); console.onEvent();
    expect([text(console.scrollback()), log.length]).toEqual(['on', 1]);
  });
});

describe('the backend', () => {
  it('binds the channel, hears of output, and lets go', async () => {
    const hypervisor = new FakeHypervisor(), guest = new Guest();
    guest.say('early ');
    const backend = new ConsoleBackend({ hypercalls: hypervisor.hypercalls, domid: domid(5), page: guest.page, port: evtchnPort(2) });
    backend.start();
    guest.say('late');
    hypervisor.fire(5, 2);
    expect(text(backend.console.scrollback())).toBe('early late');
    expect([backend.name, hypervisor.sentTo(5, 2)]).toEqual(['console/5/0', 2]);
    await backend.stop('bye');
    await backend.stop();
    expect(hypervisor.boundCount).toBe(0);
  });
});
