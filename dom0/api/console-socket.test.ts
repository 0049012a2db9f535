// Consoles over WebSocket, and the page that opens them, with a guest that is a page of memory.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket, type RawData } from 'ws';
import { xencons_interface as page } from '../../hypervisor/public/io/console.ts';
import { newPage } from '../bus/fakes.ts';
import { DomainConsole } from '../console/domain-console.ts';
import { fakeWorld } from '../toolstack/fakes.ts';
import { apiWorld, CONFIG, type ApiWorld } from './api-world.ts';

const OUT_BYTES = 2048, IN_BYTES = 1024;
let at: ApiWorld, guestConsole: DomainConsole, ring: Uint8Array<SharedArrayBuffer>, words: Int32Array;
const open: WebSocket[] = [];

beforeEach(async () => {
  ring = newPage();
  words = new Int32Array(ring.buffer);
  guestConsole = new DomainConsole(ring, () => {});
  const world = fakeWorld();
  at = await apiWorld({}, { ...world, near: { ...world.near, consoles: { ...world.near.consoles, source: () => guestConsole } } });
  expect((await at.call('POST', '/v1/domains', { config: CONFIG })).status).toBe(201);
});
afterEach(async () => { for (const ws of open.splice(0)) ws.terminate(); await at.close(); });

function say(text: string): void {
  for (const byte of Buffer.from(text)) { ring[page.out + (words[page.out_prod >> 2]! & (OUT_BYTES - 1))] = byte; words[page.out_prod >> 2]!++; }
  guestConsole.onEvent();
}
function hear(): string {
  let text = '';
  for (; words[page.in_cons >> 2] !== words[page.in_prod >> 2]; words[page.in_cons >> 2]!++) text += String.fromCharCode(ring[page.in + (words[page.in_cons >> 2]! & (IN_BYTES - 1))]!);
  guestConsole.onEvent();
  return text;
}

interface Seen { readonly ws: WebSocket; text: string; readonly messages: { type: string; [key: string]: unknown }[]; code?: number }
function connect(query = '', headers: Record<string, string> = {}): Promise<Seen> {
  const ws = new WebSocket(`ws+unix:${at.socketPath}:/v1/domains/web/console${query}`, ['xenolith.console'], { headers }), seen: Seen = { ws, text: '', messages: [] };
  open.push(ws);
  ws.on('message', (data: RawData, binary) => { if (binary) seen.text += String(data); else seen.messages.push(JSON.parse(String(data)) as Seen['messages'][number]); });
  ws.on('close', code => { seen.code = code; });
  return new Promise((resolve, reject) => {
    ws.on('open', () => resolve(seen));
    ws.on('error', reject);
    ws.on('unexpected-response', (_request, response) => reject(new Error(`status ${response.statusCode}`)));
  });
}
async function until(what: () => boolean): Promise<void> {
  for (const end = Date.now() + 10_000; !what();) { if (Date.now() > end) throw new Error('it does not come'); await new Promise(resolve => { setTimeout(resolve, 5); }); }
}

test('output, input, and going on where one was', async () => {
  say('scrollback ');
  const one = await connect();
  await until(() => one.text === 'scrollback ');
  say('live');
  await until(() => one.text === 'scrollback live');
  one.ws.send(Buffer.from('ls\r'));
  let heard = '';
  await until(() => (heard += hear()) === 'ls\r');
  const { console: id } = one.messages[0]!;
  one.ws.terminate();
  say(' meanwhile');
  const two = await connect(`?console=${String(id)}&from=15`);
  await until(() => two.text === ' meanwhile');
  guestConsole.close();
  await until(() => two.code === 1000);
});

test('two viewers: both see, one takes the keyboard, and leaves it when its connection is cut', async () => {
  const one = await connect(), two = await connect();
  say('both');
  await until(() => one.text === 'both' && two.text === 'both');
  one.ws.send(JSON.stringify({ type: 'resize', columns: 100, rows: 30 }));
  await until(() => two.messages.some(m => m.type === 'size' && m['columns'] === 100 && m['rows'] === 30));
  two.ws.send(JSON.stringify({ type: 'take' }));
  await until(() => one.messages.some(m => m.type === 'role' && m['writer'] === false));
  one.ws.send(Buffer.from('refused'));
  await until(() => one.messages.some(m => m.type === 'refused'));
  two.ws.terminate();
  await until(() => one.messages.at(-1)?.['writer'] === true && one.messages.at(-1)?.['viewers'] === 1);
  one.ws.send(Buffer.from('typed'));
  let heard = '';
  await until(() => (heard += hear()).length >= 5);
  expect(heard).toBe('typed');
});

test('a viewer that takes nothing holds up neither guest nor the others, nor the memory of the host', async () => {
  const stuck = await connect('?access=read'), quick = await connect('?access=read');
  stuck.ws.pause();
  let bytes = 0;
  quick.ws.on('message', (data: RawData, binary) => { if (binary) bytes += (data as Buffer).length; });
  const before = process.memoryUsage().arrayBuffers;
  for (let i = 0; i < 20_000; i++) { say('x'.repeat(1024)); if (i % 100 === 0) await new Promise(resolve => { setImmediate(resolve); }); }
  await until(() => quick.messages.some(m => m.type === 'lost') || bytes === 20_480_000);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 2 ** 20);
  stuck.ws.resume();
  say('the end');
  await until(() => stuck.text.endsWith('the end'));
  expect(stuck.messages.some(m => m.type === 'lost')).toBe(true);
  expect(stuck.text.length).toBeLessThan(20_480_000);
});

test('bad input is refused or ends the connection, nothing else', async () => {
  await expect(connect('?access=everything')).rejects.toThrow('status 400');
  await expect(connect('?colour=red')).rejects.toThrow('status 400');
  await expect(connect('', { origin: 'http://evil.example' })).rejects.toThrow('status 403');
  await expect(connect('', { origin: 'http://localhost', host: 'localhost' })).resolves.toBeDefined();
  const rude = await connect(), large = await connect(), good = await connect();
  rude.ws.send('{"type":"resize","columns":-1,"rows":1}');
  await until(() => rude.code === 1008);
  large.ws.send(Buffer.alloc(65_537));
  await until(() => large.code === 1009 || large.code === 1006);
  good.ws.send(Buffer.from('still there'));
  let heard = '';
  await until(() => (heard += hear()) === 'still there');
  await at.call('DELETE', '/v1/domains/web');
  await expect(connect()).rejects.toThrow('status 404');
});

test('the page and what it loads are served; other names are not files', async () => {
  const { status, text, headers } = await at.call('GET', '/consoles/web');
  expect([status, headers['content-type']]).toEqual([200, 'text/html; charset=utf-8']);
  expect(headers['content-security-policy']).toContain("default-src 'none'");
  for (const [, path] of text.matchAll(/(?:src|href)="([^"]+)"/g)) expect((await at.call('GET', path!)).status, path).toBe(200);
  for (const name of ['..%2f..%2fserver.ts', 'constructor', 'package.json']) expect((await at.call('GET', `/console-assets/${name}`)).status).toBe(404);
});
